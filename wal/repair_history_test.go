package wal_test

import (
	"bytes"
	"iter"
	"maps"
	"path"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// damageDone is which records of a journal were damaged.
type damageDone struct {
	records map[uint64]spot // by offset
	before  []segmentBytes  // of the files that are still there, as they were damaged
}

// damageForRepair flips bits, cuts a sealed segment or takes it away, and returns nil when there was nothing to damage.
// All of it is damage to a caller at the cursor, and none of it a torn tail.
func (h *chronicle) damageForRepair(cursor wal.Offset) *damageDone {
	w := &damageDone{records: map[uint64]spot{}}
	all := h.spots()
	var sealed []string // without the first one: to take that away is to trim
	for _, s := range all {
		if s.sealed && s.file != all[0].file && !slices.Contains(sealed, s.file) {
			sealed = append(sealed, s.file)
		}
	}
	if len(sealed) > 0 && h.rng.IntN(2) == 0 {
		file := pick(h.rng, sealed...)
		b, _ := h.disk.Read(file)
		cut := -1
		if h.rng.IntN(2) == 0 {
			h.disk.Lose(file)
		} else {
			cut = h.rng.IntN(len(b))
			h.disk.Damage(file, func(b []byte) []byte { return b[:cut] })
		}
		for _, s := range all {
			if s.file == file && s.at+headerSize+len(s.Payload) > cut {
				w.records[s.Offset] = s
			}
		}
		h.note("%s of %d bytes is cut to %d (-1: gone)", file, len(b), cut)
	}
	type flipped struct {
		spot
		at  int
		bit byte
	}
	var flips []flipped
	for range 1 + h.rng.IntN(3) {
		s := pick(h.rng, all...)
		if _, already := w.records[s.Offset]; already {
			continue
		}
		f := flipped{s, s.at + h.rng.IntN(headerSize+len(s.Payload)), 1 << h.rng.IntN(8)}
		h.disk.Damage(s.file, func(b []byte) []byte { b[f.at] ^= f.bit; return b })
		w.records[s.Offset] = s
		flips = append(flips, f)
	}
	for _, f := range flips {
		// One of the others may have damaged the mark that attested it.
		if !f.sealed && wal.Offset(f.Offset) >= cursor && !h.markAfter(f.spot) {
			h.disk.Damage(f.file, func(b []byte) []byte { b[f.at] ^= f.bit; return b })
			delete(w.records, f.Offset)
			continue
		}
		h.note("damage at %d in the record at %d of %s", f.at, f.Offset, f.file)
	}
	if len(w.records) == 0 {
		return nil
	}
	for _, s := range w.records {
		if b, there := h.disk.Read(s.file); there {
			w.before = append(w.before, segmentBytes{s.file, wal.Offset(hexPrefix(path.Base(s.file))), b})
		}
	}
	return w
}

// repair damages the journal and repairs it, and dies in between as the plan says. It tells the oracle which records
// are lost: those that the caller did not have.
func (h *chronicle) repair(plans ...func(crashfs.Call) crashfs.Verdict) {
	all := h.spots()
	if len(all) == 0 || !h.settled {
		return // a power cut could take the name of the segment that seals the damaged one
	}
	cursor := h.cursor()
	w := h.damageForRepair(cursor)
	if w == nil {
		return
	}
	o := wal.RepairOptions{
		FS:       h.other,
		Identity: h.opts.Identity,
		Cursor:   func() (wal.Offset, error) { return cursor, nil },
		Records: func(from, to wal.Offset) iter.Seq2[wal.Record, error] {
			return func(yield func(wal.Record, error) bool) {
				for _, s := range all {
					inside := from <= wal.Offset(s.Offset) && wal.Offset(s.Next()) <= min(to, cursor)
					if inside && s.Kind == walspec.Payload && !yield(wal.Record{Offset: wal.Offset(s.Offset), Payload: s.Payload}, nil) {
						return
					}
				}
			}
		},
	}
	before := h.files()
	dry, err := wal.Repair(h.dir, o)
	h.note("repair at %d would: %v, %d ranges, %d records back, %d bytes lost", cursor, err, len(dry.Damage), dry.Restored(), dry.Lost())
	h.check(err)
	if dry.Applied || len(dry.Damage) == 0 || !maps.EqualFunc(before, h.files(), bytes.Equal) {
		h.fatalf("a look at what there is to repair: %+v, or something was changed", dry)
	}
	o.Apply = true
	for try := 0; ; try++ {
		h.plan = nil
		if try < len(plans) {
			h.plan = plans[try]
		}
		h.arm(true)
		o.FS = h.writer
		rep, err := wal.Repair(h.dir, o)
		h.arm(false)
		h.note("repair: %v, %d ranges, %d records back, %d bytes lost", err, len(rep.Damage), rep.Restored(), rep.Lost())
		for h.writer.Dead() {
			h.crashed()
		}
		if err == nil {
			break
		}
		if !h.planned(err) || try > len(plans) {
			h.fatalf("repair: %v", err)
		}
	}
	h.plan = nil
	for _, file := range w.before {
		h.check(h.keptInQuarantine(file))
	}
	var lost []string
	for _, s := range w.records {
		if wal.Offset(s.Next()) > cursor {
			lost = append(lost, string(s.Payload))
		}
	}
	h.oracle.lose(lost)
	if h.rng.IntN(2) == 0 {
		h.note("then a power cut")
		h.disk.PowerCut()
		h.crashed()
	}
	o.Apply, o.FS = false, h.other
	if again, err := wal.Repair(h.dir, o); err != nil || len(again.Damage) > 0 {
		h.fatalf("after the repair there is more to repair: %+v, %v", again, err)
	}
	h.reads = nil
}

// TestRepairDyingAtTheKthCall repairs journals over and over, and each time another of the calls fails, or the
// process or the power goes in the middle of it; then they are repaired again.
func TestRepairDyingAtTheKthCall(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	seeds := 3
	if testing.Short() {
		seeds = 1
	}
	points := 0
	for seed := range uint64(seeds) {
		for k, calls := 1, repairDying(t, seed, 0, crashfs.Pass); k <= calls && !t.Failed(); k++ {
			for _, v := range []crashfs.Verdict{crashfs.IO, crashfs.KillIt, crashfs.CutPower} {
				repairDying(t, seed, k, v)
				points++
			}
		}
	}
	t.Logf("%d fault points", points)
	if points < 100*seeds {
		t.Errorf("%d fault points are too few", points)
	}
}

// repairDying damages a journal and repairs it, the k-th call meeting a verdict, and returns how many calls there were.
func repairDying(t *testing.T, seed uint64, k int, v crashfs.Verdict) (calls int) {
	synctest.Test(t, func(t *testing.T) {
		h := newChronicle(t, seed)
		defer h.end()
		h.opts.SegmentBytes, h.opts.Archive = 700, ""
		h.open(0)
		for range 8 {
			h.fatal(h.append(t.Context(), 0, h.payloads(3)))
		}
		h.close()
		h.repair(func(c crashfs.Call) crashfs.Verdict {
			if calls++; calls == k {
				return v
			}
			return crashfs.Pass
		})
		h.epilogue()
	})
	return calls
}
