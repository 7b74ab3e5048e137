package wal

import (
	"time"

	"github.com/auditsql/auditsql/wal/internal/segment"
)

// Options configure a journal or a reader. The zero value is good for both.
type Options struct {
	// FS is where the journal lies; nil is OS. It must be comparable: a reader finds the writer in
	// its own process by it.
	FS FS

	// Cursor returns the offset up to which the caller has everything, so durably that it can do without
	// the log before it; nil is 0. Open calls it once, when the lock is held and nothing has been read or
	// changed, so that no other writer can move the cursor meanwhile. It must not read the journal: readers in
	// this process wait until recovery has ended.
	Cursor func() (Offset, error)
	// Reached returns an offset up to which the log is known to have been synced, which may lie after the cursor;
	// nil is 0. A record before it that is not intact is damage, though no mark attests it, and a log that ends
	// before it is ErrAhead. Open calls it once, after Cursor. Verify and OpenReader call it once, before they read: without it
	// they take such a record for a torn tail.
	Reached func() Offset
	// Identity says whose journal this is: up to MaxIdentity bytes of the caller's, or none. Each new segment
	// begins with it. Writers and readers refuse a segment that begins with another one, with ErrForeign. They
	// accept segments without one. The identity of a journal must not change.
	Identity []byte
	// Durability is when an append returns; the zero value is SyncGroup.
	Durability Durability
	// SegmentBytes is the length at which a segment is full; 0 is 64 MiB. A segment ends after the
	// record that fills it.
	SegmentBytes int64
	// MaxPayload is the longest payload that Append takes; 0 is the format's 16 MiB, and at least
	// 4 KiB are always taken. Reading allows what the format allows.
	MaxPayload int
	// MarkGroups puts a mark in front of each group of appends, and one at the end when the journal is closed. So all is
	// attested but the newest group of a journal that was not closed. It costs 49 bytes a group. Without it a mark follows
	// each 64 KiB or more.
	MarkGroups bool
	// KeepTail is for a log whose records stand by themselves, so that a later one is of use without an earlier one. Open
	// then keeps intact records that follow bytes of the tail which are none. Such bytes are copied to quarantine, and
	// fillers take their place (Recovery.Filled). Only what no intact record follows is cut.
	KeepTail bool
	// Preallocate is how far the active segment is written with zeros ahead of its data, so that a
	// sync needs no metadata; 0 is 1 MiB, less than 0 is none, and 64 MiB is the most.
	Preallocate int64
	// Archive is a folder that RemoveBefore moves segments to; empty: they are deleted. Each journal needs
	// one of its own: a segment that is there with other content is not replaced.
	Archive string
	// LockWait is how long Open tries to take the lock; 0 is 250 ms. Readers hold it for moments.
	LockWait time.Duration
	// LockNote says what the writer is doing. It stands in the lock's file while the journal is open, on the line
	// after the process id, and Holder returns it. At most 40 bytes, without a line break.
	LockNote string
	// OnSync, if set, is called after every sync that made records of the caller's durable. The goroutine that
	// writes the journal calls it, and waits for it.
	OnSync func(Synced)

	// OnTrimmed, if set, is called by Verify for each stretch of log that a writer removed before Verify could read
	// it. An error that it returns ends Verify.
	OnTrimmed func(Gap) error
	// OnFilled, if set, is called by Verify for each filler that a repair has put in the place of records that were lost, between the
	// records before and after it. An error that it returns ends Verify.
	OnFilled func(Gap) error

	// Follow makes Reader.Next wait at the end of the data instead of returning io.EOF.
	Follow bool

	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Synced is what one sync made durable.
type Synced struct {
	End     Offset        // everything before it is durable
	Records int           // of the caller's, without control records
	Bytes   int64         // on disk, control records included
	Took    time.Duration // the sync alone, without the writes before it
}

// Durability is when an append returns, and with it what a power cut can lose.
type Durability struct {
	each     bool
	interval time.Duration
}

var (
	// SyncGroup returns after a sync that it shares with the appends that were waiting at the same time. A power cut
	// loses nothing that was acknowledged.
	SyncGroup = Durability{}
	// SyncEach returns after a sync of its own. A power cut loses nothing that was acknowledged.
	SyncEach = Durability{each: true}
)

// SyncInterval returns after the write; a sync follows within d, which must be above 0. A power cut
// loses at most the last d. When only the process dies, nothing is lost. The sync begins after half of d, so
// that it has ended when d has passed.
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
	// checkFilesEvery is how often a writer checks that its files are still in their places.
	checkFilesEvery = time.Second / 2
)

// reached is what Reached returns, or 0.
func (o Options) reached() Offset {
	if o.Reached == nil {
		return 0
	}
	return o.Reached()
}

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
		o.SegmentBytes = max(o.SegmentBytes, segment.IdentitySize(o.Identity)+1)
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
