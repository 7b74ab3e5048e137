package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/auditsql/auditsql/internal/durable"
)

// inUse lists the database files that this process has open. It is a package variable because SQLite's POSIX locks belong to
// the process: closing any descriptor of a file drops all the process's locks on it.
//
// SQLite takes care of that among its own connections, except for those that take no locks (accessImmutable). So
// such a connection is made only to a file that nobody else in this process has open, and nobody else opens
// that file until the connection is closed. For the same reason a descriptor of our own (see heldFiles) is closed when the
// last user of the file in this process has closed it, and not before.
//
// The mutex is held while the list is used, and never while a file is: a disk that hangs must not keep other stores from
// opening.
var inUse struct {
	sync.Mutex
	files []*usage
}

// usage is one file of inUse. Except for file, its fields are guarded by the mutex of inUse.
type usage struct {
	info os.FileInfo
	n    int           // users; 0 while one user has the file exclusively
	free chan struct{} // closed when the exclusive user is done

	opening sync.Mutex // held while file is opened
	file    *os.File   // opened by the first user who needs a descriptor, closed after the last user has left
	strays  []*os.File // further descriptors, which were opened by mistake; closed together with file
}

// find returns the usage of a file, or nil. The caller holds the mutex.
func find(fi os.FileInfo) *usage {
	i := slices.IndexFunc(inUse.files, func(u *usage) bool { return os.SameFile(u.info, fi) })
	if i < 0 {
		return nil
	}
	return inUse.files[i]
}

// claim makes the caller a user of the file at path. With exclusive set the caller is the only user until release, and
// claim returns nil if the file has users. claim waits, as long as ctx, for an exclusive user.
func claim(ctx context.Context, path string, exclusive bool) (*usage, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	for {
		inUse.Lock()
		u := find(fi)
		switch {
		case u == nil:
			u = &usage{info: fi, free: make(chan struct{})}
			inUse.files = append(inUse.files, u)
		case u.n > 0 && exclusive:
			inUse.Unlock()
			return nil, nil
		case u.n == 0:
			inUse.Unlock()
			select {
			case <-u.free:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if !exclusive {
			u.n++
		}
		inUse.Unlock()
		return u, nil
	}
}

// release ends an exclusive use, or the use of the last user: the file is free for others.
func (u *usage) release() {
	inUse.Lock()
	defer inUse.Unlock()
	inUse.files = slices.DeleteFunc(inUse.files, func(v *usage) bool { return u == v })
	close(u.free)
}

// enter makes the caller a user of the database at path, until leave.
func enter(ctx context.Context, path string) (leave func() error, err error) {
	u, err := claim(ctx, path, false)
	if err != nil {
		return nil, err
	}
	return sync.OnceValue(u.leave), nil
}

// use is enter, and also returns a descriptor of the file for reading, writing and syncing. The descriptor is valid until
// leave.
func use(ctx context.Context, path string) (f *os.File, leave func() error, err error) {
	u, err := claim(ctx, path, false)
	if err != nil {
		return nil, nil, err
	}
	u.opening.Lock()
	defer u.opening.Unlock()
	if u.file == nil {
		if u.file, err = openAs(path, u.info); err != nil {
			return nil, nil, errors.Join(err, u.leave())
		}
	}
	return u.file, sync.OnceValue(u.leave), nil
}

// openAs opens the file at path, which was fi a moment ago.
func openAs(path string, fi os.FileInfo) (*os.File, error) {
	f, err := durable.OpenWrite(path)
	if err != nil {
		return nil, err
	}
	opened, err := f.Stat()
	if err == nil && !os.SameFile(opened, fi) {
		err = errors.Join(fmt.Errorf("%s: %w", path, ErrMoved), closeStray(f, opened))
		return nil, err
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// closeStray closes a descriptor of a file that the caller has not claimed. While somebody in this process uses that
// file, the descriptor stays open: closing it would drop that user's locks.
func closeStray(f *os.File, fi os.FileInfo) error {
	inUse.Lock()
	defer inUse.Unlock()
	if u := find(fi); u != nil && u.n > 0 {
		u.strays = append(u.strays, f)
		return nil
	}
	return f.Close() // with the mutex held, so that nobody begins to use the file
}

// leave ends a use. The last user closes the file's descriptors, before anybody else may use the file.
func (u *usage) leave() error {
	inUse.Lock()
	u.n--
	last := u.n == 0
	inUse.Unlock()
	if !last {
		return nil
	}
	var errs []error
	if u.file != nil {
		errs = append(errs, u.file.Close())
	}
	for _, f := range u.strays {
		errs = append(errs, f.Close())
	}
	u.release()
	return errors.Join(errs...)
}

// alone calls f if this process does not have the database at path open. Nobody else in this process can open the file
// meanwhile. It returns whether f was called.
func alone(ctx context.Context, path string, f func()) bool {
	u, err := claim(ctx, path, true)
	if err != nil || u == nil {
		return false
	}
	defer u.release()
	f()
	return true
}
