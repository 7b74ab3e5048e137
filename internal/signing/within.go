package signing

import (
	"os"

	"github.com/auditsql/auditsql/internal/durable"
)

// Within reports whether a file lies, or would lie, in the folder dir or below it, links resolved.
func Within(file, dir string) bool {
	store, err := os.Stat(dir)
	if err != nil {
		return false
	}
	for _, folder := range durable.FoldersOf(file) {
		if os.SameFile(folder, store) {
			return true
		}
	}
	return false
}
