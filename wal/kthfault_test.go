package wal_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/wal"
)

// TestTheKthFault plays one history over and over. Each time something happens to another of the journal's calls: it
// fails, fails because the disk is full, writes only a part, or the process or the power ends in the middle of it. The
// oracle judges what follows, which ends with two power cuts.
func TestTheKthFault(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]wal.Options{
		"group, archive":       {SegmentBytes: 400, Preallocate: 600, Archive: "/mnt/archive"},
		"interval, no archive": {SegmentBytes: 400, Preallocate: -1, Durability: wal.SyncInterval(time.Hour)},
		"group, identity":      {SegmentBytes: 400, Preallocate: 600, Identity: []byte("mine")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := playScript(t, o, 0, crashfs.Pass)
			step, points := 1, 0
			if testing.Short() {
				step = 7
			}
			for k := 1; k <= len(calls) && !t.Failed(); k += step {
				for v := crashfs.IO; v <= crashfs.CutPower; v++ {
					if fits(v, calls[k-1].Op) {
						playScript(t, o, k, v)
						points++
					}
				}
			}
			t.Logf("%d calls, %d fault points", len(calls), points)
		})
	}
}

// fits reports whether a call of this kind can meet this end.
func fits(v crashfs.Verdict, op crashfs.Op) bool {
	switch v {
	case crashfs.NoSpace:
		return op.Changes() || op == crashfs.OpSync || op == crashfs.OpSyncDir
	case crashfs.Short:
		return op == crashfs.OpWrite
	}
	return true
}

// playScript plays the script with the k-th call's verdict, and returns the calls that the journal made.
func playScript(t *testing.T, o wal.Options, k int, v crashfs.Verdict) (calls []crashfs.Call) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, uint64(k), "/var/audit/journal", o, o.Durability != wal.SyncGroup)
		r.strict, r.identified = true, len(o.Identity) > 0
		r.note("call %d meets verdict %d", k, v)
		defer r.end()
		r.plan = func(c crashfs.Call) crashfs.Verdict {
			if calls = append(calls, c); len(calls) == k {
				return v
			}
			return crashfs.Pass
		}
		s := script{rig: r}
		s.play()
	})
	return calls
}

// script is a history without random choices. When something fails, it goes on as a caller would.
type script struct {
	*rig
	n int
}

func (s *script) play() {
	s.life(func() { // segments fill, the oldest go
		s.give(1, 20)
		s.give(3, 200)
		s.look()
		s.give(6, 90)
		s.remove()
		s.give(1, 1000)
		s.remove()
	})
	s.tear()
	s.life(func() { // short of where the torn tail has ended
		s.give(2, 300)
		s.give(1, 10)
	})
	s.cut()
	s.life(func() { // a mark is due, and time passes
		s.give(2, 33000)
		s.give(1, 30)
		time.Sleep(time.Second)
		s.give(2, 30)
		s.remove()
		s.look()
	})
	s.life(func() {})
	for range 2 {
		s.cut()
		s.open(s.last())
	}
}

// last is the highest cursor that is legal.
func (s *script) last() wal.Offset {
	legal := s.oracle.cursors()
	return legal[len(legal)-1]
}

// life opens the journal, at the second try when the first one fails, and closes it, unless it dies.
func (s *script) life(steps func()) {
	for try := 0; !s.open(s.oracle.cursors()[0]); try++ {
		if s.writer.Dead() {
			s.crashed()
		}
		if try == 1 {
			s.fatalf("the journal does not open again")
		}
	}
	if !s.writer.Dead() {
		steps()
	}
	if !s.writer.Dead() {
		s.close()
	}
	if s.writer.Dead() {
		s.crashed()
	}
}

// give appends n records. If that fails, it opens the journal again and appends once more.
func (s *script) give(n, size int) {
	if s.j == nil || s.writer.Dead() {
		return
	}
	var all []string
	for range n {
		s.n++
		p := fmt.Sprintf(`{"n":%d}`, s.n)
		all = append(all, p+strings.Repeat("x", max(0, size-len(p))))
	}
	err := s.append(context.Background(), 0, all)
	synctest.Wait()
	s.note("append %d of %d bytes: %v", n, size, err)
	s.fatal(err)
	if err == nil || s.writer.Dead() {
		return
	}
	if err := s.append(context.Background(), 0, []string{all[0] + "again"}); err == nil {
		s.fatalf("an append succeeds after one that has failed")
	}
	s.close()
	if s.writer.Dead() || !s.open(s.last()) {
		s.fatalf("the journal does not open again")
	}
	s.fatal(s.append(context.Background(), 0, []string{all[0] + "!"}))
}

func (s *script) remove() {
	if s.j == nil || s.writer.Dead() {
		return
	}
	off := s.last()
	s.oracle.trimming(off)
	err := s.j.RemoveBefore(off)
	s.note("remove before %d: %v", off, err)
	if err != nil && !s.planned(err) {
		s.fatalf("remove before %d: %v", off, err)
	}
}

// look reads all there is, in both processes.
func (s *script) look() {
	if s.j == nil || s.writer.Dead() {
		return
	}
	for _, same := range []bool{true, false} {
		read, err := s.reader(same, false, s.oracle.cursors()[0])
		s.fatal(err)
		for err == nil {
			err = s.next(context.Background(), read)
			s.fatal(err)
		}
		if read != nil {
			read.Close()
		}
	}
}

// tear writes half a record after the last one, on the platter.
func (s *script) tear() {
	s.disk.Damage(s.lastSegment().name, func(b []byte) []byte {
		return append(append(b, 0, 8, 0, 0), strings.Repeat("torn", 400)...)
	})
	s.cut()
}

func (s *script) cut() {
	s.disk.PowerCut()
	s.crashed()
}
