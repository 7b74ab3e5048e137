package audit_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// zones have hours that begin at every kind of place: at hours, half hours and quarters of an hour of UTC, at other minutes
// and seconds, and at all of these in turn.
var zones = []string{
	"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Chatham",
	"Pacific/Apia", "Africa/Monrovia", "Europe/Dublin", "America/Guyana",
}

// uncounted is a filter that selects the same records as f, and that stored counts do not answer.
func uncounted(f audit.Filter) audit.Filter {
	f.MinConfidence = ptr(float32(-1))
	return f
}

// Timelines and counts by agent that come from stored counts are those of a look at each record, in any unit, zone and time.
func TestStoredCountsAreThoseOfEachRecord(t *testing.T) {
	t.Parallel()
	worlds, questions := 8, 80
	if testing.Short() {
		worlds, questions = 2, 20
	}
	for seed := range worlds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(seed), 9))
			unit := audit.TimeUnit(seed % 4)
			var some []*time.Location // each zone is among those of some world
			for i := range 3 {
				some = append(some, must(time.LoadLocation(zones[(3*seed+i)%len(zones)])))
			}
			at := randomTimes(r, unit, some)
			db := openDB(t, filepath.Join(t.TempDir(), "store"), audit.WithTimeUnit(unit))
			var qs []*audit.QueryAudit
			for i := range 400 {
				q := audit.QueryAudit{QueryID: hashOf("query", fmt.Sprint(i)), Timestamp: at()}
				if a := r.IntN(6); a > 0 {
					q.AgentID = ptr(hashOf("agent", fmt.Sprint(a)))
				}
				for range r.IntN(3) {
					q.ContributingAssertions = append(q.ContributingAssertions, audit.ContributingAssertion{Lifecycle: audit.Lifecycle(r.IntN(6))})
				}
				qs = append(qs, &q)
			}
			for from := 0; from < len(qs); from += 100 {
				if _, err := db.PutAudits(t.Context(), qs[from:from+100]); err != nil {
					t.Fatal(err)
				}
			}
			wantSound(t, db)
			for range questions {
				f := audit.Filter{Unapproved: r.IntN(3) == 0}
				if r.IntN(4) == 0 {
					f.Anonymous = true
				}
				if r.IntN(2) == 0 {
					f.From = ptr(at())
				}
				if r.IntN(2) == 0 {
					f.To = ptr(at())
				}
				if r.IntN(3) == 0 {
					f.AsOf = ptr(uint64(r.IntN(len(qs) + 1)))
				}
				zone := some[r.IntN(len(some))]
				o := audit.TimelineOptions{By: audit.BucketSize(r.IntN(4)), Zone: zone, Filter: f, Unapproved: true, MaxBuckets: []int{0, 7}[r.IntN(2)]}
				got, err := db.Timeline(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				o.Filter = uncounted(f)
				want, err := db.Timeline(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				// Only a filter by time judges agents by all their records, which have few in the time shown.
				few := func(s audit.SilentAgent) bool { return s.Shown < audit.MinRated }
				got.Silent, want.Silent = slices.DeleteFunc(got.Silent, few), slices.DeleteFunc(want.Silent, few)
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("%s, %s, by %s, %+v:\n got %s\nwant %s", unit, zone, o.By, show(f), show(*got), show(*want))
				}
				if got, want := agentsOf(t, db, f), agentsOf(t, db, uncounted(f)); !reflect.DeepEqual(got, want) {
					t.Fatalf("%s, agents of %s:\n got %s\nwant %s", unit, show(f), show(got), show(want))
				}
				top := audit.TopOptions{By: audit.TopAgents, Filter: f}
				ranked, err := db.Top(t.Context(), top)
				if err != nil {
					t.Fatal(err)
				}
				top.Filter = uncounted(f)
				if want, err := db.Top(t.Context(), top); err != nil || fmt.Sprint(show(*ranked)) != fmt.Sprint(show(*want)) {
					t.Fatalf("%s, top of %s:\n got %s\nwant %s, %v", unit, show(f), show(*ranked), show(*want), err)
				}
			}
		})
	}
}

