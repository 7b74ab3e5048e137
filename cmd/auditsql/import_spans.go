package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/internal/importing"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/otlp"
	"github.com/auditsql/auditsql/otlp/put"
)

// spanOptions are the flags of import --format.
type spanOptions struct {
	format    string
	explain   bool
	showMap   bool
	file      string // of the map
	lifecycle string
	text      string
}

func (o *spanOptions) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.format, "format", "", "the inputs are spans: `otlp`, langfuse or langsmith")
	flags.BoolVar(&o.explain, "explain", false, "store nothing, and print what each span would become, and by which rule")
	flags.BoolVar(&o.showMap, "show-map", false, "print the map that is in force, and do nothing else")
	o.addMapping(cmd)
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"otlp", "langfuse", "langsmith"}, cobra.ShellCompDirectiveNoFileComp))
}

// addMapping adds the flags that say how spans become records, whether they come from files or from a receiver.
func (o *spanOptions) addMapping(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.file, "map", "", "a `file` that says how spans become records")
	flags.StringVar(&o.lifecycle, "lifecycle", "", "the lifecycle of documents that tell none (by default Unstated)")
	flags.StringVar(&o.text, "text", "", "what is kept of the questions in spans: `keep`, hash or none")
	_ = cmd.MarkFlagFilename("map")
	_ = cmd.RegisterFlagCompletionFunc("text", cobra.FixedCompletions([]string{otlp.KeepText, otlp.HashText, otlp.NoText}, cobra.ShellCompDirectiveNoFileComp))
}

// check refuses flags that do not go together.
func (o *spanOptions) check(cmd *cobra.Command) error {
	if o.format == "" {
		for _, name := range []string{"explain", "map", "lifecycle", "text"} {
			if cmd.Flags().Changed(name) && !o.showMap {
				return usage("--%s goes with --format", name)
			}
		}
		if cmd.Flags().Changed("format") {
			return usage("--format names no format: want otlp, langfuse or langsmith")
		}
		return nil
	}
	if !slices.Contains(otlp.Formats, otlp.Format(o.format)) {
		return usage("--format %s: want otlp, langfuse or langsmith", o.format)
	}
	return contradict(cmd, "format", "ack", "rejects", "force", "strict", "catch-up")
}

// mapping reads the map, and puts what the flags say over it.
func (o *spanOptions) mapping(ctx context.Context) (*otlp.Mapping, error) {
	m := otlp.DefaultMap()
	if o.file != "" {
		text, err := importing.Uninterrupted(ctx, func() ([]byte, error) { return os.ReadFile(o.file) })
		if err != nil {
			return nil, err
		}
		if m, err = otlp.ParseMap(text); err != nil {
			return nil, trying(usage("%s: %w", o.file, err), "auditsql import --show-map prints a map to begin with")
		}
	}
	if o.lifecycle != "" {
		l, err := audit.ParseLifecycle(o.lifecycle)
		if err != nil {
			return nil, usage("--lifecycle: %w", err)
		}
		m.Lifecycle.Default = l
	}
	if o.text != "" {
		m.Subject = o.text
	}
	mapping, err := otlp.NewMapping(m)
	if err != nil {
		if o.text != "" {
			err = fmt.Errorf("--text %s: want keep, hash or none", o.text)
		}
		return nil, usage("%w", err)
	}
	return mapping, nil
}

// printMap prints the map that is in force, as --map reads it.
func (a *app) printMap(ctx context.Context, o *spanOptions) error {
	m, err := o.mapping(ctx)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(m.Map()); err != nil {
		return err
	}
	return a.copyOut(text.String())
}

// settleAfter is how many spans an import reads after the last span of a trace before it makes records of the trace. Files are
// written in the order in which spans end, so the spans of a trace are near to each other.
const settleAfter = 200_000

// A spanImporter makes records of the spans of inputs, stores them, and counts what became of the spans.
type spanImporter struct {
	a       *app
	options importOptions
	mapping *otlp.Mapping
	joiner  *otlp.Joiner
	db      intake // nil with --explain
	check   ingest.Check
	bar     *tui.Progress
	rows    *tui.Rows // with --explain
	read    *atomic.Int64

	counts              otlp.Counts
	inserted, duplicate uint64
	failed              int // inputs that could not be read to their end

	batch  []otlp.Outcome // records to be stored
	bytes  int
	putter *put.Putter // nil with --explain

	notTold     map[string]int // records without documents, by their emitters
	early, late uint64
}

