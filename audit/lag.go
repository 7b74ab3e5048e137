package audit

import (
	"context"
	"fmt"

	"github.com/auditsql/auditsql/wal"
)

// Lag is what the journal holds and SQLite lacks: records that were acknowledged and that questions do not see yet.
type Lag struct {
	Records int     `json:"records"`
	More    bool    `json:"more"`   // there are more than MaxLag; Records is MaxLag then
	Oldest  *uint64 `json:"oldest"` // timestamp of the record that was admitted first; nil when there is none
}

// MaxLag is how many records a Lag counts at most.
const MaxLag = 200_000

// Lag counts what a store that is open with ReadOnly lacks. It reads the journal from
// SQLite's cursor on, which costs nearly nothing when there is no record. In the writer's process it counts in memory. With
// WithReads(Acknowledged) it is zero there, since every question waits until SQLite has everything.
//
// What the log has that a store follows is not counted. When the journal is not in its place, or is damaged after the cursor, the count ends there without an error.
func (db *DB) Lag(ctx context.Context) (Lag, error) {
	lag, err := db.lag(ctx)
	if err != nil {
		return Lag{}, fmt.Errorf("count what SQLite lacks: %w", err)
	}
	return lag, nil
}

func (db *DB) lag(ctx context.Context) (lag Lag, err error) {
	if err := db.readable(ctx); err != nil {
		return lag, err
	}
	if db.applier != nil {
		return db.lagOfBacklog(), nil
	}
	if db.file.Follows != nil || db.journalAway() != nil {
		return lag, nil
	}
	cursor, err := db.sql.Cursor(ctx)
	if err != nil {
		return lag, err
	}
	// An error ends the count: verify reports damage, and SQLite has what was trimmed meanwhile.
	_, _ = db.readJournal(ctx, wal.Offset(cursor), func(rec wal.Record) (more bool, err error) {
		if lag.Records == MaxLag {
			lag.More = true
			return false, nil
		}
		if lag.Records++; lag.Records == 1 {
			if q, err := ParseCanonical(rec.Payload); err == nil {
				lag.Oldest = &q.Timestamp
			}
		}
		return true, nil
	})
	return lag, ctx.Err()
}

// lagOfBacklog is the lag in the writer's process.
func (db *DB) lagOfBacklog() (lag Lag) {
	if db.opts.reads != Applied {
		return lag
	}
	waiting := db.backlog.Visible()
	lag.Records, lag.More = min(waiting.Len(), MaxLag), waiting.Len() > MaxLag
	for r := range waiting.All {
		lag.Oldest = &r.Timestamp
		break
	}
	return lag
}
