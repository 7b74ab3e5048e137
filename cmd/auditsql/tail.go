package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
)

// tailLines is how many of the last records tail begins with.
const tailLines = 10

// tailOptions are the flags of tail.
type tailOptions struct {
	filter      filterFlags
	lines       int
	follow      bool
	after       uint64
	state       string
	command     string
	exitOnMatch bool
	exitCode    bool

	begins bool        // --after, or a file of --state that has an offset, says where to begin
	place  audit.Place // what the file of --state has
}

func (a *app) tailCommand() *cobra.Command {
	var o tailOptions
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "The last records of the journal, and new ones with -f",
		Long: `Tail prints the last records that fit all filters, in the order of the journal:
as a table on a terminal, elsewhere as NDJSON. With -f it goes on with every
record that is written, also by another process, until it is interrupted (exit
code 130). It shows records that SQLite does not have yet.

--exec runs CMD in the shell for each record, one at a time, in place of
printing it. The record is CMD's standard input, on one line. CMD also gets
AUDITSQL_DIR, AUDITSQL_QUERY_ID, AUDITSQL_OFFSET (of the record) and
AUDITSQL_NEXT (the --after with which a later tail goes on after it). When CMD
fails, tail says so and ends with exit code 1: the record counts as not seen,
and so the next run begins with it. Write CMD || true to go on in any case. When
tail is interrupted, it lets CMD end, and kills it after 10 seconds.

With --exit-on-match tail ends at the first record, with exit code 0. Without
-f it ends with exit code 4 when there is none. --exit-code has the same exit
codes without -f, but shows all the records. With --state, and with -f and
--exec or --exit-on-match, a first run shows new records only, unless -n or
--after says otherwise.

At its end tail says on standard error with which --after the next run goes on.
No record is missed then, whatever happened meanwhile: those that were trimmed
from the journal come from SQLite. --state FILE keeps that offset in a file,
which is made when it is missing. Tail begins there, and writes the file after
each command, once a second, and at the end. So it is right after a crash too.
After a crash of tail or of the machine, records may come again that were seen.
The file also says which record was the last one. If the store has another one
there, because it was restored from a backup, tail says so and ends.`,
		Example: `  auditsql tail -n 3
  auditsql tail -f --unapproved
  auditsql tail -n 0 -f -o ndjson | jq -r '[.timestamp, .params.subject] | @tsv'
  auditsql tail -f --unapproved --exec './page-somebody' --state ./alert.offset
  auditsql tail --max-confidence 0.3 --state ./cron.offset --exit-on-match`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.tail(cmd.Context(), &o)
		},
		ValidArgsFunction: completeNothing,
	}
	o.filter.register(a, cmd, momentFlag)
	flags := cmd.Flags()
	flags.IntVarP(&o.lines, "lines", "n", tailLines, "how many of the last records")
	flags.BoolVarP(&o.follow, "follow", "f", false, "go on with new records")
	flags.Uint64Var(&o.after, "after", 0, "begin at this `offset` of the journal; 0 is the first record of the store")
	flags.StringVar(&o.state, "state", "", "a `file` that keeps the offset to go on from")
	flags.StringVar(&o.command, "exec", "", "run `CMD` for each record, which is its standard input")
	flags.BoolVar(&o.exitOnMatch, "exit-on-match", false, "end at the first record: exit code 0; without -f: 4 when there is none")
	flags.BoolVar(&o.exitCode, "exit-code", false, "without -f: end with 0 when there are records, and with 4 when there are none")
	_ = cmd.MarkFlagFilename("state")
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

// check refuses wrong flags before a store is opened, and reads the file of --state.
func (o *tailOptions) check(ctx context.Context, a *app, form tui.Form) error {
	changed := o.filter.cmd.Flags().Changed
	switch {
	case o.lines < 0:
		return usage("-n %d: want 0 or more", o.lines)
	case o.follow && form == tui.JSON:
		return usage("-o json has an end, and tail -f has none: want table, ndjson, csv or plain")
	case changed("exec") && o.command == "":
		return usage("--exec names no command")
	case o.command != "" && (a.json || a.output != ""):
		return usage("--exec gives each record to a command, as JSON, and prints none: it takes no form of output")
	case changed("after") && changed("lines"):
		return usage("--after says where to begin, and so does -n")
	case changed("after") && changed("state"):
		return usage("--after says where to begin, and so does the file of --state")
	case changed("state") && o.state == "":
		return usage("--state names no file")
	}
	if (o.follow && (o.command != "" || o.exitOnMatch) || o.state != "") && !changed("lines") {
		o.lines = 0
	}
	o.begins = changed("after")
	if o.state != "" {
		if err := o.readState(ctx, a); err != nil {
			return err
		}
	}
	return o.filter.check(a)
}

// resumes reports whether somebody may want to go on later where this run ends.
func (o *tailOptions) resumes() bool {
	return o.follow || o.begins || o.state != "" || o.command != "" || o.exitOnMatch
}

func (a *app) tail(ctx context.Context, o *tailOptions) error {
	usual := tui.NDJSON
	if a.outTerm.Is {
		usual = tui.Table
	}
	form := a.form(usual)
	if o.command != "" {
		form = tui.NDJSON // and nothing is printed
	}
	if err := o.check(ctx, a, form); err != nil {
		return err
	}
	r, err := a.openReading(ctx) // the records come from the journal, so nothing SQLite lacks is missing
	if err != nil {
		return err
	}
	defer r.Close()
	t := &tailing{a: a, r: r, options: o, out: a.records(form, r)}
	if o.resumes() {
		t.out.Steady()
	}
	if t.filter, err = o.filter.filter(ctx, r); err != nil {
		return err
	}
	return t.run(ctx)
}
