package cluster_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/memlog"
	"github.com/auditsql/auditsql/tree"
)

var (
	histories   = flag.Int("histories", 2000, "how many histories TestHistories plays")
	historySeed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "the seed of the first one; the next ones follow it")
)

// A history is a log in memory, nodes that follow it, clients that put records through them, and faults: answers that are lost or
// late, messages that are delivered again, replicas that lag, lack or alter messages or do not answer, trims, nodes that are closed and
// opened again. Afterwards a checker that knows only the log and what the clients were told looks at every node.
type history struct {
	t      *testing.T
	dir    string
	seed   uint64
	random *rand.Rand // of the goroutine that makes the faults
	log    *memlog.Log
	clock  atomic.Uint64

	mu    sync.Mutex
	nodes []*cluster.Node // nil while one is closed
	dirs  []string
	told  []told
	steps []string
}

// told is what a client did and was told.
type told struct {
	began, ended uint64
	id           audit.QueryID
	raw          string
	duplicate    bool
	err          error
}

const (
	nodeCount = 2
	idCount   = 12
)

// TestHistories plays histories from a seed each. A failure prints the seed and what happened.
func TestHistories(t *testing.T) {
	count := *histories
	if testing.Short() {
		count = min(count, 100)
	}
	t.Logf("-seed=%d -histories=%d", *historySeed, count)
	var next atomic.Uint64
	var total, decided atomic.Uint64
	t.Run("all", func(t *testing.T) {
		for worker := range 2 {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				for n := next.Add(1) - 1; n < uint64(count) && !t.Failed(); n = next.Add(1) - 1 {
					h := &history{seed: *historySeed + n}
					h.dir = t.TempDir()
					synctest.Test(t, h.play)
					os.RemoveAll(h.dir)
					for _, c := range h.told {
						total.Add(1)
						if c.err == nil || errors.Is(c.err, audit.ErrConflict) {
							decided.Add(1)
						}
					}
				}
			})
		}
	})
	t.Logf("%d puts, %d decided", total.Load(), decided.Load())
}

func (h *history) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.steps = append(h.steps, fmt.Sprintf(format, args...))
}

func (h *history) play(t *testing.T) {
	h.t = t
	h.random = rand.New(rand.NewPCG(h.seed, 0))
	defer func() {
		if t.Failed() {
			t.Logf("go test -run 'TestHistories$' -histories=1 -seed=%d", h.seed)
			for _, s := range h.steps {
				t.Log(s)
			}
		}
	}()
	h.log = memlog.New(3)
	defer h.log.Close()
	fates := rand.New(rand.NewPCG(h.seed, 1))
	quiet := false
	h.log.Fate = func(cluster.Message) (f memlog.Fate) {
		if quiet {
			return f
		}
		switch fates.IntN(12) {
		case 0:
			f.Lost = true
		case 1:
			f.AckLost = true
		case 2:
			f.Delay = time.Duration(fates.Int64N(int64(20 * time.Second)))
		case 3:
			f.Again = []time.Duration{time.Duration(fates.Int64N(int64(6 * time.Minute)))}
		case 4:
			f.AckLost, f.Again = true, []time.Duration{time.Duration(fates.Int64N(int64(time.Minute))), 3 * time.Minute}
		}
		return f
	}
	for i := range nodeCount {
		h.dirs = append(h.dirs, filepath.Join(h.dir, fmt.Sprint("node", i)))
		h.nodes = append(h.nodes, nil)
		h.open(i)
	}
	defer func() {
		for i := range h.nodes {
			h.close(i)
		}
	}()
	clients := 2 + h.random.IntN(3)
	var running sync.WaitGroup
	for c := range clients {
		running.Go(func() { h.client(rand.New(rand.NewPCG(h.seed, uint64(10+c)))) })
	}
	for range 3 + h.random.IntN(8) {
		time.Sleep(time.Duration(h.random.Int64N(int64(10 * time.Second)))) // the fake clock's
		h.fault()
	}
	running.Wait()
	for _, r := range []string{"r1", "r2", "r3"} {
		h.log.Heal(r)
	}
	time.Sleep(7 * time.Minute) // what is still on its way arrives
	quiet = true
	h.check()
	h.end()
}

// open opens a node. One that was away for too long gets a copy of another one's store.
func (h *history) open(i int) {
	o := cluster.Options{Batch: 1 + h.random.IntN(20), Poll: 500 * time.Millisecond}
	n, err := cluster.Open(context.Background(), h.dirs[i], h.log, o)
	if errors.Is(err, cluster.ErrTrimmed) {
		h.note("node %d: %v", i, err)
		h.dirs[i] = filepath.Join(h.dir, fmt.Sprint("copy", h.clock.Add(1)))
		other := h.nodes[(i+1)%nodeCount]
		if other == nil {
			h.t.Fatalf("no node has what was trimmed")
		}
		if _, err := other.Backup(context.Background(), h.dirs[i]); err != nil {
			h.t.Fatal(err)
		}
		n, err = cluster.Open(context.Background(), h.dirs[i], h.log, o)
	}
	if err != nil {
		h.t.Fatalf("open node %d: %v", i, err)
	}
	h.mu.Lock()
	h.nodes[i] = n
	h.mu.Unlock()
}

