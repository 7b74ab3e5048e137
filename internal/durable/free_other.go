//go:build !(linux || darwin || freebsd)

package durable

// Free returns how many bytes this user can still write to the file system of a folder. ok is false where that is not
// known.
func Free(string) (bytes uint64, ok bool) { return 0, false }
