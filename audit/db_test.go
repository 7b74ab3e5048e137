package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// openDB opens a store of which a test asks what it has just put.
func openDB(t testing.TB, dir string, opts ...audit.Option) *audit.DB {
	t.Helper()
	db, err := audit.Open(dir, append([]audit.Option{audit.WithReads(audit.Acknowledged)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func closeDB(t testing.TB, db *audit.DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// killed copies an open store's files as the death of its process leaves them. The store goes on meanwhile. It may remove a
// file that was listed (the filter over ids, once it is read): a death a moment later leaves the store without that file.
func killed(t testing.TB, dir string) string {
	t.Helper()
	left := filepath.Join(t.TempDir(), "left")
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(left, strings.TrimPrefix(name, dir))
		if entry.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		content, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(to, content, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// sample makes the i-th of a row of different records.
func sample(i int) audit.QueryAudit {
	q := audit.QueryAudit{
		AgentID:          ptr(hashOf("agent", fmt.Sprint(i%3))),
		Timestamp:        uint64(1_700_000_000_000 + i*10),
		Params:           audit.QueryParams{Subject: ptr(fmt.Sprintf("subject %d", i%5)), Predicate: ptr("revenue")},
		ResultHash:       ptr(hashOf("result", fmt.Sprint(i))),
		ResultConfidence: 0.95,
		Attributes:       map[string]any{"trace_id": fmt.Sprintf("trace-%d", i), "retries": i, "cached": i%2 == 0},
	}
	for c := range i % 4 {
		q.ContributingAssertions = append(q.ContributingAssertions, audit.ContributingAssertion{
			AssertionHash: hashOf("assertion", fmt.Sprint(i*3+c)), Weight: 0.1 * float32(c+1),
			SourceHash: hashOf("source", fmt.Sprint(c)), Lifecycle: audit.Approved,
		})
	}
	id, err := q.ID()
	if err != nil {
		panic(err)
	}
	q.QueryID = id
	return q
}

// putSamples stores records [from, to) and returns their canonical lines by id.
func putSamples(t testing.TB, db *audit.DB, from, to int) map[audit.QueryID]string {
	t.Helper()
	lines := map[audit.QueryID]string{}
	var qs []*audit.QueryAudit
	for i := from; i < to; i++ {
		q := sample(i)
		qs = append(qs, &q)
		lines[q.QueryID] = canonical(t, &q)
	}
	results, err := db.PutAudits(context.Background(), qs)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil || r.ID != qs[i].QueryID {
			t.Fatalf("record %d: %+v", i, r)
		}
	}
	return lines
}

// wantAll checks that a store holds just these records, by every way to ask for them.
func wantAll(t testing.TB, db *audit.DB, lines map[audit.QueryID]string) {
	t.Helper()
	ctx := context.Background()
	for id, line := range lines {
		if raw, err := db.GetRaw(ctx, id); err != nil || string(raw) != line {
			t.Fatalf("get %s: %s, %v; want %s", id, raw, err, line)
		}
	}
	n := 0
	for raw, err := range db.RawAudits(ctx, audit.Filter{ByAdmission: true}) {
		if err != nil {
			t.Fatal(err)
		}
		q := parse(t, string(raw))
		if lines[q.QueryID] != string(raw) {
			t.Fatalf("export has %s", raw)
		}
		n++
	}
	if n != len(lines) {
		t.Fatalf("export has %d records, want %d", n, len(lines))
	}
	wantSound(t, db)
}

func wantSound(t testing.TB, db *audit.DB) audit.VerifyReport {
	t.Helper()
	rep, err := db.Verify(context.Background(), audit.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !rep.OK() {
		t.Fatalf("verify: %q", rep.Problems)
	}
	return rep
}

func TestDBPassesTheCasesOfEveryStore(t *testing.T) {
	testStore(t, func(t *testing.T) audit.Store { return openDB(t, filepath.Join(t.TempDir(), "store")) })
}

func TestEveryEndIsOpenedAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir, audit.WithSegmentBytes(20_000))
	if !db.Recovery().Created {
		t.Fatalf("%+v", db.Recovery())
	}
	lines := putSamples(t, db, 0, 200)
	wantAll(t, db, lines)
	left := killed(t, dir)
	closeDB(t, db)
	for name, dir := range map[string]string{"closed": dir, "killed": left} {
		t.Run(name, func(t *testing.T) {
			db := openDB(t, dir)
			if rec := db.Recovery(); rec.Created || rec.Replayed > 0 || rec.Rebuilt || rec.Torn != nil {
				t.Fatalf("%+v", rec)
			}
			lines := putSamples(t, db, 0, 250) // the first 200 are there already
			wantAll(t, db, lines)
			if s, err := db.Stats(context.Background()); err != nil || s.Audits != 250 || s.Applied != s.JournalEnd {
				t.Fatalf("%+v, %v", s, err)
			}
		})
	}
}

func TestLostSQLiteIsRebuiltFromTheJournal(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir, audit.WithSegmentBytes(20_000))
	lines := putSamples(t, db, 0, 300)
	left := killed(t, dir)
	closeDB(t, db)
	for name, dir := range map[string]string{"closed": dir, "killed": left} {
		t.Run(name, func(t *testing.T) {
			removeSQLite(t, dir)
			if needs, err := audit.NeedsRecovery(context.Background(), dir); err != nil || needs == "" {
				t.Fatalf("needs recovery: %v, %v", needs, err)
			}
			rec, err := audit.Recover(context.Background(), dir)
			if err != nil || rec.Replayed != 300 || !rec.Rebuilt || len(rec.Notes) == 0 {
				t.Fatalf("%+v, %v", rec, err)
			}
			wantAll(t, openDB(t, dir, audit.ReadOnly()), lines)
			if needs, err := audit.NeedsRecovery(context.Background(), dir); err != nil || needs != "" {
				t.Fatalf("needs recovery afterwards: %v, %v", needs, err)
			}
		})
	}
}

func removeSQLite(t testing.TB, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "audit.db*"))
	if err != nil || len(names) == 0 {
		t.Fatal("no database", err)
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// A power cut may take any end of SQLite's -wal that no checkpoint has begun to copy, and cut it anywhere.
func TestSQLitesWALCutAnywhere(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir)
	lines := map[audit.QueryID]string{}
	for i := range 4 {
		for id, line := range putSamples(t, db, i*5, i*5+5) {
			lines[id] = line
		}
		wantSound(t, db) // waits for the applier, so that -wal holds a transaction for each
	}
	left := killed(t, dir)
	st, err := os.Stat(filepath.Join(left, "audit.db-wal"))
	if err != nil {
		t.Fatal(err)
	}
	const frame = 8192 + 24
	// The -wal begins with a header of 32 bytes; a cut falls between two frames or into one.
	step := int64(frame)
	if testing.Short() {
		step *= 9
	}
	for i, cut := 0, int64(0); cut < st.Size(); i, cut = i+1, cut+step {
		dir := killed(t, left)
		if err := os.Truncate(filepath.Join(dir, "audit.db-wal"), min(st.Size(), cut+[]int64{0, 32, 100, 32 + frame/2}[i%4])); err != nil {
			t.Fatal(err)
		}
		db := openDB(t, dir)
		wantAll(t, db, lines)
		closeDB(t, db)
	}
}

func TestAJournalThatAnotherProgramWrote(t *testing.T) {
	t.Parallel()
	for _, segment := range []int64{300, 5000, 1 << 20} {
		dir := t.TempDir()
		lines := map[audit.QueryID]string{}
		w, end := newForeignJournal(t, filepath.Join(dir, "wal"), segment)
		for i := range 100 {
			q := sample(i)
			lines[q.QueryID] = canonical(t, &q)
			w(lines[q.QueryID])
			if i%10 == 0 {
				w(lines[q.QueryID]) // given twice
			}
		}
		end()
		db := openDB(t, dir)
		if rec := db.Recovery(); rec.Replayed != 100 || rec.Rejected != 0 {
			t.Fatalf("%+v", rec)
		}
		wantAll(t, db, lines)
		closeDB(t, db)
		read, err := walspec.ReadDir(filepath.Join(dir, "wal"))
		if err != nil || len(read) < 110 {
			t.Fatalf("%d records, %v", len(read), err)
		}
	}
}

func TestWhatReplayCannotTakeIsKeptAndTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, other := sample(1), sample(2)
	other.QueryID = good.QueryID
	w, end := newForeignJournal(t, filepath.Join(dir, "wal"), 1<<20)
	w(canonical(t, &good))
	w(`{"not":"an audit"}`)
	w(canonical(t, &other))
	w(strings.Replace(canonical(t, ptr(sample(3))), ",", ", ", 1)) // right, but not canonical
	last := sample(4)
	w(canonical(t, &last))
	end()
	for range 2 {
		db := openDB(t, dir)
		if raw, err := db.GetRaw(context.Background(), good.QueryID); err != nil || string(raw) != canonical(t, &good) {
			t.Fatalf("%s, %v", raw, err)
		}
		if _, err := db.GetRaw(context.Background(), last.QueryID); err != nil {
			t.Fatal(err)
		}
		rep, err := db.Verify(context.Background(), audit.VerifyOptions{})
		if err != nil || rep.OK() || rep.Rejected != 3 || rep.Total != 3 || rep.Audits != 2 {
			t.Fatalf("%+v, %v", rep, err)
		}
		closeDB(t, db)
		removeSQLite(t, dir) // and again from the journal alone
	}
}

func TestTwoBatchesWithTheSameIDsInOtherOrders(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "store"))
	var wg sync.WaitGroup
	for hand := range 8 {
		wg.Go(func() {
			for round := range 20 {
				var qs []*audit.QueryAudit
				for i := range 30 {
					q := sample(round*30 + i)
					qs = append(qs, &q)
				}
				if hand%2 == 1 {
					slices.Reverse(qs)
				}
				results, err := db.PutAudits(context.Background(), append(qs, qs...))
				if err != nil {
					t.Error(err)
					return
				}
				for _, r := range results {
					if r.Err != nil {
						t.Error(r.Err)
					}
				}
			}
		})
	}
	wg.Wait()
	if rep := wantSound(t, db); rep.Audits != 600 || rep.Journal.Records != 600 {
		t.Fatalf("%d audits from %d journal records", rep.Audits, rep.Journal.Records)
	}
}

