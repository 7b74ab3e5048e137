package fusefs

import (
	"path"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/auditsql/auditsql/wal"
)

// server answers the requests of the kernel.
type server struct {
	fuse.RawFileSystem // answers ENOSYS to all other requests

	ids atomic.Uint64

	mu       sync.RWMutex
	inodes   map[uint64]*inode
	handles  map[uint64]*handle
	lives    map[string]*life
	machines map[uint64]*machine
}

func newServer() *server {
	s := &server{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		inodes:        map[uint64]*inode{}, handles: map[uint64]*handle{},
		lives: map[string]*life{}, machines: map[uint64]*machine{},
	}
	s.ids.Store(fuse.FUSE_ROOT_ID)
	return s
}

func (s *server) String() string { return "fusefs" }

// enter gives an inode its number.
func (s *server) enter(i *inode) {
	i.id = s.ids.Add(1)
	s.mu.Lock()
	s.inodes[i.id] = i
	s.mu.Unlock()
}

// inode returns nil for the mount point, and for an inode that the kernel has forgotten.
func (s *server) inode(id uint64) *inode {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.inodes[id]
}

func (s *server) handle(fh uint64) *handle {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.handles[fh]
}

func (s *server) keep(h *handle) (fh uint64) {
	fh = s.ids.Add(1)
	s.mu.Lock()
	s.handles[fh] = h
	s.mu.Unlock()
	return fh
}

// at calls f while it holds the lock of the inode's machine, if the life has not ended.
func (s *server) at(id uint64, f func(i *inode, l *life) error) fuse.Status {
	i := s.inode(id)
	if i == nil {
		return fuse.EPERM // nobody may change the mount point's own folder
	}
	m := i.life.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := i.life.alive(); err != nil && i.shared == nil {
		return status(err)
	}
	return status(f(i, i.life))
}

// remembered is the number of seconds for which the kernel may use cached names. Names change only through the kernel, so
// its cache is right. Only the end of a life changes them otherwise, and the kernel is notified of that.
const remembered = 3600

func reply(i *inode, out *fuse.EntryOut) {
	i.lookups++
	out.NodeId, out.Generation = i.id, 1
	out.EntryValid = remembered
	if i.folder {
		out.AttrValid = remembered
	}
	i.attr(&out.Attr)
}

func (s *server) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if in.NodeId == fuse.FUSE_ROOT_ID {
		s.mu.RLock()
		l := s.lives[name]
		s.mu.RUnlock()
		if l == nil {
			return fuse.ENOENT
		}
		l.m.mu.Lock()
		defer l.m.mu.Unlock()
		reply(l.root, out)
		return fuse.OK
	}
	return s.at(in.NodeId, func(i *inode, l *life) error {
		found, err := s.find(l, path.Join(i.path, name))
		if status(err) == fuse.ENOENT {
			out.EntryValid = remembered // the kernel may cache that there is no such name
			return nil
		}
		if err == nil {
			reply(found, out)
		}
		return err
	})
}

func (s *server) Forget(id, n uint64) {
	i := s.inode(id)
	if i == nil {
		return
	}
	l := i.life
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	// A file keeps its number as long as its life lasts.
	if i.lookups -= min(n, i.lookups); i.lookups > 0 || !i.gone && !l.ended {
		return
	}
	if l.nodes[i.node] == i {
		delete(l.nodes, i.node)
	}
	s.mu.Lock()
	delete(s.inodes, id)
	s.mu.Unlock()
}

func (s *server) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if in.NodeId == fuse.FUSE_ROOT_ID {
		out.Attr = fuse.Attr{Ino: fuse.FUSE_ROOT_ID, Mode: syscall.S_IFDIR | 0o755, Nlink: 1}
		return fuse.OK
	}
	return s.at(in.NodeId, func(i *inode, _ *life) error {
		i.attr(&out.Attr)
		return nil
	})
}

