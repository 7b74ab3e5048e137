package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/tree"
)

// against are checkpoints of the first records of a store, at several sizes.
func (s signer) against(t *testing.T, tiles tree.TileReader, sizes ...int) audit.VerifyOptions {
	t.Helper()
	o := audit.VerifyOptions{Policy: s.policy}
	for _, size := range sizes {
		o.Against = append(o.Against, audit.Against{Name: fmt.Sprintf("of %d", size), Signed: s.sign(t, tiles, size).Checkpoint})
	}
	return o
}

// same says which of the checkpoints a store was found to have.
func same(rep audit.VerifyReport) (sizes []int64) {
	for _, c := range rep.Against {
		if c.Same {
			sizes = append(sizes, c.Size)
		}
	}
	return sizes
}

func hasProblem(rep audit.VerifyReport, text string) bool {
	return slices.ContainsFunc(rep.Problems, func(p string) bool { return strings.Contains(p, text) })
}

// alteredTiles have another leaf in place of leaf 250.
type alteredTiles struct{ tree.TileReader }

func (a alteredTiles) ReadTile(t tree.Tile) ([]byte, error) {
	hashes, err := a.TileReader.ReadTile(t)
	if err == nil && t.Level == 0 && t.N == 0 {
		hashes = bytes.Clone(hashes)
		hashes[250*tree.HashSize] ^= 1
	}
	return hashes, err
}

// Somebody rewrites all of a store so that it fits together. Only a checkpoint that was kept elsewhere tells, and says where.
func TestAStoreThatWasRewrittenAsAWhole(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	s := newSigner(t, "log.example.com")
	dir, _ := closedStore(t, 0, 600)
	db := openDB(t, dir)
	tiles := tilesOf(t, db)
	o := s.against(t, tiles, 600, 0, 200, 400, 1, 400)
	if rep, err := db.Verify(t.Context(), o); err != nil || !rep.OK() || !slices.Equal(same(rep), []int64{0, 1, 200, 400, 400, 600}) {
		t.Errorf("the store itself: %+v, %v", rep, err)
	}

	// The same records but one, put in the same order.
	forged := openDB(t, t.TempDir()+"/store")
	others := samples(0, 600)
	others[300].ResultConfidence = 0.5
	if _, err := forged.PutAudits(t.Context(), others); err != nil {
		t.Fatal(err)
	}
	if rep, err := forged.Verify(t.Context(), audit.VerifyOptions{}); err != nil || !rep.OK() || len(rep.Against) > 0 {
		t.Fatalf("it does not fit together: %+v, %v", rep, err)
	}
	rep, err := forged.Verify(t.Context(), o)
	if err != nil || rep.Total != 3 || !slices.Equal(same(rep), []int64{0, 1, 200}) ||
		!hasProblem(rep, "checkpoint of 400: it is of 400 records of log.example.com, and the store has other ones: the first difference is among records 200 to 399") ||
		!hasProblem(rep, "checkpoint of 600: it is of 600 records of log.example.com, and the store has other ones") {
		t.Errorf("%q, %v", rep.Problems, err)
	}

	// With the tiles of the log the record has a name.
	o.Tiles = tiles
	was := sample(300)
	if rep, err := forged.Verify(t.Context(), o); err != nil || !hasProblem(rep, "record 300 ("+was.QueryID.String()+") is the first that is not what was signed") || rep.Total != 4 {
		t.Errorf("%q, %v", rep.Problems, err)
	}
	// Tiles of other records do not name one.
	o.Tiles = tilesOf(t, forged)
	if rep, err := forged.Verify(t.Context(), o); err != nil || rep.Total != 3 || len(rep.Notes) == 0 || !strings.Contains(rep.Notes[len(rep.Notes)-1], "the tiles are not those of checkpoint of 400") {
		t.Errorf("%q, %q, %v", rep.Problems, rep.Notes, err)
	}

	// Nor does a leaf that somebody has changed in the copy of the tiles, so that it does not lead to the signed root.
	o.Tiles = alteredTiles{tiles}
	if rep, err := forged.Verify(t.Context(), o); err != nil || rep.Total != 3 || len(rep.Notes) == 0 || !strings.Contains(rep.Notes[len(rep.Notes)-1], "the tiles are not those of checkpoint of 400") {
		t.Errorf("%q, %q, %v", rep.Problems, rep.Notes, err)
	}

	// Two checkpoints of one size, of which the store has one.
	o = s.against(t, tilesOf(t, forged), 400, 600)
	o.Against = append(o.Against, s.against(t, tiles, 400).Against...)
	if rep, err := forged.Verify(t.Context(), o); err != nil || rep.Total != 1 || !hasProblem(rep, "the two are of different histories") {
		t.Errorf("%q, %v", rep.Problems, err)
	}
	// A checkpoint of no records with the root of some.
	o = s.against(t, tiles, 200)
	o.Against = append(o.Against, audit.Against{Name: "of none", Signed: must(evidence.Sign(evidence.Checkpoint{Origin: s.key.Name(), Root: must(tree.Root(tiles, 7))}, s.key))})
	if rep, err := db.Verify(t.Context(), o); err != nil || rep.Total != 1 || !hasProblem(rep, "of none: it is of 0 records of log.example.com, and its root is not that of a log without records") {
		t.Errorf("%q, %v", rep.Problems, err)
	}
	// A store that was cut.
	put(t, db, sample(600), sample(601))
	o = s.against(t, tilesOf(t, db), 200, 602)
	short, _ := closedStore(t, 0, 600)
	if rep, err := openDB(t, short).Verify(t.Context(), o); err != nil || rep.Total != 1 || !slices.Equal(same(rep), []int64{200}) ||
		!hasProblem(rep, "checkpoint of 602: it is of 602 records of log.example.com, and the store has only 600") {
		t.Errorf("%q, %v", rep.Problems, err)
	}

	o.Quick = true
	if _, err := db.Verify(t.Context(), o); !errors.Is(err, audit.ErrInvalid) {
		t.Errorf("a quick check: %v", err)
	}
	o.Quick, o.Policy = false, nil
	if _, err := db.Verify(t.Context(), o); !errors.Is(err, audit.ErrNoLog) {
		t.Errorf("without a log of its own: %v", err)
	}
}

