package audit_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/sqlstore"
)

// A store whose database is another store's is not read, and not written to, whoever opens it: with a -wal of its own
// over that database, too, and when the database was exchanged while the store was open.
func TestReadersRefuseTheDatabaseOfAnotherStore(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	other := filepath.Join(t.TempDir(), "other")
	db := openDB(t, other)
	putSamples(t, db, 0, 10)
	closeDB(t, db)

	wantForeign := func(t *testing.T, err error) {
		t.Helper()
		var foreign *audit.ForeignError
		if !errors.As(err, &foreign) || !errors.Is(err, audit.ErrMismatch) || filepath.Base(foreign.Path) != "audit.db" {
			t.Fatalf("%v, want a *ForeignError", err)
		}
	}
	t.Run("with a -wal", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "store")
		db := openDB(t, dir)
		putSamples(t, db, 10, 20)
		dead := killed(t, dir)
		closeDB(t, db)
		restore(t, dead, other, "audit.db")
		_, err := audit.Open(dead, audit.ReadOnly())
		wantForeign(t, err)
		report, err := audit.Verify(ctx, dead, audit.VerifyOptions{})
		if err != nil || report.OK() || report.SQLiteUnread == "" || report.Journal.Records == 0 {
			t.Errorf("verify: %+v, %v", report, err)
		}
	})
	t.Run("exchanged", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "store")
		db := openDB(t, dir)
		putSamples(t, db, 10, 20)
		closeDB(t, db)
		beside := openDB(t, dir, audit.ReadOnly())
		name := filepath.Join(dir, "audit.db")
		if err := os.Rename(name, name+".own"); err != nil {
			t.Fatal(err)
		}
		restore(t, dir, other, "audit.db")
		wantForeign(t, beside.PutLabels(ctx, []audit.Label{{Hash: fill(1), Label: "one"}}))
		closeDB(t, beside)
		there, err := sqlstore.Open(ctx, name, sqlstore.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer there.Close()
		if labels := must(there.Labels(ctx)); len(labels) > 0 {
			t.Errorf("the other store has labels now: %v", labels)
		}
	})
}
