package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

// afterExit is how long the processes that a command has started may keep its output open after the command has ended.
const afterExit = time.Second

// Exec returns a command that gets each checkpoint: the signed note is its standard input. The shell runs it (/bin/sh -c, on
// Windows cmd /C), with these variables in its environment:
//
//	AUDITSQL_ORIGIN   the name of the log
//	AUDITSQL_SIZE     how many records it has
//	AUDITSQL_ROOT     the root of the tree over them, in base64
//
// The checkpoint is delivered when the command exits with 0. When ctx ends, the command is killed with all processes of its
// group. The end of its output is in the error.
func Exec(command string) Target { return &shellCommand{line: command} }

type shellCommand struct {
	line string
	mu   sync.Mutex // one delivery at a time
}

func (c *shellCommand) Name() string { return "exec " + c.line }

func (c *shellCommand) Deliver(ctx context.Context, s Signed) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out tail
	err := Run(ctx, c.line, Input{Text: s.Note, Env: []string{
		"AUDITSQL_ORIGIN=" + s.Checkpoint.Origin,
		"AUDITSQL_SIZE=" + strconv.FormatInt(s.Checkpoint.Size, 10),
		"AUDITSQL_ROOT=" + s.Checkpoint.Root.String(),
	}}, &out, &out)
	if err != nil && len(out.end) > 0 {
		return fmt.Errorf("%w; its output: %q", err, bytes.TrimSpace(out.end))
	}
	return err
}

// Input is what a command gets.
type Input struct {
	Text []byte   // its standard input
	Env  []string // variables of its environment, NAME=VALUE, besides those of this process
}

// Run runs a command line in the shell (/bin/sh -c, on Windows cmd /C) and waits until it has ended. The command has a process
// group of its own, so a Ctrl-C in the terminal does not reach it. When ctx ends, it is killed with all processes of its group.
// The error is nil when it exits with 0.
func Run(ctx context.Context, line string, in Input, out, errOut io.Writer) error {
	cmd := shell(ctx, line)
	cmd.Env = append(os.Environ(), in.Env...)
	cmd.Stdin = bytes.NewReader(in.Text)
	cmd.Stdout, cmd.Stderr = out, errOut
	cmd.WaitDelay = afterExit
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("it was killed, because it did not end in time: %w", context.Cause(ctx))
	case errors.Is(err, exec.ErrWaitDelay):
		_ = cmd.Cancel() // the group still has its number, since a process is in it
		return errors.New("it left a process running that holds its output open: the command must end after everything that it starts")
	}
	return err
}

// tail keeps the end of what is written to it.
type tail struct{ end []byte }

// tailSize is how much output is kept for an error.
const tailSize = 1 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.end = append(t.end, b...)
	if over := len(t.end) - tailSize; over > 0 {
		t.end = append(t.end[:0], t.end[over:]...)
	}
	return len(b), nil
}
