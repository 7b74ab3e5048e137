package wal_test

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// Whatever happens to a repair's calls, on a disk that forgets what was not synced: each segment is as it was
// or whole, the repair can be run again until it is done, and then a power cut changes nothing. In the first runs it is
// killed in one of its calls and run again; in the others up to four calls fail or die.
func TestARepairOnADiskThatForgets(t *testing.T) {
	const dir, cursor = "/journal", wal.Offset(2600)
	calls, more, step := 0, 400, 1
	if testing.Short() {
		more, step = 40, 7
	}
	var want map[string]string // what a repair that nothing befalls makes of it
	for seed := 0; seed <= calls+more; seed += step {
		killed := seed <= calls
		random := rand.New(rand.NewPCG(uint64(seed), 1))
		disk, held := damagedOnDisk(t, uint64(seed), dir)
		damaged := segmentsOnDisk(disk, dir)
		o := wal.RepairOptions{
			Apply:   true,
			Cursor:  func() (wal.Offset, error) { return cursor, nil },
			Records: held,
		}
		if seed == 0 {
			o.FS = disk.Process()
			before := disk.Calls()
			if _, err := wal.Repair(dir, o); err != nil {
				t.Fatal(err)
			}
			calls = disk.Calls() - before
			want = segmentsOnDisk(disk, dir)
			continue
		}
		check := func(when string) {
			t.Helper()
			for name, content := range segmentsOnDisk(disk, dir) {
				if before, was := damaged[name]; content != want[name] && (!was || content != before) {
					t.Fatalf("seed %d, %s: %s is neither as it was nor as it will be", seed, when, name)
				}
			}
		}
		trail, lied := []string{}, false
		for try := 0; ; try++ {
			at := disk.Calls() + 1 + random.IntN(calls)
			verdict := []crashfs.Verdict{crashfs.IO, crashfs.NoSpace, crashfs.Short, crashfs.KillIt, crashfs.CutPower}[random.IntN(5)]
			if killed {
				at, verdict = disk.Calls()+seed, crashfs.KillIt
			}
			disk.Hook(func(c crashfs.Call) crashfs.Verdict {
				if c.N != at || try >= 4 || killed && try > 0 {
					return crashfs.Pass
				}
				trail = append(trail, fmt.Sprintf("%v: %d", c, verdict))
				// A folder whose sync has failed may not have its names on disk, and a later sync says nothing.
				lied = lied || c.Op == crashfs.OpSyncDir && verdict < crashfs.KillIt
				return verdict
			})
			p := disk.Process()
			o.FS = p
			rep, err := wal.Repair(dir, o)
			disk.Hook(nil)
			check(fmt.Sprintf("%q, then %v", trail, err))
			if err == nil && rep.Applied {
				break
			}
			if try >= 4 {
				t.Fatalf("seed %d, %q: %v", seed, trail, err)
			}
			p.Kill()
			if !killed && random.IntN(2) == 0 {
				disk.PowerCut()
				check(fmt.Sprintf("%q, then a power cut", trail))
			}
		}
		if got := segmentsOnDisk(disk, dir); !maps.Equal(got, want) {
			t.Fatalf("seed %d, %q: it has ended otherwise", seed, trail)
		}
		disk.PowerCut()
		check("and a power cut")
		if got := segmentsOnDisk(disk, dir); !maps.Equal(got, want) && !lied {
			t.Fatalf("seed %d, %q: it was done, and a power cut has undone it", seed, trail)
		}
		o.FS = disk.Process()
		if _, err := wal.Repair(dir, o); err != nil || !maps.Equal(segmentsOnDisk(disk, dir), want) {
			t.Fatalf("seed %d, %q: once more: %v", seed, trail, err)
		}
	}
}

