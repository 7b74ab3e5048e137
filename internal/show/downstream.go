package show

import (
	"context"
	"fmt"
	"iter"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/tui"
)

// A Downstream is the question what came of a hash, and its answer as it is written: step by step, each as soon as it is ready.
type Downstream struct {
	Viewer  *view.Viewer
	Hash    audit.Hash
	Options audit.DownstreamOptions

	Head view.DownstreamHead
	Tail view.DownstreamTail // known at the end
}

// Walk takes every step, and calls step with the answers of each. Afterwards it counts them.
func (d *Downstream) Walk(ctx context.Context, step func(w *view.DownstreamWalk, answers iter.Seq2[view.DownstreamAnswer, error]) error) error {
	d.Head = d.Viewer.DownstreamHead(d.Hash, d.Options)
	walk := d.Viewer.Downstream(d.Hash, d.Options)
	for walk.Next(ctx) {
		if err := step(walk, walk.Rows(ctx)); err != nil {
			return err
		}
	}
	err := walk.Err()
	if err == nil {
		d.Tail, err = walk.Tail(ctx)
	}
	return err
}

// Write writes the answers to a listing that is no table, and ends it. Each step is written out before the next one is looked for.
func (d *Downstream) Write(ctx context.Context, out *tui.Listing[view.DownstreamAnswer], leaveOut func(error) bool) error {
	out.Within(d.Viewer.DownstreamHead(d.Hash, d.Options), "answers", func() any { return d.Tail })
	err := d.Walk(ctx, func(_ *view.DownstreamWalk, answers iter.Seq2[view.DownstreamAnswer, error]) error {
		if err := Rows(out, answers, leaveOut, nil); err != nil {
			return err
		}
		return out.Flush()
	})
	if err != nil {
		return err
	}
	return out.End()
}

// Bounds says what ended the walk early, and that there are further steps, a sentence for each; none if neither is so.
func (d *Downstream) Bounds() []string {
	var list []string
	switch cut := d.Tail.Totals.Cut; {
	case cut == nil:
	case *cut == string(audit.CutByAnswers):
		list = append(list, fmt.Sprintf("cut at %d answers, there are more", d.Options.Budget.Records))
	default:
		list = append(list, fmt.Sprintf("cut after %s, there may be more", d.Options.Budget.Time))
	}
	if d.Tail.Totals.MoreDeep {
		list = append(list, fmt.Sprintf("these are the answers up to --depth %d; some of them were evidence for further answers", d.Options.Depth))
	}
	return list
}

// Origins writes the origins of one record to a listing that is no table.
func Origins(out *tui.Listing[view.OriginLine], o *view.Origins) error {
	if out.Form == tui.JSON || out.Form == tui.NDJSON {
		object, err := tui.Encode(o)
		if err != nil {
			return err
		}
		return out.AddJSON(object)
	}
	for line := range o.Lines() {
		if err := out.Add(&line); err != nil {
			return err
		}
	}
	return nil
}