func (s *server) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	return s.at(in.NodeId, func(i *inode, l *life) error {
		if size, ok := in.GetSize(); ok {
			if err := s.truncate(i, l, in, int64(size)); err != nil {
				return err
			}
		}
		if mode, ok := in.GetMode(); ok {
			i.mode = mode
		}
		i.attr(&out.Attr)
		return nil
	})
}

func (s *server) truncate(i *inode, l *life, in *fuse.SetAttrIn, size int64) error {
	if i.shared != nil {
		i.shared.resize(size)
		return nil
	}
	var f wal.File
	if fh, ok := in.GetFh(); ok {
		if h := s.handle(fh); h != nil {
			f = h.file
		}
	}
	if f == nil {
		var err error
		if f, err = l.p.OpenWrite(i.path); err != nil {
			return err
		}
		defer f.Close()
	}
	return f.Truncate(size)
}

func (sh *shared) resize(size int64) {
	if size <= int64(len(sh.bytes)) {
		sh.bytes = sh.bytes[:size]
		return
	}
	sh.bytes = append(sh.bytes, make([]byte, size-int64(len(sh.bytes)))...)
}

func (s *server) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return s.at(in.NodeId, func(i *inode, l *life) error {
		name := path.Join(i.path, name)
		err := l.p.Mkdir(name)
		var made *inode
		if err == nil {
			made, err = s.find(l, name)
		}
		if err == nil {
			made.mode = in.Mode & 0o7777 &^ in.Umask
			reply(made, out)
		}
		return err
	})
}

func (s *server) Unlink(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return s.remove(in.NodeId, name)
}

func (s *server) Rmdir(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return s.remove(in.NodeId, name)
}

func (s *server) remove(parent uint64, name string) fuse.Status {
	return s.at(parent, func(i *inode, l *life) error {
		name := path.Join(i.path, name)
		if isShm(name) {
			if l.shm[name] == nil {
				return syscall.ENOENT
			}
			l.shm[name].gone = true
			delete(l.shm, name)
			return nil
		}
		if n, err := l.p.Find(name); err == nil && n.Folder() && !l.empty(name) {
			return syscall.ENOTEMPTY
		}
		err := l.p.Remove(name)
		if err == nil {
			l.removed(name)
		}
		return err
	})
}

func (s *server) Rename(_ <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	if in.Flags != 0 {
		return fuse.EINVAL
	}
	into := s.inode(in.Newdir)
	if into == nil {
		return fuse.EPERM
	}
	return s.at(in.NodeId, func(i *inode, l *life) error {
		if into.life != l {
			return syscall.EXDEV
		}
		from, to := path.Join(i.path, from), path.Join(into.path, to)
		if from == to {
			return nil
		}
		if isShm(from) != isShm(to) {
			return syscall.EINVAL
		}
		if isShm(from) {
			f := l.shm[from]
			if f == nil {
				return syscall.ENOENT
			}
			if was := l.shm[to]; was != nil {
				was.gone = true
			}
			delete(l.shm, from)
			f.path, l.shm[to] = to, f
			return nil
		}
		if n, err := l.p.Find(to); err == nil && n.Folder() && !l.empty(to) {
			return syscall.ENOTEMPTY
		}
		err := l.p.Rename(from, to)
		if err == nil {
			l.removed(to)
			l.moved(from, to)
		}
		return err
	})
}

func (s *server) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return s.at(in.NodeId, func(i *inode, l *life) error {
		name := path.Join(i.path, name)
		h := &handle{}
		if isShm(name) {
			if h.ino = l.shm[name]; h.ino == nil {
				h.ino = &inode{life: l, path: name, mode: in.Mode & 0o7777, shared: &shared{}}
				l.shm[name] = h.ino
				s.enter(h.ino)
			}
			out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH
		} else {
			f, err := l.p.Create(name)
			if err == nil {
				h.file = f
				h.ino, err = s.find(l, name)
			}
			if err != nil {
				return err
			}
			h.ino.mode = in.Mode & 0o7777
			out.OpenFlags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH
		}
		out.Fh = s.keep(h)
		reply(h.ino, &out.EntryOut)
		return nil
	})
}

