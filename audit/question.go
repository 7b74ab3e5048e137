package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// The forensic questions (Trace, Impact, Answers, Diff, Agents, Timeline, Top) have this in common. They show what SQLite has.
// With WithReads(Acknowledged) they first wait, in the writer's process, until SQLite has everything that was
// acknowledged. With an AsOf they show the store as it was. They read in short
// pages, so that none of them blocks a checkpoint. An answer that a limit has cut says
// so. While the forensic tables are being rebuilt they fail with ErrReindexing.

// ask runs a question about the store as it is, or with asOf about the store when it had so many records.
func (db *DB) ask(ctx context.Context, asOf *uint64, question func() error) error {
	if err := db.settled(ctx); err != nil {
		return err
	}
	if err := db.reaches(ctx, asOf); err != nil {
		return err
	}
	if err := db.whole(ctx); err != nil {
		return err
	}
	return db.wholeSince(ctx, question())
}

// parsed parses stored records.
func parsed(raws iter.Seq2[[]byte, error]) iter.Seq2[QueryAudit, error] {
	return func(yield func(QueryAudit, error) bool) {
		for raw, err := range raws {
			if err != nil {
				if !yield(QueryAudit{}, err) || !ofRecord(err) {
					return
				}
				continue
			}
			q, err := storedAudit(raw)
			if !yield(q, err) || err != nil {
				return
			}
		}
	}
}

// storedAudit parses a record as SQLite has it.
func storedAudit(raw []byte) (QueryAudit, error) {
	q, err := ParseAudit(raw)
	if err != nil {
		err = fmt.Errorf("stored record: %w", err)
	}
	return q, err
}

// one returns the first record that a filter selects, that is wanted and that is not damaged, or nil. damaged are those that
// it has met. The filter's limit has no effect. A nil wanted takes every record.
func (db *DB) one(ctx context.Context, f Filter, wanted func(*QueryAudit) bool) (found *QueryAudit, damaged []*RecordError, err error) {
	// Most often it is the first record. A search for one record costs less than one for all, of which only the first is
	// taken.
	for f.Limit = 1; ; f.Limit *= 2 {
		n := 0
		damaged = nil
		for q, err := range parsed(whileOpen(ctx, db, selected(ctx, db, f, db.sql.Select))) { // as the counts beside it have it
			n++
			var left *RecordError
			switch {
			case errors.As(err, &left):
				damaged = append(damaged, left)
			case err != nil:
				return nil, nil, err
			case wanted == nil || wanted(&q):
				return &q, damaged, nil
			}
		}
		if n < f.Limit {
			return nil, damaged, nil
		}
	}
}