func TestBacklogIsBoundedAndTheWaitEndsWithTheContext(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir, audit.WithBacklog(50, 1))
	lines := putSamples(t, db, 0, 500)
	wantAll(t, db, lines)
	if s, err := db.Stats(context.Background()); err != nil || s.Backlog != 0 || s.BacklogBytes != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := db.PutAudit(ctx, ptr(sample(1000))); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	putSamples(t, db, 1000, 1001)
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	ctx := context.Background()
	if _, err := audit.Open(dir, audit.ReadOnly()); !errors.Is(err, audit.ErrNoStore) {
		t.Fatalf("no store: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("a reader made a folder")
	}
	db := openDB(t, dir)
	lines := putSamples(t, db, 0, 20)
	wantSound(t, db)
	reader := openDB(t, dir, audit.ReadOnly())
	wantAll(t, reader, lines)
	if _, err := reader.PutAudit(ctx, ptr(sample(99))); !errors.Is(err, audit.ErrReadOnly) {
		t.Fatalf("got %v", err)
	}
	if err := reader.Reindex(ctx, nil); !errors.Is(err, audit.ErrReadOnly) {
		t.Fatalf("got %v", err)
	}
	if s, err := reader.Stats(ctx); err != nil || !s.Writing || s.Writer != os.Getpid() {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := audit.Open(dir, audit.WithLockWait(time.Nanosecond)); !errors.Is(err, audit.ErrLocked) {
		t.Fatalf("a second writer: %v", err)
	}
	closeDB(t, db)
	if _, err := db.PutAudit(ctx, ptr(sample(99))); !errors.Is(err, audit.ErrClosed) {
		t.Fatalf("got %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatalf("second close: %v", err)
	}
}

func TestTailFollowsBesideTheWriter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir, audit.WithSegmentBytes(3000))
	putSamples(t, db, 0, 20)
	wantSound(t, db)
	reader := openDB(t, dir, audit.ReadOnly())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	i := 15
	for raw, err := range reader.Tail(ctx, 5, true) {
		if err != nil {
			t.Fatal(err)
		}
		if want := canonical(t, ptr(sample(i))); string(raw) != want {
			t.Fatalf("record %d: %s", i, raw)
		}
		if i++; i == 60 {
			break
		}
		if i >= 20 {
			putSamples(t, db, i, i+1)
		}
	}
	if i != 60 {
		t.Fatalf("ended at %d", i)
	}
	n := 0
	for _, err := range reader.Tail(ctx, 1000, false) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 60 {
		t.Fatalf("%d records", n)
	}
}

