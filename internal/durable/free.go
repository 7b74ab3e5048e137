//go:build linux || darwin || freebsd

package durable

import "syscall"

// Free returns how many bytes this user can still write to the file system of a folder. ok is false where that is not
// known.
func Free(dir string) (bytes uint64, ok bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return uint64(st.Bavail) * uint64(st.Bsize), true
}
