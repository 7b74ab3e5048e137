package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
)

func (a *app) importCommand() *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import FILE…",
		Short: "Store the records of NDJSON files, or of - for standard input",
		Long: `Import stores records, one a line of JSON, from files or from standard input
(-); gzip is recognized by its content. Records are admitted in the order of
the lines. It ends with how many were inserted, were duplicates (stored
before, with the same bytes) and were rejected. Running it again is harmless.

A line that is refused, or that would change a stored record, is reported on
standard error as FILE:LINE: reason, and the others are stored; the exit code
is then 6, as it is when one of several inputs cannot be read to its end.
--rejects keeps such lines in a new file, so that they can be corrected and
imported; none is made when there are none, and one that exists is left alone
unless --force is given. --strict stops at the first such line: what stands
before it is stored, nothing after it.

A timestamp more than --max-future ahead of now is refused: mostly its unit is
a mistake, and it would be the newest for ever. To import what a store had
admitted, use --max-future 0. Timestamps that seem to be in another unit, and
confidences outside of 0 to 1, are stored, and told once for an input.

A record without a query_id gets one that is derived from its content. Equal
records without one are one record, and count as duplicates: where the same
question at the same time matters, give each a query_id or an attribute.

Where there is no store yet, import makes one, and says so; only in a folder
whose parent exists. --create=false makes none.

With --ack standard output has one answer for each line that is not blank, in
their order, as soon as it is known: the query id once the record is durable,
also for a duplicate, or ! and a tab and the reason for a line that is
rejected. Input is then never waited for while a whole line is unanswered, so
one long-lived import - --ack is how a program in any language writes: write a
line, read a line. The counts go to standard error.

` + recordHelp,
		Example: `  auditsql import monday.ndjson tuesday.ndjson.gz --rejects bad.ndjson
  zcat *.gz | auditsql import -
  my-agent | auditsql import - --ack`,
		Args: arguments(1, anyNumber, "FILE, or - for standard input,"),
		RunE: func(cmd *cobra.Command, args []string) error {
			stdin := 0
			for _, name := range args {
				if name == "-" {
					stdin++
				}
			}
			if stdin > 1 {
				return usage("- was given %d times, and standard input can be read once", stdin)
			}
			if o.ack && a.form("") != tui.Table && a.form("") != tui.Plain && a.form("") != tui.JSON {
				return usage("--ack has its own form of output; --json is that of the counts")
			}
			return a.importFiles(cmd.Context(), args, o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.ack, "ack", false, "answer each line on standard output, once its record is durable")
	flags.StringVar(&o.rejects, "rejects", "", "a `file` for the lines that are rejected, as they are")
	flags.BoolVar(&o.force, "force", false, "write over the file of --rejects when it exists")
	flags.BoolVar(&o.strict, "strict", false, "stop at the first line that is rejected")
	_ = cmd.MarkFlagFilename("rejects")
	o.future.addMaxFuture(cmd)
	a.addWriting(cmd)
	a.addCreate(cmd)
	return cmd
}

type importOptions struct {
	ack     bool
	rejects string
	force   bool
	strict  bool
	future  durationFlag
}

