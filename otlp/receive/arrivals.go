package receive

import (
	"container/list"
	"sync"
	"time"

	"github.com/auditsql/auditsql/wal"
)

// arrivals are the times at which spans came that have not been joined yet.
//
// The goroutine that joins may have spans in the inbox that it has not read yet: a busy store keeps it waiting. By its own clock a
// trace could settle then although more of its spans are in the inbox already. So its clock stands still at the time at which the next span came, until that span is joined.
// What settles is the same then as without the delay.
type arrivals struct {
	mu  sync.Mutex
	all list.List // of *arrival, in the order in which they began
}

// An arrival is that of the spans of some requests.
type arrival struct {
	at   time.Time
	last wal.Offset // of these spans; it is known when they are in the inbox
	in   bool       // they are
}

// together is how far the beginnings of two requests may lie apart that count as one arrival. So their number is bounded by the time
// that the oldest span waits to be joined.
const together = 50 * time.Millisecond

// begin notes that spans are about to be appended.
func (a *arrivals) begin(now time.Time) *list.Element {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all.PushBack(&arrival{at: now})
}

// end notes that they were: last is the offset of the last one. failed: they were not.
func (a *arrivals) end(e *list.Element, last wal.Offset, failed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if failed {
		a.all.Remove(e)
		return
	}
	it := e.Value.(*arrival)
	it.last, it.in = last, true
	if prev := e.Prev(); prev != nil {
		if before := prev.Value.(*arrival); before.in && it.at.Sub(before.at) < together {
			before.last = max(before.last, it.last)
			a.all.Remove(e)
		}
	}
}

// clock returns the time up to which traces may settle: now, or when the first span came that is not before next.
func (a *arrivals) clock(next wal.Offset, now time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	for e := a.all.Front(); e != nil; e = a.all.Front() {
		it := e.Value.(*arrival)
		if !it.in || it.last >= next {
			return it.at
		}
		a.all.Remove(e)
	}
	return now
}
