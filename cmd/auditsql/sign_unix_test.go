//go:build unix

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
		// This waits until the import has signed and delivered. A checkpoint comes again when it was still being delivered
		// at the next --every.
		size := signedSize(t, pipe)
		for size == i-1 {
			size = signedSize(t, pipe)
		}
		if size != i {
			t.Errorf("%d records are signed, want %d", size, i)
		}
	}
}

// signedSize waits for a checkpoint to come through a pipe, and returns how many records it has.
func signedSize(t *testing.T, pipe string) int {
	t.Helper()
	f, err := os.Open(pipe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	note, err := io.ReadAll(f)
	lines := strings.Split(string(note), "\n")
	if err != nil || len(lines) < 3 {
		t.Fatalf("%q, %v", note, err)
	}
	size, err := strconv.Atoi(lines[1])
	if err != nil {
		t.Fatal(err)
	}
	return size
}
