package audit_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/wal"
)

// openerEnv makes the test binary a process that opens and closes the store in this folder.
const openerEnv = "AUDITSQL_TEST_OPENER"

// beOpener opens and closes a store until it is killed, puts a record each second time, and prints a line at
// each open and each closed one.
func beOpener(dir string) error {
	for i := 0; ; i++ {
		db, err := audit.Open(dir, audit.WithReads(audit.Acknowledged))
		if err != nil {
			return err
		}
		fmt.Println("open")
		if i%2 == 1 {
			q := sample(os.Getpid()*1000 + i)
			if _, err := db.PutAudit(context.Background(), &q); err != nil {
				return err
			}
		}
		if err := db.Close(); err != nil {
			return err
		}
		fmt.Println("closed")
	}
}

// Dying while opening or closing must not look as if somebody had been at the files: that would cost a
// rebuild, and nothing is wrong.
func TestOpeningAndClosingKilledMakesNoDoubt(t *testing.T) {
	t.Parallel()
	t.Logf("-kill-seed=%d", *killSeed)
	random := rand.New(rand.NewPCG(*killSeed, 1))
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	dir, _ := closedStore(t, 0, 20)
	for round := range rounds {
		killOpener(t, dir, random)
		db := openDB(t, dir)
		if rec := db.Recovery(); rec.Rebuilt || rec.Checked || rec.Created || rec.Rejected > 0 {
			t.Fatalf("round %d: %+v", round, rec)
		}
		closeDB(t, db)
		db = openDB(t, dir)
		if rec := db.Recovery(); rec.Rebuilt || rec.Checked || rec.Replayed > 0 {
			t.Fatalf("round %d, opened again: %+v", round, rec)
		}
		if round == rounds-1 {
			wantSound(t, db)
		}
		closeDB(t, db)
	}
}

// killOpener kills an opener at a random moment of a round that it has timed beforehand.
func killOpener(t *testing.T, dir string, random *rand.Rand) {
	t.Helper()
	opener, stderr := inRole(openerEnv, dir)
	out, err := opener.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := opener.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	began := time.Now()
	seen, enough := 0, 4+random.IntN(4) // two rounds, of which one has put, and on to an open or a closed one
	for seen < enough && lines.Scan() {
		if seen++; seen == 1 {
			began = time.Now()
		}
	}
	if seen == enough {
		// Nothing is waited for: this chooses the moment.
		time.Sleep(time.Duration(random.Int64N(1 + int64(time.Since(began))/int64(seen-1))))
	}
	opener.Process.Kill()
	opener.Wait()
	if seen < enough {
		t.Fatalf("the opener ended by itself: %s", stderr.String())
	}
}

// While one process recovers a store, another that wants to read it is told to wait; beside a writer that goes on
// it is not.
func TestARecoveryThatIsUnderWayIsWaitedFor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	closeDB(t, openDB(t, dir))
	needs := func(want bool) {
		t.Helper()
		if got, err := audit.NeedsRecovery(context.Background(), dir); (got != "") != want || err != nil {
			t.Fatalf("%v, %v", got, err)
		}
	}
	needs(false)
	db := openDB(t, dir)
	needs(false)
	closeDB(t, db)
	journal, _, err := wal.Open(filepath.Join(dir, "wal"), wal.Options{LockNote: "recovering", Cursor: func() (wal.Offset, error) {
		needs(true)
		return 0, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	needs(true)
	// Others who gave up waiting for the lock have taken nothing away.
	for range 2 {
		if _, err := audit.Recover(context.Background(), dir, audit.WithLockWait(time.Millisecond)); !errors.Is(err, audit.ErrLocked) {
			t.Fatal(err)
		}
		needs(true)
	}
	if err := journal.Close(); err != nil {
		t.Fatal(err)
	}
	needs(false)

	// A recovery says so of itself.
	db = openDB(t, dir)
	s := openShell(t, dir)
	s.do("BEGIN IMMEDIATE") // keeps the records from SQLite
	putSamples(t, db, 0, 20)
	dir = killed(t, dir)
	s.do("ROLLBACK")
	seen := 0
	if _, err := audit.Recover(t.Context(), dir, audit.WithLogger(slog.New(lookAtLog{slog.DiscardHandler, func() {
		seen++
		needs(true)
	}}))); err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Fatal("the recovery has told nothing")
	}
	needs(false)
}

// lookAtLog calls f for each line of a log.
type lookAtLog struct {
	slog.Handler
	f func()
}

func (l lookAtLog) Enabled(context.Context, slog.Level) bool { return true }

func (l lookAtLog) Handle(context.Context, slog.Record) error { l.f(); return nil }
