package sqlstore_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/sqlstore"
)

// world is a store of records whose times collide, and the records.
func world(t *testing.T, n int) (*sqlstore.DB, []sqlstore.Record) {
	db := newDB(t)
	var rs []sqlstore.Record
	for i := range n {
		s := newSample(i)
		s.Time = int64(i * 7919 % 40) // out of order, many at one time
		if i%6 == 0 {
			s.Subject = nil
		}
		s.Confidence = float64(i%5) / 4
		if i%8 == 1 {
			s.Contributions[1] = s.Contributions[0] // one assertion twice
			s.Contributions[2].Lifecycle = 0
		}
		if i%9 == 2 {
			s.Contributions = nil
		}
		rs = append(rs, s.record(uint64(i)*100))
	}
	apply(t, db, rs[:n/2]...)
	apply(t, db, rs[n/2:]...)
	return db, rs
}

// fits reports whether a record meets the conditions of a filter, without AsOf.
func fits(r sqlstore.Record, f sqlstore.Filter) bool {
	some := func(ok func(sqlstore.Contribution) bool) bool { return slices.ContainsFunc(r.Contributions, ok) }
	if f.OnePiece && namesEvidence(f) {
		return some(func(c sqlstore.Contribution) bool { return fitsPiece(r, c, f) })
	}
	return fitsRecord(r, f) && (f.Lifecycle == nil || *r.Lifecycle == *f.Lifecycle) &&
		(f.Assertion == nil || some(func(c sqlstore.Contribution) bool { return c.AssertionHash == *f.Assertion })) &&
		(f.Source == nil || some(func(c sqlstore.Contribution) bool { return c.SourceHash == *f.Source })) &&
		(!f.Unapproved || some(func(c sqlstore.Contribution) bool { return c.Lifecycle != 2 })) &&
		fitsLists(f, func(g sqlstore.Filter) bool { return fits(r, g) })
}

// fitsPiece reports whether a record and a piece of its evidence meet a filter with OnePiece, or one in its lists.
func fitsPiece(r sqlstore.Record, c sqlstore.Contribution, f sqlstore.Filter) bool {
	return fitsRecord(r, f) && (f.Lifecycle == nil || c.Lifecycle == *f.Lifecycle) &&
		(f.Assertion == nil || c.AssertionHash == *f.Assertion) && (f.Source == nil || c.SourceHash == *f.Source) &&
		(!f.Unapproved || c.Lifecycle != 2) &&
		fitsLists(f, func(g sqlstore.Filter) bool { return fitsPiece(r, c, g) })
}

// namesEvidence reports whether a filter has conditions of evidence.
func namesEvidence(f sqlstore.Filter) bool {
	return f.Lifecycle != nil || f.Assertion != nil || f.Source != nil || f.Unapproved || slices.ContainsFunc(f.NoneOf, namesEvidence) ||
		slices.ContainsFunc(f.AnyOf, func(list []sqlstore.Filter) bool { return slices.ContainsFunc(list, namesEvidence) })
}

func fitsLists(f sqlstore.Filter, ok func(sqlstore.Filter) bool) bool {
	for _, list := range f.AnyOf {
		if !slices.ContainsFunc(list, ok) {
			return false
		}
	}
	return !slices.ContainsFunc(f.NoneOf, ok)
}

// fitsRecord is what fits and fitsPiece have in common, without the lists.
func fitsRecord(r sqlstore.Record, f sqlstore.Filter) bool {
	same := func(a, b *string) bool { return b == nil || a != nil && *a == *b }
	ok := (f.Agent == nil || r.AgentID != nil && *r.AgentID == *f.Agent) &&
		(!f.Anonymous || r.AgentID == nil) &&
		(f.From == nil || r.Timestamp >= *f.From) && (f.To == nil || r.Timestamp <= *f.To) &&
		same(r.Predicate, f.Predicate) && same(r.Lens, f.Lens) &&
		(f.Result == nil || *r.ResultHash == *f.Result) &&
		same(r.Subject, f.Subject) &&
		(f.MinConfidence == nil || r.ResultConfidence >= *f.MinConfidence) &&
		(f.MaxConfidence == nil || r.ResultConfidence <= *f.MaxConfidence)
	if ok && f.SubjectGlob != nil {
		match := false
		if r.Subject != nil {
			match, _ = path.Match(*f.SubjectGlob, *r.Subject)
		}
		ok = match
	}
	for _, a := range f.Attributes {
		ok = ok && slices.Contains(r.Attributes, a)
	}
	return ok
}

// want is what Select should yield, by looking at every record.
func want(rs []sqlstore.Record, f sqlstore.Filter) (out [][]byte) {
	type numbered struct {
		sqlstore.Record
		idx int
	}
	var hits []numbered
	for i, r := range rs {
		ok := fits(r, f) && (f.AsOf == nil || int64(i) < *f.AsOf)
		if ok {
			hits = append(hits, numbered{r, i})
		}
	}
	order := func(a, b numbered) int {
		c := cmp.Compare(a.idx, b.idx)
		if !f.ByAdmission {
			c = cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), bytes.Compare(a.QueryID[:], b.QueryID[:]))
		}
		if f.Descending {
			return -c
		}
		return c
	}
	slices.SortFunc(hits, order)
	if f.After != nil {
		at := numbered{sqlstore.Record{Timestamp: f.After.Timestamp, QueryID: f.After.QueryID}, int(f.After.Index)}
		hits = slices.DeleteFunc(hits, func(r numbered) bool { return order(r, at) <= 0 })
	}
	for i, r := range hits {
		if f.Limit > 0 && i == f.Limit {
			break
		}
		out = append(out, r.Payload)
	}
	return out
}

