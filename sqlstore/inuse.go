package sqlstore

import (
	"os"
	"slices"
	"sync"
)

// inUse knows the database files that this process has open.
//
// SQLite's POSIX locks belong to the process, and closing any descriptor of a file drops them all. SQLite
// takes care of that among its own connections, except for those that take no locks (accessImmutable). So
// such a connection is only made to a file that is not otherwise open here, with the mutex held until it is
// closed again.
var inUse struct {
	sync.Mutex
	files []os.FileInfo
}

// enter notes that the database at path is about to be opened. leave takes that back.
func enter(path string) (leave func(), err error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	inUse.Lock()
	defer inUse.Unlock()
	inUse.files = append(inUse.files, fi)
	return sync.OnceFunc(func() {
		inUse.Lock()
		defer inUse.Unlock()
		i := slices.IndexFunc(inUse.files, func(f os.FileInfo) bool { return f == fi })
		inUse.files = slices.Delete(inUse.files, i, i+1)
	}), nil
}

// alone calls f if this process does not have the database at path open, and keeps others from opening it
// meanwhile. It tells whether it did.
func alone(path string, f func()) bool {
	inUse.Lock()
	defer inUse.Unlock()
	fi, err := os.Stat(path)
	if err != nil || slices.ContainsFunc(inUse.files, func(g os.FileInfo) bool { return os.SameFile(fi, g) }) {
		return false
	}
	f()
	return true
}
