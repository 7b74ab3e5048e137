//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package wal_test

import "syscall"

// To open a pipe is to wait for the one who writes to it.
func init() {
	notFiles["a pipe"] = func(name string) error { return syscall.Mkfifo(name, 0o600) }
}
