package sqlstore_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/sqlstore"
)

// Somebody's SQL makes no value that fills the memory, and what it ran on is a reader again afterwards.
func TestQueriedValuesAreBounded(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a minute under the race detector, and one goroutine does all of it")
	}
	db := open(t, filepath.Join(t.TempDir(), "audit.db"), sqlstore.Options{Readers: 1})
	apply(t, db, newSample(1).record(0))
	for _, c := range []struct {
		size int
		want error
	}{{sqlstore.MaxQueried, nil}, {sqlstore.MaxQueried + 1, sqlstore.ErrTooLong}} {
		for name, query := range map[string]string{
			"in the first row":  `SELECT length(randomblob(?))`,
			"in the second row": `SELECT 1 UNION ALL SELECT length(randomblob(?))`,
			"as a value":        `SELECT zeroblob(?)`,
		} {
			rows, err := db.QueryRows(t.Context(), query, c.size)
			if err == nil {
				for rows.Next() {
				}
				err = errors.Join(rows.Err(), rows.Close(), rows.Close())
			}
			if !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("%d bytes %s: %v", c.size, name, err)
			}
		}
		if got := collect(t, db, sqlstore.Filter{}); len(got) != 1 {
			t.Errorf("%d records afterwards", len(got))
		}
	}
}
