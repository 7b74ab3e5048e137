package storedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/wal"
)

// checkLinks refuses a store's folder in which a part of a store is a symbolic link (*durable.LinkError). It is called
// before anything is opened, so that already the first command finds a link, and not only one that needs the file. If the
// folder cannot be listed, whoever opens the files reports that.
func checkLinks(dir string) error {
	return checkLinksIn(dir, func(name string) bool {
		return strings.HasPrefix(name, FileName) || strings.HasPrefix(name, SQLiteName) || strings.HasPrefix(name, FilterName) ||
			ofLog(name)
	})
}

// ofLog reports whether a file of this name belongs to the store's log.
func ofLog(name string) bool {
	return strings.HasPrefix(name, LogName) || name == CheckpointName || name == CheckpointName+durable.PartSuffix || name == HistoryName
}

// CheckJournalLinks refuses a journal of which a file, or the folder, is a symbolic link. A folder within the store
// must not be reached through a link. An absolute path is a person's choice: it must not be a link itself, but the
// folders above it may be links, as the store's folder may.
func CheckJournalLinks(dir, journalDir string) error {
	path := filepath.Join(dir, journalDir)
	if filepath.IsAbs(journalDir) {
		path = journalDir
	} else {
		for above := filepath.Dir(filepath.Clean(journalDir)); above != "."; above = filepath.Dir(above) {
			if err := durable.CheckLink(filepath.Join(dir, above)); err != nil {
				return err
			}
		}
	}
	if err := durable.CheckLink(path); err != nil {
		return err
	}
	return checkLinksIn(path, func(name string) bool {
		return name == "LOCK" || name == "quarantine" || strings.HasSuffix(name, ".wal") || strings.HasSuffix(name, ".wal"+durable.PartSuffix)
	})
}

func checkLinksIn(dir string, ours func(name string) bool) error {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink != 0 && ours(e.Name()) {
			if err := durable.CheckLink(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkJournalDir refuses a wal_dir that init never writes: one that leaves the store by "..", or an absolute one that is
// not clean.
func checkJournalDir(journalDir string) error {
	switch {
	case filepath.IsAbs(journalDir) && filepath.Clean(journalDir) != journalDir:
		return fmt.Errorf("wal_dir is %q: write it without . and .., as %q", journalDir, filepath.Clean(journalDir))
	case !filepath.IsAbs(journalDir) && !filepath.IsLocal(journalDir):
		return fmt.Errorf("wal_dir is %q, which leads out of the store's folder: a journal that lies elsewhere has an absolute path", journalDir)
	}
	return nil
}

// OwnedLike returns the file or folder whose owner counts as the owner of the store. All that is made in the store gets
// the same owner. It is store.json, or the journal's folder if there is no store.json, or "" for a new store. It is not
// the store's folder: a mount may belong to root and be open to a group.
func OwnedLike(dir string) string {
	for _, name := range []string{FileName, JournalName} {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err == nil {
			return path
		}
	}
	return ""
}

// CheckOwner refuses to write to another user's store (*durable.OwnerError), before anything is changed.
func CheckOwner(dir string) error {
	if path := OwnedLike(dir); path != "" {
		return durable.CheckOwner(path)
	}
	return nil
}

// Absence is what is missing of a store whose journal is not in its place.
type Absence struct {
	Dir      string // the journal's folder
	Empty    bool   // the folder exists, and has no segment
	NoSQLite bool   // audit.db is missing as well
}

// JournalAbsent returns nil if the journal is in its place, or the store was never used, or has none since it follows a log. Otherwise it returns what is
// missing: a store that was opened once has a segment from then on.
func (f File) JournalAbsent(dir string, fsys wal.FS) *Absence {
	if !f.Used || f.Follows != nil {
		return nil
	}
	gone := &Absence{Dir: f.JournalPath(dir)}
	_, err := fsys.List(gone.Dir)
	if !errors.Is(err, fs.ErrNotExist) {
		// An error is no absence. Whoever reads the segments reports it.
		if segs, err := wal.Segments(gone.Dir, wal.Options{FS: fsys}); err != nil || len(segs) > 0 {
			return nil
		}
		gone.Empty = true
	}
	_, err = os.Lstat(SQLitePath(dir))
	gone.NoSQLite = errors.Is(err, fs.ErrNotExist)
	return gone
}

// CheckVacant refuses to make a store among other files: only a missing folder, an empty one, or one that holds
// nothing but a journal and what else a store leaves is accepted.
func CheckVacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		own, ofUsed := isOwn(name)
		switch {
		case name == "lost+found", strings.HasPrefix(name, "."):
		case !own || name == JournalName && !e.IsDir():
			return fmt.Errorf("%s: %w, and none is made among other files (%s)", dir, ErrNoStore, name)
		case ofUsed:
			// A store that has lost its store.json, or of which nothing but the journal can be read.
			if _, err := os.Lstat(filepath.Join(dir, JournalName)); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s: %w: there is %s, and neither a %s that can be read nor a journal: restore the store from a backup", dir, ErrMismatch, name, FileName)
			}
		}
	}
	return nil
}

