package sqlstore

import (
	"context"
	"database/sql/driver"
	"path/filepath"
	"runtime"

	"github.com/auditsql/auditsql/internal/durable"
)

// place returns the path that SQLite must say it has opened: the links in the folders above the file are resolved,
// and the file itself is none. It is "" where that cannot be told.
func place(path string) string {
	if runtime.GOOS == "windows" {
		return "" // SQLite resolves no links there
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return "" // opening will say why
	}
	return filepath.Join(dir, filepath.Base(path))
}

// checkPlace refuses a connection to a file that SQLite has reached through a link. The link is found before
// (fileSize), unless it took the file's name after that. SQLite opens -wal and -shm through no link by itself.
func checkPlace(ctx context.Context, conn driver.Conn, want string) error {
	if want == "" {
		return nil
	}
	// The pragma itself, and not the table of its name: that would read the file, before it is set up how.
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, `PRAGMA database_list`, nil)
	if err != nil {
		return err
	}
	defer rows.Close()
	main := make([]driver.Value, len(rows.Columns())) // number, name, file; main is the first
	if err := rows.Next(main); err != nil {
		return err
	}
	if got, _ := main[2].(string); got != want {
		return &durable.LinkError{Path: want, Target: got}
	}
	return nil
}
