package wal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/wal/internal/segment"
)

const (
	segmentSuffix = ".wal"
	partSuffix    = ".part" // after a segment's name, while its content is being written
	lockName      = "LOCK"
	quarantineDir = "quarantine"
)

// Segment is a file of the journal.
type Segment struct {
	Base   Offset // global offset of its first byte; the file is named after it
	Size   int64  // the file's length in bytes; the last one's may include zeros written ahead
	Path   string
	Sealed bool // a later segment exists: this one holds records to its last byte and never changes again
}

// Segments lists the segments of the journal in dir, oldest first, without reading them.
func Segments(dir string, o Options) ([]Segment, error) {
	segs, err := sizedSegments(o.withDefaults().FS, dir, 0)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	return segs, nil
}

// sizedSegments lists the segments in dir. It does not open those that lie wholly below from: their sizes follow from
// the names.
//
// A writer that trims may remove segments meanwhile, the oldest first. So the newest is opened first, and when one is
// missing, the list begins after it.
func sizedSegments(fsys FS, dir string, from Offset) ([]Segment, error) {
	segs, err := listSegments(fsys, dir)
	if err != nil {
		return nil, err
	}
	for i := len(segs) - 1; i >= 0; i-- {
		if segs[i].Sealed && segs[i+1].Base <= from {
			segs[i].Size = int64(segs[i+1].Base - segs[i].Base)
			continue
		}
		segs[i].Size, err = fileSize(fsys, segs[i].Path)
		switch {
		case err == nil:
		case !trimmed(fsys, dir, segs[i], err):
			return nil, err
		case i == len(segs)-1:
			return sizedSegments(fsys, dir, from) // all that were listed are gone
		default:
			return segs[i+1:], nil
		}
	}
	return segs, nil
}

func fileSize(fsys FS, name string) (int64, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Size()
}

// trimmed reports whether a segment that was listed could not be opened because the log now begins after it.
func trimmed(fsys FS, dir string, seg Segment, err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	segs, err := listSegments(fsys, dir)
	return err == nil && len(segs) > 0 && segs[0].Base > seg.Base
}

func segmentName(base Offset) string {
	return fmt.Sprintf("%016x%s", uint64(base), segmentSuffix)
}

// parseSegmentName accepts only what segmentName makes, so that no two names mean one base.
func parseSegmentName(name string) (Offset, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 16 || strings.ToLower(digits) != digits {
		return 0, false
	}
	base, err := strconv.ParseUint(digits, 16, 64)
	return Offset(base), err == nil
}

// listSegments returns the segments in dir by their bases, without their sizes.
func listSegments(fsys FS, dir string) ([]Segment, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	var segs []Segment
	for _, name := range names {
		if base, ok := parseSegmentName(name); ok {
			segs = append(segs, Segment{Base: base, Path: filepath.Join(dir, name)})
		}
	}
	slices.SortFunc(segs, func(a, b Segment) int { return cmp.Compare(a.Base, b.Base) })
	for i := range len(segs) - 1 {
		segs[i].Sealed = true
	}
	return segs, nil
}

// segmentOf returns the index of the segment that off lies in, or would lie in if it were there: the
// last one whose base is not above it. It is -1 when all begin above it.
func segmentOf(segs []Segment, off Offset) int {
	i, found := slices.BinarySearchFunc(segs, off, func(s Segment, off Offset) int { return cmp.Compare(s.Base, off) })
	if found {
		return i
	}
	return i - 1
}

// baseAfter returns where the segment after segs[i] begins, or 0 when segs[i] is the last one.
func baseAfter(segs []Segment, i int) Offset {
	if i+1 < len(segs) {
		return segs[i+1].Base
	}
	return 0
}

// scan returns a scanner of an open segment that begins at base. It stands at the offset at.
func scan(f File, base, at Offset) (*segment.Scanner, error) {
	return segment.NewScanner(f, uint64(base), uint64(at))
}
