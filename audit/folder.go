package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/wal"
)

// LinkError refuses a part of a store that is a symbolic link; errors.As finds it in what Open returns. A link in
// a folder that came from somebody else could lead to any file of this machine, and SQLite keeps -wal beside
// the file that a link leads to, where nobody would look for it. The store's folder itself may be a link.
type LinkError = durable.LinkError

// OwnerError refuses to write to another user's store: what is made and replaced in it would lock that user
// out. It is a fs.ErrPermission. root may write, and what it makes belongs to whom the store belongs.
type OwnerError = durable.OwnerError

// checkLinks refuses a store's folder in which something that has the name of a part of a store is a link. It
// is called before anything is opened, so that a link is found by the first command and not by the first that
// needs the file. What cannot be listed is left to whoever opens it.
func checkLinks(dir string) error {
	return checkLinksIn(dir, func(name string) bool {
		return strings.HasPrefix(name, storeFileName) || strings.HasPrefix(name, sqliteName) || strings.HasPrefix(name, seenFileName)
	})
}

// checkJournalLinks is checkLinks of the journal's folder. One within the store's must not be reached through a
// link. An absolute one is a person's choice: the folders above it may be links, as the store's may; it may not.
func checkJournalLinks(dir, journalDir string) error {
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

// checkJournalDir refuses a wal_dir that no init has written: one that leads out of the store by "..", or an
// absolute one that could be written shorter.
func checkJournalDir(journalDir string) error {
	switch {
	case filepath.IsAbs(journalDir) && filepath.Clean(journalDir) != journalDir:
		return fmt.Errorf("wal_dir is %q: write it without . and .., as %q", journalDir, filepath.Clean(journalDir))
	case !filepath.IsAbs(journalDir) && !filepath.IsLocal(journalDir):
		return fmt.Errorf("wal_dir is %q, which leads out of the store's folder: a journal that lies elsewhere has an absolute path", journalDir)
	}
	return nil
}

// ownedLike returns the file or folder that tells whose a store is, and whose what is made in it will be: its
// store.json, or its journal as long as there is no more, and "" for a new store. The store's folder does not tell:
// a mount may belong to root and be open to a group.
func ownedLike(dir string) string {
	for _, name := range []string{storeFileName, journalDirName} {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err == nil {
			return path
		}
	}
	return ""
}

// checkOwner refuses to write to another user's store, before anything is changed.
func checkOwner(dir string) error {
	if path := ownedLike(dir); path != "" {
		return durable.CheckOwner(path)
	}
	return nil
}

// JournalAwayError means that the journal of a store that was in use is not in its place. Nothing is made in its
// place: the disk that it lies on may only not be mounted. It is a wal.ErrGap, and a wal.ErrAhead as well when
// the folder is there and empty.
type JournalAwayError struct {
	Dir   string // the journal's folder
	Empty bool   // the folder is there, and has no segment
	// Unknown: store.json is lost, so that the journal may lie somewhere else (WithJournalDir).
	Unknown bool
	// NoSQLite: audit.db is missing as well, so that ReadOnly has nothing to show.
	NoSQLite bool
}

func (e *JournalAwayError) Error() string {
	what := "is gone"
	if e.Empty {
		what = "holds no segment"
	}
	if e.NoSQLite {
		return fmt.Sprintf("%v: the journal's folder %s %s, and %s is missing too; bring them back, or restore the store from a backup", wal.ErrGap, e.Dir, what, sqliteName)
	}
	return fmt.Sprintf("%v: the journal's folder %s %s; bring it back, or restore the store from a backup", wal.ErrGap, e.Dir, what)
}

func (e *JournalAwayError) Unwrap() []error {
	if e.Empty {
		return []error{wal.ErrGap, wal.ErrAhead}
	}
	return []error{wal.ErrGap}
}

// journalAway returns a *JournalAwayError when the journal of a store that was in use is not there. A store that was
// opened once has a segment from then on.
func (s storeFile) journalAway(dir string, fsys wal.FS) error {
	if !s.Used {
		return nil
	}
	away := &JournalAwayError{Dir: s.journalDir(dir), Unknown: s.lost != ""}
	_, err := fsys.List(away.Dir)
	if !errors.Is(err, fs.ErrNotExist) {
		// Errors of what is there are found by whoever reads the segments.
		if segs, err := wal.Segments(away.Dir, wal.Options{FS: fsys}); err != nil || len(segs) > 0 {
			return nil
		}
		away.Empty = true
	}
	_, err = os.Lstat(sqlitePath(dir))
	away.NoSQLite = errors.Is(err, fs.ErrNotExist)
	return away
}

// journalAway returns a *JournalAwayError when there is no journal to look at. A writer's journal tells by itself
// when its files are taken away.
func (db *DB) journalAway() error {
	if db.journal != nil {
		return nil
	}
	return db.file.journalAway(db.dir, db.opts.fs)
}

// isEmpty reports whether err says that the journal's folder is there and has no segment, which a repair can
// do something about.
func isEmpty(err error) bool {
	var away *JournalAwayError
	return errors.As(err, &away) && away.Empty
}