// collect returns what Select yields, as a list of payloads.
func collect(t interface{ Fatal(...any) }, db *sqlstore.DB, f sqlstore.Filter) (out [][]byte) {
	for v, err := range db.Select(context.Background(), f) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// maybe draws a pointer to one of these values, or nil.
func maybe[T any](t *rapid.T, name string, values ...T) *T {
	i := rapid.IntRange(-len(values), len(values)-1).Draw(t, name)
	if i < 0 {
		return nil
	}
	return &values[i]
}

func TestSelectFindsWhatLookingAtEveryRecordFinds(t *testing.T) {
	t.Parallel()
	db, rs := world(t, 120)
	for _, shape := range []struct{ page, lookup, stretch, bytes int }{
		{256, 1 << 14, 512, 4 << 20}, // as it is: everything is looked up
		{7, 1 << 14, 5, 4 << 20},
		{7, 20, 5, 4 << 20}, // what is not rare is walked
		{3, 0, 2, 4 << 20},
		{256, 1 << 14, 512, 3000}, // as if records were large
		{7, 20, 5, 1},
	} {
		t.Run(fmt.Sprint(shape), func(t *testing.T) {
			db.ShrinkSelect(shape.page, shape.lookup, shape.stretch)
			db.ShrinkPages(shape.bytes)
			rapid.Check(t, func(t *rapid.T) {
				f := drawFilter(t)
				switch rapid.IntRange(0, 4).Draw(t, "only") {
				case 0:
					f = sqlstore.Filter{AsOf: f.AsOf, Limit: f.Limit, Descending: f.Descending, ByAdmission: f.ByAdmission}
				case 1:
					f = drawPiece(t, f)
				}
				f.After = drawPlace(t, rs)
				whole := f
				whole.Limit = 0
				if hits := want(rs, whole); len(hits) > 0 && rapid.Bool().Draw(t, "after a hit") {
					hit := hits[rapid.IntRange(0, len(hits)-1).Draw(t, "hit")]
					i := slices.IndexFunc(rs, func(r sqlstore.Record) bool { return bytes.Equal(r.Payload, hit) })
					f.After = placeOf(rs, i)
				}
				got, want := collect(t, db, f), want(rs, f)
				if len(got) != len(want) {
					t.Fatalf("%d records, want %d", len(got), len(want))
				}
				for i := range got {
					if !bytes.Equal(got[i], want[i]) {
						t.Fatalf("record %d of %d: %s\nwant %s", i, len(got), got[i], want[i])
					}
				}
				wantMatches(t, db, rs, f)
			})
		})
	}
}

// Each condition selects the right records: alone, negated, as one of two alternatives, and of one piece of evidence. Random filters
// have so many conditions that it is chance whether one of them decides.
func TestEachConditionOfAFilter(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	db, rs := world(t, 120)
	conditions := []sqlstore.Filter{
		{Agent: ptr(h("agent 3"))},
		{Anonymous: true},
		{From: ptr[int64](20)},
		{To: ptr[int64](20)},
		{Subject: ptr("subject 1")},
		{SubjectGlob: ptr("subject 1*")},
		{SubjectGlob: ptr("*1")},
		{Predicate: ptr("other")},
		{Lens: ptr("Recency")},
		{Lifecycle: ptr(uint8(0))},
		{Result: ptr(h("assertion 1"))},
		{Assertion: ptr(h("assertion 2"))},
		{Source: ptr(h("source 3"))},
		{Assertion: ptr(h("assertion 2")), Source: ptr(h("source 3"))}, // some records have them in two pieces
		{Unapproved: true},
		{Attributes: []sqlstore.Attribute{{Key: "model", Value: "m1"}}},
		{MinConfidence: ptr(0.75)},
		{MaxConfidence: ptr(0.25)},
		{NoneOf: []sqlstore.Filter{{Subject: ptr("subject 1")}}},
	}
	var filters []sqlstore.Filter
	for _, c := range conditions {
		filters = append(filters, c, sqlstore.Filter{NoneOf: []sqlstore.Filter{c}})
		for _, other := range []sqlstore.Filter{{Subject: ptr("subject 2")}, {MinConfidence: ptr(1.0)}} { // one has an index, and one has none
			filters = append(filters, sqlstore.Filter{AnyOf: [][]sqlstore.Filter{{c, other}}}, sqlstore.Filter{NoneOf: []sqlstore.Filter{c, other}})
		}
	}
	for _, lookup := range []int{1 << 14, 0} { // everything is looked up, or walked
		db.ShrinkSelect(7, lookup, 5)
		for _, f := range filters {
			for _, f.OnePiece = range []bool{false, true} {
				for _, f.ByAdmission = range []bool{false, true} {
					if got, want := collect(t, db, f), want(rs, f); !slices.EqualFunc(got, want, bytes.Equal) {
						t.Errorf("%+v, lookups of %d: %d records, want %d", f, lookup, len(got), len(want))
					}
				}
				wantMatches(t, db, rs, f)
			}
		}
	}
}

// wantMatches checks that Matches finds the records that Select finds.
func wantMatches(t rapid.TB, db *sqlstore.DB, rs []sqlstore.Record, f sqlstore.Filter) {
	alone := f
	alone.AsOf, alone.After, alone.Limit = nil, nil, 0 // what is not of one record
	selected := map[string]bool{}
	for _, payload := range collect(t, db, alone) {
		selected[string(payload)] = true
	}
	for i := range rs {
		if got, want := alone.Matches(&rs[i]), selected[string(rs[i].Payload)]; got != want {
			t.Fatalf("record %d matches: %t, and Select finds it: %t: %s", i, got, want, rs[i].Payload)
		}
	}
}

// A pattern fits in memory what it fits in SQLite.
func TestAPatternFitsWhatItFitsInSQLite(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	piece := func(pieces ...string) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 9).Draw(t, "pieces"), "")
		})
	}
	texts := piece("a", "b", "c", "A", "]", "[", "^", "-", "!", "é", "e\u0301", "東", "🚀", "*", "?", " ")
	patterns := piece("a", "b", "c", "A", "*", "*", "?", "[", "]", "[^", "[ab]", "[^ab]", "[a-c]", "[]a]", "[^]]", "[a-]", "[-a]", "[é-🚀]", "^", "-", "!", "é", "東", "**", "[c-a]", "[a-b-c]")
	check := func(t rapid.TB, pattern, text string) {
		t.Helper()
		rows, err := db.QueryRows(context.Background(), `SELECT ?1 GLOB ?2`, text, pattern)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var want bool
		for rows.Next() {
			if err := rows.Scan(&want); err != nil {
				t.Fatal(err)
			}
		}
		f := sqlstore.Filter{SubjectGlob: &pattern}
		if got := f.Matches(&sqlstore.Record{Subject: &text}); got != want {
			t.Fatalf("%q GLOB %q: %t, and in SQLite %t", text, pattern, got, want)
		}
	}
	// Brackets that are not closed, and what else is drawn too seldom.
	for pattern, fitting := range map[string][]string{
		"[": {"[", "a"}, "[a": {"a", "[a"}, "[^a": {"b", "a"}, "[a-": {"a", "-"}, "[a-c": {"b"}, "[]": {"]", "[]"}, "[^": {"^", "a"}, "[^]": {"a"},
		"b[a": {"ba"}, "*[a": {"a", "ba"}, "[a*": {"a", "ab"}, "[ab][a": {"aa"}, "": {"", "a"}, "*": {"", "a"},
	} {
		for _, text := range append(fitting, "") {
			check(t, pattern, text)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		pattern, text := patterns.Draw(t, "pattern"), texts.Draw(t, "text")
		if rapid.Bool().Draw(t, "near") {
			pattern += rapid.SampledFrom([]string{"", "*", "?"}).Draw(t, "end")
			text = strings.NewReplacer("*", text, "?", "b", "[ab]", "a", "[^ab]", "c", "[]a]", "]").Replace(pattern)
		}
		check(t, pattern, text)
	})
}

