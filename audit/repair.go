package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// RepairOptions say whether to do something about damage, or only to look.
type RepairOptions struct {
	// Apply repairs. Without it nothing is changed and no lock is taken.
	Apply bool
	// Progress, if set, is told now and then how many bytes of the journal have been checked, of how many.
	Progress func(done, total int64)
}

// RepairReport is what Repair checked and found, and what it did or would do.
type RepairReport struct {
	Journal wal.RepairReport
	// Ranges are what is known about the records in each of Journal.Damage.
	Ranges []RepairedRange
	// SQLite says where records could come from: the database, or why there was none to ask.
	SQLite string
	// Asked: SQLite was believed, and was asked for every record below the cursor.
	Asked bool
}

// RepairedRange is what is known about the records in a damaged range; of each kind at most MaxRepairIDs are
// kept.
type RepairedRange struct {
	Restored []QueryID // that SQLite hands back; those that could not be stored are not among them
	// Lost are ids that can still be read in the damaged bytes, and that SQLite does not have. More may be
	// lost, and what is hurt may be the id.
	Lost []QueryID
	// LostRecords is how many of those ids there are.
	LostRecords int
}

// MaxRepairIDs is how many ids of each kind a RepairedRange keeps.
const MaxRepairIDs = 100

// Repair looks for damage in the journal of the store in dir, and reports what a repair would do: which
// stretches are hurt, which of their records SQLite still has, and what stands to be lost. With Apply it
// repairs them; see wal.Repair for how, and why that may be interrupted at any moment. SQLite is only read.
//
// The errors are ErrNoStore; with Apply ErrLocked when another writer has the store; and wal.ErrGap,
// ErrMismatch or *wal.CorruptError when no repair can help, and nothing was changed. Where SQLite is lost or
// not to be believed nothing is handed back, and the next opening builds it anew from the repaired journal.
func Repair(ctx context.Context, dir string, o RepairOptions, opts ...Option) (RepairReport, error) {
	r := repair{opening: opening{ctx: ctx, dir: dir, opts: applyOptions(opts)}, o: o}
	defer r.close()
	err := r.run()
	if err != nil {
		return r.rep, fmt.Errorf("repair store: %w", err)
	}
	return r.rep, nil
}

// repair is an opening that ends with the journal.
type repair struct {
	opening
	o   RepairOptions
	rep RepairReport

	sql *sqlstore.DB // nil: nothing is handed back

	// The pairing of intact records with entries.
	cursor wal.Offset
	pull   func() (sqlstore.Entry, error, bool)
	stop   func()
	entry  sqlstore.Entry
	more   bool

	done, total int64 // bytes of journal
	looked      int
}

func (r *repair) close() {
	if r.stop != nil {
		r.stop()
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
		if err := checkOwner(r.dir); err != nil {
			return err
		}
	}
	r.rep.Journal, err = wal.Repair(journalDir, wal.RepairOptions{
		Apply:    r.o.Apply,
		LockWait: r.opts.lockWait,
		Identity: r.knownIdentity(),
		Cursor:   func() (wal.Offset, error) { return r.begin(journalDir) },
		Records:  r.records,
		Visit:    r.visit,
		Confirm:  r.identify,
	})
	return r.explain(err)
}

// begin reads what there is beside the journal. It is called before the journal is read, and with Apply when
// the lock is held.
func (r *repair) begin(journalDir string) (wal.Offset, error) {
	segs, err := r.look(journalDir)
	if _, unread := sqlstore.ReadCursor(r.ctx, sqlitePath(r.dir)); unread != nil {
		return 0, r.withoutSQLite(cmp.Or(err, unread), journalDir)
	}
	if err != nil {
		return 0, err
	}
	for _, seg := range segs {
		r.total += seg.Size
	}
	r.cursor = r.from(segs)
	switch end := r.reached(); {
	case len(segs) > 0 && segs[0].Base <= r.cursor:
		// SQLite had everything up to there once, so the log reaches that far, or opening refuses it.
		r.cursor = max(r.cursor, end)
	case len(segs) == 0 && r.cursor < end:
		// A log that began there would be above what SQLite has.
		return 0, fmt.Errorf("%s: %w: no segment is left, and %s ends at offset %d, where it had everything up to %d: restore the store from a backup",
			journalDir, wal.ErrGap, sqliteName, r.cursor, end)
	}
	switch {
	case !r.meta.Exists:
		r.rep.SQLite = sqliteName + " is missing"
		return r.cursor, nil
	case r.doubted:
		// It may have records that the journal lacks, and fillers in their place would be for good.
		if len(segs) > 0 && wal.Offset(r.meta.Cursor) > segs[len(segs)-1].Base+wal.Offset(segs[len(segs)-1].Size) {
			return 0, r.newerSQLite(segs)
		}
		r.rep.SQLite = fmt.Sprintf("%s is not believed: %s", sqliteName, r.doubt)
		return r.cursor, nil
	}
	r.sql, err = sqlstore.Open(r.ctx, sqlitePath(r.dir), sqlstore.Options{ReadOnly: true, Readers: 2, Logger: r.opts.logger})
	if err != nil {
		return 0, err
	}
	r.rep.SQLite, r.rep.Asked = fmt.Sprintf("%s has everything below offset %d", sqliteName, r.cursor), true
	r.pull, r.stop = iter.Pull2(r.sql.Entries(r.ctx, 0))
	if err := r.next(); err != nil {
		return 0, r.withoutSQLite(err, journalDir)
	}
	return r.cursor, nil
}

