package main

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
)

// A detailWriter prints records in full: for reading in form table, a value a line in plain text. The
// other forms are those of a recordWriter.
type detailWriter struct {
	*recordWriter
	out *bufio.Writer
	n   int
}

func (a *app) detail(c when.Clock, l labels) *detailWriter {
	return &detailWriter{recordWriter: a.records(a.form(""), c, l), out: bufio.NewWriter(a.out)}
}

// write prints a record, given as its canonical JSON.
func (w *detailWriter) write(raw []byte) error {
	if w.Form != tui.Table && w.Form != tui.Plain {
		return w.recordWriter.write(raw)
	}
	q, err := audit.ParseAudit(raw)
	if err != nil {
		return fmt.Errorf("a stored record cannot be read (--raw prints it as it is): %w", err)
	}
	w.n++
	if w.n > 1 {
		w.out.WriteByte('\n')
	}
	if w.Form == tui.Plain {
		w.plain(&q)
	} else {
		w.readable(&q)
	}
	return nil
}

// end prints what is left, which for the two forms of this writer is nothing.
func (w *detailWriter) End() error {
	if w.Form == tui.Table || w.Form == tui.Plain {
		return w.out.Flush()
	}
	return w.recordWriter.End()
}

func (w *detailWriter) Flush() error { return errors.Join(w.out.Flush(), w.recordWriter.Flush()) }

// plain prints a line per value: its name, a tab, the value. Evidence and attributes have several values.
func (w *detailWriter) plain(q *audit.QueryAudit) {
	names := recordColumns
	for i, c := range recordCells(q, w.clock, w.labels) {
		if names[i].Name == "attributes" || names[i].Name == "contributions" {
			continue
		}
		fmt.Fprintf(w.out, "%s\t%s\n", names[i].Name, harmless(c.Text))
	}
	for _, c := range q.ContributingAssertions {
		fmt.Fprintf(w.out, "contributing_assertion\t%s\t%s\t%s\t%s\n", c.AssertionHash, tui.Number(c.Weight).Text, c.SourceHash, c.Lifecycle)
	}
	for _, key := range sortedKeys(q.Attributes) {
		fmt.Fprintf(w.out, "attribute\t%s\t%s\n", harmless(key), harmless(attributeText(q.Attributes[key])))
	}
}

func attributeText(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	return string(tui.ToJSON(value))
}

// readable lays a record out for a person: the question, the answer, the evidence, the rest.
func (w *detailWriter) readable(q *audit.QueryAudit) {
	a := w.a
	head := func(s, about string) { fmt.Fprintf(w.out, "%s%s\n", a.screen().Strong(s), about) }
	line := func(title, value string) {
		fmt.Fprintf(w.out, "  %s  %s\n", tui.Pad(title, len("confidence")), value)
	}
	// Behind a whole hash there is no room for its label.
	labelled := func(title string, h *audit.Hash, none string) {
		if h == nil {
			line(title, none)
			return
		}
		line(title, h.String())
		if label := w.labels.Of(*h); label != "" {
			line("", legible.Visible(label))
		}
	}
	orNone := func(s *string) string {
		if s == nil {
			return "-"
		}
		return legible.Visible(*s)
	}

	head("query "+q.QueryID.String(), "")
	line("time", fmt.Sprintf("%s (%d %s)", w.clock.Format(q.Timestamp), q.Timestamp, w.clock.Unit))
	labelled("agent", q.AgentID, "anonymous")
	head("asked", "")
	line("subject", orNone(q.Params.Subject))
	line("predicate", orNone(q.Params.Predicate))
	lifecycle := "-"
	if q.Params.Lifecycle != nil {
		lifecycle = a.markLifecycle(*q.Params.Lifecycle)
	}
	line("lifecycle", lifecycle)
	line("lens", orNone(q.Params.Lens))
	labelled("epoch", q.Params.Epoch, "-")
	head("answered", "")
	labelled("result", q.ResultHash, "-")
	line("confidence", tui.Number(q.ResultConfidence).Text)

	about := fmt.Sprintf(" (%d", len(q.ContributingAssertions))
	if n := unapproved(q); n > 0 {
		about += ", " + a.screen().Alarm(fmt.Sprintf("%d not approved", n))
	}
	head("evidence", about+")")
	w.evidence(q.ContributingAssertions)
	if len(q.Attributes) > 0 {
		head("attributes", "")
		keys := sortedKeys(q.Attributes)
		write, _ := legible.Apart(slices.Values(keys))
		width := 0
		for _, key := range keys {
			width = max(width, tui.DisplayWidth(write(key)))
		}
		for _, key := range keys {
			fmt.Fprintf(w.out, "  %s  %s\n", tui.Pad(write(key), width), legible.Visible(attributeText(q.Attributes[key])))
		}
	}
}

func (a *app) markLifecycle(l audit.Lifecycle) string {
	if l == audit.Approved {
		return l.String()
	}
	return a.screen().Alarm(l.String())
}

// evidence prints each piece on one line where there is room for two hashes and none has a label, else on
// a line for each.
func (w *detailWriter) evidence(list []audit.ContributingAssertion) {
	weights := 0
	for _, c := range list {
		weights = max(weights, len(tui.Number(c.Weight).Text))
	}
	places := len(fmt.Sprint(len(list)))
	const hashes, lifecycles = 2 * 64, len("UnderReview")
	oneLine := fmt.Sprintf("  %*d  %*s  %-*s  %s  %s", places, 0, weights, "", lifecycles, "", strings.Repeat("0", hashes/2), strings.Repeat("0", hashes/2))
	labelled := slices.ContainsFunc(list, func(c audit.ContributingAssertion) bool {
		return w.labels.Of(c.AssertionHash) != "" || w.labels.Of(c.SourceHash) != ""
	})
	if width := w.a.screen().Width(); !labelled && (width == 0 || len(oneLine) <= width) {
		for i, c := range list {
			lifecycle := c.Lifecycle.String()
			fmt.Fprintf(w.out, "  %*d  %*s  %s%s  %s  %s\n", places, i+1, weights, tui.Number(c.Weight).Text,
				w.a.markLifecycle(c.Lifecycle), strings.Repeat(" ", lifecycles-len(lifecycle)), c.AssertionHash, c.SourceHash)
		}
		return
	}
	for i, c := range list {
		fmt.Fprintf(w.out, "  %*d  weight %s, %s\n", places, i+1, tui.Number(c.Weight).Text, w.a.markLifecycle(c.Lifecycle))
		// 78 columns, whatever the number above.
		for _, h := range []struct {
			title string
			hash  audit.Hash
		}{{"assertion", c.AssertionHash}, {"source   ", c.SourceHash}} {
			fmt.Fprintf(w.out, "    %s %s\n", h.title, h.hash)
			if label := w.labels.Of(h.hash); label != "" {
				fmt.Fprintf(w.out, "              %s\n", legible.Visible(label))
			}
		}
	}
}
