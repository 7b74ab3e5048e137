package audit_test

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/wal"
)

// appendToJournal leaves records in a closed store's journal, as a process that dies before they are applied.
func appendToJournal(t *testing.T, dir string, from, to int) map[audit.QueryID]string {
	t.Helper()
	j, _, err := wal.Open(filepath.Join(dir, "wal"), wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lines := map[audit.QueryID]string{}
	for i := from; i < to; i++ {
		q := sample(i)
		lines[q.QueryID] = canonical(t, &q)
		if _, err := j.Append(context.Background(), []byte(lines[q.QueryID])); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestADroppedTableIsMadeAnewBeforeReplay(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	for _, table := range []string{"contribution", "attribute", "audit", "agent"} {
		t.Run(table, func(t *testing.T) {
			dir, lines := closedStore(t, 0, 20)
			inShell(t, dir, "DROP TABLE "+table)
			for id, line := range appendToJournal(t, dir, 20, 30) {
				lines[id] = line
			}
			wantNeedsRecovery(t, dir, true)
			reader := openDB(t, dir, audit.ReadOnly()) // primary data is there all the while
			q := sample(1)
			if raw, err := reader.GetRaw(context.Background(), q.QueryID); err != nil || string(raw) != lines[q.QueryID] {
				t.Fatalf("%s, %v", raw, err)
			}
			closeDB(t, reader)
			db := openDB(t, dir)
			if rec := db.Recovery(); rec.Replayed != 10 || rec.Rebuilt || len(rec.Notes) == 0 {
				t.Fatalf("%+v", rec)
			}
			wantAll(t, db, lines)
			closeDB(t, db)
			wantNeedsRecovery(t, dir, false)
		})
	}
}

// wantReindexing checks that no answer comes out of forensic tables that are not whole, and that what needs
// none of them is there.
func wantReindexing(t *testing.T, db *audit.DB, lines map[audit.QueryID]string) {
	t.Helper()
	ctx, q := context.Background(), sample(1)
	filtered := func(f audit.Filter) (last error) {
		for _, last = range db.RawAudits(ctx, f) {
		}
		return last
	}
	_, recent := db.ListRecent(ctx, len(lines))
	_, agents := db.AuditsForAgent(ctx, *q.AgentID, 0, audit.Unbounded, len(lines))
	_, trace := db.Trace(ctx, q.QueryID, audit.TraceOptions{})
	_, totals := db.ImpactTotals(ctx, q.ContributingAssertions[0].AssertionHash, audit.ImpactOptions{})
	_, timeline := db.Timeline(ctx, audit.TimelineOptions{})
	_, top := db.Top(ctx, audit.TopOptions{By: audit.TopSubjects})
	_, _, nearest := db.Nearest(ctx, audit.Filter{}, 0)
	_, identity := db.Identify(ctx, *q.AgentID)
	_, beginning := db.ResolveHash(ctx, q.AgentID.String()[:audit.MinPrefix], audit.AgentHash)
	var impact, answers, everyAgent error
	for _, impact = range db.Impact(ctx, q.ContributingAssertions[0].AssertionHash, audit.ImpactOptions{}) {
	}
	for _, answers = range db.Answers(ctx, *q.Params.Subject, *q.Params.Predicate, audit.Filter{}) {
	}
	for _, everyAgent = range db.Agents(ctx, audit.Filter{}) {
	}
	for name, err := range map[string]error{
		"Trace": trace, "ImpactTotals": totals, "Timeline": timeline, "Top": top, "Nearest": nearest,
		"Identify": identity, "ResolveHash": beginning, "Impact": impact, "Answers": answers, "Agents": everyAgent,
		"ListRecent": recent, "AuditsForAgent": agents,
		"RawAudits":          filtered(audit.Filter{}),
		"RawAudits of agent": filtered(audit.Filter{Agent: q.AgentID, ByAdmission: true}),
	} {
		if !errors.Is(err, audit.ErrReindexing) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if raw, err := db.GetRaw(ctx, q.QueryID); err != nil || string(raw) != lines[q.QueryID] {
		t.Errorf("get: %s, %v", raw, err)
	}
	n := 0
	for _, err := range db.RawAudits(ctx, audit.Filter{ByAdmission: true}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != len(lines) {
		t.Errorf("export has %d of %d", n, len(lines))
	}
}

func TestAnInterruptedReindexIsToldAndFinished(t *testing.T) {
	t.Parallel()
	const n = 100
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir)
	lines := putSamples(t, db, 0, n)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	told := 0
	err := db.Reindex(ctx, func(done, total uint64) { // told of the last one before it is finished
		if told++; done != n || total != n {
			t.Errorf("%d of %d", done, total)
		}
		wantReindexing(t, db, lines) // beside it
		cancel()
	})
	if !errors.Is(err, context.Canceled) || told != 1 {
		t.Fatal(told, err)
	}
	wantReindexing(t, db, lines)
	reader := openDB(t, dir, audit.ReadOnly())
	wantReindexing(t, reader, lines)
	closeDB(t, reader)
	closeDB(t, db)
	wantNeedsRecovery(t, dir, true)

	db = openDB(t, dir)
	if rec := db.Recovery(); rec.Replayed != 0 || len(rec.Notes) == 0 {
		t.Fatalf("%+v", rec)
	}
	if got, err := db.ListRecent(context.Background(), 2*n); err != nil || len(got) != n {
		t.Fatalf("%d records, %v", len(got), err)
	}
	wantSound(t, db)
	closeDB(t, db)
	wantNeedsRecovery(t, dir, false)
}

func TestAnInterruptedReindexIsFinishedByTheNext(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir)
	lines := putSamples(t, db, 0, 50)
	wantSound(t, db)
	for look := 0; ; look += 1 + look/2 {
		if db.Reindex(endAtLook(look), nil) == nil {
			break
		}
		if err := db.Reindex(context.Background(), nil); err != nil {
			t.Fatalf("after one that ended at look %d: %v", look, err)
		}
		wantSound(t, db)
	}
	wantAll(t, db, lines)
}

func TestNoLimitIsTooLarge(t *testing.T) {
	// At this interval the later half is acknowledged and not yet in SQLite.
	db := openDB(t, filepath.Join(t.TempDir(), "store"), audit.WithDurability(wal.SyncInterval(time.Hour)))
	lines := putSamples(t, db, 0, 3)
	wantAll(t, db, lines)
	putSamples(t, db, 3, 6)
	for limit, want := range map[int]int{1: 1, 4: 4, 6: 6, math.MaxInt - 1: 6, math.MaxInt: 6} {
		got, err := db.ListRecent(context.Background(), limit)
		if err != nil || len(got) != want {
			t.Fatalf("limit %d: %d records, %v", limit, len(got), err)
		}
		for i, q := range got {
			if q.QueryID != sample(5-i).QueryID {
				t.Errorf("limit %d: record %d is another", limit, i)
			}
		}
		got, err = db.AuditsForAgent(context.Background(), *sample(0).AgentID, 0, audit.Unbounded, limit)
		if err != nil || len(got) != min(want, 2) {
			t.Fatalf("limit %d: %d records of the agent, %v", limit, len(got), err)
		}
	}
}

// Another process takes the forensic tables out, or drops them, while a list reads them page by page.
func TestAListBesideASalvageSaysThatTheTablesAreMadeAgain(t *testing.T) {
	t.Parallel()
	const records = 400 // more than a page
	dir, _ := closedStore(t, 0, records)
	db := openDB(t, dir, audit.ReadOnly())
	n := 0
	var last error
	for _, err := range db.RawAudits(t.Context(), audit.Filter{}) {
		if n++; n == 1 {
			inShell(t, dir, `BEGIN; INSERT INTO store (name, value) VALUES ('reindex', 'running'); DROP TABLE audit; COMMIT`)
		}
		last = err
	}
	if !errors.Is(last, audit.ErrReindexing) || n > records {
		t.Errorf("after %d records: %v", n, last)
	}
	if _, err := db.Stats(t.Context()); !errors.Is(err, audit.ErrReindexing) {
		t.Errorf("stats: %v", err)
	}
}