func TestBackupOpensAsAStore(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir, audit.WithSegmentBytes(5000))
	putSamples(t, db, 0, 100)
	stop, stopped := make(chan bool), make(chan bool)
	defer func() {
		close(stop)
		<-stopped
	}()
	go func() {
		defer close(stopped)
		for i := 1000; i < 1400; i++ {
			select {
			case <-stop:
				return
			default:
				if _, err := db.PutAudit(context.Background(), ptr(sample(i))); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	reader := openDB(t, dir, audit.ReadOnly())
	for i, from := range []*audit.DB{db, reader} {
		dest := filepath.Join(t.TempDir(), "copies", fmt.Sprint(i))
		rep, err := from.Backup(context.Background(), dest)
		if err != nil || rep.Audits < 100 || !rep.Verified.OK() || rep.End < rep.Applied {
			t.Fatalf("%+v, %v", rep, err)
		}
		if _, err := from.Backup(context.Background(), dest); !errors.Is(err, fs.ErrExist) {
			t.Fatalf("onto a store: %v", err)
		}
		copied := openDB(t, dest)
		if copied.Recovery().Rebuilt {
			t.Fatal("the copy had to be rebuilt")
		}
		putSamples(t, copied, 5000, 5010)
		wantSound(t, copied)
		closeDB(t, copied)
	}
}

func TestTrimmedStoreNeedsABackupWhenSQLiteIsLost(t *testing.T) {
	t.Parallel()
	dir, lines := closedStore(t, 0, 200, audit.WithSegmentBytes(4000), audit.WithRetention(audit.RetainNone))
	db := openDB(t, dir)
	s, err := db.Stats(context.Background())
	if err != nil || s.JournalFirst == 0 {
		t.Fatalf("nothing was trimmed: %+v, %v", s, err)
	}
	wantAll(t, db, lines)
	closeDB(t, db)
	removeSQLite(t, dir)
	for range 2 { // no empty store is made in its place
		if _, err := audit.Open(dir); !errors.Is(err, wal.ErrGap) || !strings.Contains(err.Error(), "backup") {
			t.Fatalf("got %v", err)
		}
		if _, err := os.Stat(filepath.Join(dir, "audit.db")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal("a database was made")
		}
	}
}

func TestDoubtAfterAnUncleanEnd(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	for _, retention := range []audit.Retention{audit.RetainAll, audit.RetainNone} {
		t.Run(retention.String(), func(t *testing.T) {
			dir, lines := closedStore(t, 0, 200, audit.WithSegmentBytes(4000), audit.WithRetention(retention))
			db := openDB(t, dir)
			for id, line := range putSamples(t, db, 200, 300) {
				lines[id] = line
			}
			wantSound(t, db)
			left := killed(t, dir)
			if err := os.Remove(filepath.Join(left, "audit.db-wal")); err != nil {
				t.Fatal(err)
			}
			if needs, err := audit.NeedsRecovery(context.Background(), left); err != nil || needs == "" {
				t.Fatalf("%v, %v", needs, err)
			}
			after := openDB(t, left)
			rec := after.Recovery()
			if rec.Rebuilt != (retention == audit.RetainAll) || rec.Checked == rec.Rebuilt || len(rec.Notes) == 0 {
				t.Fatalf("%+v", rec)
			}
			if rec.Rebuilt {
				if _, err := os.Stat(filepath.Join(rec.Aside, "audit.db")); err != nil {
					t.Fatal("the suspect database is gone", err)
				}
			}
			wantAll(t, after, lines)
		})
	}
}

func TestPartsOfOtherStoresAreRefused(t *testing.T) {
	t.Parallel()
	make := func(name string, from, to int) string {
		dir := filepath.Join(t.TempDir(), name)
		db := openDB(t, dir)
		putSamples(t, db, from, to)
		closeDB(t, db)
		return dir
	}
	one, two := make("one", 0, 50), make("two", 50, 100)
	swap := func(part string) string {
		dir := killed(t, one)
		if err := os.RemoveAll(filepath.Join(dir, part)); err != nil {
			t.Fatal(err)
		}
		src := filepath.Join(two, part)
		if st, err := os.Stat(src); err == nil && st.IsDir() {
			err = os.CopyFS(filepath.Join(dir, part), os.DirFS(src))
			if err != nil {
				t.Fatal(err)
			}
		} else if b, err := os.ReadFile(src); err != nil || os.WriteFile(filepath.Join(dir, part), b, 0o600) != nil {
			t.Fatal(err)
		}
		return dir
	}
	for _, part := range []string{"audit.db", "wal", "store.json"} {
		_, err := audit.Open(swap(part))
		var corrupt *wal.CorruptError
		if !errors.Is(err, audit.ErrMismatch) && !errors.Is(err, wal.ErrAhead) && !errors.As(err, &corrupt) {
			t.Errorf("%s of another store: %v", part, err)
		}
	}
	// The same journal, of an earlier time.
	dir := killed(t, one)
	db := openDB(t, dir)
	putSamples(t, db, 200, 220)
	closeDB(t, db)
	older := killed(t, dir)
	if err := os.RemoveAll(filepath.Join(older, "wal")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(older, "wal"), os.DirFS(filepath.Join(one, "wal"))); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(older); !errors.Is(err, wal.ErrAhead) {
		t.Errorf("a journal of an earlier time: %v", err)
	}
	// A database of an earlier time lacks what the journal has. That it was copied whole cannot be told from
	// it, so it is rebuilt.
	if err := os.WriteFile(filepath.Join(dir, "audit.db"), must(os.ReadFile(filepath.Join(one, "audit.db"))), 0o600); err != nil {
		t.Fatal(err)
	}
	db = openDB(t, dir)
	if rec := db.Recovery(); !rec.Rebuilt || rec.Replayed != 70 {
		t.Errorf("%+v", rec)
	}
	wantSound(t, db)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestStoresAreNotMadeAmongOtherFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), []byte("words"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(dir); !errors.Is(err, audit.ErrNoStore) || !strings.Contains(err.Error(), "thesis.txt") {
		t.Fatalf("got %v", err)
	}
	if _, err := audit.Open(filepath.Join(dir, "thesis.txt")); err == nil {
		t.Fatal("a file is no folder")
	}
	if entries := must(os.ReadDir(dir)); len(entries) != 1 {
		t.Fatalf("left over: %v", entries)
	}
}

func TestWhatAStoreWasMadeWithStays(t *testing.T) {
	t.Parallel()
	dir, journal := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "journal")
	created, err := audit.Init(t.Context(), dir, audit.WithTimeUnit(audit.Seconds), audit.WithJournalDir(journal), audit.WithSegmentBytes(4000))
	if err != nil || !created {
		t.Fatal(created, err)
	}
	if created, err := audit.Init(t.Context(), dir); err != nil || created {
		t.Fatal(created, err)
	}
	if got, err := audit.JournalDir(dir); err != nil || got != journal {
		t.Fatal(got, err)
	}
	if _, err := audit.Open(dir, audit.WithTimeUnit(audit.Milliseconds)); !errors.Is(err, audit.ErrInvalid) {
		t.Fatalf("another unit: %v", err)
	}
	if _, err := audit.Open(dir, audit.WithJournalDir(dir)); !errors.Is(err, audit.ErrInvalid) {
		t.Fatalf("another journal: %v", err)
	}
	if _, err := audit.Init(t.Context(), filepath.Join(t.TempDir(), "second"), audit.WithJournalDir(journal)); !errors.Is(err, audit.ErrMismatch) {
		t.Fatalf("another store's journal: %v", err)
	}
	db := openDB(t, dir)
	if db.TimeUnit() != audit.Seconds {
		t.Fatal(db.TimeUnit())
	}
	putSamples(t, db, 0, 50)
	if s, err := db.Stats(context.Background()); err != nil || s.Segments < 3 {
		t.Fatalf("%+v, %v", s, err)
	}
	for name, want := range map[string]fs.FileMode{"": 0o700, "store.json": 0o600, "audit.db": 0o600, "audit.db-wal": 0o600} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%q: %v, %v", name, st.Mode(), err)
		}
	}
}