// A question for what nobody has must not look at every record.
func TestLookingUpWhatIsNotThereNeedsNoWalk(t *testing.T) {
	t.Parallel()
	db, _ := world(t, 120)
	for _, f := range []sqlstore.Filter{
		{Result: ptr(h("nothing"))}, {Assertion: ptr(h("nothing"))}, {Source: ptr(h("nothing"))}, {SubjectGlob: ptr("nothing*")},
		{Attributes: []sqlstore.Attribute{{Key: "no", Value: "thing"}}},
	} {
		if n, found, err := sqlstore.LookUp(t.Context(), db, f); n != 0 || !found || err != nil {
			t.Errorf("%+v: %d found, %v, %v", f, n, found, err)
		}
	}
	db.ShrinkSelect(256, 5, 512)
	if n, found, err := sqlstore.LookUp(t.Context(), db, sqlstore.Filter{Assertion: ptr(h("assertion 2"))}); n != 0 || found || err != nil {
		t.Errorf("what many have: %d found, %v, %v", n, found, err)
	}
}

// The record that is missing is named, also where a page is read without its records' places.
func TestSelectNamesARecordThatIsMissing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	rs := samples(0, 20)
	apply(t, db, rs...)
	tamper(t, path, fmt.Sprintf(`DELETE FROM kv WHERE key = x'004155443A%x'`, rs[8].QueryID))
	for _, f := range []sqlstore.Filter{{}, {Limit: 10}, {Attributes: rs[8].Attributes[1:]}} {
		var failed error
		served, refused := 0, 0
		for _, err := range db.Select(t.Context(), f) {
			if err == nil {
				served++
				continue
			}
			refused, failed = refused+1, err
		}
		if refused != 1 || !strings.Contains(failed.Error(), fmt.Sprintf("record %x is missing", rs[8].QueryID)) || served != f.Limit-1 && f.Limit > 0 {
			t.Errorf("%+v: %d served, %d refused: %v", f, served, refused, failed)
		}
	}
}

// drawPlace draws the place of a record, one where there is none, or nil.
func drawPlace(t *rapid.T, rs []sqlstore.Record) *sqlstore.Place {
	switch i := rapid.IntRange(-len(rs)/2, len(rs)).Draw(t, "after"); {
	case i < 0:
		return nil
	case i == len(rs):
		return &sqlstore.Place{Timestamp: 20, Index: int64(i / 2)}
	default:
		return placeOf(rs, i)
	}
}

func placeOf(rs []sqlstore.Record, i int) *sqlstore.Place {
	return &sqlstore.Place{Timestamp: rs[i].Timestamp, QueryID: rs[i].QueryID, Index: int64(i)}
}

