package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/importing"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) importCommand() *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import FILE…",
		Short: "Store the records of NDJSON files, or of - for standard input",
		Long: `Import stores records, one a line of JSON, from files or from standard input
(-); gzip is recognized by its content. Records are admitted in the order of
the lines. At the end it prints how many were inserted, how many were
duplicates (stored before, with the same bytes) and how many were rejected.
Running it again is harmless.

A line that is refused, or that would change a stored record, is reported on
standard error as FILE:LINE: reason, and the other lines are stored. The exit
code is then 6, as it is when one of several inputs cannot be read to its end.
--rejects keeps such lines in a new file, so that they can be corrected and
imported. Without such lines there is no file, and an existing file is left
alone unless --force is given. --strict stops at the first such line: the lines
before it are stored, and nothing after it.

A timestamp more than --max-future after now is refused: most often its unit is
wrong, and its record would stay the newest for ever. To import what another
store has exported, use --max-future 0: that store admitted it. Timestamps that
seem to be in another unit, and confidences outside of 0 to 1, are stored. A
note says so, once for each input.

A record without a query_id gets one that is derived from its content. So equal
records without a query_id are stored once, and the others are duplicates. To
keep all of them, give each a query_id, or an attribute that differs.

Where there is no store yet, import makes one, and says so. The parent of its
folder must exist. With --create=false import fails instead.

With --ack standard output has one answer for each line that is not blank, in
the order of the lines: the query id as soon as the record is durable, also for
a duplicate, or ! and a tab and the reason for a line that is rejected. Import
answers every line that it has read before it waits for more input. So a
program in any language can write through one long-lived import - --ack: write
a line, read a line. The counts go to standard error.

--catch-up is for a store that is refused because it has fewer records than were
signed: a backup was restored. FILE is an export of the store as it was, whole
or its last lines. First the root of the tree over the store's records and the
missing ones is computed. Unless it is the root that was signed, nothing is
stored (exit code 5). Then the missing records are stored, in their order.
Records after the signed ones are not: a plain import of the same file stores
them. An interrupted catch-up is completed by the next one, and until then no
other command writes to the store.

With --format the inputs have spans of instrumented agents, and each retrieval
becomes a record: otlp (OpenTelemetry, as JSON or protobuf, also as a collector
writes them to files), langfuse or langsmith (what these export). The agent, the
session and the answer are on other spans of a trace, so its records are stored
at the end, or when 200,000 more spans have been read. Of documents and answers
only hashes and names are kept; --text says what is kept of the questions. The
counts are: read = records + wrapped + context + other + rejected, and records =
inserted + duplicate. --explain stores nothing and prints what each span would
become, and by which rule. --show-map prints how spans are mapped, --map reads a
file like that. A span that came before with other content is rejected.

With --dry-run import checks every line, also against the store and against the
lines before it, and stores nothing. It prints and answers what an import would
print and answer, with the same exit code. For that it keeps about 100 bytes of
each record in memory. For spans there is --explain.

If the store signs its log (auditsql log init), it is signed while the import
runs as well, as often as log init said or as --every says, and at the end.

While auditsql serve has the store open, import stores through the server, with
the same flags and answers. When the server ends in the middle, what import has
answered or counted is stored. The error says whether that is known of the
lines after it. Running the import again is harmless.

When import is interrupted, what it has answered or counted as inserted is
stored, and a line that is not complete is not. The exit code is 130, also when
a pipe has ended by the same Ctrl-C: nobody knows then whether that was all.

auditsql help record explains the fields of a record.`,
		Example: `  auditsql import monday.ndjson tuesday.ndjson.gz --rejects bad.ndjson
  zcat *.gz | auditsql import -
  my-agent | auditsql import - --ack
  auditsql import --format otlp --explain spans.jsonl
  auditsql import --catch-up yesterday.ndjson.gz`,
		Args: func(cmd *cobra.Command, args []string) error {
			least := 1
			if o.spans.showMap {
				least = 0
			}
			return arguments(least, anyNumber, "FILE, or - for standard input,")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.spans.check(cmd); err != nil {
				return err
			}
			if o.spans.showMap {
				return a.printMap(cmd.Context(), &o.spans)
			}
			stdin := 0
			for _, name := range args {
				if name == "-" {
					stdin++
				}
			}
			if stdin > 1 {
				return usage("- was given %d times, and standard input can be read once", stdin)
			}
			if o.catchUp {
				if err := contradict(cmd, "catch-up", "ack", "rejects", "force", "strict", "every", "max-future", "create", "dry-run"); err != nil {
					return err
				}
				return a.catchUp(cmd.Context(), args)
			}
			if form := a.form(tui.Plain); o.ack && form != tui.Table && form != tui.Plain && form != tui.JSON {
				return usage("--ack has its own form of output; the only other form is --json, for the counts")
			}
			if o.dryRun {
				if err := contradict(cmd, "dry-run", "every"); err != nil {
					return err
				}
				if o.spans.format != "" {
					return trying(usage("--dry-run and --format cannot be used together"), "--explain, which stores nothing")
				}
			}
			if cmd.Flags().Changed("every") && o.every.Duration <= 0 {
				return usage("--every must be above 0")
			}
			if o.spans.format != "" {
				return a.importSpans(cmd.Context(), args, o)
			}
			return a.importFiles(cmd.Context(), args, o)
		},
		ValidArgsFunction: completeFiles,
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.ack, "ack", false, "answer each line on standard output, once its record is durable")
	flags.StringVar(&o.rejects, "rejects", "", "a `file` for the lines that are rejected, as they are")
	flags.BoolVar(&o.force, "force", false, "write over the file of --rejects when it exists")
	flags.Var(&o.every, "every", "how often to sign the log meanwhile, if the store has one")
	flags.BoolVar(&o.strict, "strict", false, "stop at the first line that is rejected")
	flags.BoolVar(&o.catchUp, "catch-up", false, "put records back that were signed and are missing")
	_ = cmd.MarkFlagFilename("rejects")
	addDryRun(cmd, &o.dryRun)
	o.spans.add(cmd)
	o.future.Add(cmd)
	a.addWriting(cmd)
	a.addCreate(cmd)
	return cmd
}

