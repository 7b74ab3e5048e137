package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/auditsql/auditsql/migrations"
	"github.com/auditsql/auditsql/sqlstore"
)

// files returns the names of a folder's files, with their bytes.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	for name := range files(t, dir) {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// execute runs statements on a file, as any program could.
func execute(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func mustClose(t *testing.T, db *sqlstore.DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenMakesADatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"audit.db", "with space?and#more%20.db", "[a]*.db", "ünïcode.db", "quote'\".db"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			id := strings.Repeat("0f", 16)
			db := open(t, path, sqlstore.Options{StoreID: id, TimeUnit: "us", CreatedBy: "auditsql 1.2"})
			fi, err := os.Stat(path)
			if err != nil || fi.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", fi.Mode(), err)
			}
			wal, err := os.Stat(path + "-wal")
			if err != nil || wal.Mode().Perm() != 0o600 || wal.Size() == 0 {
				t.Errorf("-wal: %+v, %v", wal, err)
			}
			wantRows(t, db, `SELECT * FROM pragma_page_size, pragma_journal_mode, pragma_application_id, pragma_user_version`,
				fmt.Sprintf("8192|wal|%d|%d", migrations.ApplicationID, migrations.Newest))
			wantRows(t, db, `SELECT name, value FROM store WHERE name <> 'created_at'`, "contributions|0", "created_by|auditsql 1.2",
				"cursor|0", "format|1", "opened|1", "rejected|0", "store_id|"+id, "time_unit|us")
			apply(t, db, samples(0, 10)...)
			mustClose(t, db)

			m, err := sqlstore.ReadCursor(t.Context(), path)
			if want := (sqlstore.Meta{Exists: true, Version: sqlstore.Version(), Cursor: 1000, Reach: 1000, StoreID: id, TimeUnit: "us"}); m != want || err != nil {
				t.Errorf("%+v, %v", m, err)
			}
			// Facts stay with the next to open it.
			db = open(t, path, sqlstore.Options{StoreID: strings.Repeat("ee", 16), TimeUnit: "s"})
			wantRows(t, db, `SELECT value FROM store WHERE name IN ('store_id', 'time_unit')`, id, "us")
			mustClose(t, db)
			if _, err := os.Stat(path + "-wal"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("closing leaves -wal: %v", err)
			}
		})
	}
	if got := len(names(t, dir)); got != 5 {
		t.Errorf("files are %q", names(t, dir))
	}
}

func TestLookingChangesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.db")
	if m, err := sqlstore.ReadCursor(t.Context(), path); m != (sqlstore.Meta{}) || err != nil {
		t.Errorf("of nothing: %+v, %v", m, err)
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("a look makes %q", got)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := sqlstore.ReadCursor(t.Context(), path); m != (sqlstore.Meta{}) || err != nil {
		t.Errorf("of an empty file: %+v, %v", m, err)
	}
	mustClose(t, open(t, path, sqlstore.Options{})) // an empty file is as good as none
	before := files(t, dir)
	if m, err := sqlstore.ReadCursor(t.Context(), path); !m.Exists || err != nil {
		t.Errorf("%+v, %v", m, err)
	}
	if after := files(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("a look changed something")
	}
}

// A database as a process leaves it that was killed: nothing is lost, and -wal is read.
func TestUncleanEnd(t *testing.T) {
	t.Parallel()
	live := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, live, sqlstore.Options{})
	apply(t, db, samples(0, 100)...)
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.db")
	copyDatabase(t, live, path)
	if m, err := sqlstore.ReadCursor(t.Context(), path); m.Cursor != 10000 || err != nil {
		t.Errorf("%+v, %v", m, err)
	}
	ro := open(t, path, sqlstore.Options{ReadOnly: true})
	wantRows(t, ro, `SELECT count(*) FROM audits`, "100")
	mustClose(t, ro)
	if wal, err := os.Stat(path + "-wal"); err != nil || wal.Size() == 0 {
		t.Errorf("a reader took -wal away: %v, %v", wal, err)
	}
	again := open(t, path, sqlstore.Options{})
	wantRows(t, again, `SELECT count(*) FROM audits`, "100")
	apply(t, again, samples(100, 110)...)
	mustClose(t, again)
	if got := names(t, dir); fmt.Sprint(got) != "[audit.db]" {
		t.Errorf("closing leaves %q", got)
	}
}

