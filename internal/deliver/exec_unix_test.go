//go:build unix

package deliver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/auditsql/auditsql/internal/deliver"
)

func TestACommandGetsTheCheckpoint(t *testing.T) {
	t.Parallel()
	s := newLog(t).grow(3, "a").at(3)
	out := filepath.Join(t.TempDir(), "out")
	command := fmt.Sprintf("{ cat; echo \"$AUDITSQL_ORIGIN $AUDITSQL_SIZE $AUDITSQL_ROOT\"; } > '%s'", out)
	target := deliver.Exec(command)
	if err := target.Deliver(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	want := fmt.Appendf(bytes.Clone(s.Note), "%s 3 %s\n", origin, s.Checkpoint.Root)
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if target.Name() != "exec "+command {
		t.Errorf("its name is %q", target.Name())
	}
}

func TestACommandThatFails(t *testing.T) {
	t.Parallel()
	s := newLog(t).grow(3, "a").at(3)
	for command, says := range map[string]string{
		"exit 0":                                "",
		"echo done":                             "",
		"exit 3":                                "exit status 3",
		"echo no such remote >&2; exit 1":       `exit status 1; its output: "no such remote"`,
		"yes | head -c 100000; echo end; false": `y\nend"`,
		"kill -9 $$":                            "signal: killed",
		"sleep 10 &":                            "it left a process running",
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			err := deliver.Exec(command).Deliver(t.Context(), s)
			if (err == nil) != (says == "") || err != nil && (!strings.Contains(err.Error(), says) || len(err.Error()) > 4000) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// When its time is over, everything that a command has started is gone.
func TestACommandIsKilledWithItsGroup(t *testing.T) {
	t.Parallel()
	s := newLog(t).grow(3, "a").at(3)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- deliver.Exec(fmt.Sprintf("exec 3> '%s'; (echo ready >&3; sleep 10; echo alive >&3) & wait", fifo)).Deliver(ctx, s)
	}()
	f, err := os.Open(fifo) // returns when the command has opened it too
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.ReadFull(f, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "it was killed") {
		t.Errorf("got %v", err)
	}
	// The pipe ends when no process has it open any more.
	if rest, err := io.ReadAll(f); err != nil || len(rest) > 0 {
		t.Errorf("a process goes on: %q, %v", rest, err)
	}
}
