package jetstream_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
	"github.com/auditsql/auditsql/tree"
)

var (
	faultCount = flag.Int("faults", 5, "how many faults TestFaults makes")
	faultSeed  = flag.Uint64("seed", uint64(time.Now().UnixNano()), "the seed of TestFaults")
)

// A load is clients that put records through nodes while servers fail, and what they were told.
type load struct {
	t     *testing.T
	nodes []*cluster.Node
	clock atomic.Uint64

	mu   sync.Mutex
	told []told
}

// told is what one put was told.
type told struct {
	began, ended uint64
	id           audit.QueryID
	raw          string
	duplicate    bool
	err          error
}

// client puts records until ctx ends. Some have the id of a record that another client puts, and other bytes. A put that was not
// decided is given again, to any node.
func (l *load) client(ctx context.Context, random *rand.Rand, of int) {
	for i := 0; ctx.Err() == nil; i++ {
		q := sample(of + 100*i)
		if random.IntN(4) == 0 {
			q = sample(1_000_000 + i)
			q.Attributes["version"] = random.IntN(3)
		}
		for ctx.Err() == nil && !l.put(ctx, l.nodes[random.IntN(len(l.nodes))], q) {
		}
	}
}

// put puts a record once, and reports whether that is decided.
func (l *load) put(ctx context.Context, n *cluster.Node, q *audit.QueryAudit) (decided bool) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	raw, err := q.Canonical()
	if err != nil {
		l.t.Error(err)
	}
	one := told{id: q.QueryID, raw: string(raw), began: l.clock.Add(1)}
	r, err := n.PutAudits(ctx, []*audit.QueryAudit{q})
	one.ended, one.err = l.clock.Add(1), err
	if err == nil {
		one.duplicate, one.err = r[0].Duplicate, r[0].Err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, one)
	return err == nil
}

// decided returns how many puts were decided until now.
func (l *load) decided() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.told {
		if one.err == nil || errors.Is(one.err, audit.ErrConflict) {
			n++
		}
	}
	return n
}

// progress waits until so many puts more were decided.
func (l *load) progress(more int) {
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for want := l.decided() + more; l.decided() < want; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			l.t.Fatalf("no progress: %v, %v", l.nodes[0].Err(), l.nodes[1].Err())
		}
	}
}

// figures are what a history came to.
type figures struct{ faults, puts, acknowledged, conflicts, lost, wrong, twice int }

// judged is what the messages of the stream alone say: the first record under each id stays.
type judged struct {
	raw  map[audit.QueryID]string
	at   map[audit.QueryID]uint64 // the number of its message
	size int
	last uint64
	root tree.Hash
}

// judge reads all messages of a replica.
func judge(t *testing.T, l cluster.Log, replica string, last uint64) judged {
	t.Helper()
	j := judged{raw: map[audit.QueryID]string{}, at: map[audit.QueryID]uint64{}}
	var f tree.Frontier
	for j.last < last {
		ms, err := l.Read(t.Context(), replica, j.last+1, 2000)
		if err != nil || len(ms) == 0 {
			t.Fatalf("replica %s after message %d: %d messages, %v", replica, j.last, len(ms), err)
		}
		for i := range ms {
			if j.last++; ms[i].Sequence != j.last || !ms[i].Intact() {
				t.Fatalf("replica %s: message %d is wrong where %d comes", replica, ms[i].Sequence, j.last)
			}
			q, err := audit.ParseCanonical(ms[i].Payload)
			if err != nil || ms[i].Kind != cluster.Record {
				continue
			}
			if _, taken := j.at[q.QueryID]; taken {
				continue
			}
			j.raw[q.QueryID], j.at[q.QueryID] = string(ms[i].Payload), ms[i].Sequence
			f.Append(tree.LeafHash(ms[i].Payload))
		}
	}
	j.size, j.root = int(f.Size()), f.Root()
	return j
}

