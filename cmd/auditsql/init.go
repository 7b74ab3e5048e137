package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) initCommand() *cobra.Command {
	var unit, journalDir, retain string
	var segment tui.Size
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a store",
		Long: `Init makes a store in the folder of -d, and the folder if there is none. It
changes nothing when a store is there already, except how much journal is kept
(--wal-retain) and how long its segments become (--segment-bytes).

The time unit is what timestamps count, and stays for the store's life. The
journal may lie on another disk (--wal-dir). What SQLite does not have on disk
yet always stays in the journal. Of the rest the newest 1 GiB is kept, unless
--wal-retain says otherwise. With --wal-retain all, a lost database can be
rebuilt from the journal.

When the folder has nothing but a journal, init rebuilds the store from it, with
the id and the time unit that are written there.`,
		Example: `  auditsql -d /var/lib/audit init
  auditsql init --time-unit us --wal-dir /fast/journal --wal-retain all`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var options []audit.Option
			if cmd.Flags().Changed("time-unit") {
				u, err := audit.ParseTimeUnit(unit)
				if err != nil {
					return usage("--time-unit: %w", err)
				}
				options = append(options, audit.WithTimeUnit(u))
			}
			if cmd.Flags().Changed("segment-bytes") {
				if segment.Bytes == 0 {
					return usage("--segment-bytes must be above 0")
				}
				options = append(options, audit.WithSegmentBytes(segment.Bytes))
			}
			if cmd.Flags().Changed("wal-dir") {
				if journalDir == "" {
					return usage("--wal-dir names no folder")
				}
				options = append(options, audit.WithJournalDir(journalDir))
			}
			if cmd.Flags().Changed("wal-retain") {
				r, err := audit.ParseRetention(retain)
				if err != nil {
					return usage("--wal-retain: %w", err)
				}
				options = append(options, audit.WithRetention(r))
			}
			return a.init(cmd.Context(), options)
		},
		ValidArgsFunction: completeNothing,
	}
	flags := cmd.Flags()
	flags.StringVar(&unit, "time-unit", "", "`unit` of timestamps: s, ms, us or ns (default ms)")
	flags.Var(&segment, "segment-bytes", "how long a journal segment becomes (default 64MiB)")
	flags.StringVar(&journalDir, "wal-dir", "", "the journal's `folder` (default wal in the store's)")
	flags.StringVar(&retain, "wal-retain", "", "how much journal to keep: `SIZE`, all or none (default 1GiB)")
	_ = cmd.MarkFlagDirname("wal-dir")
	_ = cmd.RegisterFlagCompletionFunc("time-unit", cobra.FixedCompletions([]string{"s", "ms", "us", "ns"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("wal-retain", cobra.FixedCompletions([]string{"all", "none"}, cobra.ShellCompDirectiveNoFileComp))
	a.addWriting(cmd)
	return cmd
}

func (a *app) init(ctx context.Context, options []audit.Option) error {
	asked := len(options) > 0
	created := false
	db, err := a.openWriter(ctx, options...)
	switch {
	case err == nil:
		created = db.Recovery().Created
		if err := a.closeWriter(db); err != nil {
			return err
		}
	case errors.Is(err, audit.ErrLocked) && !asked:
		// Another program writes to the store, so it exists, and nothing was to be changed.
	case errors.Is(err, audit.ErrInvalid):
		return trying(usage("%w", err), "without --time-unit; a new store in another folder may have another unit")
	default:
		return err
	}
	what := "there is a store already"
	if created {
		what = "made a store"
	}
	form := a.form("")
	if form == tui.Table || form == tui.Plain {
		return a.copyOut(what + " in " + harmless(a.dir) + "\n")
	}
	return a.facts(form, fact("dir", "", tui.Text(a.dir)), fact("created", "", tui.Bool(created)))
}
