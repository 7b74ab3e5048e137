package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The variants of replay: what happened to the store after it was last open.
const (
	afterClose  = "clean"
	afterKill   = "killed"
	afterDelete = "database deleted"
)

// runReplay measures one opening, up to the first answer.
func runReplay(ctx context.Context, j job) ([]row, error) {
	if j.Variant == afterDelete {
		files, err := filepath.Glob(filepath.Join(j.Dir, "audit.db*"))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("no database to delete in %s: %w", j.Dir, err)
		}
		for _, f := range files {
			if err := os.Remove(f); err != nil {
				return nil, err
			}
		}
	}
	r := row{Store: j.Store, Workload: "replay", Variant: j.Variant, Records: j.N}
	p := begin(j.Dir, nil)
	s, err := j.open()
	if err != nil {
		return nil, err
	}
	p.of(s)
	in, ok := s.(reader)
	if !ok {
		return []row{}, s.close()
	}
	if _, err := in.get(ctx, j.world().id(0)); err != nil {
		return nil, err
	}
	took := time.Since(p.began)
	n := 1
	if a, ok := s.(*auditsql); ok {
		rec := a.db.Recovery()
		n = max(1, rec.Replayed)
		r.Note = fmt.Sprintf("%d records replayed", rec.Replayed)
	}
	p.end(&r, n, 0)
	r.P50, r.P95, r.P99, r.P999, r.Max = ms(took), ms(took), ms(took), ms(took), ms(took)
	return closed(&r, j, s, p)
}
