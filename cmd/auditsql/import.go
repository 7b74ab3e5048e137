package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
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
is then 6. --rejects keeps such lines in a file, which is replaced, so that
they can be mended and imported. --strict stops at the first one: what stands
before it is stored, nothing behind it.

With --ack standard output has one answer for each line that is not blank, in
their order, as soon as it is known: the query id once the record is durable,
also for a duplicate, or ! and a tab and the reason for a line that is
rejected. Input is then never waited for while a whole line is unanswered, so
one long-lived import - --ack is how a program in any language writes: write a
line, read a line. The counts go to standard error.`,
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
			if o.ack && a.form("") != formTable && a.form("") != formPlain && a.form("") != formJSON {
				return usage("--ack has its own form of output; --json is that of the counts")
			}
			return a.importFiles(cmd.Context(), args, o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.ack, "ack", false, "answer each line on standard output, once its record is durable")
	flags.StringVar(&o.rejects, "rejects", "", "a `file` for the lines that are rejected, as they are")
	flags.BoolVar(&o.strict, "strict", false, "stop at the first line that is rejected")
	_ = cmd.MarkFlagFilename("rejects")
	a.addWriting(cmd)
	return cmd
}

type importOptions struct {
	ack     bool
	rejects string
	strict  bool
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
	if err := checkRejects(o.rejects, inputs); err != nil {
		return err
	}
	// What a file holds all comes to SQLite before the command ends, so acknowledging far ahead of it would only make
	// the progress shown untrue, and the end of it, or an interrupt, a long wait. Who waits for answers is served
	// ahead of SQLite.
	backlog := 50_000
	if o.ack {
		backlog = 0 // the library's
	}
	db, err := a.openWriter(audit.WithBacklog(backlog, 0))
	if err != nil {
		return err
	}
	// Emptied only now: with the store locked, what it holds may be the only copy.
	rejects, err := openRejects(o.rejects)
	if err != nil {
		return errors.Join(err, a.closeWriter(db))
	}
	defer func() { err = errors.Join(err, rejects.Close()) }()

	bar := a.progress("importing", total, true)
	im := &importer{
		a: a, db: db, options: o, rejects: rejects, bar: bar,
		answers: bufio.NewWriter(a.out), read: new(atomic.Int64),
	}
	err = im.run(ctx, inputs)
	bar.end()
	if errors.Is(err, errStrict) {
		err = nil // told by partly
	}
	if errors.Is(err, syscall.EPIPE) {
		err = errors.New("nobody reads the answers any more")
	}
	closing := a.progress("bringing the rest into SQLite", -1, false)
	err = errors.Join(err, a.closeWriter(db))
	closing.end()
	if told := im.tellCounts(); err == nil {
		err = told
	}
	if err == nil && im.rejected > 0 {
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

// checkRejects refuses to write rejected lines over what is being imported.
func checkRejects(name string, inputs []input) error {
	about, err := os.Stat(name)
	if name == "" || err != nil {
		return nil
	}
	for _, in := range inputs {
		if in.file == nil {
			continue
		}
		if other, err := in.file.Stat(); err == nil && os.SameFile(about, other) {
			return usage("--rejects %s is also to be imported, and would be emptied", name)
		}
	}
	return nil
}

// openRejects makes the file for rejected lines; with no name they go nowhere.
func openRejects(name string) (io.WriteCloser, error) {
	if name == "" {
		return nowhere{io.Discard}, nil
	}
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}

type nowhere struct{ io.Writer }

func (nowhere) Close() error { return nil }

// An importer takes the lines of inputs into a store.
type importer struct {
	a       *app
	db      *audit.DB
	options importOptions
	rejects io.Writer
	bar     *progress
	answers *bufio.Writer // with --ack

	read                          *atomic.Int64 // bytes of the inputs, before they are decompressed
	inserted, duplicate, rejected uint64
	batch                         batch
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
		fact{"inserted", "inserted", number(im.inserted)},
		fact{"duplicate", "duplicate", number(im.duplicate)},
		fact{"rejected", "rejected", number(im.rejected)})
}

// partly says that not all lines were taken.
func (im *importer) partly() error {
	all := im.inserted + im.duplicate + im.rejected
	err := fmt.Errorf("rejected %d of %s", im.rejected, plural(all, "line", "lines"))
	try := ""
	switch {
	case im.options.strict:
		err = errors.New("stopped at a line that was rejected (--strict)")
	case im.options.rejects == "":
		try = "--rejects FILE keeps such lines"
	}
	return &exitError{code: exitPartly, err: err, try: try}
}

// show moves the progress bar.
func (im *importer) show() {
	im.bar.at(im.read.Load(), fmt.Sprintf("%s records", humanize.Comma(int64(im.inserted+im.duplicate+im.rejected))))
}
