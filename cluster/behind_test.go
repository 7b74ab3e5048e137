package cluster_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/auditsql/auditsql/cluster"
)

// A node says how many messages of the log it lacks, and shows on request what another node has acknowledged.
func TestANodeThatIsBehind(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	a := openNode(t, t.TempDir(), l, fast)
	// The other one reads when it is told to, or after an hour.
	b := openNode(t, t.TempDir(), l, cluster.Options{Poll: time.Hour})
	for i := range 3 {
		putOne(t, a, sample(i))
	}
	if behind, err := a.Behind(t.Context()); err != nil || behind != 0 {
		t.Errorf("the node that has put is %d behind, %v", behind, err)
	}
	if err := b.AwaitApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		wantRecord(t, b, sample(i))
	}
	// A message that no replica shows yet.
	for _, name := range []string{"r1", "r2", "r3"} {
		l.Freeze(name, true)
	}
	l.Append(t.Context(), []cluster.Message{cluster.NewBarrier("x")})
	if behind, err := b.Behind(t.Context()); err != nil || behind != 1 {
		t.Errorf("the node is %d behind, %v", behind, err)
	}
}

// listed is a log whose list of replicas can be changed.
type listed struct {
	cluster.Log
	mu    sync.Mutex
	first string
}

func (l *listed) Info(ctx context.Context) (cluster.Info, error) {
	info, err := l.Log.Info(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortFunc(info.Replicas, func(a, b cluster.Replica) int {
		switch {
		case a.Name == l.first:
			return -1
		case b.Name == l.first:
			return 1
		}
		return 0
	})
	return info, err
}

// Read lets the list change when a replica has been wrong: the node asks for it again between two reads.
func (l *listed) Read(ctx context.Context, name string, from uint64, most int) ([]cluster.Stored, error) {
	ms, err := l.Log.Read(ctx, name, from, most)
	l.mu.Lock()
	l.first = name
	l.mu.Unlock()
	return ms, err
}

// The replicas of a log may be listed in another order each time. A node that finds a message on one of them goes on all the same.
func TestReplicasThatAreListedInAnotherOrder(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	a := openNode(t, t.TempDir(), l, fast)
	for i := range 20 {
		putOne(t, a, sample(i))
	}
	for seq := uint64(1); seq <= 20; seq++ {
		for r, name := range []string{"r1", "r2", "r3"} {
			if int(seq)%3 == r { // one replica has it and the one before it
				l.Lack(name, seq)
			}
		}
	}
	b := openNode(t, t.TempDir(), &listed{Log: l}, cluster.Options{Poll: 2 * time.Millisecond, Check: time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := b.WaitFor(ctx, a.Cursor()); err != nil {
		t.Fatal(err)
	}
	sameRoots(t, a, b)
}
