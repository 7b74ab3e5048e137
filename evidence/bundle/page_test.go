package bundle_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/evidence"
)

// driver calls the functions of the page for each line of its input, and says which of them returned. A signature that
// was checked is not checked again, since each check starts a process.
const driver = `
import base64, functools, io, json, sys
import check
check.signed_by = functools.cache(check.signed_by)
d = base64.b64decode
for line in sys.stdin:
    key, what, *files = json.loads(line)
    f = [d(b or "") for b in files]
    try:
        if what == "record":
            check.check_record(key, f[0], f[1].decode())
        elif what == "export":
            check.check_all(key, io.BytesIO(f[0]), f[1].decode())
        else:
            check.check_range(key, f[0].decode(), f[1].decode(), io.BytesIO(f[2]), f[3].decode())
        print("proven")
    except ValueError:
        print("refused")
`

// A pageCase is one call of the page.
type pageCase struct {
	name string
	call []any // key, what, files
}

// The page of Python in docs/proof.md proves the evidence of this package, and refuses every altered form of it.
func TestThePageOfPython(t *testing.T) {
	t.Parallel()
	need(t, "python3", "openssl")
	document, err := os.ReadFile(filepath.Join("..", "..", "docs", "proof.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := regexp.MustCompile("(?s)\n```python\n(.*?)```\n").FindSubmatch(document)
	if page == nil {
		t.Fatal("docs/proof.md has no Python")
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"check.py": page[1], "driver.py": []byte(driver)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := newLog(t, 11)
	key := l.signer.VerifierKey()

	// As a person runs it.
	bundleDir, err := filepath.Abs(filepath.Join(golden, "bundle"))
	if err != nil {
		t.Fatal(err)
	}
	record := filepath.Join(bundleDir, "records", l.names[2])
	for want, args := range map[string][]string{
		"proven: record 2 of 11\n":           {"record", record + ".json", record + ".tlog-proof"},
		"proven: all records from 0 to 10\n": {"export", filepath.Join(bundleDir, "..", "export.ndjson"), filepath.Join(bundleDir, "..", "checkpoint")},
		"proven: all records from 5 to 10\n": {"range", filepath.Join(bundleDir, "range")},
	} {
		c := exec.CommandContext(t.Context(), "python3", append([]string{"check.py", key}, args...)...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}

	var good, bad []pageCase
	for _, size := range []int64{1, 2, 5, 8, 11} {
		for index := range size {
			good = append(good, pageCase{fmt.Sprintf("record %d of %d", index, size), []any{key, "record", l.records[index], l.proof(index, size)}})
		}
		good = append(good, pageCase{fmt.Sprintf("all of %d", size), []any{key, "export", l.lines(0, size), l.head(size)}})
		good = append(good, pageCase{fmt.Sprintf("after %d", size), []any{key, "range", l.head(size), edgeOf(l, size), l.lines(size, 11), l.head(11)}})
	}
	good = append(good, pageCase{"an empty log", []any{key, "export", l.lines(0, 0), l.head(0)}})
	step := 1
	if testing.Short() {
		step = 7
	}
	for _, c := range []pageCase{
		{"a record", []any{key, "record", l.records[9], l.proof(9, 11)}},
		{"an export", []any{key, "export", l.lines(0, 3), l.head(3)}},
		{"a range", []any{key, "range", l.head(5), edgeOf(l, 5), l.lines(5, 7), l.head(7)}},
	} {
		for n := 2; n < len(c.call); n++ {
			is := c.call[n].([]byte)
			alter := func(what string, at int, b []byte) {
				if bytes.Equal(b, is) {
					return
				}
				call := slices.Clone(c.call)
				call[n] = b
				bad = append(bad, pageCase{fmt.Sprintf("%s, file %d, byte %d %s", c.name, n-1, at, what), call})
			}
			step := step
			if c.call[1] != "record" {
				step *= 5 // the same functions read the checkpoints
			}
			for i := 0; i < len(is); i += step {
				m := bytes.Clone(is)
				m[i] ^= 1 << (i % 8)
				alter("altered", i, m)
				alter("gone", i, slices.Delete(bytes.Clone(is), i, i+1))
				alter("twice", i, slices.Insert(bytes.Clone(is), i, is[i]))
			}
			for i := 0; i < len(is); i += 5 * step {
				for _, s := range []string{"\r", "\n", " ", "0", "+"} {
					alter(fmt.Sprintf("after %q", s), i, slices.Insert(bytes.Clone(is), i, s[0]))
				}
				alter("cut", i, is[:i])
			}
			alter("and all of it once more", 0, append(bytes.Clone(is), is...))
			alter("and a line feed more", len(is), append(bytes.Clone(is), '\n'))
		}
		for _, k := range []string{strings.Replace(key, "payments", "receipts", 1), strings.Replace(key, "+c", "+d", 1), key[:len(key)-1], key + "="} {
			bad = append(bad, pageCase{c.name + " with the key " + k, append([]any{k}, c.call[1:]...)})
		}
	}
	if len(bad) < 500 {
		t.Errorf("only %d altered forms", len(bad))
	}
	for i, said := range runPage(t, dir, append(slices.Clone(good), bad...)) {
		switch {
		case i < len(good) && said != "proven":
			t.Errorf("%s: %s", good[i].name, said)
		case i >= len(good) && said != "refused":
			t.Errorf("%s: %s", bad[i-len(good)].name, said)
		}
	}
}

func edgeOf(l *testLog, size int64) []byte {
	return evidence.FormatHashes(l.between(size, size).Edge.Hashes())
}

// runPage runs the page for each case, and returns what it says of each.
func runPage(t *testing.T, dir string, cases []pageCase) []string {
	t.Helper()
	var in bytes.Buffer
	for _, c := range cases {
		b, err := json.Marshal(c.call)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(b, '\n'))
	}
	c := exec.CommandContext(t.Context(), "python3", "driver.py")
	c.Dir, c.Stdin = dir, &in
	out, err := c.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%v: %s", err, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		said = append(said, s.Text())
	}
	if len(said) != len(cases) {
		t.Fatalf("%d answers to %d cases", len(said), len(cases))
	}
	return said
}
