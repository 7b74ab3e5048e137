package wal

import (
	"errors"
	"fmt"
	"io"
)

// readAtOnce is how much Read takes from the file in its first read: most records fit.
const readAtOnce = 4 << 10

// Read returns the record at off, which must be an offset that an append to this journal returned. So a
// caller need not keep what it has appended to find it again. At SyncInterval the record may not be synced
// yet: it is read back as it was written.
//
// The payload is the caller's. The errors are *TrimmedError when RemoveBefore has taken the record away,
// *CorruptError when what lies there is no intact record, and those of the file system. It works also on a
// journal that has failed. Each call opens the segment's file anew.
func (j *Journal) Read(off Offset) (Record, error) {
	rec, err := j.readAt(off)
	if err != nil {
		return Record{}, fmt.Errorf("read journal at %d: %w", off, err)
	}
	return rec, nil
}

func (j *Journal) readAt(off Offset) (rec Record, err error) {
	if end := j.End(); off >= end {
		return rec, fmt.Errorf("the journal ends at %d", end)
	}
	segs := j.Segments()
	i := segmentOf(segs, off)
	if i < 0 {
		return rec, &TrimmedError{Wanted: off, First: segs[0].Base}
	}
	f, err := j.fs.Open(segs[i].Path)
	if err != nil {
		return rec, err
	}
	defer f.Close()
	pos := int64(off - segs[i].Base)
	b := make([]byte, readAtOnce)
	n, err := f.ReadAt(b, pos)
	if err != nil && !errors.Is(err, io.EOF) {
		return rec, err
	}
	b = b[:n]
	if h, ok := decodeHeader(b); ok && n < headerSize+int(h.length) {
		// A length that the file does not have must not be allocated.
		size, err := f.Size()
		if err != nil {
			return rec, err
		}
		if whole := headerSize + int64(h.length); whole <= size-pos {
			b = append(b, make([]byte, whole-int64(n))...)
			if _, err := f.ReadAt(b[n:], pos+int64(n)); err != nil && !errors.Is(err, io.EOF) {
				return rec, err
			}
		}
	}
	size, reason := verifyRecord(b, off)
	if reason != "" {
		return rec, &CorruptError{Segment: segs[i].Path, Offset: off, Reason: reason}
	}
	h, _ := decodeHeader(b)
	return Record{Offset: off, Next: off + Offset(size), Hash: h.hash, Payload: b[headerSize:size:size]}, nil
}
