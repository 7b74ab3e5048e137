package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// RepairOptions say whether to repair damage, or only to report it.
type RepairOptions struct {
	// Apply repairs. Without it nothing is changed and no lock is taken.
	Apply bool
	// Progress, if set, is called now and then: how many bytes of the journal have been checked, of how many.
	Progress func(done, total int64)
}

// RepairReport is what Repair checked and found, and what it did or would do.
type RepairReport struct {
	Journal wal.RepairReport
	// Ranges are what is known about the records in each of Journal.Damage.
	Ranges []RepairedRange
	// SQLite says where records could come from: the database, or why it could not be used.
	SQLite string
	// Asked: SQLite is not suspect, and was asked for every record before the cursor.
	Asked bool
}

// RepairedRange is what is known about the records in a damaged range. Of each kind at most MaxRepairIDs ids are
// kept.
type RepairedRange struct {
	Restored []QueryID // that come back from SQLite; without those that could not be stored
	// Lost are ids that can still be read in the damaged bytes and that SQLite does not have. More may be
	// lost, and an id itself may be corrupt.
	Lost []QueryID
	// LostRecords is how many of those ids there are.
	LostRecords int
}

// MaxRepairIDs is how many ids of each kind a RepairedRange keeps.
const MaxRepairIDs = 100

// Repair searches the journal of the store in dir for damage, and reports what a repair would do: which
// ranges are damaged, which of their records SQLite still has, and what would be lost. With Apply it
// repairs them. wal.Repair says how, and why that may be interrupted at any moment. SQLite is only read.
//
// The errors are ErrNoStore; with Apply ErrLocked when another writer has the store; and wal.ErrGap,
// ErrMismatch or *wal.CorruptError when no repair can help, and nothing was changed. When SQLite is lost, no record comes back from
// it, and from a suspect one only what matches its hash. The next opening rebuilds it from the repaired journal.
func Repair(ctx context.Context, dir string, o RepairOptions, opts ...Option) (RepairReport, error) {
	r := repair{opening: opening{ctx: ctx, dir: dir, opts: applyOptions(opts)}, o: o}
	defer r.close()
	err := r.run()
	if err != nil {
		return r.rep, fmt.Errorf("repair store: %w", err)
	}
	return r.rep, nil
}

// repair is an opening that stops after the journal.
type repair struct {
	opening
	o   RepairOptions
	rep RepairReport

	sql *sqlstore.DB // nil: no record comes back from SQLite
	// doubted says that the database is suspect. Then a record comes back from it only if it matches its leaf hash, and nothing that it
	// lacks means anything: the next opening rebuilds it from the journal.
	doubted bool

	// For the comparison of intact records with SQLite's entries.
	applied wal.Offset // the database has everything before it
	entries *entries   // nil: none are compared

	done, total int64 // bytes of journal
	visited     int   // records
}

func (r *repair) close() {
	if r.entries != nil {
		r.entries.stop()
	}
	if r.sql != nil {
		r.sql.Close()
	}
}

func (r *repair) run() error {
	if _, err := JournalDir(r.dir); err != nil && !isEmpty(err) {
		return err
	}
	journalDir, err := r.findJournal()
	if err != nil && !isEmpty(err) {
		return err
	}
	if r.o.Apply {
		if err := storedir.CheckOwner(r.dir); err != nil {
			return err
		}
	}
	r.rep.Journal, err = wal.RepairContext(r.ctx, journalDir, wal.RepairOptions{
		Apply:    r.o.Apply,
		LockWait: r.opts.lockWait,
		FS:       r.opts.fs,
		Identity: r.knownIdentity(),
		Cursor:   func() (wal.Offset, error) { return r.begin(journalDir) },
		Records:  r.records,
		Visit:    r.visit,
		Confirm:  r.identify,
	})
	return r.explain(err)
}

// begin inspects the rest of the store. It is called before the journal is read, and with Apply when
// the lock is held.
func (r *repair) begin(journalDir string) (wal.Offset, error) {
	segs, err := r.inspect(journalDir)
	if _, unread := sqlstore.ReadCursor(r.ctx, storedir.SQLitePath(r.dir)); unread != nil {
		return 0, r.withoutSQLite(cmp.Or(err, unread), journalDir)
	}
	if err != nil {
		return 0, err
	}
	for _, seg := range segs {
		r.total += seg.Size
	}
	cursor := r.from(segs)
	switch end := r.reached(); {
	case len(segs) > 0 && segs[0].Base <= cursor:
		// The journal was synced up to that offset once, so it reaches it, or opening refuses the store. SQLite may lack the end of
		// that: a store that failed notes how far its journal was synced, and a power cut can take the last transactions after
		// their records were signed.
		cursor = max(cursor, end)
	case len(segs) == 0 && cursor < end:
		// A journal that began there would begin after what SQLite has.
		return 0, fmt.Errorf("%s: %w: no segment is left, and %s ends at offset %d, where it had everything up to %d: restore the store from a backup",
			journalDir, wal.ErrGap, storedir.SQLiteName, cursor, end)
	}
	switch {
	case !r.meta.Exists:
		r.rep.SQLite = storedir.SQLiteName + " is missing"
		return cursor, nil
	case r.suspect():
		// It may have records that the journal lacks. Fillers in their place could not be undone.
		if len(segs) > 0 && wal.Offset(r.meta.Cursor) > segs[len(segs)-1].Base+wal.Offset(segs[len(segs)-1].Size) {
			return 0, r.newerSQLite(segs)
		}
		return cursor, r.askSuspect(journalDir)
	}
	r.sql, err = sqlstore.Open(r.ctx, storedir.SQLitePath(r.dir), sqlstore.Options{ReadOnly: true, Older: true, Readers: 2, Logger: r.opts.logger})
	if err != nil {
		return 0, err
	}
	r.applied = wal.Offset(r.meta.Cursor)
	r.rep.SQLite, r.rep.Asked = fmt.Sprintf("%s has everything before offset %d", storedir.SQLiteName, r.applied), true
	if r.entries, err = entriesOf(r.ctx, r.sql); err != nil {
		return 0, r.withoutSQLite(err, journalDir)
	}
	return cursor, nil
}

