package wal

import (
	"errors"
	"fmt"
)

var (
	// ErrFailed is wrapped by every error of a journal that has been poisoned: a write or a sync
	// failed, or its files were taken away. What was acknowledged before is safe; only opening the
	// journal anew tells what else is there.
	ErrFailed = errors.New("journal failed")
	// ErrClosed comes back from a journal or a reader that was closed.
	ErrClosed = errors.New("journal is closed")
	// ErrLocked means that another writer has the journal; errors.As with *LockedError tells which.
	ErrLocked = errors.New("locked by another writer")
	// ErrGap means that records are missing which the caller does not have: the log begins above
	// the cursor, or a segment between the cursor and the end is gone.
	ErrGap = errors.New("journal has a gap")
	// ErrAhead means that the log ends before the cursor: it is not the log, or not all of the log,
	// that the caller's data came from.
	ErrAhead = errors.New("journal ends before the cursor")
	// ErrTrimmed means that a reader asked for records that RemoveBefore took away; errors.As with
	// *TrimmedError tells the first offset that is left.
	ErrTrimmed = errors.New("journal was trimmed")
	// ErrRewound means that a reader stands behind the end of a log that no writer has open: what it
	// read last was never acknowledged, and recovery has cut it.
	ErrRewound = errors.New("journal ends before the reader's offset")
	// ErrForeign means that a segment has another identity than the caller: it belongs to another journal;
	// errors.As with *ForeignError tells which one.
	ErrForeign = errors.New("the segment belongs to another journal")
	// ErrPayload means that a payload cannot be stored: empty, too long, or beginning with a byte
	// below 0x20.
	ErrPayload = errors.New("payload refused")
)

// LockedError says who holds the lock. PID is 0 when the holder has not written it (yet).
type LockedError struct {
	Path string
	PID  int
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s: %v", e.Path, ErrLocked)
	}
	return fmt.Sprintf("%s: %v, pid %d", e.Path, ErrLocked, e.PID)
}

func (e *LockedError) Unwrap() error { return ErrLocked }

// TrimmedError says where the log begins now.
type TrimmedError struct {
	Wanted, First Offset
}

func (e *TrimmedError) Error() string {
	return fmt.Sprintf("offset %d: %v, the first offset left is %d", e.Wanted, ErrTrimmed, e.First)
}

func (e *TrimmedError) Unwrap() error { return ErrTrimmed }

// CorruptError says that bytes which were once acknowledged are not what was written.
type CorruptError struct {
	Segment string // the file's path
	Offset  Offset // global offset of the first byte that does not fit
	Reason  string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s: damaged at offset %d: %s", e.Segment, e.Offset, e.Reason)
}
