package web

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"
)

// A turn is what a question may use: the time of its budget, and one of a few slots. It uses neither while the client takes what is
// sent. So a client that reads slowly does not end its own question, and does not keep others from theirs. What a long answer keeps in memory
// meanwhile is taken of a room that all of them share. The handler's goroutine alone calls its methods. A nil turn has no bounds.
type turn struct {
	slots   slots                   // nil: it needs none
	more    slots                   // that it may use when none of these is free, once its answer has begun
	has     slots                   // of which it has a slot now; nil: it has none
	room    *semaphore.Weighted     // for long answers
	kept    int64                   // bytes of the room
	end     context.CancelCauseFunc // of the question
	timer   *time.Timer             // ends the question when the budget is used up; nil: there is no budget
	left    time.Duration           // of the budget, when it ran last
	since   time.Time               // it runs
	running bool
}

type turnKey struct{}

func turnOf(ctx context.Context) *turn {
	t, _ := ctx.Value(turnKey{}).(*turn)
	return t
}

// inTurn runs a question. If slots is not nil, the caller has taken one, and inTurn gives it back. A budget of 0 is none.
func (s *Server) inTurn(ctx context.Context, slots slots, budget time.Duration, question func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := &turn{slots: slots, more: s.begun, has: slots, room: s.kept, end: cancel, left: budget, since: time.Now(), running: true}
	defer func() { t.room.Release(t.kept) }()
	if budget > 0 {
		t.timer = time.AfterFunc(budget, func() { cancel(context.DeadlineExceeded) })
	}
	defer t.pause()
	err := question(context.WithValue(ctx, turnKey{}, t))
	if err != nil && context.Cause(ctx) == context.DeadlineExceeded {
		err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return err
}

// pause stops the time and gives the slot back.
func (t *turn) pause() {
	if t == nil || !t.running {
		return
	}
	t.running = false
	if t.timer != nil {
		t.timer.Stop()
		t.left -= time.Since(t.since)
	}
	if t.has != nil {
		<-t.has
		t.has = nil
	}
}

// resumeWait is how long a question whose answer has begun waits for one of the usual slots.
const resumeWait = 100 * time.Millisecond

// begunSlots is how many questions whose answers have begun may run beside those that have the usual slots.
const begunSlots = 8

// resume takes a slot again, and lets the time go on. When no slot is free for a while, it also takes one of those that nobody has who has only
// begun to ask: an export that finds little may hold a slot until it has read the whole store, and the client of an answer that has begun would
// wait for that, or give up.
func (t *turn) resume(ctx context.Context) error {
	if t == nil || t.running {
		return nil
	}
	if t.slots != nil {
		timer := time.NewTimer(resumeWait)
		defer timer.Stop()
		var more slots // nil: never ready
		for t.has == nil {
			select {
			case t.slots <- struct{}{}:
				t.has = t.slots
			case more <- struct{}{}:
				t.has = more
			case <-timer.C:
				more = t.more
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	t.running, t.since = true, time.Now()
	if t.timer != nil {
		t.timer.Reset(max(t.left, 0))
	}
	return nil
}

// longAnswer is about what a long answer keeps in memory while its client reads: the rows that were read ahead, or a page that is sent whole.
const longAnswer = 8 << 20

// keep takes so many bytes of the room for long answers until the turn ends. It does not wait: what the question has found so far would be
// kept meanwhile. It reports whether there was room.
func (t *turn) keep(bytes int64) bool {
	if t == nil {
		return true
	}
	if !t.room.TryAcquire(bytes) {
		return false
	}
	t.kept += bytes
	return true
}
