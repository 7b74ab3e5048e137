package cluster_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
)

func verified(t testing.TB, l cluster.Log, db *audit.DB) *cluster.VerifyReport {
	t.Helper()
	r, err := cluster.Verify(context.Background(), l, db, cluster.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantProblem(t testing.TB, r *cluster.VerifyReport, texts ...string) {
	t.Helper()
	all := strings.Join(r.Problems, "\n")
	for _, text := range texts {
		if !strings.Contains(all, text) {
			t.Errorf("the problems do not say %q:\n%s", text, all)
		}
	}
}

func wantWhole(t testing.TB, r *cluster.VerifyReport) {
	t.Helper()
	if r.Damaged() || r.Unproven() {
		t.Errorf("%v; open: %v", r.Problems, r.Open)
	}
}

// under returns the message for a record, with another ID than that of the record. So the log does not leave it out.
func under(id string, q *audit.QueryAudit) cluster.Message {
	raw, _ := q.Canonical()
	m := cluster.NewRecord(q.QueryID, raw)
	m.ID = id
	return m
}

func TestVerifyComparesACopyWithTheLog(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	refill(l, 0, 20)
	// Messages that are no entries: a conflict, a duplicate, what is no record, and what was published with another hash.
	junk := cluster.NewRecord(audit.QueryID{}, []byte("junk"))
	wrong := cluster.NewRecord(audit.QueryID{}, []byte(`{"a":1}`))
	wrong.ID, wrong.Sum = "wrong", "0"
	l.Append(t.Context(), []cluster.Message{under("again", sample(3)), under("conflict", other(4, 2)), junk, wrong, cluster.NewBarrier("b")})
	dir := t.TempDir()
	a := openNode(t, dir, l, named("a"))
	publishAll(t, a)
	r := verified(t, l, a.DB)
	wantWhole(t, r)
	if r.Size != 20 || len(r.Heads) != 1 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "a hash that does not fit it") {
		t.Errorf("%+v", r)
	}
	// Beside the node, from another process.
	db, err := audit.Open(dir, audit.ReadOnly())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	wantWhole(t, verified(t, l, db))

	// Each replica is read.
	l.Lack("r2", 7)
	l.Alter("r3", 9, func(m *cluster.Message) { m.Payload[5] ^= 1 })
	r = verified(t, l, db)
	wantProblem(t, r, "replica r2 lacks 1 of the messages", "replica r2 lacks the messages 7 to 7", "message 9 is not what its publisher has hashed on replica r3")
	if r.Total != 3 {
		t.Errorf("%d problems: %v", r.Total, r.Problems)
	}
	if steps := strings.Join(r.Log.Healing(), "\n"); !strings.Contains(steps, "Stop server r2, which lacks 1 messages, while r1 leads") || !strings.Contains(steps, "Stop server r3") {
		t.Error(steps)
	}
	l.Heal("r2")
	l.Heal("r3")

	// What a replica says with a hash that fits is compared with the copy.
	r = verified(t, forged{l, another(11)}, db)
	wantProblem(t, r, "record 11 of this copy is another one than message 12 of replica r1")
	r = verified(t, forged{l, map[uint64]func(*cluster.Message){
		14: func(m *cluster.Message) { *m = cluster.NewBarrier("x") },
		22: func(m *cluster.Message) { *m = under("x", sample(90)) },
		2:  func(m *cluster.Message) { *m = under("x", sample(19)) },
	}}, db)
	wantProblem(t, r, "record 13 of this copy is said to be message 14, which is no record", "this copy lacks message 22",
		"record 1 of this copy is another one than message 2")
	r = verified(t, forged{l, map[uint64]func(*cluster.Message){
		// A message that brought no record has one that stands later in the copy.
		23: func(m *cluster.Message) { *m = under("x", sample(19)) },
	}}, db)
	wantWhole(t, r) // its record is there before
}

// The first message under an id is the record, so a copy that has a later one is wrong.
func TestVerifyFindsAnotherWinner(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	refill(l, 0, 5)
	l.Append(t.Context(), []cluster.Message{under("again", other(2, 2))})
	c := openNode(t, t.TempDir(), forged{l, map[uint64]func(*cluster.Message){
		3: func(m *cluster.Message) { *m = cluster.NewRecord(audit.QueryID{}, []byte("junk")) },
	}}, named("c"))
	if err := c.WaitFor(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, verified(t, l, c.DB), "this copy has record 4 under the id "+sample(2).QueryID.String()+", and message 3 came before it")
}

// The heads of other nodes show a copy that was changed where the log does not have the messages any more.
func TestVerifyComparesTheHeads(t *testing.T) {
	t.Parallel()
	const bad = 290
	l := newLog(t)
	refill(l, 0, 700)
	a := openNode(t, t.TempDir(), l, named("a"))
	c := openNode(t, t.TempDir(), forged{l, another(bad)}, named("c"))
	for _, n := range []*cluster.Node{a, c} {
		if err := n.WaitFor(t.Context(), 700); err != nil {
			t.Fatal(err)
		}
	}
	publishAll(t, a, c)
	wantProblem(t, verified(t, l, c.DB), "record 290 of this copy is another one than message 291", "node a has other records than this copy, as its head in message 701 says: record 290 is the first one")
	l.Trim(650)
	r := verified(t, l, c.DB)
	wantProblem(t, r, "node a has other records than this copy, as its head in message 701 says: record 290 is the first one")
	if r.Total != 1 || r.Heads[1].Node != "c" || r.Heads[1].Differs != nil {
		t.Errorf("%v, %+v", r.Problems, r.Heads)
	}
	wantProblem(t, verified(t, l, a.DB), "node c has other records than this copy")
}

// elsewhere is a log of which one replica is answered for by one that lacks a message.
type elsewhere struct {
	cluster.Log
	replica string
	lacks   uint64
}

func (e elsewhere) Read(ctx context.Context, replica string, from uint64, most int) ([]cluster.Stored, error) {
	ms, err := e.Log.Read(ctx, replica, from, most)
	if replica == e.replica {
		ms = slices.DeleteFunc(ms, func(m cluster.Stored) bool { return m.Sequence == e.lacks })
	}
	return ms, err
}

func TestVerifySaysWhatItCouldNotFindOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t)
		refill(l, 0, 5)
		a := openNode(t, t.TempDir(), l, named("a"))
		if err := a.WaitFor(t.Context(), 5); err != nil {
			t.Fatal(err)
		}
		l.SetDown("r1", true)
		r := verified(t, l, a.DB)
		if r.Damaged() || !r.Unproven() || !strings.Contains(strings.Join(r.Open, "\n"), "replica r1 does not answer") {
			t.Errorf("%v, %v", r.Problems, r.Open)
		}
		l.Heal("r1")
		// What is read from r3 comes from another replica, which lacks a message.
		r = verified(t, elsewhere{l, "r3", 3}, a.DB)
		if r.Damaged() || !strings.Contains(strings.Join(r.Open, "\n"), "a read of replica r3 did not bring the messages 3 to 3, and no replica says that it lacks any") {
			t.Errorf("%v, %v", r.Problems, r.Open)
		}
		// If one says so, it is that one that has answered.
		l.Lack("r1", 3)
		if r = verified(t, elsewhere{l, "r3", 3}, a.DB); len(r.Log.Damaged) != 1 || r.Log.Damaged[0].Name != "r1" || len(r.Open) > 0 {
			t.Errorf("%v, %v", r.Problems, r.Open)
		}
		l.Heal("r1")
		l.Freeze("r2", true)
		refill(l, 5, 1)
		if err := a.WaitFor(t.Context(), 6); err != nil {
			t.Fatal(err)
		}
		if r := verified(t, l, a.DB); r.Damaged() || !strings.Contains(strings.Join(r.Open, "\n"), "replica r2 has nothing from message 6 on") {
			t.Errorf("%v, %v", r.Problems, r.Open)
		}
		l.Heal("r2")
		l.SetUnproven("for a reason")
		if r := verified(t, l, a.DB); r.Damaged() || !r.Unproven() {
			t.Errorf("%v, %v", r.Problems, r.Open)
		}
	})
}

