package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/evidence/bundle"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/internal/treespec"
	"github.com/auditsql/auditsql/tree"
)

// signer is a log outside of any store: its key, and the policy that trusts it.
type signer struct {
	key    *evidence.Signer
	policy *evidence.Policy
}

func newSigner(t testing.TB, origin string) signer {
	t.Helper()
	private, public, err := evidence.GenerateKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	return signer{must(evidence.NewSigner(private)), must(evidence.KeyPolicy(public))}
}

// sign signs the tree of the first records of a store, and returns what proofs lead to it.
func (s signer) sign(t testing.TB, tiles tree.TileReader, size int) audit.ProveOptions {
	t.Helper()
	c := evidence.Checkpoint{Origin: s.key.Name(), Size: int64(size), Root: must(tree.Root(tiles, int64(size)))}
	return audit.ProveOptions{Checkpoint: must(evidence.Sign(c, s.key)), Policy: s.policy}
}

func tilesOf(t testing.TB, db *audit.DB) tree.TileReader {
	t.Helper()
	_, tiles, err := db.Tree(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return tiles
}

// In every small store each record has the proof of RFC 6962, and evidence.Verify takes it.
func TestEveryProofOfEverySmallStore(t *testing.T) {
	t.Parallel()
	most := 300
	if testing.Short() {
		most = 40
	}
	dir, _ := closedStore(t, 0, most)
	db := openDB(t, dir, audit.ReadOnly())
	leaves := exported(t, db)
	hashes := make([]tree.Hash, most)
	for i, leaf := range leaves {
		hashes[i] = treespec.Hash([]byte{0}, leaf)
	}
	s, tiles := newSigner(t, "log.example.com"), tilesOf(t, db)
	for size := 1; size <= most; size++ {
		o := s.sign(t, tiles, size)
		o.Before = uint64(size)
		root, n := treespec.Root(hashes[:size]), 0
		for rec, err := range db.ProveAll(t.Context(), audit.Filter{ByAdmission: true}, o) {
			if err != nil {
				t.Fatalf("record %d of %d: %v", n, size, err)
			}
			p := must(evidence.ParseProof(rec.Proof))
			err := tree.VerifyInclusion(p.Hashes, int64(n), int64(size), hashes[n], root)
			if err != nil || p.Index != int64(n) || rec.Index != uint64(n) || !bytes.Equal(rec.Raw, leaves[n]) {
				t.Fatalf("record %d of %d: %v\n%s", n, size, err, rec.Proof)
			}
			if n == 0 || n == size/3 || n == size-1 {
				v := evidence.Verify(rec.Raw, rec.Proof, s.policy)
				if v.Outcome != evidence.Proven || !slices.Equal(p.Hashes, treespec.Path(n, hashes[:size])) {
					t.Fatalf("record %d of %d: %v\n%s", n, size, v.Err(), rec.Proof)
				}
			}
			n++
		}
		if n != size {
			t.Fatalf("%d of %d records", n, size)
		}
	}
}

// One by one, and by filters in each order, records have the same proofs.
func TestProofsByIDAndByFilter(t *testing.T) {
	t.Parallel()
	dir, lines := closedStore(t, 0, 700)
	db := openDB(t, dir)
	s := newSigner(t, "log.example.com")
	o := s.sign(t, tilesOf(t, db), 700)
	p := must(db.Prover(t.Context(), o))
	if p.Checkpoint().Size != 700 || p.Policy() != s.policy {
		t.Errorf("%+v", p.Checkpoint())
	}
	one := map[audit.QueryID]audit.ProvenRecord{}
	for id, line := range lines {
		rec := must(p.Prove(t.Context(), id))
		if v := evidence.Verify([]byte(line), rec.Proof, s.policy); v.Err() != nil || rec.ID != id || string(rec.Raw) != line {
			t.Fatalf("%s: %v", id, v.Err())
		}
		one[id] = rec
	}
	agent := hashOf("agent", "1")
	for _, f := range []audit.Filter{
		{}, {Descending: true}, {ByAdmission: true}, {ByAdmission: true, Descending: true}, {Limit: 7}, {ByAdmission: true, Limit: 300},
		{Agent: &agent}, {Agent: &agent, ByAdmission: true, Limit: 40}, {Subject: ptr("subject 3"), Descending: true},
		{Attributes: []audit.Attribute{{Key: "trace_id", Value: "trace-300"}}}, {Predicate: ptr("none")},
	} {
		var want [][]byte
		for raw, err := range db.RawAudits(t.Context(), f) {
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, raw)
		}
		n := 0
		for rec, err := range db.ProveAll(t.Context(), f, o) {
			if err != nil {
				t.Fatalf("%+v: %v", f, err)
			}
			if has := one[rec.ID]; n == len(want) || !bytes.Equal(rec.Raw, want[n]) || !bytes.Equal(rec.Proof, has.Proof) || rec.Index != has.Index {
				t.Fatalf("%+v: record %d is %s with\n%s", f, n, rec.Raw, rec.Proof)
			}
			n++
		}
		if n != len(want) {
			t.Errorf("%+v: %d of %d", f, n, len(want))
		}
	}
}

