// Package importing is what commands share that store records from text: it stores the lines of inputs, counts what became of them, and
// answers them. Package ingest reads the lines.
package importing

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/internal/advice"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/otlp"
)

// An Importer stores the lines of inputs, counts what became of them, and answers them with Ack. It belongs to one goroutine.
type Importer struct {
	Program string // the command that reads the lines, for advice
	Check   ingest.Check
	Strict  bool      // stop at the first line that is rejected
	Ack     bool      // answer each line
	Rejects io.Writer // takes the lines that are rejected, as they are; nil: nothing does
	Answers *bufio.Writer
	Say     func(line string) // on standard error
	Show    func()            // called now and then; nil: nothing is shown
	Inputs  int               // how many there are

	// These can be read between two calls of Show, and at the end.
	Inserted, Duplicate, Rejected uint64

	failed int         // inputs that could not be read to their end
	doubts []*doubts   // in the order of the inputs
	spans  otlp.Format // of a line that is rejected because it has spans
}

// Run imports everything.
func (im *Importer) Run(ctx context.Context, db ingest.Store, inputs []ingest.Input) error {
	o := ingest.Options{Check: im.Check, Strict: im.Strict, EachLine: im.Ack}
	for outcome, err := range ingest.Lines(ctx, db, inputs, o) {
		if err == nil {
			err = im.take(ctx, &outcome)
		}
		if err != nil {
			return errors.Join(err, im.Answers.Flush())
		}
		if outcome.Pause {
			if err := im.Answers.Flush(); err != nil {
				return err
			}
			if im.Show != nil {
				im.Show()
			}
		}
	}
	return nil
}

// take counts an outcome, and answers it.
func (im *Importer) take(ctx context.Context, o *ingest.Outcome) error {
	var failed *ingest.InputError
	switch {
	case errors.As(o.Err, &failed):
		return im.takeFailure(failed)
	case o.Err != nil || o.More:
		return im.reject(ctx, o)
	}
	if len(o.Doubts) > 0 {
		im.doubtsOf(o.Input).add(o.Line, o.Doubts)
	}
	if o.Result.Duplicate {
		im.Duplicate++
	} else {
		im.Inserted++
	}
	if !im.Ack {
		return nil
	}
	_, err := im.Answers.WriteString(o.Result.ID.String() + "\n")
	return err
}

// takeFailure reports that an input could not be read to its end. If it is the only input, the import ends with that
// error.
func (im *Importer) takeFailure(failed *ingest.InputError) error {
	why := RefusedInput(failed, failed.Input, im.Program)
	if im.Strict || im.Inputs == 1 {
		return why
	}
	im.failed++
	line := why.Error()
	var advised *advice.Error
	if errors.As(why, &advised) && advised.Try != "" {
		line += "; try: " + advised.Try
	}
	im.Say(legible.Text(line))
	return nil
}

// reject writes a line that is not stored to the file of --rejects, and prints why as FILE:LINE: reason. With --ack the
// reason is also the answer to the line.
//
// The last line of an input may be cut because the program that wrote it was interrupted together with this one. Then the
// line is no line, and the import ends.
func (im *Importer) reject(ctx context.Context, o *ingest.Outcome) error {
	text := o.Text
	if !o.More && !bytes.HasSuffix(text, []byte{'\n'}) {
		if ingest.Cut(text) {
			if ended := CutShort(ctx); ended != nil {
				return ended
			}
		}
		text = append(bytes.Clone(text), '\n')
	}
	if im.Rejects != nil {
		if _, err := im.Rejects.Write(text); err != nil {
			return err
		}
	}
	if o.More {
		return nil
	}
	im.Rejected++
	if im.spans == "" {
		im.spans = otlp.Sniff(text)
	}
	reason := legible.Text(RefusedRecord(o.Err).Error())
	im.Say(fmt.Sprintf("%s:%d: %s", legible.Text(o.Input), o.Line, reason))
	if !im.Ack {
		return nil
	}
	if _, err := im.Answers.WriteString("!\t" + reason + "\n"); err != nil {
		return err
	}
	return im.Answers.Flush()
}

// doubtsOf returns the doubts about the input that is being read. Inputs are read one after the other, so only the last
// entry can be about it.
func (im *Importer) doubtsOf(input string) *doubts {
	if n := len(im.doubts); n > 0 && im.doubts[n-1].input == input {
		return im.doubts[n-1]
	}
	d := &doubts{input: input}
	im.doubts = append(im.doubts, d)
	return d
}

// Facts are how many lines were inserted, were duplicates and were rejected.
func (im *Importer) Facts() []tui.Fact {
	fact := func(name string, n uint64) tui.Fact { return tui.Fact{Name: name, Title: name, Value: tui.Number(n)} }
	return []tui.Fact{fact("inserted", im.Inserted), fact("duplicate", im.Duplicate), fact("rejected", im.Rejected)}
}

// NoteDoubts notes what was odd about records that are stored, once for each input.
func (im *Importer) NoteDoubts(note func(format string, args ...any)) {
	for _, d := range im.doubts {
		d.print(note)
	}
}

// A PartlyError says that not every line was stored.
type PartlyError struct {
	Err     error
	Try     string // what to try about it, "" if nothing
	Nothing bool   // no input could be read to its end
}

func (e *PartlyError) Error() string { return e.Err.Error() }

// Unwrap returns what there is to say.
func (e *PartlyError) Unwrap() error { return e.Err }

// Partly returns a *PartlyError for an import that did not store every line, nil if it did.
func (im *Importer) Partly() error {
	if im.Rejected == 0 && im.failed == 0 {
		return nil
	}
	all := im.Inserted + im.Duplicate + im.Rejected
	var what []string
	if im.Rejected > 0 {
		what = append(what, fmt.Sprintf("rejected %d of %s", im.Rejected, tui.Counted(all, "line", "lines")))
	}
	if im.failed > 0 {
		what = append(what, fmt.Sprintf("could not read %d of %d inputs to the end", im.failed, im.Inputs))
	}
	e := &PartlyError{Err: errors.New(strings.Join(what, ", ")), Nothing: im.failed == im.Inputs}
	switch {
	case e.Nothing:
	case im.spans != "":
		e.Try = fmt.Sprintf("--format %s, for input that has spans", im.spans)
	case im.Strict:
		e.Err = errors.New("stopped at a line that was rejected (--strict)")
	case im.Rejects == nil && im.Rejected > 0:
		e.Try = "--rejects FILE keeps such lines"
	}
	return e
}
