package wal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/auditsql/auditsql/internal/durable"
)

// OS is the operating system's file system.
//
// On Linux and macOS it promises what FS asks (on macOS a sync is F_FULLFSYNC). On Windows a
// folder cannot be synced: a name may be lost in a power cut there, and the promise holds for the
// death of the process alone; nor can a segment be removed there while a reader has it open.
//
// It opens no file through a symbolic link; only the path of the journal's folder may contain one. What root makes
// gets the owner that the journal has.
var OS FS = osFS{}

type osFS struct{}

func (osFS) Open(name string) (File, error)      { return asFile(durable.Open(name)) }
func (osFS) OpenWrite(name string) (File, error) { return asFile(durable.OpenWrite(name)) }

func (osFS) Create(name string) (File, error) { return asFile(durable.Create(name, ownedLike(name))) }

// ownedLike returns the file from which a new file or folder gets its owner: the lock, which the first writer has
// made. The journal's folder would not do: it may be a mount that belongs to root while the journal in it does not.
func ownedLike(name string) string {
	lock := filepath.Join(filepath.Dir(name), lockName)
	if _, err := os.Lstat(lock); err == nil && lock != name {
		return lock
	}
	return ""
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }
func (osFS) Remove(name string) error     { return os.Remove(name) }
func (osFS) Mkdir(dir string) error       { return durable.Mkdir(dir, ownedLike(dir)) }

func (osFS) List(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

func (osFS) SyncDir(dir string) error { return durable.SyncDir(dir) }

func (osFS) Lock(name, owner string) (Lock, error) {
	f, err := durable.OpenWrite(name)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = durable.Create(name, "")
	}
	if errors.Is(err, fs.ErrExist) {
		f, err = durable.OpenWrite(name) // somebody else has made it meanwhile
	}
	if err != nil {
		return nil, err
	}
	l := &osLock{osFile{f}}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, err
	}
	// Between our open and our lock somebody may have removed the name: then the lock would be on
	// a file that nobody else will ever open.
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
	f, err := durable.Open(name)
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

// takePlaceOf gives a file the owner and mode of the file that it will replace.
func (f osFile) takePlaceOf(name string) error {
	was, err := os.Lstat(name)
	if err != nil {
		return err
	}
	return durable.Keep(f.File, was)
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
	named, err := os.Lstat(f.Name()) // not Stat: nobody could open the file through a link to it
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return os.SameFile(mine, named), nil
}

type osLock struct{ osFile }

// Unlock does not remove the file: a second process may be waiting for the lock on it, while a third one would
// make and lock a new file of that name.
func (l *osLock) Unlock() error {
	// The content would name a process that no longer holds the lock.
	l.Truncate(0)
	return l.Close()
}
