package importing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/otlp"
	"github.com/auditsql/auditsql/otlp/put"
)

// settleAfter is how many spans an import reads after the last span of a trace before it makes records of the trace. Files are
// written in the order in which spans end, so the spans of a trace are near to each other.
const settleAfter = 200_000

// A SpanImporter makes records of the spans of inputs, stores them, and counts what became of the spans. It belongs to one goroutine.
type SpanImporter struct {
	Format  otlp.Format
	Mapping *otlp.Mapping
	Check   ingest.Check
	// Store takes the records. It is nil if nothing is stored; then Rows gets a row for each span, see SpanColumns.
	Store put.Store
	Rows  *tui.Rows
	Say   func(line string)                // on standard error
	Note  func(format string, args ...any) // likewise, what is good to know
	Show  func(read uint64)                // called now and then, with how many spans were read; nil: nothing is shown
	Cut   bool                             // an input may have ended because of the signal that ends the run

	counts              otlp.Counts
	inserted, duplicate uint64
	inputs, failed      int // failed could not be read to their end

	joiner *otlp.Joiner
	batch  []otlp.Outcome // records to be stored
	bytes  int
	putter *put.Putter // nil if nothing is stored

	notTold     map[string]int // records without documents, by their emitters
	early, late uint64
}

// SpanColumns are the columns of the rows that say what each span would become.
func SpanColumns() []tui.Column {
	return []tui.Column{
		{Name: "trace_id", Title: "trace", Middle: true, Flexible: true, Least: 8, Rank: 3},
		{Name: "span_id", Title: "span", Rank: 2},
		{Name: "name", Flexible: true, Least: 12},
		{Name: "became"},
		{Name: "rule", Flexible: true, Least: 34},
		{Name: "agent", Flexible: true, Least: 8, Rank: 1},
		{Name: "documents", Right: true},
		{Name: "reason", Flexible: true, Least: 12, Rank: 4},
	}
}

// Run reads all inputs. The error is why the run has ended before that: the store has failed, or ctx has ended.
func (im *SpanImporter) Run(ctx context.Context, inputs []ingest.Input) error {
	im.inputs, im.notTold = len(inputs), map[string]int{}
	join := otlp.JoinOptions{AfterSpans: settleAfter}
	if im.Store != nil {
		join.Unit, im.putter = im.Check.Unit, put.New(im.Store)
	}
	im.joiner = otlp.NewJoiner(join)
	err := im.all(ctx, inputs)
	im.early, im.late = im.joiner.Early(), im.joiner.Late()
	return err
}

// NoteExplained notes what became of the spans, when nothing was stored.
func (im *SpanImporter) NoteExplained() {
	c := im.counts
	im.Note("%s read: %s, %d wrapped, %d context, %d other, %d rejected; nothing was stored", tui.Counted(c.Read, "span", "spans"),
		tui.Counted(c.Records, "record", "records"), c.Wrapped, c.Context, c.Other, c.Rejected)
}

