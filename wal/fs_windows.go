package wal

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockRange is the one byte that is locked. Locks are mandatory on Windows, so it lies far after the
// content: other processes can still read who the owner is.
var lockRange = windows.Overlapped{OffsetHigh: 1 << 30}

func lockFile(f *os.File) error {
	err := lockWith(f, windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrLocked
	}
	return err
}

func probeLock(f *os.File) (bool, error) {
	err := lockWith(f, windows.LOCKFILE_FAIL_IMMEDIATELY)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	at := lockRange
	return false, windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, &at)
}

func lockWith(f *os.File, flags uint32) error {
	at := lockRange
	return windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &at)
}
