package bundle_test

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/evidence/bundle"
	"github.com/auditsql/auditsql/tree"
)

var update = flag.Bool("update", false, "write the files of testdata again")

// golden is evidence as it left a log of eleven records. Tests of other packages and docs/proof.md use it too. Every later
// version must prove it, so only its README may change.
const golden = "../testdata/log"

func TestGoldenBundle(t *testing.T) {
	t.Parallel()
	l := newLog(t, 11)
	files := map[string][]byte{
		"key":           []byte(l.signer.VerifierKey() + "\n"),
		"export.ndjson": l.lines(0, 11),
		"older":         l.head(5),
		"checkpoint":    l.head(11),
	}
	proof, err := tree.Consistency(l.edge.Reader(nil), 5, 11)
	if err != nil {
		t.Fatal(err)
	}
	files["consistency"] = evidence.FormatHashes(proof)
	for name, file := range inMemory(t, l.contents()) {
		files["bundle/"+name] = file.Data
	}
	for name, want := range files {
		path := filepath.Join(golden, filepath.FromSlash(name))
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is written as\n%s\nnot as\n%s", name, want, got)
		}
	}
	archive := filepath.Join(golden, "bundle.zip")
	if *update {
		var b bytes.Buffer
		if err := bundle.WriteZip(&b, l.contents()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(archive, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// The archive was written once: another version of Go may compress otherwise.
	for _, path := range []string{filepath.Join(golden, "bundle"), archive} {
		read, err := bundle.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		proven := 0
		for f := range bundle.Check(read, l.policy) {
			if err := f.Verdict.Err(); err != nil {
				t.Errorf("%s: %s: %v", path, f.Path, err)
			}
			proven++
		}
		if _, err := fs.Stat(read, "README.txt"); proven != 3 || err != nil {
			t.Errorf("%s has %d pieces of evidence (%v)", path, proven, err)
		}
		if err := read.Close(); err != nil {
			t.Error(err)
		}
	}
	consistent := evidence.VerifyConsistency(files["older"], files["checkpoint"], proof, l.policy)
	complete := evidence.VerifyExport(bytes.NewReader(files["export.ndjson"]), files["checkpoint"], l.policy)
	if consistent.Err() != nil || complete.Err() != nil {
		t.Errorf("%v, %v", consistent.Err(), complete.Err())
	}
}
