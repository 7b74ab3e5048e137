package tokens

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Why a token is not valid.
var (
	ErrUnknown = errors.New("there is no such token")
	ErrExpired = errors.New("the token has expired")
)

// A File is the tokens of a store for a program that runs for long. It reads the file again whenever it has changed. Several
// goroutines may use it.
type File struct {
	name string
	mu   sync.Mutex // of whoever reads the file
	last atomic.Pointer[reading]
}

// A reading is what the file had when it was read.
type reading struct {
	// The file stays open. So its inode is not used for another file, and a file that replaced it is known by its inode, also
	// when both have the same size and time.
	file *os.File
	info fs.FileInfo // nil: there was no file, or it could not be read
	all  []Token
	err  error
}

func (r *reading) close() {
	if r != nil && r.file != nil {
		r.file.Close()
	}
}

// is reports whether a file is the one that was read, unchanged.
func (r *reading) is(now fs.FileInfo) bool {
	if r.info == nil || now == nil {
		return r.info == nil && now == nil && r.err == nil
	}
	return os.SameFile(r.info, now) && r.info.Size() == now.Size() && r.info.ModTime().Equal(now.ModTime()) && r.info.Mode() == now.Mode()
}

// Open returns the tokens of the store in dir. The error says that the file cannot be used.
func Open(dir string) (*File, error) {
	f := &File{name: path(dir)}
	if r := f.current(); r.err != nil {
		return nil, errors.Join(r.err, f.Close())
	}
	return f, nil
}

// Close closes the file.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last.Load().close()
	f.last.Store(&reading{err: fs.ErrClosed})
	return nil
}

// Lookup returns the token with this digest (see [Digest]). The error is ErrUnknown, ErrExpired or, when the file cannot be used
// any more, a *DamagedError.
func (f *File) Lookup(digest [sha256.Size]byte, now time.Time) (Token, error) {
	r := f.current()
	if r.err != nil {
		return Token{}, r.err
	}
	t := find(r.all, digest)
	switch {
	case t == nil:
		return Token{}, ErrUnknown
	case t.Expired(now):
		return Token{}, ErrExpired
	}
	return *t, nil
}

// Len returns how many tokens there are.
func (f *File) Len() int { return len(f.current().all) }

// current returns what the file has. A look at its status takes a microsecond, so every call takes one: a token that was revoked is
// not valid any more when Revoke has returned.
func (f *File) current() *reading {
	now, err := os.Lstat(f.name)
	if errors.Is(err, fs.ErrNotExist) {
		now, err = nil, nil
	}
	if r := f.last.Load(); r != nil && err == nil && r.is(now) {
		return r
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.last.Load()
	if was != nil && errors.Is(was.err, fs.ErrClosed) {
		return was
	}
	r := &reading{}
	r.all, r.info, r.err = read(f.name, func(open *os.File) { r.file = open })
	f.last.Store(r)
	was.close()
	return r
}
