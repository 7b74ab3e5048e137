package kvtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/auditsql/auditsql/kvshim"
)

// fillAwkward puts every awkward key and returns the pairs in order.
func fillAwkward(t *testing.T, kv kvshim.Store) []kvshim.Pair {
	t.Helper()
	var b kvshim.Batch
	var pairs []kvshim.Pair
	for i, key := range awkwardKeys {
		value := fmt.Appendf(nil, "value %d", i)
		pairs = append(pairs, kvshim.Pair{Key: key, Value: value})
		b.Put(key, value)
	}
	mustApply(t, kv, &b)
	return pairs
}

// fillNumbered puts count keys "n0000", "n0001", … and returns the pairs in order.
func fillNumbered(t *testing.T, kv kvshim.Store, count int) []kvshim.Pair {
	t.Helper()
	var b kvshim.Batch
	var pairs []kvshim.Pair
	for i := range count {
		p := kvshim.Pair{Key: numbered(i), Value: fmt.Appendf(nil, "value %d", i)}
		pairs = append(pairs, p)
		b.Put(p.Key, p.Value)
	}
	mustApply(t, kv, &b)
	return pairs
}

func numbered(i int) []byte {
	return fmt.Appendf(nil, "n%04d", i)
}

// expect says in the plainest way which of the pairs, given in order, a scan should yield.
func expect(pairs []kvshim.Pair, prefix []byte, o kvshim.ScanOptions) []kvshim.Pair {
	var want []kvshim.Pair
	for _, p := range pairs {
		if bytes.HasPrefix(p.Key, prefix) &&
			(len(o.Start) == 0 || bytes.Compare(p.Key, o.Start) >= 0) &&
			(len(o.End) == 0 || bytes.Compare(p.Key, o.End) < 0) {
			want = append(want, p)
		}
	}
	if o.Reverse {
		slices.Reverse(want)
	}
	if o.Limit > 0 && len(want) > o.Limit {
		want = want[:o.Limit]
	}
	return want
}

// testScanBounds tries every combination of awkward prefixes, starts, ends, limits and directions.
// A prefix that ends in 0xff, or is nothing else, has no upper bound of the same length; bounds may
// lie outside of the prefix, and cross.
func testScanBounds(t *testing.T, kv kvshim.Store) {
	pairs := fillAwkward(t, kv)
	prefixes := [][]byte{
		nil,
		{},
		{0x00},
		[]byte("\x00AUD"),
		[]byte("\x00AUD:"),
		[]byte("\x00AUDA:"),
		{0x00, 0xff},
		[]byte("key"),
		[]byte("ke%"),
		[]byte("no such"),
		{0xfe, 0xff},
		{0xff},
		{0xff, 0xff},
		{0xff, 0xff, 0xff, 0xff},
	}
	bounds := [][]byte{
		nil,
		{},
		{0x00},
		[]byte("\x00AUD:id"),
		[]byte("key\x00"),
		{0xfe, 0xff},
		{0xff, 0xff},
		{0xff, 0xff, 0xff, 0xff},
	}
	for _, prefix := range prefixes {
		for _, start := range bounds {
			for _, end := range bounds {
				for _, limit := range []int{0, 1, 3} {
					for _, reverse := range []bool{false, true} {
						o := kvshim.ScanOptions{Start: start, End: end, Limit: limit, Reverse: reverse}
						got := collect(t, kv, prefix, o)
						if diff := comparePairs(got, expect(pairs, prefix, o)); diff != "" {
							t.Errorf("Scan(%q, Start %q, End %q, Limit %d, Reverse %v): %s",
								prefix, start, end, limit, reverse, diff)
						}
					}
				}
			}
		}
	}
}

// testScanFamilies scans the two audit families, of which one's prefix but for the colon is a prefix
// of the other's.
func testScanFamilies(t *testing.T, kv kvshim.Store) {
	id := func(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }
	var audits, agents []kvshim.Pair
	var b kvshim.Batch
	for _, n := range []byte{0x00, ':', 'A', 0xff} {
		audit := kvshim.Pair{Key: append([]byte("\x00AUD:"), id(n)...), Value: []byte("{}")}
		agent := kvshim.Pair{Key: append([]byte("\x00AUDA:"), id(n)...), Value: []byte{}}
		audits, agents = append(audits, audit), append(agents, agent)
		b.Put(agent.Key, agent.Value)
		b.Put(audit.Key, audit.Value)
	}
	mustApply(t, kv, &b)

	for _, c := range []struct {
		prefix string
		want   []kvshim.Pair
	}{
		{"\x00AUD:", audits},
		{"\x00AUDA:", agents},
		{"\x00AUD", slices.Concat(audits, agents)},
		{"\x00AUDA", agents},
		{"\x00AUD:A", audits[2:3]},
		{"\x00AUD;", nil},
	} {
		if diff := comparePairs(collect(t, kv, []byte(c.prefix), kvshim.ScanOptions{}), c.want); diff != "" {
			t.Errorf("Scan(%q): %s", c.prefix, diff)
		}
		reversed := slices.Clone(c.want)
		slices.Reverse(reversed)
		got := collect(t, kv, []byte(c.prefix), kvshim.ScanOptions{Reverse: true})
		if diff := comparePairs(got, reversed); diff != "" {
			t.Errorf("Scan(%q) in reverse: %s", c.prefix, diff)
		}
	}
}

