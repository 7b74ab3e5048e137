package crashfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/wal"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// write leaves a file with these bytes, neither it nor its name synced.
func write(p *crashfs.Process, name, bytes string) wal.File {
	f, err := p.Create(name)
	must(err)
	_, err = f.WriteAt([]byte(bytes), 0)
	must(err)
	return f
}

func rewrite(f wal.File, bytes string, pos int64) {
	_, err := f.WriteAt([]byte(bytes), pos)
	must(err)
}

// durable leaves a file with these bytes that no power cut takes.
func durable(p *crashfs.Process, name, bytes string) wal.File {
	f := write(p, name, bytes)
	must(f.Sync())
	must(p.SyncDir("/"))
	return f
}

var (
	sectors = strings.Repeat("A", 512) + strings.Repeat("B", 512)
	pages   = strings.Repeat("A", 4096) + strings.Repeat("B", 4096)
)

// short tells a file's content in a few letters, runs of one byte as one.
func short(b []byte) string {
	var s strings.Builder
	for i, c := range b {
		if i == 0 || b[i-1] != c {
			s.WriteByte(max(c, '0'))
		}
	}
	return s.String()
}

// TestFates holds what a power cut may leave to a list: nothing else ever, and each of them for some seed.
// Those that depend on a position are told by a word.
func TestFates(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*crashfs.Disk, *crashfs.Process)
		left []string
	}{
		{"a synced file", func(_ *crashfs.Disk, p *crashfs.Process) { durable(p, "/a", "xy") },
			[]string{"a:xy"}},
		{"a name that was not synced", func(_ *crashfs.Disk, p *crashfs.Process) { must(write(p, "/a", "xy").Sync()) },
			[]string{"", "a:xy"}},
		{"bytes that were not synced", func(_ *crashfs.Disk, p *crashfs.Process) { write(p, "/a", "x"); must(p.SyncDir("/")) },
			[]string{"a:", "a:0", "a:x"}},
		{"two sectors", func(_ *crashfs.Disk, p *crashfs.Process) { write(p, "/a", sectors); must(p.SyncDir("/")) },
			[]string{"a:", "a:A", "a:0", "a:A0", "a:0B", "a:AB", "a:0B0", "a:A0B", "a:AB0", "a:A0B0"}},
		{"a file written over", func(_ *crashfs.Disk, p *crashfs.Process) { rewrite(durable(p, "/a", "xyz"), "uvw", 0) },
			[]string{"a:xyz", "a:uyz", "a:uvz", "a:uvw"}},
		{"a truncation", func(_ *crashfs.Disk, p *crashfs.Process) { must(durable(p, "/a", "xyz").Truncate(1)) },
			[]string{"a:xyz", "a:x", "a:x0"}},
		{"a truncation in one step", func(d *crashfs.Disk, p *crashfs.Process) {
			d.TruncateInOneStep()
			f := durable(p, "/a", sectors)
			must(f.Truncate(0))
			rewrite(f, "C", 0)
		}, []string{"a:AB", "a:", "a:0", "a:C"}},
		{"a rename into another folder", func(_ *crashfs.Disk, p *crashfs.Process) {
			must(p.Mkdir("/d"))
			durable(p, "/a", "x")
			must(p.Rename("/a", "/d/a"))
		}, []string{"a:x d", "d"}},
		{"a rename over another", func(_ *crashfs.Disk, p *crashfs.Process) {
			durable(p, "/a", "old")
			durable(p, "/b", "new")
			must(p.Rename("/b", "/a"))
		}, []string{"a:old b:new", "a:new"}},
		{"a removal", func(_ *crashfs.Disk, p *crashfs.Process) { durable(p, "/a", "x"); must(p.Remove("/a")) },
			[]string{"", "a:x"}},
		{"two removals", func(_ *crashfs.Disk, p *crashfs.Process) {
			durable(p, "/a", "x")
			durable(p, "/b", "y")
			must(p.Remove("/a"))
			must(p.Remove("/b"))
		}, []string{"", "a:x", "b:y", "a:x b:y"}},
		{"a synced removal", func(_ *crashfs.Disk, p *crashfs.Process) {
			durable(p, "/a", "x")
			must(p.Remove("/a"))
			must(p.SyncDir("/"))
		}, []string{""}},
		{"a folder that its parent does not know", func(_ *crashfs.Disk, p *crashfs.Process) {
			must(p.Mkdir("/d"))
			must(write(p, "/d/a", "x").Sync())
			must(p.SyncDir("/d"))
		}, []string{"", "d"}},
		{"a sync that failed, and one that did not", func(d *crashfs.Disk, p *crashfs.Process) {
			f := durable(p, "/a", "x")
			rewrite(f, "y", 0)
			failOnce(d, crashfs.OpSync)
			if f.Sync() == nil {
				panic("the sync did not fail")
			}
			if b, _ := d.Read("/a"); string(b) != "y" {
				panic("what was written does not read back")
			}
			must(f.Sync())
		}, []string{"a:x", "a:y"}},
		{"written once more after a sync that failed", func(d *crashfs.Disk, p *crashfs.Process) {
			f := durable(p, "/a", "x")
			rewrite(f, "y", 0)
			failOnce(d, crashfs.OpSync)
			f.Sync()
			rewrite(f, "y", 0)
			must(f.Sync())
		}, []string{"a:y"}},
		{"a folder sync that failed, and one that did not", func(d *crashfs.Disk, p *crashfs.Process) {
			must(write(p, "/a", "x").Sync())
			failOnce(d, crashfs.OpSyncDir)
			p.SyncDir("/")
			must(p.SyncDir("/"))
		}, []string{"", "a:x"}},
		{"a folder that changed after a sync that failed", func(d *crashfs.Disk, p *crashfs.Process) {
			must(write(p, "/a", "x").Sync())
			failOnce(d, crashfs.OpSyncDir)
			p.SyncDir("/")
			write(p, "/b", "y")
			must(p.Remove("/b"))
			must(p.SyncDir("/"))
		}, []string{"a:x"}},
		{"a killed process, and a sync by the next", func(d *crashfs.Disk, p *crashfs.Process) {
			f := durable(p, "/a", "x")
			rewrite(f, "y", 0)
			p.Kill()
			f, err := d.Process().OpenWrite("/a")
			must(err)
			must(f.Sync())
		}, []string{"a:x", "a:y"}},
		{"a block of a removed file", func(_ *crashfs.Disk, p *crashfs.Process) {
			durable(p, "/b", strings.Repeat("S", 512))
			must(p.Remove("/b"))
			durable(p, "/a", "")
			f, err := p.OpenWrite("/a")
			must(err)
			rewrite(f, strings.Repeat("N", 512), 0)
		}, []string{"a:", "a:0", "a:N", "a:N0", "a:S"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen := map[string]uint64{}
			for seed := range uint64(3000) {
				d := crashfs.New(seed)
				c.do(d, d.Process())
				d.PowerCut()
				var left []string
				for _, name := range d.List("/") {
					if b, isFile := d.Read("/" + name); isFile {
						name += ":" + short(b)
					}
					left = append(left, name)
				}
				seen[strings.Join(left, " ")] = seed
			}
			for left, seed := range seen {
				if !slices.Contains(c.left, left) {
					t.Errorf("seed %d leaves %q", seed, left)
				}
			}
			for _, left := range c.left {
				if _, ok := seen[left]; !ok {
					t.Errorf("no seed leaves %q", left)
				}
			}
		})
	}
}

