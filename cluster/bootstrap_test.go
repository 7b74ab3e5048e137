package cluster_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/memlog"
)

// left returns what a bootstrap of dir has left beside it or there.
func left(dir string) (names []string) {
	names, _ = filepath.Glob(filepath.Join(filepath.Dir(dir), "*"+filepath.Base(dir)+"*"))
	return names
}

// A new node of a set is made from backups of its partitions, which need not be of the same moment, or from the folder of a node that runs.
func TestBootstrapOfASet(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	logs, as := newSet(t, 2)
	home := t.TempDir()
	a := openSet(t, filepath.Join(home, "a"), as)
	put := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if r, err := a.PutAudits(ctx, []*audit.QueryAudit{sample(i)}); err != nil || r[0].Err != nil {
				t.Fatal(r, err)
			}
		}
	}
	backup := filepath.Join(home, "backup")
	for i, n := range a.Nodes() {
		put(20*i, 20*i+20)
		if _, err := n.Backup(ctx, cluster.PartitionDir(backup, i)); err != nil {
			t.Fatal(err)
		}
	}
	put(40, 60)
	for i, n := range a.Nodes() {
		b, err := audit.Open(cluster.PartitionDir(backup, i), audit.ReadOnly())
		if err != nil {
			t.Fatal(err)
		}
		s, err := b.Stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
		if s.Applied >= audit.Offset(n.Cursor()) {
			t.Fatalf("partition %d: nothing came after the backup", i)
		}
		logs[i].Trim(uint64(s.Applied))
	}
	if _, err := cluster.OpenPartitions(ctx, filepath.Join(home, "empty"), as, fast); !errors.Is(err, cluster.ErrTrimmed) {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"from-backups": backup, "from-a-node": filepath.Join(home, "a")} {
		dir := filepath.Join(home, name)
		r, err := cluster.BootstrapPartitions(ctx, as, from, dir, cluster.BootstrapOptions{})
		if err != nil || len(r) != 2 || r[1].Dir != cluster.PartitionDir(dir, 1) || r[0].Audits == 0 || r[1].Audits == 0 {
			t.Fatal(r, err)
		}
		b := openSet(t, dir, as)
		if err := b.WaitFor(ctx, a.Cursors()); err != nil {
			t.Fatal(err)
		}
		for i, n := range b.Nodes() {
			size, root, err := n.Root(ctx)
			wantSize, want, err2 := a.Nodes()[i].Root(ctx)
			if err != nil || err2 != nil || size != wantSize || root != want {
				t.Errorf("%s: partition %d has %d records, not %d; %v, %v", name, i, size, wantSize, err, err2)
			}
		}
		if names := left(dir); len(names) != 1 {
			t.Errorf("%s left %v", name, names)
		}
		if _, err := cluster.BootstrapPartitions(ctx, as, from, dir, cluster.BootstrapOptions{}); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a node was overwritten: %v", err)
		}
	}

	// What cannot be a node of this set leaves nothing.
	refused := func(what, from string, logs []cluster.Log, want error) {
		t.Helper()
		dir := filepath.Join(home, "new")
		if _, err := cluster.BootstrapPartitions(ctx, logs, from, dir, cluster.BootstrapOptions{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
		if names := left(dir); len(names) > 0 {
			t.Errorf("%s: %v were left", what, names)
		}
	}
	whole := newLog(t)
	refill(whole, 0, 5)
	one := openNode(t, filepath.Join(home, "one"), whole, fast)
	refused("the copy of one log", one.Dir(), as, cluster.ErrMismatch)
	refused("one log", one.Dir(), []cluster.Log{whole}, cluster.ErrMismatch)
	if _, err := cluster.Bootstrap(ctx, whole, a.Nodes()[0].Dir(), filepath.Join(home, "new"), cluster.BootstrapOptions{}); !errors.Is(err, cluster.ErrMismatch) {
		t.Errorf("a partition as the copy of one log: %v", err)
	}
	if _, err := cluster.Bootstrap(ctx, whole, filepath.Join(home, "a"), filepath.Join(home, "new"), cluster.BootstrapOptions{}); !errors.Is(err, cluster.ErrMismatch) {
		t.Errorf("a set as the copy of one log: %v", err)
	}
	_, three := newSet(t, 3)
	refused("the node of a set of two for a set of three", filepath.Join(home, "a"), three, cluster.ErrMismatch)
	if err := os.Rename(cluster.PartitionDir(backup, 1), cluster.PartitionDir(backup, 2)); err != nil {
		t.Fatal(err)
	}
	refused("a backup without one partition", backup, as, audit.ErrNoStore)
	if err := os.Rename(cluster.PartitionDir(backup, 0), cluster.PartitionDir(backup, 1)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(cluster.PartitionDir(backup, 2), cluster.PartitionDir(backup, 0)); err != nil {
		t.Fatal(err)
	}
	refused("backups that were exchanged", backup, as, cluster.ErrMismatch)
}

// A node that is made from the one that signs does not sign, until it is told to in its place. Then it goes on with the memory of the key.
func TestANewNodeDoesNotSign(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := newLog(t)
	refill(l, 0, 20)
	k := newKeys(t)
	home := t.TempDir()
	a := openNode(t, filepath.Join(home, "a"), l, signing("a", &k, ""))
	if err := a.WaitFor(ctx, 20); err != nil {
		t.Fatal(err)
	}
	if s, err := a.Sign(ctx); err != nil || s.Size != 20 {
		t.Fatal(s, err)
	}
	backup := filepath.Join(home, "backup")
	if _, err := a.Backup(ctx, backup); err != nil {
		t.Fatal(err)
	}
	var b *cluster.Node
	for name, from := range map[string]string{"b": backup, "c": a.Dir()} {
		dir := filepath.Join(home, name)
		if _, err := cluster.Bootstrap(ctx, l, from, dir, cluster.BootstrapOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"log.json", "checkpoint"} {
			if _, err := os.Lstat(filepath.Join(dir, file)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("node %s has %s of the node that signs: %v", name, file, err)
			}
		}
		b = openNode(t, dir, l, named(name))
		if _, err := b.Sign(ctx); !errors.Is(err, audit.ErrNoLog) {
			t.Errorf("node %s signs: %v", name, err)
		}
	}
	closeNode(t, a)
	closeNode(t, b)
	b = openNode(t, b.Dir(), l, signing("b", &k, ""))
	putOne(t, b, sample(20))
	if s, err := b.Sign(ctx); err != nil || !s.New || s.Size != 21 {
		t.Errorf("in place of the other node: %+v, %v", s, err)
	}
}

// A log was a mirror of another one, and lacks the end of it. A node of the other log is compared with it as a whole before it goes on there.
func TestANodeOfTheLogThatAMirrorHasCopied(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := newLog(t)
	refill(l, 0, 20)
	home := t.TempDir()
	a := openNode(t, filepath.Join(home, "a"), l, named("a"))
	if err := a.WaitFor(ctx, 20); err != nil {
		t.Fatal(err)
	}
	early := filepath.Join(home, "early")
	if _, err := a.Backup(ctx, early); err != nil {
		t.Fatal(err)
	}
	refill(l, 20, 10)
	if err := a.WaitFor(ctx, 30); err != nil {
		t.Fatal(err)
	}
	closeNode(t, a)
	p := l.Continued(25)
	t.Cleanup(p.Close)

	if _, err := cluster.Open(ctx, a.Dir(), p, fast); !errors.Is(err, cluster.ErrMismatch) || !strings.Contains(err.Error(), "bootstrap -d NEW --from "+a.Dir()) {
		t.Errorf("a node of the other log: %v", err)
	}
	dir := filepath.Join(home, "new")
	refused := func(what, says string) {
		t.Helper()
		_, err := cluster.Bootstrap(ctx, p, a.Dir(), dir, cluster.BootstrapOptions{})
		if !errors.Is(err, cluster.ErrRewound) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", what, err)
		}
		if names := left(dir); len(names) > 0 {
			t.Errorf("%s: %v were left", what, names)
		}
	}
	refused("a node that has more", "import an export of this copy")
	// The newest record of the node comes again, and gets the number that it had.
	refill(p, 1000, 1)
	refill(p, 26, 5)
	refused("a node that has another message, and the same after it", "record 25 of this copy is another one")

	if r, err := cluster.Bootstrap(ctx, p, early, dir, cluster.BootstrapOptions{}); err != nil || r.Audits != 20 {
		t.Fatal(r, err)
	}
	b := openNode(t, dir, p, named("b"))
	fresh := openNode(t, filepath.Join(home, "fresh"), p, named("fresh"))
	if r := putOne(t, b, sample(25)); r.Err != nil || r.Duplicate {
		t.Errorf("what the mirror lacked: %+v", r)
	}
	publishAll(t, b, fresh)
	headOf(t, b, "fresh", same)
	wantWhole(t, verified(t, p, b.DB))

	// What cannot be compared is not believed.
	p.SetDown("r2", true)
	if _, err := cluster.Bootstrap(ctx, p, early, filepath.Join(home, "new2"), cluster.BootstrapOptions{}); err == nil || !strings.Contains(err.Error(), "could not be compared") {
		t.Errorf("with a replica that does not answer: %v", err)
	}
}

// What a mirror has got in place of the end of the other log was trimmed from it. Then nobody can compare it with a node of the other log, which is
// refused. A node is taken if all that was trimmed was copied, or if a head shows that it was the same.
func TestANodeOfTheOtherLogWhoseEndWasTrimmed(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const other = 1000 // a record that the other log does not have
	for name, c := range map[string]struct {
		first uint64 // with which message the log begins
		fill  func(p *memlog.Log)
		head  bool // the log that was mirrored has a head
		early bool // nobody has noted how far the mirror had come
		want  error
	}{
		"all that differs":                  {31, func(p *memlog.Log) { refill(p, other, 10) }, false, false, cluster.ErrTrimmed},
		"the one that differs":              {28, func(p *memlog.Log) { refill(p, other, 1); refill(p, 26, 9) }, false, false, cluster.ErrTrimmed},
		"nothing that differs":              {20, func(p *memlog.Log) { refill(p, other, 10) }, false, false, cluster.ErrRewound},
		"nothing, and nothing differs":      {20, func(p *memlog.Log) { refill(p, 25, 10) }, false, false, nil},
		"what may differ":                   {20, func(p *memlog.Log) { refill(p, 25, 10) }, false, true, cluster.ErrTrimmed},
		"what was the same, as a head says": {20, func(p *memlog.Log) { refill(p, 25, 10) }, true, true, nil},
		"the one that differs, and a head":  {28, func(p *memlog.Log) { refill(p, other, 1); refill(p, 26, 9) }, true, true, cluster.ErrTrimmed},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			refill(l, 0, 22)
			home := t.TempDir()
			a := openNode(t, filepath.Join(home, "a"), l, cluster.Options{Poll: fast.Poll, Heads: -1, Name: "a"})
			if c.head {
				if err := a.WaitFor(ctx, 22); err != nil {
					t.Fatal(err)
				}
				if _, err := a.PublishHead(ctx); err != nil {
					t.Fatal(err)
				}
			} else {
				l.Append(ctx, []cluster.Message{cluster.NewBarrier("in place of a head")})
			}
			refill(l, 23, 7)
			if err := a.WaitFor(ctx, 30); err != nil {
				t.Fatal(err)
			}
			closeNode(t, a)
			p := l.Continued(25)
			t.Cleanup(p.Close)
			c.fill(p)
			p.Trim(c.first)
			var log cluster.Log = p
			if c.early {
				log = unnoted{p}
			}
			dir := filepath.Join(home, "new")
			_, err := cluster.Bootstrap(ctx, log, a.Dir(), dir, cluster.BootstrapOptions{})
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if errors.Is(c.want, cluster.ErrTrimmed) && !strings.Contains(err.Error(), "make the node of the folder or a backup of a node of memory") {
				t.Errorf("it does not say what to do: %v", err)
			}
			if names := left(dir); len(names) > 0 != (c.want == nil) {
				t.Errorf("%v were left", names)
			}
		})
	}
}

