// Auditsql keeps an append-only record of what agents asked, what they were answered and on which
// evidence, and answers questions about it.
//
// This package is the command line over package audit: flags, layouts, progress and exit codes. The answers come from
// audit/view, and internal/tui prints them. It knows no file format; its SQL is the named queries of the sql command, in
// queries/.
//
//	main.go, errors.go   one run: streams, signals, from an error to a line and an exit code
//	store.go             how commands open a store: recovery first, or --read-only
//	filter.go            what flags may say
//	reading.go labels.go how hashes are found by their label or first digits, and shown with it
//	output.go            which form results have
//	records.go detail.go *_page.go    how an answer is laid out, from cells.go and words.go
//	intake.go text_input.go lines.go     what is looked at in records and inputs before they are stored
//	files.go             which files a command may write
//	init.go put.go import.go …     a command each
package main

import (
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

	// dirAs is how the store's folder is written in commands to be typed, if not as -d says.
	dirAs string
}

func main() { execute(systemStreams()) }

// execute is the life of this process: a run that signals interrupt, and its exit code.
func execute(s streams) {
	ctx, interrupted := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	// Writing to a pipe that nobody reads any more is an error, and no sudden death with the store open.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		<-signals
		// A second one ends the process at once, as if nobody had listened.
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
		now: time.Now,
	}
}

// run is one command line, from arguments to exit code.
func run(ctx context.Context, args []string, s streams) int {
	a := &app{streams: s}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errInterrupted) && !isQuiet(err) {
		// Whatever it was that failed then, it failed because it was stopped.
		err = errInterrupted
	}
	return a.report(cmd, err)
}
