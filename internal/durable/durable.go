// Package durable makes, opens and replaces the files of a store.
//
// It is the one place that knows these rules:
//
//   - What is made is durable, with its name, before a caller relies on it: content first, then the name,
//     then the folder.
//   - No file is opened through a symbolic link ([LinkError]). A link in a folder that came from somebody
//     else could lead to any file of this machine. The folders above a file may be links.
//   - What is made belongs to whom the store belongs ([OwnerError]). A command that root runs must not lock
//     out the user whose store it is.
//
// New files are open to their owner alone (mode 0600, folders 0700). A file that takes another one's place
// keeps that one's mode, owner and group.
package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// PartSuffix stands behind a file's name while its content is being written.
const PartSuffix = ".part"

// Open opens an existing regular file for reading. Its last element must not be a link.
func Open(name string) (*os.File, error) { return open(name, os.O_RDONLY) }

// OpenWrite is Open for reading and writing.
func OpenWrite(name string) (*os.File, error) { return open(name, os.O_RDWR) }

func open(name string, flag int) (*os.File, error) {
	// To open a pipe is to wait for the one who writes to it, so it is looked at first. A link that takes the
	// name in between is refused by the system (noFollow).
	if _, err := regular(name); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, flag|noFollow, 0)
	if link := CheckLink(name); err != nil && link != nil {
		return nil, link
	}
	return f, err
}

// regular returns what is known of a file. It refuses a link, and whatever else is no file.
func regular(name string) (fs.FileInfo, error) {
	st, err := os.Lstat(name)
	switch {
	case err != nil:
		return nil, err
	case st.Mode()&fs.ModeSymlink != 0:
		return nil, newLinkError(name)
	case !st.Mode().IsRegular():
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	return st, nil
}

// Create makes an empty file for reading and writing, which belongs to whom the file or folder like belongs;
// "" is the folder that holds it. It fails when the name exists, also as a link. The name is durable after
// SyncDir of the folder.
func Create(name, like string) (*os.File, error) {
	owner, err := ownerOf(name, like)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := give(f, owner, false); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(name))
	}
	return f, nil
}

// ownerOf returns the file or folder whose owner a new file gets.
func ownerOf(name, like string) (fs.FileInfo, error) {
	if like == "" {
		return os.Stat(filepath.Dir(filepath.Clean(name))) // a store's folder may be a link
	}
	return os.Lstat(like)
}

// WriteFile replaces a file as a whole, or makes it. The new content is durable under another name
// (PartSuffix) before it takes the name, so that whatever a crash leaves under the name is one of the two.
// Everything is durable when it returns. One caller at a time may write a name.
//
// The file keeps mode, owner and group of the one that it replaces. A new one belongs to whom like belongs,
// see Create.
func WriteFile(name, like string, write func(io.Writer) error) error {
	was, err := regular(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	part := name + PartSuffix
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := Create(part, like)
	if err != nil {
		return err
	}
	err = nil
	if was != nil {
		err = Keep(f, was)
	}
	if err == nil {
		err = write(f)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(part, name)
	}
	if err != nil {
		// A disk that is full would stay full.
		return errors.Join(err, os.Remove(part))
	}
	return SyncDir(filepath.Dir(name))
}

// Keep gives a file that is to take another one's place the owner, group and mode of that one, or fails with an
// *OwnerError. Where only the group cannot be kept, the file is closed to the group: it would be open to
// another one.
func Keep(f *os.File, was fs.FileInfo) error {
	group, err := give(f, was, true)
	if err != nil {
		return err
	}
	mode := was.Mode().Perm()
	if !group {
		mode &^= 0o070
	}
	return f.Chmod(mode)
}

// Mkdir makes one folder, which belongs to whom like belongs, see Create. It fails when the name exists. The
// name is durable after SyncDir of the parent.
func Mkdir(dir, like string) error {
	owner, err := ownerOf(dir, like)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	d, err := os.OpenFile(dir, os.O_RDONLY|noFollow, 0)
	if err == nil {
		_, err = give(d, owner, false)
		err = errors.Join(err, d.Close())
	}
	if err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	return nil
}

// MkdirAll makes a folder and those above it that are missing, and makes their names durable. Each belongs to
// whom like belongs; "" is the folder that holds it. One that is there stays as it is.
func MkdirAll(dir, like string) error {
	dir = filepath.Clean(dir)
	err := Mkdir(dir, like)
	switch parent := filepath.Dir(dir); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist) && parent != dir:
		if err := MkdirAll(parent, like); err != nil {
			return err
		}
		if err := Mkdir(dir, like); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case err != nil:
		return err
	}
	return syncNew(filepath.Dir(dir))
}

// syncNew is SyncDir of a folder in which a name was made. After a failed sync the kernel may take the folder
// for written, and the next sync may then succeed without writing. So the folder is changed once more.
func syncNew(dir string) error {
	err := SyncDir(dir)
	if err != nil {
		name := filepath.Join(dir, ".unsynced")
		if f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			f.Close()
			os.Remove(name)
		}
	}
	return err
}
