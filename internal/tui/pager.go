package tui

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
)

// A Pager shows what a run prints on a terminal in a program that turns pages. Output that fits into one screen never
// gets there: a Pager holds it back until it is longer, or until the run ends. The notes that a run prints to the same
// terminal come at their place between the results.
//
//	p := NewPager("less", os.Stdout, os.Stderr, TerminalOf(os.Stdout))
//	print to p.Out() and p.Err()
//	err := p.End()
//
// The goroutines of a run may use both writers at the same time.
type Pager struct {
	command  string
	out, err io.Writer // the terminal
	term     Terminal

	mu      sync.Mutex
	held    []heldText
	lines   int    // of the terminal that held takes
	partial []byte // the last one of these, without its end
	direct  bool   // nothing is held any more, and there is no program
	running *exec.Cmd
	pipe    io.WriteCloser // into the program
	left    bool           // the program ended before it had everything
}

// heldText is output that is held back.
type heldText struct {
	toErr bool
	text  []byte
}

// NewPager returns a pager for a command of the shell. out and err are the terminal.
func NewPager(command string, out, err io.Writer, term Terminal) *Pager {
	return &Pager{command: command, out: out, err: err, term: term}
}

// Out is where results are written to. When the person has left the program, writing fails with EPIPE.
func (p *Pager) Out() io.Writer { return pagerStream{p, false} }

// Err is where notes are written to.
func (p *Pager) Err() io.Writer { return pagerStream{p, true} }

type pagerStream struct {
	p     *Pager
	toErr bool
}

// Write implements io.Writer.
func (s pagerStream) Write(b []byte) (int, error) { return s.p.write(b, s.toErr) }

func (p *Pager) write(b []byte, toErr bool) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.pipe != nil:
		return p.send(b)
	case p.direct, toErr && len(p.held) == 0:
		// A note that comes before all results need not wait for them.
		return p.stream(toErr).Write(b)
	}
	p.held = append(p.held, heldText{toErr, bytes.Clone(b)})
	for line := range bytes.Lines(b) {
		p.partial = append(p.partial, line...)
		if p.partial[len(p.partial)-1] == '\n' {
			p.lines += 1 + max(len(p.partial)-2, 0)/max(p.term.Width, 1)
			p.partial = p.partial[:0]
		}
	}
	if p.lines < p.term.Height {
		return len(b), nil
	}
	return len(b), p.begin()
}

func (p *Pager) stream(toErr bool) io.Writer {
	if toErr {
		return p.err
	}
	return p.out
}

// send writes to the program. That it has ended is no fault: somebody has seen enough.
func (p *Pager) send(b []byte) (int, error) {
	n, err := p.pipe.Write(b)
	p.left = p.left || errors.Is(err, syscall.EPIPE)
	return n, err
}

// begin starts the program and gives it what was held back.
func (p *Pager) begin() error {
	cmd := p.program()
	cmd.Stdout, cmd.Stderr = p.out, p.err
	cmd.Env = os.Environ()
	// As git sets them: less then ends by itself when all fits on the screen, shows colours, and leaves the screen as it is.
	for _, usual := range []string{"LESS=FRX", "LV=-c"} {
		if name, _, _ := strings.Cut(usual, "="); os.Getenv(name) == "" {
			cmd.Env = append(cmd.Env, usual)
		}
	}
	pipe, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("start the pager %s: %w", p.command, err), p.release())
	}
	p.running, p.pipe = cmd, pipe
	for _, h := range p.held {
		if _, err := p.send(h.text); err != nil {
			return err
		}
	}
	p.held = nil
	return nil
}

// program is the command, run by the shell: it may have arguments, and set variables.
func (p *Pager) program() *exec.Cmd {
	if shell, err := exec.LookPath("sh"); err == nil {
		return exec.Command(shell, "-c", p.command)
	}
	words := strings.Fields(p.command)
	return exec.Command(words[0], words[1:]...)
}

// release writes what is held back to the terminal, and nothing is held back any more.
func (p *Pager) release() error {
	var errs []error
	for _, h := range p.held {
		_, err := p.stream(h.toErr).Write(h.text)
		errs = append(errs, err)
	}
	p.held, p.direct = nil, true
	return errors.Join(errs...)
}

// Left reports whether somebody left the program before it had everything. Known after End.
func (p *Pager) Left() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left
}

// End shows what is left, and returns when the person has left the program.
func (p *Pager) End() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		return p.release()
	}
	// The keys that interrupt are the program's now: less ends a search with them. Its own end is waited for.
	signal.Ignore(os.Interrupt)
	closed := p.pipe.Close()
	var exit *exec.ExitError
	ended := p.running.Wait()
	p.running, p.pipe, p.direct = nil, nil, true
	switch {
	case errors.As(ended, &exit) && (exit.ExitCode() == cannotRun || exit.ExitCode() == notFound):
		return fmt.Errorf("the pager %s cannot be run", p.command)
	case errors.As(ended, &exit):
		return nil // how it ended says nothing about the results
	case errors.Is(closed, os.ErrClosed), errors.Is(closed, syscall.EPIPE):
		closed = nil
	}
	return errors.Join(closed, ended)
}

// The exit codes of a shell that cannot run a command.
const (
	cannotRun = 126
	notFound  = 127
)
