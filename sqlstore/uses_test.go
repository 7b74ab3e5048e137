package sqlstore_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/auditsql/auditsql/sqlstore"
)

// Evidence that is in some early and in many late records is not looked for in all that are between them. What was found early comes
// first, and nothing comes twice. The same holds for a record that has the evidence twice, for records of one time, for evidence that
// is only in the latest records, for a list that goes on after a record, and backwards.
func TestEvidenceThatIsFarAway(t *testing.T) {
	t.Parallel()
	const n, far = 2000, 1500
	var rs []sqlstore.Record
	for i := range n {
		s := newSample((i * 7) % n) // records come in no order of time
		at := (i * 7) % n
		s.Time = int64(at)
		if at >= far && at < far+40 {
			s.Time = far
		}
		s.Contributions = []sampleContribution{{Assertion: hx("other"), Source: hx("source"), Lifecycle: uint8(at % 3)}}
		if at < 5 || at >= far && at < far+300 {
			piece := sampleContribution{Assertion: hx("fact"), Source: hx("source"), Lifecycle: uint8(at % 2)}
			s.Contributions = append(s.Contributions, piece, piece)
		}
		if at >= far && at < far+200 {
			s.Contributions = append(s.Contributions, sampleContribution{Assertion: hx("late"), Source: hx("mail"), Lifecycle: 2})
		}
		rs = append(rs, s.record(uint64(i)*100))
	}
	db := newDB(t)
	apply(t, db, rs...)
	db.ShrinkSelect(4, 3, 8)
	at := func(i int64) *sqlstore.Place {
		for idx := range rs {
			if rs[idx].Timestamp == i {
				return &sqlstore.Place{Index: int64(idx), Timestamp: i, QueryID: rs[idx].QueryID}
			}
		}
		t.Fatalf("no record has time %d", i)
		return nil
	}
	asOf, lifecycle, from := int64(n/2), uint8(1), int64(2)
	for name, c := range map[string]struct {
		f    sqlstore.Filter
		most int // rows that may be passed
	}{
		"early and late":        {sqlstore.Filter{Assertion: ptr(h("fact"))}, 600},
		"late":                  {sqlstore.Filter{Assertion: ptr(h("late"))}, 100},
		"of a source":           {sqlstore.Filter{Source: ptr(h("mail"))}, 100},
		"after a record":        {sqlstore.Filter{Assertion: ptr(h("fact")), After: at(3)}, 600},
		"after one of a time":   {sqlstore.Filter{Assertion: ptr(h("fact")), After: at(far)}, n},
		"as of the middle":      {sqlstore.Filter{Assertion: ptr(h("fact")), AsOf: &asOf}, 600},
		"with a lifecycle":      {sqlstore.Filter{Assertion: ptr(h("fact")), Lifecycle: &lifecycle}, 600},
		"of one piece":          {sqlstore.Filter{Assertion: ptr(h("fact")), Lifecycle: &lifecycle, OnePiece: true}, 600},
		"from a time on":        {sqlstore.Filter{Assertion: ptr(h("fact")), From: &from}, 600},
		"backwards":             {sqlstore.Filter{Assertion: ptr(h("late")), Descending: true}, 400},
		"backwards, as of then": {sqlstore.Filter{Assertion: ptr(h("late")), Descending: true, AsOf: &asOf}, 400},
	} {
		for _, limit := range []int{1, 4, 20, 60} {
			t.Run(fmt.Sprint(name, " ", limit), func(t *testing.T) {
				f := c.f
				f.Limit = limit
				got, want := collect(t, db, f), want(rs, f)
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%d records, want %d, or others", len(got), len(want))
				}
				if passed := sqlstore.Passed(t, db, f); passed > c.most {
					t.Errorf("%d rows were passed, at most %d were to be", passed, c.most)
				}
			})
		}
	}
}
