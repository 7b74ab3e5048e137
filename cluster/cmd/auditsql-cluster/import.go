package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/cluster/jetstream"
	"github.com/auditsql/auditsql/internal/importing"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/otlp"
)

// importOptions are the flags of import.
type importOptions struct {
	putOptions
	ack, strict bool
	dryRun      bool
	rejects     string
	force       bool
	format      string // of spans; "" for records
	explain     bool
	maps        importing.MapFlags
}

func (a *app) importCommand() *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import -d DIR FILE…",
		Short: "Store the records of NDJSON files, or of - for standard input",
		Long: `Import stores records, one a line of JSON, from files or from standard input (-);
gzip is recognized by its content. At the end it prints how many were inserted,
how many were duplicates and how many were rejected. Running it again is
harmless. A line that is refused is reported on standard error, and the other
lines are stored; the exit code is 6 then. --rejects keeps such lines in a new
file, and with --force in one that exists.

Records get their places in the stream in the order of the lines. At most 512
are on their way at a time, and the next ones follow when these are decided.

With --ack standard output has one answer for each line that is not blank, in
the order of the lines: the query id when the record is decided, or ! and a tab
and the reason for a line that is rejected. The counts go to standard error.

With --format the inputs have spans of instrumented agents, and each retrieval
becomes a record: otlp, langfuse or langsmith. --explain stores nothing and
prints what each span would become. --map, --lifecycle and --text are those of
auditsql import, whose help says more.

With --dry-run import checks every line, also against the lines before it and
against the copy, which reads first what the stream had when the command began.
It stores nothing. It prints and answers what an import would.

` + aboutPuts + ` import. That command
works on the folder while serve has it.`,
		Example: `  auditsql-cluster import -d ./n1 monday.ndjson tuesday.ndjson.gz --rejects bad.ndjson
  my-agent | auditsql-cluster import -d ./n1 - --ack
  auditsql-cluster import -d ./n1 --format otlp spans.jsonl`,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := o.checkUse(cmd, args)
			if err == nil {
				err = a.importInputs(cmd.Context(), args, &o)
			}
			return err
		},
	}
	o.add(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&o.ack, "ack", false, "answer each line on standard output, once its record is decided")
	flags.BoolVar(&o.strict, "strict", false, "stop at the first line that is rejected")
	flags.StringVar(&o.rejects, "rejects", "", "a `file` for the lines that are rejected, as they are")
	flags.BoolVar(&o.force, "force", false, "write over the file of --rejects when it exists")
	flags.BoolVar(&o.dryRun, "dry-run", false, "check everything as if the records were stored, and store nothing")
	flags.StringVar(&o.format, "format", "", "the inputs are spans: `otlp`, langfuse or langsmith")
	flags.BoolVar(&o.explain, "explain", false, "store nothing, and print what each span would become, and by which rule")
	o.maps.Add(cmd)
	return cmd
}

// checkUse refuses arguments and flags that do not go together.
func (o *importOptions) checkUse(cmd *cobra.Command, args []string) error {
	stdin := 0
	for _, name := range args {
		if name == "-" {
			stdin++
		}
	}
	switch {
	case len(args) == 0:
		return usageError{errors.New("FILE, or - for standard input, is missing")}
	case stdin > 1:
		return usageError{fmt.Errorf("- was given %d times, and standard input can be read once", stdin)}
	}
	changed := cmd.Flags().Changed
	if o.format == "" {
		for _, name := range []string{"explain", "map", "lifecycle", "text"} {
			if changed(name) {
				return usageError{fmt.Errorf("--%s goes with --format", name)}
			}
		}
		if !changed("format") {
			return nil
		}
	}
	if !slices.Contains(otlp.Formats, otlp.Format(o.format)) {
		return usageError{fmt.Errorf("--format %s: want otlp, langfuse or langsmith", o.format)}
	}
	for _, name := range []string{"ack", "rejects", "force", "strict", "dry-run"} {
		if changed(name) {
			return usageError{fmt.Errorf("--format and --%s cannot be used together", name)}
		}
	}
	return nil
}

