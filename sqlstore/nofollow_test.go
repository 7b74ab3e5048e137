package sqlstore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/sqlstore"
)

// SQLite keeps -wal beside the file that a link leads to, so one of our own looks would miss it.
func TestALinkToADatabaseIsRefused(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{"", "-wal"} {
		path := filepath.Join(t.TempDir(), "audit.db")
		mustClose(t, open(t, path, sqlstore.Options{}))
		elsewhere := filepath.Join(t.TempDir(), "elsewhere")
		if err := os.Rename(path+suffix, elsewhere); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.Symlink(elsewhere, path+suffix); err != nil {
			t.Skip(err)
		}
		var link *durable.LinkError
		for _, readOnly := range []bool{false, true} {
			db, err := sqlstore.Open(t.Context(), path, sqlstore.Options{ReadOnly: readOnly})
			if err == nil {
				db.Close()
			}
			if !errors.As(err, &link) || link.Path != path+suffix {
				t.Errorf("read-only %v: got %v", readOnly, err)
			}
		}
		if _, err := sqlstore.ReadCursor(t.Context(), path); !errors.As(err, &link) {
			t.Errorf("got %v", err)
		}
	}
}

// A link that takes the database's name after it was looked at is found by the next connection, which is made when
// all others are taken.
func TestALinkThatComesAfterTheLookIsRefused(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("an open file cannot be renamed there")
	}
	path := filepath.Join(t.TempDir(), "audit.db")
	mustClose(t, open(t, path, sqlstore.Options{}))
	db := open(t, path, sqlstore.Options{ReadOnly: true, Readers: 2})
	ask := func() (close func() error, err error) {
		rows, err := db.QueryRows(context.Background(), `SELECT 1 UNION ALL SELECT 2`)
		if err != nil {
			return nil, err
		}
		return rows.Close, nil
	}
	first, err := ask()
	if err != nil {
		t.Fatal(err)
	}
	defer first()
	elsewhere := filepath.Join(t.TempDir(), "elsewhere", "audit.db")
	if err := errors.Join(os.Mkdir(filepath.Dir(elsewhere), 0o700), os.Rename(path, elsewhere), os.Symlink(elsewhere, path)); err != nil {
		t.Fatal(err)
	}
	second, err := ask()
	if err == nil {
		second()
	}
	if err == nil || !strings.Contains(err.Error(), path+" is a symbolic link to "+elsewhere) {
		t.Errorf("got %v", err)
	}
}
