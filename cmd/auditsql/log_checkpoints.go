package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) logCheckpointsCommand() *cobra.Command {
	var limit int
	var size uint64
	cmd := &cobra.Command{
		Use:   "checkpoints",
		Short: "The checkpoints that were signed",
		Long: `Checkpoints prints the checkpoints that the store has signed, the newest last.
With --size it prints one of them as it was signed, for a file.

The store keeps this list, checkpoints.ndjson, for convenience. Nothing depends
on it: it may be deleted, a backup does not have it, and after a power cut its
end may be missing. What proves something is a checkpoint that you keep in
another place. Checkpoints recovers nothing and never waits.`,
		Example: `  auditsql log checkpoints
  auditsql log checkpoints --size 1200 > older`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usage("--limit must not be below 0")
			}
			if cmd.Flags().Changed("size") {
				return a.logCheckpoint(cmd.Context(), size)
			}
			return a.logCheckpoints(cmd.Context(), limit)
		},
		ValidArgsFunction: completeNothing,
	}
	flags := cmd.Flags()
	flags.IntVar(&limit, "limit", 20, "at most this many, the newest; 0 is no limit")
	flags.Uint64Var(&size, "size", 0, "print the checkpoint of this many records, as it was signed")
	a.addReading(cmd)
	return cmd
}

func (a *app) logCheckpoints(ctx context.Context, limit int) error {
	db, err := a.openAsItIs(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	if limit == 0 {
		limit = math.MaxInt
	}
	all, err := db.Checkpoints(ctx, limit)
	if err != nil {
		return err
	}
	type row = view.Checkpoint
	out := tui.NewListing(a.screen(), a.form(""), []tui.ColumnOf[row]{
		{Column: tui.Column{Name: "signed"}, Cell: func(c *row) tui.Cell { return tui.Text(c.At.Format(time.RFC3339)) }},
		{Column: tui.Column{Name: "records", Right: true}, Cell: func(c *row) tui.Cell { return tui.Number(c.Size) }},
		{Column: tui.Column{Name: "root", Flexible: true, Least: 10}, Cell: func(c *row) tui.Cell { return tui.Text(c.Root) }},
	})
	for i := range all {
		if err := out.Add(view.CheckpointOf(&all[i])); err != nil {
			return err
		}
	}
	return out.End()
}

// logCheckpoint prints one checkpoint as it was signed.
func (a *app) logCheckpoint(ctx context.Context, size uint64) error {
	db, err := a.openAsItIs(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	all, err := db.Checkpoints(ctx, math.MaxInt)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.Size == int64(size) {
			return a.copyOut(c.Note)
		}
	}
	return trying(&exitError{code: exitNotFound, err: fmt.Errorf("no checkpoint of %s is in the list", plural(size, "record", "records"))},
		"auditsql -d %s log checkpoints, which prints the list", shellQuote(a.dir))
}