// drawFilter draws a filter for a world's records.
func drawFilter(t *rapid.T) sqlstore.Filter {
	f := sqlstore.Filter{
		Agent:         maybe(t, "agent", h("agent 0"), h("agent 3"), h("nobody")),
		Anonymous:     rapid.IntRange(0, 5).Draw(t, "anonymous") == 0,
		From:          maybe[int64](t, "from", 0, 10, 20, 50),
		To:            maybe[int64](t, "to", 0, 10, 20, 50),
		Predicate:     maybe(t, "predicate", "revenue", "other"),
		Lens:          maybe(t, "lens", "Recency", "recency"),
		Lifecycle:     maybe[uint8](t, "lifecycle", 0, 3),
		Result:        maybe(t, "result", h("assertion 1"), h("assertion 99")),
		MinConfidence: maybe(t, "min", 0.0, 0.5, 2),
		MaxConfidence: maybe(t, "max", 0.25, 1),
		AsOf:          maybe[int64](t, "as of", 0, 1, 59, 60, 61, 120, 1000),
		Limit:         rapid.SampledFrom([]int{0, 0, 1, 7, 8, 100}).Draw(t, "limit"),
		Descending:    rapid.Bool().Draw(t, "descending"),
		ByAdmission:   rapid.Bool().Draw(t, "by admission"),
	}
	switch rapid.IntRange(0, 10).Draw(t, "more") {
	case 0:
		f.Attributes = []sqlstore.Attribute{{Key: "model", Value: "m1"}}
	case 1:
		f.Attributes = []sqlstore.Attribute{{Key: "model", Value: "m1"}, {Key: "trace_id", Value: "trace 40"}}
	case 2, 3:
		f.SubjectGlob = maybe(t, "glob", "subject 1", "subject 1*", "*", "*[02468]", "subject ?", "", "none", "nothing*")
	case 4:
		f.Subject = maybe(t, "subject", "subject 1", "subject 10", "none")
	case 5, 6:
		f.Assertion = maybe(t, "assertion", h("assertion 2"), h("assertion 99"))
	case 7:
		f.Source = maybe(t, "source", h("source 0"), h("source 3"), h("source 99"))
	case 8:
		f.Unapproved = true
	}
	if rapid.IntRange(0, 2).Draw(t, "lists") == 0 {
		f = drawLists(t, f)
	}
	return f
}

// drawLists adds alternatives and negations to a filter. Most have one condition each, as those that people type.
func drawLists(t *rapid.T, f sqlstore.Filter) sqlstore.Filter {
	one := rapid.Custom(func(t *rapid.T) sqlstore.Filter {
		switch rapid.IntRange(0, 9).Draw(t, "condition") {
		case 0:
			return sqlstore.Filter{Agent: ptr(rapid.SampledFrom([][32]byte{h("agent 0"), h("agent 3"), h("nobody")}).Draw(t, "agent"))}
		case 1:
			return sqlstore.Filter{Subject: ptr(rapid.SampledFrom([]string{"subject 1", "subject 2", "none"}).Draw(t, "subject"))}
		case 2:
			return sqlstore.Filter{SubjectGlob: ptr(rapid.SampledFrom([]string{"subject 1*", "*[^02468]", "none"}).Draw(t, "glob"))}
		case 3:
			return sqlstore.Filter{Assertion: ptr(rapid.SampledFrom([][32]byte{h("assertion 2"), h("assertion 3"), h("assertion 99")}).Draw(t, "assertion"))}
		case 4:
			return sqlstore.Filter{Source: ptr(rapid.SampledFrom([][32]byte{h("source 0"), h("source 3")}).Draw(t, "source"))}
		case 5:
			return sqlstore.Filter{Attributes: []sqlstore.Attribute{{Key: "trace_id", Value: rapid.SampledFrom([]string{"trace 40", "trace 41"}).Draw(t, "value")}}}
		case 6:
			return sqlstore.Filter{Lifecycle: ptr(uint8(rapid.IntRange(0, 3).Draw(t, "lifecycle")))}
		case 7:
			return sqlstore.Filter{Unapproved: true}
		case 8:
			return sqlstore.Filter{Anonymous: true}
		}
		return sqlstore.Filter{Agent: maybe(t, "an agent", h("agent 0")), MinConfidence: maybe(t, "least", 0.5), Source: maybe(t, "a source", h("source 0")), Result: maybe(t, "a result", h("assertion 1"))}
	})
	for range rapid.IntRange(0, 2).Draw(t, "any of") {
		f.AnyOf = append(f.AnyOf, rapid.SliceOfN(one, 0, 4).Draw(t, "alternatives"))
	}
	f.NoneOf = rapid.SliceOfN(one, 0, 3).Draw(t, "none of")
	if len(f.NoneOf) == 0 {
		f.NoneOf = nil
	}
	if len(f.NoneOf) > 0 && rapid.IntRange(0, 3).Draw(t, "deeper") == 0 {
		f.NoneOf[0] = sqlstore.Filter{NoneOf: []sqlstore.Filter{f.NoneOf[0]}, AnyOf: f.AnyOf}
	}
	f.OnePiece = rapid.IntRange(0, 2).Draw(t, "one piece") == 0
	return f
}

// drawPiece draws a filter that is about one piece of evidence and nothing else, so that it selects something.
func drawPiece(t *rapid.T, f sqlstore.Filter) sqlstore.Filter {
	g := sqlstore.Filter{
		AsOf: f.AsOf, Limit: f.Limit, Descending: f.Descending, ByAdmission: f.ByAdmission, OnePiece: true,
		Assertion: maybe(t, "the assertion", h("assertion 2"), h("assertion 4")), Source: maybe(t, "the source", h("source 0"), h("source 3")),
		Lifecycle: maybe[uint8](t, "the lifecycle", 0, 2), Unapproved: rapid.Bool().Draw(t, "unapproved alone"),
	}
	if rapid.Bool().Draw(t, "a list") {
		g.AnyOf = [][]sqlstore.Filter{{{Source: ptr(h("source 0"))}, {Assertion: ptr(h("assertion 3"))}}}
	}
	return g
}

