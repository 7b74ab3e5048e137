package web

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// A hub lets all tails share one reader of the journal. It holds the newest records in memory, up to a limit:
//
//	journal ──TailAfter──▶ hub: the newest records, in blocks ──▶ every tail that has seen what is before them
//	   └─────TailAfter──▶ a tail that has seen less, until it has caught up
//
// So a slow tail costs no memory and stops nobody: what it has missed it reads from the journal by itself. Only when the
// journal was trimmed there, it has missed records for good.
//
// To wake a tail and to write to its connection costs as much as to send some thirty records. So the first record wakes the tails at
// once, and those that follow it are gathered for a moment and sent together.
//
// The reader runs while there are tails.
type hub struct {
	mu       sync.Mutex
	tails    int
	stop     context.CancelFunc
	run      int // number of the present reader: an older one that is still ending changes nothing
	ready    bool
	begin    audit.Offset // every record from here on is in blocks, or gathered
	blocks   []*block
	records  int    // in blocks
	bytes    int    // of these records
	gathered *block // not seen by any tail yet; nil: nothing is gathered
	failed   error
	woken    time.Time     // when the tails were woken last
	due      *time.Timer   // wakes them again; nil: they have all
	changed  chan struct{} // closed when the tails are woken
}

// What a hub holds at most, beside the block that is gathered. One block is always held, however large its record is. The texts of a
// block, one for each form in which somebody tails, are as large as its records.
const (
	hubRecords = 8192
	hubBytes   = 8 << 20
)

// The gathering ends after a pause that grows with the tails. So to wake them all takes a small part of the time, however many they are.
const (
	leastPause   = 5 * time.Millisecond
	mostPause    = 40 * time.Millisecond
	pauseForEach = 100 * time.Microsecond
)

// errCatchUp says that a hub does not have what follows an offset.
var errCatchUp = errors.New("the tail has to catch up")

// join counts a tail, and starts the reader for the first one. The tail calls leave when it ends. contain runs the reader, which
// belongs to no request, and returns an error if it panics. That ends the tails, and not the server.
func (h *hub) join(store Tailer, contain func(read func()) error) (leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tails++; h.tails == 1 {
		ctx, stop := context.WithCancel(context.Background())
		h.stop = stop
		h.run++
		h.ready, h.failed, h.woken = false, nil, time.Time{}
		h.changed = make(chan struct{})
		run := h.run
		go func() {
			if err := contain(func() { h.read(ctx, store, run) }); err != nil {
				h.change(run, func() { h.fail(err) })
			}
		}()
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.tails--; h.tails == 0 {
			h.stop()
			if h.due != nil {
				h.due.Stop()
			}
			h.blocks, h.records, h.bytes, h.gathered, h.due = nil, 0, 0, nil, nil
		}
	}
}

// read reads the journal from its end on.
func (h *hub) read(ctx context.Context, store Tailer, run int) {
	_, end, err := store.TailRange(ctx)
	if err == nil {
		h.change(run, func() {
			h.ready, h.begin = true, end
			h.wake()
		})
		for rec, failed := range store.TailAfter(ctx, end) {
			if err = failed; err != nil {
				break
			}
			h.change(run, func() { h.add(rec) })
		}
	}
	if err == nil {
		err = audit.ErrClosed // the reader only ends without an error when nobody wants it
	}
	h.change(run, func() { h.fail(err) })
}

// change changes the hub for a reader, unless that is not the present one.
func (h *hub) change(run int, how func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if run == h.run && h.tails > 0 {
		how()
	}
}

// add takes a record, and wakes the tails now or soon.
func (h *hub) add(rec audit.TailRecord) {
	if h.gathered != nil && h.gathered.full() {
		h.cut()
	}
	if h.gathered == nil {
		h.gathered = new(block)
	}
	h.gathered.add(rec)
	if h.due != nil {
		return
	}
	if wait := h.pause() - time.Since(h.woken); wait > 0 {
		run := h.run
		h.due = time.AfterFunc(wait, func() { h.change(run, h.wake) })
		return
	}
	h.wake()
}

// pause is how long records are gathered.
func (h *hub) pause() time.Duration {
	return min(mostPause, leastPause+time.Duration(h.tails)*pauseForEach)
}

// cut ends the block that is gathered. When the hub holds too much, it drops what is oldest.
func (h *hub) cut() {
	b := h.gathered
	if b == nil {
		return
	}
	h.gathered = nil
	h.blocks, h.records, h.bytes = append(h.blocks, b), h.records+len(b.records), h.bytes+b.bytes
	drop := 0
	for ; len(h.blocks)-drop > 1 && (h.records > hubRecords || h.bytes > hubBytes); drop++ {
		old := h.blocks[drop]
		h.records, h.bytes, h.begin = h.records-len(old.records), h.bytes-old.bytes, old.last().Next
	}
	clear(h.blocks[:drop])
	h.blocks = h.blocks[drop:]
}

// wake shows the tails what was gathered.
func (h *hub) wake() {
	h.cut()
	h.woken, h.due = time.Now(), nil
	close(h.changed)
	h.changed = make(chan struct{})
}

// fail ends the tails when they have sent what the hub has.
func (h *hub) fail(err error) {
	h.failed = err
	h.wake()
}

// from returns what the hub has from an offset on: a block and the number of the first record in it, or a channel that is closed when
// there may be one. It returns errCatchUp when it does not have what follows the offset. Any other error has ended the reader.
func (h *hub) from(at audit.Offset) (b *block, first int, changed <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ready && at < h.begin {
		return nil, 0, nil, cmp.Or(h.failed, errCatchUp)
	}
	i, _ := slices.BinarySearchFunc(h.blocks, at, func(b *block, at audit.Offset) int { return cmp.Compare(b.last().Offset, at) })
	if i < len(h.blocks) {
		return h.blocks[i], h.blocks[i].from(at), nil, nil
	}
	return nil, 0, h.changed, h.failed
}

// has reports whether the hub has what follows an offset.
func (h *hub) has(at audit.Offset) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ready && at >= h.begin
}
