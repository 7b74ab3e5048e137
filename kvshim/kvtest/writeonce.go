package kvtest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/auditsql/auditsql/kvshim"
)

// auditKeys are keys of the two families: as they are in practice, and malformed ones, which are
// guarded all the same.
func auditKeys() [][]byte {
	id, agent := bytes.Repeat([]byte{0xff}, 32), bytes.Repeat([]byte{0x00}, 32)
	return [][]byte{
		append([]byte("\x00AUD:"), id...),
		bytes.Join([][]byte{[]byte("\x00AUDA:"), agent, []byte(":\x00\x00\x00\x00\x00\x00\x03\xe8:"), id}, nil),
		[]byte("\x00AUD:"),
		[]byte("\x00AUDA:"),
		[]byte("\x00AUD:short"),
		[]byte("\x00AUDA:\xff"),
	}
}

func testWriteOnce(t *testing.T, kv kvshim.Store) {
	for _, key := range auditKeys() {
		if err := kv.Delete(bg, key); err != nil {
			t.Errorf("Delete(%q), absent: %v", key, err)
		}
		for _, value := range [][]byte{[]byte("value"), nil} {
			key := append(bytes.Clone(key), byte(len(value)))
			for range 2 {
				mustPut(t, kv, key, value)
			}
			for _, other := range [][]byte{[]byte("other"), []byte("value\x00"), []byte("valu"), []byte("VALUE"), {0}} {
				if err := kv.Put(bg, key, other); !errors.Is(err, kvshim.ErrWriteOnce) {
					t.Errorf("Put(%q) of %q over %q: %v, want ErrWriteOnce", key, other, value, err)
				}
			}
			if err := kv.Delete(bg, key); !errors.Is(err, kvshim.ErrWriteOnce) {
				t.Errorf("Delete(%q): %v, want ErrWriteOnce", key, err)
			}
			wantValue(t, kv, key, value)
		}
		// The bare key too, and nil over empty is the same value.
		mustPut(t, kv, key, nil)
		mustPut(t, kv, key, []byte{})
		if err := kv.Put(bg, key, []byte("other")); !errors.Is(err, kvshim.ErrWriteOnce) {
			t.Errorf("Put(%q) over an empty value: %v, want ErrWriteOnce", key, err)
		}
		wantValue(t, kv, key, nil)
	}
}

// testWriteOnceBatch has one write of a batch refused, at its beginning, its middle and its end: none
// of the others may stay.
func testWriteOnceBatch(t *testing.T, kv kvshim.Store) {
	for _, key := range auditKeys() {
		fresh := append(bytes.Clone(key), "fresh"...)
		mustPut(t, kv, key, []byte("value"))
		mustPut(t, kv, []byte("free"), []byte("old"))
		before := collect(t, kv, nil, kvshim.ScanOptions{})

		for _, c := range []struct {
			name    string
			refused func(b *kvshim.Batch)
		}{
			{"other bytes", func(b *kvshim.Batch) { b.Put(key, []byte("other")) }},
			{"no bytes", func(b *kvshim.Batch) { b.Put(key, nil) }},
			{"delete", func(b *kvshim.Batch) { b.Delete(key) }},
			{"delete and put the same", func(b *kvshim.Batch) { b.Delete(key); b.Put(key, []byte("value")) }},
			{"put other, then the same", func(b *kvshim.Batch) { b.Put(key, []byte("other")); b.Put(key, []byte("value")) }},
			{"two values for a fresh key", func(b *kvshim.Batch) { b.Put(fresh, []byte("1")); b.Put(fresh, []byte("2")) }},
			{"a fresh key put and deleted", func(b *kvshim.Batch) { b.Put(fresh, []byte("1")); b.Delete(fresh) }},
		} {
			for at := range 3 {
				var b kvshim.Batch
				others := []func(){
					func() { b.Put([]byte("free"), []byte("new")); b.Put([]byte("free too"), nil) },
					func() { b.Delete([]byte("free")); b.Put(append(bytes.Clone(key), "fresh too"...), nil) },
				}
				for i, add := range others {
					if i == at {
						c.refused(&b)
					}
					add()
				}
				if at == len(others) {
					c.refused(&b)
				}
				if err := kv.Apply(bg, &b); !errors.Is(err, kvshim.ErrWriteOnce) {
					t.Errorf("%q: %s at %d: %v, want ErrWriteOnce", key, c.name, at, err)
				}
				wantPairs(t, kv, before)
			}
		}

		// What is nothing new is no reason to refuse.
		var b kvshim.Batch
		b.Put(key, []byte("value"))
		b.Delete(fresh)
		b.Put(fresh, []byte("1"))
		b.Put(fresh, []byte("1"))
		b.Put([]byte("free"), []byte("new"))
		mustApply(t, kv, &b)
		wantValue(t, kv, key, []byte("value"))
		wantValue(t, kv, fresh, []byte("1"))
		wantValue(t, kv, []byte("free"), []byte("new"))
	}
}

func testWriteOnceNeighbours(t *testing.T, kv kvshim.Store) {
	for _, key := range []string{
		"", "\x00", "\x00AUD", "\x00AUDA", "\x00AUD9x", "\x00AUD;x", "\x00AUDA;", "\x00AUDB:", "\x00AUDAA:", "\x00AUD\x00:",
		"AUD:x", "AUDA:x", "\x00aud:x", "\x00auda:x", "\x00\x00AUD:x", "\x01AUD:x",
	} {
		k := []byte(key)
		mustPut(t, kv, k, []byte("one"))
		mustPut(t, kv, k, []byte("two"))
		wantValue(t, kv, k, []byte("two"))
		var b kvshim.Batch
		b.Put(k, []byte("three"))
		b.Delete(k)
		mustApply(t, kv, &b)
		wantAbsent(t, kv, k)
		mustPut(t, kv, k, nil)
		if err := kv.Delete(bg, k); err != nil {
			t.Errorf("Delete(%q): %v", key, err)
		}
	}
	wantPairs(t, kv, nil)
}