func (a *app) importFiles(ctx context.Context, names []string, o importOptions) (err error) {
	inputs, total, err := a.openInputs(names)
	defer func() {
		for _, in := range inputs {
			in.close()
		}
	}()
	if err != nil {
		return err
	}
	read := map[string]os.FileInfo{}
	for _, in := range inputs {
		if in.file == nil {
			continue // standard input, which no file may be anyhow
		}
		if read[in.name], err = in.file.Stat(); err != nil {
			return err
		}
		if err := a.checkInput(in.name, read[in.name]); err != nil {
			return err
		}
	}
	if o.rejects != "" {
		if err := a.checkOutputFile("rejects", o.rejects, o.force, read); err != nil {
			return err
		}
	}
	// What a file holds all comes to SQLite before the command ends, so acknowledging far ahead of it would only make
	// the progress shown untrue, and the end of it, or an interrupt, a long wait. Who waits for answers is served
	// ahead of SQLite.
	backlog := 50_000
	if o.ack {
		backlog = 0 // the library's
	}
	db, err := a.openIntake(audit.WithBacklog(backlog, 0))
	if err != nil {
		return err
	}
	var rejects io.Writer = io.Discard
	if o.rejects != "" {
		// Emptied only now: with the store locked, what it holds may be the only copy.
		file, createErr := a.createOutputFile("rejects", o.rejects, o.force, read)
		if createErr != nil {
			return errors.Join(createErr, db.Close())
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		rejects = file
	}

	c, err := a.clock(db.TimeUnit())
	if err != nil {
		return errors.Join(err, a.closeWriter(db))
	}
	bar := a.progress("importing", total, true)
	im := &importer{
		clock: c, inputs: len(inputs),
		a: a, db: db, options: o, rejects: rejects, bar: bar,
		answers: bufio.NewWriter(a.out), read: new(atomic.Int64),
	}
	err = im.run(ctx, inputs)
	bar.End()
	if errors.Is(err, errStrict) {
		err = nil // told by partly
	}
	if errors.Is(err, syscall.EPIPE) {
		err = errors.New("nobody reads the answers any more")
	}
	closing := a.progress("bringing the rest into SQLite", -1, false)
	err = errors.Join(err, a.closeWriter(db))
	closing.End()
	for _, d := range im.doubts {
		d.tell(a.note)
	}
	if told := im.tellCounts(); err == nil {
		err = told
	}
	if err == nil && (im.rejected > 0 || im.failed > 0) {
		return im.partly()
	}
	return err
}

// An input is a file to import, or standard input.
type input struct {
	name string // as in FILE:LINE
	in   io.Reader
	file *os.File // nil for standard input
}

func (in input) close() {
	if in.file != nil {
		in.file.Close()
	}
}

// openInputs opens all files before anything is stored, so that a misspelt name stops the import at once,
// and sums up their sizes; -1 is an unknown sum. It returns what it has opened also with an error.
func (a *app) openInputs(names []string) ([]input, int64, error) {
	var inputs []input
	total := int64(0)
	for _, name := range names {
		if name == "-" {
			inputs = append(inputs, input{name: "-", in: a.in})
			total = -1
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			return inputs, 0, err
		}
		inputs = append(inputs, input{name: name, in: f, file: f})
		about, err := f.Stat()
		switch {
		case err != nil:
			return inputs, 0, err
		case about.IsDir():
			return inputs, 0, trying(fmt.Errorf("%s is a folder", name), "auditsql import %s/*.ndjson", shellQuote(name))
		case !about.Mode().IsRegular():
			total = -1
		case total >= 0:
			total += about.Size()
		}
	}
	return inputs, total, nil
}

// An importer takes the lines of inputs into a store.
type importer struct {
	a       *app
	db      *audit.DB
	options importOptions
	rejects io.Writer
	bar     *tui.Progress
	answers *bufio.Writer // with --ack

	read                          *atomic.Int64 // bytes of the inputs, before they are decompressed
	inserted, duplicate, rejected uint64
	batch                         batch

	clock          when.Clock
	doubts         []*doubts // in the order of the inputs
	inputs, failed int       // how many there are, and could not be read to their end
}

// tellCounts prints how many records became what.
func (im *importer) tellCounts() error {
	a := im.a
	if im.options.ack {
		// Standard output is for answers.
		shifted := *a
		shifted.out, shifted.outTerm = a.err, a.errTerm
		a = &shifted
	}
	return a.facts(a.form(""),
		fact("inserted", "inserted", tui.Number(im.inserted)),
		fact("duplicate", "duplicate", tui.Number(im.duplicate)),
		fact("rejected", "rejected", tui.Number(im.rejected)))
}

// partly says that not all lines were taken.
func (im *importer) partly() error {
	all := im.inserted + im.duplicate + im.rejected
	var what []string
	if im.rejected > 0 {
		what = append(what, fmt.Sprintf("rejected %d of %s", im.rejected, plural(all, "line", "lines")))
	}
	if im.failed > 0 {
		what = append(what, fmt.Sprintf("could not read %d of %d inputs to the end", im.failed, im.inputs))
	}
	e := &exitError{code: exitPartly, err: errors.New(strings.Join(what, ", "))}
	switch {
	case im.failed == im.inputs:
		e.code = exitFailed
	case im.options.strict:
		e.err = errors.New("stopped at a line that was rejected (--strict)")
	case im.options.rejects == "" && im.rejected > 0:
		e.try = "--rejects FILE keeps such lines"
	}
	return e
}

// show moves the progress bar.
func (im *importer) show() {
	im.bar.At(im.read.Load(), fmt.Sprintf("%s records", humanize.Comma(int64(im.inserted+im.duplicate+im.rejected))))
}
