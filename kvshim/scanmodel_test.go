package kvshim_test

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"

	"github.com/auditsql/auditsql/kvshim"
	"pgregory.net/rapid"
)

// chronicle is what both stores have held, and when: a scan is no snapshot, so what it may yield depends on all
// that happened while it was open.
type chronicle struct {
	now  int // counts writes
	keys map[string][]version
}

// version is what a key holds from a moment on; absent when value is nil.
type version struct {
	at    int
	value []byte
}

func (c *chronicle) set(key string, value []byte) {
	c.keys[key] = append(c.keys[key], version{c.now, value})
}

// held reports whether a key had this value at some moment from begin on.
func (c *chronicle) held(key string, value []byte, begin int) bool {
	versions := c.keys[key]
	for i, v := range versions {
		over := i+1 < len(versions) && versions[i+1].at <= begin
		if !over && v.value != nil && bytes.Equal(v.value, value) {
			return true
		}
	}
	return false
}

// stayed reports whether a key was there at every moment from begin on.
func (c *chronicle) stayed(key string, begin int) bool {
	was := false
	for _, v := range c.keys[key] {
		if v.at > begin && (v.value == nil || !was) {
			return false
		}
		was = v.value != nil
	}
	return was
}

// openScan is a scan of one store that has not ended.
type openScan struct {
	of     string // the store's name
	prefix []byte
	o      kvshim.ScanOptions
	next   func() (kvshim.Pair, error, bool)
	stop   func()
	begin  int // -1 until it has yielded
	got    []string
}

// advance takes up to n pairs, and reports whether there are more.
func (s *openScan) advance(t *rapid.T, c *chronicle, n int) bool {
	if s.begin < 0 {
		s.begin = c.now
	}
	for range n {
		p, err, more := s.next()
		if err != nil {
			t.Fatalf("%s: scan %+v: %v", s.of, s.o, err)
		}
		if !more {
			s.finish(t, c)
			return false
		}
		key := string(p.Key)
		if len(s.got) > 0 {
			if last := s.got[len(s.got)-1]; key == last || (key > last) == s.o.Reverse {
				t.Fatalf("%s: scan %+v: %q follows %q", s.of, s.o, key, last)
			}
		}
		if !s.within(key) || !c.held(key, p.Value, s.begin) {
			t.Fatalf("%s: scan %+v of %q: %q never held %q since it began", s.of, s.o, s.prefix, key, p.Value)
		}
		s.got = append(s.got, key)
	}
	return true
}

func (s *openScan) within(key string) bool {
	b := []byte(key)
	return bytes.HasPrefix(b, s.prefix) && bytes.Compare(b, s.o.Start) >= 0 && (len(s.o.End) == 0 || bytes.Compare(b, s.o.End) < 0)
}

// finish checks that nothing is missing which was there all the time.
func (s *openScan) finish(t *rapid.T, c *chronicle) {
	s.stop()
	full := s.o.Limit > 0 && len(s.got) == s.o.Limit
	if s.o.Limit > 0 && len(s.got) > s.o.Limit {
		t.Fatalf("%s: scan %+v yielded %d pairs", s.of, s.o, len(s.got))
	}
	seen := map[string]bool{}
	for _, key := range s.got {
		seen[key] = true
	}
	for key := range c.keys {
		// A scan that has reached its limit need not have the keys after its last pair.
		if after := full && (key > s.got[len(s.got)-1]) != s.o.Reverse; seen[key] || after || !s.within(key) {
			continue
		}
		if c.stayed(key, s.begin) {
			t.Fatalf("%s: scan %+v of %q, of %d pairs: %q was there all the time", s.of, s.o, s.prefix, len(s.got), key)
		}
	}
}

// TestOpenScansBesideWrites lets scans of both stores go on step by step while they are written to. Each yields
// what the contract allows, whatever page of SQLite's it is on.
func TestOpenScansBesideWrites(t *testing.T) {
	t.Parallel()
	const keys = 700 // almost three pages
	key := func(i int) []byte { return fmt.Appendf(nil, "k%03d", i) }
	genIndex := rapid.IntRange(0, keys-1)
	genEdge := rapid.OneOf(rapid.Just([]byte(nil)), rapid.Map(genIndex, key))
	fresh := freshSQLite(t)
	rapid.Check(t, func(rt *rapid.T) {
		sqlite := fresh(rt)
		defer sqlite.Close()
		stores := map[string]kvshim.Store{"SQLite": sqlite, "memory": kvshim.NewMemory()}
		c := &chronicle{keys: map[string][]version{}}
		apply := func(t *rapid.T, from, to, step int, value []byte) {
			c.now++
			var b kvshim.Batch
			for i := from; i < to; i += step {
				if c.set(string(key(i)), value); value == nil {
					b.Delete(key(i))
				} else {
					b.Put(key(i), value)
				}
			}
			for name, store := range stores {
				if err := store.Apply(bg, &b); err != nil {
					t.Fatalf("%s: Apply: %v", name, err)
				}
			}
		}
		apply(rt, 0, keys, 2, []byte("first"))

		var open []*openScan
		defer func() {
			for _, s := range open {
				s.stop()
			}
		}()
		stretch := func(t *rapid.T) (from, to, step int) {
			from = genIndex.Draw(t, "from")
			return from, min(keys, from+rapid.SampledFrom([]int{1, 1, 3, 300}).Draw(t, "length")), rapid.IntRange(1, 3).Draw(t, "step")
		}
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				from, to, step := stretch(t)
				apply(t, from, to, step, fmt.Appendf(nil, "write %d", c.now))
			},
			"delete": func(t *rapid.T) {
				from, to, step := stretch(t)
				apply(t, from, to, step, nil)
			},
			"open": func(t *rapid.T) {
				prefix := rapid.SampledFrom([][]byte{nil, []byte("k"), []byte("k2")}).Draw(t, "prefix")
				o := kvshim.ScanOptions{
					Start: genEdge.Draw(t, "start"), End: genEdge.Draw(t, "end"),
					Limit: rapid.SampledFrom([]int{0, 0, 1, 255, 256, 257}).Draw(t, "limit"), Reverse: rapid.Bool().Draw(t, "reverse"),
				}
				for _, name := range slices.Sorted(maps.Keys(stores)) {
					s := &openScan{of: name, prefix: prefix, o: o, begin: -1}
					s.next, s.stop = iter.Pull2(stores[name].Scan(bg, prefix, o))
					open = append(open, s)
				}
			},
			"advance": func(t *rapid.T) {
				if len(open) == 0 {
					t.Skip("no scan is open")
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "scan")
				if !open[i].advance(t, c, rapid.SampledFrom([]int{1, 5, 255, 256, 300}).Draw(t, "pairs")) {
					open = slices.Delete(open, i, i+1)
				}
			},
		})
		for _, s := range open {
			for s.advance(rt, c, keys) {
			}
		}
		open = nil
	})
}