// check compares what the clients were told, each replica and each node.
func (l *load) check(log *jetstream.Log, faults int) figures {
	t := l.t
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var last uint64
	for _, n := range l.nodes {
		seq, err := n.Barrier(ctx)
		if err != nil {
			t.Fatal(err)
		}
		last = max(last, seq)
		h, err := n.PublishHead(ctx)
		if err != nil {
			t.Fatal(err)
		}
		last = max(last, h.Sequence)
	}
	j := judge(t, log, "", last)
	f := figures{faults: faults, puts: len(l.told)}
	acknowledged := map[audit.QueryID]bool{}
	for _, one := range l.told {
		have, stored := j.raw[one.id]
		switch {
		case one.err == nil:
			f.acknowledged++
			switch {
			case !stored:
				f.lost++
			case have != one.raw:
				f.wrong++
			}
			acknowledged[one.id] = true
		case errors.Is(one.err, audit.ErrConflict):
			f.conflicts++
			if !stored || have == one.raw {
				f.wrong++
			}
		}
	}
	// What was new in a put that returned before another one began stands before it.
	inTime := slices.DeleteFunc(slices.Clone(l.told), func(one told) bool { return one.err != nil || one.duplicate })
	slices.SortFunc(inTime, func(a, b told) int { return int(a.ended) - int(b.ended) })
	var newest uint64 // place of what had returned by now
	ended := 0
	began := slices.Clone(inTime)
	slices.SortFunc(began, func(a, b told) int { return int(a.began) - int(b.began) })
	for _, b := range began {
		for ended < len(inTime) && inTime[ended].ended < b.began {
			newest = max(newest, j.at[inTime[ended].id])
			ended++
		}
		if j.at[b.id] <= newest {
			t.Errorf("%s stands at %d, after a put that had returned before it began", b.raw, j.at[b.id])
		}
	}
	for i, n := range l.nodes {
		if err := n.WaitFor(ctx, last); err != nil {
			t.Fatal(err)
		}
		size, root, err := n.Root(ctx)
		if err != nil || int(size) != j.size || root != j.root {
			t.Errorf("node %d has %d records with root %v, %v; the stream says %d with %v", i, size, root, err, j.size, j.root)
		}
		seen := map[audit.QueryID]bool{}
		for raw, err := range n.RawAudits(ctx, audit.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			id, _ := audit.IDOf(raw)
			if seen[id] {
				f.twice++
			}
			seen[id] = true
			if j.raw[id] != string(raw) {
				f.wrong++
			}
		}
		for id := range acknowledged {
			if !seen[id] {
				f.lost++
			}
		}
		r, err := cluster.Verify(ctx, log, n.DB, cluster.VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if r.Damaged() || r.Unproven() || len(r.Heads) != len(l.nodes) {
			t.Errorf("node %d: %v, %v, %v, %+v", i, r.Problems, r.Open, r.Log.Info.Unproven, r.Heads)
		}
		for _, s := range n.Heads() {
			if s.Differs != nil {
				t.Errorf("node %d: node %s differs: %v", i, s.Node, s.Differs)
			}
		}
	}
	return f
}

// A fault is what goes wrong with servers until end. With so few of them left no put is decided meanwhile, if blocks is true.
type fault struct {
	name   string
	blocks bool
	begin  func(c *servers, w *network, i int)
	end    func(c *servers, w *network, i int)
}

var faultKinds = []fault{
	{"is killed", false,
		func(c *servers, _ *network, i int) { c.kill(i) },
		func(c *servers, _ *network, i int) { c.start(i) }},
	{"is cut off from the others", false,
		func(c *servers, w *network, i int) { w.cutOff(c.specs[i], true) },
		func(c *servers, w *network, i int) { w.cutOff(c.specs[i], false) }},
	{"and all others are killed", true,
		func(c *servers, _ *network, _ int) {
			for i := range c.specs {
				c.kill(i)
			}
		},
		func(c *servers, _ *network, _ int) {
			for i := range c.specs {
				c.start(i)
			}
		}},
	{"is paused", false,
		func(c *servers, _ *network, i int) { c.pause(i) },
		func(c *servers, _ *network, i int) { c.resume(i) }},
	{"and another one are killed", true,
		func(c *servers, _ *network, i int) { c.kill(i); c.kill((i + 1) % 3) },
		func(c *servers, _ *network, i int) { c.start(i); c.start((i + 1) % 3) }},
	{"and another one are paused", true,
		func(c *servers, _ *network, i int) { c.pause(i); c.pause((i + 1) % 3) },
		func(c *servers, _ *network, i int) { c.resume(i); c.resume((i + 1) % 3) }},
	{"is killed and started while another one is paused", true,
		func(c *servers, _ *network, i int) { c.pause((i + 1) % 3); c.kill(i); c.start(i) },
		func(c *servers, _ *network, i int) { c.resume((i + 1) % 3) }},
}

// Three servers with three replicas are killed, paused and cut off under load. Nothing that was acknowledged is lost or another, no id
// has two records, the order is that of time, and all replicas and nodes agree.
func TestFaults(t *testing.T) {
	t.Logf("-seed=%d -faults=%d", *faultSeed, *faultCount)
	w := &network{t: t}
	c := startServers(t, 3, w.join)
	c.initStream(jetstream.Spec{})
	l := &load{t: t}
	log := c.open()
	for i := range 2 {
		n, err := openNamed(t, filepath.Join(t.TempDir(), fmt.Sprint("node", i)), c.open(), fmt.Sprint("node", i))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		l.nodes = append(l.nodes, n)
	}
	random := rand.New(rand.NewPCG(*faultSeed, 0))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer func() {
		cancel()
		running.Wait()
	}()
	for of := range 8 {
		running.Go(func() { l.client(ctx, rand.New(rand.NewPCG(*faultSeed, uint64(1+of))), of) })
	}
	for i := range *faultCount {
		l.progress(50)
		// Each kind comes once before any comes again.
		f, server := faultKinds[i%len(faultKinds)], random.IntN(3)
		t.Logf("s%d %s", server+1, f.name)
		f.begin(c, w, server)
		if !f.blocks {
			l.progress(20)
		}
		f.end(c, w, server)
	}
	l.progress(50)
	cancel()
	running.Wait()
	f := l.check(log, *faultCount)
	t.Logf("%d faults, %d puts, %d acknowledged, %d conflicts, lost %d, wrong %d, twice %d",
		f.faults, f.puts, f.acknowledged, f.conflicts, f.lost, f.wrong, f.twice)
	if f.lost+f.wrong+f.twice > 0 {
		t.Error("a promise was broken")
	}
}

// A server that is cut off from the others keeps its clients. They find another one.
func TestAServerThatIsCutOffIsLeft(t *testing.T) {
	w := &network{t: t}
	c := startServers(t, 3, w.join)
	c.initStream(jetstream.Spec{})
	o := c.options()
	o.Connect = append(o.Connect, nats.DontRandomize()) // the first one is that which is cut off
	o.Timeout = time.Second
	l, err := jetstream.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, _ := sample(1).Canonical()
	m := cluster.NewRecord(sample(1).QueryID, raw)
	if done := l.Append(t.Context(), []cluster.Message{m})[0]; done.Err != nil {
		t.Fatal(done.Err)
	}
	w.cutOff(c.specs[0], true)
	defer w.cutOff(c.specs[0], false)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		raw, _ := sample(2).Canonical()
		done := l.Append(t.Context(), []cluster.Message{cluster.NewRecord(sample(2).QueryID, raw)})[0]
		if done.Err == nil {
			return
		}
		if time.Since(began) > 40*time.Second {
			t.Fatal(done.Err)
		}
	}
}

func openNamed(t *testing.T, dir string, l cluster.Log, name string) (n *cluster.Node, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		// A server that was started a moment ago may not answer yet.
		n, err = cluster.Open(ctx, dir, l, cluster.Options{Name: name})
		if !errors.Is(err, cluster.ErrUnproven) || ctx.Err() != nil {
			return n, err
		}
	}
}