// unnoted is a log that does not say up to which message it was copied.
type unnoted struct{ cluster.Log }

func (u unnoted) Info(ctx context.Context) (cluster.Info, error) {
	info, err := u.Log.Info(ctx)
	info.Copied = 0
	return info, err
}

// What a mirror lacked is put again in its order, before anything else. Then the tree is the one that was signed, and the key signs on. After
// anything else it is another tree, and the key signs nothing.
func TestAKeySignsOnInTheLogThatAMirrorHasBecome(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := newLog(t)
	refill(l, 0, 30)
	k := newKeys(t)
	home := t.TempDir()
	a := openNode(t, filepath.Join(home, "a"), l, signing("a", &k, ""))
	if err := a.WaitFor(ctx, 30); err != nil {
		t.Fatal(err)
	}
	if s, err := a.Sign(ctx); err != nil || s.Size != 30 {
		t.Fatal(s, err)
	}
	closeNode(t, a)
	for name, first := range map[string]int{"in-order": 25, "after-another": 1000} {
		p := l.Continued(25)
		t.Cleanup(p.Close)
		m := openNode(t, filepath.Join(home, name), p, signing(name, &k, ""))
		if err := m.WaitFor(ctx, 25); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Sign(ctx); !errors.Is(err, audit.ErrBehind) {
			t.Errorf("%s: fewer records than were signed: %v", name, err)
		}
		putOne(t, m, sample(first))
		for i := 25; i <= 30; i++ {
			putOne(t, m, sample(i))
		}
		s, err := m.Sign(ctx)
		if forked := first != 25; errors.Is(err, audit.ErrForked) != forked || !forked && (err != nil || !s.New || s.Size != 31) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
		closeNode(t, m)
	}
}
