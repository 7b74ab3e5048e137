package crashfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"github.com/auditsql/auditsql/wal"
)

// ErrDead is the error of every call of a process that has been ended.
var ErrDead = errors.New("crashfs: the process is dead")

// Process is a process that uses the disk. It is a wal.FS, and may be used by several goroutines.
type Process struct {
	d    *Disk
	dead bool // guarded by d.mu
}

var _ wal.FS = (*Process)(nil)

// Process starts a process.
func (d *Disk) Process() *Process {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := &Process{d: d}
	d.live = append(d.live, p)
	return p
}

// Kill ends the process: its locks are released, its files are closed, and what it wrote can still be read. What it had not
// synced may be lost later: if the kernel fails to write it, it has no process to which it could report the error.
func (p *Process) Kill() {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	p.kill()
}

func (p *Process) kill() {
	if p.dead {
		return
	}
	p.end()
	p.d.forgetBelow(p.d.root)
}

func (p *Process) end() {
	p.dead = true
	p.d.live = slices.DeleteFunc(p.d.live, func(q *Process) bool { return q == p })
	p.d.unlockBelow(p.d.root, p)
}

// Dead reports whether the process has been ended.
func (p *Process) Dead() bool {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	return p.dead
}

func (d *Disk) unlockBelow(n *node, p *Process) {
	if n.lock == p {
		n.lock = nil
	}
	if n.folder != nil {
		for _, below := range n.folder.seen {
			d.unlockBelow(below, p)
		}
	}
}

func (d *Disk) forgetBelow(n *node) {
	if n.folder == nil {
		if len(n.file.changes) > 0 && d.rng.IntN(4) == 0 {
			n.file.forget(d)
		}
		return
	}
	for _, name := range slices.Sorted(maps.Keys(n.folder.seen)) {
		d.forgetBelow(n.folder.seen[name])
	}
}

func (p *Process) Open(name string) (wal.File, error)      { return p.open(OpOpen, name) }
func (p *Process) OpenWrite(name string) (wal.File, error) { return p.open(OpOpenWrite, name) }

