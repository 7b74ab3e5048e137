package audit_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/keyfile"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/tree"
)

// damagedTree is a copy of a store's folder in which somebody has changed the database.
func damagedTree(t *testing.T, from string, statements ...string) (dir string) {
	t.Helper()
	dir = killed(t, from)
	s := openShell(t, dir)
	s.unguarded(statements...)
	s.exit()
	return dir
}

// The tree is made again from the records when these are the ones that were signed, and verify names that as the cure.
func TestRebuildTree(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	for _, signs := range []bool{false, true} {
		from := filepath.Join(t.TempDir(), "store")
		opts := []audit.Option{}
		if signs {
			key, _ := newKey(t)
			opts = append(opts, audit.WithSigner(audit.LogOptions{Key: key}))
		}
		db := openDB(t, from, opts...)
		putSamples(t, db, 0, 600)
		size, root, err := db.Root(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		closeDB(t, db)
		dir := damagedTree(t, from, `UPDATE tile SET hashes = zeroblob(8192) WHERE n = 0`, `DELETE FROM tile WHERE n = 1`)
		rep, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{})
		if err != nil || rep.OK() || !slices.ContainsFunc(rep.Notes, func(n string) bool { return strings.Contains(n, "log rebuild") }) {
			t.Errorf("verify names no cure: %+v, %v", rep, err)
		}
		stages := map[string]bool{}
		done, err := audit.RebuildTree(t.Context(), dir, func(stage string, done, total uint64) {
			stages[stage] = true
			if done > total || total != size {
				t.Errorf("%s: %d of %d", stage, done, total)
			}
		})
		if err != nil || done.Tiles != 2 || done.Edges != 0 || done.Size != size || done.Root != root || signs != (done.Signed != nil) || len(stages) != 2 {
			t.Errorf("%+v, %v; stages %v", done, err, stages)
		}
		db = openDB(t, dir)
		putSamples(t, db, 600, 700)
		wantExportedRoot(t, db)
		wantSound(t, db)
		closeDB(t, db)
		if done, err = audit.RebuildTree(t.Context(), dir, nil); err != nil || done.Tiles != 0 || done.Edges != 0 {
			t.Errorf("again: %+v, %v", done, err)
		}
	}
}

// A tree that does not lead to the signed root is left as it is, and so is one under a damaged record.
func TestATreeIsNotRebuiltFromOtherRecords(t *testing.T) {
	t.Parallel()
	from, _ := signedStore(t, 300)
	q := sample(7)
	other := q
	other.ResultConfidence = 0.5
	forged := []byte(canonical(t, &other))
	leaf := tree.LeafHash(forged)
	key := fmt.Sprintf(`x'004155443a%s'`, q.QueryID)
	for name, c := range map[string]struct {
		statement string
		want      error
	}{
		"a record changed":      {fmt.Sprintf(`UPDATE kv SET value = x'%x' WHERE key = %s`, forged, key), audit.ErrDamaged},
		"a record and its leaf": {fmt.Sprintf(`UPDATE kv SET value = x'%x', leaf = x'%x' WHERE key = %s`, forged, leaf[:], key), audit.ErrForked},
	} {
		dir := damagedTree(t, from, c.statement, `DELETE FROM tile`)
		if done, err := audit.RebuildTree(t.Context(), dir, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v", name, done, err)
		}
		s := openShell(t, dir)
		if n := s.ask(`SELECT count(*) FROM tile`); n != 0 {
			t.Errorf("%s: %d tiles were made", name, n)
		}
		s.exit()
	}
	if _, err := audit.RebuildTree(t.Context(), filepath.Join(t.TempDir(), "none"), nil); !errors.Is(err, audit.ErrNoStore) {
		t.Errorf("no store: %v", err)
	}
}

