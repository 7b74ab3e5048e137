//go:build !linux

package wal

import "os"

// syncFile is fsync, or F_FULLFSYNC on macOS, where fsync alone stops at the drive's cache.
func syncFile(f *os.File) error { return f.Sync() }