// What was admitted after the checkpoint is refused, and not left out.
func TestARecordThatWasNotSignedYetHasNoProof(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 60)
	db := openDB(t, dir)
	s, ctx := newSigner(t, "log.example.com"), t.Context()
	o := s.sign(t, tilesOf(t, db), 60)
	put(t, db, sample(60), sample(61))
	var uncovered *audit.UncoveredError
	if _, err := db.Prove(ctx, sample(61).QueryID, o); !errors.Is(err, audit.ErrUncovered) || !errors.As(err, &uncovered) || uncovered.Index != 61 || uncovered.Signed != 60 {
		t.Errorf("a new record: %v", err)
	}
	if _, err := db.Prove(ctx, sample(59).QueryID, o); err != nil {
		t.Errorf("the last one that was signed: %v", err)
	}
	if _, err := db.Prove(ctx, hashOf("nobody"), o); !errors.Is(err, audit.ErrNotFound) {
		t.Errorf("no record: %v", err)
	}
	count := func(o audit.ProveOptions) (n int, err error) {
		for _, err = range db.ProveAll(ctx, audit.Filter{}, o) {
			if err == nil {
				n++
			}
		}
		return n, err
	}
	if n, err := count(o); n != 60 || !errors.Is(err, audit.ErrUncovered) {
		t.Errorf("all: %d, %v", n, err)
	}
	o.Before = 50
	if n, err := count(o); n != 50 || err != nil {
		t.Errorf("the first 50: %d, %v", n, err)
	}
	if _, err := db.Prove(ctx, sample(1).QueryID, audit.ProveOptions{}); !errors.Is(err, audit.ErrNoLog) {
		t.Errorf("without a log: %v", err)
	}
	later := s.sign(t, tilesOf(t, db), 62)
	closeDB(t, db)
	if _, err := db.Prove(ctx, sample(1).QueryID, o); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	shorter, _ := closedStore(t, 0, 60)
	var other *audit.TreeError
	if _, err := openDB(t, shorter).Prover(ctx, later); !errors.As(err, &other) || !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("a store that is shorter than what was signed: %v", err)
	}
}

// A checkpoint that nobody who is trusted has signed gets no evidence, and that is no damage.
func TestACheckpointThatDoesNotCount(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 20)
	db := openDB(t, dir)
	s, other := newSigner(t, "log.example.com"), newSigner(t, "log.example.com")
	o := s.sign(t, tilesOf(t, db), 20)
	for what, change := range map[string]func(*audit.ProveOptions){
		"of another key": func(o *audit.ProveOptions) { o.Policy = other.policy },
		"altered": func(o *audit.ProveOptions) {
			o.Checkpoint = bytes.Replace(o.Checkpoint, []byte("\n20\n"), []byte("\n19\n"), 1)
		},
		"cut":   func(o *audit.ProveOptions) { o.Checkpoint = o.Checkpoint[:40] },
		"empty": func(o *audit.ProveOptions) { o.Checkpoint = []byte{} },
	} {
		o := o
		change(&o)
		var bad *audit.CheckpointError
		if _, err := db.Prove(t.Context(), sample(1).QueryID, o); !errors.As(err, &bad) || errors.Is(err, audit.ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
		v := audit.VerifyOptions{Against: []audit.Against{{Name: "it", Signed: o.Checkpoint}}, Policy: o.Policy}
		if rep, err := db.Verify(t.Context(), v); !errors.As(err, &bad) || bad.Name != "it" {
			t.Errorf("verify, %s: %+v, %v", what, rep, err)
		}
	}
}

