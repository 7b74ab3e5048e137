package audit

import (
	"context"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/auditsql/auditsql/wal"
)

// pending knows the records between the moment somebody puts them and the moment SQLite has them.
//
// It answers three questions: is this id on its way already (so that the first write wins before
// anybody is answered), what has been acknowledged that SQLite does not show yet (so that reads see it),
// and is there room for more.
//
// Of an acknowledged record it keeps where the journal has it and what a read selects by, some 150 bytes
// with its place in the index, and not the record: so a long backlog costs disk and little memory.
type pending struct {
	mu       sync.Mutex
	inFlight map[QueryID]*admission // who holds an id that is not acknowledged yet
	// The acknowledged ones in the order of acknowledgement, as a queue of chunks. Sequence numbers count
	// from 0; head is the first one that is left, tail the next one to come.
	chunks     []*[chunkLen]acked
	head, tail uint64
	index      map[QueryID]uint64
	applied    wal.Offset // up to here SQLite has everything

	// Room in records and in bytes. What is taken is given back when the record is applied, or was none. What is held
	// counts what is not applied; the semaphores may give room back later.
	records, bytes       *semaphore.Weighted
	maxRecords, maxBytes int64
	heldRecords          atomic.Int64
	heldBytes            atomic.Int64
	waiting              atomic.Int32 // how many wait for room

	// Room of applied records that is still to be given back, in portions; see giveBack.
	giving   sync.Mutex
	waited   time.Time // when somebody had to wait for room last
	owed     room
	portions int // how many are left
	every    time.Duration
	later    *time.Timer // gives the next one
	stopped  bool        // nobody waits for room any more

	// crowded is called when somebody has to wait for room, and for each record that is acknowledged meanwhile.
	crowded func()
	// down ends, with its cause, when nothing will make room any more.
	down context.Context
	fail context.CancelCauseFunc
}

// admission is the claim on an id, from before its record is given to the journal until it is acknowledged
// or given up.
type admission struct {
	id        QueryID
	raw       []byte // the record's canonical JSON
	agent     AgentID
	anonymous bool
	timestamp uint64

	// Guarded by pending's mu, and fixed once settled is closed. settled is made by whoever waits for it
	// first: nearly always nobody does.
	settled chan struct{}
	// stored: the record is durable at the level in force. With neither this nor err, the holder gave the id
	// up (the record was a duplicate, a conflict or never given to the journal), and the next one may try.
	stored bool
	err    error
}

// acked is an acknowledged record.
type acked struct {
	id        QueryID
	agent     AgentID
	timestamp uint64
	offset    wal.Offset
	size      int32 // of its JSON
	anonymous bool
}

// room is room in the backlog.
type room struct {
	records int
	bytes   int64
}

const chunkLen = 1024

func newPending(records int, bytes int64) *pending {
	// One record of any legal size must fit, or it would wait for ever.
	p := &pending{
		inFlight: map[QueryID]*admission{}, index: map[QueryID]uint64{},
		maxRecords: int64(records), maxBytes: max(bytes, MaxEncoded),
	}
	p.records, p.bytes = semaphore.NewWeighted(p.maxRecords), semaphore.NewWeighted(p.maxBytes)
	p.down, p.fail = context.WithCancelCause(context.Background())
	p.crowded = func() {}
	return p
}

// reserve waits for room, until ctx ends or nothing will make room any more.
func (p *pending) reserve(ctx context.Context, records int, bytes int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := context.Cause(p.down); err != nil {
		return err
	}
	if !p.records.TryAcquire(int64(records)) {
		if err := p.acquire(ctx, p.records, int64(records)); err != nil {
			return err
		}
	}
	if !p.bytes.TryAcquire(bytes) {
		if err := p.acquire(ctx, p.bytes, bytes); err != nil {
			p.records.Release(int64(records))
			return err
		}
	}
	p.heldRecords.Add(int64(records))
	p.heldBytes.Add(bytes)
	return nil
}

func (p *pending) acquire(ctx context.Context, of *semaphore.Weighted, n int64) error {
	p.waiting.Add(1) // first, for acknowledge
	defer func() {
		p.giving.Lock()
		p.waited = time.Now()
		p.giving.Unlock()
		p.waiting.Add(-1)
	}()
	p.crowded()
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.down, func() { cancel(context.Cause(p.down)) })()
	if err := of.Acquire(waiting, n); err != nil {
		return context.Cause(waiting)
	}
	return nil
}

