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

	"github.com/auditsql/auditsql/wal"
)

// A store on disk:
//
//	DIR/store.json   what must outlive SQLite (storeFile)
//	DIR/audit.db …   SQLite
//	DIR/wal/         the journal, unless store.json names another folder
const (
	storeFileName  = "store.json"
	storeFilePart  = "store.json.part"
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

// readStoreFile returns fs.ErrNotExist when there is none.
func readStoreFile(dir string) (storeFile, error) {
	var s storeFile
	name := filepath.Join(dir, storeFileName)
	f, err := os.Open(name)
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
	return s, nil
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
	case len(s.StoreID) != 32 || s.JournalDir == "":
		return s, errors.New("store_id or wal_dir is missing")
	}
	if _, err := hex.DecodeString(s.StoreID); err != nil {
		return s, fmt.Errorf("store_id: %w", err)
	}
	return s, nil
}

// writeStoreFile replaces store.json as a whole. The new file is durable before it takes the name, so
// that whatever a crash leaves under the name is one of the two.
func writeStoreFile(dir string, s storeFile) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	fail := func(err error) error { return fmt.Errorf("write %s: %w", filepath.Join(dir, storeFileName), err) }
	part := filepath.Join(dir, storeFilePart)
	if err := wal.OS.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	f, err := wal.OS.Create(part)
	if err != nil {
		return fail(err)
	}
	_, err = f.WriteAt(append(text, '\n'), 0)
	if st, was := os.Stat(filepath.Join(dir, storeFileName)); err == nil && was == nil {
		err = os.Chmod(part, st.Mode().Perm()) // a mode that somebody set stays
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fail(err)
	}
	if err := wal.OS.Rename(part, filepath.Join(dir, storeFileName)); err != nil {
		return fail(err)
	}
	if err := wal.OS.SyncDir(dir); err != nil {
		return fail(err)
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
// is a store too; anything else without store.json is ErrNoStore.
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
	return s.journalDir(dir), nil
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
		case name == journalDirName && e.IsDir(), name == storeFilePart, name == seenFileName, name == seenFilePart,
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
