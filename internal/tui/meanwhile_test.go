package tui_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditsql/auditsql/internal/tui"
)

// syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Something short shows no bar. Something longer shows one from its second second on, which says how far it is and is gone at the end.
func TestABarForWhatTakesLongerThanASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var errs syncBuffer
		s := &tui.Screen{Err: &errs, ErrTerm: tui.Terminal{Is: true, Width: 80, Color: true}}
		_, end := s.Meanwhile("quick", -1, nil)
		time.Sleep(900 * time.Millisecond)
		end()
		if shown := errs.String(); shown != "" {
			t.Errorf("after 0.9 s: %q", shown)
		}
		var done atomic.Int64
		w, end := s.Meanwhile("exporting", 1000, done.Load)
		done.Store(250)
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if shown := errs.String(); !strings.Contains(shown, "exporting") || !strings.Contains(shown, "25%") {
			t.Errorf("after 1.5 s: %q", shown)
		}
		fmt.Fprintln(w, "note: a line")
		if shown := errs.String(); !strings.HasSuffix(shown, "\rnote: a line\n") && !strings.HasSuffix(shown, "Knote: a line\n") {
			t.Errorf("the bar is before a line: %q", shown)
		}
		end()
		end()
		before := errs.String()
		time.Sleep(5 * time.Second)
		if after := errs.String(); after != before {
			t.Errorf("it goes on after its end: %q", after[len(before):])
		}
	})
}

// Nothing but a terminal gets a bar.
func TestNoBarWhereThereIsNoTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, term := range []tui.Terminal{{}, {Is: true, Width: 80}} {
			var errs syncBuffer
			s := &tui.Screen{Err: &errs, ErrTerm: term}
			w, end := s.Meanwhile("exporting", 1000, nil)
			time.Sleep(3 * time.Second)
			end()
			if w != s.Err || errs.String() != "" {
				t.Errorf("%+v: %q", term, errs.String())
			}
		}
	})
}
