package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// The forensic questions (Trace, Impact, Answers, Diff, Agents, Timeline, Top) have this in common. In the
// writer's process they first wait until SQLite has everything that was acknowledged. They read in short
// pages, so that none of them blocks a checkpoint. An answer that a limit has cut says
// so. While the forensic tables are being rebuilt they fail with ErrReindexing.

// ask runs a question.
func (db *DB) ask(ctx context.Context, question func() error) error {
	if err := db.caughtUp(ctx); err != nil {
		return err
	}
	if err := db.whole(ctx); err != nil {
		return err
	}
	err := question()
	if whole := db.whole(ctx); err == nil || errors.Is(whole, ErrReindexing) {
		return whole // this may be why the question has failed
	}
	return err
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

// one returns the first record that a filter selects, or nil.
func (db *DB) one(ctx context.Context, f Filter) (*QueryAudit, error) {
	f.Limit = 1
	for q, err := range db.Audits(ctx, f) {
		return &q, err
	}
	return nil, nil
}
