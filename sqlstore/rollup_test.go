package sqlstore_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	gomaps "maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/sqlstore"
)

// busy returns records of few agents at times around the borders of minutes and quarters of an hour.
func busy(from, to int, minute int64) (rs []sqlstore.Record) {
	for i := from; i < to; i++ {
		s := newSample(i)
		n := int64(i * 7919 % 97)
		s.Time = n/2*minute/2*5 + n%3 - 1
		switch {
		case s.Time < 0:
			s.Time = 0
		case n == 50:
			s.Time = math.MaxInt64
		case n == 51:
			s.Time = math.MaxInt64 - minute
		}
		if i%5 == 1 {
			s.Contributions[1].Lifecycle = uint8(i % 6)
		}
		rs = append(rs, s.record(uint64(i)*100))
	}
	return rs
}

// wantActivity compares table activity with what records make, counted one by one.
func wantActivity(t testing.TB, db *sqlstore.DB, rs []sqlstore.Record, minute int64) {
	t.Helper()
	type key struct {
		span, start int64
		agent       string
	}
	counts := map[key][2]int64{}
	for _, r := range rs {
		agent := ""
		if r.AgentID != nil {
			agent = fmt.Sprintf("%x", *r.AgentID)
		}
		unapproved := slices.ContainsFunc(r.Contributions, func(c sqlstore.Contribution) bool { return c.Lifecycle != 2 && c.Lifecycle != 5 })
		for _, span := range []int64{1, 15} {
			k := key{span, r.Timestamp / (span * minute) * span, agent}
			n := counts[k]
			n[0]++
			if unapproved {
				n[1]++
			}
			counts[k] = n
		}
	}
	var want []string
	for _, k := range slices.SortedFunc(gomaps.Keys(counts), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.span, b.span), cmp.Compare(a.start, b.start), cmp.Compare(a.agent, b.agent))
	}) {
		want = append(want, fmt.Sprintf("%d|%d|%s|%d|%d", k.span, k.start, cmp.Or(k.agent, "<nil>"), counts[k][0], counts[k][1]))
	}
	wantRows(t, db, `SELECT a.span, a.start, g.agent_hex, a.audits, a.unapproved FROM activity a LEFT JOIN agent g ON g.id = a.agent ORDER BY a.span, a.start, g.agent_hex`, want...)
}

// Every record is counted in its minute and in its quarter of an hour, once, in whichever batches it comes.
func TestActivityIsWhatTheRecordsMake(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	for unit, minute := range map[string]int64{"s": 60, "ms": 60_000, "us": 60_000_000, "ns": 60_000_000_000} {
		path := filepath.Join(t.TempDir(), "audit.db")
		db := open(t, path, sqlstore.Options{TimeUnit: unit})
		rs := busy(0, 300, minute)
		apply(t, db, rs[:100]...)
		apply(t, db, rs[100:101]...)
		apply(t, db, rs[50:200]...) // the first half again
		mustClose(t, db)
		db = open(t, path, sqlstore.Options{})
		apply(t, db, rs[200:]...)
		wantActivity(t, db, rs, minute)
		if _, problems := check(t, db); len(problems) > 0 {
			t.Errorf("%s: %q", unit, problems)
		}
		db.ShrinkReindex(7)
		if err := db.Reindex(t.Context(), decode, nil); err != nil {
			t.Fatal(err)
		}
		wantActivity(t, db, rs, minute)
	}
}

// A batch that fails counts nothing, then or later.
func TestABatchThatFailsCountsNothing(t *testing.T) {
	t.Parallel()
	rs := busy(0, 200, 60_000)
	// try applies the second half, and ends after so many looks at its context. It returns how many there were.
	try := func(db *sqlstore.DB, last int) (looks int, err error) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, err = db.Apply(ctx, &sqlstore.Batch{Records: rs[100:], Cursor: 20_000, Yield: func() {
			if looks++; looks == last {
				cancel()
			}
		}})
		return looks, err
	}
	whole := newDB(t)
	apply(t, whole, rs[:100]...)
	looks, err := try(whole, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, last := range []int{1, looks / 2, looks - 5, looks - 1, looks} { // the last ones are at the derived rows

		db := newDB(t)
		apply(t, db, rs[:100]...)
		if n, err := try(db, last); !errors.Is(err, context.Canceled) {
			t.Fatalf("after %d of %d looks: %v", n, looks, err)
		}
		wantActivity(t, db, rs[:100], 60_000)
		apply(t, db, rs[100:]...)
		wantActivity(t, db, rs, 60_000)
		mustClose(t, db)
	}
}

