// Auditsql keeps an append-only record of what agents asked, what they were answered and on which
// evidence, and answers questions about it.
//
// This package is the command line over package audit: flags, exit codes and the layout of what is printed. It knows no
// file format and no SQL.
//
//	audit/ask      flags that select records, hashes by their label or first digits
//	audit/ingest   lines of text to stored records
//	audit/queries  the SQL of the sql command
//	audit/view     each answer as a struct
//	internal/when  times
//	internal/tui   tables, pages and the other forms of output
//
//	main.go, errors.go   one run: streams, signals, from an error to a line and an exit code
//	advice.go            what to try after an error
//	app.go               the list of commands, and flags of many commands
//	help.go topics.go man.go   help, what many commands have in common, and the pages of man
//	store.go reading.go  how commands open a store: recovery first, or --read-only
//	filter.go flags.go   flags, as values for audit/ask
//	completion.go        what a shell proposes
//	output.go pager.go   which form results have, and how long tables are shown
//	records.go detail.go *_page.go   how an answer is laid out, from cells.go and words.go
//	files.go input.go    which files a command may read and write, and how
//	init.go put.go import.go …       one file for each command
package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/auditsql/auditsql/internal/tui"
)

// streams are what a run reads from and writes to.
type streams struct {
	in  io.Reader
	out io.Writer // results
	err io.Writer // progress, notes and errors

	inTerm           bool
	outTerm, errTerm tui.Terminal
	now              func() time.Time

	// recoveryWait is how long a command that reads waits for the lock when it has to recover the store first. Another
	// reader may hold the lock because it recovers the store too. That seldom takes long.
	recoveryWait time.Duration

	// commandWait is how long a command that tail --exec runs may go on after an interruption.
	commandWait time.Duration
	// completionTime is how long what a shell proposes is looked for.
	completionTime time.Duration

	// dirAs is the folder that proposed commands name with -d. When it is "", they name the folder of this run.
	dirAs string
}

func main() { execute(systemStreams()) }

// execute runs the command line, interrupted by signals, and exits with its code.
func execute(s streams) {
	ctx, interrupted := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	// Without this, writing to a pipe that has no reader any more would end the process at once, with the store open. With
	// it the write returns an error.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		<-signals
		// A second signal ends the process at once.
		signal.Stop(signals)
		interrupted(errInterrupted)
	}()
	os.Exit(run(ctx, os.Args[1:], s))
}

func systemStreams() streams {
	return streams{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		inTerm:  tui.IsTerminal(os.Stdin),
		outTerm: tui.TerminalOf(os.Stdout), errTerm: tui.TerminalOf(os.Stderr),
		now: time.Now, recoveryWait: 5 * time.Second, commandWait: 10 * time.Second, completionTime: 500 * time.Millisecond,
	}
}

// run runs one command line and returns its exit code.
func run(ctx context.Context, args []string, s streams) int {
	a := &app{streams: s}
	root := a.root()
	if completes(args) {
		plainUsages(root)
	}
	root.SetArgs(args)
	root.SetIn(s.in)
	help := &helpWriter{out: s.out}
	root.SetOut(help)
	root.SetErr(s.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = help.err
	}
	if err == nil {
		err = cmp.Or(a.refused, a.incomplete())
	}
	err = a.endPager(s, err)
	var atEnd *endError
	if err != nil && errors.Is(context.Cause(ctx), errInterrupted) && !isQuiet(err) && !errors.As(err, &atEnd) {
		// The run failed because it was stopped.
		err = errInterrupted
	}
	return a.report(cmd, err)
}

// A helpWriter is where help goes. Who prints help does not look at the error, and a reader that has gone ends every command alike.
type helpWriter struct {
	out io.Writer
	err error // the first
}

func (w *helpWriter) Write(p []byte) (int, error) {
	n, err := w.out.Write(p)
	if w.err == nil {
		w.err = err
	}
	return n, err
}
