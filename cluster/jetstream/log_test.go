package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
	"github.com/auditsql/auditsql/cluster/logtest"
)

func sample(i int) *audit.QueryAudit {
	subject := fmt.Sprint("subject ", i%5)
	q := &audit.QueryAudit{
		Timestamp:        uint64(1_700_000_000_000 + i),
		Params:           audit.QueryParams{Subject: &subject},
		ResultConfidence: 0.5,
		Attributes:       map[string]any{"number": i},
	}
	q.QueryID, _ = q.ID()
	return q
}

// One server alone keeps the contract of a log.
func TestContract(t *testing.T) {
	c := startServers(t, 1, nil)
	n := 0
	logtest.Run(t, func(t *testing.T) cluster.Log {
		o := c.options()
		n++
		o.Stream = fmt.Sprint("AUDIT", n)
		// One subject belongs to one stream, so the stream before is removed.
		if n > 1 {
			removeStream(t, c, fmt.Sprint("AUDIT", n-1))
		}
		if created, _, err := jetstream.Init(t.Context(), o, jetstream.Spec{Replicas: 1}); err != nil || !created {
			t.Fatal(err)
		}
		l, err := jetstream.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Close)
		return l
	})
}

func TestInitMakesTheStreamOnceAndComparesItAfterwards(t *testing.T) {
	c := startServers(t, 1, nil)
	ctx := t.Context()
	if _, err := jetstream.Open(ctx, c.options()); err == nil {
		t.Fatal("a stream that does not exist was opened")
	}
	spec := jetstream.Spec{Replicas: 1, MaxBytes: 1 << 30, MaxAge: time.Hour}
	if created, d, err := jetstream.Init(ctx, c.options(), spec); err != nil || !created || len(d) > 0 {
		t.Fatal(created, d, err)
	}
	if created, d, err := jetstream.Init(ctx, c.options(), spec); err != nil || created || len(d) > 0 {
		t.Fatal(created, d, err)
	}
	spec.MaxAge, spec.Unit = 2*time.Hour, audit.Seconds
	created, d, err := jetstream.Init(ctx, c.options(), spec)
	if err != nil || created || len(d) != 2 || d[0].What != "time unit" || d[1].What != "max_age" {
		t.Fatal(created, d, err)
	}
}

// Rail 1: it is not believed that a log keeps what it acknowledges.
func TestWhatIsNotProven(t *testing.T) {
	c := startServers(t, 1, func(s *serverSpec) { s.Default = true })
	c.initStream(jetstream.Spec{Replicas: 1})
	l := c.open()
	_, err := cluster.Open(t.Context(), filepath.Join(t.TempDir(), "store"), l, cluster.Options{})
	var unproven *cluster.UnprovenError
	if !errors.As(err, &unproven) {
		t.Fatal(err)
	}
	said := strings.Join(unproven.Reasons, "\n")
	for _, want := range []string{"1 replicas", "server s1 does not sync each write"} {
		if !strings.Contains(said, want) {
			t.Errorf("the reasons do not say %q: %s", want, said)
		}
	}
	o := c.options()
	o.System = nil
	blind, err := jetstream.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer blind.Close()
	if info, err := blind.Info(t.Context()); err != nil || !strings.Contains(strings.Join(info.Unproven, "\n"), "system account") {
		t.Errorf("without the system account: %v, %v", info.Unproven, err)
	}
	n, err := cluster.Open(t.Context(), filepath.Join(t.TempDir(), "store"), l, cluster.Options{Unproven: true})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := n.PutAudit(t.Context(), sample(1)); err != nil {
		t.Error(err)
	}
}

// put is what a client was told.
type put struct {
	i   int
	err error
}

// publish puts samples through nodes until ctx ends, each once, and again when it was not decided.
func publish(ctx context.Context, nodes []*cluster.Node, from, step int) (done []put) {
	for i := from; ctx.Err() == nil; i += step {
		n := nodes[i%len(nodes)]
		for {
			one, cancel := context.WithTimeout(ctx, 20*time.Second)
			_, err := n.PutAudit(one, sample(i))
			cancel()
			if err == nil || ctx.Err() != nil {
				done = append(done, put{i, err})
				break
			}
		}
	}
	return done
}

// Three servers with three replicas are killed, paused and started again under load. Nothing that was acknowledged is missing, each
// record is stored once, and all nodes have the same root.
func TestServersAreKilledUnderLoad(t *testing.T) {
	c := startServers(t, 3, nil)
	c.initStream(jetstream.Spec{})
	var nodes []*cluster.Node
	for i := range 2 {
		l := c.open()
		n, err := openProven(t, filepath.Join(t.TempDir(), fmt.Sprint("node", i)), l)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		nodes = append(nodes, n)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	ctx, cancel := context.WithCancel(t.Context())
	const clients = 8
	said := make([][]put, clients)
	var running sync.WaitGroup
	for w := range clients {
		running.Go(func() { said[w] = publish(ctx, nodes, w, clients) })
	}
	// Each fault comes when more was acknowledged since the one before.
	progress := func() {
		one, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := nodes[0].WaitFor(one, nodes[0].Cursor()+50); err != nil {
			t.Errorf("no progress: %v", err)
		}
	}
	for range 4 {
		progress()
		i := random.IntN(3)
		if random.IntN(3) == 0 {
			t.Logf("s%d is paused", i+1)
			c.pause(i)
			progress()
			c.resume(i)
			continue
		}
		t.Logf("s%d is killed", i+1)
		c.kill(i)
		progress()
		c.start(i)
	}
	t.Log("all are killed")
	for i := range c.specs {
		c.kill(i)
	}
	for i := range c.specs {
		c.start(i)
	}
	progress()
	cancel()
	running.Wait()
	end, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	for _, n := range nodes {
		if _, err := n.Barrier(end); err != nil {
			t.Fatal(err)
		}
	}
	last := max(nodes[0].Cursor(), nodes[1].Cursor())
	acknowledged := 0
	for _, n := range nodes {
		if err := n.WaitFor(end, last); err != nil {
			t.Fatal(err)
		}
		acknowledged = 0
		for _, p := range slices.Concat(said...) {
			if p.err != nil {
				continue
			}
			acknowledged++
			want, _ := sample(p.i).Canonical()
			if raw, err := n.GetRaw(end, sample(p.i).QueryID); err != nil || string(raw) != string(want) {
				t.Fatalf("record %d was acknowledged, and is %s, %v", p.i, raw, err)
			}
		}
	}
	sameRoots(t, nodes...)
	t.Logf("%d acknowledged, none lost", acknowledged)
}

func openProven(t *testing.T, dir string, l cluster.Log) (n *cluster.Node, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		// A server that was started a moment ago may not answer yet.
		n, err = cluster.Open(ctx, dir, l, cluster.Options{})
		if !errors.Is(err, cluster.ErrUnproven) || ctx.Err() != nil {
			return n, err
		}
	}
}

func sameRoots(t testing.TB, nodes ...*cluster.Node) {
	t.Helper()
	want, root, err := nodes[0].Root(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range nodes {
		if size, r, err := n.Root(context.Background()); err != nil || size != want || r != root {
			t.Fatalf("node %d has %d records with root %v, %v; want %d, %v", i, size, r, err, want, root)
		}
		if report, err := n.Verify(context.Background(), audit.VerifyOptions{}); err != nil || !report.OK() {
			t.Fatalf("node %d: %v, %v", i, report.Problems, err)
		}
	}
}
