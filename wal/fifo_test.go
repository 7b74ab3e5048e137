//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package wal_test

import "syscall"

// Opening a pipe waits for a process that writes to it.
func init() {
	notFiles["a pipe"] = func(name string) error { return syscall.Mkfifo(name, 0o600) }
}