// counted adds up what CountActivity visits, by agent and by piece of some minutes.
func counted(t require, db *sqlstore.DB, f sqlstore.Filter, minutes int64, visit func()) (map[string][2]int64, sqlstore.Counted) {
	t.Helper()
	numbers, sums := []int64{}, map[[2]int64][2]int64{}
	const minute = 60_000
	grid := func(first, last int64) []sqlstore.Grid { return []sqlstore.Grid{{To: math.MaxInt64, Minutes: minutes}} }
	done, err := db.CountActivity(context.Background(), f, grid, true, func(a sqlstore.Activity) bool {
		k := [2]int64{a.Agent, a.From}
		if minutes > 0 {
			if k[1] = a.From / (minutes * minute); k[1] != a.To/(minutes*minute) {
				t.Fatalf("%+v is in two pieces", a)
			}
		}
		if a.Audits < 1 || a.From > a.To {
			t.Fatalf("%+v", a)
		}
		sums[k] = [2]int64{sums[k][0] + a.Audits, sums[k][1] + a.Unapproved}
		numbers = append(numbers, a.Agent)
		if visit != nil {
			visit()
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	hashes, err := db.AgentHashes(context.Background(), numbers)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string][2]int64{}
	for k, n := range sums {
		named[pieceName(hashes[k[0]], k[1])] = n
	}
	return named, done
}

// require is what testing.T and rapid.T have in common.
type require interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func pieceName(agent *[32]byte, piece int64) string {
	if agent == nil {
		return fmt.Sprint("nobody ", piece)
	}
	return fmt.Sprintf("%x %d", agent[:4], piece)
}

// wantCounted compares the counts with a look at each record.
func wantCounted(t require, db *sqlstore.DB, rs []sqlstore.Record, f sqlstore.Filter, minutes int64, visit func()) {
	t.Helper()
	want := map[string][2]int64{}
	first, last := int64(math.MaxInt64), int64(-1)
	for i, r := range rs {
		unapproved := slices.ContainsFunc(r.Contributions, func(c sqlstore.Contribution) bool { return c.Lifecycle != 2 && c.Lifecycle != 5 })
		if f.Unapproved && !unapproved || f.Agent != nil && (r.AgentID == nil || *r.AgentID != *f.Agent) || f.Anonymous && r.AgentID != nil ||
			f.From != nil && r.Timestamp < *f.From || f.To != nil && r.Timestamp > *f.To || f.AsOf != nil && int64(i) >= *f.AsOf {
			continue
		}
		piece := r.Timestamp
		if minutes > 0 {
			piece /= minutes * 60_000
		}
		n := want[pieceName(r.AgentID, piece)]
		n[0]++
		if unapproved {
			n[1]++
		}
		want[pieceName(r.AgentID, piece)] = n
		first, last = min(first, r.Timestamp), max(last, r.Timestamp)
	}
	got, done := counted(t, db, f, minutes, visit)
	if !gomaps.Equal(got, want) {
		t.Fatalf("%+v by %d:\n got %v\nwant %v", f, minutes, got, want)
	}
	if done.Any != (len(want) > 0) || done.Any && (done.First != first || done.Last != last) || done.Cut {
		t.Fatalf("%+v: %+v, want %d to %d", f, done, first, last)
	}
}

// The counts are those of a look at each record, by any grid, with any agent, time and moment, in pages of any size.
func TestCountActivityFindsWhatLookingAtEveryRecordFinds(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	rs := busy(0, 600, 60_000)
	apply(t, db, rs...)
	rapid.Check(t, func(t *rapid.T) {
		db.ShrinkSelect(10, rapid.SampledFrom([]int{1, 1000}).Draw(t, "lookup"), 10)
		db.ShrinkRollup(rapid.SampledFrom([]int{1, 2, 7, 10_000}).Draw(t, "page"), rapid.SampledFrom([]int{3, 50, 1000}).Draw(t, "corrections"))
		f := sqlstore.Filter{Unapproved: rapid.Bool().Draw(t, "unapproved")}
		switch rapid.IntRange(0, 3).Draw(t, "who") {
		case 0:
			f.Agent = ptr(h(fmt.Sprint("agent ", rapid.IntRange(0, 7).Draw(t, "agent")))) // the last is nobody
		case 1:
			f.Anonymous = true
		}
		at := func(name string) *int64 {
			minute := rapid.Int64Range(0, 130).Draw(t, name)
			return ptr(max(0, minute*60_000+rapid.Int64Range(-2, 2).Draw(t, name+" more")))
		}
		if rapid.Bool().Draw(t, "has from") {
			f.From = at("from")
		}
		if rapid.Bool().Draw(t, "has to") {
			f.To = at("to")
		}
		if rapid.Bool().Draw(t, "has moment") {
			f.AsOf = ptr(rapid.Int64Range(0, 601).Draw(t, "moment"))
		}
		wantCounted(t, db, rs, f, rapid.SampledFrom([]int64{0, 1, 15}).Draw(t, "minutes"), nil)
	})
}

// All counts are of the moment when the question was asked, whatever is applied while it is answered.
func TestCountActivityIsOfOneMoment(t *testing.T) {
	t.Parallel()
	for _, moment := range []*int64{nil, ptr(int64(150))} {
		for _, page := range []int{1, 3, 10_000} {
			db := newDB(t)
			db.ShrinkSelect(10, 1, 10)
			db.ShrinkRollup(page, 1000)
			rs := busy(0, 600, 60_000)
			apply(t, db, rs[:200]...)
			next := 200
			wantCounted(t, db, rs[:200], sqlstore.Filter{From: ptr(int64(59_999)), AsOf: moment}, 15, func() {
				if next < len(rs) {
					apply(t, db, rs[next:next+2]...)
					next += 2
				}
			})
			if next < 210 {
				t.Errorf("%d records were applied meanwhile", next-200)
			}
			wantCounted(t, db, rs[:next], sqlstore.Filter{From: ptr(int64(59_999))}, 15, nil)
		}
	}
}

// Agents as of a moment are those that the store had then, from table agent or from the records.
func TestAgentsAsOfAMoment(t *testing.T) {
	t.Parallel()
	rs := busy(0, 300, 60_000)
	all := newDB(t)
	apply(t, all, rs...)
	show := func(counts []sqlstore.AgentCount, cut bool, err error) string {
		if err != nil || cut {
			t.Fatal(cut, err)
		}
		var lines []string
		for _, c := range counts {
			who := "nobody"
			if c.Agent != nil {
				who = fmt.Sprintf("%x", *c.Agent)
			}
			lines = append(lines, fmt.Sprint(who, " ", c.Audits, " ", c.First, " ", c.Last))
		}
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	for _, n := range []int{0, 1, 2, 9, 150, 299, 300, 301} {
		then := newDB(t)
		apply(t, then, rs[:min(n, 300)]...)
		want := show(then.Agents(t.Context(), nil, sqlstore.Budget{}))
		for _, corrections := range []int{1000, 100} {
			all.ShrinkRollup(10, corrections)
			if got := show(all.Agents(t.Context(), ptr(int64(n)), sqlstore.Budget{})); got != want {
				t.Errorf("as of %d, with %d corrections:\n%s\nwant\n%s", n, corrections, got, want)
			}
		}
	}
	all.ShrinkRollup(10, 10)
	if counts, cut, err := all.Agents(t.Context(), ptr(int64(200)), sqlstore.Budget{Records: 20}); err != nil || !cut || len(counts) == 0 {
		t.Errorf("within a budget: %+v, %v, %v", counts, cut, err)
	}
}

// beforeActivity makes a database of the version before the rollup out of one with records.
func beforeActivity(t *testing.T, rs []sqlstore.Record) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	apply(t, db, rs...)
	mustClose(t, db)
	change(t, path, `DROP TRIGGER store_facts_stay; DROP TABLE activity; DROP TABLE hash; DELETE FROM goose_db_version WHERE version_id >= 4; PRAGMA user_version = 3`)
	return path
}

// A reindex of a database whose records are not all counted counts them.
func TestReindexCountsTheRest(t *testing.T) {
	t.Parallel()
	rs := busy(0, 100, 60_000)
	db := open(t, beforeActivity(t, rs), sqlstore.Options{})
	if err := db.Reindex(t.Context(), decode, nil); err != nil {
		t.Fatal(err)
	}
	wantRows(t, db, `SELECT count(*) FROM store WHERE name = 'activity'`, "0")
	wantActivity(t, db, rs, 60_000)
}

// A row that is wrong is a problem that names the time and the agent. A reindex puts it right.
func TestCheckFindsWrongActivity(t *testing.T) {
	t.Parallel()
	agent := hx("agent 4")
	const row = ` WHERE span = 1 AND start = 28333333 AND agent = (SELECT id FROM agent WHERE agent_hex = '%s')`
	for what, c := range map[string]struct{ statement, problem string }{
		"a count":                   {`UPDATE activity SET audits = audits + 1` + row, "the minute from 2023-11-14T22:13Z on of agent " + agent + " has 3 records, 0 of them with evidence that is not Approved; the table says 4 and 0"},
		"what is not Approved":      {`UPDATE activity SET unapproved = 2` + row, "the minute from 2023-11-14T22:13Z on of agent " + agent + " has 3 records, 0 of them with evidence that is not Approved; the table says 3 and 2"},
		"a row that is gone":        {`DELETE FROM activity` + row, "the minute from 2023-11-14T22:13Z on of agent " + agent + " has 3 records, 0 of them with evidence that is not Approved; the table says 0 and 0"},
		"a quarter":                 {`UPDATE activity SET audits = 1 WHERE span = 15 AND agent = 0`, "the quarter of an hour from 2023-11-14T22:00Z on of nobody has 2 records"},
		"another minute":            {`UPDATE activity SET start = start + 1` + row, "the minute from 2023-11-14T22:14Z on of agent " + agent + " has 0 records"},
		"another minute, far away":  {`UPDATE activity SET start = 1152921504606846976` + row, "the minute from minute 1152921504606846976 on of agent " + agent + " has 0 records"},
		"another agent":             {`UPDATE activity SET agent = 77` + row, "of agent number 77, which there is not, has 0 records"},
		"two that are exchanged":    {`UPDATE activity SET audits = CASE agent WHEN 1 THEN 4 ELSE 2 END WHERE span = 1 AND agent IN (1, 2)`, "activity: the minute from"},
		"a length of its own":       {`UPDATE activity SET span = 7` + row, "the row of 7 minutes from minute 28333333 on"},
		"a minute before 1970":      {`UPDATE activity SET start = -3` + row, "the row of 1 minutes from minute -3 on"},
		"a time that is no number":  {`UPDATE activity SET start = 'noon'` + row, "the row of 1 minutes from minute noon on"},
		"a count that is no number": {`UPDATE activity SET audits = 'many'` + row, "the table says 0 and 0"},
		"a row without records":     {`INSERT INTO activity VALUES (15, 15, 0, 0, 1)`, "the quarter of an hour from 1970-01-01T00:15Z on of nobody has 0 records, 0 of them with evidence that is not Approved; the table says 0 and 1"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "audit.db")
			db := open(t, path, sqlstore.Options{})
			apply(t, db, samples(0, 20)...)
			if strings.Contains(c.statement, "%s") {
				c.statement = fmt.Sprintf(c.statement, agent)
			}
			tamper(t, path, c.statement)
			if _, problems := check(t, db); !slices.ContainsFunc(problems, func(p string) bool { return strings.HasPrefix(p, "activity: ") && strings.Contains(p, c.problem) }) {
				t.Errorf("problems are %q", problems)
			}
			if err := db.Reindex(t.Context(), decode, nil); err != nil {
				t.Fatal(err)
			}
			if _, problems := check(t, db); len(problems) > 0 {
				t.Errorf("after a reindex: %q", problems)
			}
		})
	}
}