// testScanPages scans more keys than an implementation is likely to read at once, with limits on
// both sides of likely page sizes.
func testScanPages(t *testing.T, kv kvshim.Store) {
	pairs := fillNumbered(t, kv, 1100)
	for _, limit := range []int{0, 1, 99, 100, 101, 255, 256, 257, 511, 512, 513, 1000, 1024, 1100, 1101} {
		for _, reverse := range []bool{false, true} {
			for _, o := range []kvshim.ScanOptions{
				{Limit: limit, Reverse: reverse},
				{Limit: limit, Reverse: reverse, Start: numbered(7), End: numbered(1050)},
			} {
				got := collect(t, kv, []byte("n"), o)
				if diff := comparePairs(got, expect(pairs, []byte("n"), o)); diff != "" {
					t.Errorf("Limit %d, Reverse %v, Start %q: %s", limit, reverse, o.Start, diff)
				}
			}
		}
	}
}

// testScanBreak leaves many scans early and in different places: nothing may stay behind that keeps
// a later call from working.
func testScanBreak(t *testing.T, kv kvshim.Store) {
	pairs := fillNumbered(t, kv, 600)
	for stop := 1; stop <= 600; stop += 37 {
		n := 0
		for p, err := range kv.Scan(bg, nil, kvshim.ScanOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(p.Key, pairs[n].Key) {
				t.Fatalf("pair %d is %q, want %q", n, p.Key, pairs[n].Key)
			}
			if n++; n == stop {
				break
			}
		}
		mustPut(t, kv, numbered(stop), pairs[stop%600].Value)
		mustPut(t, kv, numbered(stop%600), pairs[stop%600].Value)
	}
	func() {
		defer func() { _ = recover() }()
		for range kv.Scan(bg, nil, kvshim.ScanOptions{}) {
			panic("out of the loop")
		}
	}()
	mustPut(t, kv, []byte("after"), nil)
}

// testScanAgain ranges over one sequence several times, also inside of itself: deeper than a pool of
// connections is likely to be, so a scan that held one while its loop runs would wait for ever.
func testScanAgain(t *testing.T, kv kvshim.Store) {
	pairs := fillNumbered(t, kv, 3)
	seq := kv.Scan(bg, []byte("n"), kvshim.ScanOptions{})
	for range 2 {
		n := 0
		for p, err := range seq {
			if err != nil {
				t.Fatal(err)
			}
			if n >= len(pairs) || !bytes.Equal(p.Key, pairs[n].Key) {
				t.Fatalf("pair %d is %q", n, p.Key)
			}
			n++
		}
		if n != len(pairs) {
			t.Errorf("%d pairs, want %d", n, len(pairs))
		}
	}

	mustPut(t, kv, numbered(3), nil)
	seen := 0
	for _, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		seen++
	}
	if seen != 4 {
		t.Errorf("a sequence begun after a put yielded %d pairs, want 4", seen)
	}

	leaves := 0
	var nest func(depth int)
	nest = func(depth int) {
		if depth == 0 {
			leaves++
			wantValue(t, kv, numbered(1), pairs[1].Value)
			mustPut(t, kv, numbered(3), fmt.Appendf(nil, "leaf %d", leaves))
			return
		}
		for _, err := range kv.Scan(bg, []byte("n"), kvshim.ScanOptions{Limit: 2}) {
			if err != nil {
				t.Fatal(err)
			}
			nest(depth - 1)
		}
	}
	nest(7)
	if leaves != 1<<7 {
		t.Errorf("nested scans came to %d leaves, want %d", leaves, 1<<7)
	}
}

func testScanNegativeLimit(t *testing.T, kv kvshim.Store) {
	fillNumbered(t, kv, 3)
	yields := 0
	for p, err := range kv.Scan(bg, nil, kvshim.ScanOptions{Limit: -1}) {
		yields++
		if err == nil {
			t.Errorf("a negative limit yielded %q", p.Key)
		}
	}
	if yields != 1 {
		t.Errorf("a negative limit yielded %d times, want its error once", yields)
	}
}

// testScanCancelled ends the context within the loop: the error comes next, and last.
func testScanCancelled(t *testing.T, kv kvshim.Store) {
	fillNumbered(t, kv, 1000)
	for _, after := range []int{1, 2, 255, 256, 257, 700} {
		for _, reverse := range []bool{false, true} {
			ctx, cancel := context.WithCancel(bg)
			pairs, failures := 0, 0
			for p, err := range kv.Scan(ctx, nil, kvshim.ScanOptions{Reverse: reverse}) {
				if err != nil {
					failures++
					if !errors.Is(err, context.Canceled) || p.Key != nil || p.Value != nil {
						t.Errorf("cancelled after %d: %v, %v, want context.Canceled", after, p, err)
					}
					continue
				}
				if pairs++; pairs == after {
					cancel()
				}
			}
			cancel()
			if pairs != after || failures != 1 {
				t.Errorf("cancelled after %d: %d pairs and %d errors, want %d and 1", after, pairs, failures, after)
			}
		}
	}
	wantValue(t, kv, numbered(0), []byte("value 0"))
	mustPut(t, kv, numbered(0), nil)
}
