package audit

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/wal"
)

// A store on disk:
//
//	DIR/store.json   what must outlive SQLite (storeFile)
//	DIR/audit.db …   SQLite
//	DIR/wal/         the journal, unless store.json names another folder
const (
	storeFileName  = "store.json"
	sqliteName     = "audit.db"
	journalDirName = "wal"

	storeFormat = 2
)

// storeFile is the content of store.json.
type storeFile struct {
	Format       int       `json:"format"`
	StoreID      string    `json:"store_id"` // 32 hex digits
	TimeUnit     TimeUnit  `json:"time_unit"`
	JournalDir   string    `json:"wal_dir"` // below the store's folder, or absolute
	Retention    Retention `json:"wal_retain"`
	SegmentBytes int64     `json:"segment_bytes,omitempty"` // 0: the journal's default
	CreatedBy    string    `json:"created_by"`
	CreatedAt    time.Time `json:"created_at"`
	// Used says that the store was opened once, so that a journal and a database have been there: when both
	// are gone, something is lost.
	Used bool `json:"used"`
	// Clean says that SQLite has everything on disk, and nothing was written to it since. When it is false, a
	// -wal that is missing or empty means that somebody has been at the files.
	Clean bool `json:"clean"`
	// Doubted says that the database was found not to be believed, and has not been checked to the end since:
	// opening it once has given it a -wal that shows nothing of that any more.
	Doubted bool `json:"doubted,omitempty"`
	// Reached is what SQLite had on disk, when that was last noted; nil before it was noted first.
	Reached *reached `json:"reached,omitempty"`
}

// ErrNoStore means that the folder holds no store.
var ErrNoStore = errors.New("no store here")

// ErrMismatch means that the parts of a store do not belong together: a database or a journal of another
// store, or of another time.
var ErrMismatch = errors.New("the parts of the store do not belong together")

// ErrDamaged means that a store was found damaged; Verify tells where.
var ErrDamaged = errors.New("the store is damaged")

// readStoreFile returns fs.ErrNotExist when there is none. Everybody who opens a store calls it first, so it also
// refuses a store with a part that is a link.
func readStoreFile(dir string) (storeFile, error) {
	var s storeFile
	if err := checkLinks(dir); err != nil {
		return s, err
	}
	name := filepath.Join(dir, storeFileName)
	f, err := durable.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		// It may be a store with nothing but its journal.
		if link := checkJournalLinks(dir, journalDirName); link != nil {
			return s, link
		}
	}
	if err != nil {
		return s, err
	}
	defer f.Close()
	const longest = 1 << 20
	text, err := io.ReadAll(io.LimitReader(f, longest))
	if err != nil {
		return s, err
	}
	if s, err = parseStoreFile(text); err != nil {
		return s, fmt.Errorf("%s: %w", name, err)
	}
	return s, checkJournalLinks(dir, s.JournalDir)
}

func parseStoreFile(text []byte) (storeFile, error) {
	var s storeFile
	if err := json.Unmarshal(text, &s); err != nil {
		return s, err
	}
	switch {
	case s.Format > storeFormat:
		return s, fmt.Errorf("format %d was made by a newer version of auditsql", s.Format)
	case s.Format != storeFormat:
		return s, fmt.Errorf("format %d is none of auditsql's", s.Format)
	case len(s.StoreID) != 32:
		return s, errors.New("store_id is missing")
	}
	return s, checkJournalDir(s.JournalDir)
}

// writeStoreFile replaces store.json as a whole.
func writeStoreFile(dir string, s storeFile) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	name := filepath.Join(dir, storeFileName)
	err = durable.WriteFile(name, ownedLike(dir), func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// newStoreFile is what a store begins with that was not told otherwise.
func newStoreFile(o options) storeFile {
	var id [16]byte
	rand.Read(id[:])
	s := storeFile{
		Format: storeFormat, StoreID: hex.EncodeToString(id[:]), JournalDir: journalDirName,
		Retention: RetainDefault, SegmentBytes: o.segmentBytes,
		CreatedBy: o.createdBy, CreatedAt: time.Now().UTC().Truncate(time.Millisecond), Clean: true,
	}
	if o.unit != nil {
		s.TimeUnit = *o.unit
	}
	if o.retention != nil {
		s.Retention = *o.retention
	}
	return s
}

// journalDir returns where the journal lies.
func (s storeFile) journalDir(dir string) string {
	if filepath.IsAbs(s.JournalDir) {
		return s.JournalDir
	}
	return filepath.Join(dir, s.JournalDir)
}

// JournalDir returns the folder of the journal of the store in dir. A folder with nothing but wal/ in it
// is a store too; anything else without store.json is ErrNoStore. A journal that should be there and is not is a
// *JournalAwayError, which comes together with the folder.
func JournalDir(dir string) (string, error) {
	s, err := readStoreFile(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if st, err := os.Stat(filepath.Join(dir, journalDirName)); err == nil && st.IsDir() {
			return filepath.Join(dir, journalDirName), nil
		}
		return "", noStore(dir)
	}
	if err != nil {
		return "", err
	}
	return s.journalDir(dir), s.journalAway(dir, wal.OS)
}

func noStore(dir string) error { return fmt.Errorf("%s: %w", dir, ErrNoStore) }

// checkVacant refuses to make a store among somebody's files: only an absent folder, an empty one, or
// one with nothing but a journal in it will do.
func checkVacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		switch {
		case name == journalDirName && e.IsDir(), name == storeFileName+durable.PartSuffix, name == seenFileName, name == seenFileName+durable.PartSuffix,
			name == "lost+found", strings.HasPrefix(name, "."):
		case name == sqliteName:
			return fmt.Errorf("%s: %w: it has %s and no %s, which must be restored from a backup", dir, ErrMismatch, sqliteName, storeFileName)
		default:
			return fmt.Errorf("%s: %w, and none is made among other files (%s)", dir, ErrNoStore, name)
		}
	}
	return nil
}

// sqlitePath returns the path of the database.
func sqlitePath(dir string) string { return filepath.Join(dir, sqliteName) }