// Nothing is signed of the newest records, or of any. The journal says what they were: a tree of other ones would be signed next.
func TestATreeIsNotRebuiltFromUnsignedRecordsThatTheJournalHasOtherwise(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	for _, signs := range []bool{false, true} {
		from, _ := closedStore(t, 0, 300)
		if signs {
			key, _ := newKey(t)
			from, _ = closedStore(t, 0, 200)
			closeDB(t, openDB(t, from, audit.WithSigner(audit.LogOptions{Key: key})))
			if err := os.Rename(key, key+".away"); err != nil {
				t.Fatal(err)
			}
			db := openDB(t, from)
			putSamples(t, db, 200, 300)
			closeDB(t, db)
			if err := os.Rename(key+".away", key); err != nil {
				t.Fatal(err)
			}
		}
		q := sample(250)
		other := q
		other.ResultConfidence = 0.5
		forged := []byte(canonical(t, &other))
		leaf := tree.LeafHash(forged)
		dir := damagedTree(t, from, fmt.Sprintf(`UPDATE kv SET value = x'%x', leaf = x'%x' WHERE key = x'004155443a%s'`, forged, leaf[:], q.QueryID), `DELETE FROM tile`)
		done, err := audit.RebuildTree(t.Context(), dir, nil)
		if !errors.Is(err, audit.ErrDamaged) || !strings.Contains(err.Error(), q.QueryID.String()) {
			t.Errorf("signs %v: %+v, %v", signs, done, err)
		}
		rep, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{})
		if err != nil || slices.ContainsFunc(rep.Notes, func(n string) bool { return strings.Contains(n, "log rebuild") }) {
			t.Errorf("signs %v: verify names a cure that is refused: %q, %v", signs, rep.Notes, err)
		}
		s := openShell(t, dir)
		if n := s.ask(`SELECT count(*) FROM tile`); n != 0 {
			t.Errorf("signs %v: %d tiles were made", signs, n)
		}
		s.exit()
	}
}

// The way out of each refusal, for a library: a successor, another key, a memory.
func TestTheLogOfAStoreIsChanged(t *testing.T) {
	t.Parallel()
	dir, lines := restored(t, 20, 10)
	oldKey := must(os.ReadFile(filepath.Join(dir, "log.json")))
	old := strings.Split(strings.SplitAfter(string(oldKey), `"key": "`)[1], `"`)[0]
	next, third := filepath.Join(t.TempDir(), "next"), filepath.Join(t.TempDir(), "third")
	for _, file := range []string{next, third} {
		must(keyfile.Create(file, "log.example.com/2"))
	}
	last := must(os.ReadFile(old + ".signed"))
	change, err := audit.SucceedLog(t.Context(), dir, audit.Successor{LogOptions: audit.LogOptions{Key: next}, After: last, Reason: "lost"})
	if err != nil || change.Origin != "log.example.com/2" || change.Signed.Size != 20 {
		t.Fatalf("%+v, %v", change, err)
	}
	db := openDB(t, dir)
	putSamples(t, db, 1000, 1005)
	closeDB(t, db)
	if _, err := catchUp(t, dir, textOf(lines)); err != nil {
		t.Errorf("nothing is missing in the new log: %v", err)
	}
	change, err = audit.RotateKey(t.Context(), dir, third)
	if err != nil || change.Signed.Size != 25 {
		t.Fatalf("%+v, %v", change, err)
	}
	note := must(os.ReadFile(third + ".signed"))
	if err := os.Remove(third + ".signed"); err != nil {
		t.Fatal(err)
	}
	db = openDB(t, dir)
	putSamples(t, db, 1005, 1010)
	if _, err := db.Sign(t.Context()); !errors.Is(err, audit.ErrNoMemory) {
		t.Errorf("signed without a memory: %v", err)
	}
	closeDB(t, db)
	if _, err := audit.AdoptCheckpoint(t.Context(), dir, nil, last); !errors.Is(err, audit.ErrInvalid) {
		t.Errorf("a checkpoint of the first log is adopted: %v", err)
	}
	if change, err = audit.AdoptCheckpoint(t.Context(), dir, nil, note); err != nil || change.Signed.Size != 25 {
		t.Errorf("%+v, %v", change, err)
	}
	db = openDB(t, dir)
	if sig, err := db.Sign(t.Context()); err != nil || sig.Size != 30 {
		t.Errorf("%+v, %v", sig, err)
	}
	closeDB(t, db)
}
