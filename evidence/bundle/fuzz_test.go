package bundle_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/evidence/bundle"
)

// Whatever an archive has in it, no record is proven that is not in the log, and all that is there gets a finding.
func FuzzArchive(f *testing.F) {
	l := newLog(f, 11)
	for _, c := range []*bundle.Contents{l.contents(), {Policy: l.policy, Records: l.some(2)}, {Policy: l.policy, Range: l.between(0, 1)}} {
		var b bytes.Buffer
		if err := bundle.WriteZip(&b, c); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte("PK"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		path := filepath.Join(t.TempDir(), "a.zip")
		if err := os.WriteFile(path, archive, 0o600); err != nil {
			t.Fatal(err)
		}
		files, err := bundle.Open(path)
		if err != nil {
			return
		}
		defer files.Close()
		n := 0
		for found := range bundle.Check(files, l.policy) {
			n++
			v := found.Verdict
			known := slices.ContainsFunc(l.records, func(r []byte) bool { return bytes.Equal(r, found.Record) })
			if v.Outcome == evidence.Proven && found.Kind == bundle.OneRecord && !known {
				t.Errorf("%s is proven: %q", found.Path, found.Record)
			}
			if (v.Outcome == evidence.Proven) != (v.Detail == "") || v.Outcome == evidence.Proven && found.Kind == bundle.OtherFile {
				t.Errorf("%s: %+v", found.Path, v)
			}
		}
		if n == 0 {
			t.Error("there is no finding")
		}
	})
}
