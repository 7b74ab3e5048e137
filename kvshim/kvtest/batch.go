package kvtest

import (
	"testing"

	"github.com/auditsql/auditsql/kvshim"
)

func testBatch(t *testing.T, kv kvshim.Store) {
	var none kvshim.Batch
	if none.Len() != 0 {
		t.Errorf("Len of a zero Batch = %d", none.Len())
	}
	mustApply(t, kv, &none)
	wantPairs(t, kv, nil)

	mustPut(t, kv, []byte("gone"), []byte("value"))
	mustPut(t, kv, []byte("changed"), []byte("old"))
	mustPut(t, kv, []byte("kept"), []byte("value"))

	var b kvshim.Batch
	b.Put([]byte("new"), []byte("value"))
	b.Put(nil, nil)
	b.Delete([]byte("gone"))
	b.Put([]byte("changed"), []byte("new"))
	b.Delete([]byte("never there"))
	b.Put([]byte("\x00binary\xff"), []byte{0x00, 0xff})
	if b.Len() != 6 {
		t.Errorf("Len = %d, want 6", b.Len())
	}
	wantAbsent(t, kv, []byte("new")) // a batch does nothing before it is applied
	mustApply(t, kv, &b)
	wantPairs(t, kv, []kvshim.Pair{
		{},
		{Key: []byte("\x00binary\xff"), Value: []byte{0x00, 0xff}},
		{Key: []byte("changed"), Value: []byte("new")},
		{Key: []byte("kept"), Value: []byte("value")},
		{Key: []byte("new"), Value: []byte("value")},
	})
}

func testBatchOrder(t *testing.T, kv kvshim.Store) {
	mustPut(t, kv, []byte("there before"), []byte("before"))
	mustPut(t, kv, []byte("there before too"), []byte("before"))

	var b kvshim.Batch
	b.Put([]byte("put twice"), []byte("one"))
	b.Put([]byte("put, deleted"), []byte("one"))
	b.Delete([]byte("deleted, put"))
	b.Put([]byte("put, deleted, put"), []byte("one"))
	b.Put([]byte("there before"), []byte("one"))
	b.Delete([]byte("there before too"))

	b.Put([]byte("put twice"), []byte("two"))
	b.Delete([]byte("put, deleted"))
	b.Put([]byte("deleted, put"), []byte("two"))
	b.Delete([]byte("put, deleted, put"))
	b.Delete([]byte("there before"))
	b.Put([]byte("there before too"), []byte("two"))

	b.Put([]byte("put, deleted, put"), []byte("three"))
	if b.Len() != 13 {
		t.Errorf("Len = %d, want 13: each write counts", b.Len())
	}
	mustApply(t, kv, &b)
	wantPairs(t, kv, []kvshim.Pair{
		{Key: []byte("deleted, put"), Value: []byte("two")},
		{Key: []byte("put twice"), Value: []byte("two")},
		{Key: []byte("put, deleted, put"), Value: []byte("three")},
		{Key: []byte("there before too"), Value: []byte("two")},
	})
}

func testBatchReuse(t *testing.T, kv kvshim.Store) {
	var b kvshim.Batch
	b.Put([]byte("a"), []byte("first"))
	b.Put([]byte("b"), []byte("first"))
	mustApply(t, kv, &b)
	mustPut(t, kv, []byte("a"), []byte("changed"))
	mustApply(t, kv, &b)
	wantValue(t, kv, []byte("a"), []byte("first"))

	b.Reset()
	if b.Len() != 0 {
		t.Errorf("Len after Reset = %d", b.Len())
	}
	mustPut(t, kv, []byte("a"), []byte("changed"))
	mustApply(t, kv, &b)
	wantValue(t, kv, []byte("a"), []byte("changed"))

	b.Delete([]byte("a"))
	b.Put([]byte("c"), []byte("second"))
	mustApply(t, kv, &b)
	wantPairs(t, kv, []kvshim.Pair{
		{Key: []byte("b"), Value: []byte("first")},
		{Key: []byte("c"), Value: []byte("second")},
	})
}

func testBatchOwnership(t *testing.T, kv kvshim.Store) {
	buf := []byte("key 1value 1")
	var b kvshim.Batch
	b.Put(buf[:5], buf[5:])
	copy(buf, "key 2value 2")
	b.Put(buf[:5], buf[5:])
	copy(buf, "key 3")
	b.Delete(buf[:5])
	copy(buf, "##############")
	mustPut(t, kv, []byte("key 3"), nil)
	mustApply(t, kv, &b)

	// What is added after a Reset must not reach back into what was applied before it.
	b.Reset()
	b.Put([]byte("other"), []byte("other 1"))
	want := []kvshim.Pair{
		{Key: []byte("key 1"), Value: []byte("value 1")},
		{Key: []byte("key 2"), Value: []byte("value 2")},
	}
	wantPairs(t, kv, want)
}
