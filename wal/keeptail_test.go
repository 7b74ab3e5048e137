package wal_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/wal"
)

// newTail makes a journal with marks in front of its groups, whose process was killed after its last group was synced, or that was closed.
func newTail(t *testing.T, seed uint64, closed bool) (disk *crashfs.Disk, o wal.Options, all []wal.Record) {
	t.Helper()
	disk = crashfs.New(seed)
	p := disk.Process()
	o = wal.Options{FS: p, MarkGroups: true, KeepTail: true, Identity: []byte("a journal"), Preallocate: 4096}
	j, _, err := wal.Open("/journal", o)
	if err != nil {
		t.Fatal(err)
	}
	for g := range 3 {
		var batch [][]byte
		for k := range 4 {
			batch = append(batch, fmt.Appendf(nil, `{"group":%d,"record":%d,"text":"%0*d"}`, g, k, 150*(1+k), k))
		}
		offs, err := j.AppendBatch(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		for k, off := range offs {
			all = append(all, wal.Record{Offset: off, Next: off + 40 + wal.Offset(len(batch[k])), Payload: batch[k]})
		}
	}
	if closed {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	p.Kill()
	if !closed {
		j.Close()
	}
	o.FS = disk.Process()
	return disk, o, all
}

// recordsOf returns the records of a journal.
func recordsOf(t *testing.T, o wal.Options) (all []wal.Record) {
	t.Helper()
	if _, err := wal.VerifyContext(context.Background(), "/journal", o, func(rec wal.Record) error {
		rec.Payload = slices.Clone(rec.Payload)
		all = append(all, rec)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// One bit of a synced journal changes. In all but the newest group a mark attests what was there, and Open refuses. In the newest one of a
// journal that was not closed, Open keeps what is intact, keeps a copy of the rest, and does not say that a write was interrupted.
func TestABitOfASyncedTailIsFlipped(t *testing.T) {
	t.Parallel()
	const name = "/journal/0000000000000000.wal"
	for _, closed := range []bool{false, true} {
		_, _, all := newTail(t, 1, closed)
		end := int(all[len(all)-1].Next)
		const groupRecords = 4
		attested := int(all[len(all)-groupRecords].Offset) - 49 // where the mark of the newest group begins
		if closed {
			attested = end
			end += 49
		}
		step := 1
		if testing.Short() {
			step = 7
		}
		for at := 0; at < end; at += step {
			disk, o, all := newTail(t, 1, closed)
			if !disk.Damage(name, func(b []byte) []byte { b[at] ^= 1 << (at % 8); return b }) {
				t.Fatal("there is no such file")
			}
			j, rep, err := wal.Open("/journal", o)
			if at < attested {
				if !errors.As(err, new(*wal.CorruptError)) {
					t.Fatalf("closed %v, byte %d: %v, %+v", closed, at, err, rep)
				}
				continue
			}
			if err != nil {
				t.Fatalf("closed %v, byte %d: %v", closed, at, err)
			}
			aside := rep.Filled
			if rep.Torn != nil {
				aside = append(aside, *rep.Torn)
			}
			if len(aside) != 1 || aside[0].Interrupted || aside[0].Quarantine == "" {
				t.Fatalf("closed %v, byte %d: %+v", closed, at, aside)
			}
			t0 := aside[0]
			if kept, _ := disk.Read(t0.Quarantine); int64(len(kept)) != t0.Bytes || at < int(t0.Offset) || at >= int(t0.Offset)+int(t0.Bytes) {
				t.Fatalf("closed %v, byte %d: %d bytes were kept: %+v", closed, at, len(kept), t0)
			}
			if _, err := j.Append(t.Context(), []byte("{}")); err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, rec := range all {
				if at < int(rec.Offset) || at >= int(rec.Next) {
					want = append(want, fmt.Sprint(rec.Offset, string(rec.Payload)))
				}
			}
			var got []string
			for _, rec := range recordsOf(t, o) {
				got = append(got, fmt.Sprint(rec.Offset, string(rec.Payload)))
			}
			if len(got) == 0 || !slices.Equal(got[:len(got)-1], want) {
				t.Fatalf("closed %v, byte %d: got %q, want %q", closed, at, got, want)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The power goes while a group is written. What was acknowledged is there. The rest is what a write leaves that did not end, except where
// too little of it is missing, or where the disk has old bytes in its place.
func TestATailThatThePowerCutIsInterrupted(t *testing.T) {
	t.Parallel()
	interrupted, doubtful, kept := 0, 0, 0
	seeds := uint64(400)
	if testing.Short() {
		seeds = 100
	}
	for seed := range seeds {
		disk := crashfs.New(seed)
		p := disk.Process()
		o := wal.Options{FS: p, MarkGroups: true, KeepTail: true, Preallocate: 4096}
		j, _, err := wal.Open("/journal", o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.Append(t.Context(), []byte(`{"first":true}`)); err != nil {
			t.Fatal(err)
		}
		disk.Hook(func(c crashfs.Call) crashfs.Verdict {
			if c.Op == crashfs.OpSync {
				return crashfs.CutPower
			}
			return crashfs.Pass
		})
		var batch [][]byte
		for k := range 8 {
			batch = append(batch, fmt.Appendf(nil, `{"record":%d,"text":"%0*d"}`, k, 100+int(seed)%1900, k))
		}
		if _, err := j.AppendBatch(t.Context(), batch); err == nil {
			t.Fatal("the power went, and the append was acknowledged")
		}
		disk.Hook(nil)
		j.Close()
		o.FS = disk.Process()
		j, rep, err := wal.Open("/journal", o)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, filled := range rep.Filled {
			kept++
			if filled.Interrupted {
				interrupted++
			} else {
				doubtful++
			}
		}
		if rep.Torn != nil {
			if rep.Torn.Interrupted {
				interrupted++
			} else {
				doubtful++
			}
		}
		if all := recordsOf(t, o); len(all) == 0 || string(all[0].Payload) != `{"first":true}` {
			t.Fatalf("seed %d: %d records", seed, len(all))
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d ranges are what an interrupted write leaves, %d are in doubt; intact records follow %d", interrupted, doubtful, kept)
	if interrupted < 2*doubtful || kept == 0 {
		t.Errorf("%d ranges are what an interrupted write leaves, %d are in doubt; intact records follow %d", interrupted, doubtful, kept)
	}
}
