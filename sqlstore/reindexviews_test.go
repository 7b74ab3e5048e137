package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
)

// A shell does not look at the mark of a reindex: while the derived tables are not whole, their views are not there,
// neither beside the reindex nor after one that was interrupted.
func TestAShellSeesNoPartOfTheDerivedTables(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	db.ShrinkReindex(200)
	apply(t, db, samples(0, 500)...)
	shell, err := sql.Open("sqlite", db.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer shell.Close()
	want := func(there bool) {
		t.Helper()
		for _, view := range []string{"audits", "contributions", "attributes", "agents", "answers", "labels"} {
			var n int
			if err := shell.QueryRow(`SELECT count(*) FROM ` + view).Scan(&n); (err == nil) != there {
				t.Errorf("%s: %d rows, %v", view, n, err)
			}
		}
	}
	want(true)
	steps := 0
	if err := db.Reindex(t.Context(), decode, func(uint64, uint64) { steps++; want(false) }); err != nil || steps < 2 {
		t.Fatal(steps, err)
	}
	want(true)
	for _, interrupted := range []func() error{
		func() error {
			ctx, cancel := context.WithCancel(t.Context())
			return db.Reindex(ctx, decode, func(uint64, uint64) { cancel() })
		},
		func() error { return errors.Join(db.Rewind(t.Context(), 0), context.Canceled) }, // one is due
	} {
		if err := interrupted(); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		want(false)
		if err := db.Reindex(t.Context(), decode, nil); err != nil {
			t.Fatal(err)
		}
		want(true)
		if err := db.CheckSchema(t.Context(), func(p string) { t.Error(p) }, func(n string) { t.Error(n) }); err != nil {
			t.Error(err)
		}
	}
}
