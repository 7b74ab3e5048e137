package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
)

// What put, import, name and sql share: text from outside, and what is checked in records before they are stored.

// uninterrupted does something that no signal interrupts, such as opening a FIFO that has no other end, or reading from
// a terminal. When the run ends first, it returns the reason; its goroutine then runs until the process ends. The reason
// also counts when both have happened: what an interrupted program has written may be a part of it.
func uninterrupted[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		value, err := do()
		done <- outcome{value, err}
	}()
	select {
	case got := <-done:
		if ctx.Err() == nil {
			return got.value, got.err
		}
	case <-ctx.Done():
	}
	var none T
	return none, context.Cause(ctx)
}

// signalDelay is how long cutShort waits for a signal, which takes less than a millisecond on an idle machine.
const signalDelay = 100 * time.Millisecond

// cutShort is for an input that has ended in the middle of a record or a line. It returns why the run ends, or nil if it does
// not. Ctrl-C reaches all programs of a pipe at once. The program that writes may end at once, and then the end of the input
// is here before the signal is. So cutShort waits for the signal for a moment.
func cutShort(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(signalDelay):
		return nil
	}
}

// readAll reads an input that is expected to be small: at most so many bytes.
func readAll(ctx context.Context, in io.Reader, most int64) ([]byte, error) {
	input, err := uninterrupted(ctx, func() ([]byte, error) {
		return io.ReadAll(io.LimitReader(in, most+1))
	})
	if err == nil && int64(len(input)) > most {
		err = fmt.Errorf("longer than %d MiB", most>>20)
	}
	return input, err
}

// readStdin is readAll for standard input.
func (a *app) readStdin(ctx context.Context, most int64) ([]byte, error) {
	input, err := readAll(ctx, a.in, most)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("standard input: %w", err)
	}
	return input, err
}

// counted counts what is read, for a progress bar in another goroutine.
type counted struct {
	in io.Reader
	n  *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// addMaxFuture adds the flag of commands that store what clients send.
func (f *durationFlag) addMaxFuture(cmd *cobra.Command) {
	f.Duration = ingest.UsualFuture
	cmd.Flags().Var(f, "max-future", "how far in the future a timestamp may lie; 0 is no limit")
}

// check is how records are checked before they are stored.
func (a *app) check(unit audit.TimeUnit, future durationFlag) (ingest.Check, error) {
	c, err := a.clock(unit)
	return ingest.Check{Unit: unit, Now: a.now, Zone: c.Zone, MaxFuture: future.Duration}, err
}

// refusedRecord adds to the reason why a record is refused the flag with which it is stored, if there is one.
func refusedRecord(err error) error {
	var future *ingest.FutureError
	if errors.As(err, &future) {
		return fmt.Errorf("%w; --max-future 0 lets it in", err)
	}
	return err
}

// refusedInput adds to the reason why an input is refused the command that corrects it. name is the file, "-" is
// standard input.
func refusedInput(err error, name string) error {
	argument := ""
	if name != "-" {
		argument = " " + shellQuote(name)
	}
	var encoding *ingest.EncodingError
	switch {
	case errors.Is(err, ingest.ErrList):
		return trying(err, "jq -c '.[]'%s | auditsql import -", argument)
	case errors.As(err, &encoding):
		return trying(err, "iconv -f %s -t UTF-8%s | auditsql import -", encoding.Encoding, argument)
	case errors.Is(err, ingest.ErrMore):
		return trying(err, "auditsql import - for more than one record")
	}
	return err
}

// doubts count what was odd about the stored records of one input.
type doubts struct {
	input             string
	units, confidence doubt
}

// A doubt is how often something was odd, and where first.
type doubt struct {
	n     int
	first string
}

// add counts what was odd about the record of a line.
func (d *doubts) add(line int, odd []ingest.Doubt) {
	for _, o := range odd {
		kind := &d.units
		if o.Field == ingest.ConfidenceField {
			kind = &d.confidence
		}
		if kind.n++; kind.n == 1 {
			kind.first = fmt.Sprintf("line %d: %s", line, o.Text)
		}
	}
}

// print notes it, once for all records of the input.
func (d *doubts) print(note func(format string, args ...any)) {
	if d.units.n > 0 {
		note("%s: %s to be in another unit, first in %s", d.input, plural(d.units.n, "timestamp seems", "timestamps seem"), d.units.first)
	}
	if d.confidence.n > 0 {
		note("%s: %s a result_confidence outside of 0 to 1, first in %s", d.input, plural(d.confidence.n, "record has", "records have"), d.confidence.first)
	}
}
