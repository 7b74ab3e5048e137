package wal

import "time"

// Options set up a journal or a reader. The zero value is good for both.
type Options struct {
	// FS is where the journal lies; nil is OS. It must be comparable: a reader finds the writer in
	// its own process by it.
	FS FS

	// Cursor tells Open up to which offset the caller has everything, durably enough to do without
	// what lies below; nil is 0. It is called once, when the lock is held and nothing has been read or
	// changed, so that nobody else can move what it reads. It must not read the journal: readers in this
	// process wait until recovery has ended.
	Cursor func() (Offset, error)
	// Reached tells Open up to which offset the log is known to have been synced, when the caller has less than
	// that by now; nil is 0. What is hurt below it is damage, though no mark says so, and a log that ends below
	// it is ErrAhead. It is called once, behind Cursor.
	Reached func() Offset
	// Identity says whose journal this is: up to MaxIdentity bytes of the caller's, or none. Each new segment
	// begins with it, and a segment that begins with another one is refused with ErrForeign, by writers and
	// readers alike. Segments without one are accepted. It must stay as it is.
	Identity []byte
	// Durability is when an append returns; the zero value is SyncGroup.
	Durability Durability
	// SegmentBytes is the length at which a segment is full; 0 is 64 MiB. A segment ends behind the
	// record that fills it.
	SegmentBytes int64
	// MaxPayload is the longest payload that Append takes; 0 is the format's 16 MiB, and at least
	// 4 KiB are always taken. Reading allows what the format allows.
	MaxPayload int
	// Preallocate is how far the active segment is written with zeros ahead of its data, so that a
	// sync needs no metadata; 0 is 1 MiB, less than 0 is none, and 64 MiB is the most.
	Preallocate int64
	// Archive is a folder that RemoveBefore moves segments to; empty: they are deleted. Each journal needs
	// one of its own: a segment that is there with other content is not replaced.
	Archive string
	// LockWait is how long Open tries for the lock; 0 is 250 ms. Readers hold it for moments.
	LockWait time.Duration
	// LockNote is a word that stands in the lock's file while the journal is open, on the line after the process id, and
	// that Holder returns: what the writer is there for. At most 40 bytes, without a line break.
	LockNote string
	// OnSync, if set, is told of every sync that made records of the caller's durable. It is called by the
	// journal's one goroutine and holds it up.
	OnSync func(Synced)

	// OnTrimmed, if set, is told by Verify of each stretch that a writer removed before it could be read. An error
	// that it returns ends the walk.
	OnTrimmed func(Gap) error

	// Follow makes Reader.Next wait at the end of the data instead of returning io.EOF.
	Follow bool

	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Synced is what one sync made durable.
type Synced struct {
	End     Offset        // everything below is durable
	Records int           // audits and other payloads of callers, without marks
	Bytes   int64         // as they lie on disk, marks included
	Took    time.Duration // the sync alone, without the writes before it
}

// Durability is when an append returns, and with it what a power cut can take.
type Durability struct {
	each     bool
	interval time.Duration
}

var (
	// SyncGroup returns after a sync shared with the appends that were waiting beside it. A power cut
	// takes nothing that was acknowledged.
	SyncGroup = Durability{}
	// SyncEach returns after a sync of its own. A power cut takes nothing that was acknowledged.
	SyncEach = Durability{each: true}
)

// SyncInterval returns after the write; a sync follows within d, which must be above 0. A power cut
// takes at most the last d, the death of the process alone nothing. The sync is begun after half of d, so
// that it has ended by then.
func SyncInterval(d time.Duration) Durability {
	return Durability{interval: max(d/2, time.Microsecond)}
}

const (
	defaultSegmentBytes = 64 << 20
	defaultPreallocate  = 1 << 20
	maxPreallocate      = 64 << 20
	minMaxPayload       = 4 << 10
	defaultLockWait     = 250 * time.Millisecond
	maxLockNote         = 40

	// markEvery is how much must have become durable since the last mark for the next one.
	markEvery = 64 << 10
	// lookEvery is how often a writer makes sure that its files are still there.
	lookEvery = time.Second / 2
)

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = OS
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = defaultSegmentBytes
	}
	if o.MaxPayload <= 0 || o.MaxPayload > MaxPayload {
		o.MaxPayload = MaxPayload
	}
	o.MaxPayload = max(o.MaxPayload, minMaxPayload)
	if len(o.Identity) > 0 {
		// A segment that is full with its identity alone would never hold a record.
		o.SegmentBytes = max(o.SegmentBytes, identitySize(o.Identity)+1)
	}
	if o.Preallocate == 0 {
		o.Preallocate = defaultPreallocate
	}
	o.Preallocate = min(o.Preallocate, maxPreallocate)
	if o.LockWait <= 0 {
		o.LockWait = defaultLockWait
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}
