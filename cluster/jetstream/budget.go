package jetstream

import (
	"context"
	"slices"
	"sync"
)

// A budget is how many bytes all appends of a log may have under way, windowBytes. Who waits for a part of it gets it in turn: otherwise large
// messages would wait for as long as small ones come. Who waits has nothing of it, so that it always comes back.
type budget struct {
	mu      sync.Mutex
	used    int
	waiting []*claim // in their order
}

// A claim waits for a part of a budget.
type claim struct {
	bytes int
	taken chan struct{} // closed when it has them
}

// fits reports whether so many bytes are left. The lock is held.
func (b *budget) fits(bytes int) bool { return b.used+bytes <= windowBytes }

// take takes a part, if it is left and nobody waits.
func (b *budget) take(bytes int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) > 0 || !b.fits(bytes) {
		return false
	}
	b.used += bytes
	return true
}

// await waits for a part, and reports false if ctx ends before. The caller has no part.
func (b *budget) await(ctx context.Context, bytes int) bool {
	c := &claim{bytes, make(chan struct{})}
	b.mu.Lock()
	b.waiting = append(b.waiting, c)
	b.grant()
	b.mu.Unlock()
	select {
	case <-c.taken:
		return true
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if at := slices.Index(b.waiting, c); at >= 0 {
		b.waiting = slices.Delete(b.waiting, at, at+1)
	} else {
		b.used -= bytes // it came at the same moment
	}
	b.grant()
	return false
}

// release gives a part back.
func (b *budget) release(bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= bytes
	b.grant()
}

// grant gives what is left to those who wait. The lock is held.
func (b *budget) grant() {
	for len(b.waiting) > 0 && b.fits(b.waiting[0].bytes) {
		b.used += b.waiting[0].bytes
		close(b.waiting[0].taken)
		b.waiting = b.waiting[1:]
	}
}
