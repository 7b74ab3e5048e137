package web

import (
	"context"
	"fmt"
	"time"
)

// A turn is what a question may use: the time of its budget, and one of a few slots. It uses neither while the client takes what is
// sent. So a client that reads slowly does not end its own question, and does not keep others from theirs. The handler's goroutine
// alone calls its methods. A nil turn has no bounds.
type turn struct {
	slots   slots                   // nil: it needs none
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
func inTurn(ctx context.Context, slots slots, budget time.Duration, question func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := &turn{slots: slots, end: cancel, left: budget, since: time.Now(), running: true}
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
	if t.slots != nil {
		<-t.slots
	}
}

// resume takes a slot again, as soon as one is free, and lets the time go on. No question holds a slot longer than its budget.
func (t *turn) resume(ctx context.Context) error {
	if t == nil || t.running {
		return nil
	}
	if t.slots != nil {
		select {
		case t.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	t.running, t.since = true, time.Now()
	if t.timer != nil {
		t.timer.Reset(max(t.left, 0))
	}
	return nil
}