// An agent with fewer records than MinRated is not silent, also where it is judged by all its records.
func TestAFewRecordsHaveNoRate(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "store"))
	enough, few := hashOf("agent", "enough"), hashOf("agent", "few")
	for id, n := range map[audit.Hash]uint64{enough: audit.MinRated, few: audit.MinRated - 1} {
		for i := range n {
			q := audit.QueryAudit{QueryID: hashOf("query", fmt.Sprint(id, i)), AgentID: ptr(id), Timestamp: 10 * (i + 1)}
			if _, err := db.PutAudit(t.Context(), &q); err != nil {
				t.Fatal(err)
			}
		}
	}
	for from, shown := range map[uint64]uint64{0: 5, 45: 1, 1000: 0} {
		line, err := db.Timeline(t.Context(), audit.TimelineOptions{Filter: audit.Filter{From: ptr(from), To: ptr[uint64](2050)}})
		want := []audit.SilentAgent{{AgentID: enough, Last: 50, Shown: shown, Expected: 200}}
		if err != nil || !slices.Equal(line.Silent, want) {
			t.Errorf("from %d: %+v, %v; want %+v", from, line.Silent, err, want)
		}
	}
}

// randomTimes returns a function that draws timestamps which collide: close to changes of the zones' offsets, to borders of
// minutes, quarters of an hour, hours and days, and at both ends of time.
func randomTimes(r *rand.Rand, unit audit.TimeUnit, zones []*time.Location) func() uint64 {
	around := []time.Time{
		time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1972, 1, 7, 0, 44, 30, 0, time.UTC),
		time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC),
	}
	for _, zone := range zones {
		around = append(around, time.Date(2026, 11, 23, 10, 0, 0, 0, zone), time.Date(2026, 11, 24, 0, 0, 0, 0, zone))
		for _, t := range around[:3] {
			if _, change := t.In(zone).ZoneBounds(); !change.IsZero() {
				around = append(around, change)
			}
		}
	}
	steps := []time.Duration{0, time.Second, 29 * time.Second, time.Minute, 14 * time.Minute, 15 * time.Minute, 44*time.Minute + 30*time.Second, time.Hour, 24 * time.Hour}
	return func() uint64 {
		if r.IntN(40) == 0 {
			return []uint64{0, audit.MaxTimestamp, audit.MaxTimestamp - 1, math.MaxInt64 - 60*unit.PerSecond()}[r.IntN(4)]
		}
		t := around[r.IntN(len(around))].Add(steps[r.IntN(len(steps))] * time.Duration(r.IntN(5)-1))
		n, _ := unit.Timestamp(t)
		return n + uint64(r.IntN(3)) - min(n, 1)
	}
}