// damagedOnDisk writes a journal like makeJournal's, and damages it like damageAll does.
func damagedOnDisk(t *testing.T, seed uint64, dir string) (*crashfs.Disk, func(from, to wal.Offset) iter.Seq2[wal.Record, error]) {
	t.Helper()
	disk := crashfs.New(seed)
	m := madeJournal{payloads: payloads(30, 60)}
	j, _, err := wal.Open(dir, wal.Options{FS: disk.Process(), SegmentBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var batch [][]byte
	for _, p := range m.payloads {
		batch = append(batch, []byte(p))
	}
	if m.offs, err = j.AppendBatch(context.Background(), batch); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	disk.PowerCut()
	name := func(base uint64) string { return path.Join(dir, walspec.Name(base)) }
	if !disk.Damage(name(0), func(b []byte) []byte { b[150] ^= 1; b[750] ^= 1; return append(b, "more"...) }) ||
		!disk.Lose(name(1000)) || !disk.Damage(name(2000), func(b []byte) []byte { b[250] ^= 1; return b[:450] }) {
		t.Fatal("a segment is missing")
	}
	return disk, m.has(2600)
}

func segmentsOnDisk(disk *crashfs.Disk, dir string) map[string]string {
	files := map[string]string{}
	for _, name := range disk.List(dir) {
		if b, ok := disk.Read(path.Join(dir, name)); ok && strings.HasSuffix(name, ".wal") {
			files[name] = string(b)
		}
	}
	return files
}

// A repair dies after the rename of the last segment, and the next opening cannot sync the folder. The opening after that
// may succeed: then a power cut must not bring the old segment back, without what was acknowledged in the new one.
func TestTheFolderOfARepairedSegmentIsSyncedBeforeAnythingIsAcknowledged(t *testing.T) {
	t.Parallel()
	const dir = "/journal"
	name := path.Join(dir, walspec.Name(0))
	seeds := 20
	if testing.Short() {
		seeds = 4
	}
	reached := 0
	for seed := range uint64(seeds) {
		for k, dead := 1, true; dead; k++ {
			disk := crashfs.New(seed)
			m := madeJournal{payloads: payloads(12, 60)}
			j, _ := open(t, dir, wal.Options{FS: disk.Process()})
			m.offs = appendBatch(t, j, m.payloads)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			disk.PowerCut()
			cursor := m.offs[len(m.offs)-1]
			if !disk.Damage(name, func(b []byte) []byte { b[m.offs[3]+50] ^= 1; return b }) {
				t.Fatal("the segment is missing")
			}
			damaged, _ := disk.Read(name)

			repairing, calls := disk.Process(), 0
			disk.Hook(func(crashfs.Call) crashfs.Verdict {
				if calls++; calls == k {
					return crashfs.KillIt
				}
				return crashfs.Pass
			})
			_, err := wal.Repair(dir, wal.RepairOptions{
				FS: repairing, Apply: true, Records: m.has(cursor),
				Cursor: func() (wal.Offset, error) { return cursor, nil },
			})
			dead = err != nil
			repairing.Kill()
			if now, _ := disk.Read(name); string(now) != string(damaged) {
				reached++
			}

			o := wal.Options{Cursor: func() (wal.Offset, error) { return cursor, nil }}
			failing := disk.Process()
			disk.Hook(func(c crashfs.Call) crashfs.Verdict {
				if c.Op == crashfs.OpSyncDir && c.Name == dir {
					return crashfs.IO
				}
				return crashfs.Pass
			})
			o.FS = failing
			if _, _, err := wal.Open(dir, o); err == nil {
				t.Fatalf("seed %d, call %d: opened without a sync of the folder", seed, k)
			}
			disk.Hook(nil)
			failing.Kill()

			o.FS = disk.Process()
			j, _, err = wal.Open(dir, o)
			if err != nil {
				t.Fatalf("seed %d, call %d: %v", seed, k, err)
			}
			off := appendOne(t, j, `{"after":1}`)
			disk.PowerCut()

			o.FS = disk.Process()
			j, _, err = wal.Open(dir, o)
			if err != nil {
				t.Fatalf("seed %d, call %d, after a power cut: %v", seed, k, err)
			}
			if j.End() <= off {
				t.Fatalf("seed %d, call %d: what was acknowledged at %d is gone, the log ends at %d", seed, k, off, j.End())
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if reached == 0 {
		t.Error("no repair has died after its rename")
	}
}
