package web

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// bodyRoom is the memory for the bodies that are held at the same time.
//
// A quarter of it is for small bodies, and large ones share the rest: those that say that they are longer than 64 KiB, and those of which more
// has come. A large body holds nothing of the quarter, apart from what is more than the whole rest. So small records do not wait for large
// ones, however many of those are being sent, and however slowly. When small bodies fill the quarter, the next of them take what is free of the
// rest. So a small record waits only when the rest is full too. A body that does not say how long it is counts as small until more has come,
// and until there is room for it in the rest.
type bodyRoom struct {
	first, rest *semaphore.Weighted
	large       int64 // bytes of rest
	share       int64 // how much a small body has at most
}

func newBodyRoom(bytes int64) bodyRoom {
	first := bytes / 4
	return bodyRoom{semaphore.NewWeighted(first), semaphore.NewWeighted(bytes - first), bytes - first, min(smallBody, first)}
}

// A reservation is what a request takes of the memory for bodies.
type reservation struct {
	of          *Server
	ctx         context.Context
	large       bool  // the body will be large, as it says
	first, rest int64 // bytes of each part of the room
}

func (h *reservation) bytes() int64 { return h.first + h.rest }

// isLarge reports whether a body of so many bytes is large.
func (h *reservation) isLarge(bytes int64) bool { return h.large || bytes > h.of.bodies.share }

// parts is how much the reservation has of each part of the room when it has grown to so many bytes.
func (h *reservation) parts(bytes int64) (first, rest int64) {
	if rest = h.rest; h.isLarge(bytes) {
		rest = min(bytes, h.of.bodies.large)
	}
	return bytes - rest, rest
}

// grow makes the reservation so large, if it is smaller. It waits a while for others to free theirs. Then the problem is
// kindFull: a request that holds a part and waits for more could otherwise block others that do the same.
func (h *reservation) grow(bytes int64) error {
	if h.tryGrow(bytes) {
		return nil
	}
	waiting, cancel := context.WithTimeout(h.ctx, h.of.limits.PutWait)
	defer cancel()
	first, rest := h.parts(bytes)
	err := await(waiting, h.of.bodies.first, first-h.first)
	if err == nil {
		h.first = max(h.first, first)
		err = await(waiting, h.of.bodies.rest, rest-h.rest)
	}
	if err != nil {
		return problem(kindFull, "all bodies that are being read may have %d bytes together, and there was no room for %s",
			h.of.limits.BodyBytes, h.of.limits.PutWait).stored(storedNothing).because(err)
	}
	h.rest = max(h.rest, rest)
	h.shrinkFirst(first)
	return nil
}

// tryGrow is grow that does not wait, and reports whether there was room.
func (h *reservation) tryGrow(bytes int64) bool {
	if bytes <= h.bytes() {
		return true
	}
	first, rest := h.parts(bytes)
	before := h.first
	if first > h.first {
		switch {
		case h.of.bodies.first.TryAcquire(first - h.first):
			h.first = first
		case h.isLarge(bytes):
			return false
		default:
			first, rest = h.first, bytes-h.first
		}
	}
	if rest > h.rest {
		if !h.of.bodies.rest.TryAcquire(rest - h.rest) {
			h.shrinkFirst(before)
			return false
		}
		h.rest = rest
	}
	h.shrinkFirst(first)
	return true
}

// shrinkFirst gives back what the reservation has of the room for small bodies beyond so many bytes.
func (h *reservation) shrinkFirst(bytes int64) {
	if h.first > bytes {
		h.of.bodies.first.Release(h.first - bytes)
		h.first = bytes
	}
}

// await is Acquire, except that no bytes never wait: Acquire makes them wait until all who came before have theirs.
func await(ctx context.Context, part *semaphore.Weighted, bytes int64) error {
	if bytes <= 0 {
		return nil
	}
	return part.Acquire(ctx, bytes)
}

// join takes over what another reservation holds. Small ones that are large together leave the room for small ones, if the rest has room.
func (h *reservation) join(other *reservation) {
	h.first, h.rest = h.first+other.first, h.rest+other.rest
	other.first, other.rest = 0, 0
	if h.isLarge(h.bytes()) && h.first > 0 && h.of.bodies.rest.TryAcquire(h.first) {
		h.rest += h.first
		h.shrinkFirst(0)
	}
}

func (h *reservation) free() {
	h.of.bodies.first.Release(h.first)
	h.of.bodies.rest.Release(h.rest)
	h.first, h.rest = 0, 0
}
