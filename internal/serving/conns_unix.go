//go:build unix

package serving

import "syscall"

// openFiles is how many files this process may have open at the same time.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return usualFiles
	}
	return uint64(limit.Cur)
}