// The root is that of the records. What the store has written down of their hashes counts for nothing.
func TestCheckpointsAreComparedWithTheRecordsAlone(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	s := newSigner(t, "log.example.com")
	for what, test := range map[string]struct {
		statement string
		want      []int64
	}{
		"a record":             {`UPDATE kv SET value = CAST(replace(CAST(value AS TEXT), 'trace-300', 'trace-3xx') AS BLOB) WHERE key = x'004155443a%s'`, []int64{200}},
		"a missing record":     {`DELETE FROM kv WHERE key = x'004155443a%s'`, []int64{200}},
		"a missing entry":      {`DELETE FROM entry WHERE query_id = x'%s'`, []int64{200}},
		"a leaf hash":          {`UPDATE kv SET leaf = zeroblob(32) WHERE key = x'004155443a%s'`, []int64{200, 400, 600}},
		"the tiles":            {`UPDATE tile SET hashes = zeroblob(8192) WHERE 'x' <> '%s'`, []int64{200, 400, 600}},
		"the order of entries": {`UPDATE entry SET query_id = (SELECT query_id FROM entry e WHERE e.idx = 301) WHERE query_id = x'%s'`, []int64{200}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir, _ := closedStore(t, 0, 600)
			db := openDB(t, dir)
			o := s.against(t, tilesOf(t, db), 200, 400, 600)
			closeDB(t, db)
			sh := openShell(t, dir)
			sh.unguarded(fmt.Sprintf(test.statement, sample(300).QueryID))
			sh.exit()
			rep, err := openDB(t, dir, audit.ReadOnly()).Verify(t.Context(), o)
			if err != nil || rep.OK() || !slices.Equal(same(rep), test.want) || len(rep.Against) != 3 {
				t.Errorf("%d are the same, want %d: %q, %v", same(rep), test.want, rep.Problems, err)
			}
		})
	}
}
