package web

import (
	"context"
	"sync"
	"time"
)

// A Following is a store that follows a log on other machines. Its puts are decided by the order of the log.
type Following interface {
	// Behind returns how many messages the log has that the store does not have yet. An error says that the log did not say.
	Behind(ctx context.Context) (uint64, error)
}

// mostBehind is how many messages a store that is ready may lack. A put waits until the store has its place in the log, so one that
// begins further away would take seconds, or hours in a store that is new.
const mostBehind = 10_000

const (
	behindFor  = time.Second     // an answer of the log is good: whoever asks often must not make the log answer as often
	behindWait = 2 * time.Second // for the log
)

// following is what a server knows of the log that its store follows.
type following struct {
	store Following

	mu     sync.Mutex
	asked  time.Time
	behind uint64
	err    error
}

// now returns how many messages the store lacks, as the log has said within the last second.
func (f *following) now() (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked.IsZero() || time.Since(f.asked) >= behindFor {
		ctx, cancel := context.WithTimeout(context.Background(), behindWait)
		defer cancel()
		f.behind, f.err = f.store.Behind(ctx)
		f.asked = time.Now()
	}
	return f.behind, f.err
}

// unready says why a store that follows a log does not take puts as it should. failed is the store's Err.
func (f *following) unready(failed error) string {
	behind, err := f.now()
	switch {
	case failed != nil:
		return "the store takes no records now: it cannot go on in the log that it follows, or it is not certain that the log keeps them"
	case err != nil:
		return "the log that the store follows does not answer"
	case behind > mostBehind:
		return "the store is far behind the log that it follows"
	}
	return ""
}
