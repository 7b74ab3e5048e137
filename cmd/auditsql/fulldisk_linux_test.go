package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A disk that is full stops the writer with a clear word. What it had answered is there, and when there is room
// again, all goes on.
func TestAFullDisk(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=40m"); err != nil {
		t.Skipf("a disk of its own cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	store, ballast := filepath.Join(disk, "store"), filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 38<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "-d", store, "import", "-", "--ack")
	var answered []string
	for id := range feed(p, 1) {
		answered = append(answered, id)
	}
	_ = p.Wait()
	if code := p.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(p.said.String(), "full") && !strings.Contains(p.said.String(), "no space left on device") {
		t.Fatalf("exit code %d: %s", code, p.said)
	}
	// As long as it is full, nothing gets worse.
	if _, said, code := ask("-d", store, "put", "--subject", "x"); code == exitDone {
		t.Logf("there is room for one more: %s", said)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	wantAnswered(t, store, answered)
	if out, said, code := ask("-d", store, "put", "--subject", "x"); code != exitDone {
		t.Fatalf("put: %s%s", out, said)
	}
	if out, said, code := ask("-d", store, "verify"); code != exitDone {
		t.Fatalf("verify: %s%s", out, said)
	}
	t.Logf("%d records answered", len(answered))
}
