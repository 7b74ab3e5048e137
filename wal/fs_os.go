package wal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// OS is the operating system's file system.
//
// On Linux and macOS it promises what FS asks (on macOS a sync is F_FULLFSYNC). On Windows a
// folder cannot be synced: a name may be lost in a power cut there, and the promise holds for the
// death of the process alone; nor can a segment be removed there while a reader has it open.
var OS FS = osFS{}

type osFS struct{}

func (osFS) Open(name string) (File, error) {
	if err := checkRegular(name); err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	return asFile(f, err)
}

// checkRegular refuses what is there and no file: a pipe under a segment's name, or the lock's, would hold us
// up for ever.
func checkRegular(name string) error {
	if st, err := os.Stat(name); err == nil && !st.Mode().IsRegular() {
		return &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	return nil
}

func (osFS) OpenWrite(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	return asFile(f, err)
}

func (osFS) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	return asFile(f, err)
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }
func (osFS) Remove(name string) error     { return os.Remove(name) }
func (osFS) Mkdir(dir string) error       { return os.Mkdir(dir, 0o700) }

func (osFS) copyMode(from, to string) error {
	st, err := os.Stat(from)
	if err != nil {
		return err
	}
	return os.Chmod(to, st.Mode().Perm())
}

func (osFS) List(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

func (osFS) SyncDir(dir string) error { return syncDir(dir) }

func (osFS) Lock(name, owner string) (Lock, error) {
	if err := checkRegular(name); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	l := &osLock{osFile{f}}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, err
	}
	// Between our open and our lock somebody may have removed the name: the lock would then be on
	// a file that nobody else will ever look at.
	if ok, err := l.Current(); err != nil || !ok {
		f.Close()
		if err == nil {
			err = ErrLocked
		}
		return nil, err
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(owner), 0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

func (osFS) Locked(name string) (bool, error) {
	if err := checkRegular(name); err != nil {
		return false, err
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	return probeLock(f)
}

func (osFS) Canonical(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return abs, nil
	}
	return real, err
}

type osFile struct{ *os.File }

func asFile(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (f osFile) Sync() error { return syncFile(f.File) }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (f osFile) Current() (bool, error) {
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Stat(f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return os.SameFile(mine, named), nil
}

type osLock struct{ osFile }

// Unlock leaves the file where it is: removing it would let a third process lock the name while a
// second one still waits on the file that has lost it.
func (l *osLock) Unlock() error {
	// The content would name a process that no longer holds the lock.
	l.Truncate(0)
	return l.Close()
}

// parents returns the folders above dir, nearest first.
func parents(dir string) []string {
	var up []string
	for dir = filepath.Clean(dir); filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		up = append(up, filepath.Dir(dir))
	}
	return up
}
