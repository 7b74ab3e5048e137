package audit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// goldenLines reads a file of testdata/records, a record a line.
func goldenLines(t testing.TB, name string) [][]byte {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("..", "testdata", "records", name))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSuffix(file, []byte("\n")), []byte("\n"))
}

// The golden records were written by another program (testdata/records/README.md). If this test fails, ids
// that exist in the world are no longer what they were: it is the code that is wrong.
func TestGoldenRecords(t *testing.T) {
	inputs, canonical := goldenLines(t, "inputs.ndjson"), goldenLines(t, "canonical.ndjson")
	if len(inputs) != len(canonical) {
		t.Fatalf("%d inputs, %d canonical records", len(inputs), len(canonical))
	}
	for i, input := range inputs {
		line := i + 1
		q, err := audit.ParseAudit(input)
		if err != nil {
			t.Errorf("inputs.ndjson:%d: %v", line, err)
			continue
		}
		written, err := q.Canonical()
		if err != nil {
			t.Errorf("inputs.ndjson:%d: %v", line, err)
			continue
		}
		if !bytes.Equal(written, canonical[i]) {
			t.Errorf("inputs.ndjson:%d is written as\n%s\nwant\n%s", line, written, canonical[i])
		}

		again, err := audit.ParseCanonical(canonical[i])
		if err != nil {
			t.Errorf("canonical.ndjson:%d: %v", line, err)
			continue
		}
		if rewritten, err := again.Canonical(); err != nil || !bytes.Equal(rewritten, canonical[i]) {
			t.Errorf("canonical.ndjson:%d is written as\n%s\nerror %v", line, rewritten, err)
		}
	}
}
