package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/sqlstore"
)

const (
	listLimit   = 100
	recentLimit = 20
)

func (a *app) listCommand() *cobra.Command {
	var f filterFlags
	var count bool
	var l listing
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Records that fit a filter, oldest first",
		Long: `List prints the records that fit all filters, in the order of their timestamps.
Records with the same timestamp are in the order of their ids. --count prints
how many records fit, whatever the limit, and nothing else. With --exit-code the
exit code is 0 when there are any, and 4 when there are none. CSV, plain text
and -o json have the time and the labels of each; -o ndjson has the records as
they are stored, for import.`,
		Example: `  auditsql list --around 2026-11-23T10:00 --window 15m
  auditsql list --agent "$AGENT" --from yesterday
  auditsql list --subject 'Tesla*' --max-confidence 0.5 --desc
  auditsql list --attr trace_id=4bf92f35 -o ndjson
  auditsql list --not-agent planner --not-subject '[!a-z]*' --count
  auditsql list --unapproved --from 10m --exit-code || echo 'none in 10 minutes'`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch changed := cmd.Flags().Changed; {
			case count && changed("limit"):
				return usage("--count counts all records that fit, and --limit is for a list of them")
			case count && changed("desc"):
				return usage("--count prints a number, and --desc is the order of a list")
			case count:
				return a.countRecords(cmd.Context(), &f, l)
			}
			return a.listRecords(cmd.Context(), &f, l)
		},
		ValidArgsFunction: completeNothing,
	}
	f.register(a, cmd)
	f.registerLimit(cmd, listLimit, "at most this many; 0 is no limit")
	cmd.Flags().BoolVar(&l.exitCode, "exit-code", false, "end with 0 when there are records, and with 4 when there are none")
	cmd.Flags().BoolVar(&f.descending, "desc", false, "newest first")
	cmd.Flags().BoolVar(&count, "count", false, "print how many fit, and nothing else")
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

// countRecords prints how many records the flags select.
func (a *app) countRecords(ctx context.Context, f *filterFlags, l listing) error {
	if err := f.check(a); err != nil {
		return err
	}
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	filter, err := f.filter(ctx, r)
	if err != nil {
		return err
	}
	n, err := r.viewer().Count(ctx, filter)
	if err != nil {
		return err
	}
	switch form := a.form(""); form {
	case tui.Table, tui.Plain:
		_, err = fmt.Fprintln(a.out, n.Count)
	default:
		err = a.screen().Object(form, n)
	}
	if err == nil && l.exitCode && n.Count == 0 {
		return quietly(exitNothing)
	}
	return err
}

func (a *app) recentCommand() *cobra.Command {
	var f filterFlags
	cmd := &cobra.Command{
		Use:   "recent [N]",
		Short: "The newest records, newest first",
		Long:  fmt.Sprintf(`Recent prints the N newest records, newest first. N is %d by default.`, recentLimit),
		Example: `  auditsql recent
  auditsql recent 5 --agent "$AGENT"`,
		Args: arguments(0, 1, "at most one number"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.limit, f.descending = recentLimit, true
			if len(args) == 1 {
				n, err := strconv.Atoi(args[0])
				if err != nil || n < 1 {
					return usage("%q: want how many, 1 or more", args[0])
				}
				f.limit = n
			}
			return a.listRecords(cmd.Context(), &f, listing{})
		},
		ValidArgsFunction: completeNothing,
	}
	f.register(a, cmd)
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

// A listing is what list, recent and export do differently.
type listing struct {
	byAdmission bool
	usual       tui.Form // form of output
	exitCode    bool     // whether there are records decides the exit code
}

// listRecords opens the store and prints what the flags select.
func (a *app) listRecords(ctx context.Context, f *filterFlags, l listing) error {
	if err := f.check(a); err != nil {
		return err
	}
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	filter, err := f.filter(ctx, r)
	if err != nil {
		return err
	}
	filter.ByAdmission = l.byAdmission
	out := a.records(a.form(l.usual), r)
	out.Labelled = !l.byAdmission // an export can be imported in every form of JSON
	records := r.viewer().List(ctx, filter)
	var written atomic.Int64
	if l.byAdmission && !a.outTerm.Is { // on a terminal the records show how far it is
		total := int64(-1)
		if f.any() == "" && f.limit == 0 {
			total = int64(r.Progress().Records)
		}
		end := a.meanwhile("exporting", total, written.Load)
		defer end()
	}
	for raw, err := range records.Rows() {
		if a.leaveOut(err) {
			continue
		}
		if errors.Is(err, sqlstore.ErrMalformed) {
			// What could be read is shown to its last line: it may be all that is left.
			return errors.Join(err, out.End())
		}
		if err != nil {
			return err
		}
		if err := out.Write(raw); err != nil {
			return err
		}
		written.Add(1)
	}
	if err := out.End(); err != nil {
		return err
	}
	if records.More() {
		flag := ""
		if f.cmd.Flags().Lookup("limit") != nil {
			flag = "--limit "
		}
		a.say("(cut at %s%d, there are more)", flag, filter.Limit)
	}
	if l.exitCode && out.N() == 0 && a.leftOut == 0 {
		return quietly(exitNothing)
	}
	return nil
}
