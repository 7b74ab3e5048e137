package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/auditsql/auditsql/wal"
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

// CanonicalTimestamp is what reads the timestamp of a stored value without the rest of it.
var CanonicalTimestamp = canonicalTimestamp

// RewriteStoreFile reads the content of a store.json and writes it as the store would.
func RewriteStoreFile(text []byte) ([]byte, error) {
	s, err := parseStoreFile(text)
	if err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

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

// NewBacklog makes a backlog with room for so many records, full of acknowledged ones: apply gives back what the first n
// hold, as a batch that took so long; put waits for room for more records and holds it; held is how many are; stop ends the giving of room.
func NewBacklog(records int) (apply func(n int, took time.Duration), put func(ctx context.Context, records int) error, held func() int, stop func()) {
	p := newPending(records, 1<<30)
	var as []*admission
	var offs []wal.Offset
	for i := range records {
		as = append(as, &admission{id: QueryID{byte(i), byte(i >> 8)}, raw: []byte("record")})
		offs = append(offs, wal.Offset(i))
		if err := p.reserve(context.Background(), 1, 6); err != nil {
			panic(err)
		}
	}
	p.acknowledge(as, offs)
	return func(n int, took time.Duration) { p.advance(wal.Offset(n), took) },
		func(ctx context.Context, n int) error { return p.reserve(ctx, n, int64(n)*6) },
		func() int { n, _ := p.load(); return n },
		p.stop
}

// NewSeen makes a filter over ids, and returns its two methods.
func NewSeen() (add func(...QueryID), maybe func(QueryID) bool) {
	s := newSeen()
	s.complete.Store(true)
	return s.add, s.maybe
}

// AwaitSeen waits until the filter over the ids is complete, and tells whether it came out of its file.
func AwaitSeen(db *DB) (fromFile bool) {
	db.background.Wait()
	return db.seen.complete.Load() && db.seen.fromFile
}

// RewriteSeen reads what a file of the filter holds, and writes it again.
func RewriteSeen(file []byte) ([]byte, error) {
	h, layers, err := decodeSeen(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = encodeSeen(&out, h, layers)
	return out.Bytes(), err
}

// SmallSeen is a file of the filter with small layers.
func SmallSeen(rooms ...int) []byte {
	h := seenHead{Magic: seenMagic, Layers: uint64(len(rooms))}
	var layers []*bloom
	for _, room := range rooms {
		layers = append(layers, newBloom(room))
	}
	var out bytes.Buffer
	if err := encodeSeen(&out, h, layers); err != nil {
		panic(err)
	}
	return out.Bytes()
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
