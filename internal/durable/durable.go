// Package durable makes, opens and replaces the files of a store.
//
//	err := durable.WriteFile(name, like, write) // all or nothing, on disk when it returns
//
// It keeps three rules:
//
//   - A new file is durable, with its name, before a caller relies on it. The order is: content, name, folder.
//   - No file is opened through a symbolic link ([LinkError]). A link in a folder that came from somebody
//     else could lead to any file of this machine. The folders above a file may be links.
//   - A new file belongs to the owner of the store ([OwnerError]). A command that root runs must not lock
//     that user out.
//
// New files can be read and written by their owner only (mode 0600, folders 0700). A file that replaces another one
// keeps the mode, owner and group of that one.
//
// [Lock] is the one way to lock a file. It leaves to others what the files contain.
package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// PartSuffix is at the end of a file's name while its content is being written.
const PartSuffix = ".part"

// Open opens an existing regular file for reading. Its last element must not be a link.
func Open(name string) (*os.File, error) { return open(name, os.O_RDONLY) }

// OpenWrite is Open for reading and writing.
func OpenWrite(name string) (*os.File, error) { return open(name, os.O_RDWR) }

func open(name string, flag int) (*os.File, error) {
	// Opening a pipe waits for a writer, so the kind of file is checked first. When a link takes the
	// name in between, the system refuses it (noFollow).
	if _, err := regular(name); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, flag|noFollow, 0)
	if link := CheckLink(name); err != nil && link != nil {
		return nil, link
	}
	return f, err
}

// regular returns the status of a regular file. It refuses links and anything else.
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

// Create makes an empty file for reading and writing. It gets the owner of the file or folder like;
// "" is the folder that the new file is in. Create fails when the name exists, also as a link. The name is durable after
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

// ownerOf returns the status of the file or folder whose owner a new file gets.
func ownerOf(name, like string) (fs.FileInfo, error) {
	if like == "" {
		return os.Stat(filepath.Dir(filepath.Clean(name))) // a store's folder may be a link
	}
	return os.Lstat(like)
}

// WriteFile replaces a file as a whole, or makes it. The new content is durable under another name
// (PartSuffix) before it gets the name, so after a crash the name has the old content or the new one.
// Everything is durable when it returns. One caller at a time may write a name.
//
// The file keeps mode, owner and group of the one that it replaces. A new one gets the owner of like,
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
		// If the disk is full, the part must not keep it full.
		return errors.Join(err, os.Remove(part))
	}
	return SyncDir(filepath.Dir(name))
}

// WriteBytes is WriteFile with content that is in memory.
func WriteBytes(name, like string, content []byte) error {
	return WriteFile(name, like, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// Keep gives a file that will replace another one the owner, group and mode of that one, or fails with an
// *OwnerError. When only the group cannot be kept, the file gets no group permissions: another group would have
// them.
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

// Mkdir makes one folder, which gets the owner of like, see Create. It fails when the name exists. The
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

// MkdirAll makes a folder and the missing ones above it, and makes their names durable. Each gets the owner of
// like; "" is the folder that it is in. A folder that exists is not changed.
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
	return SyncDir(filepath.Dir(dir))
}

// SyncDir makes the names in a folder durable. After a failed directory fsync the kernel may drop dirty state, so a later
// fsync, also that of another process, can succeed without writing. So after a failure the directory is made dirty again.
func SyncDir(dir string) error {
	err := syncDir(dir)
	if err != nil {
		name := filepath.Join(dir, ".unsynced")
		if f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			f.Close()
			os.Remove(name)
		}
	}
	return err
}