// askSuspect lets records come back from a suspect database, if it can be read and is the journal's: where the journal has an intact
// record, it has none with another id. What it then has of a damaged range is what was admitted there, since the leaf hash beside a
// record is of its content, its id is in it, and wal.Repair takes it only where it fits between its neighbours to the byte.
// Without it the repair would put fillers in the place of records that the store still has, and the rebuild that follows would
// lose them.
func (r *repair) askSuspect(journalDir string) error {
	suspect := fmt.Sprintf("%s is suspect: %s", storedir.SQLiteName, r.plan.Doubt)
	r.rep.SQLite = suspect
	if r.plan.DropWAL || r.meta.Unhashed() {
		return nil
	}
	sql, err := sqlstore.Open(r.ctx, storedir.SQLitePath(r.dir), sqlstore.Options{ReadOnly: true, Older: true, Readers: 2, Logger: r.opts.logger})
	if err != nil {
		r.rep.SQLite = fmt.Sprintf("%s; it was not asked for records: %v", suspect, err)
		return r.ctx.Err()
	}
	if err := r.compareSuspect(sql, journalDir); err != nil {
		r.rep.SQLite = fmt.Sprintf("%s; it was not asked for records: %v", suspect, err)
		return errors.Join(r.ctx.Err(), sql.Close())
	}
	r.sql, r.doubted = sql, true
	r.rep.SQLite = suspect + "; records come back from it if they match their hashes"
	return nil
}

// compareSuspect returns an error if a suspect database is not the journal's, or if its entries cannot be read.
func (r *repair) compareSuspect(sql *sqlstore.DB, journalDir string) error {
	entries, err := entriesOf(r.ctx, sql)
	if err != nil {
		return err
	}
	defer entries.stop()
	o := r.opts.journal()
	o.Identity = r.knownIdentity()
	_, err = wal.VerifyContext(r.ctx, journalDir, o, func(rec wal.Record) error {
		entry, err := entries.at(rec.Offset)
		if err != nil || entry == nil {
			return err
		}
		if id, ok := idOf(rec.Payload); !ok || id != Hash(entry.QueryID) {
			return fmt.Errorf("it has another record than the journal at offset %d", rec.Offset)
		}
		return nil
	})
	return err
}

// entries are the entries of a database in the order of the journal, for records that are visited in that order.
type entries struct {
	pull func() (sqlstore.Entry, error, bool)
	stop func()
	next sqlstore.Entry
	more bool
}

// entriesOf reads the first entry. Unless there is an error, stop must be called.
func entriesOf(ctx context.Context, sql *sqlstore.DB) (*entries, error) {
	e := &entries{}
	e.pull, e.stop = iter.Pull2(sql.Entries(ctx, 0))
	if err := e.step(); err != nil {
		e.stop()
		return nil, err
	}
	return e, nil
}

func (e *entries) step() (err error) {
	e.next, err, e.more = e.pull()
	return err
}

// at returns the entry whose record begins at an offset, or nil if there is none. No offset may be lower than the one before.
func (e *entries) at(off wal.Offset) (*sqlstore.Entry, error) {
	for e.more && wal.Offset(e.next.JournalOffset) < off {
		if err := e.step(); err != nil {
			return nil, err
		}
	}
	if e.more && wal.Offset(e.next.JournalOffset) == off {
		return &e.next, nil
	}
	return nil, nil
}

// newerSQLite refuses a repair that would lose what SQLite alone has.
func (r *repair) newerSQLite(segs []wal.Segment) error {
	last := segs[len(segs)-1]
	return fmt.Errorf("%s: %w: it is suspect (%s), and it has records up to offset %d, while the journal ends at %d; if %s is from another time, move that out of the folder, and it is made again; if %s is, %s",
		storedir.SQLitePath(r.dir), ErrMismatch, r.plan.Doubt, r.meta.Cursor, last.Base+wal.Offset(last.Size), storedir.FileName, storedir.SQLiteName, r.otherDatabase())
}

