package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/auditsql/auditsql/internal/backlog"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

// GetAudit returns the record of an id, or ErrNotFound.
func (db *DB) GetAudit(ctx context.Context, id QueryID) (*QueryAudit, error) {
	raw, err := db.GetRaw(ctx, id)
	if err != nil {
		return nil, err
	}
	return parsedAudit(id, raw)
}

// parsedAudit parses the stored bytes of a record.
func parsedAudit(id QueryID, raw []byte) (*QueryAudit, error) {
	q, err := ParseAudit(raw)
	if err != nil {
		return nil, fmt.Errorf("stored record %s: %w", id, err)
	}
	return &q, nil
}

// GetRaw returns the stored bytes of a record, its canonical JSON, or ErrNotFound. They are the caller's. If they are not
// those that were admitted, the error is a *RecordError.
func (db *DB) GetRaw(ctx context.Context, id QueryID) ([]byte, error) {
	if err := db.open(ctx); err != nil {
		return nil, err
	}
	raw, err := db.stored(ctx, id)
	if db.feed() == nil || !errors.Is(err, ErrNotFound) {
		return raw, err // a record never changes, so what is there already needs no wait
	}
	if err := db.readable(ctx); err != nil {
		return nil, err
	}
	return db.stored(ctx, id)
}

// GetRawAsOf is GetRaw as of a moment (see Filter.AsOf), nil: as it is. A record that was admitted later is ErrNotFound.
func (db *DB) GetRawAsOf(ctx context.Context, id QueryID, asOf *uint64) ([]byte, error) {
	if asOf == nil {
		return db.GetRaw(ctx, id) // which needs no table of SQLite but that of the records
	}
	return getRawAsOf(ctx, db, id, asOf)
}

func getRawAsOf(ctx context.Context, in asked, id QueryID, asOf *uint64) (raw []byte, err error) {
	err = in.inParts(ctx, asOf, func(p *parts) error {
		if raw, err = p.dbs[p.home(id)].GetRaw(ctx, id); err != nil {
			return err
		}
		_, err = p.indexOf(ctx, id, asOf)
		return err
	})
	if err != nil {
		return nil, err
	}
	return raw, nil
}

// indexOf returns the index of a record in its part, -1 where SQLite does not have it. One that was admitted after the moment is ErrNotFound.
func (p *parts) indexOf(ctx context.Context, id QueryID, asOf *uint64) (int64, error) {
	home := p.home(id)
	index, err := p.dbs[home].sql.IndexOf(ctx, id)
	if err != nil {
		return 0, err
	}
	if then := indexOf(p.asOf[home]); then != nil && (index < 0 || index >= *then) {
		return 0, fmt.Errorf("as of %d records: %s: %w", *asOf, id, ErrNotFound)
	}
	return index, nil
}

// stored returns the bytes that are acknowledged under an id, or ErrNotFound.
func (db *DB) stored(ctx context.Context, id QueryID) ([]byte, error) {
	var lost error
	if db.backlog != nil {
		if off, leaf, ok := db.backlog.Find(id); ok {
			rec, err := db.journal.Read(off)
			if err == nil && tree.LeafHash(rec.Payload) == leaf {
				return rec.Payload, nil
			}
			if err == nil {
				err = fmt.Errorf("%w: the journal record at offset %d is not %s as it was put", ErrDamaged, off, id)
			}
			lost = err // the record may have been applied and trimmed meanwhile: then SQLite has it
		}
	}
	raw, err := db.sql.Record(ctx, id)
	if errors.Is(err, sqlstore.ErrNotFound) {
		return nil, cmp.Or(lost, fmt.Errorf("%s: %w", id, ErrNotFound))
	}
	// Somebody may have exchanged two records, each with its leaf hash. The tree shows that, and is not read here.
	if have, ok := idOf(raw); err == nil && (!ok || have != id) {
		err = &sqlstore.RecordError{QueryID: id}
	}
	return raw, db.lost(err)
}

// lost makes a *RecordError of an error of SQLite that is about one record.
func (db *DB) lost(err error) error {
	var damaged *sqlstore.RecordError
	if !errors.As(err, &damaged) {
		return err
	}
	return &RecordError{ID: damaged.QueryID, Missing: damaged.Missing, Cure: db.recordAdvice()}
}

// recordAdvice says how one damaged record can be restored. A repair comes first: it costs nothing, while a rebuild of all of SQLite
// costs the labels.
func (db *DB) recordAdvice() string {
	if db.file.Follows != nil {
		return db.rebuildAdvice()
	}
	segs, err := db.segments()
	if err != nil || len(segs) == 0 {
		return "restore the store from a backup"
	}
	if segs[0].Base > 0 {
		return fmt.Sprintf("a repair restores it from the journal, if that has it, which begins at offset %d; else restore the store from a backup", segs[0].Base)
	}
	return "a repair restores it from the journal"
}