func (h *history) close(i int) {
	h.mu.Lock()
	n := h.nodes[i]
	h.nodes[i] = nil
	h.mu.Unlock()
	if n != nil {
		if err := n.Close(); err != nil {
			h.t.Errorf("close node %d: %v", i, err)
		}
	}
}

// client puts records, one after the other, through any node that is open.
func (h *history) client(random *rand.Rand) {
	for range 4 + random.IntN(8) {
		time.Sleep(time.Duration(random.Int64N(int64(3 * time.Second))))
		q := sample(random.IntN(idCount))
		if random.IntN(3) == 0 {
			q = other(random.IntN(idCount), random.IntN(3))
		}
		h.mu.Lock()
		n := h.nodes[random.IntN(nodeCount)]
		h.mu.Unlock()
		if n == nil {
			continue
		}
		if random.IntN(12) == 0 {
			// Somebody who may write to the log gives it something else under the id of a record.
			h.log.Append(context.Background(), []cluster.Message{{ID: q.QueryID.String(), Payload: []byte("junk"), Sum: "junk"}})
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+random.Int64N(int64(2*time.Minute))))
		raw, _ := q.Canonical()
		c := told{id: q.QueryID, raw: string(raw), began: h.clock.Add(1)}
		r, err := n.PutAudits(ctx, []*audit.QueryAudit{q})
		cancel()
		c.ended, c.err = h.clock.Add(1), err
		if err == nil {
			c.duplicate, c.err = r[0].Duplicate, r[0].Err
			// What a put says is seen by every read of this node that starts after it.
			have, err := n.GetRaw(context.Background(), q.QueryID)
			if !errors.Is(err, audit.ErrClosed) && (err != nil || (c.err == nil) != (string(have) == c.raw)) {
				h.t.Errorf("after the put of %s said %v, the node has %s, %v", c.id, c.err, have, err)
			}
		}
		h.mu.Lock()
		h.told = append(h.told, c)
		h.mu.Unlock()
	}
}

// fault lets one thing go wrong.
func (h *history) fault() {
	replica := fmt.Sprint("r", 1+h.random.IntN(3))
	bounds, _ := h.log.Bounds(context.Background())
	seq := bounds.First + h.random.Uint64N(bounds.Last-bounds.First+2)
	switch h.random.IntN(10) {
	case 0:
		h.note("%s lags from %d on", replica, bounds.Last)
		h.log.Freeze(replica, true)
	case 1:
		h.note("%s lacks %d", replica, seq)
		h.log.Lack(replica, seq)
	case 2:
		h.note("%s lacks what comes", replica)
		for s := bounds.Last + 1; s < bounds.Last+5; s++ {
			h.log.Lack(replica, s)
		}
	case 3:
		at, bit := h.random.IntN(1<<20), byte(1)<<h.random.IntN(8)
		h.note("%s alters %d", replica, seq)
		h.log.Alter(replica, seq, func(m *cluster.Message) {
			if len(m.Payload) > 0 {
				m.Payload[at%len(m.Payload)] ^= bit
			} else {
				m.Kind = "altered"
			}
		})
	case 4:
		h.note("%s does not answer", replica)
		h.log.SetDown(replica, true)
	case 5, 6:
		h.note("%s is healed", replica)
		h.log.Heal(replica)
	case 7:
		// Never beyond what all nodes that are open have: the log is kept for longer than a node may lag.
		first := bounds.Last + 1
		for _, n := range h.nodes {
			if n != nil {
				first = min(first, n.Cursor()+1)
			}
		}
		if len(slices.DeleteFunc(slices.Clone(h.nodes), func(n *cluster.Node) bool { return n == nil })) == 0 {
			return
		}
		h.note("trimmed before %d", first)
		h.log.Trim(first)
	case 8, 9:
		i := h.random.IntN(nodeCount)
		if h.nodes[i] == nil {
			h.note("node %d is opened", i)
			h.open(i)
			return
		}
		if h.nodes[(i+1)%nodeCount] == nil {
			return // one stays open, so that it can be copied
		}
		h.note("node %d is closed at %d", i, h.nodes[i].Cursor())
		h.close(i)
	}
}

// verdict is what the log alone says: the records that stay, in their order.
type verdict struct {
	sequence []uint64
	raw      []string
	at       map[audit.QueryID]int
	root     tree.Hash
	last     uint64
}

