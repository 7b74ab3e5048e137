//go:build unix

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// While one long import runs, its log is signed as often as --every says.
func TestALongImportIsSignedMeanwhile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, key, pipe := filepath.Join(dir, "store"), filepath.Join(dir, "key"), filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"key", "new", "log.example.com", "-o", key}, {"-d", store, "init"},
		{"-d", store, "log", "init", "--key", key, "--every", "1h", "--exec", "cat > '" + pipe + "'"},
	} {
		if out, err := exec.Command("auditsql", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	p := start(t, "-d", store, "import", "-", "--ack", "--every", "10ms")
	for i := 1; i <= 3; i++ {
		p.write(t, fmt.Sprintf(`{"timestamp":%d,"params":{},"result_confidence":0.5}`, i))
		p.answer(t)
		// This waits until the import has signed and delivered.
		f, err := os.Open(pipe)
		if err != nil {
			t.Fatal(err)
		}
		note, err := io.ReadAll(f)
		f.Close()
		if lines := strings.Split(string(note), "\n"); err != nil || len(lines) < 3 || lines[1] != fmt.Sprint(i) {
			t.Errorf("%q, %v; want %d records", note, err, i)
		}
	}
}
