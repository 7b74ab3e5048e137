package sqlstore_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"testing"

	"pgregory.net/rapid"

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
		rs = append(rs, s.record(uint64(i)*100))
	}
	apply(t, db, rs[:n/2]...)
	apply(t, db, rs[n/2:]...)
	return db, rs
}

// want is what Select should yield, by looking at every record.
func want(rs []sqlstore.Record, f sqlstore.Filter) (out [][]byte) {
	type numbered struct {
		sqlstore.Record
		idx int
	}
	var hits []numbered
	same := func(a, b *string) bool { return b == nil || a != nil && *a == *b }
	for i, r := range rs {
		ok := (f.Agent == nil || r.AgentID != nil && *r.AgentID == *f.Agent) &&
			(!f.Anonymous || r.AgentID == nil) &&
			(f.From == nil || r.Timestamp >= *f.From) && (f.To == nil || r.Timestamp <= *f.To) &&
			same(r.Predicate, f.Predicate) && same(r.Lens, f.Lens) &&
			(f.Lifecycle == nil || *r.Lifecycle == *f.Lifecycle) &&
			(f.Result == nil || *r.ResultHash == *f.Result) &&
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
		if ok {
			hits = append(hits, numbered{r, i})
		}
	}
	slices.SortFunc(hits, func(a, b numbered) int {
		c := cmp.Compare(a.idx, b.idx)
		if !f.ByAdmission {
			c = cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), bytes.Compare(a.QueryID[:], b.QueryID[:]))
		}
		if f.Descending {
			return -c
		}
		return c
	})
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
	db, rs := world(t, 120)
	for _, shape := range []struct{ page, lookup, stretch int }{
		{256, 1 << 14, 512}, // as it is: everything is looked up
		{7, 1 << 14, 5},
		{7, 20, 5}, // what is not rare is walked
		{3, 0, 2},
	} {
		t.Run(fmt.Sprint(shape), func(t *testing.T) {
			defer sqlstore.ShrinkSelect(shape.page, shape.lookup, shape.stretch)()
			rapid.Check(t, func(t *rapid.T) {
				f := sqlstore.Filter{
					Agent:         maybe(t, "agent", h("agent 0"), h("agent 3"), h("nobody")),
					Anonymous:     rapid.IntRange(0, 5).Draw(t, "anonymous") == 0,
					From:          maybe[int64](t, "from", 0, 10, 20, 50),
					To:            maybe[int64](t, "to", 0, 10, 20, 50),
					SubjectGlob:   maybe(t, "glob", "subject 1", "subject 1*", "*", "*[02468]", "subject ?", "", "none", "nothing*"),
					Predicate:     maybe(t, "predicate", "revenue", "other"),
					Lens:          maybe(t, "lens", "Recency", "recency"),
					Lifecycle:     maybe[uint8](t, "lifecycle", 0, 3),
					Result:        maybe(t, "result", h("assertion 1"), h("assertion 99")),
					MinConfidence: maybe(t, "min", 0.0, 0.5, 2),
					MaxConfidence: maybe(t, "max", 0.25, 1),
					Limit:         rapid.SampledFrom([]int{0, 0, 1, 7, 8, 100}).Draw(t, "limit"),
					Descending:    rapid.Bool().Draw(t, "descending"),
					ByAdmission:   rapid.Bool().Draw(t, "by admission"),
				}
				switch rapid.IntRange(0, 5).Draw(t, "attributes") {
				case 0:
					f.Attributes = []sqlstore.Attribute{{Key: "model", Value: "m1"}}
				case 1:
					f.Attributes = []sqlstore.Attribute{{Key: "model", Value: "m1"}, {Key: "trace_id", Value: "trace 40"}}
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
			})
		})
	}
}

func TestSelectPagesThroughOneInstant(t *testing.T) {
	defer sqlstore.ShrinkSelect(10, 10, 10)()
	db := newDB(t)
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
	defer sqlstore.ShrinkSelect(5, 10, 5)()
	for _, f := range []sqlstore.Filter{
		{}, {Descending: true}, {ByAdmission: true}, {ByAdmission: true, Descending: true},
		{Lens: ptr("Recency")}, {SubjectGlob: ptr("*")}, {Agent: ptr(h("agent 1"))},
	} {
		t.Run(fmt.Sprintf("%+v", f), func(t *testing.T) {
			db, rs := world(t, 60)
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

func TestSelectTakesHostileText(t *testing.T) {
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
	db := newDB(t)
	apply(t, db, samples(0, 20)...)
	for agent, want := range map[string]bool{"agent 0": true, "agent 6": true, "nobody": false} {
		if has, err := db.HasAgent(t.Context(), h(agent)); has != want || err != nil {
			t.Errorf("%s: %v, %v", agent, has, err)
		}
	}
}

func TestResolve(t *testing.T) {
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