// all reads all inputs, and settles what is left at the end of the last one. When it is interrupted, the traces that have not
// settled are not stored: the rest of their spans may not have been read, and the first record stays.
func (im *SpanImporter) all(ctx context.Context, inputs []ingest.Input) error {
	for _, in := range inputs {
		err := otlp.Read(interruptible{ctx, in.Text}, im.Format, func(p otlp.Part) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return im.part(ctx, in.Name, p)
		})
		var stop *storeError
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &stop):
			return stop.err
		default:
			im.failed++
			im.reject(fmt.Sprintf("%s: %v", in.Name, err))
		}
	}
	if im.Cut {
		// A pipe may have ended because of the same signal.
		if ended := CutShort(ctx); ended != nil {
			return ended
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err := im.settled(ctx, im.joiner.Flush())
	if err == nil {
		err = im.store(ctx)
	}
	if err == nil {
		err = im.addLabels(ctx)
	}
	var stop *storeError
	if errors.As(err, &stop) {
		err = stop.err
	}
	return err
}

// A storeError ends the import: not an input has failed, but the store.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// interruptible is an input whose reads end when the run ends.
type interruptible struct {
	ctx context.Context
	in  io.Reader
}

func (i interruptible) Read(p []byte) (int, error) {
	text, err := Uninterrupted(i.ctx, func() ([]byte, error) {
		// The read may go on after this call has returned, so it has memory of its own.
		b := make([]byte, len(p))
		n, err := i.in.Read(b)
		return b[:n], err
	})
	return copy(p, text), err
}

// part takes the spans of a part of an input.
func (im *SpanImporter) part(ctx context.Context, name string, p otlp.Part) error {
	if p.Err != nil {
		// How many spans it has is not known. It counts as one.
		im.reject(fmt.Sprintf("%s:%d: %v", name, p.Line, p.Err))
		im.counts.Read++
		im.counts.Rejected++
		return nil
	}
	for _, s := range p.Spans {
		r := im.Mapping.Reduce(s)
		if r == nil {
			im.counts.Read++
			im.counts.Rejected++
			im.reject(fmt.Sprintf("%s:%d: span %s: %v", name, p.Line, s.SpanID, s.Unusable))
			if err := im.explained(s.TraceID.String(), s.SpanID.String(), s.Name, otlp.BecameRejected, "its ids", nil, s.Unusable); err != nil {
				return err
			}
			continue
		}
		if err := im.settled(ctx, im.joiner.Add(r, 0, time.Time{})); err != nil {
			return err
		}
	}
	if im.Show != nil {
		im.Show(im.counts.Read + uint64(im.joiner.Spans()))
	}
	return nil
}

func (im *SpanImporter) reject(line string) { im.Say(legible.Text(line)) }

// settled takes traces that have settled.
func (im *SpanImporter) settled(ctx context.Context, all []otlp.Settled) error {
	for i := range all {
		im.counts.Add(all[i].Counts())
		for _, o := range all[i].Outcomes {
			if err := im.outcome(ctx, o); err != nil {
				return err
			}
		}
	}
	return nil
}

func (im *SpanImporter) outcome(ctx context.Context, o otlp.Outcome) error {
	r := o.Span
	if o.Became == otlp.BecameRejected {
		im.reject(fmt.Sprintf("trace %s span %s: %v", r.Trace, r.Span, o.Err))
	}
	if im.Store == nil {
		if o.Record != nil && o.Record.NotTold {
			im.notTold[o.Record.Emitter]++
		}
		return im.explained(r.Trace.String(), r.Span.String(), r.Name, o.Became, r.Rule, o.Record, o.Err)
	}
	if o.Record == nil {
		return nil
	}
	if err := im.Check.Refuse(&o.Record.Audit); err != nil {
		im.refuse(o, err)
		return nil
	}
	im.batch = append(im.batch, o)
	im.bytes += 256 + 160*len(o.Record.Audit.ContributingAssertions)
	if len(im.batch) < ingest.BatchRecords && im.bytes < ingest.BatchBytes {
		return nil
	}
	return im.store(ctx)
}

// refuse turns a record into a rejected span.
func (im *SpanImporter) refuse(o otlp.Outcome, err error) {
	im.counts.Records--
	im.counts.Rejected++
	im.reject(fmt.Sprintf("trace %s span %s: %v", o.Span.Trace, o.Span.Span, RefusedRecord(err)))
}

// store stores the batch.
func (im *SpanImporter) store(ctx context.Context) error {
	if len(im.batch) == 0 {
		return nil
	}
	// What is counted must be stored, so storing goes on when the run is interrupted.
	results, err := im.putter.Put(context.WithoutCancel(ctx), im.batch)
	if err != nil {
		return &storeError{err}
	}
	for i, result := range results {
		o := im.batch[i]
		switch {
		case result.Err != nil:
			im.refuse(o, result.Err)
			continue
		case result.Duplicate:
			im.duplicate++
		default:
			im.inserted++
		}
		if o.Record.NotTold {
			im.notTold[o.Record.Emitter]++
		}
	}
	im.batch, im.bytes = im.batch[:0], 0
	return nil
}

func (im *SpanImporter) addLabels(ctx context.Context) error {
	if im.putter == nil {
		return nil
	}
	if err := im.putter.AddLabels(context.WithoutCancel(ctx)); err != nil {
		return &storeError{err}
	}
	return nil
}

// explained prints a row of --explain.
func (im *SpanImporter) explained(trace, span, name string, became otlp.Became, rule string, r *otlp.Record, reason error) error {
	if im.Rows == nil {
		return nil
	}
	var agent, why *string
	var documents *int
	if r != nil {
		if text, ok := r.Audit.Attributes["agent"].(string); ok {
			agent = &text
		}
		if r.NotTold {
			text := "it contains no documents"
			why = &text
		} else {
			n := len(r.Audit.ContributingAssertions)
			documents = &n
		}
	}
	if reason != nil {
		text := reason.Error()
		why = &text
	}
	err := im.Rows.Add(tui.Text(trace), tui.Text(span), tui.Text(name), tui.Text(string(became)), tui.Text(rule),
		tui.Or(agent, tui.Text), tui.Or(documents, tui.Number[int]), tui.Or(why, tui.Text))
	if err != nil {
		return &storeError{err} // the output has failed, and no input
	}
	return nil
}

// Notes says what is good to know about the spans.
func (im *SpanImporter) Notes() {
	emitters := make([]string, 0, len(im.notTold))
	for emitter := range im.notTold {
		emitters = append(emitters, emitter)
	}
	slices.Sort(emitters)
	for _, emitter := range emitters {
		n := im.notTold[emitter]
		from := "an emitter without a name"
		if emitter != "" {
			from = emitter
		}
		im.Note("%s of %s no documents: usually the capture of content is off; what switches it on: %s",
			tui.Counted(n, "retrieval span", "retrieval spans"), from+map[bool]string{true: " contains", false: " contain"}[n == 1], otlp.CaptureSwitch(emitter))
	}
	if im.early > 0 {
		im.Note("%s joined early, since more spans were open than are held; the attribute joined says so in their records",
			tui.Counted(im.early, "trace was", "traces were"))
	}
	if im.late > 0 {
		im.Note("%s after %s had been joined; what they say about a session or an agent is in no record",
			tui.Counted(im.late, "span of context came", "spans of context came"), "their trace")
	}
	if c := im.counts; c.Read > 0 && c.Records+c.Wrapped == 0 && im.Rows == nil {
		im.Note("no span retrieves; --explain says for each what it is, and by which rule")
	}
}

// Facts are what became of the spans.
func (im *SpanImporter) Facts() []tui.Fact {
	fact := func(name string, n uint64) tui.Fact { return tui.Fact{Name: name, Title: name, Value: tui.Number(n)} }
	c := im.counts
	return []tui.Fact{
		fact("read", c.Read), fact("records", c.Records), fact("wrapped", c.Wrapped), fact("context", c.Context), fact("other", c.Other),
		fact("rejected", c.Rejected), fact("inserted", im.inserted), fact("duplicate", im.duplicate),
	}
}

// Partly returns a *PartlyError for an import that did not take every span, nil if it did.
func (im *SpanImporter) Partly() error {
	var what []string
	if im.counts.Rejected > 0 {
		what = append(what, fmt.Sprintf("rejected %d of %s", im.counts.Rejected, tui.Counted(im.counts.Read, "span", "spans")))
	}
	if im.failed > 0 {
		what = append(what, fmt.Sprintf("could not read %d of %d inputs to the end", im.failed, im.inputs))
	}
	if len(what) == 0 {
		return nil
	}
	return &PartlyError{Err: errors.New(strings.Join(what, ", ")), Nothing: im.failed == im.inputs}
}
