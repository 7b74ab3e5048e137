//go:build unix

package audit_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/wal"
)

// crampedEnv makes the test binary a writer in this folder whose files may not grow for ever.
const crampedEnv = "AUDITSQL_TEST_CRAMPED"

func init() { roles[crampedEnv] = beCramped }

// beCramped puts records of 200 kB until SQLite's database finds no room, and prints how many were acknowledged.
func beCramped(dir string) error {
	signal.Ignore(syscall.SIGXFSZ) // then it is an error of the write
	db, err := audit.Open(dir, audit.WithSegmentBytes(4<<20), audit.WithRetention(audit.RetainNone), audit.WithReads(audit.Acknowledged))
	if err != nil {
		return err
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	limit.Cur = 128 << 20 // -wal grows to 100 MB before the first checkpoint, and the database with the second
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	ctx := context.Background()
	n := 0
	for ; n < 2000 && err == nil; n++ {
		q := large(n)
		if _, err = db.PutAudit(ctx, &q); err != nil {
			break
		}
		fmt.Println(n)
		for _, err = range db.RawAudits(ctx, audit.Filter{Limit: 1}) { // so that SQLite has it
			break
		}
	}
	// On a slow disk it is -wal, or another checkpoint, that finds no room first.
	if !errors.Is(err, wal.ErrFailed) {
		return fmt.Errorf("%d records, then %w", n, err)
	}
	fmt.Fprintln(os.Stderr, err)
	limit.Cur = limit.Max // room again
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	q := large(n + 1)
	if _, err := db.PutAudit(ctx, &q); !errors.Is(err, wal.ErrFailed) {
		return fmt.Errorf("a put afterwards: %w", err)
	}
	if err := db.Close(); err == nil {
		return errors.New("closed without an error")
	}
	return nil
}

func large(i int) audit.QueryAudit {
	q := sample(i)
	q.Attributes["answer"] = strings.Repeat("because ", 25_000)
	return q
}

// A checkpoint that fails beside the applier says nothing of what is on disk: the store takes no more, what it had
// acknowledged is in the journal, and opened with room again it has everything.
func TestAFullDiskUnderACheckpointLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("writes half a gigabyte")
	}
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	writer, said := inRole(crampedEnv, dir)
	out, err := writer.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, said.String())
	}
	t.Log(said.String())
	acknowledged := len(strings.Fields(string(out)))
	if acknowledged < 50 { // 10 MB: there was room
		t.Fatalf("%d acknowledged", acknowledged)
	}
	db := openDB(t, dir)
	for i := range acknowledged {
		wantBytes(t, db, large(i), fmt.Sprintf("record %d of %d that were acknowledged", i, acknowledged))
	}
	wantSound(t, db)
}
