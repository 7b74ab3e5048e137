package tui

import (
	"fmt"
	"math"

	"github.com/dustin/go-humanize"
)

// A Size is a number of bytes that a flag takes: 4096, 64MiB, 1GiB, 10MB. It is a pflag.Value.
type Size struct{ Bytes int64 }

// String is the number of bytes, and nothing for 0.
func (f *Size) String() string {
	if f.Bytes == 0 {
		return ""
	}
	return fmt.Sprint(f.Bytes)
}

// Type is the word that help shows.
func (f *Size) Type() string { return "size" }

// Set reads a size.
func (f *Size) Set(s string) error {
	n, err := humanize.ParseBytes(s)
	if err != nil || n > math.MaxInt64 {
		return fmt.Errorf("no size: want bytes as in 4096, 64MiB or 1GiB")
	}
	f.Bytes = int64(n)
	return nil
}

// Counted is a number with its noun: "1 record", "2 records".
func Counted[T ~int | ~int64 | ~uint64](n T, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Bytes writes a size for people, with the exact number after the short form where that is not exact.
func Bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%s (%s bytes)", humanize.IBytes(uint64(n)), humanize.Comma(n))
}