// importSpans is import --format.
func (a *app) importSpans(ctx context.Context, names []string, o importOptions) (err error) {
	mapping, err := o.spans.mapping(ctx)
	if err != nil {
		return err
	}
	inputs, total, err := a.openInputs(ctx, names)
	defer func() {
		for _, in := range inputs {
			in.close()
		}
	}()
	if err != nil {
		return err
	}
	im := &spanImporter{
		a: a, options: o, mapping: mapping, read: new(atomic.Int64), notTold: map[string]int{},
	}
	join := otlp.JoinOptions{AfterSpans: settleAfter}
	if o.spans.explain {
		im.joiner = otlp.NewJoiner(join)
		return im.explain(ctx, inputs, total)
	}
	db, signing, err := a.openSigned(ctx, 50_000, &o)
	if err != nil {
		return err
	}
	if im.check, err = a.check(db.TimeUnit(), o.future); err != nil {
		return errors.Join(err, db.close())
	}
	join.Unit = db.TimeUnit()
	im.db, im.joiner, im.putter = db, otlp.NewJoiner(join), put.New(db)
	im.bar = a.progress("importing", total, true)
	endSigning := signing()
	err = im.all(ctx, inputs, total)
	im.bar.End()
	err = errors.Join(err, endSigning(), a.closeIntake(db))
	im.notes()
	if printErr := im.printCounts(); err == nil {
		err = printErr
	}
	if err == nil {
		err = im.partly(len(inputs))
	}
	if err == nil && total < 0 {
		err = context.Cause(ctx) // as importFiles has it
	}
	return err
}

// explain reads everything, and prints for each span what it would become.
func (im *spanImporter) explain(ctx context.Context, inputs []input, total int64) error {
	form := im.a.form("")
	im.rows = im.a.rows(form,
		tui.Column{Name: "trace_id", Title: "trace", Middle: true, Flexible: true, Least: 8, Rank: 3},
		tui.Column{Name: "span_id", Title: "span", Rank: 2},
		tui.Column{Name: "name", Flexible: true, Least: 12},
		tui.Column{Name: "became"},
		tui.Column{Name: "rule", Flexible: true, Least: 34},
		tui.Column{Name: "agent", Flexible: true, Least: 8, Rank: 1},
		tui.Column{Name: "documents", Right: true},
		tui.Column{Name: "reason", Flexible: true, Least: 12, Rank: 4})
	im.bar = im.a.progress("reading", total, true)
	err := im.all(ctx, inputs, total)
	im.bar.End()
	err = errors.Join(err, im.rows.End())
	im.notes()
	c := im.counts
	im.a.note("%s read: %s, %d wrapped, %d context, %d other, %d rejected; nothing was stored", plural(c.Read, "span", "spans"),
		plural(c.Records, "record", "records"), c.Wrapped, c.Context, c.Other, c.Rejected)
	if err == nil {
		err = im.partly(len(inputs))
	}
	return err
}