func failOnce(d *crashfs.Disk, op crashfs.Op) {
	done := false
	d.Hook(func(c crashfs.Call) crashfs.Verdict {
		if done || c.Op != op {
			return crashfs.Pass
		}
		done = true
		return crashfs.IO
	})
}

// TestAnyCut looks for the places at which a write is cut: any byte, and any sector.
func TestAnyCut(t *testing.T) {
	cuts := map[int]bool{}
	second := false
	units := map[string]bool{}
	for seed := range uint64(4000) {
		d := crashfs.New(seed)
		p := d.Process()
		write(p, "/a", "abcdefgh")
		write(p, "/b", strings.Repeat("x", 3*512))
		write(p, "/c", pages)
		must(p.SyncDir("/"))
		d.PowerCut()
		b, _ := d.Read("/c")
		second = second || short(b) == "0B"
		b, _ = d.Read("/a")
		cuts[len(bytes.TrimRight(b, "\x00"))] = true
		b, _ = d.Read("/b")
		s := ""
		for at := 0; at+512 <= len(b); at += 512 {
			s += string(max(b[at], '0'))
		}
		units[s] = true
	}
	if len(cuts) != 9 {
		t.Errorf("a write of 8 bytes was cut at %v", slices.Sorted(maps.Keys(cuts)))
	}
	for _, s := range []string{"xxx", "x00", "0x0", "00x", "xx0", "x0x", "0xx"} {
		if !units[s] {
			t.Errorf("no seed leaves sectors %s", s)
		}
	}
	if !second {
		t.Error("no seed leaves the second page alone")
	}
}

// version is what a file may hold after a power cut, as far as a plain look at its history tells.
type version struct {
	now  []byte
	past [][]byte // since what was last synced, that included
}