func (p *Process) open(op Op, name string) (f wal.File, err error) {
	err = p.call(op, name, func() error {
		n, err := p.d.find(name)
		if err == nil && n.folder != nil {
			err = errors.New("is a folder")
		}
		f = &file{p: p, n: n, name: name, write: op == OpOpenWrite}
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (p *Process) Create(name string) (f wal.File, err error) {
	err = p.call(OpCreate, name, func() error {
		n := &node{}
		f = &file{p: p, n: n, name: name, write: true}
		return p.d.link(name, n)
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (p *Process) Mkdir(dir string) error {
	return p.call(OpMkdir, dir, func() error { return p.d.link(dir, newFolder()) })
}

func (d *Disk) link(name string, n *node) error {
	up, base, err := d.parent(name)
	if err == nil && up.folder.seen[base] != nil {
		err = fs.ErrExist
	}
	if err == nil {
		up.folder.change(d, nameChange{to: base, n: n})
	}
	return err
}

func (p *Process) Rename(from, to string) error {
	return p.call(OpRename, from, func() error {
		up, base, err := p.d.parent(from)
		if err != nil {
			return err
		}
		other, newBase, err := p.d.parent(to)
		switch {
		case err != nil:
			return err
		case up.folder.seen[base] == nil:
			return fs.ErrNotExist
		case other != up:
			moved := &move{}
			n := up.folder.seen[base]
			up.folder.change(p.d, nameChange{from: base, moved: moved})
			other.folder.change(p.d, nameChange{to: newBase, n: n, moved: moved})
			return nil
		}
		up.folder.change(p.d, nameChange{from: base, to: newBase, n: up.folder.seen[base]})
		return nil
	})
}

// Remove removes the name of a file, or of an empty folder.
func (p *Process) Remove(name string) error {
	return p.call(OpRemove, name, func() error {
		up, base, err := p.d.parent(name)
		if err != nil {
			return err
		}
		n := up.folder.seen[base]
		if n == nil {
			return fs.ErrNotExist
		}
		if n.folder != nil && len(n.folder.seen) > 0 {
			return errors.New("the folder is not empty")
		}
		up.folder.change(p.d, nameChange{from: base})
		return nil
	})
}

// List returns the names in a random order, since wal.FS promises none.
func (p *Process) List(dir string) (list []string, err error) {
	err = p.call(OpList, dir, func() error {
		n, err := p.d.find(dir)
		if err != nil {
			return err
		}
		if n.folder == nil {
			return errors.New("is no folder")
		}
		list = slices.Sorted(maps.Keys(n.folder.seen))
		p.d.rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		return nil
	})
	return list, err
}

func (p *Process) SyncDir(dir string) error {
	return p.callPart(OpSyncDir, dir, func(part float64) error {
		n, err := p.d.find(dir)
		if err != nil {
			return err
		}
		if n.folder == nil {
			return errors.New("is no folder")
		}
		if part < 1 {
			n.folder.forget(p.d)
		} else {
			n.folder.sync(p.d)
		}
		return nil
	})
}

func (p *Process) Lock(name, owner string) (l wal.Lock, err error) {
	err = p.call(OpLock, name, func() error {
		n, err := p.d.find(name)
		if errors.Is(err, fs.ErrNotExist) {
			n = &node{}
			err = p.d.link(name, n)
		}
		if err != nil {
			return err
		}
		if n.lock != nil {
			return wal.ErrLocked
		}
		n.lock = p
		n.file.truncate(p.d, 0)
		n.file.write(p.d, []byte(owner), 0)
		l = &file{p: p, n: n, name: name, write: true}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (p *Process) Locked(name string) (held bool, err error) {
	err = p.call(OpLocked, name, func() error {
		n, err := p.d.find(name)
		held = err == nil && n.lock != nil
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return held && err == nil, err
}

// Canonical only cleans the path, since the disk has no links.
func (p *Process) Canonical(dir string) (string, error) {
	dir = filepath.Clean(dir)
	return dir, p.call(OpCanonical, dir, func() error { return nil })
}

// file is an open file, or a lock.
type file struct {
	p      *Process
	n      *node
	name   string
	write  bool
	closed bool // guarded by the disk's mu
}

func (f *file) call(op Op, do func() error) error {
	return f.p.call(op, f.name, func() error {
		if f.closed {
			return fs.ErrClosed
		}
		return do()
	})
}

func (f *file) ReadAt(b []byte, off int64) (n int, err error) {
	err = f.call(OpRead, func() error {
		if off < int64(len(f.n.file.seen)) {
			n = copy(b, f.n.file.seen[off:])
		}
		return nil
	})
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return n, err
}

func (f *file) WriteAt(b []byte, off int64) (n int, err error) {
	err = f.p.callPart(OpWrite, f.name, func(part float64) error {
		if f.closed {
			return fs.ErrClosed
		}
		if !f.write {
			return fs.ErrPermission
		}
		n = len(b)
		if part < 1 {
			n = int(part * float64(len(b)))
		}
		f.n.file.write(f.p.d, b[:n], off)
		return nil
	})
	return n, err
}

func (f *file) Truncate(size int64) error {
	return f.call(OpTruncate, func() error {
		if !f.write {
			return fs.ErrPermission
		}
		f.n.file.truncate(f.p.d, size)
		return nil
	})
}

func (f *file) Sync() error {
	return f.p.callPart(OpSync, f.name, func(part float64) error {
		switch {
		case f.closed:
			return fs.ErrClosed
		case part < 1:
			f.n.file.forget(f.p.d)
		default:
			f.n.file.sync()
		}
		return nil
	})
}

func (f *file) Size() (size int64, err error) {
	err = f.call(OpSize, func() error { size = int64(len(f.n.file.seen)); return nil })
	return size, err
}

func (f *file) Current() (current bool, err error) {
	err = f.call(OpCurrent, func() error {
		n, err := f.p.d.find(f.name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		current = n == f.n
		return err
	})
	return current, err
}

func (f *file) Close() error {
	return f.call(OpClose, func() error { f.closed = true; return nil })
}

// Unlock releases the lock. The hook can make it return an error, but not keep the lock.
func (f *file) Unlock() error {
	return f.call(OpUnlock, func() error {
		f.closed = true
		if f.n.lock == f.p {
			f.n.lock = nil
			f.n.file.truncate(f.p.d, 0)
		}
		return nil
	})
}