// all reads all inputs, and settles what is left at the end of the last one. When it is interrupted, the traces that have not
// settled are not stored: the rest of their spans may not have been read, and the first record stays.
func (im *spanImporter) all(ctx context.Context, inputs []input, total int64) error {
	for _, in := range inputs {
		err := otlp.Read(interruptible{ctx, counted{in.in, im.read}}, otlp.Format(im.options.spans.format), func(p otlp.Part) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return im.part(ctx, in.name, p)
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
			im.reject(fmt.Sprintf("%s: %v", in.name, err))
		}
	}
	if total < 0 {
		// A pipe may have ended because of the same signal.
		if ended := importing.CutShort(ctx); ended != nil {
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
	im.early, im.late = im.joiner.Early(), im.joiner.Late()
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
	text, err := importing.Uninterrupted(i.ctx, func() ([]byte, error) {
		// The read may go on after this call has returned, so it has memory of its own.
		b := make([]byte, len(p))
		n, err := i.in.Read(b)
		return b[:n], err
	})
	return copy(p, text), err
}

// part takes the spans of a part of an input.
func (im *spanImporter) part(ctx context.Context, name string, p otlp.Part) error {
	if p.Err != nil {
		// How many spans it has is not known. It counts as one.
		im.reject(fmt.Sprintf("%s:%d: %v", name, p.Line, p.Err))
		im.counts.Read++
		im.counts.Rejected++
		return nil
	}
	for _, s := range p.Spans {
		r := im.mapping.Reduce(s)
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
	im.bar.At(im.read.Load(), fmt.Sprintf("%s spans", humanize.Comma(int64(im.counts.Read)+int64(im.joiner.Spans()))))
	return nil
}

func (im *spanImporter) reject(line string) { im.bar.Say(harmless(line)) }

// settled takes traces that have settled.
func (im *spanImporter) settled(ctx context.Context, all []otlp.Settled) error {
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

func (im *spanImporter) outcome(ctx context.Context, o otlp.Outcome) error {
	r := o.Span
	if o.Became == otlp.BecameRejected {
		im.reject(fmt.Sprintf("trace %s span %s: %v", r.Trace, r.Span, o.Err))
	}
	if im.db == nil {
		if o.Record != nil && o.Record.NotTold {
			im.notTold[o.Record.Emitter]++
		}
		return im.explained(r.Trace.String(), r.Span.String(), r.Name, o.Became, r.Rule, o.Record, o.Err)
	}
	if o.Record == nil {
		return nil
	}
	if err := im.check.Refuse(&o.Record.Audit); err != nil {
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
func (im *spanImporter) refuse(o otlp.Outcome, err error) {
	im.counts.Records--
	im.counts.Rejected++
	im.reject(fmt.Sprintf("trace %s span %s: %v", o.Span.Trace, o.Span.Span, importing.RefusedRecord(err)))
}

// store stores the batch.
func (im *spanImporter) store(ctx context.Context) error {
	if len(im.batch) == 0 {
		return nil
	}
	results, err := im.putter.Put(ctx, im.batch)
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

func (im *spanImporter) addLabels(ctx context.Context) error {
	if im.putter == nil {
		return nil
	}
	if err := im.putter.AddLabels(ctx); err != nil {
		return &storeError{err}
	}
	return nil
}

// explained prints a row of --explain.
func (im *spanImporter) explained(trace, span, name string, became otlp.Became, rule string, r *otlp.Record, reason error) error {
	if im.rows == nil {
		return nil
	}
	var agent, why *string
	var documents *int
	if r != nil {
		if text, ok := r.Audit.Attributes["agent"].(string); ok {
			agent = &text
		}
		if r.NotTold {
			text := "it tells no documents"
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
	err := im.rows.Add(tui.Text(trace), tui.Text(span), tui.Text(name), tui.Text(string(became)), tui.Text(rule),
		tui.Or(agent, tui.Text), tui.Or(documents, tui.Number[int]), tui.Or(why, tui.Text))
	if err != nil {
		return &storeError{err} // the output has failed, and no input
	}
	return nil
}

// notes says what is good to know about the spans.
func (im *spanImporter) notes() {
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
		im.a.note("%s of %s no documents: most often the capture of content is off; what switches it on: %s",
			plural(n, "retrieval", "retrievals"), from+map[bool]string{true: " tells", false: " tell"}[n == 1], otlp.CaptureSwitch(emitter))
	}
	if im.early > 0 {
		im.a.note("%s joined early, since more spans were open than are held; the attribute joined says so in their records",
			plural(im.early, "trace was", "traces were"))
	}
	if im.late > 0 {
		im.a.note("%s after %s had been joined; what they say about a session or an agent is in no record",
			plural(im.late, "span of context came", "spans of context came"), "their trace")
	}
	if c := im.counts; c.Read > 0 && c.Records+c.Wrapped == 0 && im.rows == nil {
		im.a.note("no span retrieves; --explain says for each what it is, and by which rule")
	}
}

// printCounts prints what became of the spans.
func (im *spanImporter) printCounts() error {
	c := im.counts
	return im.a.facts(im.a.form(""),
		fact("read", "read", tui.Number(c.Read)),
		fact("records", "records", tui.Number(c.Records)),
		fact("wrapped", "wrapped", tui.Number(c.Wrapped)),
		fact("context", "context", tui.Number(c.Context)),
		fact("other", "other", tui.Number(c.Other)),
		fact("rejected", "rejected", tui.Number(c.Rejected)),
		fact("inserted", "inserted", tui.Number(im.inserted)),
		fact("duplicate", "duplicate", tui.Number(im.duplicate)))
}

// partly returns the error of an import that did not take every span, nil if it did.
func (im *spanImporter) partly(inputs int) error {
	var what []string
	if im.counts.Rejected > 0 {
		what = append(what, fmt.Sprintf("rejected %d of %s", im.counts.Rejected, plural(im.counts.Read, "span", "spans")))
	}
	if im.failed > 0 {
		what = append(what, fmt.Sprintf("could not read %d of %d inputs to the end", im.failed, inputs))
	}
	if len(what) == 0 {
		return nil
	}
	e := &exitError{code: exitPartly, err: errors.New(strings.Join(what, ", "))}
	if im.failed == inputs {
		e.code = exitFailed
	}
	return e
}

// sniffSpans refuses a file of spans that is imported as if it had records, and names its format. Nothing is guessed.
func (a *app) sniffSpans(in input) error {
	if in.file == nil {
		return nil
	}
	about, err := in.file.Stat()
	if err != nil || !about.Mode().IsRegular() {
		return err
	}
	text, err := ingest.Decompress(io.NewSectionReader(in.file, 0, about.Size()))
	if err != nil {
		return nil // the import says why
	}
	start, _ := text.Peek(32 << 10)
	if format := otlp.Sniff(start); format != "" {
		return trying(usage("%s has spans, and no records", in.name), "auditsql -d %s import --format %s %s", shellQuote(a.dir), format, shellQuote(in.name))
	}
	return nil
}
