package main

import (
	"fmt"
	"math"

	"github.com/dustin/go-humanize"
)

// A sizeFlag is a number of bytes: 4096, 64MiB, 1GiB, 10MB.
type sizeFlag struct{ bytes int64 }

func (f *sizeFlag) String() string {
	if f.bytes == 0 {
		return ""
	}
	return fmt.Sprint(f.bytes)
}

func (f *sizeFlag) Type() string { return "size" }

func (f *sizeFlag) Set(s string) error {
	n, err := humanize.ParseBytes(s)
	if err != nil || n > math.MaxInt64 {
		return fmt.Errorf("no size: want bytes as in 4096, 64MiB or 1GiB")
	}
	f.bytes = int64(n)
	return nil
}

// inBytes writes a size for people, and exactly besides where the short form is not exact.
func inBytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%s (%s bytes)", humanize.IBytes(uint64(n)), humanize.Comma(n))
}
