package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/internal/importing"
)

// What put, import, name and sql share: text from outside, and what is checked in records before they are stored.

// readStdin reads standard input, of which at most so many bytes are expected.
func (a *app) readStdin(ctx context.Context, most int64) ([]byte, error) {
	input, err := importing.ReadAll(ctx, a.in, most)
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
