package web

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// bodyRoom is the memory for the bodies that are held at the same time.
//
// A quarter of it is for the first 64 KiB of each body, and large bodies share the rest. So a small record does not wait for large ones,
// however many of them are being sent, and however slowly.
type bodyRoom struct {
	first, rest *semaphore.Weighted
	share       int64 // how much one body may take of first
}

func newBodyRoom(bytes int64) bodyRoom {
	first := bytes / 4
	return bodyRoom{semaphore.NewWeighted(first), semaphore.NewWeighted(bytes - first), min(smallBody, first)}
}

// A reservation is what a request takes of the memory for bodies.
type reservation struct {
	of          *Server
	ctx         context.Context
	first, rest int64 // bytes of each part of the room
}

func (h *reservation) bytes() int64 { return h.first + h.rest }

// wants is how much more the reservation takes of each part of the room when it grows to so many bytes.
func (h *reservation) wants(bytes int64) (first, rest int64) {
	more := max(0, bytes-h.bytes())
	first = min(more, max(0, h.of.bodies.share-h.first))
	return first, more - first
}

// grow makes the reservation so large, if it is smaller. It waits a while for others to free theirs. Then the problem is
// kindFull: a request that holds a part and waits for more could otherwise block others that do the same.
func (h *reservation) grow(bytes int64) error {
	if h.tryGrow(bytes) {
		return nil
	}
	waiting, cancel := context.WithTimeout(h.ctx, h.of.limits.PutWait)
	defer cancel()
	first, rest := h.wants(bytes)
	err := await(waiting, h.of.bodies.first, first)
	if err == nil {
		h.first += first
		err = await(waiting, h.of.bodies.rest, rest)
	}
	if err != nil {
		return problem(kindFull, "all bodies that are being read may have %d bytes together, and there was no room for %s",
			h.of.limits.BodyBytes, h.of.limits.PutWait).stored(storedNothing).because(err)
	}
	h.rest += rest
	return nil
}

// tryGrow is grow that does not wait, and reports whether there was room.
func (h *reservation) tryGrow(bytes int64) bool {
	first, rest := h.wants(bytes)
	if first > 0 && !h.of.bodies.first.TryAcquire(first) {
		return false
	}
	if rest > 0 && !h.of.bodies.rest.TryAcquire(rest) {
		h.of.bodies.first.Release(first)
		return false
	}
	h.first, h.rest = h.first+first, h.rest+rest
	return true
}

// await is Acquire, except that 0 bytes never wait: Acquire makes them wait until all who came before have theirs.
func await(ctx context.Context, part *semaphore.Weighted, bytes int64) error {
	if bytes == 0 {
		return nil
	}
	return part.Acquire(ctx, bytes)
}

// join takes over what another reservation holds.
func (h *reservation) join(other *reservation) {
	h.first, h.rest = h.first+other.first, h.rest+other.rest
	other.first, other.rest = 0, 0
}

func (h *reservation) free() {
	h.of.bodies.first.Release(h.first)
	h.of.bodies.rest.Release(h.rest)
	h.first, h.rest = 0, 0
}