// giveBack gives back the room of a batch that took so long to apply. While puts wait for room it does so bit by bit,
// over as long as the batch after it will take: with all at once, as many puts as a batch has records would go through
// in a moment, and then all stand still until the next one is applied, for seconds. (Measured with 64 writers for longer
// than the backlog lasts: the slowest put in a thousand took 1.7 s without this, 0.1 s with it.)
//
// There is no next batch to wait for, and all is given at once, where this one was most of the backlog.
func (p *pending) giveBack(r room, took time.Duration) {
	p.letGo(r)
	p.giving.Lock()
	defer p.giving.Unlock()
	p.free(p.owed) // of the batch before, which was expected to take longer
	p.owed, p.portions = r, 1
	if p.scarce() && p.fill() > 0.5 {
		took = min(took, longestGiving)
		p.portions = max(1, min(int(took/portionEvery), r.records))
		p.every = took / time.Duration(p.portions)
	}
	p.give()
}

const (
	portionEvery  = 2 * time.Millisecond // at least
	longestGiving = 10 * time.Second
)

// stop ends the giving of room: the store is closed.
func (p *pending) stop() {
	p.giving.Lock()
	defer p.giving.Unlock()
	p.stopped = true
	if p.later != nil {
		p.later.Stop()
	}
}

// give gives the next portion back, and has the one after it given. The caller holds giving.
func (p *pending) give() {
	if p.stopped {
		return
	}
	part := p.owed
	if p.portions > 1 && p.scarce() {
		part = room{p.owed.records / p.portions, p.owed.bytes / int64(p.portions)}
	}
	p.free(part)
	p.owed.records -= part.records
	p.owed.bytes -= part.bytes
	p.portions--
	if p.later != nil {
		p.later.Stop()
	}
	if p.owed != (room{}) {
		p.later = time.AfterFunc(p.every, func() {
			p.giving.Lock()
			defer p.giving.Unlock()
			p.give()
		})
	}
}

// scarce tells whether puts have to wait for room. A slow sync, of tenths of a second while a checkpoint shares the
// disk, holds all of them up elsewhere for a moment. The caller holds giving.
func (p *pending) scarce() bool {
	return p.waiting.Load() > 0 || time.Since(p.waited) < time.Second
}

// free lets those who wait have room.
func (p *pending) free(r room) {
	if r != (room{}) {
		p.records.Release(int64(r.records))
		p.bytes.Release(r.bytes)
	}
}

// letGo counts room as held no more.
func (p *pending) letGo(r room) {
	p.heldRecords.Add(-int64(r.records))
	p.heldBytes.Add(-r.bytes)
}

func (p *pending) release(records int, bytes int64) {
	r := room{records, bytes}
	p.letGo(r)
	p.free(r)
}

// claimed is what a claim found.
type claimed int

const (
	claimNew   claimed = iota // the id is the caller's now
	claimHeld                 // by another, who can be waited for
	claimAcked                // the record is in the journal
)

// claim makes a the holder of its id, unless it is taken. A holder's settled is there to be waited for.
func (p *pending) claim(a *admission) (found claimed, holder *admission) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if holder = p.inFlight[a.id]; holder != nil {
		if holder.settled == nil {
			holder.settled = make(chan struct{})
		}
		return claimHeld, holder
	}
	if _, ok := p.index[a.id]; ok {
		return claimAcked, nil
	}
	p.inFlight[a.id] = a
	return claimNew, nil
}

// giveUp settles an admission that did not become a record, and gives its room back. err, if not nil, is
// what everybody who waits for it gets.
func (p *pending) giveUp(a *admission, err error) {
	p.mu.Lock()
	a.err = err
	p.settle(a)
	p.mu.Unlock()
	p.release(1, int64(len(a.raw)))
}

// settle ends a claim. The caller holds mu.
func (p *pending) settle(a *admission) {
	delete(p.inFlight, a.id)
	if a.settled != nil {
		close(a.settled)
	}
}

