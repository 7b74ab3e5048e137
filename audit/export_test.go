package audit

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/auditsql/auditsql/wal"
)

// WithWALLimit is the size of SQLite's -wal at which the applier waits for readers.
func WithWALLimit(n int64) Option { return func(o *options) { o.limits.walBytes = n } }

// WithPatience is for how many pauses an opening or a closing store waits for a reader of SQLite, and how long a
// statement waits for SQLite's write lock.
func WithPatience(tries int, lockWait time.Duration) Option {
	return func(o *options) { o.limits.tries, o.limits.lockWait = tries, lockWait }
}

// WithClock is the journal's clock.
func WithClock(now func() time.Time) Option { return func(o *options) { o.now = now } }

// Checkpoint brings to disk what is applied, as the applier does now and then.
func Checkpoint(db *DB) error {
	db.applier.busy.Lock()
	defer db.applier.busy.Unlock()
	return db.applier.checkpoint(context.Background(), false)
}

// HeadingOf is what reads the beginning of a stored value without the rest of it.
var HeadingOf = headingOf

// WithJournalFS is the file system that the journal lies on.
func WithJournalFS(fs wal.FS) Option { return func(o *options) { o.fs = fs } }

// AtRest calls f while nothing is applied and no checkpoint is made, so that SQLite's files can be copied as they
// are at one instant. Puts go on meanwhile.
func AtRest(db *DB, f func()) {
	db.applier.busy.Lock()
	defer db.applier.busy.Unlock()
	if err := db.applier.awaitCopying(); err != nil {
		panic(err)
	}
	f()
}

// CheckpointAtRest makes a checkpoint of what is applied. It is for the function that AtRest calls.
func CheckpointAtRest(db *DB) error { return db.applier.checkpoint(context.Background(), false) }

// AwaitFilter waits until the filter over ids is complete, and reports whether it was loaded from its file.
func AwaitFilter(db *DB) (loaded bool) {
	db.background.Wait()
	return db.ids.Complete() && db.ids.Loaded()
}

// HeldBuckets counts seconds by the minute in a timeline of at most so many buckets, and returns how many are held in
// memory at most, and which minutes are left.
func HeldBuckets(most int, seconds []uint64) (held int, left []uint64) {
	c := newCalendar(TimelineOptions{By: ByMinute, MaxBuckets: most}, Seconds)
	for _, at := range seconds {
		c.bucket(c.start(at)).Audits++
		held = max(held, len(c.buckets))
	}
	return held, slices.Sorted(maps.Keys(c.buckets))
}

// WithDelivering is how long a closing store waits for the places that checkpoints go to.
func WithDelivering(d time.Duration) Option { return func(o *options) { o.limits.delivering = d } }

// KeepMoments lets a union remember fewer moments.
func (u *Union) KeepMoments(most int) { u.most = most }
