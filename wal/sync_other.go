//go:build !linux

package wal

import "os"

// syncFile is fsync. On macOS it is F_FULLFSYNC, since fsync alone leaves data in the drive's cache there.
func syncFile(f *os.File) error { return f.Sync() }