// acknowledge settles admissions whose records the journal has at these offsets, durable at the level in
// force.
func (p *pending) acknowledge(as []*admission, offs []wal.Offset) {
	records, size := 0, int64(0)
	p.mu.Lock()
	for i, a := range as {
		a.stored = true
		p.settle(a)
		// The applier may have been faster.
		if offs[i] < p.applied {
			records, size = records+1, size+int64(len(a.raw))
			continue
		}
		p.push(acked{a.id, a.agent, a.timestamp, offs[i], int32(len(a.raw)), a.anonymous})
	}
	p.mu.Unlock()
	p.release(records, size)
	// Who waits for room has said so before this record was in the journal, perhaps.
	if p.waiting.Load() > 0 {
		p.crowded()
	}
}

func (p *pending) push(r acked) {
	at := p.tail - p.head/chunkLen*chunkLen // in the chunks that are left
	if at/chunkLen == uint64(len(p.chunks)) {
		p.chunks = append(p.chunks, new([chunkLen]acked))
	}
	p.chunks[at/chunkLen][at%chunkLen] = r
	p.index[r.id] = p.tail
	p.tail++
}

func (p *pending) at(seq uint64) *acked {
	at := seq - p.head/chunkLen*chunkLen
	return &p.chunks[at/chunkLen][at%chunkLen]
}

// advance takes out what SQLite has committed: everything below the offset. It is called after the commit,
// so that a reader who no longer finds a record here finds it there. A record that was acknowledged before
// one with a lower offset waits for that one. took is how long the batch was being applied.
func (p *pending) advance(applied wal.Offset, took time.Duration) {
	var free room
	p.mu.Lock()
	p.applied = applied
	for p.head < p.tail {
		r := p.at(p.head)
		if r.offset >= applied {
			break
		}
		free.records, free.bytes = free.records+1, free.bytes+int64(r.size)
		delete(p.index, r.id)
		if p.head++; p.head%chunkLen == 0 {
			p.chunks = append([]*[chunkLen]acked(nil), p.chunks[1:]...) // snapshots keep the old array
		}
	}
	p.mu.Unlock()
	p.giveBack(free, took)
}

// find returns where the journal has an acknowledged record that SQLite may not show yet.
func (p *pending) find(id QueryID) (wal.Offset, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seq, ok := p.index[id]
	if !ok {
		return 0, false
	}
	return p.at(seq).offset, true
}

// backlog is the acknowledged records at a moment, in the order of acknowledgement.
type backlog struct {
	chunks      []*[chunkLen]acked
	first, size int // in the first chunk, and how many
}

// visible returns the acknowledged records that SQLite may not show yet. It must be called before SQLite
// is asked; records that turn up in both are the same.
func (p *pending) visible() backlog {
	p.mu.Lock()
	defer p.mu.Unlock()
	// What was pushed never changes its place in a chunk, and advance makes a new list.
	return backlog{p.chunks[:len(p.chunks):len(p.chunks)], int(p.head % chunkLen), int(p.tail - p.head)}
}

// all yields the records of a backlog. They are not to be changed.
func (b backlog) all(yield func(*acked) bool) {
	for i := b.first; i < b.first+b.size; i++ {
		if !yield(&b.chunks[i/chunkLen][i%chunkLen]) {
			return
		}
	}
}

// load returns how much is held.
func (p *pending) load() (records int, bytes int64) {
	return int(p.heldRecords.Load()), p.heldBytes.Load()
}

// nearlyFull is how much of the room is taken when SQLite comes first: before long, puts will have to wait for it.
const nearlyFull = 0.9

// crowd tells whether many records are on their way to the journal, and there is room for them for some time yet:
// whatever can wait had better do so.
func (p *pending) crowd() bool {
	const many = 16
	p.mu.Lock()
	writers := len(p.inFlight)
	p.mu.Unlock()
	return writers >= many && p.fill() < nearlyFull
}

// fill returns how much of the room is taken: 0 is none, 1 all.
func (p *pending) fill() float64 {
	records, bytes := p.load()
	return max(float64(records)/float64(p.maxRecords), float64(bytes)/float64(p.maxBytes))
}

// idOf reads the id off a canonical record, in which it comes first.
func idOf(payload []byte) (id QueryID, ok bool) {
	const head = `{"query_id":"`
	if len(payload) < len(head)+hexLen || string(payload[:len(head)]) != head {
		return id, false
	}
	_, err := hex.Decode(id[:], payload[len(head):len(head)+hexLen])
	return id, err == nil
}
