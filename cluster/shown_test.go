package cluster_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
)

// holdSQLite keeps a copy from applying anything until release is called.
func holdSQLite(t *testing.T, dir string) (release func()) {
	t.Helper()
	// It waits while something is applied.
	db, err := sql.Open("sqlite", filepath.Join(dir, "audit.db")+"?_pragma=busy_timeout(10000)")
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

// failSQLite puts a record that is decided, and that the SQLite of the node cannot take any more.
func failSQLite(t *testing.T, n *cluster.Node, dir string, q *audit.QueryAudit) {
	t.Helper()
	time.Sleep(1100 * time.Millisecond) // until the files are looked for again
	if err := os.Rename(filepath.Join(dir, "audit.db"), filepath.Join(dir, "gone.db")); err != nil {
		t.Fatal(err)
	}
	putOne(t, n, q)
	for began := time.Now(); n.Err() == nil; time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the node has no error")
		}
	}
}

// SQLite fails after the last message was decided. The node says so at once, and gives the log no more puts.
func TestACopyThatFailsAfterTheLastMessage(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	dir := t.TempDir()
	n := openNode(t, dir, l, fast)
	putOne(t, n, sample(1))
	wantRecord(t, n, sample(1))
	failSQLite(t, n, dir, sample(2))
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

// When the SQLite of a node has failed, it finds records by their ids. Every other question says what has failed, where, and what to do. None
// answers with less than the node has shown before.
func TestEveryQuestionOfACopyThatHasFailed(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	dir := t.TempDir()
	n := openNode(t, dir, l, fast)
	putOne(t, n, sample(1))
	wantRecord(t, n, sample(1))
	failSQLite(t, n, dir, sample(2))
	ctx, id := t.Context(), sample(1).QueryID
	subject, kinds := *sample(1).Params.Subject, audit.HashKind(0)
	hash := audit.Hash(id)
	for question, ask := range map[string]func() error{
		"a record of the log that SQLite lacks": func() error { _, err := n.GetRaw(ctx, sample(2).QueryID); return err },
		"a record that is nowhere":              func() error { _, err := n.GetAudit(ctx, sample(3).QueryID); return err },
		"Resolve":                               func() error { _, err := n.Resolve(ctx, id.String()[:8]); return err },
		"ResolveHash":                           func() error { _, err := n.ResolveHash(ctx, id.String()[:8], kinds); return err },
		"Identify":                              func() error { _, err := n.Identify(ctx, hash); return err },
		"ListRecent":                            func() error { _, err := n.ListRecent(ctx, 10); return err },
		"LastRecords":                           func() error { _, err := n.LastRecords(ctx, 10, audit.Filter{}); return err },
		"HasAuditsForAgent":                     func() error { _, err := n.HasAuditsForAgent(ctx, audit.AgentID(hash)); return err },
		"Audits":                                func() error { return drained(n.Audits(ctx, audit.Filter{})) },
		"Audits by admission":                   func() error { return drained(n.Audits(ctx, audit.Filter{ByAdmission: true})) },
		"RawAudits":                             func() error { return drained(n.RawAudits(ctx, audit.Filter{Subject: &subject})) },
		"Nearest":                               func() error { _, _, err := n.Nearest(ctx, audit.Filter{}, 1); return err },
		"Trace":                                 func() error { _, err := n.Trace(ctx, id, audit.TraceOptions{}); return err },
		"Impact":                                func() error { return drained(n.Impact(ctx, hash, audit.ImpactOptions{})) },
		"ImpactTotals":                          func() error { _, err := n.ImpactTotals(ctx, hash, audit.ImpactOptions{}); return err },
		"Downstream":                            func() error { d := n.Downstream(hash, audit.DownstreamOptions{}); d.Next(ctx); return d.Err() },
		"Origins":                               func() error { _, err := n.Origins(ctx, id, audit.OriginsOptions{}); return err },
		"Answers":                               func() error { return drained(n.Answers(ctx, subject, "", audit.Filter{})) },
		"Diff":                                  func() error { _, err := n.Diff(ctx, id, sample(2).QueryID); return err },
		"Timeline":                              func() error { _, err := n.Timeline(ctx, audit.TimelineOptions{}); return err },
		"Top":                                   func() error { _, err := n.Top(ctx, audit.TopOptions{By: audit.TopSubjects}); return err },
		"Agents":                                func() error { return drained(n.Agents(ctx, audit.Filter{})) },
		"Count":                                 func() error { _, _, err := n.Count(ctx, audit.Filter{}, audit.Budget{}); return err },
		"Tail":                                  func() error { return drained(n.Tail(ctx, 10, false)) },
		"Follow":                                func() error { return drained(n.Follow(ctx, 0, false)) },
		"Root":                                  func() error { _, _, err := n.Root(ctx); return err },
		"Prove":                                 func() error { _, err := n.Prove(ctx, id, audit.ProveOptions{}); return err },
		"Verify":                                func() error { _, err := n.Verify(ctx, audit.VerifyOptions{}); return err },
		"Backup":                                func() error { _, err := n.Backup(ctx, filepath.Join(t.TempDir(), "copy")); return err },
		"AwaitApplied":                          func() error { return n.AwaitApplied(ctx) },
		"WaitFor":                               func() error { return n.WaitFor(ctx, 2) },
		"PutAudit":                              func() error { _, err := n.PutAudit(ctx, sample(4)); return err },
	} {
		err := ask()
		switch {
		case err == nil:
			t.Errorf("%s is answered", question)
		case errors.Is(err, audit.ErrNotFound):
			t.Errorf("%s says that there is no such record: %v", question, err)
		case !strings.Contains(err.Error(), filepath.Join(dir, "audit.db")) || !strings.Contains(err.Error(), "start it again"):
			t.Errorf("%s does not say what has failed and what to do: %v", question, err)
		}
	}
	wantRecord(t, n, sample(1))
}

// drained returns the error with which a list ends.
func drained[T any](list func(func(T, error) bool)) (last error) {
	for _, err := range list {
		last = err
	}
	return last
}
