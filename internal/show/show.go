// Package show writes the answers of audit/view in each form of internal/tui. The commands and the HTTP API both use it, so
// what they write is the same to the byte.
//
//	answer            JSON                                  NDJSON, CSV and plain text
//	records           a list                                canonical JSON each, or a RecordRow
//	agents, answers   a list                                a line each
//	traces            a list of objects                     an object each, or Trace.Lines
//	impact            an object with the list of answers    a line for each answer, no totals
//	downstream        an object with the list of answers    a line for each answer, no totals
//	origins           a list of objects                     an object each, or Origins.Lines
//	timeline          an object with the list of buckets    a line for each bucket
//	ranking           an object with the list of entries    a line for each entry
//	comparison        an object with the list of entries    a line for each entry
//	a difference      an object                             an object, or Diff.Lines
//
// The caller makes the listing. If that is a table, the caller lays out what only tables have. Single objects, such as
// statistics, are tui.Screen.Object. Selection chooses what pages for people show of much evidence. Nothing here is used by two goroutines at the same time.
package show

import (
	"context"
	"fmt"
	"iter"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/tui"
)

// Records writes records, which it gets as canonical JSON.
type Records struct {
	*tui.Listing[view.RecordRow]
	Viewer *view.Viewer

	// Labelled puts the time and the labels of each record into JSON (not NDJSON, which can be imported), as CSV has them.
	Labelled bool
}

// NewRecords begins a listing of records. table is only used for tables.
func NewRecords(s *tui.Screen, form tui.Form, v *view.Viewer, table []tui.ColumnOf[view.RecordRow]) *Records {
	return &Records{Listing: tui.NewListing(s, form, table), Viewer: v}
}

// Write writes a record.
func (w *Records) Write(raw []byte) error {
	switch {
	case w.Form == tui.JSON && w.Labelled:
		object, err := Listed(w.Viewer, raw)
		if err != nil {
			return err
		}
		return w.AddJSON(object)
	case w.Form == tui.JSON || w.Form == tui.NDJSON:
		return w.AddJSON(raw)
	}
	record, err := recordOf(w.Viewer, raw)
	if err != nil {
		return err
	}
	row := record.Row()
	return w.Add(&row)
}

// Listed returns a record as a labelled list in JSON has it.
func Listed(v *view.Viewer, raw []byte) ([]byte, error) {
	record, err := recordOf(v, raw)
	if err != nil {
		return nil, err
	}
	return record.Labelled()
}

func recordOf(v *view.Viewer, raw []byte) (view.Record, error) {
	q, err := audit.ParseAudit(raw)
	if err != nil {
		return view.Record{}, fmt.Errorf("a stored record cannot be read (-o ndjson prints it as it is): %w", err)
	}
	return v.Record(&q), nil
}

// Rows writes rows as they come. It calls leaveOut with each error among them: when that reports true, the error is about one
// row, and the others follow. It calls before, which may be nil, with each row that it writes. It does not end the listing.
func Rows[T any](out *tui.Listing[T], rows iter.Seq2[T, error], leaveOut func(error) bool, before func(*T)) error {
	for row, err := range rows {
		if err != nil {
			if leaveOut(err) {
				continue
			}
			return err
		}
		if before != nil {
			before(&row)
		}
		if err := out.Add(&row); err != nil {
			return err
		}
	}
	return nil
}

// Trace writes one trace to a listing that is no table.
func Trace(out *tui.Listing[view.TraceLine], t *view.Trace) error {
	if out.Form == tui.JSON || out.Form == tui.NDJSON {
		object, err := tui.Encode(t)
		if err != nil {
			return err
		}
		return out.AddJSON(object)
	}
	for line := range t.Lines() {
		if err := out.Add(&line); err != nil {
			return err
		}
	}
	return nil
}

// An Impact is the question what a hash went into, and its answer as it is written.
type Impact struct {
	Viewer  *view.Viewer
	Hash    audit.Hash
	Options audit.ImpactOptions

	Head view.ImpactHead
	Tail view.ImpactTail // More and Onward are known at the end

	onward bool // the form has Onward
}

// Begin finds what comes before the answers. The totals are only counted for the forms that have them: for JSON and for
// tables. Whether the answers were evidence elsewhere is looked for for these, and for plain text, beside which it is said. It is said
// after the answers, so it is looked for when they are written.
func (i *Impact) Begin(ctx context.Context, form tui.Form) (err error) {
	i.Head = i.Viewer.ImpactHead(i.Hash, i.Options)
	if i.Options.Filter.AsOf == nil { // an answer as of some moment lacks nothing
		i.Tail.Lag = i.Viewer.Lag
	}
	if form == tui.Table || form == tui.JSON {
		i.Tail.Totals, err = i.Viewer.ImpactTotals(ctx, i.Hash, i.Options)
	}
	i.onward = form == tui.Table || form == tui.JSON || form == tui.Plain
	return err
}

// Write writes the answers, and ends the listing.
func (i *Impact) Write(ctx context.Context, out *tui.Listing[view.ImpactedAnswer], leaveOut func(error) bool, before func(*view.ImpactedAnswer)) error {
	answers := i.Viewer.Impact(ctx, i.Hash, i.Options)
	out.Within(i.Head, "answers", func() any {
		i.Tail.More = answers.More()
		return i.Tail
	})
	err := Rows(out, answers.Rows(), leaveOut, before)
	if err == nil && i.onward {
		i.Tail.Onward, err = i.Viewer.Onward(ctx, i.Hash, i.Options)
	}
	if err != nil {
		return err
	}
	i.Tail.More = answers.More()
	return out.End()
}

// Timeline writes a timeline to a listing that is no table, and ends it.
func Timeline(out *tui.Listing[view.Bucket], t *view.Timeline) error {
	out.Within(t.TimelineHead, "buckets", func() any { return t.TimelineTail })
	return all(out, t.Buckets)
}

// Ranking writes a ranking, and ends the listing.
func Ranking(out *tui.Listing[view.Ranked], t *view.Ranking) error {
	out.Within(t.RankingHead, "entries", func() any { return t.RankingTail })
	return all(out, t.Entries)
}

// Comparison writes a comparison, and ends the listing.
func Comparison(out *tui.Listing[view.Compared], c *view.Comparison) error {
	out.Within(c.ComparisonHead, "entries", func() any { return c.ComparisonTail })
	return all(out, c.Entries)
}

// Diff writes a difference in a form that is no table.
func Diff(s *tui.Screen, form tui.Form, d *view.Diff) error {
	if form == tui.JSON || form == tui.NDJSON {
		return s.Object(form, d)
	}
	out := tui.NewListing[view.DiffLine](s, form, nil)
	for line := range d.Lines() {
		if err := out.Add(&line); err != nil {
			return err
		}
	}
	return out.End()
}

// Labels writes labels in the order of a list, and ends the listing. Its columns are hash and label.
func Labels(out *tui.Rows, list []audit.Label, hash func(audit.Hash) tui.Cell) error {
	for _, one := range list {
		if err := out.Add(hash(one.Hash), tui.Text(one.Label)); err != nil {
			return err
		}
	}
	return out.End()
}

func all[T any](out *tui.Listing[T], rows []T) error {
	for i := range rows {
		if err := out.Add(&rows[i]); err != nil {
			return err
		}
	}
	return out.End()
}
