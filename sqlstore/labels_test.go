package sqlstore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/sqlstore"
)

func TestLabels(t *testing.T) {
	t.Parallel()
	db, ctx := newDB(t), t.Context()
	apply(t, db, samples(0, 20)...)
	err := db.PutLabels(ctx, []sqlstore.Label{
		{Hash: hx("agent 1"), Label: "planner"}, {Hash: strings.ToUpper(hx("agent 2")), Label: "it's 50% \"done\"; --"},
		{Hash: hx("source 0"), Label: "to be removed"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.PutLabels(ctx, []sqlstore.Label{{Hash: hx("agent 1"), Label: "scheduler"}, {Hash: hx("source 0")}, {Hash: hx("none")}}); err != nil {
		t.Fatal(err)
	}
	got, err := db.Labels(ctx)
	want := map[string]string{hx("agent 1"): "scheduler", hx("agent 2"): "it's 50% \"done\"; --"}
	if err != nil || len(got) != 2 || want[got[0].Hash] != got[0].Label || want[got[1].Hash] != got[1].Label {
		t.Errorf("%+v, %v", got, err)
	}
	wantRows(t, db, `SELECT label FROM agents WHERE agent_id = '`+hx("agent 1")+`'`, "scheduler")

	for _, bad := range []string{"", "abc", hx("a") + "0", strings.Repeat("g", 64), hx("a")[:63] + "'"} {
		if err := db.PutLabels(ctx, []sqlstore.Label{{Hash: hx("new"), Label: "new"}, {Hash: bad, Label: "x"}}); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
	if again, err := db.Labels(ctx); err != nil || fmt.Sprint(again) != fmt.Sprint(got) {
		t.Errorf("half of a refused list stayed: %+v, %v", again, err)
	}
}

func TestLabelsBesideAWriter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	if err := sqlstore.PutLabels(t.Context(), path, nil, nil); !errors.Is(err, sqlstore.ErrNotFound) {
		t.Errorf("in no database: %v", err)
	}
	db := open(t, path, sqlstore.Options{})
	for i := range 10 {
		apply(t, db, samples(i*10, i*10+10)...)
		if err := sqlstore.PutLabels(t.Context(), path, []sqlstore.Label{{Hash: hx(fmt.Sprint(i)), Label: "x"}}, nil); err != nil {
			t.Fatal(err)
		}
		if db.WALBytes() == 0 {
			t.Error("-wal was emptied")
		}
	}
	if ls, err := db.Labels(t.Context()); err != nil || len(ls) != 10 {
		t.Errorf("%d labels, %v", len(ls), err)
	}
	if _, problems := check(t, db); len(problems) > 0 {
		t.Errorf("%q", problems)
	}

	// After a writer was killed, the next one has to find -wal as it was.
	crashed := filepath.Join(t.TempDir(), "audit.db")
	copyDatabase(t, path, crashed)
	before, err := os.Stat(crashed + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if err := sqlstore.PutLabels(t.Context(), crashed, []sqlstore.Label{{Hash: hx("late"), Label: "x"}}, nil); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(crashed + "-wal"); err != nil || after.Size() < before.Size() {
		t.Errorf("-wal: %v bytes, %v; had %d", after, err, before.Size())
	}
	again := open(t, crashed, sqlstore.Options{})
	if ls, err := again.Labels(t.Context()); err != nil || len(ls) != 11 {
		t.Errorf("%d labels, %v", len(ls), err)
	}
	wantRows(t, again, `SELECT count(*) FROM audits`, "100")

	// In a store that was closed cleanly nothing is left behind.
	mustClose(t, again)
	if err := sqlstore.PutLabels(t.Context(), crashed, []sqlstore.Label{{Hash: hx("later"), Label: "x"}}, nil); err != nil {
		t.Fatal(err)
	}
	if got := names(t, filepath.Dir(crashed)); fmt.Sprint(got) != "[audit.db]" {
		t.Errorf("files are %q", got)
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db, ctx := open(t, path, sqlstore.Options{}), t.Context()
	s, err := db.Stats(ctx)
	if err != nil || s.Audits != 0 || s.Agents != 0 || s.Oldest != nil || s.Newest != nil || s.RecentAudits != 0 || s.PageSize != 8192 {
		t.Errorf("empty: %+v, %v", s, err)
	}
	apply(t, db, samples(0, 1500)...)
	if _, err := db.Apply(ctx, &sqlstore.Batch{Rejected: []sqlstore.Rejected{{Offset: 1 << 30, Reason: "r"}}, Cursor: 1<<30 + 5}); err != nil {
		t.Fatal(err)
	}
	s, err = db.Stats(ctx)
	fi, serr := os.Stat(path)
	if err != nil || serr != nil {
		t.Fatal(err, serr)
	}
	if s.Audits != 1500 || s.Agents != 7 || s.Contributions != 4500 || s.Rejected != 1 || s.Cursor != 1<<30+5 ||
		*s.Oldest != 1_700_000_000_000 || *s.Newest != 1_700_000_014_990 || s.RecentAudits != 1000 || s.RecentSpan != 9990 ||
		s.FileBytes != fi.Size() || s.WALBytes != db.WALBytes() || s.WALBytes == 0 {
		t.Errorf("%+v", s)
	}
	// It has to stay cheap: every count comes off the end of an index.
	for _, c := range clients(t) {
		for _, query := range []string{`SELECT max(idx) FROM entry`, `SELECT min(timestamp) FROM audit`, `SELECT max(id) FROM agent`} {
			if plan, err := c.run(t, path, "EXPLAIN QUERY PLAN "+query); err != nil || !strings.Contains(plan, "SEARCH") {
				t.Errorf("%s: %s, %v", query, plan, err)
			}
		}
	}
}

// A database that another one replaces in the middle of a put is not the one whose labels will be read. The put fails, and leaves alone
// what the other one has beside it.
func TestLabelsForADatabaseThatIsMoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, aside := filepath.Join(dir, "audit.db"), filepath.Join(dir, "aside")
	mustClose(t, open(t, path, sqlstore.Options{}))
	if err := os.Mkdir(aside, 0o700); err != nil {
		t.Fatal(err)
	}
	var next *sqlstore.DB
	err := sqlstore.PutLabels(t.Context(), path, []sqlstore.Label{{Hash: hx("agent 1"), Label: "x"}}, func(sqlstore.Meta) error {
		for _, suffix := range []string{"-shm", "-wal", ""} {
			if err := os.Rename(path+suffix, filepath.Join(aside, "audit.db"+suffix)); err != nil {
				t.Fatal(err)
			}
		}
		next = open(t, path, sqlstore.Options{})
		return nil
	})
	if !errors.Is(err, sqlstore.ErrMoved) {
		t.Errorf("got %v", err)
	}
	if err := next.CheckFiles(); err != nil {
		t.Error(err)
	}
	apply(t, next, samples(0, 5)...)
}

// Who holds writes is alone with the database, which can be read and moved.
func TestHoldWrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	apply(t, db, samples(0, 5)...)
	mustClose(t, db)
	put := func() error {
		shell, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(0)")
		if err != nil {
			t.Fatal(err)
		}
		defer shell.Close()
		_, err = shell.Exec(`INSERT INTO label (hash, label) VALUES (?, 'x')`, hx("agent 1"))
		return err
	}
	release, err := sqlstore.HoldWrites(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := put(); err == nil {
		t.Error("somebody wrote")
	}
	if m, err := sqlstore.ReadCursor(t.Context(), path); err != nil || !m.Exists {
		t.Errorf("%+v, %v", m, err)
	}
	if err := errors.Join(release(), release()); err != nil {
		t.Fatal(err)
	}
	if got := names(t, filepath.Dir(path)); fmt.Sprint(got) != "[audit.db]" {
		t.Errorf("files are %q", got)
	}
	if err := put(); err != nil {
		t.Error(err)
	}
}