func (v *version) allows(b []byte, blocks bool) error {
	least, most := len(v.past[0]), 0
	for _, p := range v.past {
		least, most = min(least, len(p)), max(most, len(p))
	}
	if len(b) < least || len(b) > most { // a write may be cut at any byte
		return fmt.Errorf("a length of %d", len(b))
	}
	for i, c := range b {
		ok := blocks && i >= len(v.past[0])
		for _, p := range v.past {
			if i < len(p) {
				ok = ok || p[i] == c
			} else {
				ok = ok || c == 0
			}
		}
		if !ok {
			return fmt.Errorf("0x%02x at %d", c, i)
		}
	}
	return nil
}

// TestWhatWasSyncedSurvives holds the disk against a plain model: each byte of a file is one that it had since its
// last good sync, each name leads to what it led to since its folder's.
func TestWhatWasSyncedSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := crashfs.New(rapid.Uint64().Draw(t, "seed"))
		p := d.Process()
		names := []string{"/a", "/b", "/c"}
		now := map[string]*version{}           // by name
		past := map[string]map[*version]bool{} // since the last folder sync; nil in it: no file
		for _, n := range names {
			past[n] = map[*version]bool{nil: true}
		}
		freed := false
		steps := rapid.IntRange(1, 40).Draw(t, "steps")
		for range steps {
			name := rapid.SampledFrom(names).Draw(t, "name")
			v := now[name]
			f, err := p.OpenWrite(name)
			if (err == nil) != (v != nil) {
				t.Fatalf("open %s: %v", name, err)
			}
			op := rapid.SampledFrom([]string{"create", "write", "write", "truncate", "sync", "sync", "failed sync", "rename", "remove", "syncdir", "cut", "kill"}).Draw(t, "op")
			if v == nil && slices.Contains([]string{"write", "truncate", "sync", "failed sync", "rename", "remove"}, op) {
				continue
			}
			switch op {
			case "create":
				if _, err := p.Create(name); (err == nil) != (v == nil) || v != nil && !errors.Is(err, fs.ErrExist) {
					t.Fatalf("create %s: %v", name, err)
				} else if v == nil {
					now[name] = &version{past: [][]byte{nil}}
					past[name][now[name]] = true
				}
			case "write":
				b := bytes.Repeat([]byte{byte(rapid.IntRange(1, 255).Draw(t, "byte"))}, rapid.IntRange(1, 2000).Draw(t, "length"))
				pos := rapid.IntRange(0, 3000).Draw(t, "pos")
				rewrite(f, string(b), int64(pos))
				v.now = append(slices.Clone(v.now), make([]byte, max(0, pos+len(b)-len(v.now)))...)
				copy(v.now[pos:], b)
				v.past = append(v.past, v.now)
			case "truncate":
				size := rapid.IntRange(0, 3000).Draw(t, "size")
				must(f.Truncate(int64(size)))
				v.now = append(slices.Clone(v.now), make([]byte, max(0, size-len(v.now)))...)[:size]
				v.past = append(v.past, v.now)
			case "sync":
				must(f.Sync())
				v.past = [][]byte{v.now}
			case "failed sync":
				failOnce(d, crashfs.OpSync)
				if err := f.Sync(); !errors.Is(err, syscall.EIO) {
					t.Fatal(err)
				}
				// Only what is written whole once more, and cut once more, is sure to be there.
				v.rewrite(f)
			case "rename":
				to := rapid.SampledFrom(names).Draw(t, "to")
				if to == name {
					continue
				}
				must(p.Rename(name, to))
				delete(now, name)
				now[to] = v
				past[name][nil], past[to][v] = true, true
			case "remove":
				must(p.Remove(name))
				delete(now, name)
				past[name][nil] = true
				freed = true
			case "syncdir":
				must(p.SyncDir("/"))
				for _, n := range names {
					past[n] = map[*version]bool{now[n]: true}
				}
			case "kill":
				p.Kill()
				if _, err := p.List("/"); !errors.Is(err, crashfs.ErrDead) {
					t.Fatalf("a dead process lists: %v", err)
				}
				p = d.Process()
				for _, v := range now { // what is lost in silence can be written again
					if f, err := p.OpenWrite(nameOf(now, v)); err == nil {
						v.rewrite(f)
					}
				}
			case "cut":
				d.PowerCut()
				p = d.Process()
				for _, n := range names {
					b, there := d.Read(n)
					was := past[n]
					if !there && !was[nil] {
						t.Fatalf("%s is gone", n)
					}
					var which *version
					err := fmt.Errorf("nobody made it")
					for v := range was {
						if v != nil && there {
							if e := v.allows(b, freed); e == nil {
								which, err = v, nil
							} else if which == nil {
								err = e
							}
						}
					}
					if there && which == nil {
						t.Fatalf("%s: %v", n, err)
					}
					delete(now, n)
					past[n] = map[*version]bool{nil: true}
					if there {
						v := &version{now: b, past: [][]byte{b}}
						now[n] = v
						past[n] = map[*version]bool{v: true}
					}
				}
			}
			for _, n := range names {
				b, there := d.Read(n)
				if there != (now[n] != nil) || there && !bytes.Equal(b, now[n].now) {
					t.Fatalf("%s reads otherwise than it was written", n)
				}
			}
		}
	})
}