// isOwn reports whether a name in a store's folder is the store's own, and whether only a store that was used has it.
func isOwn(name string) (own, ofUsed bool) {
	for _, n := range ownNames {
		if fits, _ := filepath.Match(n.pattern, name); fits { // the patterns are right
			return true, n.ofUsed
		}
	}
	return false, false
}

// MakeAside makes a folder for files that are moved out of the way.
func MakeAside(dir string) (string, error) {
	for nanos := time.Now().UnixNano(); ; nanos++ {
		aside := filepath.Join(dir, fmt.Sprintf("%s%d", asidePrefix, nanos))
		if err := durable.Mkdir(aside, OwnedLike(dir)); !errors.Is(err, fs.ErrExist) {
			return aside, err
		}
	}
}

// MoveAside moves the database and the files beside it to the folder aside, which MakeAside has named. Nothing is deleted: a person
// may want to look at it, and the labels are in it. A move that was interrupted goes on when it is called again.
func MoveAside(dir, aside string) error {
	// A power cut may have taken the name of the folder, or somebody may have deleted it while it was empty.
	if err := durable.Mkdir(aside, OwnedLike(dir)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return moveFiles(dir, aside, sqliteFiles(dir))
}

// MovedAside reports whether the database is in the folder aside. It is moved last, so all that was beside it is there too.
func MovedAside(aside string) bool {
	_, err := os.Lstat(filepath.Join(aside, SQLiteName))
	return err == nil
}

// SetWALAside moves the -wal of the database, and the index of it in -shm, to a folder of their own, and returns that folder.
// If the process dies before it has moved -wal, the next opening begins again. If it dies after that, the next opening finds
// that the -wal of an unclean end is missing, and checks the database.
func SetWALAside(dir string) (string, error) {
	aside, err := MakeAside(dir)
	if err != nil {
		return "", err
	}
	return aside, moveFiles(dir, aside, sqliteFiles(dir)[:2])
}

// moveFiles moves files of the store to a folder, as far as they are there. It replaces none there: when a move goes on that was interrupted, somebody may have
// made a new -wal in the place of the one that was moved, and each of the two may have what the other one lacks.
func moveFiles(dir, to string, names []string) error {
	for _, name := range names {
		target := filepath.Join(to, filepath.Base(name))
		for _, err := os.Lstat(target); err == nil; _, err = os.Lstat(target) {
			target += ".later"
		}
		if err := os.Rename(name, target); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return errors.Join(durable.SyncDir(to), durable.SyncDir(dir))
}

// ReplacementPath returns where a new database is made that will replace the one of the store in dir.
func ReplacementPath(dir string) string { return SQLitePath(dir) + durable.PartSuffix }

// Replace puts the database at ReplacementPath in the place of the damaged one, which it moves to a folder aside. f is what
// store.json says from then on. The new database must be whole and on disk.
//
// It first writes to store.json what it is about to do. From then on FinishReplacing completes it after a crash. An error
// before that changes nothing. After an error f says Replacing if store.json may say so: then the next opening needs both databases.
func Replace(dir string, f *File) (aside string, err error) {
	aside, err = MakeAside(dir)
	if err != nil {
		return "", err
	}
	next := *f
	next.Replacing = filepath.Base(aside)
	if err := Write(dir, next); err != nil {
		// If only the sync of its name has failed, the next opening reads what was written.
		if written, readErr := read(dir); readErr == nil && written.Replacing != next.Replacing {
			return "", errors.Join(err, os.Remove(aside))
		}
		*f = next
		return "", err
	}
	*f = next
	return aside, FinishReplacing(dir, f)
}

// FinishReplacing completes a Replace that was interrupted, or does nothing. Each of its steps may be done again.
func FinishReplacing(dir string, f *File) error {
	if f.Replacing == "" {
		return nil
	}
	// The note in store.json may be one whose sync has failed. It must be on disk before anything is moved.
	if err := durable.SyncDir(dir); err != nil {
		return err
	}
	_, err := os.Lstat(ReplacementPath(dir))
	if err == nil { // else the last rename is done
		if err := MoveAside(dir, filepath.Join(dir, f.Replacing)); err != nil {
			return err
		}
		err = os.Rename(ReplacementPath(dir), SQLitePath(dir))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Also if somebody else has made the rename: a process that died, or whose sync failed. store.json must not say that all is done
	// while a power cut can still undo the rename.
	if err := durable.SyncDir(dir); err != nil {
		return err
	}
	next := *f
	next.Replacing = ""
	if err := Write(dir, next); err != nil {
		return err
	}
	*f = next
	return nil
}

// RemoveSQLite deletes the database and the files beside it.
func RemoveSQLite(dir string) error {
	for _, name := range sqliteFiles(dir) {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return durable.SyncDir(dir)
}

// sqliteFiles are the database and the files that SQLite keeps beside it, in the order in which they may be moved
// away. A database without its -wal is suspect, so an interrupted move is noticed and done again. A -wal without its
// database would be taken for garbage and deleted.
func sqliteFiles(dir string) []string {
	name := SQLitePath(dir)
	return []string{name + "-shm", name + "-wal", name}
}
