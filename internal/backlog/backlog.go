// Package backlog keeps what is known of a record from the moment somebody puts it until SQLite has it.
//
//	Reserve ─► Claim ─► (journal) ─► Acknowledge ─► (applier) ─► Advance
//	budget     claims                ledger                      the budget is released
//
// It answers three questions. Is this id being stored already, so that the first write wins before anybody is answered
// (the claims)? Which acknowledged records does SQLite not show yet, so that reads see them (the ledger)? May more
// records come in (the budget)?
//
// It leaves to others what a record means, where it is written, and what a read does with a record that both SQLite and
// the ledger have.
package backlog

import (
	"sync"
	"time"

	"github.com/auditsql/auditsql/wal"
)

// Backlog is the claims, the ledger and the budget of one open store. Its methods may be called from any number of
// goroutines.
type Backlog struct {
	budget

	mu      sync.Mutex
	claims  map[[32]byte]*Claim // who holds an id that is not acknowledged yet
	ledger  ledger
	applied wal.Offset // SQLite has everything before this offset
	many    time.Time  // when manyWriters or more held claims last
}

// Claim is the right to store a record under an id. It lasts from before the record is given to the journal until the
// record is acknowledged or the claim is given up.
type Claim struct {
	ID        [32]byte
	Raw       []byte   // the record's canonical JSON
	Leaf      [32]byte // its leaf hash, from the bytes that the caller gave
	Agent     [32]byte
	Anonymous bool // the record has no agent
	Timestamp uint64

	// Guarded by the backlog's mu until settled is closed, and constant after that. settled is made by the first caller
	// who has to wait for it: nearly always there is none.
	settled chan struct{}
	stored  bool
	err     error
}

// Settled is closed when the claim has ended. Only a caller to whom [Backlog.Claim] returned this claim may ask.
func (c *Claim) Settled() <-chan struct{} { return c.settled }

// Outcome says how a claim has ended. Call it when Settled is closed. If stored is true, the record is durable at the level
// in force. Otherwise err, if not nil, is the error for everybody who waits for the claim. If err is nil too, the holder
// gave the id up, because its record was a duplicate, a conflict, or never given to the journal. Then the next caller may
// claim the id.
func (c *Claim) Outcome() (stored bool, err error) { return c.stored, c.err }

// New returns an empty backlog. Its budget is a number of records, and of bytes of their JSON. A put of a record that is
// larger than bytes would wait for ever. full should end whatever delays the applier. It is called when a put has to wait
// for the budget, and again at each Acknowledge while one waits.
func New(records int, bytes int64, full func()) *Backlog {
	b := &Backlog{claims: map[[32]byte]*Claim{}, ledger: ledger{index: map[[32]byte]uint64{}}}
	b.init(records, bytes, full)
	return b
}

// Found is what a call of Claim finds under the id.
type Found int

const (
	Free         Found = iota // nothing: the caller holds the id now
	Held                      // another claim, which can be waited for
	Acknowledged              // a record that the journal has
)

// Claim makes c the holder of its id, unless the id is taken. With Held it returns the claim that holds the id.
func (b *Backlog) Claim(c *Claim) (found Found, holder *Claim) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if holder = b.claims[c.ID]; holder != nil {
		if holder.settled == nil {
			holder.settled = make(chan struct{})
		}
		return Held, holder
	}
	if _, ok := b.ledger.index[c.ID]; ok {
		return Acknowledged, nil
	}
	b.claims[c.ID] = c
	if len(b.claims) >= manyWriters {
		b.many = time.Now()
	}
	return Free, nil
}

// GiveUp ends a claim whose record was not stored, and releases its part of the budget. err, if not nil, is what
// everybody who waits for the claim gets.
func (b *Backlog) GiveUp(c *Claim, err error) {
	b.mu.Lock()
	c.err = err
	b.settle(c)
	b.mu.Unlock()
	b.Release(1, int64(len(c.Raw)))
}

// settle ends a claim. The caller holds mu.
func (b *Backlog) settle(c *Claim) {
	delete(b.claims, c.ID)
	if c.settled != nil {
		close(c.settled)
	}
}

// Acknowledge ends claims whose records the journal has at these offsets, durable at the level in force.
func (b *Backlog) Acknowledge(claims []*Claim, offs []wal.Offset) {
	var applied amount
	b.mu.Lock()
	for i, c := range claims {
		c.stored = true
		b.settle(c)
		// The applier may have applied the record before this call.
		if offs[i] < b.applied {
			applied.records, applied.bytes = applied.records+1, applied.bytes+int64(len(c.Raw))
			continue
		}
		b.ledger.push(Record{c.ID, c.Agent, c.Leaf, c.Timestamp, offs[i], int32(len(c.Raw)), c.Anonymous})
	}
	b.mu.Unlock()
	b.Release(applied.records, applied.bytes)
	// A put that waits may have called full before these records were in the journal. The applier could not hurry with them
	// then.
	if b.blocked.Load() > 0 {
		b.full()
	}
}

// Advance removes the records before the offset from the ledger: SQLite has committed them. It is called after the
// commit, so that a reader who does not find a record in the ledger any more finds it in SQLite. The ledger is in the
// order of acknowledgement, and only its front is removed. So a record stays as long as one that was acknowledged before it
// has an offset that is not applied. took is how long it took to apply the batch.
func (b *Backlog) Advance(applied wal.Offset, took time.Duration) {
	b.mu.Lock()
	b.applied = applied
	done := b.ledger.removeBefore(applied)
	b.mu.Unlock()
	b.releaseBatch(done, took)
}

// Find returns where the journal has an acknowledged record that SQLite may not show yet, and its leaf hash.
func (b *Backlog) Find(id [32]byte) (at wal.Offset, leaf [32]byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.ledger.find(id)
	if r == nil {
		return 0, leaf, false
	}
	return r.Offset, r.Leaf, true
}

// Altered returns the first of n records that was put in this process with another leaf hash, or -1. A record may be on its
// way to the journal still. All records are compared under one lock, since those who put wait for the same one.
func (b *Backlog) Altered(n int, record func(i int) (id, leaf [32]byte)) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range n {
		id, leaf := record(i)
		if c := b.claims[id]; c != nil {
			if c.Leaf != leaf {
				return i
			}
		} else if r := b.ledger.find(id); r != nil && r.Leaf != leaf {
			return i
		}
	}
	return -1
}

// Visible returns the acknowledged records that SQLite may not show yet. It must be called before SQLite is asked. A
// record that SQLite has as well is the same record.
func (b *Backlog) Visible() Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ledger.snapshot()
}

// manyWriters is how many records on their way to the journal count as many.
const manyWriters = 16

// Busy reports whether many records are on their way to the journal while the budget will last for some time: work that
// can wait should wait.
func (b *Backlog) Busy() bool { return b.manyWithin(0) && b.fill() < nearlyFull }

// manyWithin reports whether many records are on their way to the journal, or were at some instant of the last while.
func (b *Backlog) manyWithin(last time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.claims) >= manyWriters || time.Since(b.many) < last
}
