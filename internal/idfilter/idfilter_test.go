package idfilter_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/internal/idfilter"
	"github.com/auditsql/auditsql/internal/sequential"
)

func id(i int) (id [32]byte) {
	binary.BigEndian.PutUint64(id[24:], uint64(i))
	return id
}

// ids yields the ids from one number up to another, and then an error, if there is one.
func ids(from, to int, err error) iter.Seq2[[32]byte, error] {
	return func(yield func([32]byte, error) bool) {
		for i := from; i < to; i++ {
			if !yield(id(i), nil) {
				return
			}
		}
		if err != nil {
			yield([32]byte{}, err)
		}
	}
}

// An id that the filter does not know is not looked up in SQLite, so another record under it would be stored: the
// filter must know every one. A false positive costs a lookup. The ids are consecutive numbers and no hashes: whoever
// puts records chooses them.
func TestTheFilterKnowsEveryIDAndFewOthers(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	const n = 1_200_000 // three layers
	f := idfilter.New()
	if err := f.Fill(ids(0, 0, nil)); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		f.Add(id(i))
		if i%4000 == 0 && !f.MayHave(id(i/2)) {
			t.Fatalf("of %d ids, number %d is not known", i, i/2)
		}
	}
	wrong := 0
	for i := range n {
		if !f.MayHave(id(i)) {
			t.Fatalf("number %d is not known", i)
		}
		if f.MayHave(id(n + i)) {
			wrong++
		}
	}
	// As the description of Filter says: 0.3 % in one layer, 1.4 % at two million.
	if rate := float64(wrong) / n; rate > 0.016 {
		t.Errorf("%.2f %% of the ids that were not added are taken for known", 100*rate)
	}
}

func TestAFilterThatIsNotCompleteKnowsEverything(t *testing.T) {
	t.Parallel()
	f := idfilter.New()
	f.Add(id(1))
	if broken := errors.New("cannot read"); !errors.Is(f.Fill(ids(0, 5000, broken)), broken) {
		t.Fatal("the error of the ids is lost")
	}
	if f.Complete() || !f.MayHave(id(9_999)) {
		t.Fatal("the filter denies an id before all ids were added")
	}
	if err := f.Fill(ids(0, 5000, nil)); err != nil || !f.Complete() || f.Loaded() {
		t.Fatal(err)
	}
	if !f.MayHave(id(1)) || f.MayHave(id(9_999)) {
		t.Fatal("the complete filter answers wrongly")
	}
}

// Whatever becomes of the file, no id that was added is denied, and a file serves one opening.
func TestTheFileOfAFilter(t *testing.T) {
	t.Parallel()
	state := idfilter.State{StoreID: [32]byte{'a'}, Cursor: 100, Entries: 50, Newest: id(49)}
	save := func(t *testing.T, path string, n int, s idfilter.State) {
		t.Helper()
		f := idfilter.New()
		if err := errors.Join(f.Fill(ids(0, n, nil)), f.Save(path, "", s)); err != nil {
			t.Fatal(err)
		}
	}
	rewrite := func(change func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, change(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	other := func(change func(*idfilter.State)) func(*testing.T, string) {
		s := state
		change(&s)
		return func(t *testing.T, path string) { save(t, path, 10, s) }
	}
	for name, c := range map[string]struct {
		change func(*testing.T, string)
		loaded bool
		err    bool // Load says why not; else Open has found that the file is of no use
	}{
		"unchanged": {func(*testing.T, string) {}, true, false},
		"missing": {func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, false, false},
		"a link": {func(t *testing.T, path string) {
			if err := errors.Join(os.Rename(path, path+"2"), os.Symlink(path+"2", path)); err != nil {
				t.Fatal(err)
			}
		}, false, false},
		"empty":          {rewrite(func([]byte) []byte { return nil }), false, false},
		"cut":            {rewrite(func(b []byte) []byte { return b[:100_000] }), false, true},
		"longer":         {rewrite(func(b []byte) []byte { return append(b, 0) }), false, true},
		"a flipped bit":  {rewrite(func(b []byte) []byte { b[len(b)/2] ^= 4; return b }), false, true},
		"zeros":          {rewrite(func(b []byte) []byte { clear(b[200:]); return b }), false, true},
		"other magic":    {rewrite(func(b []byte) []byte { b[0] ^= 1; return b }), false, false},
		"many layers":    {rewrite(func(b []byte) []byte { b[8+32+8+8+32+32] = 200; return b }), false, false},
		"another store":  {other(func(s *idfilter.State) { s.StoreID[0] = 'b' }), false, false},
		"another cursor": {other(func(s *idfilter.State) { s.Cursor++ }), false, false},
		"fewer entries":  {other(func(s *idfilter.State) { s.Entries-- }), false, false},
		"another newest": {other(func(s *idfilter.State) { s.Newest[3]++ }), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "ids.filter")
			save(t, path, 50, state)
			c.change(t, path)
			f := idfilter.Open(path, state)
			f.Add(id(50)) // while the file is not read yet
			loaded, err := f.Load()
			if loaded != c.loaded || f.Complete() != c.loaded || f.Loaded() != c.loaded || (err != nil) != c.err {
				t.Fatalf("loaded: %v, complete: %v, %v", loaded, f.Complete(), err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the file outlives the opening that it is for: %v", err)
			}
			if !loaded {
				if !f.MayHave(id(9_999)) {
					t.Fatal("a filter without ids denies one")
				}
				if err := f.Fill(ids(0, 50, nil)); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 51 {
				if !f.MayHave(id(i)) {
					t.Fatalf("number %d is not known", i)
				}
			}
			if f.MayHave(id(9_999)) {
				t.Error("the filter knows everything")
			}
		})
	}
}

// BenchmarkFilter is the lookup that every put begins with, for an id that is new, and the entry of one that was applied.
func BenchmarkFilter(b *testing.B) {
	spread := func(no int) (id [32]byte) {
		binary.LittleEndian.PutUint64(id[:], uint64(no)*0x9e3779b97f4a7c15)
		binary.LittleEndian.PutUint64(id[24:], uint64(no))
		return id
	}
	for _, held := range []int{10_000, 1_000_000} {
		f := idfilter.New()
		f.Fill(func(yield func([32]byte, error) bool) {
			for i := range held {
				if !yield(spread(i), nil) {
					return
				}
			}
		})
		b.Run(fmt.Sprintf("new/held=%d", held), func(b *testing.B) {
			no, needless := held, 0
			for b.Loop() {
				if no++; f.MayHave(spread(no)) {
					needless++
				}
			}
			b.ReportMetric(100*float64(needless)/float64(b.N), "%needless")
		})
	}
	b.Run("add", func(b *testing.B) {
		f, no := idfilter.New(), 0
		for b.Loop() {
			no++
			f.Add(spread(no))
		}
	})
}