// rebuildAdvice says how SQLite's tables kv and entry can be restored as a whole. Nothing but the journal has what they have.
func (db *DB) rebuildAdvice() string {
	if o := db.file.Follows; o != nil {
		return fmt.Sprintf("to fill SQLite again from %s, without the labels, move %s* out of the folder; if the log was trimmed, restore the store from a backup of another node",
			o.Log, storedir.SQLitePath(db.dir))
	}
	if segs, err := db.segments(); err != nil || len(segs) == 0 || segs[0].Base > 0 {
		return "the journal does not reach back to the beginning: restore the store from a backup"
	}
	return fmt.Sprintf("to rebuild SQLite from the journal, without the labels, move %s* out of the folder and open the store for writing",
		storedir.SQLitePath(db.dir))
}

// MinPrefix is how many hex digits name a hash or an id at least, wherever one of them is meant. Resolve, which lists all ids that may be
// meant, takes ShortestPrefix digits or more. It returns at most MaxResolved ids.
const (
	MinPrefix      = 8
	ShortestPrefix = 4
	MaxResolved    = 16
)

// mostAsOf is among how many ids, or hashes of a kind, those are looked for that a store had at an earlier moment.
const mostAsOf = 1024

// Resolve returns the ids that begin with the given hex digits, at most MaxResolved. Fewer than ShortestPrefix digits, or
// other characters, are ErrInvalid.
func (db *DB) Resolve(ctx context.Context, prefix string) ([]QueryID, error) {
	return db.ResolveAsOf(ctx, prefix, nil)
}

// ResolveAsOf is Resolve as of a moment (see Filter.AsOf), nil: as it is. Of several ids it returns those of records that the store had
// then. So digits that somebody has written down go on to mean the record that they meant. When more than 1,024 ids begin with them now, it
// does not look at each: it returns the first MaxResolved of them, whatever the store had then.
func (db *DB) ResolveAsOf(ctx context.Context, prefix string, asOf *uint64) ([]QueryID, error) {
	ids, err := db.idsBeginning(ctx, prefix, nil)
	if err != nil || len(ids) < 2 || asOf == nil {
		return ids, err
	}
	return db.idsBeginning(ctx, prefix, asOf)
}

// idsBeginning returns the ids that begin with some digits: those that the store had at a moment, nil: has.
func (db *DB) idsBeginning(ctx context.Context, prefix string, asOf *uint64) ([]QueryID, error) {
	if len(prefix) < ShortestPrefix || len(prefix) > hexLen {
		return nil, fmt.Errorf("%w: id prefix %s: want %d to %d hex digits", ErrInvalid, excerpt(prefix), ShortestPrefix, hexLen)
	}
	if _, err := ParseHash(prefix + string(bytes.Repeat([]byte("0"), hexLen-len(prefix)))); err != nil {
		return nil, fmt.Errorf("%w: id prefix %s: want hex digits", ErrInvalid, excerpt(prefix))
	}
	if err := db.settled(ctx); err != nil {
		return nil, err
	}
	most := MaxResolved
	if asOf != nil {
		most = mostAsOf + 1
	}
	found, err := db.sql.Resolve(ctx, prefix, most)
	if err != nil {
		return nil, err
	}
	if len(found) > mostAsOf {
		asOf = nil // there may be others among those that were not looked at, so none of them is the one that is meant
	}
	ids := []QueryID{}
	for _, id := range found {
		if asOf != nil {
			// A record without an index is not in table audit yet, or no more. It may have been there.
			if idx, err := db.sql.IndexOf(ctx, id); err != nil {
				return nil, err
			} else if idx >= 0 && uint64(idx) >= *asOf {
				continue
			}
		}
		if ids = append(ids, id); len(ids) == MaxResolved {
			break
		}
	}
	return ids, nil
}

// AuditsForAgent returns an agent's records with from <= timestamp <= to (see Unbounded), ascending by
// (timestamp, query id), at most limit of them. A limit of 0 or less is ErrInvalid. With a *RecordError it returns the
// records that are not damaged.
func (db *DB) AuditsForAgent(ctx context.Context, agent AgentID, from, to uint64, limit int) ([]QueryAudit, error) {
	if err := checkLimit(limit); err != nil {
		return nil, err
	}
	return collected(db.Audits(ctx, Filter{Agent: &agent, From: &from, To: &to, Limit: limit}))
}

// ListRecent returns the newest records of all agents, descending by (timestamp, query id), at most limit
// of them. A limit of 0 or less is ErrInvalid. With a *RecordError it returns the records that are not damaged.
func (db *DB) ListRecent(ctx context.Context, limit int) ([]QueryAudit, error) {
	if err := checkLimit(limit); err != nil {
		return nil, err
	}
	return collected(db.Audits(ctx, Filter{Descending: true, Limit: limit}))
}

// HasAuditsForAgent reports whether an agent has any record. It costs one seek.
func (db *DB) HasAuditsForAgent(ctx context.Context, agent AgentID) (bool, error) {
	if err := db.readable(ctx); err != nil {
		return false, err
	}
	var waiting backlog.Snapshot
	if db.backlog != nil {
		waiting = db.backlog.Visible() // before SQLite is asked
	}
	has, err := db.sql.HasAgent(ctx, agent)
	if has || err != nil {
		return has, err
	}
	for r := range waiting.All {
		if !r.Anonymous && r.Agent == agent {
			return true, nil
		}
	}
	return false, nil
}

