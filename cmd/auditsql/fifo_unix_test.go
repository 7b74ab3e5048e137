//go:build unix

package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// A check that waits for more of an export ends at the first signal.
func TestASignalEndsACheckThatWaits(t *testing.T) {
	t.Parallel()
	fifo, golden := filepath.Join(t.TempDir(), "fifo"), filepath.Join(goldenEvidence(t), "log")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(golden, "key"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("auditsql", "check", "--export", fifo, "--checkpoint", filepath.Join(golden, "checkpoint"), "--key", strings.TrimSpace(string(key)))
	cmd.Env = append(os.Environ(), "GORACE="+withoutNap)
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	// This returns when the command has opened the FIFO too. Then it waits for what is never written.
	writer, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || said.String() != "auditsql: check: interrupted\n" {
		t.Errorf("exit code %d: %s", code, said.String())
	}
}

// Opening a FIFO for writing waits for a reader. The first signal ends the run all the same, and the store is closed.
func TestASignalEndsAnOpeningThatWaits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo, store := filepath.Join(dir, "fifo"), filepath.Join(dir, "store")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("auditsql", "-d", store, "import", "-", "--rejects", fifo)
	cmd.Env = append(os.Environ(), "GORACE="+withoutNap)
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	said := bufio.NewReader(stderr)
	// It opens the FIFO after it has said that it made the store.
	if line, err := said.ReadString('\n'); err != nil || !strings.HasPrefix(line, "note: made a new store") {
		t.Fatalf("it said %q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, _ := said.ReadString(0)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || rest != "auditsql: import: interrupted\n" {
		t.Errorf("exit code %d: %s", code, rest)
	}
	if needs, err := audit.NeedsRecovery(t.Context(), store); err != nil || needs != "" {
		t.Errorf("the store was not closed: %v, %v", needs, err)
	}
}