// otherDatabase says what to do when the database is not the one of the journal.
func (r *repair) otherDatabase() string {
	if !r.trimmed {
		return fmt.Sprintf("move %s* out of the folder: opening rebuilds it, without the labels", storedir.SQLiteName)
	}
	return "restore the store from a backup: the journal does not reach back to the beginning"
}

// withoutSQLite adds to the error of a database that cannot be read how the journal can be repaired without it. A
// person has to decide that: the corrupt records may still be in the database.
func (r *repair) withoutSQLite(err error, journalDir string) error {
	segs, listed := wal.Segments(journalDir, r.opts.journal())
	switch {
	case errors.Is(err, sqlstore.ErrNewer), errors.Is(err, sqlstore.ErrBusy), r.ctx.Err() != nil:
		return err
	case listed != nil, len(segs) == 0, segs[0].Base > 0:
		return fmt.Errorf("%w; the journal does not reach back to the beginning: restore the store from a backup", err)
	}
	return fmt.Errorf("%w; to repair the journal by itself, move %s* out of the folder: opening rebuilds it, without the labels", err, storedir.SQLiteName)
}

// visit compares the intact records that SQLite has applied with its entries: the records of one store must not be written into the
// journal of another.
func (r *repair) visit(rec wal.Record) error {
	r.done += int64(rec.Next - rec.Offset)
	if r.visited++; r.visited%4096 == 0 && r.o.Progress != nil {
		r.o.Progress(r.done, r.total)
	}
	if r.sql == nil || r.doubted || rec.Offset >= r.applied {
		return nil
	}
	entry, err := r.entries.at(rec.Offset)
	if err != nil {
		return err
	}
	id, ok := idOf(rec.Payload)
	if entry != nil {
		if !ok || id != Hash(entry.QueryID) {
			return r.notSQLites(rec, fmt.Sprintf("SQLite has %s from there", Hash(entry.QueryID)))
		}
		return nil
	}
	// The record has no entry: it repeats an earlier one, or was rejected.
	rejected, err := r.sql.RejectedBetween(r.ctx, uint64(rec.Offset), uint64(rec.Offset)+1)
	if err != nil || len(rejected) > 0 {
		return err
	}
	if ok {
		stored, err := r.sql.Get(r.ctx, KeyOf(id))
		if err == nil && bytes.Equal(stored, rec.Payload) {
			return nil
		}
		if err != nil && !errors.Is(err, sqlstore.ErrNotFound) {
			return err
		}
	}
	return r.notSQLites(rec, fmt.Sprintf("SQLite has no such record, though it should have all before %d", r.applied))
}

// notSQLites refuses a repair in which the journal has an intact record that SQLite should have and has not.
func (r *repair) notSQLites(rec wal.Record, why string) error {
	return fmt.Errorf("%s: %w: an intact record of the journal at offset %d is not SQLite's (%s); a repair would mix two histories. Where the journal is the right one, %s",
		storedir.SQLitePath(r.dir), ErrMismatch, rec.Offset, why, r.otherDatabase())
}

// records yields what SQLite has of a damaged range: admitted records, and those that were rejected. What cannot be read of a suspect
// database does not come back.
func (r *repair) records(from, to wal.Offset) iter.Seq2[wal.Record, error] {
	return func(yield func(wal.Record, error) bool) {
		if r.sql == nil {
			return
		}
		err := r.restore(from, to, func(rec wal.Record) bool { return yield(rec, nil) })
		if err != nil && (!r.doubted || r.ctx.Err() != nil) {
			yield(wal.Record{}, err)
		}
	}
}

// restore calls yield with the records that SQLite has from one offset up to another, in order.
func (r *repair) restore(from, to wal.Offset, yield func(wal.Record) bool) error {
	var rejected []sqlstore.Rejected
	if !r.doubted { // no hash vouches for what was rejected
		var err error
		if rejected, err = r.sql.RejectedBetween(r.ctx, uint64(from), uint64(to)); err != nil {
			return err
		}
	}
	first, err := r.sql.EntryFrom(r.ctx, uint64(from))
	if err != nil {
		return err
	}
	for value, err := range r.sql.Values(r.ctx, first) {
		if err != nil && value.QueryID == [32]byte{} {
			return err
		}
		at := wal.Offset(value.JournalOffset)
		if at >= to {
			break
		}
		for len(rejected) > 0 && rejected[0].Offset < value.JournalOffset {
			if !yield(wal.Record{Offset: wal.Offset(rejected[0].Offset), Payload: rejected[0].Payload}) {
				return nil
			}
			rejected = rejected[1:]
		}
		// When kv lacks the record, or has one with another id, it is not this record any more.
		if id, ok := idOf(value.Value); err != nil || !ok || id != Hash(value.QueryID) {
			continue
		}
		if !yield(wal.Record{Offset: at, Payload: value.Value}) {
			return nil
		}
	}
	for _, rej := range rejected {
		if !yield(wal.Record{Offset: wal.Offset(rej.Offset), Payload: rej.Payload}) {
			return nil
		}
	}
	return nil
}