// Where all rows are wrong the first are named, and a check says that there may be more.
func TestCheckEndsAfterManyWrongRows(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	var rs []sqlstore.Record
	for i := range 400 {
		s := newSample(i)
		s.Time = int64(i) * 900_000
		rs = append(rs, s.record(uint64(i)*100))
	}
	apply(t, db, rs...)
	tamper(t, path, `UPDATE activity SET audits = audits + 1`)
	_, problems := check(t, db)
	if n := len(problems); n < 100 || n > 110 || !strings.Contains(problems[n-1], "there may be more rows that are wrong") {
		t.Errorf("%d problems: %q", n, problems[n-1])
	}
}

// As of a moment that is long ago, what came since is subtracted from the stored counts if it is little in the time that is asked
// about. Otherwise each record is counted.
func TestTooMuchToSubtract(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	const minute, hour = 60_000, 3_600_000
	var rs []sqlstore.Record
	add := func(n int, at int64) {
		for range n {
			s := newSample(len(rs))
			s.Time = at + int64(len(rs))
			rs = append(rs, s.record(uint64(len(rs))*100))
		}
	}
	add(200, hour)   // before the moment
	add(20, hour)    // these came later into the same minute
	add(400, 2*hour) // and these are of another hour
	apply(t, db, rs...)
	moment := int64(200)
	for _, c := range []struct {
		name        string
		to          int64
		corrections int
		stored      bool
	}{
		{"all of what came since", math.MaxInt64, 420, true},
		{"what came since into the minute", hour + minute - 1, 20, true},
		{"one more than may be subtracted", hour + minute - 1, 19, false},
		{"too many others to pass", hour + minute - 1, 5, false},
	} {
		db.ShrinkRollup(10, c.corrections)
		f := sqlstore.Filter{From: ptr(int64(hour)), To: &c.to, AsOf: &moment}
		wantCounted(t, db, rs, f, 1, nil)
		visits := 0
		grid := func(first, last int64) []sqlstore.Grid { return []sqlstore.Grid{{To: math.MaxInt64, Minutes: 1}} }
		if _, err := db.CountActivity(t.Context(), f, grid, false, func(sqlstore.Activity) bool { visits++; return true }); err != nil {
			t.Fatal(err)
		}
		if stored := visits < 200; stored != c.stored {
			t.Errorf("%s: %d visits", c.name, visits)
		}
	}
}