// Counting reads the records in another way than Select, and finds the same ones.
func TestCountsAreOfWhatSelectFinds(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	db, rs := world(t, 120)
	for _, shape := range []struct{ page, lookup, stretch int }{{256, 1 << 14, 512}, {7, 20, 5}, {3, 0, 2}} {
		t.Run(fmt.Sprint(shape), func(t *testing.T) {
			db.ShrinkSelect(shape.page, shape.lookup, shape.stretch)
			rapid.Check(t, func(t *rapid.T) {
				f := drawFilter(t)
				switch rapid.IntRange(0, 3).Draw(t, "by evidence alone") {
				case 0:
					f = drawPiece(t, f)
				case 1:
					f = sqlstore.Filter{AsOf: f.AsOf, Assertion: maybe(t, "only assertion", h("assertion 2")), Source: maybe(t, "only source", h("source 0"))}
				}
				e := sqlstore.Evidence{Hash: ptr(h("assertion 4"))}
				if rapid.Bool().Draw(t, "by source") {
					e = sqlstore.Evidence{Hash: ptr(h("source 0")), Source: true}
				}
				all := f
				all.Limit, all.Descending, all.ByAdmission = 0, false, true
				f.After = drawPlace(t, rs)
				counts, uses := map[[32]byte]sqlstore.AgentCount{}, map[[32]byte]sqlstore.AgentUses{}
				frequencies := map[sqlstore.TopKey]map[string]int64{}
				count := func(k sqlstore.TopKey, key string) {
					if frequencies[k] == nil {
						frequencies[k] = map[string]int64{}
					}
					frequencies[k][key]++
				}
				moments, unapproved := 0, 0
				for _, payload := range want(rs, all) {
					r, err := decode(payload)
					if err != nil {
						t.Fatal(err)
					}
					var agent [32]byte
					if r.AgentID != nil {
						agent = *r.AgentID
					}
					c, ok := counts[agent]
					if !ok {
						c.First, c.Last = r.Timestamp, r.Timestamp
					}
					c.Agent, c.Audits, c.First, c.Last = r.AgentID, c.Audits+1, min(c.First, r.Timestamp), max(c.Last, r.Timestamp)
					counts[agent] = c
					moments++
					if slices.ContainsFunc(r.Contributions, func(c sqlstore.Contribution) bool { return c.Lifecycle != 2 }) {
						unapproved++
					}
					if r.Subject != nil {
						count(sqlstore.BySubject, *r.Subject)
					}
					if r.Predicate != nil {
						count(sqlstore.ByPredicate, *r.Predicate)
					}
					count(sqlstore.ByLens, *r.Lens)
					for _, at := range r.Attributes {
						count(sqlstore.ByAttribute(at.Key), at.Value)
					}
					u, used, won := uses[agent], false, false
					for _, c := range r.Contributions {
						if f.OnePiece && !fitsPiece(r, c, f) {
							continue
						}
						count(sqlstore.ByAssertion, string(c.AssertionHash[:]))
						count(sqlstore.BySource, string(c.SourceHash[:]))
						count(sqlstore.ByLifecycle, fmt.Sprint(c.Lifecycle))
						if !e.Source && c.AssertionHash == *e.Hash || e.Source && c.SourceHash == *e.Hash {
							used, won = true, won || c.AssertionHash == *r.ResultHash
						}
					}
					if used {
						if u.Answers == 0 {
							u.First, u.Last = r.Timestamp, r.Timestamp
						}
						u.Agent, u.Answers, u.First, u.Last = r.AgentID, u.Answers+1, min(u.First, r.Timestamp), max(u.Last, r.Timestamp)
						if won {
							u.Won++
						}
						uses[agent] = u
					}
				}
				gotCounts, cut, err := db.AgentCounts(context.Background(), f, sqlstore.Budget{})
				if err != nil || cut {
					t.Fatal(err)
				}
				for _, c := range gotCounts {
					var agent [32]byte
					if c.Agent != nil {
						agent = *c.Agent
					}
					if w := counts[agent]; c.Audits != w.Audits || c.First != w.First || c.Last != w.Last {
						t.Fatalf("agent %x: %+v, want %+v", agent, c, w)
					}
				}
				gotUses, err := db.CountEvidence(context.Background(), e, f, 0, sqlstore.Budget{})
				if err != nil || gotUses.Cut {
					t.Fatal(err)
				}
				for _, u := range gotUses.ByAgent {
					var agent [32]byte
					if u.Agent != nil {
						agent = *u.Agent
					}
					if w := uses[agent]; u.Answers != w.Answers || u.First != w.First || u.Last != w.Last || u.Won != w.Won {
						t.Fatalf("uses of agent %x: %+v, want %+v", agent, u, w)
					}
				}
				// Several at a time are counted as each by itself: looked up by their index, and in one pass over the records.
				key := sqlstore.ByAssertion
				if e.Source {
					key = sqlstore.BySource
				}
				hashes := []string{string(e.Hash[:]), hashText("nobody has it"), hashText("assertion 5")}
				for _, selected := range []int64{0, math.MaxInt32} {
					each, cut, err := db.Figures(context.Background(), key, hashes, f, selected, sqlstore.Budget{})
					if err != nil || cut || len(each) != len(hashes) {
						t.Fatalf("%+v, %v", each, err)
					}
					for i, got := range each {
						one := sqlstore.Evidence{Hash: (*[32]byte)([]byte(hashes[i])), Source: e.Source}
						want, err := db.CountEvidence(context.Background(), one, f, 0, sqlstore.Budget{})
						for j := range want.ByAgent {
							want.ByAgent[j].Won = 0
						}
						if err != nil || !sameUses(got.ByAgent, want.ByAgent) {
							t.Fatalf("with %d selected: %+v of number %d, want %+v, %v", selected, got.ByAgent, i, want.ByAgent, err)
						}
					}
				}
				if len(gotCounts) != len(counts) || len(gotUses.ByAgent) != len(uses) {
					t.Fatalf("%d agents and %d users, want %d and %d", len(gotCounts), len(gotUses.ByAgent), len(counts), len(uses))
				}
				everywhere := func(int64, int64) []sqlstore.Grid { return []sqlstore.Grid{{To: math.MaxInt64, Minutes: 15}} }
				if _, err := db.CountActivity(context.Background(), f, everywhere, true, func(a sqlstore.Activity) bool {
					moments -= int(a.Audits)
					unapproved -= int(a.Unapproved)
					return true
				}); err != nil || moments != 0 || unapproved != 0 {
					t.Fatalf("%d moments and %d unapproved are missing, %v", moments, unapproved, err)
				}
				budget := rapid.Int64Range(1, 300).Draw(t, "budget")
				for k, want := range frequencies {
					got, err := db.Frequencies(context.Background(), k, f, sqlstore.RankCount, sqlstore.Budget{})
					if err != nil || len(got.Top) != len(want) || got.Missed != 0 {
						t.Fatalf("frequencies %+v: %+v, %v; want %d", k, got, err, len(want))
					}
					for _, one := range got.Top {
						if want[one.Key] != one.Count {
							t.Fatalf("frequencies %+v: %q %d, want %d", k, one.Key, one.Count, want[one.Key])
						}
					}
					some, err := db.Frequencies(context.Background(), k, f, sqlstore.RankCount, sqlstore.Budget{Records: budget})
					if err != nil || !some.Cut && some.Total != got.Total {
						t.Fatalf("frequencies %+v within a budget: %+v, %v; all are %+v", k, some, err, got)
					}
					wantNewest(t, db, rs, k, f, some)
				}
			})
		})
	}
}

