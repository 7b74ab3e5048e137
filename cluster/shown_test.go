package cluster_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
)

// holdSQLite keeps a copy from applying anything until release is called.
func holdSQLite(t *testing.T, dir string) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "audit.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if _, err := db.Exec("ROLLBACK"); err != nil {
			t.Error(err)
		}
	}
}

// A put may find that its record was read from the log, before the reader has told anybody. Whoever is told that finds the record.
func TestAPutFindsARecordThatIsBeingRead(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	dir := t.TempDir()
	a := openNode(t, t.TempDir(), l, named("a"))
	o := named("b")
	o.Poll = time.Hour // it reads when it is told to
	b := openNode(t, dir, l, o)
	putOne(t, b, sample(0)) // it sleeps after that
	time.Sleep(100 * time.Millisecond)
	release := holdSQLite(t, dir)
	putOne(t, a, sample(1))
	h, err := a.PublishHead(t.Context()) // to compare it, the reader waits for SQLite
	if err != nil {
		t.Fatal(err)
	}
	go b.WaitFor(t.Context(), h.Sequence)
	for r := (audit.PutResult{}); !r.Duplicate; {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		results, err := b.PutAudits(ctx, []*audit.QueryAudit{sample(1)})
		cancel()
		if err == nil {
			r = results[0]
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.GetRaw(ctx, sample(1).QueryID); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a question does not wait for what a put has found: %v", err)
	}
	if n := b.Cursor(); n < 2 {
		t.Errorf("the cursor is %d", n)
	}
	release()
	wantRecord(t, b, sample(1))
}

// SQLite fails after the last message was decided. The node says so at once, and gives the log no more puts.
func TestACopyThatFailsAfterTheLastMessage(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	dir := t.TempDir()
	n := openNode(t, dir, l, fast)
	putOne(t, n, sample(1))
	wantRecord(t, n, sample(1))
	time.Sleep(1100 * time.Millisecond) // until the files are looked for again
	if err := os.Rename(filepath.Join(dir, "audit.db"), filepath.Join(dir, "gone.db")); err != nil {
		t.Fatal(err)
	}
	putOne(t, n, sample(2)) // it is decided, and SQLite fails later
	for began := time.Now(); n.Err() == nil; time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the node has no error")
		}
	}
	if _, err := n.PutAudit(t.Context(), sample(3)); err == nil || errors.Is(err, cluster.ErrUndecided) || len(l.All()) != 2 {
		t.Errorf("%v, and the log has %d messages", err, len(l.All()))
	}
	wantRecord(t, n, sample(1)) // it was applied before
	if _, err := n.GetRaw(t.Context(), sample(2).QueryID); err == nil || errors.Is(err, audit.ErrNotFound) {
		t.Errorf("a record that was decided, and that SQLite does not have: %v", err)
	}
}

// A node that was killed shows from its beginning what it had answered, also what its SQLite did not have yet.
func TestANodeThatWasKilledShowsWhatItHadAnswered(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	dir, left := t.TempDir(), filepath.Join(t.TempDir(), "left")
	n := openNode(t, dir, l, named("a"))
	putOne(t, n, sample(0))
	wantRecord(t, n, sample(0))
	release := holdSQLite(t, dir)
	for i := range 20 {
		putOne(t, n, sample(1+i))
	}
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	release()
	closeNode(t, n)
	again := openNode(t, left, l, named("a"))
	recent, err := again.ListRecent(t.Context(), 100)
	if err != nil || len(recent) != 21 {
		t.Errorf("%d records, %v, want 21", len(recent), err)
	}
}
