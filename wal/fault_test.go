package wal_test

import (
	"os"
	"sync"
	"sync/atomic"

	"github.com/auditsql/auditsql/wal"
)

// faultFS asks before each call that changes something, and before files are opened and folders listed,
// whether it should fail. It counts what is read.
type faultFS struct {
	wal.FS
	mu     sync.Mutex
	before func(op, name string) error
	read   atomic.Int64 // bytes
}

func (f *faultFS) set(before func(op, name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = before
}

func (f *faultFS) ask(op, name string) error {
	f.mu.Lock()
	before := f.before
	f.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(op, name)
}

func (f *faultFS) Open(name string) (wal.File, error) {
	if err := f.ask("open", name); err != nil {
		return nil, err
	}
	file, err := f.FS.Open(name)
	return f.wrap(file, name, err)
}

func (f *faultFS) List(dir string) ([]string, error) {
	if err := f.ask("list", dir); err != nil {
		return nil, err
	}
	return f.FS.List(dir)
}

func (f *faultFS) OpenWrite(name string) (wal.File, error) {
	file, err := f.FS.OpenWrite(name)
	return f.wrap(file, name, err)
}

func (f *faultFS) Create(name string) (wal.File, error) {
	if err := f.ask("create", name); err != nil {
		return nil, err
	}
	file, err := f.FS.Create(name)
	return f.wrap(file, name, err)
}

func (f *faultFS) Remove(name string) error {
	if err := f.ask("remove", name); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

func (f *faultFS) Rename(from, to string) error {
	if err := f.ask("rename", from); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

func (f *faultFS) SyncDir(dir string) error {
	if err := f.ask("syncdir", dir); err != nil {
		return err
	}
	return f.FS.SyncDir(dir)
}

func (f *faultFS) wrap(file wal.File, name string, err error) (wal.File, error) {
	if err != nil {
		return nil, err
	}
	return &faultFile{file, f, name}, nil
}

type faultFile struct {
	wal.File
	fs   *faultFS
	name string
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.fs.read.Add(int64(n))
	return n, err
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fs.ask("write", f.name); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f *faultFile) Truncate(size int64) error {
	if err := f.fs.ask("truncate", f.name); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultFile) Sync() error {
	if err := f.fs.ask("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

// unsyncedFS is the file system without syncs, which would take most of the time.
type unsyncedFS struct{ wal.FS }

func (unsyncedFS) SyncDir(dir string) error {
	_, err := os.Stat(dir)
	return err
}

func (u unsyncedFS) OpenWrite(name string) (wal.File, error) {
	f, err := u.FS.OpenWrite(name)
	return unsyncedFile{f}, err
}

func (u unsyncedFS) Create(name string) (wal.File, error) {
	f, err := u.FS.Create(name)
	return unsyncedFile{f}, err
}

type unsyncedFile struct{ wal.File }

func (unsyncedFile) Sync() error { return nil }
