package wal

import (
	"errors"
	"fmt"
)

var (
	// ErrFailed is wrapped by every error of a journal that takes no more appends: a write or a sync
	// failed, or its files were deleted or replaced. What was acknowledged before is safe. To find out
	// what else is there, open the journal again.
	ErrFailed = errors.New("journal failed")
	// ErrClosed is returned by a journal or a reader that was closed.
	ErrClosed = errors.New("journal is closed")
	// ErrLocked means that another writer has the journal; errors.As with *LockedError says which.
	ErrLocked = errors.New("locked by another writer")
	// ErrGap means that the log lacks records that the caller does not have either: the log begins after
	// the cursor, or a segment between the cursor and the end is missing.
	ErrGap = errors.New("journal has a gap")
	// ErrAhead means that the log ends before the cursor: it is not the log that the caller's data came
	// from, or not all of it.
	ErrAhead = errors.New("journal ends before the cursor")
	// ErrTrimmed means that a reader asked for records that RemoveBefore has removed; errors.As with
	// *TrimmedError tells the first offset that is left.
	ErrTrimmed = errors.New("journal was trimmed")
	// ErrRewound means that a reader's offset lies after the end of a log that no writer has open. What it
	// read last was never acknowledged, and recovery has cut it; or the offset is another log's.
	ErrRewound = errors.New("journal ends before the reader's offset")
	// ErrForeign means that a segment has another identity than the caller: it belongs to another journal;
	// errors.As with *ForeignError says which one.
	ErrForeign = errors.New("the segment belongs to another journal")
	// ErrPayload means that a payload cannot be stored: empty, too long, or beginning with a byte
	// below 0x20.
	ErrPayload = errors.New("payload refused")
)

// LockedError says who holds the lock. It wraps ErrLocked. PID is 0 when the holder has not written it (yet).
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

// TrimmedError says where the log begins now. It wraps ErrTrimmed.
type TrimmedError struct {
	Wanted, First Offset
}

func (e *TrimmedError) Error() string {
	return fmt.Sprintf("offset %d: %v, the first offset left is %d", e.Wanted, ErrTrimmed, e.First)
}

func (e *TrimmedError) Unwrap() error { return ErrTrimmed }

// CorruptError says that bytes are not what was written, though they were acknowledged once.
type CorruptError struct {
	Segment string // the file's path
	Offset  Offset // global offset of the first record that is not intact
	Reason  string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s: damaged at offset %d: %s", e.Segment, e.Offset, e.Reason)
}
