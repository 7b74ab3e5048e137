package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
	"github.com/auditsql/auditsql/internal/advice"
	"github.com/auditsql/auditsql/internal/importing"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/socket"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
)

// usualFuture is how far after now a timestamp may lie unless somebody says otherwise.
const usualFuture = ingest.UsualFuture

// futureFlag is how far after now a timestamp may lie; 0 is no limit.
type futureFlag struct{ time.Duration }

func (f *futureFlag) String() string { return when.FormatDuration(f.Duration) }
func (f *futureFlag) Type() string   { return "duration" }

func (f *futureFlag) Set(s string) (err error) {
	if f.Duration = 0; s != "0" {
		f.Duration, err = when.ParseDuration(s)
	}
	return err
}

// forWeb is the same for package web, where 0 is the default.
func (f *futureFlag) forWeb() time.Duration {
	if f.Duration == 0 {
		return -1
	}
	return f.Duration
}

// putOptions are the flags of put and import.
type putOptions struct {
	dir      string
	unproven bool
	future   futureFlag
}

func (o *putOptions) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	o.future.Duration = usualFuture
	flags.StringVarP(&o.dir, "dir", "d", "", "the copy's `folder`")
	addUnproven(cmd, &o.unproven)
	flags.Var(&o.future, "max-future", "how far after now a timestamp may lie; 0 is no limit")
}

func (o *putOptions) check(unit audit.TimeUnit) ingest.Check {
	return ingest.Check{Unit: unit, MaxFuture: o.future.Duration}
}

// target is where records go: the node of this process, or the server that has the folder.
type target interface {
	ingest.Store
	Close() error
}

// ownNode is a node of this process.
type ownNode struct {
	*cluster.Node
	log *jetstream.Log
}

func (n ownNode) Close() error {
	defer n.log.Close()
	return n.Node.Close()
}

// openTarget finds the server that has the folder, or opens a node there.
func (a *app) openTarget(ctx context.Context, connect jetstream.Options, o *putOptions) (target, error) {
	c, err := socket.Dial(ctx, o.dir)
	if err == nil {
		return c, nil
	}
	if !errors.Is(err, socket.ErrNoServer) {
		return nil, err
	}
	log, err := jetstream.Open(ctx, connect)
	if err != nil {
		return nil, err
	}
	n, err := cluster.Open(ctx, o.dir, log, cluster.Options{
		Unproven: o.unproven, Logger: a.logger(), Store: []audit.Option{audit.WithCreatedBy("auditsql-cluster " + version())},
	})
	if err != nil {
		log.Close()
		return nil, err
	}
	a.notes(n)
	return ownNode{n, log}, nil
}

const aboutPuts = `A record is decided when the command answers: a majority of the servers has it on
disk, and the node has read the stream up to its place. While auditsql-cluster
serve has the folder, the records go through that. Otherwise the command is a
node by itself meanwhile, and reads first what the folder lacks.

The output and the exit codes are those of auditsql`

func (a *app) putCommand() *cobra.Command {
	var o putOptions
	cmd := &cobra.Command{
		Use:   "put -d DIR",
		Short: "Store one record, which is JSON on standard input",
		Long: `Put stores the record of standard input, and prints its query id when it is
decided. Storing the same record again prints the id again and changes nothing.
A different record with the same id is refused.

` + aboutPuts + ` put. That command also makes
records from flags, and works on the folder while serve has it.`,
		Example: `  auditsql-cluster put -d ./n1 < record.json`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			connect, err := a.putting(&o)
			if err == nil {
				err = a.put(cmd.Context(), connect, &o)
			}
			return wrapped("put", err)
		},
	}
	o.add(cmd)
	return cmd
}

// putting checks what put and import share.
func (a *app) putting(o *putOptions) (jetstream.Options, error) {
	if o.dir == "" {
		return jetstream.Options{}, errNoFolder
	}
	return a.options()
}

// wrapped says which command failed, and what to try.
func wrapped(command string, err error) error {
	var advised *advice.Error
	if errors.As(err, &advised) && advised.Try != "" {
		err = fmt.Errorf("%w; try: %s", err, advised.Try)
	}
	var quiet quietError
	if err == nil || errors.As(err, &quiet) {
		return err
	}
	return fmt.Errorf("%s: %w", command, err)
}

