package fusefs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/wal"
)

// machine is a disk and the one life that uses it now.
type machine struct {
	id    uint64
	disk  *crashfs.Disk
	judge *judge

	// mu guards the lives, their inodes and the order of calls. A call changes the disk and the inodes in one step.
	// mu is locked before the server's mu.
	mu    sync.Mutex
	lives int
	now   *life

	callerAlone atomic.Bool // a failed sync is reported to its caller alone
}

// life is everything that happens on a disk between two crashes.
type life struct {
	m     *machine
	name  string
	p     *crashfs.Process
	root  *inode
	nodes map[crashfs.Node]*inode
	shm   map[string]*inode // by path
	ended bool              // nothing of it can be read any more, except -shm
}

// inode is a file or folder that the kernel knows by a number. The machine's mu guards all fields except id.
type inode struct {
	id      uint64
	life    *life
	path    string // on the disk; of a removed file the last path
	gone    bool   // the file has no name any more
	folder  bool
	mode    uint32
	node    crashfs.Node
	shared  *shared // of a -shm file
	lookups uint64
	errors  int // how many syncs have failed
}

// shared is the content of a -shm file.
type shared struct{ bytes []byte }

func isShm(name string) bool { return strings.HasSuffix(name, "-shm") }

// handle is an open file or folder.
type handle struct {
	ino   *inode
	file  wal.File        // nil for a folder and for -shm
	names []fuse.DirEntry // of a folder
	told  int             // how many of the inode's failed syncs were reported to this handle, or happened before it was opened
}

// sync reports a failed sync once to each handle that was open at that time, as Linux does, or to the caller alone
// ([Machine.TellCallerAlone]).
func (h *handle) sync() error {
	if h.file == nil {
		return nil
	}
	err := h.file.Sync()
	switch {
	case errors.Is(err, crashfs.ErrDead):
	case err != nil:
		h.ino.errors++
		h.told = h.ino.errors
	case h.told < h.ino.errors && !h.ino.life.m.callerAlone.Load():
		h.told, err = h.ino.errors, syscall.EIO
	}
	return err
}

func (i *inode) attr(out *fuse.Attr) {
	out.Ino, out.Mode, out.Nlink, out.Blksize = i.id, i.mode, 1, 4096
	switch {
	case i.folder:
		out.Mode |= syscall.S_IFDIR
	default:
		out.Mode |= syscall.S_IFREG
		out.Size = uint64(i.size())
		out.Blocks = (out.Size + 511) / 512
	}
	if i.gone {
		out.Nlink = 0
	}
}

func (i *inode) size() int64 {
	if i.shared != nil {
		return int64(len(i.shared.bytes))
	}
	return i.life.m.disk.Size(i.node)
}

// alive returns an error if the life has ended, also if the disk has ended it in the middle of the call.
func (l *life) alive() error {
	if l.ended {
		return crashfs.ErrDead
	}
	return nil
}

// status is the answer to the kernel.
func status(err error) fuse.Status {
	var code syscall.Errno
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return fuse.OK
	case errors.As(err, &code):
		return fuse.Status(code)
	case errors.Is(err, fs.ErrNotExist):
		return fuse.ENOENT
	case errors.Is(err, fs.ErrExist):
		return fuse.Status(syscall.EEXIST)
	case errors.Is(err, fs.ErrInvalid):
		return fuse.EINVAL
	case errors.Is(err, fs.ErrPermission):
		return fuse.Status(syscall.EBADF)
	}
	return fuse.EIO
}

// find returns the inode of a name. It makes the inode when the kernel asks for it first.
func (s *server) find(l *life, name string) (*inode, error) {
	if err := l.alive(); err != nil {
		return nil, err
	}
	if isShm(name) {
		if i := l.shm[name]; i != nil {
			return i, nil
		}
		return nil, syscall.ENOENT
	}
	n, err := l.p.Find(name)
	if err != nil {
		return nil, err
	}
	if i := l.nodes[n]; i != nil {
		return i, nil
	}
	i := &inode{life: l, path: name, folder: n.Folder(), mode: 0o600, node: n}
	if i.folder {
		i.mode = 0o700
	}
	l.nodes[n] = i
	s.enter(i)
	return i, nil
}

