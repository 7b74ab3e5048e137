package wal

// FS is all that the journal needs of a file system. [OS] is the real one.
//
// The methods say what must be durable when they return, never how. The rules are those of POSIX,
// read strictly. What was written and not synced may be there after a power cut whole, in part or
// not at all. Until a folder was synced, a power cut may undo that a name in it was made, changed or removed.
//
// Names are paths; a File is used by one goroutine at a time except for ReadAt, which any number
// may call. Errors for a missing or an existing name satisfy errors.Is with fs.ErrNotExist and
// fs.ErrExist.
type FS interface {
	// Open opens an existing file for reading.
	Open(name string) (File, error)
	// OpenWrite opens an existing file for reading and writing.
	OpenWrite(name string) (File, error)
	// Create makes an empty file for reading and writing, readable by its owner alone; it fails
	// when the name exists. The name is durable after SyncDir of its folder.
	Create(name string) (File, error)
	// Rename gives a file a new name in the same folder, in one step. A file that had that name is replaced. It
	// is durable after SyncDir of the folder.
	Rename(from, to string) error
	// Remove removes a file's name. It is durable after SyncDir of the folder.
	Remove(name string) error
	// List returns the names of the files and folders in a folder, in any order.
	List(dir string) ([]string, error)
	// Mkdir makes one folder, open to its owner alone; it fails when the name exists. The name is
	// durable after SyncDir of the parent.
	Mkdir(dir string) error
	// SyncDir makes durable which names a folder holds.
	SyncDir(dir string) error
	// Lock takes the writer's lock, on a file that it makes if it is missing, and writes owner to the file. It fails
	// with ErrLocked when anybody, in this process or another, holds it. The lock ends with Unlock or with the
	// process. Nothing of it needs to be durable.
	Lock(name, owner string) (Lock, error)
	// Locked reports whether somebody holds the lock. It does not wait and changes nothing.
	Locked(name string) (bool, error)
	// Canonical returns the same path for every spelling of a folder's path, so that a reader finds the writer in
	// its own process.
	Canonical(dir string) (string, error)
}

// File is an open file of an FS.
type File interface {
	// ReadAt is io.ReaderAt.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt is io.WriterAt; writing after the end makes the file longer.
	WriteAt(p []byte, off int64) (int, error)
	// Truncate cuts the file or extends it with zeros. It is durable after Sync.
	Truncate(size int64) error
	// Sync makes durable all that was written to this file, through any handle, and its size. After
	// an error it is unknown what is durable, and a later Sync that succeeds does not tell either.
	// So the journal never syncs a handle again whose Sync has failed.
	Sync() error
	// Size returns the file's length in bytes.
	Size() (int64, error)
	// Current reports whether the name under which the file was opened still leads to it.
	Current() (bool, error)
	// Close closes the handle; it makes nothing durable.
	Close() error
}

// Lock is a lock that is held.
type Lock interface {
	// Current reports whether the lock's name still leads to the file that is locked. When it does
	// not, another process can lock a new file of that name, and there would be two writers.
	Current() (bool, error)
	// Unlock releases the lock.
	Unlock() error
}
