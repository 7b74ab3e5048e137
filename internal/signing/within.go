package signing

import (
	"os"
	"path/filepath"
)

// Within reports whether a file lies in the folder dir or below it, links resolved.
func Within(file, dir string) bool {
	store, err := os.Stat(dir)
	if err != nil {
		return false
	}
	at := filepath.Dir(file)
	if resolved, err := filepath.EvalSymlinks(file); err == nil {
		at = filepath.Dir(resolved)
	} else if resolved, err := filepath.EvalSymlinks(at); err == nil {
		at = resolved
	}
	for {
		if folder, err := os.Stat(at); err == nil && os.SameFile(folder, store) {
			return true
		}
		above := filepath.Dir(at)
		if above == at {
			return false
		}
		at = above
	}
}
