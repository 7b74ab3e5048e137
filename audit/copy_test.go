package audit_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// A writer trims its journal while a reader, of another process as far as it can tell, copies the store: the
// snapshot of SQLite and the journal that is copied after it must have no gap between them.
func TestACopyMadeWhileTheJournalIsTrimmedOpens(t *testing.T) {
	t.Parallel()
	opts := []audit.Option{audit.WithSegmentBytes(2000), audit.WithRetention(audit.RetainNone)}
	dir, _ := closedStore(t, 0, 20, opts...)
	reader := openDB(t, dir, audit.ReadOnly())
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	written := make(chan error, 1)
	go func() {
		written <- func() error {
			for round := range rounds {
				// Closing brings SQLite to disk, and trims.
				db, err := audit.Open(dir, append(opts, audit.WithReads(audit.Acknowledged))...)
				if err != nil {
					return err
				}
				_, err = db.PutAudits(context.Background(), samples(20+round*20, 40+round*20))
				if err != nil {
					db.Close()
					return err
				}
				if err := db.Close(); err != nil {
					return err
				}
			}
			return nil
		}()
	}()
	copies, gone := 0, false
	for i := 0; !gone; i++ {
		select {
		case err := <-written:
			if err != nil {
				t.Fatal(err)
			}
			gone = true // and one more copy, at rest
		default:
		}
		dest := filepath.Join(t.TempDir(), fmt.Sprint(i))
		rep, err := reader.Backup(context.Background(), dest)
		if err != nil {
			t.Fatal(err)
		}
		if rep.Verified.Journal.First > rep.Applied {
			t.Fatalf("the journal begins at %d, SQLite has everything up to %d", rep.Verified.Journal.First, rep.Applied)
		}
		copied := openDB(t, dest)
		if rec := copied.Recovery(); rec.Rebuilt || rec.Checked || rec.Rejected > 0 {
			t.Fatalf("%+v", rec)
		}
		closeDB(t, copied)
		copies++
	}
	stats, err := reader.Stats(context.Background())
	if err != nil || stats.JournalFirst == 0 || stats.Audits != uint64(20+rounds*20) {
		t.Fatalf("nothing was trimmed: %+v, %v", stats, err)
	}
	t.Logf("%d copies", copies)
}

// A cron job may have made the folder of the night's backup before.
func TestABackupIntoAnEmptyFolder(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "store"))
	putSamples(t, db, 0, 10)
	dest := t.TempDir()
	if rep, err := db.Backup(t.Context(), dest); err != nil || rep.Audits != 10 {
		t.Fatalf("%+v, %v", rep, err)
	}
	copied := openDB(t, dest)
	wantSound(t, copied)
	closeDB(t, copied)
	closeDB(t, db)
}

// A backup within the store that it copies would be a part of that store.
func TestABackupIntoItsOwnStoreIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	before := sizesBelow(t, dir)
	for _, dest := range []string{filepath.Join(dir, "x"), filepath.Join(dir, "wal", "x", "y"), filepath.Join(link, "x"), ""} {
		if _, err := db.Backup(t.Context(), dest); !errors.Is(err, audit.ErrInvalid) {
			t.Errorf("%q: %v", dest, err)
		}
	}
	if after := sizesBelow(t, dir); !maps.Equal(before, after) {
		t.Errorf("the store has %v, and had %v", after, before)
	}
	closeDB(t, db)
}

// sizesBelow are the sizes of the files below a folder.
func sizesBelow(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	sizes := map[string]int64{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		about, err := e.Info()
		if err == nil && !e.IsDir() {
			sizes[name] = about.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sizes
}

// An empty name is not the working folder.
func TestAStoreHasAName(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, open := range map[string]func() error{
		"open":    func() error { _, err := audit.Open(""); return err },
		"read":    func() error { _, err := audit.Open("", audit.ReadOnly()); return err },
		"init":    func() error { _, err := audit.Init(t.Context(), ""); return err },
		"recover": func() error { _, err := audit.Recover(t.Context(), ""); return err },
	} {
		if err := open(); !errors.Is(err, audit.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if made, err := os.ReadDir("."); err != nil || len(made) > 0 {
		t.Errorf("made %v, %v", made, err)
	}
}
