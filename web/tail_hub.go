package web

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/auditsql/auditsql/audit"
)

// A hub lets all tails share one reader of the journal. It holds the newest records in memory, up to a limit:
//
//	journal ──TailAfter──▶ hub: the newest records ──▶ every tail that has seen what is before them
//	   └─────TailAfter──▶ a tail that has seen less, until it has caught up
//
// So a slow tail costs no memory and stops nobody: what it has missed it reads from the journal by itself. Only when the
// journal was trimmed there, it has missed records for good.
//
// The reader runs while there are tails.
type hub struct {
	mu      sync.Mutex
	tails   int
	stop    context.CancelFunc
	run     int // number of the present reader: an older one that is still ending changes nothing
	ready   bool
	begin   audit.Offset // every record from here on is in records
	next    audit.Offset // where the reader goes on
	records []audit.TailRecord
	bytes   int
	failed  error
	changed chan struct{} // closed when any of this changes
}

// What a hub holds at most. One record is always held, however large it is.
const (
	hubRecords = 8192
	hubBytes   = 8 << 20
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
		h.ready, h.records, h.bytes, h.failed = false, nil, 0, nil
		h.changed = make(chan struct{})
		run := h.run
		go func() {
			if err := contain(func() { h.read(ctx, store, run) }); err != nil {
				h.change(run, func() { h.failed = err })
			}
		}()
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.tails--; h.tails == 0 {
			h.stop()
			h.records = nil
		}
	}
}

// read reads the journal from its end on.
func (h *hub) read(ctx context.Context, store Tailer, run int) {
	_, end, err := store.TailRange(ctx)
	if err == nil {
		h.change(run, func() { h.ready, h.begin, h.next = true, end, end })
		for rec, failed := range store.TailAfter(ctx, end) {
			if err = failed; err != nil {
				break
			}
			h.change(run, func() { h.add(rec) })
		}
	}
	h.change(run, func() {
		if h.failed = err; err == nil {
			h.failed = audit.ErrClosed // the reader only ends without an error when nobody wants it
		}
	})
}

func (h *hub) change(run int, how func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if run != h.run {
		return
	}
	how()
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *hub) add(rec audit.TailRecord) {
	h.records, h.bytes, h.next = append(h.records, rec), h.bytes+len(rec.Raw), rec.Next
	drop := 0
	for ; len(h.records)-drop > 1 && (len(h.records)-drop > hubRecords || h.bytes > hubBytes); drop++ {
		h.bytes -= len(h.records[drop].Raw)
	}
	if drop > 0 {
		h.begin = h.records[drop-1].Next
		clear(h.records[:drop])
		h.records = h.records[drop:]
	}
}

// from returns what the hub has from an offset on: a few records, or a channel that is closed when there may be some. It returns
// errCatchUp when it does not have what follows the offset. Any other error has ended the reader.
func (h *hub) from(at audit.Offset) (records []audit.TailRecord, changed <-chan struct{}, err error) {
	const few = 256
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.failed != nil:
		return nil, nil, h.failed
	case h.ready && at < h.begin:
		return nil, nil, errCatchUp
	}
	low, _ := slices.BinarySearchFunc(h.records, at, func(rec audit.TailRecord, at audit.Offset) int { return cmp.Compare(rec.Offset, at) })
	records = append(records, h.records[low:min(low+few, len(h.records))]...)
	return records, h.changed, nil
}

// has reports whether the hub has what follows an offset.
func (h *hub) has(at audit.Offset) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ready && at >= h.begin
}
