package wal

import (
	"context"

	"github.com/auditsql/auditsql/wal/internal/segment"
)

// fillTail replaces each range of the tail that intact records follow by fillers, see Options.KeepTail. It returns these ranges; if there
// is none, it changes nothing.
//
// It works as Repair does (rewrite.apply says what a crash at each of its steps leaves): the segment is replaced as a whole, after a copy
// of the ranges is durable. A power cut may also bring back the segment as it was, or as much of it as was synced. Nothing of it has been
// read by anybody then, and the next opening plans anew.
func (j *Journal) fillTail(ctx context.Context, last Segment, cursor Offset) ([]TornTail, error) {
	o := RepairOptions{FS: j.fs, Identity: j.opts.Identity, Now: j.opts.Now}
	p := planner{dir: j.dir, o: o, rep: &RepairReport{Cursor: cursor}, keepTail: true}
	f, err := j.fs.Open(last.Path)
	if err != nil {
		return nil, err
	}
	err = p.oneSegment(ctx, f, last, 0)
	f.Close()
	if err != nil || len(p.rewrites) == 0 {
		return nil, err
	}
	for _, d := range p.rep.Damage {
		if !d.torn {
			return nil, nil // before the cursor, where recovery changes nothing
		}
		if err := p.planRange(d); err != nil {
			return nil, err
		}
	}
	if err := p.rewrites[0].apply(ctx, j.dir, o); err != nil {
		return nil, err
	}
	var filled []TornTail
	for _, d := range p.rep.Damage {
		filled = append(filled, TornTail{
			Segment: d.Segment, Offset: d.Offset, Bytes: int64(d.End - d.Offset), Reason: d.Reason, Quarantine: d.Quarantine, Interrupted: d.interrupted,
		})
	}
	return filled, nil
}

// tornRange adds the range of a torn tail from the scanner's offset to end, where an intact record begins.
func (p *planner) tornRange(ctx context.Context, s *segment.Scanner, r *rewrite, end Offset, reason string) error {
	interrupted, err := s.Interrupted(ctx, int64(end-r.seg.Base))
	if err != nil {
		return err
	}
	p.add(r, s, end, reason)
	d := r.ranges[len(r.ranges)-1]
	d.torn, d.interrupted = true, interrupted
	return nil
}
