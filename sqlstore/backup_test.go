package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/sqlstore"
)

func TestBackupWhileAWriterWrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	apply(t, db, samples(0, 600)...)
	ro := open(t, path, sqlstore.Options{ReadOnly: true})
	dir := t.TempDir()
	for i, from := range []*sqlstore.DB{db, ro} {
		stop, stopped := make(chan struct{}), make(chan struct{})
		next := 600 + i*100_000
		go func() {
			defer close(stopped)
			for {
				b := &sqlstore.Batch{Records: samples(next, next+10), Cursor: uint64(next+10) * 100}
				if _, err := db.Apply(context.Background(), b); err != nil {
					t.Error(err)
				}
				if _, err := db.Checkpoint(context.Background(), false); err != nil {
					t.Error(err)
				}
				next += 10
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
		dest := filepath.Join(dir, fmt.Sprint(i, " copy?.db"))
		cursor, err := from.Backup(t.Context(), dest)
		close(stop)
		<-stopped
		if err != nil {
			t.Fatal(err)
		}
		if fi, err := os.Stat(dest); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", fi.Mode(), err)
		}
		if m, err := sqlstore.ReadCursor(t.Context(), dest); err != nil || m.Cursor != cursor || m.Version != sqlstore.Version() {
			t.Errorf("copy has %+v, %v; cursor should be %d", m, err, cursor)
		}
		copied := open(t, dest, sqlstore.Options{})
		counts, problems := check(t, copied)
		if len(problems) > 0 || counts.Audits < 600 {
			t.Errorf("copy: %+v, %q", counts, problems)
		}
		if problems, err := copied.Integrity(t.Context(), false); err != nil || len(problems) > 0 {
			t.Errorf("copy: %q, %v", problems, err)
		}
		if last, ok, err := copied.LastEntry(t.Context()); err != nil || !ok || last.JournalOffset+100 != cursor {
			t.Errorf("copy ends with %+v, %v; cursor is %d", last, err, cursor)
		}
		wantRows(t, copied, `SELECT * FROM pragma_journal_mode`, "wal")
		apply(t, copied, samples(500_000, 500_010)...)
		mustClose(t, copied)
	}
	if got := names(t, dir); fmt.Sprint(got) != "[0 copy?.db 1 copy?.db]" {
		t.Errorf("files are %q", got)
	}
}

func TestBackupThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	db, path := guarded(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.Backup(ctx, filepath.Join(dir, "x.db")); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if _, err := db.Backup(t.Context(), filepath.Join(dir, "no", "x.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("into no folder: %v", err)
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dest := range []string{there, path, dir} {
		if _, err := db.Backup(t.Context(), dest); !errors.Is(err, os.ErrExist) {
			t.Errorf("onto %s: %v", dest, err)
		}
	}
	if b, err := os.ReadFile(there); err != nil || string(b) != "mine" {
		t.Errorf("an existing file is %q, %v", b, err)
	}
	if _, problems := check(t, db); len(problems) > 0 {
		t.Errorf("%q", problems)
	}
}
