package sqlstore

import (
	"context"
	"iter"
	"runtime"
	"sync"
)

// aheadMost is how many queries of one question run at a time. There are few readers, and a short question must get one soon.
const aheadMost = 2

// ahead works on the values of a sequence, on two at a time where there are two processors, and hands what came of them to take, in the
// order of the sequence and in the goroutine of the caller. It ends when take returns false, and with the first error. After that no work
// goes on.
func ahead[T, R any](ctx context.Context, values iter.Seq2[T, error], work func(context.Context, T) (R, error), take func(T, R) (more bool)) error {
	type job struct {
		value T
		out   R
		err   error
		done  chan struct{}
	}
	var working sync.WaitGroup
	defer working.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next, stop := iter.Pull2(values)
	defer stop()
	begun, most, ended := []*job(nil), min(runtime.GOMAXPROCS(0), aheadMost), false
	for {
		for !ended && len(begun) < most {
			value, err, ok := next()
			if ended = !ok || err != nil; !ok {
				break
			}
			j := &job{value: value, err: err, done: make(chan struct{})}
			begun = append(begun, j)
			if err != nil {
				close(j.done)
				break
			}
			working.Go(func() {
				defer close(j.done)
				j.out, j.err = work(ctx, j.value)
			})
		}
		if len(begun) == 0 {
			return nil
		}
		j := begun[0]
		begun = begun[1:]
		<-j.done
		if j.err != nil || !take(j.value, j.out) {
			return j.err
		}
	}
}
