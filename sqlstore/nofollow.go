package sqlstore

import (
	"context"
	"database/sql/driver"
	"path/filepath"
	"runtime"

	"github.com/auditsql/auditsql/internal/durable"
)

// place returns the path that SQLite must report for the file that it has opened: links in the folders above the file are
// resolved, and the file itself is no link. It is "" where that is not known.
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

// checkPlace refuses a connection to a file that SQLite has reached through a link. fileSize refuses links before; this
// finds a link that was put in the file's place after that. SQLite itself opens -wal and -shm through no link.
func checkPlace(ctx context.Context, conn driver.Conn, want string) error {
	if want == "" {
		return nil
	}
	// The pragma, and not the table-valued function pragma_database_list: that would read the file before the connection is
	// set up.
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
