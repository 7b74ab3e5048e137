package audit_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/wal"
)

// samples makes records [from, to).
func samples(from, to int) (qs []*audit.QueryAudit) {
	for i := from; i < to; i++ {
		qs = append(qs, ptr(sample(i)))
	}
	return qs
}

// wantRoom checks that nothing of the backlog is held once everything is applied.
func wantRoom(t *testing.T, db *audit.DB) {
	t.Helper()
	for _, err := range db.RawAudits(context.Background(), audit.Filter{ByAdmission: true}) { // waits for the applier
		if err != nil {
			t.Fatal(err)
		}
	}
	if s, err := db.Stats(context.Background()); err != nil || s.Backlog != 0 || s.BacklogBytes != 0 {
		t.Fatalf("a store at rest holds %d records, %d bytes of its backlog; %v", s.Backlog, s.BacklogBytes, err)
	}
}

// atSync calls do, while the journal waits for it, at the n-th sync.
func atSync(n int, do func()) audit.Metrics {
	return audit.Metrics{Synced: func(time.Duration, int, int64) {
		if n--; n == 0 {
			do()
		}
	}}
}

// poison makes the journal fail when it begins its next segment: its lock file is gone.
func poison(t *testing.T, dir string) {
	if err := os.Remove(filepath.Join(dir, "wal", "LOCK")); err != nil {
		t.Error(err)
	}
}

// A group that runs over several segments can fail when its first records are durable. The applier takes
// those all the same, though their puts have failed; their room is given back once.
func TestRoomOfAGroupThatFailsInTheMiddle(t *testing.T) {
	const segment = 1000
	t.Run("applied before it fails", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "store")
		applied := make(chan bool, 100)
		metrics := atSync(3, func() {
			<-applied
			poison(t, dir)
		})
		metrics.Applied = func(time.Duration, int, time.Duration) { applied <- true }
		db := openDB(t, dir, audit.WithSegmentBytes(segment), audit.WithMetrics(metrics))
		if _, err := db.PutAudits(context.Background(), samples(0, 100)); !errors.Is(err, wal.ErrFailed) {
			t.Fatal(err)
		}
		wantRoom(t, db)
	})
	t.Run("applied after it has failed", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "store")
		db := openDB(t, dir, audit.WithSegmentBytes(segment), audit.WithMetrics(atSync(3, func() { poison(t, dir) })))
		s := openShell(t, dir)
		s.do("BEGIN IMMEDIATE") // keeps the applier, which has begun, from committing
		if _, err := db.PutAudits(context.Background(), samples(0, 100)); !errors.Is(err, wal.ErrFailed) {
			t.Fatal(err)
		}
		s.do("ROLLBACK")
		wantRoom(t, db)
		if stats := must(db.Stats(context.Background())); stats.Audits == 0 || stats.Audits == 100 {
			t.Fatalf("%d records were stored; some should be", stats.Audits)
		}
	})
}

func TestRoomOfABatchThatEndsEarly(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "store"), audit.WithBacklog(64, 0))
	const n = 16 // what one part of a batch holds, in a backlog of 64
	putSamples(t, db, 0, n)
	wantRoom(t, db)
	// Each of them is looked for in SQLite, and the batch ends at every place in turn.
	interrupted := 0
	for look := 0; ; look++ {
		_, err := db.PutAudits(endAtLook(look), samples(0, n))
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("at look %d: %v", look, err)
		}
		interrupted++
		wantRoom(t, db)
	}
	if interrupted < n {
		t.Fatalf("interrupted at %d places only", interrupted)
	}
	putSamples(t, db, 0, 4*n)
	wantRoom(t, db)
}

// putters put until they are told that the store takes no more, and return what was acknowledged.
func putters(db *audit.DB, n int) (ended func() (acknowledged map[audit.QueryID]bool, errs []error)) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	acknowledged, errs := map[audit.QueryID]bool{}, []error(nil)
	for hand := range n {
		wg.Go(func() {
			for i := hand; ; i += n {
				id, err := db.PutAudit(context.Background(), ptr(sample(i)))
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
					mu.Unlock()
					return
				}
				acknowledged[id] = true
				mu.Unlock()
			}
		})
	}
	return func() (map[audit.QueryID]bool, []error) {
		wg.Wait()
		return acknowledged, errs
	}
}

