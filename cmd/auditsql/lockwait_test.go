package main

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// A signal ends a command that waits for the lock at once: it does not wait until its patience ends.
func TestASignalEndsTheWaitForTheLock(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent these signals there")
	}
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	p := start(t, "-d", dir, "put", "--lock-wait", "1h")
	// This is more than a pipe holds. When put has read it, put listens for signals, and opens the store next.
	line, _ := record(1)
	if _, err := io.WriteString(p.in, strings.Repeat(" ", 1<<20)+line); err != nil {
		t.Fatal(err)
	}
	p.in.Close()
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	giveUp := time.AfterFunc(time.Minute, func() { p.Process.Kill() })
	defer giveUp.Stop()
	_ = p.Wait()
	if code := p.ProcessState.ExitCode(); code != exitInterrupted || p.said.String() != "auditsql: put: interrupted\n" {
		t.Errorf("exit code %d\n%s", code, p.said)
	}
}
