package wal_test

import (
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/auditsql/auditsql/wal"
)

// memoryFS holds the files of one journal, so that tens of thousands of them can be damaged in turn. It knows
// no crashes: syncs do nothing.
type memoryFS struct {
	mu      sync.Mutex
	files   map[string]*memoryFile // by path
	folders map[string]bool
	held    bool // the lock, by a journal of this process or for elsewhere
}

type memoryFile struct{ b []byte }

// memoryDir is where the journal lies.
const memoryDir = "/journal"

// newMemoryFS returns a file system with these segments, by name, in memoryDir. It keeps copies.
func newMemoryFS(segments map[string][]byte) *memoryFS {
	m := &memoryFS{files: map[string]*memoryFile{}, folders: map[string]bool{"/": true, memoryDir: true}}
	for name, b := range segments {
		m.files[filepath.Join(memoryDir, name)] = &memoryFile{slices.Clone(b)}
	}
	return m
}

// set replaces the content of a segment, also for those who have it open; nil removes the name.
func (m *memoryFS) set(name string, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	path := filepath.Join(memoryDir, name)
	switch f := m.files[path]; {
	case b == nil:
		delete(m.files, path)
	case f == nil:
		m.files[path] = &memoryFile{slices.Clone(b)}
	default:
		f.b = append(f.b[:0], b...)
	}
}

// content returns what lies in memoryDir and below, by the path relative to it, without the lock.
func (m *memoryFS) content() map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string][]byte{}
	for path, f := range m.files {
		if rel := strings.TrimPrefix(path, memoryDir+"/"); rel != "LOCK" {
			all[rel] = slices.Clone(f.b)
		}
	}
	for path := range m.folders {
		if rel, ok := strings.CutPrefix(path, memoryDir+"/"); ok {
			all[rel+"/"] = nil
		}
	}
	return all
}

// sameContent says how two contents differ, or nothing.
func sameContent(got, want map[string][]byte) string {
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if b, ok := want[name]; !ok || string(b) != string(got[name]) {
			return name
		}
	}
	for name := range want {
		if _, ok := got[name]; !ok {
			return name
		}
	}
	return ""
}

func pathError(op, path string, err error) error { return &fs.PathError{Op: op, Path: path, Err: err} }

func (m *memoryFS) Open(name string) (wal.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[name]
	if f == nil {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	return &memoryHandle{m, f, name}, nil
}

func (m *memoryFS) OpenWrite(name string) (wal.File, error) { return m.Open(name) }

func (m *memoryFS) Create(name string) (wal.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[name] != nil || m.folders[name] {
		return nil, pathError("create", name, fs.ErrExist)
	}
	if !m.folders[filepath.Dir(name)] {
		return nil, pathError("create", name, fs.ErrNotExist)
	}
	f := &memoryFile{}
	m.files[name] = f
	return &memoryHandle{m, f, name}, nil
}

func (m *memoryFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[from] == nil {
		return pathError("rename", from, fs.ErrNotExist)
	}
	m.files[to] = m.files[from]
	delete(m.files, from)
	return nil
}

func (m *memoryFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[name] == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	delete(m.files, name)
	return nil
}

func (m *memoryFS) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.folders[dir] {
		return nil, pathError("open", dir, fs.ErrNotExist)
	}
	var names []string
	for path := range m.files {
		if filepath.Dir(path) == dir {
			names = append(names, filepath.Base(path))
		}
	}
	for path := range m.folders {
		if filepath.Dir(path) == dir && path != dir {
			names = append(names, filepath.Base(path))
		}
	}
	return names, nil
}

func (m *memoryFS) Mkdir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.folders[dir] || m.files[dir] != nil:
		return pathError("mkdir", dir, fs.ErrExist)
	case !m.folders[filepath.Dir(dir)]:
		return pathError("mkdir", dir, fs.ErrNotExist)
	}
	m.folders[dir] = true
	return nil
}

func (m *memoryFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.folders[dir] {
		return pathError("sync", dir, fs.ErrNotExist)
	}
	return nil
}

func (m *memoryFS) Lock(name, _ string) (wal.Lock, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held {
		return nil, wal.ErrLocked
	}
	m.held = true
	return memoryLock{m}, nil
}

func (m *memoryFS) Locked(string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held, nil
}

func (m *memoryFS) Canonical(dir string) (string, error) { return filepath.Clean(dir), nil }

type memoryLock struct{ m *memoryFS }

func (memoryLock) Current() (bool, error) { return true, nil }

func (l memoryLock) Unlock() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	l.m.held = false
	return nil
}

type memoryHandle struct {
	m    *memoryFS
	f    *memoryFile
	name string
}

func (h *memoryHandle) ReadAt(p []byte, off int64) (int, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if off >= int64(len(h.f.b)) {
		return 0, io.EOF
	}
	n := copy(p, h.f.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *memoryHandle) WriteAt(p []byte, off int64) (int, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	h.extend(off + int64(len(p)))
	return copy(h.f.b[off:], p), nil
}

func (h *memoryHandle) Truncate(size int64) error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	h.extend(size)
	h.f.b = h.f.b[:size]
	return nil
}

// extend makes the file at least this long.
func (h *memoryHandle) extend(size int64) {
	if grow := size - int64(len(h.f.b)); grow > 0 {
		h.f.b = append(h.f.b, make([]byte, grow)...)
	}
}

func (h *memoryHandle) Sync() error  { return nil }
func (h *memoryHandle) Close() error { return nil }

func (h *memoryHandle) Size() (int64, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	return int64(len(h.f.b)), nil
}

func (h *memoryHandle) Current() (bool, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	return h.m.files[h.name] == h.f, nil
}
