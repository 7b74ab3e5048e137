package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

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
