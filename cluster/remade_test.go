package cluster_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/memlog"
)

// mirrored is a log that is a mirror of another one.
type mirrored struct {
	cluster.Log
	remade    atomic.Bool
	questions atomic.Int64
}

func (m *mirrored) Info(ctx context.Context) (cluster.Info, error) {
	m.questions.Add(1)
	info, err := m.Log.Info(ctx)
	info.Mirror, info.Continues = &cluster.Mirror{Of: "another log"}, "2026-01-01T00:00:00Z"
	if m.remade.Load() {
		info.Mirror.Remade = "it was made on another day"
	}
	return info, err
}

// The log that a mirror copies was made again, so that the mirror may have messages of both. Its nodes go no further, and no new one is made.
func TestAMirrorOfALogThatWasMadeAgain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := newLog(t)
	refill(l, 0, 10)
	m := &mirrored{Log: l}
	home := t.TempDir()
	o := cluster.Options{Poll: fast.Poll, Check: 5 * time.Millisecond, Heads: -1}
	n := openNode(t, filepath.Join(home, "n"), m, o)
	if err := n.WaitFor(ctx, 10); err != nil {
		t.Fatal(err)
	}
	m.remade.Store(true)
	awaitErr(t, n, cluster.ErrMismatch)
	refill(l, 10, 10)
	if err := n.WaitFor(ctx, 11); !errors.Is(err, cluster.ErrMismatch) || n.Cursor() != 10 {
		t.Errorf("the node went on to message %d: %v", n.Cursor(), err)
	}
	if _, err := cluster.Open(ctx, filepath.Join(home, "new"), m, o); !errors.Is(err, cluster.ErrMismatch) || !strings.Contains(err.Error(), "init --mirror") {
		t.Errorf("a new node of two logs: %v", err)
	}
	if _, err := cluster.Bootstrap(ctx, m, n.Dir(), filepath.Join(home, "copy"), cluster.BootstrapOptions{}); !errors.Is(err, cluster.ErrMismatch) {
		t.Errorf("a copy for a new node of two logs: %v", err)
	}
}

// A node of a mirror that has had nothing new for a while asks what the mirror copies before it applies anything more. It does not wait until it
// would have asked anyway. While messages come it does not ask.
func TestAMirrorThatWasSilent(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string, l *memlog.Log) {
		refill(l, 0, 10)
		m := &mirrored{Log: l}
		n, err := cluster.Open(t.Context(), dir+"/store", m, cluster.Options{Heads: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		before := m.questions.Load()
		for i := range 20 {
			refill(l, 10+i, 1)
			if err := n.WaitFor(t.Context(), uint64(11+i)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // the fake clock's
		}
		if asked := m.questions.Load() - before; asked > 0 {
			t.Errorf("while messages came it asked %d times", asked)
		}
		time.Sleep(time.Minute)
		m.remade.Store(true)
		refill(l, 30, 10)
		if err := n.WaitFor(t.Context(), 31); !errors.Is(err, cluster.ErrMismatch) {
			t.Errorf("the first message after the silence: %v", err)
		}
		if n.Cursor() != 30 {
			t.Errorf("the node went on to message %d", n.Cursor())
		}
	})
}
