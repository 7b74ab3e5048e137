package cluster_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/memlog"
	"github.com/auditsql/auditsql/tree"
)

// forged is a log as somebody sees it who is shown other messages than everybody else, each with a hash that fits.
type forged struct {
	*memlog.Log
	change map[uint64]func(*cluster.Message)
}

func (f forged) Read(ctx context.Context, replica string, from uint64, most int) ([]cluster.Stored, error) {
	ms, err := f.Log.Read(ctx, replica, from, most)
	for i := range ms {
		if change := f.change[ms[i].Sequence]; change != nil {
			change(&ms[i].Message)
		}
	}
	return ms, err
}

// another makes sample i, which is message i + 1, another record with the same id.
func another(i int) map[uint64]func(*cluster.Message) {
	return map[uint64]func(*cluster.Message){uint64(i + 1): func(m *cluster.Message) {
		q := other(i, 2)
		raw, _ := q.Canonical()
		*m = cluster.NewRecord(q.QueryID, raw)
	}}
}

// plain is a log over which nodes cannot read each other's trees.
type plain struct{ cluster.Log }

// publishAll lets each node publish its head, and waits until each has read those of all.
func publishAll(t testing.TB, nodes ...*cluster.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var last uint64
	for _, n := range nodes {
		h, err := n.PublishHead(ctx)
		if err != nil {
			t.Fatal(err)
		}
		last = max(last, h.Sequence)
	}
	for _, n := range nodes {
		// A head is compared before the reader takes what follows it.
		if _, err := n.Barrier(ctx); err != nil {
			t.Fatal(err)
		}
		if err := n.WaitFor(ctx, last); err != nil {
			t.Fatal(err)
		}
	}
}