// newerSQLite refuses a repair that would give up what SQLite alone has.
func (r *repair) newerSQLite(segs []wal.Segment) error {
	last := segs[len(segs)-1]
	return fmt.Errorf("%s: %w: it is not believed (%s), and it has records up to offset %d, where the journal ends at %d; if it is %s that is of another time, move that out of the folder, and it is made anew; if it is %s, move %s* out of the folder",
		sqlitePath(r.dir), ErrMismatch, r.doubt, r.meta.Cursor, last.Base+wal.Offset(last.Size), storeFileName, sqliteName, sqliteName)
}

// withoutSQLite adds to an error of a database that cannot be read how the journal is repaired nevertheless. It is a
// person who has to say so: the records that are hurt may be in it still.
func (r *repair) withoutSQLite(err error, journalDir string) error {
	segs, listed := wal.Segments(journalDir, r.opts.journal())
	switch {
	case errors.Is(err, sqlstore.ErrNewer), errors.Is(err, sqlstore.ErrBusy), r.ctx.Err() != nil:
		return err
	case listed != nil, len(segs) == 0, segs[0].Base > 0:
		return fmt.Errorf("%w; the journal does not reach back to the beginning: restore the store from a backup", err)
	}
	return fmt.Errorf("%w; to repair the journal by itself, move %s* out of the folder: opening builds it anew, without the labels", err, sqliteName)
}

func (r *repair) next() (err error) {
	r.entry, err, r.more = r.pull()
	return err
}

// visit holds the intact records below the cursor against SQLite's entries: the records of one store must
// not be written into another one's journal.
func (r *repair) visit(rec wal.Record) error {
	r.done += int64(rec.Next - rec.Offset)
	if r.looked++; r.looked%4096 == 0 {
		if err := r.ctx.Err(); err != nil {
			return context.Cause(r.ctx)
		}
		if r.o.Progress != nil {
			r.o.Progress(r.done, r.total)
		}
	}
	if r.sql == nil || rec.Offset >= r.cursor {
		return nil
	}
	for r.more && wal.Offset(r.entry.JournalOffset) < rec.Offset {
		if err := r.next(); err != nil {
			return err
		}
	}
	id, ok := idOf(rec.Payload)
	if r.more && wal.Offset(r.entry.JournalOffset) == rec.Offset {
		if !ok || id != Hash(r.entry.QueryID) {
			return r.foreign(rec, fmt.Sprintf("SQLite has %s from there", Hash(r.entry.QueryID)))
		}
		return nil
	}
	// No entry's: one that says again what an earlier one has said, or was rejected.
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
	return r.foreign(rec, fmt.Sprintf("SQLite has no such record, though it should have all below %d", r.cursor))
}

func (r *repair) foreign(rec wal.Record, why string) error {
	return fmt.Errorf("%s: %w: an intact record of the journal at offset %d is not SQLite's (%s); a repair would mix two histories. Where the journal is the right one, move %s* out of the folder: opening builds it anew",
		sqlitePath(r.dir), ErrMismatch, rec.Offset, why, sqliteName)
}

// records hands back what SQLite has of a damaged range: admitted records, and those that were rejected.
func (r *repair) records(from, to wal.Offset) iter.Seq2[wal.Record, error] {
	return func(yield func(wal.Record, error) bool) {
		if r.sql == nil {
			return
		}
		if err := r.handBack(from, to, func(rec wal.Record) bool { return yield(rec, nil) }); err != nil {
			yield(wal.Record{}, err)
		}
	}
}

func (r *repair) handBack(from, to wal.Offset, yield func(wal.Record) bool) error {
	rejected, err := r.sql.RejectedBetween(r.ctx, uint64(from), uint64(to))
	if err != nil {
		return err
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
		// What kv lacks, or has other bytes for, is not this record any more.
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
