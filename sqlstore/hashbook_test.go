package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/sqlstore"
)

// Whatever the batches are, whatever fails between them and however little is remembered: each hash has one number, and each row has
// the number of its hash.
func TestHashesHaveOneNumber(t *testing.T) {
	t.Parallel()
	all := samples(0, 400)
	rapid.Check(t, func(r *rapid.T) {
		path := filepath.Join(t.TempDir(), "audit.db")
		db := open(t, path, sqlstore.Options{})
		defer func() { mustClose(t, db) }()
		next := 0
		for next < len(all) {
			db.ShrinkHashes(rapid.SampledFrom([]int{1 << 18, 3, 0}).Draw(r, "remembered"))
			n := min(len(all)-next, rapid.IntRange(1, 200).Draw(r, "batch"))
			switch rapid.IntRange(0, 5).Draw(r, "what") {
			case 0: // the batch fails when a part of its rows is there
				ctx, cancel := context.WithCancel(t.Context())
				left := rapid.IntRange(1, 40).Draw(r, "until")
				batch := &sqlstore.Batch{Records: all[next : next+n], Cursor: uint64(next+n) * 100, Yield: func() {
					if left--; left == 0 {
						cancel()
					}
				}}
				done, err := db.Apply(ctx, batch)
				if err == nil {
					next += done.Inserted
				} else if !errors.Is(err, context.Canceled) {
					r.Fatal(err)
				}
				cancel()
				continue
			case 1:
				mustClose(t, db)
				db = open(t, path, sqlstore.Options{})
			}
			apply(t, db, all[next:next+n]...)
			next += n
		}
		if _, problems := check(t, db); len(problems) > 0 {
			r.Fatal(problems)
		}
		wantRows(t, db, `SELECT count(*), count(DISTINCT hex), min(id), max(id) FROM hash`, "18|18|1|18")
	})
}

// A generation has numbers of its own, in a batch that begins in one and ends in the next one too, and after a reindex.
func TestEachGenerationHasItsOwnNumbers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	const generation = 1 << 14
	fill := make([]sqlstore.Record, generation-50)
	for i := range fill {
		s := sample{ID: hx(fmt.Sprint("fill ", i))}
		fill[i] = s.record(uint64(i))
	}
	apply(t, db, fill...)
	rs := samples(0, 200)
	for i := range rs {
		rs[i].Offset += generation
	}
	apply(t, db, rs[:20]...)
	apply(t, db, rs[20:100]...)
	apply(t, db, rs[100:]...)
	sound := func() {
		t.Helper()
		if _, problems := check(t, db); len(problems) > 0 {
			t.Error(problems)
		}
		wantRows(t, db, `SELECT generation, count(*), count(DISTINCT hex) FROM hash GROUP BY 1`, "0|18|18", "1|18|18")
		for _, f := range []sqlstore.Filter{{Assertion: ptr(h("assertion 5"))}, {Source: ptr(h("source 4"))}, {Result: ptr(h("assertion 5"))}} {
			if got, want := len(collect(t, db, f)), len(want(rs, f)); got != want || want < 10 {
				t.Errorf("%+v: %d records, want %d", f, got, want)
			}
		}
	}
	sound()
	if err := db.Reindex(t.Context(), decode, nil); err != nil {
		t.Fatal(err)
	}
	sound()
	// Rows that somebody has put in do not become the hashes of others.
	tamper(t, path, `INSERT INTO hash (id, generation, hex) VALUES (9223372036854775807, 1, 'x'), (1 << 50, 1, 'y')`)
	more := samples(200, 300)
	for i := range more {
		more[i].Offset += generation
		more[i].Contributions[0].SourceHash = h(fmt.Sprint("new ", i)) // more than one statement inserts
	}
	apply(t, db, more...)
	for i := range more {
		wantRows(t, db, fmt.Sprintf(`SELECT source_hash FROM contributions WHERE idx = %d AND position = 0`, 16534+i), hx(fmt.Sprint("new ", i)))
	}
}

// Many records of one timestamp are listed in the order of their ids, however they are read.
func TestManyRecordsOfOneTimestamp(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	var rs []sqlstore.Record
	for i := range 240 {
		s := newSample(i)
		s.Time = int64(i * 7919 % 40 / 13)
		rs = append(rs, s.record(uint64(i)*100))
	}
	apply(t, db, rs...)
	for _, shape := range []struct{ page, lookup, stretch, ties, bytes int }{
		{256, 1 << 14, 512, 1 << 18, 4 << 20}, {3, 0, 2, 1 << 18, 4 << 20}, {3, 0, 5, 7, 4 << 20}, {2, 0, 40, 1, 900}, {20, 10, 9, 30, 4 << 20},
	} {
		db.ShrinkSelect(shape.page, shape.lookup, shape.stretch)
		db.ShrinkTies(shape.ties)
		db.ShrinkPages(shape.bytes)
		rapid.Check(t, func(t *rapid.T) {
			f := drawFilter(t)
			if rapid.Bool().Draw(t, "all") {
				f = sqlstore.Filter{AsOf: f.AsOf, Limit: f.Limit, Descending: f.Descending}
			}
			f.After = drawPlace(t, rs)
			got, want := collect(t, db, f), want(rs, f)
			if fmt.Sprintf("%s", got) != fmt.Sprintf("%s", want) {
				t.Fatalf("%+v: %d records, want %d", shape, len(got), len(want))
			}
		})
	}
}

// The first record with a hash comes while a question is under way that excludes this hash. The question does not know the
// hash's number, so it must not show the record.
func TestAHashThatIsExcludedAndComesMeanwhile(t *testing.T) {
	t.Parallel()
	late := sample{ID: hx("late"), Result: ptr(hx("answer")), Contributions: []sampleContribution{{Assertion: hx("fact"), Source: hx("page"), Weight: 1}}}
	for name, c := range map[string]sqlstore.Filter{
		"assertion": {Assertion: ptr(h("fact"))},
		"source":    {Source: ptr(h("page"))},
		"result":    {Result: ptr(h("answer"))},
	} {
		for how, f := range map[string]sqlstore.Filter{
			"none of":           {NoneOf: []sqlstore.Filter{{Subject: ptr("none")}, c}},
			"any of, with none": {AnyOf: [][]sqlstore.Filter{{{Subject: ptr("none")}, {NoneOf: []sqlstore.Filter{c}}}}},
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				db := open(t, filepath.Join(t.TempDir(), "audit.db"), sqlstore.Options{})
				apply(t, db, samples(0, 30)...)
				n := 0
				for value, err := range db.SelectLater(t.Context(), f, func() { apply(t, db, late.record(9000)) }) {
					if n++; err != nil || strings.Contains(string(value), hx("late")) {
						t.Errorf("%s, %v", value, err)
					}
				}
				if n != 30 {
					t.Errorf("%d records", n)
				}
				mustClose(t, db)
			})
		}
	}
}