// So they are where the records of a minute are many, and a time begins and ends among them.
func TestCountActivityOfPartsOfMinutes(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	const minute = 60_000
	var rs []sqlstore.Record
	for i := range 500 {
		s := newSample(i)
		s.Time = 14*minute + int64(i*7919)%(4*minute)
		if i%3 == 0 {
			s.Contributions[1].Lifecycle = 0
		}
		rs = append(rs, s.record(uint64(i)*100))
	}
	apply(t, db, rs...)
	rapid.Check(t, func(t *rapid.T) {
		db.ShrinkSelect(10, 1, 10)
		db.ShrinkRollup(rapid.SampledFrom([]int{2, 10_000}).Draw(t, "page"), rapid.SampledFrom([]int{20, 1000}).Draw(t, "corrections"))
		f := sqlstore.Filter{Unapproved: rapid.Bool().Draw(t, "unapproved")}
		switch rapid.IntRange(0, 3).Draw(t, "who") {
		case 0:
			f.Agent = ptr(h(fmt.Sprint("agent ", rapid.IntRange(0, 6).Draw(t, "agent"))))
		case 1:
			f.Anonymous = true
		}
		if rapid.Bool().Draw(t, "has from") {
			f.From = ptr(rapid.Int64Range(14*minute, 17*minute).Draw(t, "from"))
		}
		if rapid.Bool().Draw(t, "has to") {
			f.To = ptr(rapid.Int64Range(15*minute, 18*minute).Draw(t, "to"))
		}
		if rapid.Bool().Draw(t, "has moment") {
			f.AsOf = ptr(rapid.Int64Range(0, 501).Draw(t, "moment"))
		}
		wantCounted(t, db, rs, f, rapid.SampledFrom([]int64{0, 1, 15}).Draw(t, "minutes"), nil)
	})
}