// moved gives the inodes at and below a path their new paths.
func (l *life) moved(from, to string) {
	for _, i := range l.nodes {
		if i.gone {
			continue
		}
		if i.path == from {
			i.path = to
		} else if below, ok := strings.CutPrefix(i.path, from+"/"); ok {
			i.path = to + "/" + below
		}
	}
	for name, i := range l.shm {
		if below, ok := strings.CutPrefix(name, from+"/"); ok {
			delete(l.shm, name)
			i.path = to + "/" + below
			l.shm[i.path] = i
		}
	}
}

// removed marks the inode of a path as gone.
func (l *life) removed(name string) {
	for _, i := range l.nodes {
		if i.path == name {
			i.gone = true
		}
	}
}

// list returns the entries of a folder, -shm included. It counts as a call.
func (l *life) list(dir string) ([]fuse.DirEntry, error) {
	names, err := l.p.List(dir)
	if err != nil {
		return nil, err
	}
	for name := range l.shm {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	entries := make([]fuse.DirEntry, len(names))
	for i, name := range names {
		entries[i] = fuse.DirEntry{Name: name, Mode: syscall.S_IFREG}
		if n, err := l.p.Find(path.Join(dir, name)); err == nil && n.Folder() {
			entries[i].Mode = syscall.S_IFDIR
		}
	}
	return entries, nil
}

// empty reports whether a folder has no entries.
func (l *life) empty(dir string) bool {
	if len(l.m.disk.List(dir)) > 0 {
		return false
	}
	for name := range l.shm {
		if path.Dir(name) == dir {
			return false
		}
	}
	return true
}

// begin starts a life with the files of the disk.
func (s *server) begin(m *machine) *life {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lives++
	l := &life{
		m: m, name: fmt.Sprintf("m%d.%d", m.id, m.lives), p: m.disk.Process(),
		nodes: map[crashfs.Node]*inode{}, shm: map[string]*inode{},
	}
	l.root, _ = s.find(l, "/")
	m.now = l
	s.mu.Lock()
	s.lives[l.name] = l
	s.mu.Unlock()
	return l
}

// nobody is the process id of a process that is dead.
var nobody = func() *crashfs.Process {
	p := crashfs.New(0).Process()
	p.Kill()
	return p
}()

// end ends the machine's life, unless its disk has ended it already, and makes the kernel forget the folder's name.
func (s *server) end(m *machine, how func()) {
	m.mu.Lock()
	l := m.now
	if !l.p.Dead() {
		how()
	}
	l.ended = true
	// The kernel may keep the inodes for a long time. They must not keep the disk of their life in memory.
	l.p = nobody
	for _, i := range l.nodes {
		i.node = crashfs.Node{}
	}
	l.nodes, l.shm = nil, nil
	m.mu.Unlock()
	s.mu.Lock()
	delete(s.lives, l.name)
	s.mu.Unlock()
}

// load writes files to an empty disk, all of them durable.
func load(d *crashfs.Disk, files Files) error {
	p := d.Process()
	defer p.Kill()
	folders := map[string]bool{"/": true}
	var make func(dir string) error
	make = func(dir string) error {
		if folders[dir] {
			return nil
		}
		if err := make(path.Dir(dir)); err != nil {
			return err
		}
		folders[dir] = true
		return p.Mkdir(dir)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if dir, ok := strings.CutSuffix(name, "/"); ok {
			if err := make(dir); err != nil {
				return err
			}
			continue
		}
		if err := make(path.Dir(name)); err != nil {
			return err
		}
		f, err := p.Create(name)
		if err == nil {
			_, err = f.WriteAt(files[name], 0)
		}
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			return err
		}
	}
	for dir := range folders {
		if err := p.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// unload returns the files of a disk as they are read now, durable or not.
func unload(d *crashfs.Disk, dir string, into Files) {
	for _, name := range d.List(dir) {
		name = path.Join(dir, name)
		if b, ok := d.Read(name); ok {
			into[name] = b
		} else {
			into[name+"/"] = nil
			unload(d, name, into)
		}
	}
}
