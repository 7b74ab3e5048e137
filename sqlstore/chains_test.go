package sqlstore_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/auditsql/auditsql/sqlstore"
)

// The uses of a fact that is in many records are read in several short queries: none is left out, and none comes twice. The records of
// a step that gives many answers are found by several queries too.
func TestALongStepIsReadInPages(t *testing.T) {
	t.Parallel()
	const n = 60
	var rs []sqlstore.Record
	for i := range 3 * n {
		s := newSample(i)
		s.Time = int64(i)
		s.Result = ptr(hx(fmt.Sprint("answer ", i)))
		used := "fact"
		if i >= n { // each answer of the first n records is used twice
			used = fmt.Sprint("answer ", i%n)
		}
		piece := sampleContribution{Assertion: hx(used), Source: hx("source"), Weight: 0.5, Lifecycle: 2}
		s.Contributions = []sampleContribution{piece, piece} // a record may have an assertion twice
		rs = append(rs, s.record(uint64(i)*100))
	}
	db := newDB(t)
	apply(t, db, rs...)
	for _, c := range [][3]int{{256, 4096, 1000}, {1, 1, 1}, {1, 3, 1}, {3, 4, 7}, {7, 5, 1}, {256, 2 * n, 300}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			db.ShrinkChains(c[0], c[1], c[2])
			w := sqlstore.NewDownstream([]*sqlstore.DB{db}, []*int64{nil}, sqlstore.Evidence{Hash: ptr(h("fact"))}, sqlstore.ChainOptions{})
			for distance, want := range []int{n, 2 * n, 0} {
				level, err := w.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				var got []int64
				for _, r := range level {
					got = append(got, r.Index)
					if distance == 1 && (r.By == nil || r.By.Index != r.Index%n) {
						t.Errorf("record %d was reached by %+v", r.Index, r.By)
					}
				}
				slices.Sort(got)
				if got = slices.Compact(got); len(level) != want || len(got) != want {
					t.Errorf("step %d has %d records, %d of them different, want %d", distance+1, len(level), len(got), want)
				}
				if distance == 1 && w.Carried() != n {
					t.Errorf("%d records carried the second step, want %d", w.Carried(), n)
				}
			}
			if w.Cut() != sqlstore.NotCut {
				t.Errorf("it was cut by %d", w.Cut())
			}
		})
	}
}

// A walk sees the records that there were when it began.
func TestAWalkSeesOneMoment(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	record := func(i int, used, answer string) sqlstore.Record {
		s := newSample(i)
		s.Time, s.Result = int64(i), ptr(hx(answer))
		s.Contributions = []sampleContribution{{Assertion: hx(used), Source: hx("source"), Lifecycle: 2}}
		return s.record(uint64(i) * 100)
	}
	apply(t, db, record(0, "fact", "first"), record(1, "first", "second"))
	w := sqlstore.NewDownstream([]*sqlstore.DB{db}, []*int64{nil}, sqlstore.Evidence{Hash: ptr(h("fact"))}, sqlstore.ChainOptions{})
	if level, err := w.Next(t.Context()); err != nil || len(level) != 1 {
		t.Fatalf("%v, %v", level, err)
	}
	apply(t, db, record(2, "first", "third"))
	if level, err := w.Next(t.Context()); err != nil || len(level) != 1 || level[0].Index != 1 {
		t.Fatalf("%v, %v: want record 1 alone", level, err)
	}
}

// A walk looks for uses in every generation, also when it looks in few of them at a time. Who gave an answer first is the same.
func TestAWalkGoesThroughAllGenerations(t *testing.T) {
	t.Parallel()
	const generation = 1 << 14
	rs := make([]sqlstore.Record, generation-1)
	for i := range rs {
		s := sample{ID: hx(fmt.Sprint("fill ", i))}
		rs[i] = s.record(uint64(i))
	}
	add := func(used ...string) {
		i := len(rs)
		s := sample{ID: hx(fmt.Sprint("record ", i)), Time: int64(i), Result: ptr(hx(fmt.Sprint("answer ", i)))}
		for _, u := range used {
			s.Contributions = append(s.Contributions, sampleContribution{Assertion: hx(u), Source: hx("source"), Lifecycle: 2})
		}
		rs = append(rs, s.record(uint64(i)))
	}
	answer := func(after int) string { return fmt.Sprint("answer ", generation-1+after) }
	add("fact")               // the last of the first generation
	add("fact")               // the first of the second one
	add(answer(1), answer(0)) // came of both: the older one counts
	add(answer(0))
	db := newDB(t)
	apply(t, db, rs...)
	for _, lookups := range []int{1, 2, 1000} {
		t.Run(fmt.Sprint(lookups), func(t *testing.T) {
			db.ShrinkChains(256, 4096, lookups)
			w := sqlstore.NewDownstream([]*sqlstore.DB{db}, []*int64{nil}, sqlstore.Evidence{Hash: ptr(h("fact"))}, sqlstore.ChainOptions{})
			var got []string
			for {
				level, err := w.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if len(level) == 0 {
					break
				}
				for _, r := range level {
					by := "nothing"
					if r.By != nil {
						by = fmt.Sprint(r.By.Index - generation + 1)
					}
					got = append(got, fmt.Sprint(r.Index-generation+1, " of ", by))
				}
			}
			if want := []string{"0 of nothing", "1 of nothing", "2 of 0", "3 of 0"}; !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}
