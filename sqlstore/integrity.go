package sqlstore

import (
	"context"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
	sqlite3 "modernc.org/sqlite/lib"
)

// maxProblems is how many problems of one kind are listed, where there can be many.
const maxProblems = 100

// Integrity lets SQLite check the database file: its pages, and, unless quick is set, its indexes against its
// tables. It returns the first hundred problems that SQLite finds, and nothing if all is well. It is one long
// read.
func (db *DB) Integrity(ctx context.Context, quick bool) ([]string, error) {
	found, err := integrity(ctx, db.readers.DB, quick)
	if err != nil {
		return nil, db.fail("check", err)
	}
	return found, nil
}

// Damage is Integrity without what costs no row: while a Reindex is due, pages that no table has. An older version that was
// interrupted between the removal of the derived tables and the copy of the others has left them.
func (db *DB) Damage(ctx context.Context) ([]string, error) {
	found, err := db.Integrity(ctx, false)
	if err != nil || len(found) == 0 {
		return found, err
	}
	due, err := db.Reindexing(ctx)
	if err != nil || !due {
		return found, err
	}
	return slices.DeleteFunc(found, func(f string) bool {
		return strings.HasPrefix(f, "Page ") && strings.HasSuffix(f, ": never used")
	}), nil
}

func integrity(ctx context.Context, q *sqlx.DB, quick bool) ([]string, error) {
	check := `PRAGMA integrity_check(100)`
	if quick {
		check = `PRAGMA quick_check(100)`
	}
	return integrityOf(ctx, q, check)
}

// integrityOf returns what one of SQLite's checks finds wrong.
func integrityOf(ctx context.Context, q *sqlx.DB, check string) ([]string, error) {
	var found []string
	err := q.SelectContext(ctx, &found, check)
	switch {
	case hasCode(err, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB): // so damaged that it cannot go on
		return append(found, err.Error()), nil
	case err != nil:
		return nil, err
	}
	if len(found) == 1 && found[0] == "ok" {
		return nil, nil
	}
	// What SQLite finds in pages is one text of many lines, with a heading.
	var lines []string
	for _, f := range found {
		for line := range strings.Lines(f) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "*** in database ") && len(lines) < maxProblems {
				lines = append(lines, line)
			}
		}
	}
	return lines, nil
}
