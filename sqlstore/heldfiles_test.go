package sqlstore_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/auditsql/auditsql/sqlstore"
)

// somebody is a connection of somebody else's to the database at path.
func somebody(t *testing.T, path string) *sqlx.DB {
	t.Helper()
	db, err := sqlx.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Whatever a foreign connection does, it copies nothing into the database that the writer has not synced in -wal.
func TestNobodyCopiesWhatTheWriterHasNotSynced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	foreign := somebody(t, path)
	for i := range 3 {
		apply(t, db, samples(i*100, i*100+100)...)
		before := read(t, path)
		for _, statement := range []string{
			`PRAGMA synchronous=OFF`, `PRAGMA busy_timeout=1`, `PRAGMA wal_checkpoint(PASSIVE)`, `PRAGMA wal_checkpoint(FULL)`,
			`PRAGMA wal_checkpoint(RESTART)`, `PRAGMA wal_checkpoint(TRUNCATE)`, `PRAGMA wal_autocheckpoint=1`,
			`INSERT INTO label (hash, label) VALUES ('` + string(bytes.Repeat([]byte("0"), 64)) + `', 'Bob') ON CONFLICT (hash) DO UPDATE SET label = 'Alice'`,
		} {
			foreign.Exec(statement) // some say that they could not
		}
		if !bytes.Equal(read(t, path), before) {
			t.Fatal("pages were copied")
		}
		// The writer's own checkpoint does, and -wal begins anew.
		if c, err := db.Checkpoint(t.Context(), false); err != nil || !c.Complete {
			t.Fatalf("%+v, %v", c, err)
		}
		if bytes.Equal(read(t, path), before) {
			t.Fatal("nothing was copied")
		}
	}
	if size := db.WALBytes(); size > 4<<20 {
		t.Errorf("-wal has %d bytes, and was never begun anew", size)
	}
}

// SQLite goes on with files that nobody can find any more.
func TestFilesThatAreTakenAwayAreMissed(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"audit.db", "audit.db-wal"} {
		for name, take := range map[string]func(path, kept string) error{
			"removed": os.Rename,
			"replaced": func(path, kept string) error {
				b, err := os.ReadFile(path)
				return errors.Join(err, os.Rename(path, kept), os.WriteFile(path, b, 0o600))
			},
		} {
			t.Run(file+" "+name, func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "audit.db")
				db := open(t, path, sqlstore.Options{})
				apply(t, db, samples(0, 50)...)
				if err := db.CheckFiles(); err != nil {
					t.Fatal(err)
				}
				kept := filepath.Join(dir, "kept")
				if err := take(filepath.Join(dir, file), kept); err != nil {
					t.Fatal(err)
				}
				before := read(t, kept)
				for range 2 {
					if err := db.CheckFiles(); !errors.Is(err, sqlstore.ErrMoved) || !errors.Is(err, sqlstore.ErrFailed) {
						t.Fatalf("got %v", err)
					}
				}
				if c, err := db.Checkpoint(t.Context(), false); !errors.Is(err, sqlstore.ErrFailed) {
					t.Errorf("%+v, %v", c, err)
				}
				if _, err := db.Apply(t.Context(), &sqlstore.Batch{Records: samples(50, 51), Cursor: 5100}); !errors.Is(err, sqlstore.ErrFailed) {
					t.Errorf("applied: %v", err)
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
				if !bytes.Equal(read(t, kept), before) {
					t.Error("closing has written to the file that was taken away")
				}
			})
		}
	}
}

func TestADatabaseThatIsCutIsMissed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	foreign := somebody(t, path)
	checkpoint := func() {
		t.Helper()
		if c, err := db.Checkpoint(t.Context(), false); err != nil || !c.Complete {
			t.Fatalf("%+v, %v", c, err)
		}
	}
	apply(t, db, samples(0, 300)...)
	checkpoint()
	// A VACUUM makes it shorter too, and is no fault.
	change := `CREATE TABLE junk (b); INSERT INTO junk SELECT randomblob(100000) FROM audit; DROP TABLE junk`
	if _, err := foreign.Exec(change); err != nil {
		t.Fatal(err)
	}
	checkpoint()
	long := len(read(t, path))
	if _, err := foreign.Exec(`VACUUM`); err != nil {
		t.Fatal(err)
	}
	checkpoint()
	if short := len(read(t, path)); short >= long {
		t.Fatalf("%d bytes, and %d before the VACUUM", short, long)
	}
	if err := db.CheckFiles(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 64<<10); err != nil {
		t.Fatal(err)
	}
	if err := db.CheckFiles(); !errors.Is(err, sqlstore.ErrMoved) {
		t.Errorf("got %v", err)
	}
	db.Close()
}

// The applier looks at the files while a checkpoint beside it does.
func TestFilesAreLookedAtByTwo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	done := make(chan error)
	go func() {
		var errs []error
		for range 50 {
			errs = append(errs, db.CheckpointBeside(t.Context()))
		}
		done <- errors.Join(errs...)
	}()
	for i := range 20 {
		apply(t, db, samples(i*20, i*20+20)...)
		if err := db.CheckFiles(); err != nil {
			t.Error(err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A commit would make a -wal that was cut as long as it was, with zeros in the place of what was cut, and a checkpoint
// would copy those.
func TestAWALThatIsCutIsMissed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	apply(t, db, samples(0, 300)...)
	before := read(t, path)
	if err := os.Truncate(path+"-wal", db.WALBytes()/2); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Apply(t.Context(), &sqlstore.Batch{Records: samples(300, 400), Cursor: 40000}); !errors.Is(err, sqlstore.ErrMoved) {
		t.Errorf("applied: %v", err)
	}
	if c, err := db.Checkpoint(t.Context(), false); !errors.Is(err, sqlstore.ErrFailed) {
		t.Errorf("%+v, %v", c, err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(read(t, path), before) {
		t.Error("pages were copied out of it")
	}
}
