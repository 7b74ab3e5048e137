package kvtest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/auditsql/auditsql/kvshim"
)

// testWritesAfterScan changes what the scan has already passed, from inside its loop: none of it
// may be seen, and nothing that is still ahead may be lost or repeated by it.
func testWritesAfterScan(t *testing.T, kv kvshim.Store) {
	for _, c := range []struct {
		name  string
		write func(t *testing.T, at []byte, reverse bool)
	}{
		{"delete the key itself", func(t *testing.T, at []byte, _ bool) {
			if err := kv.Delete(bg, at); err != nil {
				t.Fatal(err)
			}
		}},
		{"put the key itself", func(t *testing.T, at []byte, _ bool) {
			mustPut(t, kv, at, []byte("again"))
		}},
		{"put a key that was just passed", func(t *testing.T, at []byte, reverse bool) {
			if reverse {
				mustPut(t, kv, append(bytes.Clone(at), 0), []byte("behind"))
			} else {
				mustPut(t, kv, append(bytes.Clone(at[:len(at)-1]), at[len(at)-1]-1, 0xff), []byte("behind"))
			}
		}},
		{"put and delete a key passed long ago", func(t *testing.T, at []byte, reverse bool) {
			far := []byte("n")
			if reverse {
				far = []byte("n\xff")
			}
			mustPut(t, kv, far, []byte("behind"))
			if err := kv.Delete(bg, far); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		for _, reverse := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reverse %v", c.name, reverse), func(t *testing.T) {
				clearPrefix(t, kv, []byte("n"))
				want := expect(fillNumbered(t, kv, 260), nil, kvshim.ScanOptions{Reverse: reverse})
				var got []kvshim.Pair
				for p, err := range kv.Scan(bg, []byte("n"), kvshim.ScanOptions{Reverse: reverse}) {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, p)
					c.write(t, p.Key, reverse)
				}
				if diff := comparePairs(got, want); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// testWritesBeforeScan changes what the scan has not reached. Whether it sees that is left open, but
// not the rest: order, no key twice, every key that was there all along, values that the key had.
func testWritesBeforeScan(t *testing.T, kv kvshim.Store) {
	const count = 600
	for _, reverse := range []bool{false, true} {
		clearPrefix(t, kv, []byte("n"))
		fillNumbered(t, kv, count)
		visited := make(map[int]bool)
		var last []byte
		for p, err := range kv.Scan(bg, []byte("n"), kvshim.ScanOptions{Reverse: reverse}) {
			if err != nil {
				t.Fatal(err)
			}
			if last != nil && (bytes.Compare(last, p.Key) < 0) == reverse || bytes.Equal(last, p.Key) {
				t.Fatalf("reverse %v: %q follows %q", reverse, p.Key, last)
			}
			last = p.Key

			var i int
			if len(p.Key) != len(numbered(0)) {
				if string(p.Value) != "new" {
					t.Errorf("reverse %v: %q has the value %q", reverse, p.Key, p.Value)
				}
				continue
			}
			if _, err := fmt.Sscanf(string(p.Key), "n%d", &i); err != nil {
				t.Fatalf("unexpected key %q", p.Key)
			}
			visited[i] = true
			if v := string(p.Value); v != fmt.Sprintf("value %d", i) && v != fmt.Sprintf("changed %d", i) {
				t.Errorf("reverse %v: %q has the value %q, which it never had", reverse, p.Key, v)
			}

			// Numbers divisible by 3 are deleted ahead of the scan, those that leave 1 get another
			// value, those that leave 2 a new neighbour.
			ahead := i + 10
			if reverse {
				ahead = i - 10
			}
			if ahead < 0 || ahead >= count {
				continue
			}
			switch ahead % 3 {
			case 0:
				if err := kv.Delete(bg, numbered(ahead)); err != nil {
					t.Fatal(err)
				}
			case 1:
				mustPut(t, kv, numbered(ahead), fmt.Appendf(nil, "changed %d", ahead))
			case 2:
				mustPut(t, kv, append(numbered(ahead), '+'), []byte("new"))
			}
		}
		for i := range count {
			if i%3 != 0 && !visited[i] {
				t.Errorf("reverse %v: %q was there all along and not yielded", reverse, numbered(i))
			}
		}
	}
}

// clearPrefix deletes every key with the prefix, from inside a scan of them.
func clearPrefix(t *testing.T, kv kvshim.Store, prefix []byte) {
	t.Helper()
	for p, err := range kv.Scan(bg, prefix, kvshim.ScanOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := kv.Delete(bg, p.Key); err != nil {
			t.Fatal(err)
		}
	}
	if left := collect(t, kv, prefix, kvshim.ScanOptions{}); len(left) != 0 {
		t.Fatalf("%d keys are left after each one was deleted", len(left))
	}
}
