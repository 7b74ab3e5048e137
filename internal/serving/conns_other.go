//go:build !unix

package serving

// openFiles is how many files this process may have open at the same time.
func openFiles() uint64 { return 2 * mostConns }
