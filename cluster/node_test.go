package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/memlog"
)

// sample makes the i-th of a row of different records.
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

// other is another record with the id of sample i.
func other(i, version int) *audit.QueryAudit {
	q := sample(i)
	q.Attributes["version"] = version
	return q
}

func newLog(t testing.TB) *memlog.Log {
	t.Helper()
	l := memlog.New(3)
	t.Cleanup(l.Close)
	return l
}

// fast are options of a node whose log is in memory.
var fast = cluster.Options{Poll: 2 * time.Millisecond, Doubt: 20 * time.Millisecond}

func openNode(t testing.TB, dir string, l cluster.Log, o cluster.Options) *cluster.Node {
	t.Helper()
	n, err := cluster.Open(context.Background(), dir, l, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func closeNode(t testing.TB, n *cluster.Node) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

func putOne(t testing.TB, n *cluster.Node, q *audit.QueryAudit) audit.PutResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := n.PutAudits(ctx, []*audit.QueryAudit{q})
	if err != nil {
		t.Fatal(err)
	}
	return r[0]
}

func wantRecord(t testing.TB, n *cluster.Node, q *audit.QueryAudit) {
	t.Helper()
	raw, err := n.GetRaw(context.Background(), q.QueryID)
	want, _ := q.Canonical()
	if err != nil || string(raw) != string(want) {
		t.Fatalf("%s is %s, %v; want %s", q.QueryID, raw, err, want)
	}
}

// awaitErr waits until a node has an error of this kind.
func awaitErr(t testing.TB, n *cluster.Node, want error) {
	t.Helper()
	for began := time.Now(); !errors.Is(n.Err(), want); {
		if time.Since(began) > time.Minute {
			t.Fatalf("the node's error is %v, want %v", n.Err(), want)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		n.WaitFor(ctx, 1<<60)
		cancel()
	}
}

func TestAPutIsDecided(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	a, b := openNode(t, t.TempDir(), l, fast), openNode(t, t.TempDir(), l, fast)
	if r := putOne(t, a, sample(1)); r.Err != nil || r.Duplicate || r.ID != sample(1).QueryID {
		t.Fatalf("%+v", r)
	}
	wantRecord(t, a, sample(1)) // at once
	if err := b.WaitFor(t.Context(), a.Cursor()); err != nil {
		t.Fatal(err)
	}
	wantRecord(t, b, sample(1))
	for name, n := range map[string]*cluster.Node{"the same node": a, "another node": b} {
		if r := putOne(t, n, sample(1)); r.Err != nil || !r.Duplicate {
			t.Errorf("%s, the same again: %+v", name, r)
		}
		if r := putOne(t, n, other(1, 2)); !errors.Is(r.Err, audit.ErrConflict) {
			t.Errorf("%s, other bytes: %+v", name, r)
		}
		if r := putOne(t, n, &audit.QueryAudit{Timestamp: 1 << 63}); !errors.Is(r.Err, audit.ErrInvalid) {
			t.Errorf("%s, an invalid record: %+v", name, r)
		}
	}
	if l.All()[0].Payload == nil || len(l.All()) != 1 {
		t.Errorf("the log has %d messages", len(l.All()))
	}
}

// Many nodes put different records under the same ids at once. All say the same about who was first.
func TestOneWinnerAnID(t *testing.T) {
	t.Parallel()
	const nodes, ids = 4, 30
	l := newLog(t)
	var all []*cluster.Node
	for range nodes {
		all = append(all, openNode(t, t.TempDir(), l, fast))
	}
	var mu sync.Mutex
	winners := map[int][]int{}
	var running sync.WaitGroup
	for at, n := range all {
		running.Go(func() {
			for i := range ids {
				r := putOne(t, n, other(i, at))
				if r.Err == nil {
					mu.Lock()
					winners[i] = append(winners[i], at)
					mu.Unlock()
				} else if !errors.Is(r.Err, audit.ErrConflict) {
					t.Errorf("id %d, node %d: %v", i, at, r.Err)
				}
			}
		})
	}
	running.Wait()
	for i := range ids {
		if len(winners[i]) != 1 {
			t.Fatalf("id %d has the winners %v", i, winners[i])
		}
	}
	for _, n := range all {
		if _, err := n.Barrier(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range ids {
			wantRecord(t, n, other(i, winners[i][0]))
		}
	}
}

func TestABatchKeepsItsOrderAndEachRecordHasAResult(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	n := openNode(t, t.TempDir(), l, fast)
	putOne(t, n, sample(5))
	qs := []*audit.QueryAudit{sample(1), sample(2), sample(1), other(2, 9), sample(5), {Timestamp: 1 << 63}, sample(3)}
	rs, err := n.PutAudits(t.Context(), qs)
	if err != nil {
		t.Fatal(err)
	}
	if rs[0].Duplicate || rs[1].Duplicate || !rs[2].Duplicate || !rs[4].Duplicate || rs[6].Duplicate ||
		!errors.Is(rs[3].Err, audit.ErrConflict) || !errors.Is(rs[5].Err, audit.ErrInvalid) {
		t.Fatalf("%+v", rs)
	}
	last := uint64(0)
	for i := range 4 {
		for _, m := range l.All() {
			if m.ID == sample(i).QueryID.String() && i > 0 {
				if m.Sequence < last {
					t.Errorf("record %d has number %d", i, m.Sequence)
				}
				last = m.Sequence
			}
		}
	}
	rs, err = n.PutUntilRefused(t.Context(), []*audit.QueryAudit{sample(7), other(1, 3), sample(8)})
	if err != nil || len(rs) != 2 || rs[0].Err != nil || !errors.Is(rs[1].Err, audit.ErrConflict) {
		t.Fatalf("%+v, %v", rs, err)
	}
	if _, err := n.GetAudit(t.Context(), sample(8).QueryID); !errors.Is(err, audit.ErrNotFound) {
		t.Errorf("the record after the one that was refused: %v", err)
	}
}

// A node that was closed goes on where it was, whatever came meanwhile.
func TestANodeThatWasAwayCatchesUp(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	a, dir := openNode(t, t.TempDir(), l, fast), t.TempDir()
	b := openNode(t, dir, l, fast)
	for i := range 20 {
		putOne(t, a, sample(i))
	}
	closeNode(t, b)
	for i := 20; i < 40; i++ {
		putOne(t, a, sample(i))
	}
	b = openNode(t, dir, l, fast)
	if err := b.WaitFor(t.Context(), a.Cursor()); err != nil {
		t.Fatal(err)
	}
	sameRoots(t, a, b)
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

// Rail 2: a replica that lacks messages is left for another one. When all lack one, the node stops before it.
func TestAMissingMessage(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	a := openNode(t, t.TempDir(), l, fast)
	for i := range 10 {
		putOne(t, a, sample(i))
	}
	l.Lack("r1", 4)
	l.Lack("r2", 4)
	b := openNode(t, t.TempDir(), l, fast)
	if err := b.WaitFor(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	sameRoots(t, a, b)
	l.Lack("r3", 4)
	c := openNode(t, t.TempDir(), l, fast)
	awaitErr(t, c, cluster.ErrGap)
	if c.Cursor() != 3 {
		t.Fatalf("it went on to %d", c.Cursor())
	}
	wantRecord(t, c, sample(2))
	if _, err := c.PutAudit(t.Context(), sample(50)); !errors.Is(err, cluster.ErrGap) {
		t.Errorf("a put: %v", err)
	}
	l.Heal("r2")
	awaitErr(t, c, nil)
	if err := c.WaitFor(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	sameRoots(t, a, c)
}

// counted counts the reads of a log.
type counted struct {
	cluster.Log
	reads atomic.Int64
}

func (c *counted) Read(ctx context.Context, replica string, from uint64, limit int) ([]cluster.Stored, error) {
	c.reads.Add(1)
	return c.Log.Read(ctx, replica, from, limit)
}

// A message is missing while one replica does not answer: the node says so, and does not ask the others again and again without a wait.
func TestAMissingMessageWhileAReplicaIsSilent(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	c := &counted{Log: l}
	a := openNode(t, t.TempDir(), c, fast)
	l.SetDown("r1", true)
	for i := range 3 {
		putOne(t, a, sample(i))
	}
	l.Lack("r2", 4)
	l.Lack("r3", 4)
	for i := 3; i < 5; i++ { // no replica that answers has the first of them, and a later one shows that
		go a.PutAudit(t.Context(), sample(i))
	}
	awaitErr(t, a, cluster.ErrGap)
	if n := c.reads.Load(); n > 10_000 {
		t.Errorf("it read %d times", n)
	}
	l.SetDown("r1", false)
	awaitErr(t, a, nil)
	if err := a.WaitFor(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	wantRecord(t, a, sample(3))
	wantRecord(t, a, sample(4))
}

// Rail 3: a message that does not fit its publisher's hash is read from another replica.
func TestAnAlteredMessage(t *testing.T) {
	t.Parallel()
	flip := func(m *cluster.Message) { m.Payload[len(m.Payload)/2] ^= 1 }
	for name, change := range map[string]func(*cluster.Message){
		"a flipped bit":        flip,
		"a barrier's kind":     func(m *cluster.Message) { m.Kind = cluster.Barrier },
		"an unknown kind":      func(m *cluster.Message) { m.Kind = "other" },
		"no hash":              func(m *cluster.Message) { m.Sum = "" },
		"a payload that ended": func(m *cluster.Message) { m.Payload = nil },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			a := openNode(t, t.TempDir(), l, fast)
			for i := range 10 {
				putOne(t, a, sample(i))
			}
			l.Alter("r1", 4, change)
			l.Alter("r2", 4, change)
			l.Alter("r3", 7, change)
			b := openNode(t, t.TempDir(), l, fast)
			if err := b.WaitFor(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
			sameRoots(t, a, b)
		})
	}
	// Three replicas that differ: nobody knows what was published.
	l := newLog(t)
	a := openNode(t, t.TempDir(), l, fast)
	for i := range 10 {
		putOne(t, a, sample(i))
	}
	for i, r := range []string{"r1", "r2", "r3"} {
		l.Alter(r, 4, func(m *cluster.Message) { m.Payload[i] ^= 1 })
	}
	b := openNode(t, t.TempDir(), l, fast)
	awaitErr(t, b, cluster.ErrAltered)
	if b.Cursor() != 3 {
		t.Fatalf("it went on to %d", b.Cursor())
	}
}

// A message that was published so stops nothing, and every node says the same about it.
func TestPoison(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	a := openNode(t, t.TempDir(), l, fast)
	putOne(t, a, sample(1))
	wrong := cluster.NewRecord(sample(2).QueryID, []byte(`{"not":"what was hashed"}`))
	wrong.Payload = []byte(`{"not":"what was sent"}`)
	for _, m := range []cluster.Message{
		wrong,
		{ID: sample(3).QueryID.String(), Payload: []byte("no record"), Sum: cluster.NewRecord(sample(3).QueryID, []byte("no record")).Sum},
		{ID: "kind", Kind: "unknown", Payload: []byte("{}")},
		{ID: "empty"},
	} {
		if done := l.Append(t.Context(), []cluster.Message{m})[0]; done.Err != nil {
			t.Fatal(done.Err)
		}
	}
	b := openNode(t, t.TempDir(), l, fast)
	// Somebody has used their ids within the window. They are stored all the same.
	for i := 2; i < 5; i++ {
		if r := putOne(t, b, sample(i)); r.Err != nil || r.Duplicate {
			t.Fatalf("record %d: %+v", i, r)
		}
	}
	if err := a.WaitFor(t.Context(), b.Cursor()); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*cluster.Node{a, b} {
		if stats, err := n.Stats(t.Context()); err != nil || stats.Rejected != 4 || stats.Audits != 4 {
			t.Errorf("%+v, %v", stats, err)
		}
	}
	sameRoots(t, a, b)
}

// Rail 4: the log must be the one whose messages the node has.
func TestAnotherLog(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(l *memlog.Log)
		want   error
	}{
		"made again":      {func(l *memlog.Log) { l.Recreate() }, cluster.ErrMismatch},
		"cut":             {func(l *memlog.Log) { l.Cut(5) }, cluster.ErrRewound},
		"trimmed too far": {func(l *memlog.Log) { l.Trim(15) }, cluster.ErrTrimmed},
		"cut and gone on": {func(l *memlog.Log) { l.Cut(5); refill(l, 100, 20) }, cluster.ErrRewound},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			refill(l, 0, 10)
			dir, live := t.TempDir(), t.TempDir()
			n := openNode(t, dir, l, fast)
			if err := n.WaitFor(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
			closeNode(t, n)
			running := openNode(t, live, l, cluster.Options{Poll: fast.Poll, Doubt: fast.Doubt, Check: 5 * time.Millisecond})
			if err := running.WaitFor(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
			if errors.Is(c.want, cluster.ErrTrimmed) {
				refill(l, 10, 10) // it stays ahead of a trim that it does not see
				if err := running.WaitFor(t.Context(), 20); err != nil {
					t.Fatal(err)
				}
			}
			c.change(l)
			if _, err := cluster.Open(t.Context(), dir, l, fast); !errors.Is(err, c.want) {
				t.Errorf("opened again: %v, want %v", err, c.want)
			}
			if errors.Is(c.want, cluster.ErrTrimmed) {
				return
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := running.WaitFor(ctx, 1<<60); !errors.Is(err, cluster.ErrRewound) && !errors.Is(err, cluster.ErrMismatch) {
				t.Errorf("the node that was running: %v, want %v", err, c.want)
			}
			if running.Cursor() != 10 {
				t.Errorf("it went on to %d", running.Cursor())
			}
			if _, err := running.PutAudit(t.Context(), sample(77)); err == nil {
				t.Error("it takes puts")
			}
			wantRecord(t, running, sample(3))
		})
	}
}

// refill adds n records to a log, from number i on.
func refill(l *memlog.Log, i, n int) {
	for range n {
		raw, _ := sample(i).Canonical()
		l.Append(context.Background(), []cluster.Message{cluster.NewRecord(sample(i).QueryID, raw)})
		i++
	}
}

// A reader goes on when the log is trimmed before the place that it has reached.
func TestATrimBeforeTheCursorIsNoTrouble(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	n := openNode(t, t.TempDir(), l, fast)
	for i := range 20 {
		putOne(t, n, sample(i))
		l.Trim(uint64(i + 1 + i%2)) // now and then the last message too
	}
	if n.Cursor() != 20 || n.Err() != nil {
		t.Errorf("cursor %d, %v", n.Cursor(), n.Err())
	}
	wantRecord(t, n, sample(0))
}

// Rail 1: puts need a log that keeps what it acknowledges.
func TestAnUnprovenLog(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.SetUnproven("server n1 syncs every 2 minutes")
	_, err := cluster.Open(t.Context(), t.TempDir(), l, fast)
	var unproven *cluster.UnprovenError
	if !errors.Is(err, cluster.ErrUnproven) || !errors.As(err, &unproven) || !strings.Contains(err.Error(), "every 2 minutes") {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o := fast
	o.Unproven = true
	n := openNode(t, dir, l, o)
	putOne(t, n, sample(1))
	closeNode(t, n)
	l.SetUnproven()
	o = fast
	o.Check = 5 * time.Millisecond
	n = openNode(t, dir, l, o)
	if stats, err := n.Stats(t.Context()); err != nil || !strings.Contains(stats.Follows, "not proven") {
		t.Errorf("%q, %v", stats.Follows, err)
	}
	putOne(t, n, sample(2))
	l.SetUnproven("server n2 syncs every 2 minutes")
	awaitErr(t, n, cluster.ErrUnproven)
	if _, err := n.PutAudit(t.Context(), sample(3)); !errors.Is(err, cluster.ErrUnproven) {
		t.Errorf("a put: %v", err)
	}
	wantRecord(t, n, sample(2))
	l.SetUnproven()
	awaitErr(t, n, nil)
	putOne(t, n, sample(3))
}

// A log is unproven for a moment, because the servers could not be asked. Puts are taken again within seconds, and not at the next time when the
// node would have asked.
func TestALogThatIsUnprovenForAMoment(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string, l *memlog.Log) {
		n, err := cluster.Open(t.Context(), filepath.Join(dir, "store"), l, cluster.Options{Heads: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		l.SetUnproven("the servers cannot be asked")
		time.Sleep(10*time.Minute + time.Second) // the fake clock's
		if err := n.Err(); !errors.Is(err, cluster.ErrUnproven) {
			t.Fatal(err)
		}
		l.SetUnproven()
		time.Sleep(10 * time.Second)
		if _, err := n.PutAudit(t.Context(), sample(1)); err != nil {
			t.Error(err)
		}
	})
}

// All replicas were wrong for a moment: two did not answer, and the third one has altered the last message. When the two answer again the node goes
// on, though nothing new comes.
func TestReplicasThatComeBackWhenNothingIsNew(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	refill(l, 0, 10)
	n := openNode(t, t.TempDir(), l, cluster.Options{Poll: fast.Poll, Heads: -1})
	if err := n.WaitFor(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	l.SetDown("r2", true)
	l.SetDown("r3", true)
	l.Alter("r1", 10, func(m *cluster.Message) { m.Payload[20]++ })
	awaitErr(t, n, cluster.ErrAltered)
	l.SetDown("r2", false)
	l.SetDown("r3", false)
	awaitErr(t, n, nil)
	putOne(t, n, sample(50))
}

// full is a log that takes nothing more after the first try of a put, whose answer is lost.
type full struct {
	*memlog.Log
	tries int
}

func (f *full) Append(ctx context.Context, ms []cluster.Message) []cluster.Appended {
	if f.tries++; f.tries == 1 {
		return f.Log.Append(ctx, ms)
	}
	done := make([]cluster.Appended, len(ms))
	for i := range done {
		done[i].Err = fmt.Errorf("memory: %w: it is full", cluster.ErrRefused)
	}
	return done
}

// A log that refuses a record may have it from an earlier try. The put says so, and does not say that nothing of the record is stored.
func TestARefusedPutThatMayBeStored(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.Fate = func(cluster.Message) memlog.Fate { return memlog.Fate{AckLost: true} }
	for _, r := range []string{"r1", "r2", "r3"} {
		l.Freeze(r, true) // the node does not see that it is stored
	}
	f := &full{Log: l}
	n := openNode(t, t.TempDir(), f, cluster.Options{Poll: fast.Poll, Heads: -1})
	if _, err := n.PutAudit(t.Context(), sample(1)); !errors.Is(err, cluster.ErrUndecided) || !errors.Is(err, cluster.ErrRefused) {
		t.Errorf("an earlier try got no answer: %v", err)
	}
	if _, err := n.PutAudit(t.Context(), sample(2)); !errors.Is(err, cluster.ErrRefused) || errors.Is(err, cluster.ErrUndecided) {
		t.Errorf("the first try was refused: %v", err)
	}
}

// A put whose answer is lost is decided all the same, and stored once.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	calls := 0
	l.Fate = func(cluster.Message) memlog.Fate {
		calls++
		return memlog.Fate{AckLost: calls%3 == 0, Lost: calls%3 == 1}
	}
	n := openNode(t, t.TempDir(), l, fast)
	for i := range 20 {
		if r := putOne(t, n, sample(i)); r.Err != nil {
			t.Fatalf("%+v", r)
		}
		wantRecord(t, n, sample(i))
	}
	if size, _, err := n.Root(t.Context()); err != nil || size != 20 {
		t.Errorf("%d records, %v", size, err)
	}
}

// inBubble runs a test by the fake clock, with a folder of its own and a log in memory that has three replicas.
func inBubble(t *testing.T, test func(t *testing.T, dir string, l *memlog.Log)) {
	synctest.Test(t, func(t *testing.T) {
		dir, err := os.MkdirTemp("", "node-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		l := memlog.New(3)
		defer l.Close()
		test(t, dir, l)
	})
}

// Servers that were just started say for a while that the log ends earlier than it does. A node that runs, and one that is opened, wait
// for them, and go on. They stop when the log says nothing else.
func TestALogThatSeemsToEndEarlier(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string, l *memlog.Log) {
		refill(l, 0, 10)
		open := func(name string) (*cluster.Node, error) {
			return cluster.Open(t.Context(), filepath.Join(dir, name), l, cluster.Options{})
		}
		stays, err := open("stays")
		if err != nil {
			t.Fatal(err)
		}
		defer stays.Close()
		comes, err := open("comes")
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []*cluster.Node{stays, comes} {
			if err := n.WaitFor(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
		}
		if err := comes.Close(); err != nil {
			t.Fatal(err)
		}
		four := uint64(4)
		l.Seem(&four)
		time.AfterFunc(20*time.Second, func() { l.Seem(nil) })
		if comes, err = open("comes"); err != nil {
			t.Fatalf("opened while the servers start: %v", err)
		}
		defer comes.Close()
		for i, n := range []*cluster.Node{stays, comes} {
			if _, err := n.PutAudit(t.Context(), sample(100+i)); err != nil {
				t.Errorf("a put afterwards: %v", err)
			}
		}
		l.Seem(&four)
		time.Sleep(20 * time.Second)
		if err := stays.Err(); err != nil {
			t.Errorf("after a while: %v", err)
		}
		time.Sleep(20 * time.Second)
		if err := stays.Err(); !errors.Is(err, cluster.ErrRewound) {
			t.Errorf("the log says nothing else, and the node says %v", err)
		}
	})
}

// A put whose context ends first is undecided, and can be given again.
func TestAnUndecidedPut(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string, l *memlog.Log) {
		lost := true
		l.Fate = func(cluster.Message) memlog.Fate { return memlog.Fate{AckLost: lost} }
		for _, r := range []string{"r1", "r2", "r3"} {
			l.Freeze(r, true)
		}
		n, err := cluster.Open(t.Context(), filepath.Join(dir, "store"), l, cluster.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := n.PutAudit(ctx, sample(1)); !errors.Is(err, cluster.ErrUndecided) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		lost = false
		for _, r := range []string{"r1", "r2", "r3"} {
			l.Freeze(r, false)
		}
		time.Sleep(2 * memlog.Window) // the fake clock's
		if _, err := n.PutAudit(t.Context(), sample(1)); err != nil {
			t.Fatal(err)
		}
		if size, _, err := n.Root(t.Context()); err != nil || size != 1 {
			t.Errorf("%d records, %v", size, err)
		}
	})
}
