package tui_test

import (
	"testing"

	"github.com/auditsql/auditsql/internal/tui"
)

func TestSizes(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int64{
		"4096": 4096, "64MiB": 64 << 20, "1GiB": 1 << 30, "64 mib": 64 << 20, "10MB": 10e6, "1.5KiB": 1536, "0": 0,
	} {
		var f tui.Size
		if err := f.Set(in); err != nil || f.Bytes != want {
			t.Errorf("%q: got %d, %v, want %d", in, f.Bytes, err, want)
		}
	}
	for _, in := range []string{"", "-1", "MiB", "64Mibble", "1e400", "9EiB", "99EiB"} {
		var f tui.Size
		if err := f.Set(in); err == nil {
			t.Errorf("%q was read as %d", in, f.Bytes)
		}
	}
}

func TestSizesForPeople(t *testing.T) {
	t.Parallel()
	for in, want := range map[int64]string{0: "0 B", 1023: "1023 B", 64 << 20: "64 MiB (67,108,864 bytes)"} {
		if got := tui.Bytes(in); got != want {
			t.Errorf("%d: got %s, want %s", in, got, want)
		}
	}
}