func agentsOf(t *testing.T, db *audit.DB, f audit.Filter) (all []audit.AgentActivity) {
	t.Helper()
	for a, err := range db.Agents(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	return all
}

// Which questions the stored counts answer, and which not: somebody has changed the counts.
func TestWhichQuestionsTheStoredCountsAnswer(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 40)
	s := openShell(t, dir)
	s.unguarded(`UPDATE activity SET audits = audits + 100, unapproved = unapproved + 100`)
	s.exit()
	db := openDB(t, dir, audit.ReadOnly())
	agent := sample(0).AgentID
	// The samples are in one minute, from 20 seconds on.
	const minute = 1_700_000_000_000 / 60_000 * 60_000
	for what, c := range map[string]struct {
		f      audit.Filter
		stored bool
	}{
		"all":                        {audit.Filter{}, true},
		"a time":                     {audit.Filter{From: ptr(uint64(minute)), To: ptr(uint64(minute + 59_999))}, true},
		"a minute but its end":       {audit.Filter{To: ptr(uint64(minute + 59_998))}, true},
		"a minute but its beginning": {audit.Filter{From: ptr(uint64(minute + 1))}, true},
		"few records of a minute":    {audit.Filter{To: ptr(uint64(minute + 20_090))}, false},
		"its last few records":       {audit.Filter{From: ptr(uint64(minute + 20_300))}, false},
		"an agent with few records":  {audit.Filter{Agent: agent}, false},
		"what is not Approved":       {audit.Filter{Unapproved: true}, true},
		"something else than a time": {uncounted(audit.Filter{}), false},
	} {
		for _, by := range []audit.BucketSize{audit.ByMinute, audit.ByHour, audit.ByDay} {
			got, err := db.Timeline(t.Context(), audit.TimelineOptions{By: by, Filter: c.f, Unapproved: true})
			if err != nil {
				t.Fatal(err)
			}
			if (got.Audits > 40) != c.stored || len(got.Buckets) > 0 && (got.Buckets[0].Unapproved > 0) != c.stored {
				t.Errorf("%s, by %s: %+v", what, by, got)
			}
		}
		if what == "all" {
			continue // table agent has these figures
		}
		n := uint64(0)
		for _, a := range agentsOf(t, db, c.f) {
			n += a.Audits
		}
		if (n > 40) != c.stored {
			t.Errorf("agents of %s: %d records", what, n)
		}
	}
}

// A count that a budget ends says so, and has what was counted until then.
func TestABudgetEndsACount(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "store"))
	var qs []*audit.QueryAudit
	assertion, source := hashOf("assertion"), hashOf("source")
	for i := range 30 {
		q := sample(i)
		q.QueryID = audit.QueryID{}
		q.ContributingAssertions = []audit.ContributingAssertion{
			{AssertionHash: assertion, SourceHash: source, Weight: 1, Lifecycle: audit.Approved},
			{AssertionHash: hashOf(fmt.Sprint(i)), SourceHash: source, Weight: 1, Lifecycle: audit.Approved},
		}
		qs = append(qs, &q)
	}
	if _, err := db.PutAudits(t.Context(), qs); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		budget     audit.Budget
		answers    uint64
		assertions int
		cut        bool
	}{
		{audit.Budget{}, 30, 31, false},
		{audit.Budget{Records: 31, Time: time.Hour}, 30, 31, false},
		{audit.Budget{Records: 30}, 30, 31, false},
		{audit.Budget{Records: 29}, 29, 30, true},
		{audit.Budget{Records: 1}, 1, 2, true},
		{audit.Budget{Time: 1}, 0, 0, true},
	} {
		for _, isSource := range []bool{false, true} {
			h, assertions, weight := assertion, min(c.assertions, 1), float64(c.answers)
			if isSource {
				h, assertions, weight = source, c.assertions, 2*weight
			}
			got, err := db.ImpactTotals(t.Context(), h, audit.ImpactOptions{Source: isSource, Budget: c.budget})
			if err != nil || got.Answers != c.answers || got.Assertions != assertions || got.Cut != c.cut || got.Weight != weight {
				t.Errorf("%+v, source %v: %+v, %v", c.budget, isSource, got, err)
			}
		}
		f := uncounted(audit.Filter{})
		line, err := db.Timeline(t.Context(), audit.TimelineOptions{Filter: f, Budget: c.budget})
		if err != nil || line.Audits != c.answers || line.Incomplete != c.cut || c.cut && len(line.Silent) > 0 {
			t.Errorf("%+v, timeline: %+v, %v", c.budget, line, err)
		}
		top, err := db.Top(t.Context(), audit.TopOptions{By: audit.TopAgents, Filter: f, Budget: c.budget})
		if err != nil || top.Total != c.answers || top.Incomplete != c.cut {
			t.Errorf("%+v, top: %+v, %v", c.budget, top, err)
		}
	}
}
