package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) tailCommand() *cobra.Command {
	n, follow := 10, false
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "The last records of the journal, and new ones with -f",
		Long: `Tail prints the last records in the order of the journal, as NDJSON unless -o
says otherwise. With -f it goes on with every record that is written, also by
another process, until it is interrupted.`,
		Example: `  auditsql tail -n 3
  auditsql tail -n 0 -f | jq -r '[.timestamp, .params.subject] | @tsv'`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n < 0 {
				return usage("-n %d: want 0 or more", n)
			}
			form := a.form(tui.NDJSON)
			if follow && (form == tui.Table || form == tui.JSON) {
				return usage("-o %s has an end, and tail -f has none: want ndjson, csv or plain", form)
			}
			return a.tail(cmd.Context(), n, follow, form)
		},
		ValidArgsFunction: completeNothing,
	}
	cmd.Flags().IntVarP(&n, "lines", "n", n, "how many of the last records")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new records")
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

func (a *app) tail(ctx context.Context, n int, follow bool, form tui.Form) error {
	if _, err := a.earlyClock(); err != nil {
		return err
	}
	r, err := a.openReading(ctx) // the records come from the journal, so nothing SQLite lacks is missing
	if err != nil {
		return err
	}
	defer r.Close()
	out := a.records(form, r)
	for raw, err := range r.Tail(ctx, n, follow) {
		if err == nil {
			err = out.Write(raw)
		}
		if err == nil && follow {
			err = out.Flush()
		}
		if err != nil {
			return err
		}
	}
	if err := out.End(); err != nil || !follow {
		return err
	}
	// A signal is the usual end of following.
	return quietly(exitInterrupted)
}
