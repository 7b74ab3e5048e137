package sqlstore

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/auditsql/auditsql/internal/durable"
)

// inUse knows the database files that this process has open.
//
// SQLite's POSIX locks belong to the process, and closing any descriptor of a file drops them all. SQLite
// takes care of that among its own connections, except for those that take no locks (accessImmutable). So
// such a connection is only made to a file that is not otherwise open here, with the mutex held until it is
// closed again. For the same reason a descriptor of our own (see heldFiles) is closed when the last user of the
// file in this process has gone, and not before.
var inUse struct {
	sync.Mutex
	files []*usage
}

// usage is one file of inUse.
type usage struct {
	info os.FileInfo
	n    int
	file *os.File // opened by the first who holds it
}

// enter notes that the database at path is about to be opened. leave takes that back.
func enter(path string) (leave func() error, err error) {
	_, leave, err = use(path, false)
	return leave, err
}

// use is enter. With hold it also returns a descriptor of the file, for reading, writing and syncing, which is
// valid until leave.
func use(path string, hold bool) (f *os.File, leave func() error, err error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	inUse.Lock()
	defer inUse.Unlock()
	i := slices.IndexFunc(inUse.files, func(u *usage) bool { return os.SameFile(u.info, fi) })
	u := &usage{info: fi}
	if i >= 0 {
		u = inUse.files[i]
	}
	if hold && u.file == nil {
		if u.file, err = openAs(path, fi); err != nil {
			return nil, nil, err
		}
	}
	if i < 0 {
		inUse.files = append(inUse.files, u)
	}
	u.n++
	return u.file, sync.OnceValue(u.leave), nil
}

// openAs opens the file at path, which was fi a moment ago. When it is another one by now, nobody in this process has
// it open: closing it again costs no locks.
func openAs(path string, fi os.FileInfo) (*os.File, error) {
	f, err := durable.OpenWrite(path)
	if err != nil {
		return nil, err
	}
	opened, err := f.Stat()
	if err == nil && !os.SameFile(opened, fi) {
		err = fmt.Errorf("%s: %w", path, ErrMoved)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (u *usage) leave() error {
	inUse.Lock()
	defer inUse.Unlock()
	if u.n--; u.n > 0 {
		return nil
	}
	inUse.files = slices.DeleteFunc(inUse.files, func(v *usage) bool { return u == v })
	if u.file == nil {
		return nil
	}
	return u.file.Close()
}

// alone calls f if this process does not have the database at path open, and keeps others from opening it
// meanwhile. It tells whether it did.
func alone(path string, f func()) bool {
	inUse.Lock()
	defer inUse.Unlock()
	fi, err := os.Stat(path)
	if err != nil || slices.ContainsFunc(inUse.files, func(u *usage) bool { return os.SameFile(fi, u.info) }) {
		return false
	}
	f()
	return true
}