func TestMetricsAreTold(t *testing.T) {
	var mu sync.Mutex
	var synced, applied int
	db := openDB(t, filepath.Join(t.TempDir(), "store"), audit.WithMetrics(audit.Metrics{
		Synced:  func(_ time.Duration, records int, _ int64) { mu.Lock(); synced += records; mu.Unlock() },
		Applied: func(_ time.Duration, records int, _ time.Duration) { mu.Lock(); applied += records; mu.Unlock() },
		Backlog: func(records int, bytes int64) {
			if records < 0 || bytes < 0 {
				t.Error(records, bytes)
			}
		},
	}))
	putSamples(t, db, 0, 100)
	closeDB(t, db)
	if synced != 100 || applied != 100 {
		t.Fatalf("synced %d, applied %d", synced, applied)
	}
}

func TestSyncIntervalIsSeenAtOnce(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "store"), audit.WithDurability(wal.SyncInterval(time.Hour)))
	lines := putSamples(t, db, 0, 10)
	for id, line := range lines {
		if raw, err := db.GetRaw(context.Background(), id); err != nil || string(raw) != line {
			t.Fatalf("%s, %v", raw, err)
		}
	}
	if recent, err := db.ListRecent(context.Background(), 100); err != nil || len(recent) != 10 {
		t.Fatalf("%d, %v", len(recent), err)
	}
	wantAll(t, db, lines)
}

func TestReindexAndDamagedForensics(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir)
	lines := putSamples(t, db, 0, 100)
	var last uint64
	if err := db.Reindex(context.Background(), func(done, total uint64) { last = done }); err != nil || last != 100 {
		t.Fatal(last, err)
	}
	wantAll(t, db, lines)
}

func TestRawBytesAreTheCallersOwn(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "store"))
	for id, line := range putSamples(t, db, 0, 1) {
		for range 2 {
			raw := must(db.GetRaw(context.Background(), id))
			if !bytes.Equal(raw, []byte(line)) {
				t.Fatalf("%s", raw)
			}
			clear(raw)
		}
	}
}

// newForeignJournal lays out a journal by the description of the format alone: small segments, a mark now
// and then, zeros after the data. It returns how to append to it, and how to end it.
func newForeignJournal(t *testing.T, dir string, segment int64) (appendLine func(string), end func()) {
	t.Helper()
	w, err := walspec.NewWriter(dir, walspec.Options{SegmentBytes: segment, Zeros: 5000})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	appendLine = func(line string) {
		if n++; n%7 == 0 {
			if _, err := w.Mark(w.End()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Append([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	return appendLine, func() {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
