package tui

import (
	"io"
	"sync"
	"time"
)

// What takes less than showAfter shows no bar: it would only flicker. Then the bar moves every showEvery.
const (
	showAfter = time.Second
	showEvery = 200 * time.Millisecond
)

// Meanwhile shows how far something is while it runs, from its second second on: a bar on standard error where that is a terminal,
// and nothing elsewhere. done, which is called in another goroutine, returns how many of total steps are done; -1 as total is an
// unknown number, and a nil done shows only that it goes on. Until end is called, standard error is w: what is written there does not
// run into the bar.
func (s *Screen) Meanwhile(what string, total int64, done func() int64) (w io.Writer, end func()) {
	if !s.bars() {
		return s.Err, func() {}
	}
	if done == nil {
		done = func() int64 { return 0 }
	}
	// The bar may move by itself, in a goroutine of its own.
	shared := *s
	shared.Err = &sharedWriter{w: s.Err}
	m := &meanwhile{screen: &shared}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		wait := time.NewTimer(showAfter)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-quit:
			return
		}
		tick := time.NewTicker(showEvery)
		defer tick.Stop()
		for {
			m.show(what, total, done())
			select {
			case <-tick.C:
			case <-quit:
				return
			}
		}
	}()
	return m, sync.OnceFunc(func() {
		close(quit)
		<-ended
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.bar != nil {
			m.bar.End()
		}
	})
}

// meanwhile is standard error while there may be a bar on it.
type meanwhile struct {
	screen *Screen
	mu     sync.Mutex
	bar    *Progress // nil before the first second is over
}

func (m *meanwhile) show(what string, total, done int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar == nil {
		m.bar = m.screen.Progress(what, total, false)
	}
	m.bar.At(done, what)
}

// Write writes lines, without pieces of the bar before them.
func (m *meanwhile) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar != nil {
		m.bar.clear()
	}
	return m.screen.Err.Write(p)
}

// sharedWriter is a writer for several goroutines.
type sharedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *sharedWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}
