package wal

import (
	"fmt"

	"github.com/auditsql/auditsql/wal/internal/segment"
)

// Read returns the record at off, which must be an offset that an append to this journal returned. So a
// caller need not keep what it has appended to find it again. At SyncInterval the record may not be synced
// yet: it is read back as it was written.
//
// The payload is the caller's. The errors are *TrimmedError when RemoveBefore has removed the record,
// *CorruptError when there is no intact record at off, and those of the file system. Read works also on a
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
	found, reason, err := segment.ReadRecord(f, uint64(segs[i].Base), uint64(off))
	switch {
	case err != nil:
		return rec, err
	case reason != "":
		return rec, &CorruptError{Segment: segs[i].Path, Offset: off, Reason: reason}
	}
	return recordOf(found), nil
}
