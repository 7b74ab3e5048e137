package kvtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/auditsql/auditsql/kvshim"
)

// together runs n goroutines and waits for them. Errors are reported, not fatal: only the test's own
// goroutine may end it.
func together(t *testing.T, n int, run func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := run(i); err != nil {
				t.Errorf("goroutine %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// testGoroutines gives each goroutine keys of its own, and checks that it reads what it wrote.
func testGoroutines(t *testing.T, kv kvshim.Store) {
	const writers, rounds = 16, 20
	together(t, writers, func(w int) error {
		prefix := []byte{byte(w)}
		for i := range rounds {
			key, value := []byte{byte(w), byte(i)}, fmt.Appendf(nil, "%d of %d", i, w)
			if err := kv.Put(bg, key, value); err != nil {
				return err
			}
			if got, err := kv.Get(bg, key); err != nil || !bytes.Equal(got, value) {
				return fmt.Errorf("Get(%q) = %q, %v, want %q", key, got, err, value)
			}
			if i%3 == 2 {
				var b kvshim.Batch
				b.Delete([]byte{byte(w), byte(i - 1)})
				b.Put([]byte{byte(w), byte(i)}, nil)
				if err := kv.Apply(bg, &b); err != nil {
					return err
				}
			}
			n := 0
			for p, err := range kv.Scan(bg, prefix, kvshim.ScanOptions{}) {
				if err != nil {
					return err
				}
				if !bytes.HasPrefix(p.Key, prefix) {
					return fmt.Errorf("Scan(%q) yielded %q", prefix, p.Key)
				}
				n++
			}
			if want := i + 1 - (i+1)/3; n != want {
				return fmt.Errorf("%d keys after round %d, want %d", n, i, want)
			}
		}
		return nil
	})
	var want []kvshim.Pair
	for w := range writers {
		for i := range rounds {
			p := kvshim.Pair{Key: []byte{byte(w), byte(i)}, Value: fmt.Appendf(nil, "%d of %d", i, w)}
			switch {
			case i%3 == 2:
				p.Value = nil
			case i%3 == 1 && i+1 < rounds:
				continue
			}
			want = append(want, p)
		}
	}
	wantPairs(t, kv, want)
}

// testLostWrites has goroutines write as fast as they can, all from the same moment on. A store that reads,
// changes and writes back without a lock loses some of the writes.
func testLostWrites(t *testing.T, kv kvshim.Store) {
	const writers, rounds = 4, 250
	var ready sync.WaitGroup
	ready.Add(writers)
	together(t, writers, func(w int) error {
		ready.Done()
		ready.Wait()
		for i := range rounds {
			if err := kv.Put(bg, []byte{byte(i), byte(w)}, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if n := len(collect(t, kv, nil, kvshim.ScanOptions{})); n != writers*rounds {
		t.Errorf("%d keys, want %d", n, writers*rounds)
	}
}

// testRaceForAuditKey lets goroutines put different values under one audit key. One wins. Those that put other values get an
// error, and those that put the winner's value succeed.
func testRaceForAuditKey(t *testing.T, kv kvshim.Store) {
	const racers, rounds = 8, 15
	for round := range rounds {
		key := fmt.Appendf(nil, "\x00AUD:%d", round)
		var won [racers / 2]atomic.Int32
		together(t, racers, func(i int) error {
			value := i / 2 // two goroutines put the same value
			var err error
			if i%2 == 0 {
				err = kv.Put(bg, key, []byte{byte(value)})
			} else {
				var b kvshim.Batch
				b.Put(fmt.Appendf(nil, "beside %d/%d", round, value), nil)
				b.Put(key, []byte{byte(value)})
				err = kv.Apply(bg, &b)
			}
			switch {
			case err == nil:
				won[value].Add(1)
			case !errors.Is(err, kvshim.ErrWriteOnce):
				return err
			}
			return nil
		})
		held, err := kv.Get(bg, key)
		if err != nil || len(held) != 1 {
			t.Fatalf("Get(%q) = %q, %v", key, held, err)
		}
		for value := range won {
			want := int32(0)
			if value == int(held[0]) {
				want = 2
			}
			if n := won[value].Load(); n != want {
				t.Errorf("round %d: value %d was put %d times, want %d; the store holds %d", round, value, n, want, held[0])
			}
			beside := fmt.Appendf(nil, "beside %d/%d", round, value)
			if want == 2 {
				wantValue(t, kv, beside, nil)
			} else {
				wantAbsent(t, kv, beside)
			}
		}
	}
}

// testBatchVisibility has one goroutine count two keys up in batches while others read them one
// after the other, in either order: the key that is read later never has the smaller count.
func testBatchVisibility(t *testing.T, kv kvshim.Store) {
	const rounds = 100
	first, second := []byte("a"), []byte("z")
	count := func(i int) *kvshim.Batch {
		var b kvshim.Batch
		b.Put(first, binary.BigEndian.AppendUint64(nil, uint64(i)))
		b.Put([]byte("m"), bytes.Repeat([]byte{byte(i)}, 4096))
		b.Put(second, binary.BigEndian.AppendUint64(nil, uint64(i)))
		return &b
	}
	mustApply(t, kv, count(0))

	var done atomic.Bool
	read := func(key []byte) (uint64, error) {
		value, err := kv.Get(bg, key)
		if err != nil || len(value) != 8 {
			return 0, fmt.Errorf("Get(%q) = %q, %v", key, value, err)
		}
		return binary.BigEndian.Uint64(value), nil
	}
	together(t, 5, func(i int) error {
		if i == 0 {
			defer done.Store(true)
			for n := 1; n <= rounds; n++ {
				if err := kv.Apply(bg, count(n)); err != nil {
					return err
				}
				if got, err := read(second); err != nil || got != uint64(n) {
					return fmt.Errorf("the writer reads %d, %v after it wrote %d", got, err, n)
				}
			}
			return nil
		}
		earlier, later := first, second
		if i%2 == 0 {
			earlier, later = second, first
		}
		for !done.Load() {
			a, err := read(earlier)
			if err != nil {
				return err
			}
			b, err := read(later)
			if err != nil {
				return err
			}
			if b < a {
				return fmt.Errorf("%q was %d, and then %q still %d: half of a batch", earlier, a, later, b)
			}
		}
		return nil
	})
	wantValue(t, kv, first, binary.BigEndian.AppendUint64(nil, rounds))
}

// testScanBesideWriters scans while others write: order, no key twice, and every key that nobody
// touches.
func testScanBesideWriters(t *testing.T, kv kvshim.Store) {
	const still, scans = 500, 12
	fillNumbered(t, kv, still)
	var scanning atomic.Int32
	scanning.Store(2)
	together(t, 4, func(i int) error {
		if i >= 2 { // writers
			for n := 0; scanning.Load() > 0; n++ {
				key := append(numbered(n*7%still), '+', byte(i))
				var b kvshim.Batch
				b.Put(key, []byte("moving"))
				b.Delete(append(numbered((n-20+still)*7%still), '+', byte(i)))
				if err := kv.Apply(bg, &b); err != nil {
					return err
				}
			}
			return nil
		}
		defer scanning.Add(-1)
		reverse := i == 1
		for range scans {
			var last []byte
			seen := 0
			for p, err := range kv.Scan(bg, []byte("n"), kvshim.ScanOptions{Reverse: reverse}) {
				if err != nil {
					return err
				}
				if last != nil && (bytes.Equal(last, p.Key) || (bytes.Compare(last, p.Key) < 0) == reverse) {
					return fmt.Errorf("reverse %v: %q follows %q", reverse, p.Key, last)
				}
				last = p.Key
				if len(p.Key) == len(numbered(0)) {
					seen++
				}
			}
			if seen != still {
				return fmt.Errorf("reverse %v: saw %d of %d keys that nobody touched", reverse, seen, still)
			}
		}
		return nil
	})
}