// importInputs opens the inputs, and stores what is in them.
func (a *app) importInputs(ctx context.Context, names []string, o *importOptions) error {
	connect, err := a.putting(&o.putOptions)
	if err != nil {
		return err
	}
	program := "auditsql-cluster import -d " + legible.ShellQuote(o.dir)
	inputs, total, err := importing.OpenInputs(ctx, names, a.in, program)
	defer func() { inputs.Close() }()
	switch {
	case err != nil:
	case o.format != "":
		err = a.importSpans(ctx, connect, inputs, total, o)
	default:
		err = a.importLines(ctx, connect, inputs, program, o)
	}
	if err == nil && total < 0 {
		// A pipe may have ended because of the same signal: then everything that came is stored, and more may have been meant to come.
		err = ctx.Err()
	}
	return refused(err)
}

// say prints a line on standard error.
func (a *app) say(line string) { fmt.Fprintln(a.err, line) }

func (a *app) importLines(ctx context.Context, connect jetstream.Options, inputs importing.Inputs, program string, o *importOptions) (err error) {
	for _, in := range inputs {
		if err := importing.SniffSpans(in, program); err != nil {
			return err
		}
	}
	guard := importing.Guard{Dir: o.dir, In: a.in, Out: a.out, Err: a.err}
	if o.rejects != "" {
		if err := guard.CheckOutput("rejects", o.rejects, o.force, inputs.Files()); err != nil {
			return err
		}
	}
	db, err := a.openTarget(ctx, connect, &o.putOptions)
	if err != nil {
		return err
	}
	im := &importing.Importer{
		Program: program, Check: o.check(db.TimeUnit()), Strict: o.strict, Ack: o.ack, Inputs: len(inputs), Answers: bufio.NewWriter(a.out), Say: a.say,
	}
	if o.rejects != "" {
		// The file is emptied only after the node was opened: it may hold the only copy of the lines that an earlier run rejected.
		f, createErr := guard.CreateOutput(ctx, "rejects", o.rejects, o.force, inputs.Files())
		if createErr != nil {
			return errors.Join(createErr, db.Close())
		}
		im.Rejects = f
		defer func() { err = errors.Join(err, f.Close()) }()
	}
	var records ingest.Store = db
	if o.dryRun {
		if err := a.catchUp(ctx, db); err != nil {
			return errors.Join(err, db.Close())
		}
		records = ingest.Rehearse(db)
	}
	err = errors.Join(im.Run(ctx, records, inputs.Texts(new(atomic.Int64))), db.Close())
	im.NoteDoubts(a.note)
	if o.dryRun {
		a.note("--dry-run: nothing was stored")
	}
	shown := a.screen()
	if o.ack {
		shown.Out, shown.OutTerm = shown.Err, shown.ErrTerm // standard output is for answers
	}
	if printErr := shown.Facts(a.form(), im.Facts()...); err == nil {
		err = printErr
	}
	if err == nil {
		err = im.Partly()
	}
	return err
}

// catchUp waits until a node of this process has what the stream had when the command began. The node of a server follows all the time,
// and answers with what it has.
func (a *app) catchUp(ctx context.Context, db target) error {
	own, ok := db.(*copies)
	if !ok {
		return nil
	}
	for i, n := range own.nodes {
		bounds, err := own.logs[i].Bounds(ctx)
		if err == nil {
			err = n.WaitFor(ctx, bounds.Last)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// importSpans is import --format.
func (a *app) importSpans(ctx context.Context, connect jetstream.Options, inputs importing.Inputs, total int64, o *importOptions) error {
	mapping, err := o.maps.Mapping(ctx)
	if err != nil {
		return err
	}
	im := &importing.SpanImporter{Format: otlp.Format(o.format), Mapping: mapping, Say: a.say, Note: a.note, Cut: total < 0}
	texts := inputs.Texts(new(atomic.Int64))
	if o.explain {
		im.Rows = tui.NewRows(a.screen(), a.form(), importing.SpanColumns()...)
		err := errors.Join(im.Run(ctx, texts), im.Rows.End())
		im.Notes()
		im.NoteExplained()
		if err == nil {
			err = im.Partly()
		}
		return err
	}
	db, err := a.openTarget(ctx, connect, &o.putOptions)
	if err != nil {
		return err
	}
	im.Store, im.Check = db, o.check(db.TimeUnit())
	err = errors.Join(im.Run(ctx, texts), db.Close())
	im.Notes()
	if printErr := a.screen().Facts(a.form(), im.Facts()...); err == nil {
		err = printErr
	}
	if err == nil {
		err = im.Partly()
	}
	return err
}
