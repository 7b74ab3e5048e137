//go:build unix

package main

import "golang.org/x/sys/unix"

// openFiles is how many files this process may have open at the same time.
func openFiles() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return usualFiles
	}
	return uint64(limit.Cur)
}