func (a *app) put(ctx context.Context, connect jetstream.Options, o *putOptions) error {
	text, err := importing.ReadAll(ctx, a.in, ingest.LongestLine)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return errors.New("standard input is empty")
	}
	q, err := ingest.Record(text)
	if err != nil {
		return importing.RefusedInput(fmt.Errorf("standard input: %w", err), "-", "auditsql-cluster import -d "+importing.ShellQuote(o.dir))
	}
	db, err := a.openTarget(ctx, connect, o)
	if err != nil {
		return err
	}
	result, err := a.putOne(ctx, db, q, o)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	form := a.form()
	if form == tui.Table || form == tui.Plain {
		if result.Duplicate {
			a.note("the record had been stored before")
		}
		_, err := fmt.Fprintln(a.out, result.ID)
		return err
	}
	return a.screen().Facts(form, tui.Fact{Name: "query_id", Value: tui.Text(result.ID.String())}, tui.Fact{Name: "duplicate", Value: tui.Bool(result.Duplicate)})
}

func (a *app) putOne(ctx context.Context, db target, q *audit.QueryAudit, o *putOptions) (audit.PutResult, error) {
	check := o.check(db.TimeUnit())
	if err := check.Refuse(q); err != nil {
		return audit.PutResult{}, fmt.Errorf("standard input: %w", importing.RefusedRecord(err))
	}
	for _, d := range check.Doubts(q) {
		a.note("%s: %s", d.Field, d.Text)
	}
	results, err := db.PutAudits(ctx, []*audit.QueryAudit{q})
	if err != nil {
		return audit.PutResult{}, err
	}
	return results[0], results[0].Err
}

// note prints on standard error what is good to know.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.err, "note: %s\n", legible.Text(fmt.Sprintf(format, args...)))
}

// importOptions are the flags of import.
type importOptions struct {
	putOptions
	ack, strict bool
	rejects     string
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
lines are stored; the exit code is 6 then.

Records get their places in the stream in the order of the lines. At most 512
are on their way at a time, and the next ones follow when these are decided.

With --ack standard output has one answer for each line that is not blank, in
the order of the lines: the query id when the record is decided, or ! and a tab
and the reason for a line that is rejected. The counts go to standard error.

` + aboutPuts + ` import. That command
also takes spans (--format), and works on the folder while serve has it.`,
		Example: `  auditsql-cluster import -d ./n1 monday.ndjson tuesday.ndjson.gz --rejects bad.ndjson
  my-agent | auditsql-cluster import -d ./n1 - --ack`,
		RunE: func(cmd *cobra.Command, args []string) error {
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
			connect, err := a.putting(&o.putOptions)
			if err == nil {
				err = a.importFiles(cmd.Context(), connect, args, &o)
			}
			return wrapped("import", err)
		},
	}
	o.add(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&o.ack, "ack", false, "answer each line on standard output, once its record is decided")
	flags.BoolVar(&o.strict, "strict", false, "stop at the first line that is rejected")
	flags.StringVar(&o.rejects, "rejects", "", "a new `file` for the lines that are rejected, as they are")
	return cmd
}

func (a *app) importFiles(ctx context.Context, connect jetstream.Options, names []string, o *importOptions) (err error) {
	inputs := make([]ingest.Input, len(names))
	for i, name := range names {
		inputs[i] = ingest.Input{Name: name, Text: a.in}
		if name == "-" {
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		inputs[i].Text = f
	}
	db, err := a.openTarget(ctx, connect, &o.putOptions)
	if err != nil {
		return err
	}
	im := &importing.Importer{
		Program: "auditsql-cluster import -d " + importing.ShellQuote(o.dir), Check: o.check(db.TimeUnit()), Strict: o.strict, Ack: o.ack,
		Inputs: len(inputs), Answers: bufio.NewWriter(a.out), Say: func(line string) { fmt.Fprintln(a.err, line) },
	}
	if o.rejects != "" {
		f, createErr := os.OpenFile(o.rejects, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if createErr != nil {
			return errors.Join(createErr, db.Close())
		}
		im.Rejects = f
		defer func() {
			err = errors.Join(err, f.Close())
			if im.Rejected == 0 {
				err = errors.Join(err, os.Remove(o.rejects)) // the next run would refuse to write to it
			}
		}()
	}
	err = errors.Join(im.Run(ctx, db, inputs), db.Close())
	im.NoteDoubts(a.note)
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
	if err == nil {
		// A pipe may have ended because of the same signal: then everything that came is stored, and more may have been meant to come.
		err = ctx.Err()
	}
	return err
}