func hashText(name string) string {
	hash := h(name)
	return string(hash[:])
}

// wantNewest fails unless what was counted within a budget are the newest records of a filter, and what the filter Counted selects.
func wantNewest(t *rapid.T, db *sqlstore.DB, rs []sqlstore.Record, k sqlstore.TopKey, f sqlstore.Filter, got sqlstore.Frequencies) {
	t.Helper()
	again, err := db.Frequencies(context.Background(), k, got.Counted, sqlstore.RankCount, sqlstore.Budget{})
	if err != nil || again.Cut || again.Total != got.Total || again.Without != got.Without || !slices.Equal(again.Top, got.Top) {
		t.Fatalf("frequencies %+v of %+v: %+v, %v; within a budget they were %+v", k, got.Counted, again, err, got)
	}
	n := 0
	whole := func(int64, int64) []sqlstore.Grid { return []sqlstore.Grid{{To: math.MaxInt64}} }
	if _, err := db.CountActivity(context.Background(), got.Counted, whole, false, func(a sqlstore.Activity) bool {
		n += int(a.Audits)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	f.After, f.Limit, f.Descending = nil, 0, true
	f.ByAdmission = f.From == nil && f.To == nil && f.Agent == nil && !f.Anonymous && f.Subject == nil &&
		(f.SubjectGlob == nil || strings.ContainsAny(*f.SubjectGlob, "*?["))
	// Of records of one time those that were admitted later count as newer: it is the order of the indexes by time.
	newest := want(rs, f)
	if !f.ByAdmission {
		f.ByAdmission, f.Descending = true, false
		newest = want(rs, f)
		at := func(payload []byte) int64 {
			r, err := decode(payload)
			if err != nil {
				t.Fatal(err)
			}
			return r.Timestamp
		}
		slices.SortStableFunc(newest, func(a, b []byte) int { return cmp.Compare(at(a), at(b)) })
		slices.Reverse(newest)
	}
	if n > len(newest) || !got.Cut && n < len(newest) { // what was left when it was cut may select nothing
		t.Fatalf("%d of %d records were counted, and cut is %v", n, len(newest), got.Cut)
	}
	if k != sqlstore.BySubject && k != sqlstore.ByLens {
		return
	}
	counts := map[string]int64{}
	for _, payload := range newest[:n] {
		r, err := decode(payload)
		if err != nil {
			t.Fatal(err)
		}
		if k == sqlstore.ByLens {
			counts[*r.Lens]++
		} else if r.Subject != nil {
			counts[*r.Subject]++
		}
	}
	for _, one := range got.Top {
		if counts[one.Key] != one.Count {
			t.Fatalf("%q has %d in the newest %d records, and was counted %d times", one.Key, counts[one.Key], n, one.Count)
		}
	}
	if len(counts) != len(got.Top) {
		t.Fatalf("%d keys, want %d", len(got.Top), len(counts))
	}
}

// All evidence of a store is counted by its index, generation by generation, beginning with the newest.
func TestAllEvidenceWithinABudget(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	db := newDB(t)
	const generation = 1 << 14
	var rs []sqlstore.Record
	for i := range 2*generation + 10 {
		s := newSample(i)
		s.Contributions = s.Contributions[:1]
		s.Contributions[0].Source = hx(fmt.Sprint("source ", i/generation))
		rs = append(rs, s.record(uint64(i)*100))
	}
	apply(t, db, rs...)
	moment := int64(len(rs) - 5)
	for budget, want := range map[int64]sqlstore.Frequencies{
		1:              {Total: 5, Cut: true},
		6:              {Total: 5 + generation, Cut: true},
		generation + 6: {Total: 5 + 2*generation},
	} {
		got, err := db.Frequencies(t.Context(), sqlstore.BySource, sqlstore.Filter{AsOf: &moment}, sqlstore.RankCount, sqlstore.Budget{Records: budget})
		if err != nil || got.Total != want.Total || got.Cut != want.Cut {
			t.Fatalf("with a budget of %d: %d, %v, %v; want %+v", budget, got.Total, got.Cut, err, want)
		}
		hashes := []string{hashText("source 0"), hashText("source 1"), hashText("source 2")}
		each, _, err := db.Figures(t.Context(), sqlstore.BySource, hashes, got.Counted, got.Total, sqlstore.Budget{})
		if err != nil {
			t.Fatal(err)
		}
		answers := int64(0)
		for _, uses := range each {
			for _, u := range uses.ByAgent {
				answers += u.Answers
			}
		}
		if answers != want.Total {
			t.Errorf("with a budget of %d: %d answers, want %d", budget, answers, want.Total)
		}
	}
}

// sameUses compares uses whatever their order. Sums of weights may differ by what their order makes of them.
func sameUses(a, b []sqlstore.AgentUses) bool {
	shown := func(uses []sqlstore.AgentUses) []string {
		var all []string
		for _, u := range uses {
			who := "nobody"
			if u.Agent != nil {
				who = fmt.Sprintf("%x", *u.Agent)
			}
			all = append(all, fmt.Sprintf("%s: %d from %d to %d, %d won, weight %.6f", who, u.Answers, u.First, u.Last, u.Won, u.Weight))
		}
		slices.Sort(all)
		return all
	}
	return slices.Equal(shown(a), shown(b))
}

// With little memory the frequent keys are still found, and Missed says how far their counts may be off.
func TestFrequenciesForgetTheRare(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	db.ShrinkSelect(5, 5, 5)
	db.ShrinkFrequencies(12)
	var rs []sqlstore.Record
	for i := range 400 {
		s := newSample(i)
		s.Subject = ptr(fmt.Sprint("rare ", i))
		if i%4 == 0 {
			s.Subject = ptr("frequent")
		}
		rs = append(rs, s.record(uint64(i)*100))
	}
	apply(t, db, rs...)
	got, err := db.Frequencies(t.Context(), sqlstore.BySubject, sqlstore.Filter{}, sqlstore.RankCount, sqlstore.Budget{})
	if err != nil || len(got.Top) > 12 || got.Total != 400 || got.Missed == 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	top := got.Top[0]
	if top.Key != "frequent" || top.Count > 100 || top.Count+got.Missed < 100 {
		t.Errorf("%+v, missed %d", top, got.Missed)
	}
}

func TestSelectPagesThroughOneInstant(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	db.ShrinkSelect(10, 10, 10)
	var rs []sqlstore.Record
	for i := range 100 {
		s := newSample(i)
		s.Time = 1
		rs = append(rs, s.record(uint64(i)))
	}
	apply(t, db, rs...)
	for _, f := range []sqlstore.Filter{{}, {Descending: true}, {Agent: ptr(h("agent 1"))}, {SubjectGlob: ptr("subject 1")}, {Lifecycle: ptr(uint8(1))}} {
		if got, want := collect(t, db, f), want(rs, f); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%+v: %d records, want %d", f, len(got), len(want))
		}
	}
}

func TestSelectLeavesOutWhatComesMeanwhile(t *testing.T) {
	t.Parallel()
	for _, f := range []sqlstore.Filter{
		{}, {Descending: true}, {ByAdmission: true}, {ByAdmission: true, Descending: true},
		{Lens: ptr("Recency")}, {SubjectGlob: ptr("*")}, {Agent: ptr(h("agent 1"))},
	} {
		t.Run(fmt.Sprintf("%+v", f), func(t *testing.T) {
			db, rs := world(t, 60)
			db.ShrinkSelect(5, 10, 5)
			want := want(rs, f)
			n, next := 0, 1000
			for v, err := range db.Select(t.Context(), f) {
				if err != nil {
					t.Fatal(err)
				}
				if n >= len(want) || !bytes.Equal(v, want[n]) {
					t.Fatalf("record %d is another: %s", n, v)
				}
				n++
				if n%3 == 0 {
					// One before everything, one after it, and a checkpoint that no read may keep from finishing.
					for _, ts := range []int64{0, 1 << 40} {
						s := newSample(next)
						s.Agent, s.Time = ptr(hx("agent 1")), ts
						apply(t, db, s.record(uint64(next)*100))
						next++
					}
					if c, err := db.Checkpoint(t.Context(), false); err != nil || !c.Complete {
						t.Fatalf("checkpoint in the middle: %+v, %v", c, err)
					}
				}
			}
			if n != len(want) {
				t.Errorf("%d records, want %d", n, len(want))
			}
		})
	}
}

// A stepped is a context that calls do when it is asked for the given time whether it has ended. A query asks when it begins.
type stepped struct {
	context.Context
	asked atomic.Int64
	at    int64
	do    func()
}

func (s *stepped) step() {
	if s.asked.Add(1) == s.at {
		s.do()
	}
}

func (s *stepped) Err() error {
	s.step()
	return s.Context.Err()
}

// Records that come at any moment of a list, and again before its end, do not make it say that it is damaged.
func TestSelectCountsWhatComesMeanwhile(t *testing.T) {
	t.Parallel()
	const n = 20
	met := false // a record came between the count of all and the walk
	for at := int64(1); ; at++ {
		db, _ := world(t, n)
		next := 1000
		comes := func() {
			apply(t, db, newSample(next).record(uint64(next)*100))
			next++
		}
		ctx := &stepped{Context: t.Context(), at: at, do: comes}
		got := 0
		for _, err := range db.Select(ctx, sqlstore.Filter{}) {
			if err != nil {
				t.Fatalf("a record came at step %d and one at row 1: %v", at, err)
			}
			if got++; got == 1 {
				comes()
			}
		}
		met = met || got > n
		if ctx.asked.Load() < at {
			break
		}
	}
	if !met {
		t.Error("no record came before the walk")
	}
}

func TestSelectTakesHostileText(t *testing.T) {
	t.Parallel()
	db, rs := newDB(t), []sqlstore.Record(nil)
	texts := []string{"'; DROP TABLE audit; --", `"quoted"`, "a\x00b", "%", "_", "[x]", "\U0001F600", "", "\x7f\u202e", "?1"}
	for i, s := range texts {
		rs = append(rs, sample{
			ID: hx(fmt.Sprint(i)), Subject: &s, Predicate: &s, Lens: &s,
			Attributes: []sqlstore.Attribute{{Key: s, Value: s}},
		}.record(uint64(i)))
	}
	apply(t, db, rs...)
	for i, s := range texts {
		for _, f := range []sqlstore.Filter{
			{Predicate: &s}, {Lens: &s}, {Attributes: []sqlstore.Attribute{{Key: s, Value: s}}},
		} {
			if got := collect(t, db, f); len(got) != 1 || !bytes.Equal(got[0], rs[i].Payload) {
				t.Errorf("%q: %d records, want its own", s, len(got))
			}
		}
	}
	for glob, n := range map[string]int{"'*": 1, "*; --": 1, "[[]x]": 1, "\U0001F600": 1, "": 1, "*": len(texts), "[": 0, "a*": 1} {
		if got := collect(t, db, sqlstore.Filter{SubjectGlob: &glob}); len(got) != n {
			t.Errorf("glob %q: %d records, want %d", glob, len(got), n)
		}
	}
}

func TestSelectEndsWithItsContext(t *testing.T) {
	t.Parallel()
	db, _ := world(t, 600)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var last error
	for _, err := range db.Select(ctx, sqlstore.Filter{}) {
		last = err
		if n++; n == 3 {
			cancel()
		}
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("after %d records: %v", n, last)
	}
}

func TestHasAgent(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	apply(t, db, samples(0, 20)...)
	for agent, want := range map[string]bool{"agent 0": true, "agent 6": true, "nobody": false} {
		if has, err := db.HasAgent(t.Context(), h(agent)); has != want || err != nil {
			t.Errorf("%s: %v, %v", agent, has, err)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	var rs []sqlstore.Record
	for i, id := range []string{"00", "0a", "0f", "10", "ab1", "ab2", "abff", "ff", "fff"} {
		s := newSample(i)
		s.ID = (id + "0000000000000000000000000000000000000000000000000000000000000000")[:64]
		if id == "fff" {
			s.ID = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		}
		rs = append(rs, s.record(uint64(i)))
	}
	put(t, db, "\x00AUD:\x0a", "no record") // a key of the family that is no id
	apply(t, db, rs...)
	for prefix, want := range map[string]int{
		"": 9, "0": 3, "0a": 1, "0A": 1, "ab": 3, "AB1": 1, "ab10": 1, "abf": 1, "f": 2, "ff": 2, "fff": 1, "2": 0,
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff": 1,
	} {
		ids, err := db.Resolve(t.Context(), prefix, 100)
		if err != nil || len(ids) != want {
			t.Errorf("%q: %d ids, %v; want %d", prefix, len(ids), err, want)
		}
		if !slices.IsSortedFunc(ids, func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) }) {
			t.Errorf("%q: not in order: %x", prefix, ids)
		}
	}
	if ids, err := db.Resolve(t.Context(), "", 2); len(ids) != 2 || err != nil {
		t.Errorf("limit: %d, %v", len(ids), err)
	}
	for _, prefix := range []string{"g", "0x", "zz", "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff0"} {
		if _, err := db.Resolve(t.Context(), prefix, 1); err == nil {
			t.Errorf("%q: no error", prefix)
		}
	}
}

// Many records of one timestamp are read by their places, and after them the rest is read by the evidence.
func TestEvidenceAfterManyRecordsOfOneTimestamp(t *testing.T) {
	t.Parallel()
	db, rs := world(t, 120)
	db.ShrinkSelect(7, 20, 5)
	db.ShrinkPages(1)
	for _, f := range []sqlstore.Filter{{Assertion: ptr(h("assertion 2"))}, {Source: ptr(h("source 0"))}, {OnePiece: true, Assertion: ptr(h("assertion 2")), Source: ptr(h("source 0"))}} {
		for f.Limit = range 30 {
			for _, f.Descending = range []bool{false, true} {
				if got, want := collect(t, db, f), want(rs, f); !slices.EqualFunc(got, want, bytes.Equal) {
					t.Errorf("%+v: %d records, want %d", f, len(got), len(want))
				}
			}
		}
	}
}
