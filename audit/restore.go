package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

// RecordsReport is what RepairRecords found and did.
type RecordsReport struct {
	Applied  bool
	Restored []QueryID // the value comes from the journal
	Rehashed []QueryID // the value was right, and gets its leaf hash back
	Lost     []QueryID // nothing that is left of the record matches: it stays damaged
	Aside    string    // the folder with what is left of lost records, or ""
}

// Damaged is how many records were damaged.
func (r *RecordsReport) Damaged() int { return len(r.Restored) + len(r.Rehashed) + len(r.Lost) }

// RepairRecords searches SQLite for records that do not match their leaf hashes, and reports what can be done about each.
// With Apply it does that. [Repair] does the same for the journal, and comes first: this reads what it has repaired.
//
// The forensic tables are rebuilt when they lack a record that was restored: a rebuild leaves a damaged one out.
//
// What decides is the record's hash. A value of the journal is written back if it has the leaf hash that kv or the tree has.
// A value that SQLite has itself, and that has the leaf hash of the tree or is the same in the journal, gets its leaf hash
// back. When neither is so the record is lost: what both have of it is copied to a folder aside, nothing is changed, and
// Verify reports it from then on.
//
// The errors are those of Open.
func RepairRecords(ctx context.Context, dir string, o RepairOptions, opts ...Option) (report RecordsReport, err error) {
	opts = append(opts, func(p *options) { p.repairing = true })
	if !o.Apply {
		opts = append(opts, ReadOnly())
	}
	db, err := OpenContext(ctx, dir, opts...)
	if err != nil {
		return report, err
	}
	report.Applied = o.Apply
	if err = errors.Join(db.repairRecords(ctx, &report), db.Close()); err != nil {
		return report, fmt.Errorf("repair records: %w", err)
	}
	return report, nil
}

func (db *DB) repairRecords(ctx context.Context, report *RecordsReport) error {
	if db.applier != nil {
		if err := db.caughtUp(ctx); err != nil {
			return err
		}
		if err := db.applier.busy.LockContext(ctx); err != nil {
			return err
		}
		defer db.applier.busy.Unlock()
	}
	report.Restored = append(report.Restored, db.restored...)
	meta, err := db.sql.Meta(ctx)
	if err != nil {
		return err
	}
	if meta.Unhashed() {
		return db.compareOlder(ctx, report)
	}
	for d, err := range db.sql.Damaged(ctx) {
		if err != nil {
			return err
		}
		journal, err := db.journalRecord(ctx, wal.Offset(d.JournalOffset))
		if err != nil {
			return err
		}
		value, list := admittedValue(&d, journal), &report.Restored
		switch {
		case value == nil:
			list = &report.Lost
		case bytes.Equal(value, d.Value):
			list = &report.Rehashed
		}
		*list = append(*list, d.QueryID)
		switch {
		case !report.Applied:
		case value == nil:
			err = db.setAside(report, &d, journal)
		default:
			err = db.sql.Restore(ctx, d.Entry, value)
		}
		if err != nil {
			return err
		}
	}
	if report.Applied {
		if err := db.showRestored(ctx); err != nil {
			return err
		}
	}
	if report.Aside != "" {
		return errors.Join(durable.SyncDir(report.Aside), durable.SyncDir(db.dir))
	}
	return nil
}

// showRestored rebuilds the forensic tables if they lack a record that was restored (see sqlstore.DB.Restore). If it is interrupted,
// the next opening does it.
func (db *DB) showRestored(ctx context.Context) error {
	due, err := db.sql.Reindexing(ctx)
	if err != nil || !due {
		return err
	}
	err = db.sql.Reindex(ctx, rowOf, nil)
	if skipped := (*sqlstore.SkippedError)(nil); errors.As(err, &skipped) {
		return nil // these are lost, and the report has them
	}
	return err
}

// compareOlder reports what a repair would restore before the records of an older version get their hashes.
func (db *DB) compareOlder(ctx context.Context, report *RecordsReport) error {
	segs, err := db.segments()
	if err != nil {
		return err
	}
	o := older{opening: &opening{ctx: ctx, opts: db.opts}, journal: journalRecords{db: db, segs: segs}}
	defer o.journal.close()
	for v, err := range db.sql.Values(ctx, 0) {
		var missing *sqlstore.RecordError
		if err == nil || errors.As(err, &missing) {
			_, err = o.valueToHash(v)
		}
		if errors.Is(err, ErrDamaged) || errors.As(err, &missing) {
			report.Lost = append(report.Lost, v.QueryID)
			err = nil
		}
		if err != nil {
			return err
		}
	}
	report.Restored = append(report.Restored, o.restored...)
	return nil
}

// admittedValue returns the value that was admitted, or nil if none of what is left shows which one that is. journal is the
// intact record of the journal, or nil.
func admittedValue(d *sqlstore.DamagedRecord, journal []byte) []byte {
	is := func(value, leaf []byte) bool {
		h := tree.LeafHash(value)
		return len(value) > 0 && bytes.Equal(h[:], leaf)
	}
	switch {
	case is(journal, d.Leaf), is(journal, d.Tile):
		return journal
	case is(d.Value, d.Tile):
		return d.Value
	case len(d.Leaf) > 0 && bytes.Equal(d.Leaf, d.Tile):
		// No damage makes two hashes equal. So they are of what was admitted, and somebody has rewritten the value in both places.
		return nil
	case len(d.Value) > 0 && bytes.Equal(d.Value, journal):
		// Its own header in the journal has the hash of its content.
		return d.Value
	}
	return nil
}

// journalRecord returns the record that begins at an offset of the journal, or nil if the journal does not have it intact.
func (db *DB) journalRecord(ctx context.Context, at wal.Offset) ([]byte, error) {
	segs, err := db.segments()
	if err != nil || len(segs) == 0 || at < segs[0].Base {
		return nil, err
	}
	reader, err := db.openJournal(at, false)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	rec, err := reader.Next(ctx)
	var corrupt *wal.CorruptError
	switch {
	case errors.As(err, &corrupt), errors.Is(err, io.EOF), err == nil && rec.Offset != at:
		return nil, nil
	case err != nil:
		return nil, err
	}
	return rec.Payload, nil
}

// setAside copies what is left of a lost record.
func (db *DB) setAside(report *RecordsReport, d *sqlstore.DamagedRecord, journal []byte) (err error) {
	if report.Aside == "" {
		if report.Aside, err = storedir.MakeAside(db.dir); err != nil {
			return err
		}
	}
	for from, value := range map[string][]byte{"sqlite": d.Value, "journal": journal} {
		if len(value) == 0 {
			continue
		}
		name := filepath.Join(report.Aside, Hash(d.QueryID).String()+"."+from)
		if err := durable.WriteBytes(name, "", value); err != nil {
			return err
		}
	}
	return nil
}