type importOptions struct {
	ack     bool
	rejects string
	force   bool
	strict  bool
	catchUp bool
	dryRun  bool
	every   durationFlag
	future  importing.Future
	spans   spanOptions
}

func (a *app) importFiles(ctx context.Context, names []string, o importOptions) (err error) {
	inputs, total, err := a.openInputs(ctx, names)
	defer func() { inputs.Close() }()
	if err != nil {
		return err
	}
	files := inputs.Files()
	for _, in := range inputs {
		if err := importing.SniffSpans(in, "auditsql -d "+shellQuote(a.dir)+" import"); err != nil {
			return tryingInstead(err)
		}
	}
	if o.rejects != "" {
		if err := a.checkOutputFile("rejects", o.rejects, o.force, files); err != nil {
			return err
		}
	}
	// The command ends only when SQLite has all records. If the journal could get far ahead of SQLite, the progress bar
	// would be wrong, and the wait at the end or after an interrupt would be long. With --ack a program waits for the
	// answers, and an answer needs only the journal. So it gets the usual limit.
	backlog := 50_000
	if o.ack {
		backlog = 0 // the library's default
	}
	db, signed, err := a.openImport(ctx, backlog, &o)
	if err != nil {
		return err
	}
	var rejects io.Writer // nil without --rejects
	if o.rejects != "" {
		// The file is emptied only after the store was opened. Opening may fail, and the file may hold the only copy of the
		// lines that an earlier run rejected.
		file, createErr := a.createOutputFile(ctx, "rejects", o.rejects, o.force, files)
		if createErr != nil {
			return errors.Join(createErr, db.close())
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		rejects = file
	}

	check, err := a.check(db.TimeUnit(), o.future)
	if err != nil {
		return errors.Join(err, db.close())
	}
	doing := "importing"
	if o.dryRun {
		doing = "checking"
	}
	bar := a.progress(doing, total, true)
	read := new(atomic.Int64) // bytes of the inputs, before they are decompressed
	im := &importing.Importer{
		Program: "auditsql import", Check: check, Strict: o.strict, Ack: o.ack, Inputs: len(inputs), Rejects: rejects,
		Answers: bufio.NewWriter(a.out), Say: func(line string) { bar.Say(line) },
	}
	im.Show = func() {
		bar.At(read.Load(), fmt.Sprintf("%s records", humanize.Comma(int64(im.Inserted+im.Duplicate+im.Rejected))))
	}
	endSigning := signed()
	err = tryingInstead(im.Run(ctx, db, inputs.Texts(read)))
	bar.End()
	if errors.Is(err, syscall.EPIPE) {
		err = &exitError{code: exitPipe, err: errors.New("the reader of the answers has gone")}
	}
	err = errors.Join(err, endSigning(), a.closeIntake(db))
	im.NoteDoubts(a.note)
	if o.dryRun {
		a.noteNothingStored()
	}
	if printErr := a.printCounts(im); err == nil {
		err = printErr
	}
	if err == nil {
		err = partly(im)
	}
	if err == nil && total < 0 {
		// A pipe may have ended because of the same signal: then everything that came is stored, and more may have been meant
		// to come.
		err = context.Cause(ctx)
	}
	return err
}

// printCounts prints how many lines were inserted, were duplicates and were rejected.
func (a *app) printCounts(im *importing.Importer) error {
	if im.Ack {
		// Standard output is for answers.
		shifted := *a
		shifted.out, shifted.outTerm = a.err, a.errTerm
		a = &shifted
	}
	return a.facts(a.form(""), im.Facts()...)
}

// partly returns the error of an import that did not store everything, nil if it did.
func partly(im interface{ Partly() error }) error {
	var e *importing.PartlyError
	if !errors.As(im.Partly(), &e) {
		return nil
	}
	code := exitPartly
	if e.Nothing {
		code = exitFailed
	}
	return &exitError{code: code, err: e.Err, try: e.Try}
}

// openImport opens where the records of an import go. signing begins to sign the log of a server's store meanwhile, if that was
// asked for, and returns what ends it.
func (a *app) openImport(ctx context.Context, backlog int, o *importOptions) (db recordIntake, signing func() (end func() error), err error) {
	if o.dryRun {
		db, err := a.openRehearsal(ctx)
		return db, signsNothing, err
	}
	return a.openSigned(ctx, backlog, o)
}

// signsNothing is the signing of an import that signs nothing meanwhile.
func signsNothing() (end func() error) { return func() error { return nil } }

// openSigned is openImport for records that are stored.
func (a *app) openSigned(ctx context.Context, backlog int, o *importOptions) (db intake, signing func() (end func() error), err error) {
	db, err = a.openIntake(ctx, audit.WithBacklog(backlog, 0), audit.WithSignEvery(o.every.Duration))
	if err != nil {
		return nil, nil, err
	}
	if o.every.typed != "" {
		if err := db.checkLog(ctx); err != nil {
			return nil, nil, errors.Join(err, db.close())
		}
	}
	if db.served() && o.every.Duration > 0 {
		return db, func() func() error { return signMeanwhile(ctx, db, o.every.Duration) }, nil
	}
	return db, signsNothing, nil
}

// closeIntake closes a store, and shows that bringing the rest into SQLite takes time. A server does that for itself.
func (a *app) closeIntake(db recordIntake) error {
	if db.served() {
		return db.close()
	}
	closing := a.progress("bringing the rest into SQLite", -1, false)
	defer closing.End()
	return db.close()
}

// signMeanwhile signs the log of a server's store every so often, and once more when the returned function is called. It waits for
// what it has begun. A signature that fails is tried again, as the store itself does, and the last one counts.
func signMeanwhile(ctx context.Context, db intake, every time.Duration) (end func() error) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				_, _ = db.Sign(ctx)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() error {
		stop()
		<-ended
		_, err := db.Sign(context.WithoutCancel(ctx))
		return err
	}
}

// openInputs opens the inputs, and refuses those that are also what the command prints into.
func (a *app) openInputs(ctx context.Context, names []string) (importing.Inputs, int64, error) {
	inputs, total, err := importing.OpenInputs(ctx, names, a.in, "auditsql import")
	if err != nil {
		return inputs, 0, tryingInstead(err)
	}
	for _, in := range inputs {
		if in.File == nil {
			continue // standard input, which checkStreams and checkOutputFile compare by themselves
		}
		if err := a.checkInput(in.Name, in.About); err != nil {
			return inputs, 0, err
		}
	}
	return inputs, total, nil
}