// readable is the start of every call that reads. It fails when ctx has ended or the store is closed. In a store that follows a log it
// waits until SQLite has what every question is to see.
func (db *DB) readable(ctx context.Context) error {
	s := db.feed()
	if err := db.open(ctx); err != nil || s == nil {
		return err
	}
	return db.applier.wait(ctx, wal.Offset(s.shown.Load()))
}

// feed is where the records come from in a store that follows a log, and nil in any other.
func (db *DB) feed() *followed {
	if db.applier == nil {
		return nil
	}
	s, _ := db.applier.source.(*followed)
	return s
}

// open fails when ctx has ended or the store is closed.
func (db *DB) open(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db.life.Lock()
	defer db.life.Unlock()
	if db.closed {
		return ErrClosed
	}
	return nil
}

// ErrReindexing means that the forensic tables are being rebuilt, by this process or another, or that this was
// interrupted. An answer from them would be incomplete. Their views do not exist meanwhile. Records can still be read
// by id and exported. A complete reindex ends this state, and so does opening the store for writing.
var ErrReindexing = errors.New("the forensic tables are being rebuilt")

// whole returns ErrReindexing while the forensic tables are incomplete. It is called before and after they are read.
func (db *DB) whole(ctx context.Context) error {
	if db.applier != nil && !db.reindexing.Load() {
		return nil
	}
	running, err := db.sql.Reindexing(ctx)
	if err == nil && running {
		err = ErrReindexing
	}
	return err
}

// wholeSince returns the outcome of a read of the forensic tables, which began when they were complete. If they are incomplete
// now, it returns ErrReindexing, whatever the outcome was: that may be why the read has failed (a table or a view did not
// exist), or why it has found too little.
func (db *DB) wholeSince(ctx context.Context, err error) error {
	if whole := db.whole(ctx); err == nil || errors.Is(whole, ErrReindexing) {
		return whole
	}
	return err
}

// collected returns the records of a list that is not long, and the errors of those that are damaged.
func collected(list iter.Seq2[QueryAudit, error]) ([]QueryAudit, error) {
	found := []QueryAudit{}
	var damaged []error
	for q, err := range list {
		switch {
		case ofRecord(err):
			damaged = append(damaged, err)
		case err != nil:
			return nil, err
		default:
			found = append(found, q)
		}
	}
	return found, errors.Join(damaged...)
}

// Audits yields the records that a filter selects.
//
// In the writer's process a list by time that names nothing but Agent, Anonymous, From and To has every record that was acknowledged
// before Audits began, and waits for nothing. Any other list has what SQLite has by then: see WithReads.
//
// It holds no read transaction between records, so the caller may be slow. It does not yield what is admitted after it began. When the
// store is closed meanwhile it ends with ErrClosed.
//
// In place of a record that is damaged it yields a *RecordError. The receiver may go on after it, and gets the others. After
// any other error the sequence ends.
func (db *DB) Audits(ctx context.Context, f Filter) iter.Seq2[QueryAudit, error] {
	return parsed(db.RawAudits(ctx, f))
}

// RawAudits is Audits with the stored bytes of each record. They are the caller's.
func (db *DB) RawAudits(ctx context.Context, f Filter) iter.Seq2[[]byte, error] {
	return whileOpen(ctx, db, db.rawAudits(ctx, f))
}

func (db *DB) rawAudits(ctx context.Context, f Filter) iter.Seq2[[]byte, error] {
	if db.shownEarly(f) {
		return db.earliest(ctx, f)
	}
	return selected(ctx, db, f, db.sql.Select)
}

// selected yields what a select of SQLite has for the records of a filter, once SQLite has what a question is to see.
func selected[T any](ctx context.Context, db *DB, f Filter, from func(context.Context, sqlstore.Filter) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if err := db.settled(ctx); err != nil {
			var none T
			yield(none, err)
			return
		}
		inSQLite(ctx, db, f, from)(yield)
	}
}

// inSQLite yields what a select of SQLite has for the records of a filter by now, or when there are as many records as the filter says.
func inSQLite[T any](ctx context.Context, db *DB, f Filter, from func(context.Context, sqlstore.Filter) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		err := db.reaches(ctx, f.AsOf)
		if err == nil && f.none() {
			return
		}
		if err == nil && !f.all() {
			err = db.whole(ctx)
		}
		var g sqlstore.Filter
		if err == nil {
			if g, err = db.lower(ctx, f); err != nil {
				err = db.wholeSince(ctx, err)
			}
		}
		if err != nil {
			yield(none, err)
			return
		}
		for row, err := range from(ctx, g) {
			err = db.lost(err)
			fatal := err != nil && !ofRecord(err)
			if fatal && !f.all() {
				err = db.wholeSince(ctx, err) // the tables may be being filled right now
			}
			if !yield(row, err) || fatal {
				return
			}
		}
		if !f.all() {
			if err := db.whole(ctx); err != nil {
				yield(none, err)
			}
		}
	}
}
