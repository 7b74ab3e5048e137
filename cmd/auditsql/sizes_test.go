package main

import "testing"

func TestSizes(t *testing.T) {
	for in, want := range map[string]int64{
		"4096": 4096, "64MiB": 64 << 20, "1GiB": 1 << 30, "64 mib": 64 << 20, "10MB": 10e6, "1.5KiB": 1536, "0": 0,
	} {
		var f sizeFlag
		if err := f.Set(in); err != nil || f.bytes != want {
			t.Errorf("%q: got %d, %v, want %d", in, f.bytes, err, want)
		}
	}
	for _, in := range []string{"", "-1", "MiB", "64Mibble", "1e400", "9EiB", "99EiB"} {
		var f sizeFlag
		if err := f.Set(in); err == nil {
			t.Errorf("%q was read as %d", in, f.bytes)
		}
	}
}

func TestSizesForPeople(t *testing.T) {
	for in, want := range map[int64]string{0: "0 B", 1023: "1023 B", 64 << 20: "64 MiB (67,108,864 bytes)"} {
		if got := inBytes(in); got != want {
			t.Errorf("%d: got %s, want %s", in, got, want)
		}
	}
}