// The newest records of a time are those that a look at each finds, with the ones of the same timestamp as the last.
func TestNewestOfFindsWhatLookingAtEveryRecordFinds(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	rs := busy(0, 300, 60_000)
	apply(t, db, rs...)
	rapid.Check(t, func(t *rapid.T) {
		var f sqlstore.Filter
		if rapid.Bool().Draw(t, "agent") {
			f.Agent = ptr(h(fmt.Sprint("agent ", rapid.IntRange(0, 7).Draw(t, "which"))))
		}
		if rapid.Bool().Draw(t, "from") {
			f.From = ptr(rapid.Int64Range(0, 130).Draw(t, "minute") * 60_000)
		}
		if rapid.Bool().Draw(t, "to") {
			f.To = ptr(rapid.Int64Range(0, 130).Draw(t, "last minute") * 60_000)
		}
		if rapid.Bool().Draw(t, "moment") {
			f.AsOf = ptr(rapid.Int64Range(0, 301).Draw(t, "as of"))
		}
		n := rapid.IntRange(1, 301).Draw(t, "n")
		var times []int64
		for i, r := range rs {
			if (f.Agent == nil || r.AgentID != nil && *r.AgentID == *f.Agent) && (f.From == nil || r.Timestamp >= *f.From) &&
				(f.To == nil || r.Timestamp <= *f.To) && (f.AsOf == nil || int64(i) < *f.AsOf) {
				times = append(times, r.Timestamp)
			}
		}
		slices.SortFunc(times, func(a, b int64) int { return cmp.Compare(b, a) })
		from, records, ok, err := db.NewestOf(context.Background(), f, n)
		if err != nil || ok != (len(times) >= n) {
			t.Fatalf("%+v: %v, %v of %d", f, ok, err, len(times))
		}
		if !ok {
			return
		}
		want := times[n-1]
		if count := slices.IndexFunc(append(times, -1), func(at int64) bool { return at < want }); from != want || records != int64(count) {
			t.Fatalf("%+v, the newest %d: %d from %d, want %d from %d", f, n, records, from, count, want)
		}
	})
}

