package faults_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/faults/fusefs"
	"github.com/auditsql/auditsql/internal/crashfs"
)

var kth = flag.Int("kth", 90, "how many of the faults of TestTheKthCallFails it tries; 0 is all")

// What the k-th call may do: fail once, or fail and go on failing.
var verdicts = []struct {
	name   string
	faults []fusefs.Fault
}{
	{"EIO", []fusefs.Fault{{Verdict: crashfs.IO}}},
	{"ENOSPC", []fusefs.Fault{{Verdict: crashfs.NoSpace}}},
	{"short", []fusefs.Fault{{Verdict: crashfs.Short}}},
	{"EIO from then on", []fusefs.Fault{{Verdict: crashfs.IO, Times: -1}}},
	{"a full disk", []fusefs.Fault{
		{Verdict: crashfs.Short}, {Ops: []crashfs.Op{crashfs.OpWrite, crashfs.OpCreate, crashfs.OpMkdir}, After: 1, Times: -1, Verdict: crashfs.NoSpace},
	}},
}

// story is a life of a store that always calls for the same, as far as the disk lets it.
func (s *store) story() error {
	ctx := context.Background()
	db, err := s.open()
	if err != nil {
		return nil
	}
	s.fillAsFarAsItGoes(db, 3)
	settle() // the first checkpoint
	s.fillAsFarAsItGoes(db, 3)
	labels := []audit.Label{{Hash: audit.Hash{1}, Label: "one"}}
	err = db.PutLabels(ctx, labels)
	s.fillAsFarAsItGoes(db, 2)
	err = errors.Join(err, db.Reindex(ctx, nil))
	_, failed := db.Backup(ctx, filepath.Join(s.m.Dir(), "backup"))
	err = errors.Join(err, failed)
	settle()
	s.fillAsFarAsItGoes(db, 3)
	return errors.Join(err, db.Close())
}

// Each call on a file of SQLite's, or on store.json, fails once, in each way. Then the power goes, or the process.
func TestTheKthCallFails(t *testing.T) {
	t.Parallel()
	fs := mounted(t)
	first := firstSeed()
	var files fusefs.Files
	var began store
	var all int
	if err := alone(t, fs, first, nil, func(s *store) error {
		db := must(s.open())
		s.fill(db, 40)
		settle()
		s.fill(db, 5)
		ok(db.Close())
		files = s.m.Files()
		began.given, began.there, began.next = s.given, s.there, s.next
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	run := func(seed uint64, plan []fusefs.Fault, then func(s *store) error) error {
		return alone(t, fs, seed, files, func(s *store) error {
			s.begin(&began)
			s.m.Plan(plan...)
			return then(s)
		})
	}
	at := fusefs.Fault{Name: "audit.db*|store.json*", Verdict: crashfs.Pass}
	if err := run(first, []fusefs.Fault{at}, func(s *store) error {
		if err := s.story(); err != nil {
			return err
		}
		all = s.m.State().Met[0]
		return s.recovered()
	}); err != nil {
		t.Fatalf("without any fault: %v", err)
	}
	type point struct{ k, verdict int }
	var points []point
	for k := range all {
		for v := range verdicts {
			points = append(points, point{k, v})
		}
	}
	random := rand.New(rand.NewPCG(first, 2))
	random.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
	n := len(points)
	if *kth > 0 {
		n = min(n, *kth)
	}
	if testing.Short() {
		n = min(n, 20)
	}
	fmt.Printf("the k-th call: %d calls, %d of %d faults, -seed %d\n", all, n, len(points), first)
	var next, wrong atomic.Int64
	for w := range 2 {
		t.Run(fmt.Sprint(w), func(t *testing.T) {
			t.Parallel()
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				p := points[i]
				var plan []fusefs.Fault
				for _, f := range verdicts[p.verdict].faults {
					if f.Name = at.Name; f.After == 0 {
						f.Skip = p.k
					}
					plan = append(plan, f)
				}
				cut := i%3 > 0
				if err := run(first+uint64(i), plan, func(s *store) error {
					s.story()
					if cut {
						s.m.PowerCut()
					} else {
						s.m.Kill()
					}
					return s.recovered()
				}); err != nil {
					if wrong.Add(1) <= 5 {
						t.Errorf("call %d, %s, then power cut %v: %v", p.k, verdicts[p.verdict].name, cut, err)
					}
				}
			}
		})
	}
	t.Cleanup(func() {
		if wrong.Load() > 0 {
			t.Errorf("wrong after %d of %d faults", wrong.Load(), n)
		}
	})
}
