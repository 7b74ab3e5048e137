package kvtest

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/auditsql/auditsql/kvshim"
)

func testGetPutDelete(t *testing.T, kv kvshim.Store) {
	key := []byte("key")
	wantAbsent(t, kv, key)
	wantPairs(t, kv, nil)

	mustPut(t, kv, key, []byte("one"))
	wantValue(t, kv, key, []byte("one"))
	mustPut(t, kv, key, []byte("two"))
	wantValue(t, kv, key, []byte("two"))
	mustPut(t, kv, key, []byte("two"))
	wantPairs(t, kv, []kvshim.Pair{{Key: key, Value: []byte("two")}})

	for range 2 {
		if err := kv.Delete(bg, key); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		wantAbsent(t, kv, key)
	}
	if err := kv.Delete(bg, []byte("never there")); err != nil {
		t.Errorf("Delete of a key that was never there: %v", err)
	}
	wantPairs(t, kv, nil)

	mustPut(t, kv, key, []byte("three"))
	wantValue(t, kv, key, []byte("three"))
}

func testNilIsEmpty(t *testing.T, kv kvshim.Store) {
	wantAbsent(t, kv, nil)
	mustPut(t, kv, nil, nil)
	wantValue(t, kv, []byte{}, []byte{})
	wantPairs(t, kv, []kvshim.Pair{{}})

	mustPut(t, kv, []byte{}, []byte("value"))
	wantValue(t, kv, nil, []byte("value"))
	mustPut(t, kv, nil, []byte{})
	wantPairs(t, kv, []kvshim.Pair{{}})

	if err := kv.Delete(bg, []byte{}); err != nil {
		t.Fatalf("Delete of the empty key: %v", err)
	}
	wantAbsent(t, kv, nil)

	// No value and an empty value are different things.
	mustPut(t, kv, []byte("key"), nil)
	wantValue(t, kv, []byte("key"), nil)
	mustPut(t, kv, []byte("key"), []byte("value"))
	mustPut(t, kv, []byte("key"), nil)
	wantValue(t, kv, []byte("key"), nil)
}

func testAwkwardKeys(t *testing.T, kv kvshim.Store) {
	value := func(key []byte) []byte { return append([]byte("\x00value\xff of "), key...) }

	var want []kvshim.Pair
	for _, key := range awkwardKeys {
		want = append(want, kvshim.Pair{Key: key, Value: value(key)})
	}
	// Put in an order that is neither sorted nor reversed: 5 shares no factor with the count.
	for i := range awkwardKeys {
		key := awkwardKeys[i*5%len(awkwardKeys)]
		wantAbsent(t, kv, key)
		mustPut(t, kv, key, value(key))
	}
	for _, key := range awkwardKeys {
		wantValue(t, kv, key, value(key))
	}
	wantPairs(t, kv, want)

	// Every byte is worth the same, in keys and in values.
	for b := range 256 {
		mustPut(t, kv, []byte{'b', byte(b)}, []byte{byte(b)})
	}
	for i, p := range collect(t, kv, []byte("b"), kvshim.ScanOptions{}) {
		if !bytes.Equal(p.Key, []byte{'b', byte(i)}) || !bytes.Equal(p.Value, []byte{byte(i)}) {
			t.Errorf("pair %d of the bytes is %q, %q", i, p.Key, p.Value)
		}
	}
}

func testHugeValues(t *testing.T, kv kvshim.Store) {
	huge := func(seed byte) []byte {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = seed + byte(i) + byte(i>>8)
		}
		return b
	}
	mustPut(t, kv, []byte("huge"), huge(0))
	wantValue(t, kv, []byte("huge"), huge(0))

	var b kvshim.Batch
	var want []kvshim.Pair
	for i := range byte(3) {
		b.Put([]byte{'h', i}, huge(i))
		want = append(want, kvshim.Pair{Key: []byte{'h', i}, Value: huge(i)})
	}
	mustApply(t, kv, &b)
	want = append(want, kvshim.Pair{Key: []byte("huge"), Value: huge(0)})
	wantPairs(t, kv, want)

	mustPut(t, kv, []byte("huge"), []byte("small"))
	wantValue(t, kv, []byte("huge"), []byte("small"))

	longKey := bytes.Repeat([]byte{0xff}, 64<<10)
	mustPut(t, kv, longKey, []byte("value"))
	wantValue(t, kv, longKey, []byte("value"))
	if got := collect(t, kv, longKey, kvshim.ScanOptions{}); len(got) != 1 {
		t.Errorf("scan by a prefix of 64 KiB yielded %d pairs, want 1", len(got))
	}
}

