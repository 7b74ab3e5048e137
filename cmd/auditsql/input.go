package main

import (
	"context"
	"fmt"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/internal/importing"
)

// What put, import, name and sql share: text from outside, and what is checked in records before they are stored.

// readStdin reads standard input, of which at most this many bytes are expected.
func (a *app) readStdin(ctx context.Context, most int64) ([]byte, error) {
	input, err := importing.ReadAll(ctx, a.in, most)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("standard input: %w", err)
	}
	return input, err
}

// check is how records are checked before they are stored.
func (a *app) check(unit audit.TimeUnit, future importing.Future) (ingest.Check, error) {
	c, err := a.clock(unit)
	return ingest.Check{Unit: unit, Now: a.now, Zone: c.Zone, MaxFuture: future.Duration}, err
}
