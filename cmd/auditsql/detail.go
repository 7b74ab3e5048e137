package main

import (
	"bufio"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
)

// A detailWriter prints records in full: laid out for people, or in plain text with a line for each value. It prints the
// other forms as show.Records does.
type detailWriter struct {
	*show.Records
	a   *app
	r   *reading
	out *bufio.Writer // for these two forms
	n   int
}

func (a *app) detail(form tui.Form, r *reading) *detailWriter {
	return &detailWriter{Records: a.records(form, r), a: a, r: r, out: bufio.NewWriter(a.out)}
}

// own reports whether the form is one of the two that this writer prints itself.
func (w *detailWriter) own() bool { return w.Form == tui.Table || w.Form == tui.Plain }

// write prints a record, given as its canonical JSON.
func (w *detailWriter) write(raw []byte) error {
	if !w.own() {
		return w.Records.Write(raw)
	}
	q, err := audit.ParseAudit(raw)
	if err != nil {
		return fmt.Errorf("a stored record cannot be read (--raw prints it as it is): %w", err)
	}
	if w.n++; w.n > 1 {
		w.out.WriteByte('\n')
	}
	record := w.Viewer.Record(&q)
	if w.Form == tui.Plain {
		return w.plain(&record)
	}
	w.layOut(&record)
	return nil
}

// Flush prints what there is so far.
func (w *detailWriter) Flush() error {
	if w.own() {
		return w.out.Flush()
	}
	return w.Records.Flush()
}

// End prints what is left.
func (w *detailWriter) End() error {
	if w.own() {
		return w.out.Flush()
	}
	return w.Records.End()
}

// plain prints a line for each value: its name, a tab, the value. Evidence and attributes have several values.
func (w *detailWriter) plain(q *view.Record) error {
	row := q.Row()
	members, err := tui.Members(&row)
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.Name != "attributes" && m.Name != "contributions" {
			fmt.Fprintf(w.out, "%s\t%s\n", m.Name, harmless(m.Value.Text))
		}
	}
	for _, c := range q.ContributingAssertions {
		fmt.Fprintf(w.out, "contributing_assertion\t%s\t%s\t%s\t%s\n", c.AssertionHash, tui.Number(c.Weight).Text, c.SourceHash, c.Lifecycle)
	}
	for _, key := range slices.Sorted(maps.Keys(q.Attributes)) {
		fmt.Fprintf(w.out, "attribute\t%s\t%s\n", harmless(key), harmless(attributeText(q.Attributes[key])))
	}
	return nil
}

func attributeText(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	return string(tui.ToJSON(value))
}

func (w *detailWriter) head(title, about string) {
	fmt.Fprintf(w.out, "%s%s\n", w.a.screen().Strong(title), about)
}

func (w *detailWriter) line(title, value string) {
	fmt.Fprintf(w.out, "  %s  %s\n", tui.Pad(title, len("confidence")), value)
}

// hash prints a whole hash, and its label below it, because beside it there is no room.
func (w *detailWriter) hash(title string, h *audit.Hash, none string) {
	if h == nil {
		w.line(title, none)
		return
	}
	w.line(title, h.String())
	if label := w.r.labels.Of(*h); label != "" {
		w.line("", legible.Visible(label))
	}
}

// layOut prints a record for people: the question, the answer, the evidence, the rest.
func (w *detailWriter) layOut(q *view.Record) {
	w.head("query "+q.QueryID.String(), "")
	w.line("time", fmt.Sprintf("%s (%d %s)", q.Time, q.Timestamp, w.r.clock.Unit))
	w.hash("agent", q.AgentID, anonymous)
	w.head("asked", "")
	w.line("subject", tui.Or(q.Params.Subject, tui.Text).Shown())
	w.line("predicate", tui.Or(q.Params.Predicate, tui.Text).Shown())
	lifecycle := "-"
	if q.Params.Lifecycle != nil {
		lifecycle = w.lifecycle(*q.Params.Lifecycle)
	}
	w.line("lifecycle", lifecycle)
	w.line("lens", tui.Or(q.Params.Lens, tui.Text).Shown())
	w.hash("epoch", q.Params.Epoch, "-")
	w.head("answered", "")
	w.hash("result", q.ResultHash, "-")
	w.line("confidence", tui.Number(q.ResultConfidence).Text)

	about := fmt.Sprintf(" (%d", len(q.ContributingAssertions))
	if n := q.Unapproved(); n > 0 {
		about += ", " + w.a.screen().Alarm(fmt.Sprintf("%d not approved", n))
	}
	w.head("evidence", about+")")
	w.evidence(q.ContributingAssertions)
	if len(q.Attributes) > 0 {
		w.head("attributes", "")
		w.attributes(q.Attributes)
	}
}

// lifecycle marks every lifecycle but Approved and Unstated.
func (w *detailWriter) lifecycle(l audit.Lifecycle) string {
	if !l.Unapproved() {
		return l.String()
	}
	return w.a.screen().Alarm(l.String())
}

func (w *detailWriter) attributes(attributes map[string]any) {
	keys := slices.Sorted(maps.Keys(attributes))
	write, _ := legible.Apart(slices.Values(keys))
	width := 0
	for _, key := range keys {
		width = max(width, tui.DisplayWidth(write(key)))
	}
	for _, key := range keys {
		fmt.Fprintf(w.out, "  %s  %s\n", tui.Pad(write(key), width), legible.Visible(attributeText(attributes[key])))
	}
}

// evidence prints each piece on one line where there is room for two hashes and none has a label, otherwise a line for
// each hash.
func (w *detailWriter) evidence(list []audit.ContributingAssertion) {
	weights := 0
	for _, c := range list {
		weights = max(weights, len(tui.Number(c.Weight).Text))
	}
	places := len(fmt.Sprint(len(list)))
	const hash, lifecycles = 64, len("UnderReview")
	oneLine := fmt.Sprintf("  %*d  %*s  %-*s  %*s  %*s", places, 0, weights, "", lifecycles, "", hash, "", hash, "")
	labelled := slices.ContainsFunc(list, func(c audit.ContributingAssertion) bool {
		return w.r.labels.Of(c.AssertionHash) != "" || w.r.labels.Of(c.SourceHash) != ""
	})
	if width := w.a.screen().Width(); !labelled && (width == 0 || len(oneLine) <= width) {
		for i, c := range list {
			fmt.Fprintf(w.out, "  %*d  %*s  %s%s  %s  %s\n", places, i+1, weights, tui.Number(c.Weight).Text,
				w.lifecycle(c.Lifecycle), strings.Repeat(" ", lifecycles-len(c.Lifecycle.String())), c.AssertionHash, c.SourceHash)
		}
		return
	}
	for i, c := range list {
		fmt.Fprintf(w.out, "  %*d  weight %s, %s\n", places, i+1, tui.Number(c.Weight).Text, w.lifecycle(c.Lifecycle))
		for _, h := range []struct {
			title string
			hash  audit.Hash
		}{{"assertion", c.AssertionHash}, {"source   ", c.SourceHash}} {
			fmt.Fprintf(w.out, "    %s %s\n", h.title, h.hash) // 78 columns, whatever the number above
			if label := w.r.labels.Of(h.hash); label != "" {
				fmt.Fprintf(w.out, "              %s\n", legible.Visible(label))
			}
		}
	}
}