func nameOf(now map[string]*version, v *version) string {
	for name, w := range now {
		if w == v {
			return name
		}
	}
	return ""
}

// rewrite makes all of a file dirty, its length included.
func (v *version) rewrite(f wal.File) {
	size := int64(len(v.now))
	must(f.Truncate(size + 1))
	must(f.Truncate(size))
	if size > 0 {
		rewrite(f, string(v.now), 0)
	}
	v.past = append(v.past, append(slices.Clone(v.now), 0), v.now)
}

// TestProcesses holds locks and handles to the life of who took them.
func TestProcesses(t *testing.T) {
	d := crashfs.New(1)
	p, q := d.Process(), d.Process()
	l, err := p.Lock("/LOCK", "7\n")
	must(err)
	for _, other := range []*crashfs.Process{p, q} {
		if _, err := other.Lock("/LOCK", "8\n"); !errors.Is(err, wal.ErrLocked) {
			t.Fatalf("a second lock: %v", err)
		}
	}
	if held, err := q.Locked("/LOCK"); !held || err != nil {
		t.Fatalf("locked: %v, %v", held, err)
	}
	if b, _ := d.Read("/LOCK"); string(b) != "7\n" {
		t.Fatalf("the lock holds %q", b)
	}
	f := write(p, "/a", "x")
	p.Kill()
	if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, crashfs.ErrDead) {
		t.Fatalf("a dead process reads: %v", err)
	}
	if err := l.Unlock(); !errors.Is(err, crashfs.ErrDead) {
		t.Fatalf("a dead process unlocks: %v", err)
	}
	if b, _ := d.Read("/a"); string(b) != "x" {
		t.Fatalf("what a dead process wrote reads %q", b)
	}
	if l, err = q.Lock("/LOCK", "8\n"); err != nil {
		t.Fatal(err)
	}
	must(q.Remove("/LOCK"))
	if ok, err := l.Current(); ok || err != nil {
		t.Fatalf("a lock without a name is current: %v, %v", ok, err)
	}
	d.PowerCut()
	if !q.Dead() {
		t.Fatal("a process has outlived the power")
	}
}

// TestSameSeed repeats a disk's life.
func TestSameSeed(t *testing.T) {
	life := func(seed uint64) string {
		d := crashfs.New(seed)
		s := ""
		for i := range 50 {
			p := d.Process()
			write(p, fmt.Sprintf("/%d", i), pages)
			list, err := p.List("/")
			must(err)
			d.PowerCut()
			s += fmt.Sprint(list)
			for _, name := range list {
				b, _ := d.Read("/" + name)
				s += short(b)
			}
		}
		return s
	}
	first, again, other := life(5), life(5), life(6)
	if first != again {
		t.Fatal("the same seed, and another fate")
	}
	if first == other {
		t.Fatal("another seed, and the same fate")
	}
}

// TestFaults holds what a call that was made to fail leaves to what the real ones do.
func TestFaults(t *testing.T) {
	short := map[int]bool{}
	for seed := range uint64(200) {
		d := crashfs.New(seed)
		p := d.Process()
		f, err := p.Create("/a")
		must(err)
		d.Hook(func(c crashfs.Call) crashfs.Verdict {
			return map[crashfs.Op]crashfs.Verdict{crashfs.OpWrite: crashfs.Short, crashfs.OpRemove: crashfs.IO, crashfs.OpCreate: crashfs.NoSpace}[c.Op]
		})
		n, err := f.WriteAt([]byte("abcd"), 0)
		if b, _ := d.Read("/a"); !errors.Is(err, syscall.ENOSPC) || string(b) != "abcd"[:n] {
			t.Fatalf("a short write of %d bytes left %q: %v", n, b, err)
		}
		short[n] = true
		if err := p.Remove("/a"); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		if _, err := p.Create("/b"); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if got := d.List("/"); !slices.Equal(got, []string{"a"}) {
			t.Fatal(got)
		}
	}
	if len(short) != 4 {
		t.Errorf("writes of 4 bytes were cut after %v", slices.Sorted(maps.Keys(short)))
	}
}
