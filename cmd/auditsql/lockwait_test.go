package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// interruptedAt is the context of a run that is interrupted when the context has been asked so often.
type interruptedAt struct {
	context.Context
	left atomic.Int64
	end  context.CancelCauseFunc
}

func newInterruptedAt(n int) *interruptedAt {
	c := &interruptedAt{}
	c.Context, c.end = context.WithCancelCause(context.Background())
	c.left.Store(int64(n))
	return c
}

func (c *interruptedAt) ask() {
	if c.left.Add(-1) < 0 {
		c.end(errInterrupted)
	}
}

func (c *interruptedAt) Err() error            { c.ask(); return c.Context.Err() }
func (c *interruptedAt) Done() <-chan struct{} { c.ask(); return c.Context.Done() }

// An interrupted command ends wherever it is, also while it waits for the lock, and not when its patience ends: the context
// is only ended by being asked, and who does not ask it fails with another exit code.
func TestAnInterruptEndsTheWaitForTheLock(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	line, _ := record(1)
	for _, args := range [][]string{{"put"}, {"import", "-"}, {"reindex"}, {"init", "--wal-retain", "all"}, {"wal", "repair", "--apply"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			for _, n := range []int{0, 10, 20, 100} { // the last one is reached while it waits
				var said bytes.Buffer
				code := run(newInterruptedAt(n), append([]string{"-d", dir, "--lock-wait", "10s"}, args...), streams{
					in: strings.NewReader(line), out: &said, err: &said, now: time.Now,
				})
				if code != exitInterrupted || !strings.HasSuffix(said.String(), ": interrupted\n") {
					t.Errorf("interrupted at %d: exit code %d\n%s", n, code, said.String())
				}
			}
		})
	}
}
