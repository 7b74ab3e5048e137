package sqlstore

import (
	"fmt"
	"slices"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/auditsql/auditsql/migrations"
)

// The declared columns are those that the migrations make: the same names, in the same order, of the same types.
func TestColumnsAreThoseOfTheMigrations(t *testing.T) {
	t.Parallel()
	declared := map[string][]string{
		"audit":        declaredTypes(auditTable),
		"contribution": declaredTypes(contributionTable),
		"attribute":    declaredTypes(attributeTable),
	}
	err := onPattern(t.Context(), migrations.Newest, func(pool *sqlx.DB) error {
		for table, want := range declared {
			var have []string
			// Generated columns are hidden.
			const query = `SELECT name || ' ' || type FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid`
			if err := pool.SelectContext(t.Context(), &have, query, table); err != nil {
				return err
			}
			if !slices.Equal(have, want) {
				t.Errorf("%s has %q, declared are %q", table, have, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func declaredTypes[S any](columns []column[S]) (list []string) {
	for _, c := range columns {
		list = append(list, fmt.Sprint(c.name, " ", c.kind))
	}
	return list
}

// The derived tables, indexes and views that NeedsReindex misses are those that the migrations make.
func TestDerivedObjectsAreThoseOfTheMigrations(t *testing.T) {
	t.Parallel()
	p, err := readPattern(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	have := map[string][]string{}
	for _, o := range p.derived {
		if o.SQL != "" { // not what SQLite makes for itself
			have[o.Type] = append(have[o.Type], o.Name)
		}
	}
	for kind, want := range map[string][]string{"table": derivedTables, "index": derivedIndexes, "view": derivedViews} {
		if !slices.Equal(slices.Sorted(slices.Values(want)), have[kind]) {
			t.Errorf("%s: %q are named, the migrations make %q", kind, want, have[kind])
		}
	}
}

// Hashes that share memory do not share bytes.
func TestHexText(t *testing.T) {
	t.Parallel()
	var text hexText
	var got []string
	const n = 3*hexTexts + 1
	for i := range n {
		got = append(got, text.of(&[32]byte{byte(i), 31: 0xa0}))
	}
	for i, s := range got {
		if want := hexOf(&[32]byte{byte(i), 31: 0xa0}); s != want {
			t.Errorf("hash %d is %s, want %s", i, s, want)
		}
	}
	if text.optional(nil) != nil {
		t.Error("no hash has a text")
	}
}
