package audit_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	_ "modernc.org/sqlite"
)

// shell is a person's sqlite3 on a store: one connection that does as it is told.
type shell struct {
	t  testing.TB
	db *sql.DB
}

func openShell(t testing.TB, dir string) *shell {
	t.Helper()
	// It waits for locks: what was put before is perhaps applied just now.
	db, err := sql.Open("sqlite", filepath.Join(dir, "audit.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return &shell{t, db}
}

func (s *shell) do(statements ...string) {
	s.t.Helper()
	for _, statement := range statements {
		if _, err := s.db.Exec(statement); err != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
}

// unguarded does what the triggers would refuse, and puts them back as if nothing had been.
func (s *shell) unguarded(statements ...string) {
	s.t.Helper()
	rows, err := s.db.Query(`SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'`)
	if err != nil {
		s.t.Fatal(err)
	}
	var drop, create []string
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			s.t.Fatal(err)
		}
		drop, create = append(drop, "DROP TRIGGER "+name), append(create, text)
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}
	s.do("PRAGMA ignore_check_constraints = ON")
	s.do(slices.Concat(drop, statements, create)...)
}

func (s *shell) ask(query string) (n int64) {
	s.t.Helper()
	if err := s.db.QueryRow(query).Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return n
}

func (s *shell) exit() {
	s.t.Helper()
	if err := s.db.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// inShell does one thing in a shell that is closed again.
func inShell(t testing.TB, dir string, statements ...string) {
	t.Helper()
	s := openShell(t, dir)
	s.do(statements...)
	s.exit()
}

// corruptPage overwrites the first page of a table or an index in a store that nobody has open, and returns
// how to make it whole again.
func corruptPage(t testing.TB, dir, name string) (undo func()) {
	t.Helper()
	s := openShell(t, dir)
	root, size := s.ask("SELECT rootpage FROM sqlite_schema WHERE name = '"+name+"'"), s.ask("PRAGMA page_size")
	s.exit()
	at := (root - 1) * size
	file := filepath.Join(dir, "audit.db")
	whole := make([]byte, size)
	write := func(page []byte) {
		t.Helper()
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if page == nil {
			if _, err := f.ReadAt(whole, at); err != nil {
				t.Fatal(err)
			}
			page = []byte(strings.Repeat("\xee", int(size)))
		}
		if _, err := f.WriteAt(page, at); err != nil {
			t.Fatal(err)
		}
	}
	write(nil)
	return func() { t.Helper(); write(whole) }
}

// uncleanEnd makes a store look as if its process had died while it was closing, when SQLite had removed
// -wal and the note of it was not written.
func uncleanEnd(t testing.TB, dir string) {
	t.Helper()
	name := filepath.Join(dir, "store.json")
	was := string(must(os.ReadFile(name)))
	is := strings.Replace(was, `"clean": true`, `"clean": false`, 1)
	if is == was {
		t.Fatalf("there was no clean end: %s", was)
	}
	if err := os.WriteFile(name, []byte(is), 0o600); err != nil {
		t.Fatal(err)
	}
}

// endsAtLook is a context that ends when it is looked at for the n-th time, so that a call can be ended
// at every place where it looks, without a clock.
type endsAtLook struct {
	context.Context
	end   context.CancelFunc
	looks atomic.Int64
}

func endAtLook(n int) *endsAtLook {
	c := &endsAtLook{}
	c.Context, c.end = context.WithCancel(context.Background())
	c.looks.Store(int64(n))
	return c
}

func (c *endsAtLook) look() {
	if c.looks.Add(-1) < 0 {
		c.end()
	}
}

func (c *endsAtLook) Err() error {
	c.look()
	return c.Context.Err()
}

func (c *endsAtLook) Done() <-chan struct{} {
	c.look()
	return c.Context.Done()
}