// No bit of the tree, of a record or of the order of admission can be changed so that a proof comes out that is false.
func TestNothingAlteredIsProven(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	from, lines := closedStore(t, 0, 600)
	s := newSigner(t, "log.example.com")
	db := openDB(t, from, audit.ReadOnly())
	o := s.sign(t, tilesOf(t, db), 600)
	closeDB(t, db)
	key := func(i int) string { return fmt.Sprintf("key = x'004155443a%s'", sample(i).QueryID) }
	other := sample(300)
	other.Attributes["trace_id"] = "trace-3xx"
	forged := canonical(t, &other)
	leaf := tree.LeafHash([]byte(forged))
	for what, test := range map[string]struct {
		statement string
		ids       []int // that have no proof any more
	}{
		"a leaf in its tile":         {`UPDATE tile SET hashes = zeroblob(32) || substr(hashes, 33) WHERE level = 0 AND n = 1`, []int{257, 300, 511}},
		"a leaf at the edge":         {`UPDATE edge SET hashes = substr(hashes, 1, 64) || zeroblob(32) || substr(hashes, 97) WHERE level = 0`, []int{0, 300, 514, 599}},
		"a node above":               {`UPDATE edge SET hashes = zeroblob(32) || substr(hashes, 33) WHERE level = 1`, []int{0, 300, 599}},
		"a tile that is missing":     {`DELETE FROM tile WHERE level = 0 AND n = 0`, []int{0, 255}},
		"a tile that is cut":         {`UPDATE tile SET hashes = substr(hashes, 1, 64) WHERE level = 0 AND n = 0`, []int{0, 255}},
		"a record":                   {`UPDATE kv SET value = CAST(replace(CAST(value AS TEXT), 'trace-300', 'trace-301') AS BLOB) WHERE ` + key(300), []int{300}},
		"a record that is missing":   {`DELETE FROM kv WHERE ` + key(300), []int{300}},
		"a record and its leaf":      {fmt.Sprintf(`UPDATE kv SET value = CAST('%s' AS BLOB), leaf = x'%x' WHERE %s`, forged, leaf[:], key(300)), []int{300}},
		"the numbers of two records": {`UPDATE audit SET idx = CASE idx WHEN 7 THEN 1000000 WHEN 300 THEN 7 END WHERE idx IN (7, 300); UPDATE audit SET idx = 300 WHERE idx = 1000000`, []int{7, 300}},
		"a record under the id of another one": {fmt.Sprintf(`UPDATE kv SET value = (SELECT value FROM kv WHERE %[2]s), leaf = (SELECT leaf FROM kv WHERE %[2]s) WHERE %[1]s;
			DELETE FROM audit WHERE idx = 300; UPDATE audit SET idx = 300 WHERE idx = 7`, key(7), key(300)), []int{7, 300}},
		"a record that has no number": {`DELETE FROM audit WHERE idx = 300`, []int{300}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "store")
			if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
			sh := openShell(t, dir)
			sh.unguarded(test.statement)
			sh.exit()
			db := openDB(t, dir, audit.ReadOnly())
			for _, i := range test.ids {
				rec, err := db.Prove(t.Context(), sample(i).QueryID, o)
				if !errors.Is(err, audit.ErrDamaged) || rec.Proof != nil {
					t.Errorf("record %d: %v\n%s", i, err, rec.Proof)
				}
			}
			proven := 0
			var last error
			for rec, err := range db.ProveAll(t.Context(), audit.Filter{ByAdmission: true}, o) {
				if last = err; err != nil {
					continue
				}
				if v := evidence.Verify([]byte(lines[rec.ID]), rec.Proof, s.policy); v.Err() != nil {
					t.Fatalf("record %d: %v", rec.Index, v.Err())
				}
				proven++
			}
			// All records in the order of admission come without table audit.
			inAudit := what == "the numbers of two records" || what == "a record that has no number"
			if inAudit != (last == nil) || inAudit != (proven == 600) || last != nil && !errors.Is(last, audit.ErrDamaged) {
				t.Errorf("%d proven, then %v", proven, last)
			}
			if rep, err := db.Verify(t.Context(), audit.VerifyOptions{}); err != nil || rep.OK() {
				t.Errorf("verify: %v", err)
			}
		})
	}
}