// copyDatabase copies a database that may be open, with its -wal. A shell does the copying: our own
// descriptors would take SQLite's locks with them when they are closed.
func copyDatabase(t *testing.T, from, to string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal"} {
		if out, err := exec.CommandContext(t.Context(), "cp", from+suffix, to+suffix).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

func TestNewerDatabaseIsRefusedAndLeftAsItWas(t *testing.T) {
	t.Parallel()
	for _, unclean := range []bool{false, true} {
		t.Run(fmt.Sprintf("unclean %v", unclean), func(t *testing.T) {
			live := filepath.Join(t.TempDir(), "audit.db")
			db := open(t, live, sqlstore.Options{})
			apply(t, db, samples(0, 10)...)
			dir := t.TempDir()
			path := filepath.Join(dir, "audit.db")
			if unclean { // the version is in -wal only
				execute(t, live, `PRAGMA user_version = 1000`)
				copyDatabase(t, live, path)
			} else {
				mustClose(t, db)
				copyFile(t, live, path)
				execute(t, path, `PRAGMA user_version = 1000`)
			}
			before := files(t, dir)
			for name, err := range map[string]error{
				"look":  func() error { _, err := sqlstore.ReadCursor(t.Context(), path); return err }(),
				"write": func() error { _, err := sqlstore.Open(t.Context(), path, sqlstore.Options{}); return err }(),
				"read": func() error {
					_, err := sqlstore.Open(t.Context(), path, sqlstore.Options{ReadOnly: true})
					return err
				}(),
				"label": sqlstore.PutLabels(t.Context(), path, []sqlstore.Label{{Hash: hx("a"), Label: "a"}}, nil),
			} {
				if !errors.Is(err, sqlstore.ErrNewer) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%s: %v", name, err)
				}
			}
			after := files(t, dir)
			delete(after, "audit.db-shm") // the index of -wal, which reading -wal needs
			if fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("files changed: %q, before %q", names(t, dir), slices.Sorted(maps(before)))
			}
		})
	}
}

func maps(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesWhatIsNoStore(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(path string) error{
		"a folder":         func(path string) error { return os.Mkdir(path, 0o700) },
		"text":             func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte("text "), 5000), 0o600) },
		"a short file":     func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) },
		"zeros":            func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte{0}, 8192), 0o600) },
		"another database": func(path string) error { execute(t, path, `CREATE TABLE x (y)`); return nil },
		"another's version": func(path string) error {
			execute(t, path, `PRAGMA application_id = 77`, `CREATE TABLE x (y)`)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "audit.db")
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			for _, o := range []sqlstore.Options{{}, {ReadOnly: true}} {
				_, err := sqlstore.Open(t.Context(), path, o)
				if !errors.Is(err, sqlstore.ErrNotStore) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
					t.Errorf("open: %v", err)
				}
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
				t.Errorf("left behind: %v, %v", entries, err)
			}
		})
	}
}

func TestOpenOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := sqlstore.Open(t.Context(), filepath.Join(dir, "audit.db"), sqlstore.Options{ReadOnly: true}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reading: %v", err)
	}
	if _, err := sqlstore.Open(t.Context(), filepath.Join(dir, "no", "audit.db"), sqlstore.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("writing in no folder: %v", err)
	}
	if _, err := sqlstore.Open(t.Context(), filepath.Join(dir, "audit.db"), sqlstore.Options{TimeUnit: "h"}); err == nil {
		t.Error("a time unit of hours: no error")
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
}

// A write-ahead log without its database belongs to no database; SQLite would play it into the new one.
func TestOrphanedWALIsNotPlayedIntoANewDatabase(t *testing.T) {
	t.Parallel()
	live := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, live, sqlstore.Options{})
	apply(t, db, samples(0, 10)...)
	path := filepath.Join(t.TempDir(), "audit.db")
	copyDatabase(t, live, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	fresh := open(t, path, sqlstore.Options{})
	wantRows(t, fresh, `SELECT count(*) FROM entry`, "0")
	if _, problems := check(t, fresh); len(problems) > 0 {
		t.Errorf("%q", problems)
	}
}

func TestLeftoversOfMakingAreSwept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"audit.db.new", "audit.db.new-wal", "audit.db.new-journal", "audit.db-shm", "audit.db.newer"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, open(t, filepath.Join(dir, "audit.db"), sqlstore.Options{}))
	if got := names(t, dir); fmt.Sprint(got) != "[audit.db audit.db.newer]" {
		t.Errorf("files are %q", got)
	}
}

