package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/dustin/go-humanize"

	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/otlp"
)

// An importer stores the lines of inputs, counts what became of them, and answers them with --ack.
type importer struct {
	a       *app
	options importOptions
	check   ingest.Check
	rejects io.Writer
	bar     *tui.Progress
	answers *bufio.Writer // with --ack

	read                          *atomic.Int64 // bytes of the inputs, before they are decompressed
	inserted, duplicate, rejected uint64
	inputs, failed                int         // how many there are; how many of them could not be read to their end
	doubts                        []*doubts   // in the order of the inputs
	spans                         otlp.Format // of a line that is rejected because it has spans
}

// run imports everything.
func (im *importer) run(ctx context.Context, db ingest.Store, inputs []input) error {
	texts := make([]ingest.Input, len(inputs))
	for i, in := range inputs {
		texts[i] = ingest.Input{Name: in.name, Text: counted{in.in, im.read}}
	}
	o := ingest.Options{Check: im.check, Strict: im.options.strict, EachLine: im.options.ack}
	for outcome, err := range ingest.Lines(ctx, db, texts, o) {
		if err == nil {
			err = im.take(ctx, &outcome)
		}
		if err != nil {
			return errors.Join(err, im.answers.Flush())
		}
		if outcome.Pause {
			if err := im.answers.Flush(); err != nil {
				return err
			}
			im.show()
		}
	}
	return nil
}

// take counts an outcome, and answers it.
func (im *importer) take(ctx context.Context, o *ingest.Outcome) error {
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
		im.duplicate++
	} else {
		im.inserted++
	}
	if !im.options.ack {
		return nil
	}
	_, err := im.answers.WriteString(o.Result.ID.String() + "\n")
	return err
}

// takeFailure reports that an input could not be read to its end. If it is the only input, the import ends with that
// error.
func (im *importer) takeFailure(failed *ingest.InputError) error {
	why := refusedInput(failed, failed.Input)
	if im.options.strict || im.inputs == 1 {
		return why
	}
	im.failed++
	line := why.Error()
	var advice *exitError
	if errors.As(why, &advice) && advice.try != "" {
		line += "; try: " + advice.try
	}
	im.bar.Say(harmless(line))
	return nil
}

// reject writes a line that is not stored to the file of --rejects, and prints why as FILE:LINE: reason. With --ack the
// reason is also the answer to the line.
//
// The last line of an input may be cut because the program that wrote it was interrupted together with this one. Then the
// line is no line, and the import ends.
func (im *importer) reject(ctx context.Context, o *ingest.Outcome) error {
	text := o.Text
	if !o.More && !bytes.HasSuffix(text, []byte{'\n'}) {
		if ingest.Cut(text) {
			if ended := cutShort(ctx); ended != nil {
				return ended
			}
		}
		text = append(bytes.Clone(text), '\n')
	}
	if _, err := im.rejects.Write(text); err != nil {
		return err
	}
	if o.More {
		return nil
	}
	im.rejected++
	if im.spans == "" {
		im.spans = otlp.Sniff(text)
	}
	reason := harmless(refusedRecord(o.Err).Error())
	im.bar.Say(fmt.Sprintf("%s:%d: %s", harmless(o.Input), o.Line, reason))
	if !im.options.ack {
		return nil
	}
	if _, err := im.answers.WriteString("!\t" + reason + "\n"); err != nil {
		return err
	}
	return im.answers.Flush()
}

// doubtsOf returns the doubts about the input that is being read. Inputs are read one after the other, so only the last
// entry can be about it.
func (im *importer) doubtsOf(input string) *doubts {
	if n := len(im.doubts); n > 0 && im.doubts[n-1].input == input {
		return im.doubts[n-1]
	}
	d := &doubts{input: input}
	im.doubts = append(im.doubts, d)
	return d
}

// show moves the progress bar.
func (im *importer) show() {
	im.bar.At(im.read.Load(), fmt.Sprintf("%s records", humanize.Comma(int64(im.inserted+im.duplicate+im.rejected))))
}

// printCounts prints how many lines were inserted, were duplicates and were rejected.
func (im *importer) printCounts() error {
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

// partly returns the error of an import that did not store every line, nil if it did.
func (im *importer) partly() error {
	if im.rejected == 0 && im.failed == 0 {
		return nil
	}
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
	case im.spans != "":
		e.try = fmt.Sprintf("--format %s, for input that has spans", im.spans)
	case im.options.strict:
		e.err = errors.New("stopped at a line that was rejected (--strict)")
	case im.options.rejects == "" && im.rejected > 0:
		e.try = "--rejects FILE keeps such lines"
	}
	return e
}
