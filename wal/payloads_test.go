package wal_test

import (
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/wal"
)

func TestPayloadsInAnyOrder(t *testing.T) {
	j, _ := open(t, t.TempDir(), wal.Options{SegmentBytes: 1000})
	all := payloads(20, 300)
	offs := appendAll(t, j, all[:15])
	p := j.Payloads()
	defer p.Close()
	read := func(i int) {
		t.Helper()
		if got, err := p.Append([]byte("before "), offs[i], len(all[i])); err != nil || string(got) != "before "+all[i] {
			t.Fatalf("record %d: %d bytes, %v", i, len(got), err)
		}
	}
	for i := range offs {
		read(i * 7 % len(offs))
	}
	// The segment that was the last one is full now, and others came after it.
	offs = append(offs, appendAll(t, j, all[15:])...)
	for i := range offs {
		read(len(offs) - 1 - i)
	}
	for _, off := range []wal.Offset{j.End(), math.MaxUint64} {
		if _, err := p.Append(nil, off, 1); err == nil || !strings.Contains(err.Error(), "the journal ends at") {
			t.Errorf("at %d: %v", off, err)
		}
	}
	if _, err := p.Append(nil, offs[0], 1<<20); !errors.Is(err, io.EOF) {
		t.Errorf("more than the file has: %v", err)
	}
	if err := j.RemoveBefore(offs[10]); err != nil {
		t.Fatal(err)
	}
	fresh := j.Payloads()
	defer fresh.Close()
	if _, err := fresh.Append(nil, offs[0], len(all[0])); !errors.As(err, new(*wal.TrimmedError)) {
		t.Errorf("a record that was removed: %v", err)
	}
	closeJournal(t, j)
}
