// Package kvtest tests an implementation of kvshim.Store. An implementation is right if this test passes, with the race
// detector too:
//
//	func TestStore(t *testing.T) {
//		kvtest.Run(t, func(t *testing.T) kvshim.Store { return … })
//	}
//
// The suite tests the contract and knows no implementation. It does not depend on timing.
package kvtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/auditsql/auditsql/kvshim"
)

// Run tests the stores that factory makes. Each call of factory must give a new and empty store,
// which it closes by t.Cleanup if it needs closing.
func Run(t *testing.T, factory func(t *testing.T) kvshim.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, kv kvshim.Store)
	}{
		{"get, put and delete", testGetPutDelete},
		{"nil and empty are the same", testNilIsEmpty},
		{"awkward keys", testAwkwardKeys},
		{"huge values", testHugeValues},
		{"slices are the caller's own", testOwnership},
		{"cancelled context", testCancelled},

		{"scan within bounds", testScanBounds},
		{"scan of a family beside another", testScanFamilies},
		{"scan of many pages", testScanPages},
		{"scan left early", testScanBreak},
		{"scan repeated and nested", testScanAgain},
		{"scan refuses a negative limit", testScanNegativeLimit},
		{"scan cancelled", testScanCancelled},
		{"writes where a scan has passed", testWritesAfterScan},
		{"writes where a scan will pass", testWritesBeforeScan},

		{"batch", testBatch},
		{"batch with several writes to a key", testBatchOrder},
		{"batch reused", testBatchReuse},
		{"batch keeps copies", testBatchOwnership},

		{"audit keys are written once", testWriteOnce},
		{"audit keys in a batch", testWriteOnceBatch},
		{"keys beside the audit families are free", testWriteOnceNeighbours},

		{"goroutines on keys of their own", testGoroutines},
		{"goroutines that write at once", testLostWrites},
		{"goroutines that race for an audit key", testRaceForAuditKey},
		{"goroutines that see batches whole", testBatchVisibility},
		{"scans beside writers", testScanBesideWriters},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.test(t, factory(t))
		})
	}
}

// bg is the context of calls that are not about contexts.
var bg = context.Background()

// awkwardKeys are keys that an implementation is likely to mix up, in byte order.
var awkwardKeys = [][]byte{
	{},
	{0x00},
	{0x00, 0x00},
	{0x00, 0x01},
	[]byte("\x00AUD"),
	[]byte("\x00AUD9"),
	[]byte("\x00AUD:"),
	[]byte("\x00AUD:\x00"),
	[]byte("\x00AUD:id"),
	[]byte("\x00AUD:\xff\xff"),
	[]byte("\x00AUD;"),
	[]byte("\x00AUDA"),
	[]byte("\x00AUDA:"),
	[]byte("\x00AUDA:agent"),
	[]byte("\x00AUDA;"),
	[]byte("\x00AUDB:"),
	{0x00, 0xff},
	{0x00, 0xff, 0xff},
	{0x01},
	[]byte("%_*?"),
	[]byte("'; DROP TABLE kv; --"),
	[]byte("0"),
	[]byte("10"),
	[]byte("9"),
	[]byte("KEY"),
	[]byte("key"),
	[]byte("key\x00"),
	[]byte("key\x00a"),
	[]byte("keys"),
	[]byte("\x7f"),
	[]byte("\x80"),
	[]byte("ä"),
	{0xfe},
	{0xfe, 0xff},
	{0xfe, 0xff, 0x00},
	{0xfe, 0xff, 0xff},
	{0xff},
	{0xff, 0x00},
	{0xff, 0xfe},
	{0xff, 0xff},
	{0xff, 0xff, 0x00},
	{0xff, 0xff, 0xff},
}

// mustPut puts or ends the test.
func mustPut(t *testing.T, kv kvshim.Store, key, value []byte) {
	t.Helper()
	if err := kv.Put(bg, key, value); err != nil {
		t.Fatalf("Put(%q): %v", key, err)
	}
}

// mustApply applies or ends the test.
func mustApply(t *testing.T, kv kvshim.Store, b *kvshim.Batch) {
	t.Helper()
	if err := kv.Apply(bg, b); err != nil {
		t.Fatalf("Apply: %v", err)
	}
}

// wantValue checks that the key holds the value.
func wantValue(t *testing.T, kv kvshim.Store, key, value []byte) {
	t.Helper()
	got, err := kv.Get(bg, key)
	switch {
	case err != nil:
		t.Errorf("Get(%q): %v", key, err)
	case got == nil:
		t.Errorf("Get(%q) = nil without an error", key)
	case !bytes.Equal(got, value):
		t.Errorf("Get(%q) = %s, want %s", key, short(got), short(value))
	}
}

// wantAbsent checks that the key holds nothing.
func wantAbsent(t *testing.T, kv kvshim.Store, key []byte) {
	t.Helper()
	got, err := kv.Get(bg, key)
	if !errors.Is(err, kvshim.ErrNotFound) {
		t.Errorf("Get(%q) = %s, %v, want ErrNotFound", key, short(got), err)
	}
	if got != nil {
		t.Errorf("Get(%q) of an absent key gave a value: %s", key, short(got))
	}
}

// wantPairs checks that a scan of everything yields these pairs.
func wantPairs(t *testing.T, kv kvshim.Store, want []kvshim.Pair) {
	t.Helper()
	if diff := comparePairs(collect(t, kv, nil, kvshim.ScanOptions{}), want); diff != "" {
		t.Errorf("scan of everything: %s", diff)
	}
}

// collect returns what a scan yields, or ends the test when it fails.
func collect(t *testing.T, kv kvshim.Store, prefix []byte, o kvshim.ScanOptions) []kvshim.Pair {
	t.Helper()
	var pairs []kvshim.Pair
	for p, err := range kv.Scan(bg, prefix, o) {
		if err != nil {
			t.Fatalf("Scan(%q, %+v): %v", prefix, o, err)
		}
		if p.Key == nil || p.Value == nil {
			t.Errorf("Scan(%q, %+v) yielded a nil slice: %v", prefix, o, p)
		}
		pairs = append(pairs, p)
	}
	return pairs
}

// comparePairs says how got differs from want, or nothing.
func comparePairs(got, want []kvshim.Pair) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("%d pairs, want %d: %q and what follows is missing", len(got), len(want), want[i].Key)
		case i >= len(want):
			return fmt.Sprintf("%d pairs, want %d: %q and what follows is too much", len(got), len(want), got[i].Key)
		case !bytes.Equal(got[i].Key, want[i].Key):
			return fmt.Sprintf("pair %d is %q, want %q", i, got[i].Key, want[i].Key)
		case !bytes.Equal(got[i].Value, want[i].Value):
			return fmt.Sprintf("value of %q is %s, want %s", want[i].Key, short(got[i].Value), short(want[i].Value))
		}
	}
	return ""
}

// short quotes a value for a message without filling the screen.
func short(value []byte) string {
	const most = 64
	if len(value) <= most {
		return fmt.Sprintf("%q", value)
	}
	return fmt.Sprintf("%q… (%d bytes)", value[:most], len(value))
}
