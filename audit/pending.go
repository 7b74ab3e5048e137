package audit

import (
	"bytes"
	"context"
	"encoding/hex"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/auditsql/auditsql/sqlstore"
)

// pending holds the records between the moment somebody puts them and the moment SQLite has them.
//
// It answers three questions: is this id on its way already (so that the first write wins before
// anybody is answered), what has been acknowledged that SQLite does not show yet (so that reads see it),
// and is there room for more.
type pending struct {
	mu   sync.Mutex
	byID map[QueryID]*admission
	// acked are the acknowledged ones in the order of acknowledgement; those at the front that are applied
	// are dropped. Its elements never change places, so a copy of the slice is a snapshot.
	acked []*admission

	// Room in records and in bytes. What is taken is given back when the record is applied, or was none.
	records, bytes       *semaphore.Weighted
	maxRecords, maxBytes int64
	heldRecords          atomic.Int64
	heldBytes            atomic.Int64

	// crowded is called when somebody has to wait for room.
	crowded func()
	// down ends, with its cause, when nothing will make room any more.
	down context.Context
	fail context.CancelCauseFunc
}

// admission is one record on its way.
type admission struct {
	id   QueryID
	raw  []byte          // its canonical JSON
	row  sqlstore.Record // raw taken apart
	done chan struct{}   // closed when it is settled
	// stored and err are set before done is closed. Stored: it is durable at the level in force. With
	// neither, whoever held the id gave it up (it was a duplicate, a conflict or never given to the
	// journal), and the next one may try.
	stored bool
	err    error
	// applied is set once SQLite has it; from then on it is in none of pending's lists.
	applied atomic.Bool
	// released says that its room was given back; guarded by pending's mu. Of a group that failed in the
	// middle, one part can be given up while the applier has another, or the same.
	released bool
}

func newPending(records int, bytes int64) *pending {
	// One record of any legal size must fit, or it would wait for ever.
	p := &pending{byID: map[QueryID]*admission{}, maxRecords: int64(records), maxBytes: max(bytes, MaxEncoded)}
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

func (p *pending) acquire(ctx context.Context, room *semaphore.Weighted, n int64) error {
	p.crowded()
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.down, func() { cancel(context.Cause(p.down)) })()
	if err := room.Acquire(waiting, n); err != nil {
		return context.Cause(waiting)
	}
	return nil
}

func (p *pending) release(records int, bytes int64) {
	p.heldRecords.Add(-int64(records))
	p.heldBytes.Add(-bytes)
	p.records.Release(int64(records))
	p.bytes.Release(bytes)
}

// claim makes a the holder of its id, or returns who holds it.
func (p *pending) claim(a *admission) (holder *admission) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if holder = p.byID[a.id]; holder == nil {
		p.byID[a.id] = a
	}
	return holder
}

// giveUp settles an admission that did not become a record, and gives its room back. err, if not nil, is
// what everybody who waits for it gets.
func (p *pending) giveUp(a *admission, err error) {
	p.mu.Lock()
	release := p.forget(a)
	p.mu.Unlock()
	a.err = err
	close(a.done)
	if release {
		p.release(1, int64(len(a.raw)))
	}
}

// forget takes an admission off its id, and reports whether its room is to be given back. The caller holds mu.
func (p *pending) forget(a *admission) (release bool) {
	if p.byID[a.id] == a {
		delete(p.byID, a.id)
	}
	release = !a.released
	a.released = true
	return release
}

// acknowledge settles admissions whose records are durable at the level in force.
func (p *pending) acknowledge(as []*admission) {
	p.mu.Lock()
	for _, a := range as {
		a.stored = true
		// The applier may have been faster.
		if !a.applied.Load() {
			p.acked = append(p.acked, a)
		}
	}
	p.mu.Unlock()
	for _, a := range as {
		close(a.done)
	}
}

// onItsWay returns the admission of a journal record, or nil when it came from elsewhere: from before
// this opening, or not through this store.
func (p *pending) onItsWay(payload []byte) *admission {
	id, ok := idOf(payload)
	if !ok {
		return nil
	}
	p.mu.Lock()
	a := p.byID[id]
	p.mu.Unlock()
	if a == nil || !bytes.Equal(a.raw, payload) {
		return nil
	}
	return a
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

// settle takes out admissions that SQLite has committed. It is called after the commit, so that a
// reader who no longer finds a record here finds it there.
func (p *pending) settle(as []*admission) {
	records, size := 0, int64(0)
	p.mu.Lock()
	for _, a := range as {
		a.applied.Store(true)
		if p.forget(a) {
			records, size = records+1, size+int64(len(a.raw))
		}
	}
	n := 0
	for n < len(p.acked) && p.acked[n].applied.Load() {
		n++
	}
	if n > 0 {
		// A new array: the old one would keep what has been applied in memory, outside every bound.
		p.acked = append([]*admission(nil), p.acked[n:]...)
	}
	p.mu.Unlock()
	if records > 0 {
		p.release(records, size)
	}
}

// find returns the bytes of an acknowledged record that SQLite may not show yet.
func (p *pending) find(id QueryID) ([]byte, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.byID[id]
	if a == nil || !a.stored {
		return nil, false
	}
	return bytes.Clone(a.raw), true
}

// visible returns the acknowledged records that SQLite may not show yet. It must be called before SQLite
// is asked; records that turn up in both are the same.
func (p *pending) visible() []*admission {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked[:len(p.acked):len(p.acked)]
}

// load returns how much is held.
func (p *pending) load() (records int, bytes int64) {
	return int(p.heldRecords.Load()), p.heldBytes.Load()
}
