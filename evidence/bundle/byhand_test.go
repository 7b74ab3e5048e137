package bundle_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/evidence/bundle"
	"github.com/auditsql/auditsql/internal/sequential"
)

// Whoever follows the README of a bundle with a shell and OpenSSL proves each record, and no record, proof or key that was
// changed.
func TestByHand(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	need(t, "sh", "openssl", "sed", "mktemp")
	l := newLog(t, 11)
	dir := filepath.Join(t.TempDir(), "bundle")
	if err := bundle.WriteFolder(dir, l.contents()); err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(dir, "README.txt"))
	if err != nil {
		t.Fatal(err)
	}
	_, script, found := strings.Cut(string(readme), "\nset -eu\n")
	script, _, ended := strings.Cut("set -eu\n"+script, "\nCheck the range")
	if !found || !ended || script != bundle.ByHand {
		t.Fatalf("the script in the README is\n%s", script)
	}
	typed := regexp.MustCompile(`(?m)^    sh check\.sh KEY (\S+) (\S+)$`).FindSubmatch(readme)
	if typed == nil {
		t.Fatal("the README does not say how the script is run")
	}
	key := l.signer.VerifierKey()
	run := func(key string, record, proof []byte) (string, error) {
		in := t.TempDir()
		for name, content := range map[string][]byte{"check.sh": []byte(script), "record": record, "proof": proof} {
			if err := os.WriteFile(filepath.Join(in, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := exec.CommandContext(t.Context(), "sh", "check.sh", key, "record", "proof")
		c.Dir = in
		out, err := c.CombinedOutput()
		return string(out), err
	}
	for size, indexes := range map[int64][]int64{1: {0}, 2: {1}, 7: {0, 3, 6}, 8: {5}, 11: {7, 8, 10}} {
		for _, index := range indexes {
			out, err := run(key, l.records[index], l.proof(index, size))
			if err != nil || !strings.HasPrefix(out, "proven: record ") {
				t.Errorf("record %d of %d: %v\n%s", index, size, err, out)
			}
		}
	}
	record, err := os.ReadFile(filepath.Join(dir, string(typed[1])))
	if err != nil {
		t.Fatal(err)
	}
	proof, err := os.ReadFile(filepath.Join(dir, string(typed[2])))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := run(key, record, proof); err != nil {
		t.Errorf("the record of the README: %v\n%s", err, out)
	}

	refused := func(what, key string, record, proof []byte) {
		t.Helper()
		if out, err := run(key, record, proof); err == nil || strings.Contains(out, "proven") {
			t.Errorf("%s is proven: %s", what, out)
		}
	}
	other := []byte(strings.Replace(string(proof), "index ", "index 1", 1))
	refused("another index", key, record, other)
	refused("an index with a zero before it", key, record, []byte(strings.Replace(string(proof), "index ", "index 0", 1)))
	refused("an index after all records", key, record, regexp.MustCompile(`index \d+`).ReplaceAll(proof, []byte("index 11")))
	refused("no index", key, record, bytes.Replace(proof, []byte("index "), []byte("index"), 1))
	refused("another size", key, record, bytes.Replace(proof, []byte("\n11\n"), []byte("\n12\n"), 1))
	refused("another version", key, record, bytes.Replace(proof, []byte("@v1"), []byte("@v2"), 1))
	refused("another name", key, record, bytes.ReplaceAll(proof, []byte("payments"), []byte("payment5")))
	refused("another key", strings.Replace(key, "payments+", "receipts+", 1), record, proof)
	refused("no record", key, nil, proof)
	refused("no proof", key, record, nil)
	refused("a line feed more", key, append(bytes.Clone(record), '\n'), proof)
	for i := 0; i < len(record); i += 67 {
		m := bytes.Clone(record)
		m[i] ^= 1
		refused("an altered record", key, m, proof)
	}
	lines := bytes.SplitAfter(proof, []byte("\n"))
	for i, line := range lines {
		// In the middle of a line of base64 each bit counts.
		if len(line) < 40 {
			continue
		}
		m := bytes.Clone(line)
		at := len(m) - 20
		m[at] = map[bool]byte{true: 'B', false: 'A'}[m[at] == 'A']
		altered := append(append(append([][]byte{}, lines[:i]...), m), lines[i+1:]...)
		refused("an altered line "+string(line), key, record, bytes.Join(altered, nil))
		without := append(append([][]byte{}, lines[:i]...), lines[i+1:]...)
		refused("a proof without the line "+string(line), key, record, bytes.Join(without, nil))
	}
}

// need skips a test where a program is missing. CI has them all.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
}