// The part of a minute in which a time begins or ends is not counted one by one where the rest of the minute has fewer records.
func TestTheBordersOfATimeAreCountedFromTheShorterSide(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	const minute = 60_000
	var rs []sqlstore.Record
	for i := range 300 { // 100 a minute
		s := newSample(i)
		s.Time = 10*minute + int64(i)*600
		rs = append(rs, s.record(uint64(i)*100))
	}
	apply(t, db, rs...)
	grid := func(first, last int64) []sqlstore.Grid { return []sqlstore.Grid{{To: math.MaxInt64, Minutes: 1}} }
	agents := map[int64]bool{}
	visits := func(f sqlstore.Filter) (n int) {
		if _, err := db.CountActivity(t.Context(), f, grid, true, func(a sqlstore.Activity) bool { n++; agents[a.Agent] = true; return true }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	visits(sqlstore.Filter{})
	for _, c := range []struct {
		name     string
		from, to int64
		oneByOne int
	}{
		{"the first record and the last", 10 * minute, 12*minute + 59_400, 0},
		{"the most of the first minute", 10*minute + 6_000, 13*minute - 1, 0},
		{"the end of the first minute", 10*minute + 54_000, 13*minute - 1, 10},
		{"the most of both", 10*minute + 6_000, 12*minute + 53_999, 0},
		{"the beginning of the last minute", 10 * minute, 12*minute + 5_999, 10},
		{"a part of a minute", 11*minute + 6_000, 11*minute + 53_999, 80},
		{"the most of a minute", 11*minute + 6_000, 12*minute - 1, 0},
	} {
		f := sqlstore.Filter{From: &c.from, To: &c.to}
		wantCounted(t, db, rs, f, 1, nil)
		minutes := int((c.to+1)/minute - (c.from+minute-1)/minute)
		if n := visits(f); n < c.oneByOne || n > c.oneByOne+(minutes+2)*len(agents) {
			t.Errorf("%s: %d visits", c.name, n)
		}
	}
}