func testOwnership(t *testing.T, kv kvshim.Store) {
	spoil := func(b []byte) {
		for i := range b {
			b[i] = '#'
		}
		_ = append(b, "more"...)
	}
	keys := [][]byte{[]byte("a"), []byte("k1"), []byte("k2"), []byte("k3")}
	want := []kvshim.Pair{
		{Key: []byte("a"), Value: []byte("va")},
		{Key: []byte("k1"), Value: []byte("v1")},
		{Key: []byte("k2"), Value: []byte("v2")},
		{Key: []byte("k3"), Value: []byte("v3")},
	}

	for i, key := range keys {
		k, v := bytes.Clone(key), bytes.Clone(want[i].Value)
		mustPut(t, kv, k, v)
		spoil(k)
		spoil(v)
	}
	wantPairs(t, kv, want)

	got, err := kv.Get(bg, keys[0])
	if err != nil {
		t.Fatal(err)
	}
	spoil(got)
	wantPairs(t, kv, want)

	// Pairs stay good when the scan has moved on, and may be spoilt while it is under way.
	var kept []kvshim.Pair
	for p, err := range kv.Scan(bg, nil, kvshim.ScanOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, p)
	}
	if diff := comparePairs(kept, want); diff != "" {
		t.Errorf("pairs kept from a scan: %s", diff)
	}
	n := 0
	for p, err := range kv.Scan(bg, nil, kvshim.ScanOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		spoil(p.Key)
		spoil(p.Value)
		n++
	}
	if n != len(want) {
		t.Errorf("a scan whose pairs were written over yielded %d pairs, want %d", n, len(want))
	}
	wantPairs(t, kv, want)

	// The bounds are the caller's again as soon as Scan has returned.
	for _, o := range []kvshim.ScanOptions{{}, {Start: []byte("k2"), End: []byte("k3")}} {
		prefix := []byte("k")
		within := expect(want, prefix, o)
		seq := kv.Scan(bg, prefix, o)
		spoil(prefix)
		spoil(o.Start)
		spoil(o.End)
		var got []kvshim.Pair
		for p, err := range seq {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, p)
		}
		if diff := comparePairs(got, within); diff != "" {
			t.Errorf("scan whose bounds were written over: %s", diff)
		}
	}
}

func testCancelled(t *testing.T, kv kvshim.Store) {
	mustPut(t, kv, []byte("there"), []byte("value"))
	want := []kvshim.Pair{{Key: []byte("there"), Value: []byte("value")}}

	cancelled, cancel := context.WithCancel(bg)
	cancel()
	expired, cancel := context.WithDeadline(bg, time.Unix(0, 0))
	defer cancel()

	for _, c := range []struct {
		name string
		ctx  context.Context
		want error
	}{
		{"cancelled", cancelled, context.Canceled},
		{"expired", expired, context.DeadlineExceeded},
	} {
		var b, none kvshim.Batch
		b.Put([]byte("new"), []byte("value"))
		b.Delete([]byte("there"))

		value, err := kv.Get(c.ctx, []byte("there"))
		if value != nil {
			t.Errorf("%s: Get gave a value", c.name)
		}
		for call, err := range map[string]error{
			"Get":                   err,
			"Put":                   kv.Put(c.ctx, []byte("new"), []byte("value")),
			"Delete":                kv.Delete(c.ctx, []byte("there")),
			"Delete of absent":      kv.Delete(c.ctx, []byte("absent")),
			"Apply":                 kv.Apply(c.ctx, &b),
			"Apply without a write": kv.Apply(c.ctx, &none),
		} {
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %s: %v, want %v", c.name, call, err, c.want)
			}
		}
		yields := 0
		for p, err := range kv.Scan(c.ctx, nil, kvshim.ScanOptions{}) {
			yields++
			if !errors.Is(err, c.want) || p.Key != nil || p.Value != nil {
				t.Errorf("%s: Scan yielded %v, %v, want %v", c.name, p, err, c.want)
			}
		}
		if yields != 1 {
			t.Errorf("%s: Scan yielded %d times, want its error once", c.name, yields)
		}
		wantPairs(t, kv, want)
	}
}