func TestManyMakeOneDatabase(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			db, err := sqlstore.Open(context.Background(), path, sqlstore.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.Write(context.Background(), []sqlstore.Mutation{{Key: []byte{byte(i)}}}); err != nil {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	db := open(t, path, sqlstore.Options{})
	wantRows(t, db, `SELECT count(*) FROM kv`, "4")
}

// A database of the first version, with records: the derived tables are made, and have to be filled.
func TestOlderDatabaseIsMigrated(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	old, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	old.SetMaxOpenConns(1)
	p, err := goose.NewProvider(goose.DialectSQLite3, old, migrations.FS, goose.WithLogger(goose.NopLogger()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	r := newSample(1).record(0)
	for _, s := range []string{
		`INSERT INTO store VALUES ('cursor', 0), ('contributions', 0), ('rejected', 0), ('time_unit', 'ms'), ('applying', 'now')`,
		fmt.Sprintf(`INSERT INTO entry VALUES (0, x'%x', 0)`, r.QueryID),
		fmt.Sprintf(`INSERT INTO kv (key, value) VALUES (x'%x', x'%x'), (x'%x', x'')`, keyOf(r), r.Payload, agentKeyOf(r)),
		`UPDATE store SET value = CASE name WHEN 'cursor' THEN 100 ELSE 3 END WHERE name IN ('cursor', 'contributions')`,
		`DELETE FROM store WHERE name = 'applying'`,
	} {
		if _, err := old.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if m, err := sqlstore.ReadCursor(t.Context(), path); m.Version != 1 || m.Cursor != 100 || err != nil {
		t.Errorf("%+v, %v", m, err)
	}
	ro := open(t, path, sqlstore.Options{ReadOnly: true, Older: true}) // does not migrate
	if v, err := ro.Get(t.Context(), keyOf(r)); !bytes.Equal(v, r.Payload) {
		t.Errorf("%q, %v", v, err)
	}
	mustClose(t, ro)
	db := open(t, path, sqlstore.Options{})
	if needs, err := db.NeedsReindex(t.Context()); !needs || err != nil {
		t.Errorf("%v, %v", needs, err)
	}
	if err := db.BuildTree(t.Context(), func(v sqlstore.EntryValue) ([]byte, error) { return v.Value, nil }, nil); err != nil {
		t.Fatal(err)
	}
	if err := db.Reindex(t.Context(), decode, nil); err != nil {
		t.Fatal(err)
	}
	if _, problems := check(t, db); len(problems) > 0 {
		t.Errorf("%q", problems)
	}
	if m, err := sqlstore.ReadCursor(t.Context(), path); m.Version != sqlstore.Version() || err != nil {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestReadOnlyRefusesToWrite(t *testing.T) {
	t.Parallel()
	db, path := guarded(t)
	ro := open(t, path, sqlstore.Options{ReadOnly: true})
	ctx := t.Context()
	for name, err := range map[string]error{
		"write":      ro.Write(ctx, []sqlstore.Mutation{{Key: []byte("k")}}),
		"apply":      func() error { _, err := ro.Apply(ctx, &sqlstore.Batch{}); return err }(),
		"checkpoint": func() error { _, err := ro.Checkpoint(ctx, false); return err }(),
		"reindex":    ro.Reindex(ctx, decode, nil),
		"labels":     ro.PutLabels(ctx, nil),
	} {
		if !errors.Is(err, sqlstore.ErrReadOnly) {
			t.Errorf("%s: %v", name, err)
		}
	}
	beside := filepath.Join(t.TempDir(), "beside.db")
	for _, d := range []*sqlstore.DB{db, ro} {
		for _, query := range []string{
			`DELETE FROM label`, `INSERT INTO kv (key, value) VALUES (x'00', x'00')`, `CREATE TABLE x (y)`, `DROP TABLE kv`,
			`PRAGMA user_version = 9`, `ATTACH '` + beside + `' AS x`, `VACUUM INTO '` + beside + `'`,
			`PRAGMA query_only = 0; INSERT INTO kv (key, value) VALUES (x'00', x'00')`, `VACUUM`, `REINDEX`, `PRAGMA wal_checkpoint(TRUNCATE)`, `SELECT * FROM pragma_wal_checkpoint`,
			`BEGIN`, `/* now */ begin immediate`, `SAVEPOINT x`, `SELECT 1; BEGIN`,
		} {
			rows, err := d.QueryRows(ctx, query)
			if err == nil {
				for rows.Next() {
				}
				err = rows.Err()
				rows.Close()
			}
			if err == nil {
				t.Errorf("%s: no error", query)
			}
		}
	}
	if _, err := os.Stat(beside); err == nil {
		t.Error("a query wrote a file")
	}
	wantRows(t, db, `SELECT * FROM pragma_user_version`, fmt.Sprint(sqlstore.Version()))
}

func TestClosed(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	apply(t, db, samples(0, 3)...)
	mustClose(t, db)
	mustClose(t, db) // again
	ctx := t.Context()
	for name, err := range map[string]error{
		"get":    func() error { _, err := db.Get(ctx, []byte("k")); return err }(),
		"write":  db.Write(ctx, []sqlstore.Mutation{{Key: []byte("k")}}),
		"apply":  func() error { _, err := db.Apply(ctx, &sqlstore.Batch{}); return err }(),
		"cursor": func() error { _, err := db.Cursor(ctx); return err }(),
		"range": func() error {
			for _, err := range db.Range(ctx, nil, nil, false, 0) {
				return err
			}
			return nil
		}(),
		"select": func() error {
			for _, err := range db.Select(ctx, sqlstore.Filter{}) {
				return err
			}
			return nil
		}(),
	} {
		if !errors.Is(err, sqlstore.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// That it is closed does not hide why it takes nothing any more.
func TestClosedAfterAFailure(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	cause := errors.New("the disk has gone")
	db.Fail(cause)
	mustClose(t, db)
	for name, err := range map[string]error{
		"write":             db.Write(t.Context(), []sqlstore.Mutation{{Key: []byte("k")}}),
		"checkpoint":        func() error { _, err := db.Checkpoint(t.Context(), false); return err }(),
		"beside the others": db.CheckpointBeside(t.Context()),
	} {
		if !errors.Is(err, sqlstore.ErrClosed) || !errors.Is(err, sqlstore.ErrFailed) || !errors.Is(err, cause) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckpoint(t *testing.T) {
	t.Parallel()
	db, ctx := newDB(t), t.Context()
	apply(t, db, samples(0, 500)...)
	c, err := db.Checkpoint(ctx, false)
	if err != nil || !c.Complete || c.Applied != 50000 || c.WALBytes == 0 {
		t.Errorf("%+v, %v", c, err)
	}
	// A read that goes on holds up the checkpoint, which says so.
	rows, err := db.QueryRows(ctx, `SELECT * FROM kv`)
	if err != nil || !rows.Next() {
		t.Fatal(err)
	}
	apply(t, db, samples(500, 510)...)
	if c, err := db.Checkpoint(ctx, false); err != nil || c.Complete || c.Applied != 51000 {
		t.Errorf("with a reader: %+v, %v", c, err)
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if c, err = db.Checkpoint(ctx, false); err != nil || !c.Complete {
			t.Errorf("after it: %+v, %v", c, err)
		}
		apply(t, db, samples(510+i, 511+i)...)
		if db.WALBytes() == 0 {
			t.Error("-wal is empty while a writer runs")
		}
	}
	if c, err = db.Checkpoint(ctx, true); err != nil || !c.Complete || c.WALBytes != 0 || c.Applied != 51500 {
		t.Errorf("truncating: %+v, %v", c, err)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	use := func(f func(i int) error) {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := f(i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	ctx := context.Background()
	use(func(i int) error {
		return db.Write(ctx, []sqlstore.Mutation{{Key: []byte("k"), Value: fmt.Append(nil, i)}})
	})
	use(func(i int) error { _, err := db.Get(ctx, []byte("k")); return ignore(err, sqlstore.ErrNotFound) })
	use(func(i int) error { _, err := db.Checkpoint(ctx, false); return err })
	use(func(i int) error { _, err := db.Stats(ctx); return err })
	use(func(i int) error {
		return db.PutLabels(ctx, []sqlstore.Label{{Hash: hx("a"), Label: fmt.Sprint("l", i)}})
	})
	use(func(i int) error {
		n := 0
		for _, err := range db.Select(ctx, sqlstore.Filter{Descending: i%2 == 0}) {
			if err != nil {
				return err
			}
			n++
		}
		if n%50 != 0 {
			return fmt.Errorf("%d records: half a batch", n)
		}
		return nil
	})
	for i := range 6 {
		apply(t, db, samples(i*50, i*50+50)...)
	}
	close(stop)
	wg.Wait()
	if _, problems := check(t, db); len(problems) > 0 {
		t.Errorf("%q", problems)
	}
}

func ignore(err, which error) error {
	if errors.Is(err, which) {
		return nil
	}
	return err
}

// Another process, a shell say, that has the write lock for a moment is waited for, as long as the context
// allows.
func TestWriterWaitsForAnotherProcess(t *testing.T) {
	t.Parallel()
	db, path := guarded(t)
	side, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer side.Close()
	side.SetMaxOpenConns(1)
	if _, err := side.Exec(`BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Write(ctx, []sqlstore.Mutation{{Key: []byte("k")}}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	done := make(chan error)
	go func() { done <- db.Write(context.Background(), []sqlstore.Mutation{{Key: []byte("k")}}) }()
	if _, err := side.Exec(`COMMIT`); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("after waiting: %v", err)
	}
}
