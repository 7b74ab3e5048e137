package main

import (
	"context"
	"fmt"
	"io"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/evidence/bundle"
	"github.com/auditsql/auditsql/internal/tui"
)

// proveBetween writes all records between two checkpoints.
func (a *app) proveBetween(ctx context.Context, older, newer, out string, policy *evidence.Policy) error {
	var before []byte // nil: from the first record on
	if older != fromStart {
		var err error
		if before, err = readSmall(ctx, older); err != nil {
			return err
		}
	}
	signed, err := readSmall(ctx, newer)
	if err != nil {
		return err
	}
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	p, err := r.Prover(ctx, audit.ProveOptions{Checkpoint: signed, Policy: policy})
	if err != nil {
		return a.provingError(fmt.Errorf("%s: %w", newer, err))
	}
	edge, records, err := p.Between(ctx, before)
	if err != nil {
		return a.provingError(fmt.Errorf("%s: %w", older, err))
	}
	defer records.Close()
	bar := a.progress("proving", -1, true)
	defer bar.End()
	in := &remembered{in: records, bar: bar}
	err = a.makeBundle(out, &bundle.Contents{Policy: p.Policy(), Range: &bundle.Range{Older: before, Newer: signed, Edge: edge, Records: in}})
	if in.err != nil {
		err = in.err // the bundle knows its text alone
	}
	if err != nil {
		return a.provingError(err)
	}
	bar.End()
	n := p.Checkpoint().Size - edge.Size()
	a.noteEvidence(out, fmt.Sprintf("all %s from %d on", plural(n, "record", "records"), edge.Size()), p)
	return nil
}

// remembered keeps the error with which its input ended, and moves a bar.
type remembered struct {
	in  io.Reader
	bar *tui.Progress
	n   int64
	err error
}

func (r *remembered) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	r.n += int64(n)
	r.bar.At(r.n, "proving")
	return n, err
}
