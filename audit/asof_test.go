package audit_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
)

// everything asks a store every question with a filter, and returns all answers as one text.
func everything(t *testing.T, db *audit.DB, f audit.Filter) string {
	t.Helper()
	ctx := context.Background()
	var all []any
	add := func(answer any, err error) {
		t.Helper()
		if err != nil && !errors.Is(err, audit.ErrNotFound) && !errors.Is(err, audit.ErrInvalid) {
			t.Fatal(err)
		}
		all = append(all, answer, fmt.Sprint(err))
	}
	is := func(err error) error { // without what it says of the state that it speaks of
		if errors.Is(err, audit.ErrNotFound) {
			return audit.ErrNotFound
		}
		return err
	}
	for _, order := range []audit.Filter{{}, {Descending: true}, {ByAdmission: true}, {ByAdmission: true, Descending: true}} {
		g := f
		g.Descending, g.ByAdmission = order.Descending, order.ByAdmission
		for raw, err := range db.RawAudits(ctx, g) {
			add(string(raw), err)
		}
	}
	for i := range 12 {
		got, err := db.Trace(ctx, hashOf("query", fmt.Sprint(i)), audit.TraceOptions{AsOf: f.AsOf})
		if err == nil {
			got.AsOf = nil
		} else { // it says of what state it speaks
			err = errors.Unwrap(errors.Unwrap(err))
		}
		add(got, err)
		raw, err := db.GetRawAsOf(ctx, hashOf("query", fmt.Sprint(i)), f.AsOf)
		add(string(raw), is(err))
		diff, err := db.DiffAsOf(ctx, hashOf("query", fmt.Sprint(i)), hashOf("query", "0"), f.AsOf)
		add(diff, is(err))
	}
	for i := range 3 {
		for _, kind := range []string{"agent", "assertion", "source"} {
			add(db.IdentifyAsOf(ctx, hashOf(kind, fmt.Sprint(i)), f.AsOf))
		}
		for _, o := range []audit.ImpactOptions{{Filter: f}, {Filter: f, Source: true}} {
			h := hashOf(map[bool]string{false: "assertion", true: "source"}[o.Source], fmt.Sprint(i))
			for answer, err := range db.Impact(ctx, h, o) {
				add(answer, err)
			}
			add(db.ImpactTotals(ctx, h, o))
		}
	}
	for _, descending := range []bool{false, true} {
		g := f
		g.Descending = descending
		for answer, err := range db.Answers(ctx, "s0", "p0", g) {
			add(answer, err)
		}
	}
	for agent, err := range db.Agents(ctx, f) {
		add(agent, err)
	}
	nearest, _, err := db.Nearest(ctx, f, 60_000)
	if err != nil {
		nearest = nil
	}
	add(nearest, err)
	add(db.Timeline(ctx, audit.TimelineOptions{Filter: f, Unapproved: true, By: audit.ByDay}))
	for _, by := range topKeys {
		add(db.Top(ctx, audit.TopOptions{By: by, Filter: f}))
		add(db.Top(ctx, audit.TopOptions{By: by, Filter: f, NewSince: ptr(uint64(60_000))}))
	}
	return show(all)
}

// An answer as of some moment is the one that the store gave at that moment, whatever has come since.
func TestAnAnswerAsOfAMomentIsTheOneOfThatMoment(t *testing.T) {
	t.Parallel()
	for seed := range 4 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 11))
			db := openDB(t, filepath.Join(t.TempDir(), "store"))
			qs := randomWorld(r, 60)
			type asked struct {
				f    audit.Filter
				then string
			}
			var questions []asked
			put := func(qs []audit.QueryAudit) {
				t.Helper()
				for i := range qs {
					if _, err := db.PutAudit(t.Context(), &qs[i]); err != nil {
						t.Fatal(err)
					}
				}
			}
			for n := range 4 { // with 0, 15, 30 and 45 records
				for range 4 {
					f := randomFilter(r)
					f.Limit = r.IntN(4)
					then := everything(t, db, f)
					f.AsOf = ptr(uint64(15 * n))
					questions = append(questions, asked{f, then})
				}
				put(qs[15*n : 15*(n+1)])
			}
			for _, q := range questions {
				if now := everything(t, db, q.f); now != q.then {
					t.Fatalf("%s\nas of %d: %s\nthen %s", show(q.f), *q.f.AsOf, now, q.then)
				}
			}
		})
	}
}

