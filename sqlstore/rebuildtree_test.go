package sqlstore_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/internal/treespec"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
)

// What was changed in the tree is made again, and nothing else is written. Records can be added afterwards.
func TestTheTreeIsRebuiltFromItsLeaves(t *testing.T) {
	t.Parallel()
	for statement, want := range map[string]sqlstore.RebuiltTree{
		`UPDATE tile SET hashes = zeroblob(8192) WHERE level = 0 AND n = 1`: {Tiles: 1},
		`DELETE FROM tile`: {Tiles: 2},
		`INSERT INTO tile VALUES (0, 2, zeroblob(8192)), (9, 0, x'00'), (0, -1, x'00')`: {Tiles: 3},
		`UPDATE edge SET hashes = zeroblob(length(hashes)) WHERE level = 1`:             {Edges: 1},
		`DELETE FROM edge`: {Edges: 2},
		`INSERT INTO edge VALUES (2, zeroblob(32)), (11, x'00')`:                       {Edges: 2},
		`DELETE FROM tile WHERE n = 0; UPDATE edge SET hashes = substr(hashes, 1, 32)`: {Tiles: 1, Edges: 2},
		`UPDATE kv SET value = value`:                                                  {},
	} {
		path := filepath.Join(t.TempDir(), "audit.db")
		db := open(t, path, sqlstore.Options{})
		db.ShrinkTree(100)
		apply(t, db, samples(0, 600)...)
		leaves := exported(t, db)
		tamper(t, path, statement)
		done, err := db.RebuildTree(t.Context(), 600, treespec.RootOf(leaves), nil)
		if err != nil || done != want {
			t.Errorf("%s: %+v, %v; want %+v", statement, done, err, want)
		}
		apply(t, db, samples(600, 700)...)
		wantRoot(t, db, exported(t, db))
		if _, problems := check(t, db); len(problems) > 0 {
			t.Errorf("%s: problems are %q", statement, problems)
		}
	}
}

// An interrupted rebuild leaves a store that another one completes.
func TestAnInterruptedRebuildOfTheTree(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	db.ShrinkTree(256)
	apply(t, db, samples(0, 1000)...)
	leaves := exported(t, db)
	tamper(t, path, `DELETE FROM tile; DELETE FROM edge`)
	ctx, cancel := context.WithCancel(t.Context())
	done, err := db.RebuildTree(ctx, 1000, treespec.RootOf(leaves), func(done, total uint64) {
		if total != 1000 {
			t.Errorf("%d of %d", done, total)
		}
		if done >= 512 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || done.Tiles != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	if done, err = db.RebuildTree(t.Context(), 1000, treespec.RootOf(leaves), nil); err != nil || done != (sqlstore.RebuiltTree{Tiles: 1, Edges: 2}) {
		t.Errorf("%+v, %v", done, err)
	}
	wantRoot(t, db, leaves)
}

// Nothing is made from a leaf that is missing, and the edge is not made when the root is not the caller's.
func TestTheTreeIsNotRebuiltFromOtherLeaves(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	apply(t, db, samples(0, 300)...)
	root := treespec.RootOf(exported(t, db))
	tamper(t, path, `DELETE FROM edge`)
	if _, err := db.RebuildTree(t.Context(), 300, tree.Hash{1}, nil); !errors.Is(err, sqlstore.ErrMalformed) {
		t.Errorf("another root: %v", err)
	}
	if _, err := db.RebuildTree(t.Context(), 301, root, nil); !errors.Is(err, sqlstore.ErrMalformed) {
		t.Errorf("an entry too many: %v", err)
	}
	if problem, err := db.TreeProblem(t.Context()); err != nil || problem == "" {
		t.Errorf("the edge was made: %q, %v", problem, err)
	}
	tamper(t, path, `UPDATE kv SET leaf = NULL WHERE key = x'004155443a`+newSample(7).ID+`'`)
	var damaged *sqlstore.RecordError
	if _, err := db.RebuildTree(t.Context(), 300, root, nil); !errors.As(err, &damaged) || damaged.QueryID != samples(7, 8)[0].QueryID {
		t.Errorf("a leaf that is missing: %v", err)
	}
}