func (s *server) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return s.at(in.NodeId, func(i *inode, l *life) error {
		h := &handle{ino: i, told: i.errors}
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH
		if i.shared == nil {
			open := l.p.Open
			if in.Flags&syscall.O_ACCMODE != syscall.O_RDONLY {
				open = l.p.OpenWrite
			}
			if i.gone {
				return syscall.ESTALE
			}
			f, err := open(i.path)
			if err != nil {
				return err
			}
			h.file = f
			out.OpenFlags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH
		}
		out.Fh = s.keep(h)
		return nil
	})
}

// on calls f while it holds the lock of an open file's machine. The life may have ended.
func (s *server) on(fh uint64, f func(h *handle) error) fuse.Status {
	h := s.handle(fh)
	if h == nil {
		return fuse.EBADF
	}
	m := h.ino.life.m
	m.mu.Lock()
	defer m.mu.Unlock()
	return status(f(h))
}

func (s *server) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	n := 0
	code := s.on(in.Fh, func(h *handle) (err error) {
		if sh := h.ino.shared; sh != nil {
			if in.Offset < uint64(len(sh.bytes)) {
				n = copy(buf, sh.bytes[in.Offset:])
			}
			return nil
		}
		n, err = h.file.ReadAt(buf, int64(in.Offset))
		return err
	})
	if code != fuse.OK {
		return nil, code
	}
	return fuse.ReadResultData(buf[:n]), code
}

func (s *server) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (written uint32, code fuse.Status) {
	code = s.on(in.Fh, func(h *handle) error {
		if sh := h.ino.shared; sh != nil {
			sh.resize(max(int64(len(sh.bytes)), int64(in.Offset)+int64(len(data))))
			written = uint32(copy(sh.bytes[in.Offset:], data))
			return nil
		}
		n, err := h.file.WriteAt(data, int64(in.Offset))
		if err != nil && n > 0 && n < len(data) && !h.ino.life.p.Dead() {
			err = nil // a short write reports how much it wrote; the next call may fail
		}
		written = uint32(n)
		return err
	})
	return written, code
}

func (s *server) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

func (s *server) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return s.on(in.Fh, (*handle).sync)
}

func (s *server) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	s.on(in.Fh, func(h *handle) error {
		if h.file != nil {
			h.file.Close()
		}
		return nil
	})
	s.mu.Lock()
	delete(s.handles, in.Fh)
	s.mu.Unlock()
}

func (s *server) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if in.NodeId == fuse.FUSE_ROOT_ID {
		h := &handle{}
		s.mu.RLock()
		for name := range s.lives {
			h.names = append(h.names, fuse.DirEntry{Name: name, Mode: syscall.S_IFDIR})
		}
		s.mu.RUnlock()
		out.Fh = s.keep(h)
		return fuse.OK
	}
	return s.at(in.NodeId, func(i *inode, l *life) error {
		out.Fh = s.keep(&handle{ino: i})
		return nil
	})
}

func (s *server) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	h := s.handle(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	if in.Offset == 0 && h.ino != nil {
		code := s.at(in.NodeId, func(i *inode, l *life) (err error) {
			h.names, err = l.list(i.path)
			return err
		})
		if code != fuse.OK {
			return code
		}
	}
	for i := int(in.Offset); i < len(h.names); i++ {
		e := h.names[i]
		if e.Off = uint64(i) + 1; !out.AddDirEntry(e) {
			break
		}
	}
	return fuse.OK
}

func (s *server) ReleaseDir(in *fuse.ReleaseIn) {
	s.mu.Lock()
	delete(s.handles, in.Fh)
	s.mu.Unlock()
}

func (s *server) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return s.at(in.NodeId, func(i *inode, l *life) error { return l.p.SyncDir(i.path) })
}

func (s *server) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	const blocks = 1 << 30
	*out = fuse.StatfsOut{Blocks: blocks, Bfree: blocks, Bavail: blocks, Files: blocks, Ffree: blocks, Bsize: 4096, Frsize: 4096, NameLen: 255}
	return fuse.OK
}
