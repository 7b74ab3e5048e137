package audit_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// Whatever page of the database is lost, while the journal reaches back nothing is: what meets the damage says so, and
// a reindex ends with a store that has everything and is sound.
func TestAnyPageOfTheDatabaseMayBeLost(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	whole, lines := closedStore(t, 0, 120)
	content := must(os.ReadFile(filepath.Join(whole, "audit.db")))
	step := 1
	if testing.Short() {
		step = 7
	}
	found, rebuilt := 0, 0
	for page := 0; page < len(content)/pageBytes; page += step {
		dir := killed(t, whole)
		broken := append([]byte(nil), content...)
		clear(broken[page*pageBytes : (page+1)*pageBytes])
		if err := os.WriteFile(filepath.Join(dir, "audit.db"), broken, 0o600); err != nil {
			t.Fatal(err)
		}
		report, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{})
		if err != nil {
			t.Fatalf("page %d: verify: %v", page, err)
		}
		if !report.OK() {
			found++
		}
		db, err := audit.Open(dir, audit.WithReads(audit.Acknowledged))
		if err != nil {
			t.Fatalf("page %d: %v", page, err)
		}
		if db.Recovery().Rebuilt {
			rebuilt++
		}
		err = db.Reindex(t.Context(), nil)
		if errors.Is(err, sqlstore.ErrMalformed) {
			if _, err := db.PutAudit(t.Context(), ptr(sample(9000))); err == nil {
				t.Errorf("page %d: a put into a damaged store is acknowledged", page)
			}
			db.Close()
			rebuilt++
			db = openDB(t, dir)
		} else if err != nil {
			t.Fatalf("page %d: reindex: %v", page, err)
		}
		wantAll(t, db, lines)
		closeDB(t, db)
	}
	// The pages that nothing uses, and those of a reindex's own tables, are no loss.
	if pages := len(content) / pageBytes / step; found < pages*3/4 || rebuilt < 2 {
		t.Errorf("of %d pages verify found %d, and %d had the database rebuilt", pages, found, rebuilt)
	}
}

// The states of a file that SQLite refuses at first sight.
func TestADatabaseThatCannotBeReadIsBuiltAnew(t *testing.T) {
	t.Parallel()
	whole, lines := closedStore(t, 0, 40)
	trimmed, _ := closedStore(t, 0, 40, audit.WithSegmentBytes(2000), audit.WithRetention(audit.RetainNone))
	states := map[string]func(name string) error{
		"cut": func(name string) error { return os.Truncate(name, 20_000) },
		"cut to a header": func(name string) error {
			return os.Truncate(name, 100)
		},
		"the first page zeroed": func(name string) error { return overwrite(name, 0, make([]byte, pageBytes)) },
		"bad header":            func(name string) error { return overwrite(name, 0, []byte("no database at all")) },
		"another page size":     func(name string) error { return overwrite(name, 16, []byte{0x10, 0}) },
		"no page size":          func(name string) error { return overwrite(name, 16, []byte{0x12, 0x34}) },
		"text":                  func(name string) error { return os.WriteFile(name, []byte("restore me\n"), 0o600) },
		"empty":                 func(name string) error { return os.WriteFile(name, nil, 0o600) },
		"a folder": func(name string) error {
			return errors.Join(os.Remove(name), os.Mkdir(name, 0o700))
		},
	}
	for state, change := range states {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && state != "cut" && state != "bad header" && state != "empty" {
				t.Skip("a few states do")
			}
			dir := killed(t, whole)
			if err := change(filepath.Join(dir, "audit.db")); err != nil {
				t.Fatal(err)
			}
			wantNeedsRecovery(t, dir, true)
			if _, err := audit.Open(dir, audit.ReadOnly()); !errors.Is(err, sqlstore.ErrMalformed) {
				t.Errorf("for reading: %v", err)
			}
			report, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{})
			if err != nil || report.OK() || report.SQLiteUnread == "" || report.Journal.Records != 40 {
				t.Errorf("verify: %+v, %v", report, err)
			}
			db := openDB(t, dir)
			if rec := db.Recovery(); !rec.Rebuilt || state != "empty" && rec.Aside == "" {
				t.Errorf("%+v", rec)
			}
			wantAll(t, db, lines)
			closeDB(t, db)

			// Where the journal does not reach back, it takes a backup, and nothing is changed meanwhile.
			dir = killed(t, trimmed)
			if err := change(filepath.Join(dir, "audit.db")); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				_, err := audit.Open(dir)
				judgeRefusal(t, err)
			}
		})
	}
}

// judgeRefusal checks that a store was refused for what is lost, and that the refusal says what helps.
func judgeRefusal(t *testing.T, err error) {
	t.Helper()
	if !errors.As(err, new(*audit.DamagedError)) && !errors.Is(err, wal.ErrGap) || !strings.Contains(err.Error(), "backup") {
		t.Errorf("refused with: %v", err)
	}
}

func overwrite(name string, at int64, b []byte) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	return errors.Join(err, f.Close())
}

// A table that somebody has dropped in a shell.
func TestATableThatWasDropped(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	whole, lines := closedStore(t, 0, 40)
	trimmed, _ := closedStore(t, 0, 40, audit.WithSegmentBytes(2000), audit.WithRetention(audit.RetainNone))
	for table, rebuilt := range map[string]bool{
		"kv": true, "entry": true, "store": true, "rejected": false, "label": false,
		"audit": false, "contribution": false, "attribute": false, "agent": false,
	} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && table != "kv" && table != "rejected" && table != "audit" {
				t.Skip("a few tables do")
			}
			for _, whole := range []string{whole, trimmed} {
				dir := killed(t, whole)
				s := openShell(t, dir)
				s.do("DROP TABLE " + table)
				s.exit()
				if report, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{}); err != nil || report.OK() {
					t.Errorf("verify: %+v, %v", report, err)
				}
				wantNeedsRecovery(t, dir, true)
				db, err := audit.Open(dir, audit.WithReads(audit.Acknowledged))
				if rebuilt && whole == trimmed {
					judgeRefusal(t, err)
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if db.Recovery().Rebuilt != rebuilt {
					t.Errorf("%+v", db.Recovery())
				}
				wantAll(t, db, lines)
				closeDB(t, db)
				wantNeedsRecovery(t, dir, false)
			}
		})
	}
}