func TestVerifyRefusesAnotherLog(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	refill(l, 0, 5)
	a := openNode(t, t.TempDir(), l, named("a"))
	if err := a.WaitFor(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	own, err := audit.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if _, err := cluster.Verify(t.Context(), l, own, cluster.VerifyOptions{}); !errors.Is(err, cluster.ErrMismatch) {
		t.Error(err)
	}
	l.Cut(3)
	if _, err := cluster.Verify(t.Context(), l, a.DB, cluster.VerifyOptions{}); !errors.Is(err, cluster.ErrRewound) {
		t.Error(err)
	}
	l.Recreate()
	if _, err := cluster.Verify(t.Context(), l, a.DB, cluster.VerifyOptions{}); !errors.Is(err, cluster.ErrMismatch) {
		t.Error(err)
	}
}

func TestBootstrapMakesANodeFromABackup(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := newLog(t)
	refill(l, 0, 300)
	home := t.TempDir()
	a := openNode(t, filepath.Join(home, "a"), l, named("a"))
	if err := a.WaitFor(ctx, 300); err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(home, "backup")
	if _, err := a.Backup(ctx, backup); err != nil {
		t.Fatal(err)
	}
	refill(l, 300, 100)
	l.Trim(250)
	dir := filepath.Join(home, "b")
	if _, err := cluster.Open(ctx, dir, l, fast); !errors.Is(err, cluster.ErrTrimmed) {
		t.Fatal(err)
	}
	dir = filepath.Join(home, "c")
	if r, err := cluster.Bootstrap(ctx, l, backup, dir, cluster.BootstrapOptions{}); err != nil || r.Audits != 300 {
		t.Fatal(r, err)
	}
	b := openNode(t, dir, l, named("b"))
	// Also from a node that runs.
	other := filepath.Join(home, "d")
	if _, err := cluster.Bootstrap(ctx, l, a.Dir(), other, cluster.BootstrapOptions{}); err != nil {
		t.Fatal(err)
	}
	c := openNode(t, other, l, named("c"))
	publishAll(t, a, b, c)
	for _, n := range []*cluster.Node{b, c} {
		if size, _, err := n.Root(ctx); err != nil || size != 400 {
			t.Errorf("%d, %v", size, err)
		}
		headOf(t, n, "a", same)
		wantWhole(t, verified(t, l, n.DB))
	}
	if _, err := cluster.Bootstrap(ctx, l, backup, dir, cluster.BootstrapOptions{}); !errors.Is(err, os.ErrExist) {
		t.Errorf("a node was overwritten: %v", err)
	}
	if left, err := cluster.Unfinished(dir); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

func TestBootstrapRefusesACopyThatCannotGoOn(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := newLog(t)
	refill(l, 0, 20)
	home := t.TempDir()
	a := openNode(t, filepath.Join(home, "a"), l, fast)
	if err := a.WaitFor(ctx, 20); err != nil {
		t.Fatal(err)
	}
	wrong := openNode(t, filepath.Join(home, "wrong"), forged{l, another(19)}, fast)
	if err := wrong.WaitFor(ctx, 20); err != nil {
		t.Fatal(err)
	}
	own, err := audit.Open(filepath.Join(home, "own"))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	refused := func(what, from string, want error) {
		t.Helper()
		dir := filepath.Join(home, "new")
		if _, err := cluster.Bootstrap(ctx, l, from, dir, cluster.BootstrapOptions{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
		if entries, _ := filepath.Glob(filepath.Join(home, "*new*")); len(entries) > 0 {
			t.Errorf("%s: %v were left", what, entries)
		}
	}
	refused("a store with a journal", own.Dir(), cluster.ErrMismatch)
	refused("another record under the number of the newest one", wrong.Dir(), cluster.ErrRewound)
	closeNode(t, a)
	l.Cut(15)
	refused("a log that has lost messages", a.Dir(), cluster.ErrRewound)
	refill(l, 20, 20)
	l.Trim(25)
	refused("a copy that ends before the log begins", a.Dir(), cluster.ErrTrimmed)
	l.Recreate()
	refused("a log that was made again", a.Dir(), cluster.ErrMismatch)
}