// All records between two checkpoints are a bundle that is proven, in bounded pieces, also from the first record on.
func TestAllRecordsBetweenTwoCheckpoints(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 600)
	db := openDB(t, dir)
	s, tiles := newSigner(t, "log.example.com"), tilesOf(t, db)
	leaves := exported(t, db)
	for _, r := range [][2]int{{0, 1}, {1, 2}, {0, 600}, {255, 257}, {256, 512}, {511, 600}, {300, 300}, {599, 600}} {
		o := s.sign(t, tiles, r[1])
		p := must(db.Prover(t.Context(), o))
		older := [][]byte{s.sign(t, tiles, r[0]).Checkpoint}
		if r[0] == 0 {
			older = append(older, nil)
		}
		for _, older := range older {
			edge, records, err := p.Between(t.Context(), older)
			if err != nil {
				t.Fatal(err)
			}
			var text bytes.Buffer
			out := filepath.Join(t.TempDir(), "bundle")
			err = bundle.WriteFolder(out, &bundle.Contents{Policy: p.Policy(), Range: &bundle.Range{Older: older, Newer: o.Checkpoint, Edge: edge, Records: io.TeeReader(records, &text)}})
			if err := errors.Join(err, records.Close()); err != nil {
				t.Fatalf("%v: %v", r, err)
			}
			if want := append(bytes.Join(leaves[r[0]:r[1]], []byte("\n")), '\n'); r[0] < r[1] && !bytes.Equal(text.Bytes(), want) || r[0] == r[1] && text.Len() > 0 {
				t.Errorf("%v: %s", r, &text)
			}
			files := must(bundle.Open(out))
			for f := range bundle.Check(files, s.policy) {
				if f.Kind != bundle.AllBetween || f.Verdict.Err() != nil || f.Verdict.Index != int64(r[0]) || f.Verdict.Checkpoint.Size != int64(r[1]) {
					t.Errorf("%v: %+v", r, f)
				}
			}
			if err := files.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	p := must(db.Prover(t.Context(), s.sign(t, tiles, 300)))
	var bad *audit.CheckpointError
	if _, _, err := p.Between(t.Context(), newSigner(t, "log.example.com").sign(t, tiles, 5).Checkpoint); !errors.As(err, &bad) {
		t.Errorf("of another key: %v", err)
	}
	if _, _, err := p.Between(t.Context(), s.sign(t, tiles, 301).Checkpoint); !errors.Is(err, audit.ErrInvalid) {
		t.Errorf("the other way round: %v", err)
	}
	lie := evidence.Checkpoint{Origin: s.key.Name(), Size: 5, Root: treespec.RootOf(leaves[1:6])}
	if _, _, err := p.Between(t.Context(), must(evidence.Sign(lie, s.key))); !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("of another history: %v", err)
	}
}

// A range of a store in which a record was changed together with its leaf hash ends with an error, and not with io.EOF.
func TestARangeWithAnotherRecordDoesNotEnd(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 600)
	s := newSigner(t, "log.example.com")
	db := openDB(t, dir, audit.ReadOnly())
	older, newer := s.sign(t, tilesOf(t, db), 100), s.sign(t, tilesOf(t, db), 600)
	closeDB(t, db)
	other := sample(300)
	other.Attributes["trace_id"] = "trace-3xx"
	forged := canonical(t, &other)
	leaf := tree.LeafHash([]byte(forged))
	sh := openShell(t, dir)
	sh.unguarded(fmt.Sprintf(`UPDATE kv SET value = CAST('%s' AS BLOB), leaf = x'%x' WHERE key = x'004155443a%s'`, forged, leaf[:], other.QueryID))
	sh.exit()
	db = openDB(t, dir, audit.ReadOnly())
	p := must(db.Prover(t.Context(), newer))
	_, records, err := p.Between(t.Context(), older.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer records.Close()
	var broken *audit.TreeError
	if n, err := io.Copy(io.Discard, records); !errors.As(err, &broken) || n == 0 {
		t.Errorf("after %d bytes: %v", n, err)
	}
}

// A proof between two sizes is that of RFC 6962.
func TestConsistencyOfAStore(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 600)
	db := openDB(t, dir)
	var hashes []tree.Hash
	for _, leaf := range exported(t, db) {
		hashes = append(hashes, treespec.Hash([]byte{0}, leaf))
	}
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.IntRange(1, 600).Draw(rt, "size")
		old := rapid.IntRange(1, size).Draw(rt, "old")
		got, err := db.Consistency(t.Context(), uint64(old), uint64(size))
		if want := treespec.Subproof(old, hashes[:size], true); err != nil || !slices.Equal(got, want) {
			rt.Fatalf("%v, %v", got, err)
		}
	})
	for _, sizes := range [][2]uint64{{2, 1}, {1, 601}, {601, 601}, {1 << 63, 1 << 63}} {
		if proof, err := db.Consistency(t.Context(), sizes[0], sizes[1]); !errors.Is(err, audit.ErrInvalid) {
			t.Errorf("%v: %v, %v", sizes, proof, err)
		}
	}
}