// wantFailed checks that everybody was told, that what was acknowledged can be read, and that all of it
// is there when the store is opened again.
func wantFailed(t *testing.T, db *audit.DB, acknowledged map[audit.QueryID]bool, errs []error) {
	t.Helper()
	for _, err := range errs {
		if !errors.Is(err, wal.ErrFailed) {
			t.Fatalf("put: %v", err)
		}
	}
	if err := db.Err(); !errors.Is(err, wal.ErrFailed) {
		t.Fatalf("Err: %v", err)
	}
	all := func(db *audit.DB) {
		t.Helper()
		for id := range acknowledged {
			if _, err := db.GetRaw(context.Background(), id); err != nil {
				t.Fatal(err)
			}
		}
	}
	all(db)
	if err := db.Close(); !errors.Is(err, wal.ErrFailed) {
		t.Fatalf("close: %v", err)
	}
	if err := db.Err(); !errors.Is(err, wal.ErrFailed) || !errors.Is(err, audit.ErrClosed) {
		t.Fatalf("Err of the closed store: %v", err)
	}
	again := openDB(t, db.Dir())
	all(again)
	wantSound(t, again)
}

func TestPutsAndCloseEndWhenSQLiteHasFailed(t *testing.T) {
	const room = 8
	dir := filepath.Join(t.TempDir(), "store")
	full := make(chan bool)
	synced := 0
	db := openDB(t, dir, audit.WithBacklog(room, 0), audit.WithMetrics(audit.Metrics{
		Synced: func(_ time.Duration, records int, _ int64) {
			if synced += records; synced == room {
				close(full)
			}
		},
	}))
	s := openShell(t, dir)
	s.do("BEGIN IMMEDIATE", "DROP TABLE audit") // a row of which every record needs
	ended := putters(db, 2*room)
	<-full // and nothing makes room before the shell lets go
	s.do("COMMIT")
	acknowledged, errs := ended()
	if len(acknowledged) != room || len(errs) != 2*room {
		t.Fatalf("%d acknowledged, %d told", len(acknowledged), len(errs))
	}
	wantFailed(t, db, acknowledged, errs)
}

func TestPutsAndCloseEndWhenTheJournalHasFailed(t *testing.T) {
	for name, level := range map[string]wal.Durability{"group": wal.SyncGroup, "interval": wal.SyncInterval(time.Hour)} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			db := openDB(t, dir, audit.WithBacklog(4, 0), audit.WithSegmentBytes(1000), audit.WithDurability(level),
				audit.WithMetrics(atSync(10, func() { poison(t, dir) })))
			acknowledged, errs := putters(db, 16)()
			if len(acknowledged) == 0 || len(errs) != 16 {
				t.Fatalf("%d acknowledged, %d told", len(acknowledged), len(errs))
			}
			wantFailed(t, db, acknowledged, errs)
		})
	}
}

// At SyncInterval nothing is applied before it is synced: whoever waits for room must not wait for the
// interval to pass.
func TestAFullBacklogDoesNotWaitForTheInterval(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "store"), audit.WithBacklog(8, 0), audit.WithDurability(wal.SyncInterval(time.Hour)))
	wantAll(t, db, putSamples(t, db, 0, 50))
}

// Nor those who waited already when the records in front of them were not in the journal yet.
func TestManyWhoWaitForRoomDoNotWaitForTheInterval(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "store"), audit.WithBacklog(8, 0), audit.WithDurability(wal.SyncInterval(time.Hour)))
	var puts sync.WaitGroup
	for i := range 200 {
		puts.Go(func() {
			if _, err := db.PutAudit(t.Context(), ptr(sample(i))); err != nil {
				t.Error(err)
			}
		})
	}
	puts.Wait()
	wantRoom(t, db)
}