func judge(ms []cluster.Stored) verdict {
	v := verdict{at: map[audit.QueryID]int{}}
	var f tree.Frontier
	for i, m := range ms {
		if m.Sequence != uint64(i+1) {
			panic("the log itself has a hole")
		}
		v.last = m.Sequence
		q, err := audit.ParseCanonical(m.Payload)
		if err != nil || !m.Intact() || m.Kind != cluster.Record {
			continue
		}
		if _, taken := v.at[q.QueryID]; taken {
			continue
		}
		v.at[q.QueryID] = len(v.raw)
		v.sequence, v.raw = append(v.sequence, m.Sequence), append(v.raw, string(m.Payload))
		f.Append(tree.LeafHash(m.Payload))
	}
	v.root = f.Root()
	return v
}

// check compares every node, and what the clients were told, with the log.
func (h *history) check() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for i := range h.nodes {
		if h.nodes[i] == nil {
			h.open(i)
		}
		if _, err := h.nodes[i].Barrier(ctx); err != nil {
			h.t.Fatalf("node %d: %v", i, err)
		}
	}
	v := judge(h.log.All())
	for i, n := range h.nodes {
		if err := n.WaitFor(ctx, v.last); err != nil {
			h.t.Fatalf("node %d: %v", i, err)
		}
		h.checkNode(ctx, i, n, v)
		for _, s := range n.Heads() {
			if s.Differs != nil {
				h.t.Errorf("node %d finds that the head %+v differs: %v", i, s.Head, s.Differs)
			}
		}
	}
	for _, c := range h.told {
		at, stored := v.at[c.id]
		switch {
		case c.err == nil && (!stored || v.raw[at] != c.raw):
			h.t.Errorf("%s was acknowledged, and is not what the log has first under its id", c.raw)
		case errors.Is(c.err, audit.ErrConflict) && (!stored || v.raw[at] == c.raw):
			h.t.Errorf("%s was refused as a conflict, and is what the log has first under its id", c.raw)
		case c.err != nil && !errors.Is(c.err, audit.ErrConflict) && !undecided(c.err):
			h.t.Errorf("a put ended with %v", c.err)
		}
	}
	// The order of the log is that of time: what was stored by a put that returned before another one began stands before it.
	for _, a := range h.told {
		for _, b := range h.told {
			if a.err == nil && b.err == nil && !b.duplicate && a.ended < b.began && v.sequence[v.at[a.id]] >= v.sequence[v.at[b.id]] {
				h.t.Errorf("%s returned before %s began, and stands after it", a.raw, b.raw)
			}
		}
	}
}

// undecided reports whether a client may not conclude anything from an error.
func undecided(err error) bool {
	return errors.Is(err, cluster.ErrUndecided) || errors.Is(err, audit.ErrClosed) || errors.Is(err, cluster.ErrGap) ||
		errors.Is(err, cluster.ErrAltered) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

func (h *history) checkNode(ctx context.Context, i int, n *cluster.Node, v verdict) {
	size, root, err := n.Root(ctx)
	if err != nil || size != uint64(len(v.raw)) || root != v.root {
		h.t.Errorf("node %d has %d records with root %v, %v; the log says %d with %v", i, size, root, err, len(v.raw), v.root)
		return
	}
	have := 0
	if len(v.raw) > 0 {
		for rec, err := range n.TailAfter(ctx, 0) {
			if err != nil {
				h.t.Fatalf("node %d: %v", i, err)
			}
			if string(rec.Raw) != v.raw[have] || uint64(rec.Offset) != v.sequence[have] {
				h.t.Fatalf("node %d: record %d is message %d, %s; the log has message %d, %s", i, have, rec.Offset, rec.Raw, v.sequence[have], v.raw[have])
			}
			if have++; have == len(v.raw) {
				break
			}
		}
	}
	if h.seed%8 == 0 {
		if report, err := n.Verify(ctx, audit.VerifyOptions{}); err != nil || !report.OK() {
			h.t.Errorf("node %d: %v, %v", i, report.Problems, err)
		}
	}
}

// end lets the log lose or replace what it had. No node goes on with such a log.
func (h *history) end() {
	bounds, _ := h.log.Bounds(context.Background())
	if h.random.IntN(4) > 0 || bounds.Last < 3 || bounds.Last < bounds.First+2 {
		return
	}
	cursor := h.nodes[0].Cursor()
	if h.random.IntN(2) == 0 {
		h.note("the log is made again")
		h.log.Recreate()
	} else {
		h.note("the log is cut")
		h.log.Cut(bounds.Last - 1 - h.random.Uint64N(bounds.Last-bounds.First-1))
	}
	refill(h.log, 1000, h.random.IntN(int(2*cursor)))
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	for i, n := range h.nodes {
		if err := n.WaitFor(ctx, 1<<60); !errors.Is(err, cluster.ErrRewound) && !errors.Is(err, cluster.ErrMismatch) {
			h.t.Errorf("node %d says %v", i, err)
		}
		if n.Cursor() != cursor {
			h.t.Errorf("node %d went on from %d to %d in another log", i, cursor, n.Cursor())
		}
	}
}