// A moment that has not come is refused by every question, with the number of records that there are.
func TestAMomentThatHasNotComeIsRefused(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 7)
	for kind, opts := range map[string][]audit.Option{
		"writer": nil, "writer that shows what is applied": {audit.WithReads(audit.Applied)}, "reader": {audit.ReadOnly()},
	} {
		t.Run(kind, func(t *testing.T) {
			db := openDB(t, dir, opts...)
			ctx, f := t.Context(), audit.Filter{AsOf: ptr(uint64(8))}
			outcomes := map[string]error{}
			for _, err := range db.RawAudits(ctx, f) {
				outcomes["list"] = err
			}
			for _, err := range db.RawAudits(ctx, audit.Filter{AsOf: f.AsOf, ByAdmission: true}) {
				outcomes["export"] = err
			}
			for _, err := range db.Impact(ctx, hashOf("source", "0"), audit.ImpactOptions{Source: true, Filter: f}) {
				outcomes["impact"] = err
			}
			for _, err := range db.Answers(ctx, "s", "p", f) {
				outcomes["answers"] = err
			}
			for _, err := range db.Agents(ctx, f) {
				outcomes["agents"] = err
			}
			_, outcomes["trace"] = db.Trace(ctx, sample(1).QueryID, audit.TraceOptions{AsOf: f.AsOf})
			_, outcomes["totals"] = db.ImpactTotals(ctx, hashOf("source", "0"), audit.ImpactOptions{Filter: f})
			_, _, outcomes["nearest"] = db.Nearest(ctx, f, 1)
			_, outcomes["timeline"] = db.Timeline(ctx, audit.TimelineOptions{Filter: f})
			_, outcomes["top"] = db.Top(ctx, audit.TopOptions{By: audit.TopLenses, Filter: f})
			d := db.Downstream(hashOf("source", "0"), audit.DownstreamOptions{Source: true, Filter: f})
			for d.Next(ctx) {
			}
			outcomes["downstream"] = d.Err()
			_, outcomes["onward"] = db.Onward(ctx, hashOf("source", "0"), true, f.AsOf, audit.Budget{})
			_, outcomes["origins"] = db.Origins(ctx, sample(1).QueryID, audit.OriginsOptions{AsOf: f.AsOf})
			_, outcomes["get"] = db.GetRawAsOf(ctx, sample(1).QueryID, f.AsOf)
			_, outcomes["diff"] = db.DiffAsOf(ctx, sample(1).QueryID, sample(2).QueryID, f.AsOf)
			_, outcomes["identify"] = db.IdentifyAsOf(ctx, hashOf("source", "0"), f.AsOf)
			if len(outcomes) != 16 {
				t.Errorf("%d questions were refused: %v", len(outcomes), outcomes)
			}
			for question, err := range outcomes {
				var later *audit.AsOfError
				if !errors.As(err, &later) || *later != (audit.AsOfError{AsOf: 8, Have: 7}) {
					t.Errorf("%s: %v", question, err)
				}
			}
			n := 0
			for _, err := range db.RawAudits(ctx, audit.Filter{AsOf: ptr(uint64(7))}) {
				if n++; err != nil {
					t.Error(err)
				}
			}
			if n != 7 {
				t.Errorf("as of now: %d records", n)
			}
		})
	}
}

// A reader who pages through a list sees each record that was there when it began once, in its order, whatever is admitted
// meanwhile. With a moment it sees these records alone.
func TestPagesHaveEachRecordOnce(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	for seed := range 12 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 13))
			db := openDB(t, filepath.Join(t.TempDir(), "store"))
			w := &world{t, db, randomWorld(r, 120)}
			put := func(from, to int) {
				t.Helper()
				for i := from; i < to; i++ {
					if _, err := db.PutAudit(t.Context(), &w.qs[i]); err != nil {
						t.Fatal(err)
					}
				}
			}
			const early = 70
			put(0, early)
			there := early
			for round := range 8 {
				f := randomFilter(r)
				if round%2 == 0 {
					f = audit.Filter{}
				}
				f.Descending, f.ByAdmission, f.Limit = r.IntN(2) == 0, r.IntN(2) == 0, 1+r.IntN(7)
				frozen := r.IntN(2) == 0
				whole := f
				whole.Limit, whole.AsOf = 0, ptr(uint64(there))
				want := ids(w.selected(whole))
				if frozen {
					f.AsOf = whole.AsOf
				}
				got := []string{}
				for pages := 0; ; pages++ {
					n := 0
					for q, err := range db.Audits(t.Context(), f) {
						if err != nil {
							t.Fatal(err)
						}
						n++
						got = append(got, q.QueryID.String())
						after := audit.CursorOf(&q)
						f.After = &after
					}
					if n < f.Limit {
						break
					}
					if there < len(w.qs) && pages%2 == 0 {
						put(there, there+1)
						there++
					}
				}
				if frozen {
					w.same("pages", got, want)
					continue
				}
				// Each record once, in order, and of those that came meanwhile some.
				whole.AsOf = ptr(uint64(there))
				all := ids(w.selected(whole))
				at := 0
				for _, id := range got {
					next := slices.Index(all[at:], id)
					if next < 0 {
						t.Fatalf("%s comes twice, or is out of order", id)
					}
					at += next + 1
				}
				for _, id := range want {
					if !slices.Contains(got, id) {
						t.Fatalf("%s is missing", id)
					}
				}
			}
		})
	}
}

// The place of a record that nobody has stored is a place in time, and none in the order of admission.
func TestAPlaceWithoutARecord(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "store"))
	putSamples(t, db, 0, 20)
	var all []audit.QueryAudit
	for q, err := range db.Audits(t.Context(), audit.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, q)
	}
	place := audit.CursorOf(&all[7])
	place.ID[31]++
	n := 0
	for q, err := range db.Audits(t.Context(), audit.Filter{After: &place}) {
		if err != nil || q.QueryID != all[8+n].QueryID {
			t.Fatal(q.QueryID, err)
		}
		n++
	}
	if n != 12 {
		t.Errorf("%d records after it", n)
	}
	for _, err := range db.Audits(t.Context(), audit.Filter{After: &place, ByAdmission: true}) {
		if !errors.Is(err, audit.ErrNotFound) {
			t.Errorf("by admission: %v", err)
		}
		n++
	}
	if n != 13 {
		t.Error("by admission nothing is said")
	}
}

func TestCursorsAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	q := sample(3)
	c := audit.CursorOf(&q)
	if again, err := audit.ParseCursor(c.String()); err != nil || again != c {
		t.Errorf("%s: %v, %v", c, again, err)
	}
	id := fill(7).String()
	for _, text := range []string{
		"", ".", id, "1." + id[1:], "1." + id + "0", "01." + id, "+1." + id, "-1." + id, " 1." + id, "1. " + id, "1.5." + id,
		"9223372036854775808." + id, "1." + "G" + id[1:], "1." + fill(0xab).String()[:62] + "AB",
	} {
		if c, err := audit.ParseCursor(text); !errors.Is(err, audit.ErrInvalid) {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
}
