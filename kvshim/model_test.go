package kvshim_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/kvshim"
	"pgregory.net/rapid"
)

// Keys are drawn from few bytes and few lengths, so that they meet, nest and fall into the audit
// families often.
var (
	genFree = rapid.SliceOfN(rapid.SampledFrom([]byte{0x00, 0x01, ':', 'A', 'k', 0xfe, 0xff}), 0, 4)
	genKey  = rapid.Custom(func(t *rapid.T) []byte {
		family := rapid.SampledFrom([]string{"", "", "", "\x00AUD:", "\x00AUDA:", "\x00AUD", "\x00AUDB:", "\xff\xff"}).Draw(t, "family")
		return append([]byte(family), genFree.Draw(t, "rest")...)
	})
	genBound = rapid.OneOf(rapid.Just([]byte(nil)), genKey)
	genValue = rapid.OneOf(
		rapid.SampledFrom([][]byte{nil, {}, []byte("{}"), {0x00}}),
		rapid.SliceOfN(rapid.Byte(), 0, 40),
	)
)

// pair holds the SQLite store against the one in memory, which is a few dozen lines and easy to trust.
type pair struct {
	sqlite kvshim.Store
	memory kvshim.Store
}

func (p *pair) put(t *rapid.T) {
	key, value := genKey.Draw(t, "key"), genValue.Draw(t, "value")
	p.same(t, p.sqlite.Put(bg, key, value), p.memory.Put(bg, key, value))
}

func (p *pair) delete(t *rapid.T) {
	key := genKey.Draw(t, "key")
	p.same(t, p.sqlite.Delete(bg, key), p.memory.Delete(bg, key))
}

func (p *pair) apply(t *rapid.T) {
	var b kvshim.Batch
	for range rapid.IntRange(0, 12).Draw(t, "writes") {
		if key := genKey.Draw(t, "key"); rapid.Bool().Draw(t, "put") {
			b.Put(key, genValue.Draw(t, "value"))
		} else {
			b.Delete(key)
		}
	}
	p.same(t, p.sqlite.Apply(bg, &b), p.memory.Apply(bg, &b))
}

func (p *pair) get(t *rapid.T) {
	key := genKey.Draw(t, "key")
	got, err := p.sqlite.Get(bg, key)
	want, wantErr := p.memory.Get(bg, key)
	p.same(t, err, wantErr)
	if !bytes.Equal(got, want) || (got == nil) != (want == nil) {
		t.Fatalf("Get(%q) = %q, in memory %q", key, got, want)
	}
}

func (p *pair) scan(t *rapid.T) {
	prefix := genBound.Draw(t, "prefix")
	p.compare(t, prefix, kvshim.ScanOptions{
		Start:   genBound.Draw(t, "start"),
		End:     genBound.Draw(t, "end"),
		Limit:   rapid.IntRange(0, 5).Draw(t, "limit"),
		Reverse: rapid.Bool().Draw(t, "reverse"),
	})
}

// compare scans both stores in step.
func (p *pair) compare(t *rapid.T, prefix []byte, o kvshim.ScanOptions) {
	var want []kvshim.Pair
	for m, err := range p.memory.Scan(bg, prefix, o) {
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, m)
	}
	n := 0
	for s, err := range p.sqlite.Scan(bg, prefix, o) {
		if err != nil {
			t.Fatal(err)
		}
		if n >= len(want) || !bytes.Equal(s.Key, want[n].Key) || !bytes.Equal(s.Value, want[n].Value) {
			t.Fatalf("Scan(%q, %+v): pair %d is %q: %q, in memory: %q", prefix, o, n, s.Key, s.Value, want)
		}
		n++
	}
	if n != len(want) {
		t.Fatalf("Scan(%q, %+v): %d pairs, in memory %d", prefix, o, n, len(want))
	}
}

// same checks that both stores failed for the same reason, or neither.
func (p *pair) same(t *rapid.T, sqlite, memory error) {
	for _, want := range []error{nil, kvshim.ErrNotFound, kvshim.ErrWriteOnce} {
		if errors.Is(memory, want) {
			if !errors.Is(sqlite, want) {
				t.Fatalf("SQLite: %v, memory: %v", sqlite, memory)
			}
			return
		}
	}
	t.Fatalf("memory: %v", memory)
}

// TestSQLiteIsLikeMemory lets random calls run on both stores, which must answer alike.
func TestSQLiteIsLikeMemory(t *testing.T) {
	t.Parallel()
	fresh := freshSQLite(t)
	rapid.Check(t, func(rt *rapid.T) {
		sqlite := fresh(rt)
		defer sqlite.Close()
		p := &pair{sqlite: sqlite, memory: kvshim.NewMemory()}
		rt.Repeat(map[string]func(*rapid.T){
			"put":    p.put,
			"delete": p.delete,
			"apply":  p.apply,
			"get":    p.get,
			"scan":   p.scan,
			"":       func(t *rapid.T) { p.compare(t, nil, kvshim.ScanOptions{}) },
		})
	})
}

// freshSQLite returns what makes an empty store for each run of a property, since audit keys cannot be cleared
// away. Each is a copy of one empty database: most of a run's time would go into making it.
func freshSQLite(t *testing.T) func(*rapid.T) *kvshim.SQLite {
	path := filepath.Join(t.TempDir(), "empty.db")
	made, err := kvshim.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	empty, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return func(rt *rapid.T) *kvshim.SQLite {
		path := filepath.Join(t.TempDir(), "kv.db")
		if err := os.WriteFile(path, empty, 0o600); err != nil {
			rt.Fatal(err)
		}
		sqlite, err := kvshim.Open(path)
		if err != nil {
			rt.Fatal(err)
		}
		return sqlite
	}
}
