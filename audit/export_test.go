package audit

import (
	"context"
	"time"
)

// WithWALLimit is the size of SQLite's -wal at which the applier waits for readers.
func WithWALLimit(n int64) Option { return func(o *options) { o.walLimit = n } }

// WithClock is the journal's clock.
func WithClock(now func() time.Time) Option { return func(o *options) { o.now = now } }

// Checkpoint brings to disk what is applied, as the applier does now and then.
func Checkpoint(db *DB) error {
	db.applier.busy.Lock()
	defer db.applier.busy.Unlock()
	return db.applier.checkpoint(context.Background(), false)
}