// headOf returns what a node knows of another one's head, as soon as it fits.
func headOf(t testing.TB, n *cluster.Node, name string, fits func(cluster.HeadState) bool) cluster.HeadState {
	t.Helper()
	for began := time.Now(); ; {
		for _, s := range n.Heads() {
			if s.Node == name && fits(s) {
				return s
			}
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("the heads are %+v", n.Heads())
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		n.WaitFor(ctx, 1<<60)
		cancel()
	}
}

func named(name string) cluster.Options {
	o := fast
	o.Name = name
	return o
}

// exactly reports whether it is known that this record differs first.
func exactly(index uint64) func(cluster.HeadState) bool {
	return func(s cluster.HeadState) bool {
		return s.Differs != nil && *s.Differs == cluster.Difference{From: index, To: index}
	}
}

func same(s cluster.HeadState) bool { return s.Differs == nil }

// Each node publishes the root of its tree, and the others find out whether they have the same one.
func TestHeadsAreCompared(t *testing.T) {
	t.Parallel()
	const records, bad = 700, 290
	l := newLog(t)
	refill(l, 0, records)
	a, b := openNode(t, t.TempDir(), l, named("a")), openNode(t, t.TempDir(), l, named("b"))
	c := openNode(t, t.TempDir(), forged{l, another(bad)}, named("c"))
	for _, n := range []*cluster.Node{a, b, c} {
		if err := n.WaitFor(t.Context(), records); err != nil {
			t.Fatal(err)
		}
	}
	publishAll(t, a, b, c)
	if s := headOf(t, a, "b", same); s.Size != records || s.Cursor < records {
		t.Errorf("%+v", s)
	}
	headOf(t, a, "a", same)
	headOf(t, a, "c", exactly(bad))
	headOf(t, c, "a", exactly(bad))
	if err := a.Err(); err != nil {
		t.Errorf("a wrong node keeps another one from working: %v", err)
	}
	putOne(t, a, sample(records))
	if err := c.WaitFor(t.Context(), a.Cursor()); err != nil {
		t.Fatal(err)
	}
	publishAll(t, a, c)
	headOf(t, a, "c", exactly(bad))
	// A head takes a number of the log, and is no record.
	stats, err := a.Stats(t.Context())
	if err != nil || stats.Audits != records+1 || stats.Rejected != 0 {
		t.Errorf("%+v, %v", stats, err)
	}
	want := `[{"node":"a","size":701},{"node":"b","size":700},{"node":"c","size":701,"differs":{"from":290,"to":290}}]`
	if said, err := json.Marshal(stats.Heads); err != nil || string(said) != want {
		t.Errorf("%s, %v", said, err)
	}
}

// Where nodes cannot read each other's trees, the heads that were the same say from where on they may differ.
func TestADifferenceIsBetweenTwoHeads(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	refill(l, 0, 100)
	a := openNode(t, t.TempDir(), plain{l}, named("a"))
	c := openNode(t, t.TempDir(), plain{forged{l, map[uint64]func(*cluster.Message){
		// What is message 151, after the two heads and two barriers, is shown as something else: no record, so there is one less.
		151: func(m *cluster.Message) { *m = cluster.NewRecord(audit.QueryID{}, []byte("junk")) },
	}}}, named("c"))
	read := func(upTo uint64) {
		for _, n := range []*cluster.Node{a, c} {
			if err := n.WaitFor(t.Context(), upTo); err != nil {
				t.Fatal(err)
			}
		}
		publishAll(t, a, c)
	}
	read(100)
	headOf(t, a, "c", same)
	refill(l, 100, 100)
	read(204)
	s := headOf(t, a, "c", func(s cluster.HeadState) bool { return s.Differs != nil })
	if s.Size != 199 || s.Differs.From != 100 || s.Differs.To != 198 {
		t.Errorf("%+v, %v", s, s.Differs)
	}
	if s := headOf(t, c, "a", func(s cluster.HeadState) bool { return s.Differs != nil }); s.Differs.From != 100 || s.Differs.To != 199 {
		t.Errorf("%+v, %v", s, s.Differs)
	}
}

// A node that lacks only the newest records has the same root as far as it goes.
func TestANodeThatLacksTheNewestRecord(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	refill(l, 0, 10)
	a := openNode(t, t.TempDir(), plain{l}, named("a"))
	c := openNode(t, t.TempDir(), plain{forged{l, map[uint64]func(*cluster.Message){
		10: func(m *cluster.Message) { *m = cluster.NewRecord(audit.QueryID{}, []byte("junk")) },
	}}}, named("c"))
	for _, n := range []*cluster.Node{a, c} {
		if err := n.WaitFor(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
	}
	publishAll(t, a, c)
	headOf(t, a, "c", exactly(9))
}

func TestANodePublishesItsHeadByItself(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	o := named("a")
	o.Heads = time.Millisecond
	a := openNode(t, t.TempDir(), l, o)
	headOf(t, a, "a", same)
	putOne(t, a, sample(1))
	headOf(t, a, "a", func(s cluster.HeadState) bool { return s.Size == 1 })
	// Without new records there is no new head.
	before := len(l.All())
	putOne(t, a, sample(2))
	headOf(t, a, "a", func(s cluster.HeadState) bool { return s.Size == 2 })
	if after := len(l.All()); after != before+2 {
		t.Errorf("a record brought %d messages", after-before)
	}
}

func TestWhatIsAHead(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	a := openNode(t, t.TempDir(), l, named("node a"))
	want, err := a.PublishHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := l.All()[0]
	if got, err := cluster.ParseHead(&m); err != nil || got != want {
		t.Fatalf("%+v, %v; want %+v", got, err, want)
	}
	// The kind is not hashed. All the same no other kind is taken for a head, and a head for no other kind.
	for _, kind := range []cluster.Kind{cluster.Record, cluster.Barrier} {
		other := m
		if other.Kind = kind; other.Intact() {
			t.Errorf("a head is intact as %q", kind)
		}
	}
	raw, _ := sample(1).Canonical()
	record := cluster.NewRecord(sample(1).QueryID, raw)
	if record.Kind = cluster.HeadKind; record.Intact() {
		t.Error("a record is intact as a head")
	}
	const good = "auditsql head\nx\n7\n5\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
	parse := func(payload string) error {
		m := cluster.NewRecord(audit.QueryID{}, []byte(payload))
		m.Kind = cluster.HeadKind
		_, err := cluster.ParseHead(&cluster.Stored{Sequence: 8, Message: m})
		return err
	}
	if err := parse(good); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string][2]string{
		"no name": {"x", ""}, "a name that cannot be shown": {"x", "\x1b"}, "a long name": {"x", strings.Repeat("x", 256)},
		"a leading zero": {"5", "05"}, "a sign": {"5", "+5"}, "more records than messages": {"5", "8"},
		"a message that is to come": {"7", "8"}, "another root": {"SuFU=", "SuFU"}, "a short root": {"G3hSuFU=", ""},
		"another line": {"x", "x\nx"}, "CRLF": {"x\n", "x\r\n"}, "no end": {"FU=\n", "FU="},
	} {
		if err := parse(strings.Replace(good, change[0], change[1], 1)); err == nil {
			t.Errorf("%s: it is taken for a head", what)
		}
	}
}

// A head that cannot be read stops nothing.
func TestAHeadThatCannotBeRead(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	m := cluster.NewRecord(audit.QueryID{}, []byte("auditsql head\nnonsense"))
	m.Kind = cluster.HeadKind
	l.Append(t.Context(), []cluster.Message{m})
	a := openNode(t, t.TempDir(), l, named("a"))
	putOne(t, a, sample(1))
	if len(a.Heads()) != 0 {
		t.Errorf("%+v", a.Heads())
	}
}

func TestTheNameOfANode(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	dir := filepath.Join(t.TempDir(), "store")
	if a := openNode(t, dir, l, fast); !strings.HasSuffix(a.Name(), ":"+dir) {
		t.Error(a.Name())
	}
	if _, err := cluster.Open(t.Context(), t.TempDir(), l, named("a\nb")); err == nil {
		t.Error("a name of two lines was taken")
	}
}

// tiles is a tree in memory.
type tiles map[string][]byte

func treeOf(leaves []tree.Hash) tree.TileReader {
	edge, _ := tree.NewEdge(0, nil)
	full := tiles{}
	for _, f := range edge.Append(leaves...) {
		full[fmt.Sprint(f.Level, f.N)] = f.Hashes
	}
	return edge.Reader(func(level int, n int64) ([]byte, error) {
		if hashes := full[fmt.Sprint(level, n)]; hashes != nil {
			return hashes, nil
		}
		return nil, errors.New("there is no such tile")
	})
}

func TestTheFirstDifferenceOfTwoTrees(t *testing.T) {
	t.Parallel()
	leaves := make([]tree.Hash, 66_000)
	for i := range leaves {
		binary.BigEndian.PutUint64(leaves[i][:], uint64(i)+1)
	}
	for _, size := range []int{0, 1, 2, 255, 256, 257, 511, 512, 513, 65535, 65536, 65537, 65792, 65793, 66000} {
		a := treeOf(leaves[:size])
		for _, at := range []int{0, 1, 254, 255, 256, 257, 511, 512, 40_000, 65279, 65280, 65535, 65536, 65791, 65792, size - 1, size} {
			if at < 0 || at > size {
				continue
			}
			changed := append([]tree.Hash(nil), leaves[:size]...)
			if at < size {
				changed[at][31]++
				changed[size-1][31]++ // the first one counts
			}
			more := at % 3 * 150 // the other tree may be larger
			b := treeOf(append(changed[:size:size], leaves[:more]...))
			if got, err := cluster.FirstDifference(a, b, uint64(size)); err != nil || got != uint64(at) {
				t.Fatalf("of %d leaves, %d more in the other tree: the first difference is %d, %v; want %d", size, more, got, err, at)
			}
		}
	}
}
