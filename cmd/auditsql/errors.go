package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/advice"
	"github.com/auditsql/auditsql/internal/signing"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// The exit codes. A script may rely on them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitNothing     = 4 // nothing fits: with --exit-code of list and tail, and tail --exit-on-match alone
	exitDamage      = 5
	exitPartly      = 6
	exitLocked      = 7
	exitInterrupted = 130
	exitPipe        = 141 // as a shell has it for a program that SIGPIPE ends
)

// errInterrupted is the cause with which a signal cancels the context of a run.
var errInterrupted = errors.New("interrupted")

// An exitError has an exit code of its own, and may say what to try.
type exitError struct {
	code int
	err  error // nil: everything has been printed already
	try  string
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usage is an error in the command line.
func usage(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// An endError is why a command that runs until it is interrupted did not end as it should. The interruption is not the reason.
type endError struct{ err error }

func (e *endError) Error() string { return e.err.Error() }
func (e *endError) Unwrap() error { return e.err }

// quietly ends the run with a code, and prints nothing.
func quietly(code int) error { return &exitError{code: code} }

// isQuiet reports whether nothing is printed about err.
func isQuiet(err error) bool {
	var e *exitError
	return errors.As(err, &e) && e.err == nil
}

// trying adds to an error what to do about it.
func trying(err error, format string, args ...any) error {
	return &exitError{code: exitCode(err), err: err, try: fmt.Sprintf(format, args...)}
}

// tryingInstead gives an error the advice that it comes with from another package.
func tryingInstead(err error) error {
	var advised *advice.Error
	if !errors.As(err, &advised) {
		return err
	}
	if advised.Usage {
		err = usage("%w", err)
	}
	if advised.Try != "" {
		err = trying(err, "%s", advised.Try)
	}
	return err
}

// exitCode is the exit code of a run that ends with err.
func exitCode(err error) int {
	var e *exitError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &e):
		return e.code
	case errors.Is(err, syscall.EPIPE):
		return exitPipe
	case errors.Is(err, audit.ErrLocked), errors.Is(err, sqlstore.ErrBusy):
		return exitLocked
	case isDamage(err):
		return exitDamage
	case errors.Is(err, audit.ErrNoLog), isOfLater(err):
		return exitNotFound
	}
	return exitFailed
}

// isOfLater reports whether err says that the store does not have so many records as --as-of names.
func isOfLater(err error) bool {
	var later *audit.AsOfError
	return errors.As(err, &later)
}

// isDamage reports whether err refuses a store because acknowledged data is corrupt or missing.
func isDamage(err error) bool {
	var corrupt *wal.CorruptError
	return errors.As(err, &corrupt) || errors.Is(err, wal.ErrGap) || errors.Is(err, wal.ErrAhead) || errors.Is(err, wal.ErrForeign) ||
		errors.Is(err, audit.ErrMismatch) || errors.Is(err, audit.ErrDamaged) || errors.Is(err, sqlstore.ErrMalformed) || errors.Is(err, sqlstore.ErrNotStore) ||
		errors.Is(err, audit.ErrBehind) || errors.Is(err, audit.ErrForked) || errors.Is(err, audit.ErrNoMemory) ||
		errors.Is(err, audit.ErrStopped) || errors.Is(err, audit.ErrLogFile) || errors.Is(err, audit.ErrOtherRecords) || errors.Is(err, signing.ErrCheckpoint)
}

// report prints how a run ended and returns its exit code.
func (a *app) report(cmd *cobra.Command, err error) int {
	code := exitCode(err)
	if err == nil {
		return code
	}
	if errors.Is(err, syscall.EPIPE) {
		// The reader of the output has closed it, as head does when it has enough. That needs no message.
		return code
	}
	if isQuiet(err) {
		return code
	}
	// Wrong flags are found before prepare has checked the streams.
	_ = a.checkStreams()
	line := strings.Builder{}
	line.WriteString("auditsql: ")
	if cmd != nil && cmd.HasParent() {
		line.WriteString(strings.TrimPrefix(cmd.CommandPath(), "auditsql ") + ": ")
	}
	said := oneLine(err)
	if full := a.fullDisk(err); full != "" {
		said = full
	}
	if cmd != nil {
		// The library's errors begin with what it did, which often has the name of the command.
		for again := cmd.Name() + ": "; strings.HasPrefix(said, again); {
			said = strings.TrimPrefix(said, again)
		}
	}
	line.WriteString(harmless(said))
	if try := a.whatToTry(cmd, err); try != "" && code != exitInterrupted {
		line.WriteString("; try: " + harmless(try))
	}
	fmt.Fprintln(a.err, line.String())
	return code
}

// oneLine writes joined errors in one line. It leaves out an error whose text is already in the line: an operation and
// the closing after it often fail for the same reason.
func oneLine(err error) string { return inOneLine(err.Error()) }

func inOneLine(text string) string {
	var said []string
	for part := range strings.SplitSeq(text, "\n") {
		if !slices.ContainsFunc(said, func(earlier string) bool { return strings.Contains(earlier, part) }) {
			said = append(said, part)
		}
	}
	return strings.Join(said, "; ")
}

// leaveOut reports whether err says that one record is damaged. Then it says that the record is left out. The answer goes
// on without it, and the run ends with exit code 5.
func (a *app) leaveOut(err error) bool {
	var damaged *audit.RecordError
	if !errors.As(err, &damaged) {
		return false
	}
	a.leftOut++
	if a.leftOut <= maxLeftOut {
		a.note("left out: %v", damaged)
	}
	return true
}

// maxLeftOut is how many records that were left out are named.
const maxLeftOut = 20

// incomplete is how a run ends that has left records out.
func (a *app) incomplete() error {
	if a.leftOut == 0 {
		return nil
	}
	return trying(&exitError{code: exitDamage, err: fmt.Errorf("%s left out", plural(a.leftOut, "damaged record was", "damaged records were"))},
		"auditsql -d %s repair, which shows what can be done about each", shellQuote(a.dir))
}

// note prints on standard error what is good to know. Results do not depend on it.
func (a *app) note(format string, args ...any) {
	if a.quiet {
		return
	}
	fmt.Fprintf(a.err, "note: %s\n", harmless(inOneLine(fmt.Sprintf(format, args...))))
}
