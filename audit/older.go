package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// hashOlder gives the records of an older version their leaf hashes, and builds the tree. Each record that the journal
// still has is compared with it first: a hash makes what SQLite has final. It may be interrupted, and the next opening goes
// on where it stopped.
//
// A suspect database that is not rebuilt may be a mixture of two states. If its tree is not that of the leaves that it has, it
// is built again from them.
func (p *opening) hashOlder(db *DB) error {
	if p.report.Checked {
		wrong, err := db.sql.TreeDiffers(p.ctx)
		if err == nil && wrong != "" {
			p.note("the tree did not fit the records (%s); it was built anew from their leaf hashes", wrong)
			err = db.sql.DropTree(p.ctx)
		}
		if err != nil {
			return err
		}
	}
	due, err := db.sql.Hashing(p.ctx)
	if err != nil || !due {
		return err
	}
	segs, err := db.segments()
	if err != nil {
		return err
	}
	o := older{opening: p, journal: journalRecords{db: db, segs: segs}}
	defer o.journal.close()
	err = db.sql.BuildTree(p.ctx, o.valueToHash, p.migrating("records of an older version are being hashed"))
	if err != nil {
		return fmt.Errorf("hash the records: %w", db.lost(err))
	}
	p.restored = o.restored
	switch {
	case o.alone > 0:
		p.note("the records of an older version have leaf hashes now; %d of them were compared with the journal, and %d could not be: the journal does not have them any more", o.compared, o.alone)
	case o.compared > 0:
		p.note("the records of an older version have leaf hashes now; all %d that were left to do were compared with the journal", o.compared)
	}
	return nil
}

// migrating returns what tells the caller and the log how far a migration is.
func (p *opening) migrating(what string) func(done, total uint64) {
	return func(done, total uint64) {
		p.opts.logger.Info(what, "done", done, "total", total)
		if p.opts.migrating != nil {
			p.opts.migrating(done, total)
		}
	}
}

// older compares entries with the records of the journal, both in the order of offsets.
type older struct {
	*opening
	journal journalRecords

	compared, alone uint64    // alone: the journal does not have the record
	restored        []QueryID // from the journal, by a repair
}

// valueToHash returns the value of an entry that gets a hash: the one that SQLite has and the journal does not contradict. When
// they differ the store is refused. A repair takes the journal's value: its header has a hash of it, and SQLite has none.
func (o *older) valueToHash(v sqlstore.EntryValue) ([]byte, error) {
	journal, err := o.journal.at(o.ctx, wal.Offset(v.JournalOffset))
	id, _ := idOf(journal)
	switch {
	case err != nil:
		return nil, err
	case journal == nil && len(v.Value) == 0:
		return nil, &sqlstore.RecordError{QueryID: v.QueryID, Missing: true}
	case journal == nil:
		o.alone++
		return v.Value, nil
	case bytes.Equal(journal, v.Value):
		o.compared++
		return v.Value, nil
	case o.opts.repairing && id == Hash(v.QueryID):
		o.restored = append(o.restored, v.QueryID)
		return journal, nil
	}
	return nil, fmt.Errorf("%w; repair --apply takes that of the journal", otherInJournal(v))
}

// otherInJournal says that an entry has another value than the journal.
func otherInJournal(v sqlstore.EntryValue) error {
	return fmt.Errorf("%w: record %s (entry %d) has other bytes in SQLite than in the journal at offset %d, and one of the two was changed",
		ErrDamaged, Hash(v.QueryID), v.Index, v.JournalOffset)
}

// journalRecords finds the records of entries in the journal of an open store.
type journalRecords struct {
	db     *DB
	segs   []wal.Segment
	reader *wal.Reader
	rec    wal.Record // the last one read
	read   bool
	ended  bool
}

// at returns the record of the journal at an offset, or nil if the journal does not have one there. Offsets must ascend from
// call to call.
func (j *journalRecords) at(ctx context.Context, off wal.Offset) (payload []byte, err error) {
	if len(j.segs) == 0 || off < j.segs[0].Base {
		return nil, nil
	}
	if j.reader == nil {
		if j.reader, err = wal.OpenReader(j.db.journalDir, baseOf(j.segs, off), j.db.opts.journal()); err != nil {
			return nil, err
		}
	}
	for !j.ended && (!j.read || j.rec.Offset < off) {
		j.rec, err = j.reader.Next(ctx)
		if j.ended = errors.Is(err, io.EOF); err != nil && !j.ended {
			return nil, err
		}
		j.read = true
	}
	if j.ended || j.rec.Offset > off { // a filler of a repair is there
		return nil, nil
	}
	return j.rec.Payload, nil
}

func (j *journalRecords) close() {
	if j.reader != nil {
		j.reader.Close()
	}
}
