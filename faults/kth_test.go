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

var kth = flag.Int("kth", 120, "how many faults TestTheKthCallFails tries; 0: all")

// verdicts are what happens at the k-th call: it fails once, or it and all later calls fail.
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

// story uses a store from opening to closing, always with the same calls, until a fault stops it.
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

// point is a call of the story, what happens at it, and how the store ends after it.
type point struct {
	ops     []crashfs.Op // the calls that are counted
	k       int
	verdict int
	ending  string
}

// sqlites matches SQLite's files and store.json, in the store and in its backups.
const sqlites = "audit.db*|store.json*"

func (p point) plan(random *rand.Rand) []fusefs.Fault {
	var plan []fusefs.Fault
	for _, f := range verdicts[p.verdict].faults {
		f.Name = sqlites
		if f.After == 0 {
			f.Ops, f.Skip = p.ops, p.k
		}
		plan = append(plan, f)
	}
	if p.ending == atALaterCall {
		plan = append(plan, fusefs.Fault{Name: sqlites, After: 1, Skip: random.IntN(100), Verdict: crashfs.CutPower})
	}
	return plan
}

func (p point) String() string {
	what := "call"
	if len(p.ops) > 0 {
		what = fmt.Sprint(p.ops)
	}
	return fmt.Sprintf("%s %d, %s, then %s", what, p.k, verdicts[p.verdict].name, p.ending)
}

const atALaterCall = "a power cut at a later call"

var endings = []string{"killed", "a power cut", atALaterCall, atALaterCall, atALaterCall}

// Each call on one of SQLite's files, or on store.json, fails once in each way. Then the power fails, or the process is
// killed. Syncs have a sweep of their own, because every promise depends on them and there are few.
func TestTheKthCallFails(t *testing.T) {
	t.Parallel()
	fs := mounted(t)
	first := firstSeed()
	var files fusefs.Files
	var began store
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
	counted := []fusefs.Fault{{Name: sqlites, Verdict: crashfs.Pass}, {Name: sqlites, Ops: syncs, Verdict: crashfs.Pass}}
	var met []int
	if err := run(first, counted, func(s *store) error {
		if err := s.story(); err != nil {
			return err
		}
		met = s.m.State().Met
		return s.recovered()
	}); err != nil {
		t.Fatalf("without any fault: %v", err)
	}
	var points []point
	for i, f := range counted {
		var sweep []point
		for k := range met[i] {
			for v := range verdicts {
				for _, ending := range endings {
					sweep = append(sweep, point{f.Ops, k, v, ending})
				}
			}
		}
		random := rand.New(rand.NewPCG(first, 2))
		random.Shuffle(len(sweep), func(i, j int) { sweep[i], sweep[j] = sweep[j], sweep[i] })
		n := *kth
		if testing.Short() {
			n = 40
		}
		if n > 0 {
			sweep = sweep[:min(n/2, len(sweep))]
		}
		points = append(points, sweep...)
	}
	fmt.Printf("the k-th call: %d calls, %d of them syncs, %d faults, -seed %d\n", met[0], met[1], len(points), first)
	var next, wrong atomic.Int64
	for w := range 2 {
		t.Run(fmt.Sprint(w), func(t *testing.T) {
			t.Parallel()
			for i := int(next.Add(1)) - 1; i < len(points); i = int(next.Add(1)) - 1 {
				p := points[i]
				seed := first + uint64(i)
				if err := run(seed, p.plan(rand.New(rand.NewPCG(seed, 3))), func(s *store) error {
					s.story()
					if p.ending == "killed" {
						s.m.Kill()
					} else {
						s.m.PowerCut()
					}
					return s.recovered()
				}); err != nil {
					if wrong.Add(1) <= 5 {
						t.Errorf("%v: %v", p, err)
					}
				}
			}
		})
	}
	t.Cleanup(func() {
		if wrong.Load() > 0 {
			t.Errorf("%d of %d faults led to a wrong state; -seed %d", wrong.Load(), len(points), first)
		}
	})
}
