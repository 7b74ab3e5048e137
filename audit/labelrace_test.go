package audit_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
)

// asksAtLook is a context that calls ask whenever it is looked at. So something can happen in the middle of a call, without a clock. Several
// goroutines look, and ask is called for each of them, for one at a time.
type asksAtLook struct {
	context.Context
	ask  func()
	busy sync.Mutex
}

func (c *asksAtLook) look() {
	c.busy.Lock()
	defer c.busy.Unlock()
	c.ask()
}

func (c *asksAtLook) Err() error {
	c.look()
	return c.Context.Err()
}

func (c *asksAtLook) Done() <-chan struct{} {
	c.look()
	return c.Context.Done()
}

// putLabel puts a label from a shell that does not wait for locks, and reports whether it is on disk.
func putLabel(t *testing.T, dir string, l audit.Label) bool {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "audit.db")+"?mode=rw&_pragma=busy_timeout(0)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = db.Exec(`INSERT INTO label (hash, label) VALUES (?, ?)`, l.Hash.String(), l.Label)
	return err == nil
}

// A label that is put while a database is replaced by a salvaged one, or moved aside and rebuilt, is in the new one, or it was refused.
func TestALabelThatIsPutWhileTheDatabaseIsReplaced(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	damaged, _ := trimmedStore(t, 40)
	corruptPage(t, damaged, "audit")
	suspect, _ := closedStore(t, 0, 40)
	uncleanEnd(t, suspect)
	for what, test := range map[string]struct {
		from      string
		replace   func(context.Context, string) error
		putBefore string // no label is put any more when store.json has this
		every     int    // at each of so many looks a label is put
	}{
		"salvaged": {damaged, func(ctx context.Context, dir string) error {
			_, err := audit.Reindex(ctx, dir, nil)
			return err
		}, `"replacing"`, 5},
		"rebuilt": {suspect, func(ctx context.Context, dir string) error {
			_, err := audit.Recover(ctx, dir)
			return err
		}, `"rebuilding"`, 1},
	} {
		t.Run(what, func(t *testing.T) {
			dir, looks, refused := killed(t, test.from), 0, 0
			was := must(os.Stat(filepath.Join(dir, "audit.db")))
			var acknowledged []audit.Label
			// A shell that has opened the database writes into it also when it has been moved aside meanwhile: nothing can refuse that. So
			// a label counts only if the database is in its place before and after it is put. Another goroutine may move it while this one
			// puts, since several look at a context.
			inPlace := func() bool {
				text, err := os.ReadFile(filepath.Join(dir, "store.json"))
				if err != nil || strings.Contains(string(text), test.putBefore) {
					return false
				}
				is, err := os.Stat(filepath.Join(dir, "audit.db"))
				return err == nil && os.SameFile(was, is)
			}
			ctx := &asksAtLook{Context: t.Context(), ask: func() {
				if !inPlace() {
					return
				}
				if looks++; looks%test.every != 0 {
					return
				}
				l := audit.Label{Hash: hashOf("agent", fmt.Sprint("of look ", looks)), Label: fmt.Sprint("look ", looks)}
				switch put := putLabel(t, dir, l); {
				case !put:
					refused++
				case inPlace():
					acknowledged = append(acknowledged, l)
				}
			}}
			if err := test.replace(ctx, dir); err != nil {
				t.Fatal(err)
			}
			db := openDB(t, dir)
			defer closeDB(t, db)
			labels := must(db.Labels(t.Context()))
			for _, l := range acknowledged {
				if labels.Of(l.Hash) != l.Label {
					t.Errorf("%s was acknowledged and is lost", l.Label)
				}
			}
			if len(acknowledged) == 0 || what == "salvaged" && refused == 0 {
				t.Errorf("%d labels were put, %d refused", len(acknowledged), refused)
			}
			t.Logf("%d labels were put, %d refused", len(acknowledged), refused)
		})
	}
}

// A process may die when it has noted that it replaces a database, or moves it aside. A label put into that one would be lost.
func TestALabelForADatabaseThatWillBeReplacedIsRefused(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 5)
	reader := openDB(t, dir, audit.ReadOnly())
	defer closeDB(t, reader)
	label := []audit.Label{{Hash: hashOf("agent", "0"), Label: "Bob"}}
	if err := reader.PutLabels(t.Context(), label); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "store.json")
	text := string(must(os.ReadFile(name)))
	for _, note := range []string{`"replacing": "aside-1"`, `"doubted": true, "rebuilding": "aside-1"`} {
		if err := os.WriteFile(name, []byte(strings.Replace(text, `"used": true`, `"used": true, `+note, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := reader.PutLabels(t.Context(), label); err == nil || !strings.Contains(err.Error(), "another database takes its place") {
			t.Errorf("%s: %v", note, err)
		}
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// And one that was replaced just then does not count either.
	if err := os.Rename(filepath.Join(dir, "audit.db"), filepath.Join(dir, "moved.db")); err != nil {
		t.Fatal(err)
	}
	if err := reader.PutLabels(t.Context(), label); err == nil {
		t.Error("a label was put into no database")
	}
	if err := os.Rename(filepath.Join(dir, "moved.db"), filepath.Join(dir, "audit.db")); err != nil {
		t.Fatal(err)
	}
}
