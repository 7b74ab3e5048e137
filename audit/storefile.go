package audit

import (
	"bytes"
	"cmp"
	"context"
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
	"github.com/auditsql/auditsql/sqlstore"
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
	// Rebuilding is the folder, below the store's, that a database was moved to which is being built anew, until SQLite
	// has everything again. What SQLite had on disk before says nothing of the new one meanwhile.
	Rebuilding string `json:"rebuilding,omitempty"`
	// Reached is what SQLite had on disk, when that was last noted; nil before it was noted first.
	Reached *reached `json:"reached,omitempty"`
	// Synced is the offset up to which the journal had synced when it failed, 0 if it never has. What is damaged or missing
	// below it was acknowledged.
	Synced wal.Offset `json:"synced,omitempty"`
	// Left is the offset up to which SQLite had everything when the store was closed and a reader kept the close from
	// being clean. SQLite copies the rest and removes -wal when that reader goes.
	Left *wal.Offset `json:"left,omitempty"`
	// lost says why this was made anew, see recallStoreFile; "" as a rule.
	lost string
	// Failed says that SQLite's files could not be written, since the store was opened last with all of it on disk.
	Failed *failure `json:"failed,omitempty"`
}

// failure is when and why writing SQLite's files has failed.
type failure struct {
	At    time.Time `json:"at"`
	Error string    `json:"error"`
}

// fail notes why the writer of SQLite's files has stopped. What SQLite refuses to read is in doubt from then on.
func (s *storeFile) fail(at time.Time, cause error) {
	s.Clean, s.Left = false, nil
	if s.Failed == nil {
		s.Failed = &failure{at.UTC().Truncate(time.Millisecond), cause.Error()}
	}
	if errors.Is(cause, sqlstore.ErrMalformed) {
		s.Doubted = true
	}
}

// A StoreFileError says that store.json is there and cannot be used: it is empty, cut or changed. It can be made anew
// from what SQLite keeps of it, which opening the store for writing does. It is an ErrDamaged.
type StoreFileError struct {
	Path string
	Err  error
}

func (e *StoreFileError) Error() string   { return fmt.Sprintf("%s: %v", e.Path, e.Err) }
func (e *StoreFileError) Unwrap() []error { return []error{ErrDamaged, e.Err} }

// ErrNoStore means that the folder holds no store.
var ErrNoStore = errors.New("no store here")

// ErrMismatch means that the parts of a store do not belong together: a database or a journal of another
// store, or of another time.
var ErrMismatch = errors.New("the parts of the store do not belong together")

// A ForeignError says that the database in the store's folder is another store's, or that its time unit is another one.
// Whoever reads the store is refused as well: the records in it are not this store's. It is an ErrMismatch.
type ForeignError struct {
	Path string
	Why  string
}

func (e *ForeignError) Error() string { return fmt.Sprintf("%s: %v: %s", e.Path, ErrMismatch, e.Why) }
func (e *ForeignError) Unwrap() error { return ErrMismatch }

// checkStore returns a *ForeignError when the database at path says that it belongs to another store.
func (s storeFile) checkStore(path string, m sqlstore.Meta) error {
	if m.StoreID == s.StoreID {
		return nil
	}
	return &ForeignError{path, fmt.Sprintf("it belongs to store %s, %s says %s", cmp.Or(m.StoreID, "none"), storeFileName, s.StoreID)}
}

// checkUnit is checkStore for the time unit.
func (s storeFile) checkUnit(path string, m sqlstore.Meta) error {
	if m.TimeUnit == s.TimeUnit.String() {
		return nil
	}
	return &ForeignError{path, fmt.Sprintf("its time unit is %s, %s says %s", cmp.Or(m.TimeUnit, "unknown"), storeFileName, s.TimeUnit)}
}

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
	s, err = parseStoreFile(text)
	switch {
	case errors.Is(err, sqlstore.ErrNewer):
		return s, fmt.Errorf("%s: %w", name, err)
	case err != nil:
		return s, &StoreFileError{name, err}
	}
	// Somebody has written that, and knows why. It is not for us to put something else in its place.
	if err := checkJournalDir(s.JournalDir); err != nil {
		return s, fmt.Errorf("%s: %w", name, err)
	}
	return s, checkJournalLinks(dir, s.JournalDir)
}

func parseStoreFile(text []byte) (storeFile, error) {
	var s storeFile
	if len(bytes.Trim(text, "\x00 \t\r\n")) == 0 {
		return s, errors.New("it is empty")
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, err
	}
	switch {
	case s.Format > storeFormat:
		return s, fmt.Errorf("%w: format %d", sqlstore.ErrNewer, s.Format)
	case s.Format != storeFormat:
		return s, fmt.Errorf("format %d is none of auditsql's", s.Format)
	case len(s.StoreID) != 32:
		return s, errors.New("store_id is missing")
	}
	if _, err := hex.DecodeString(s.StoreID); err != nil {
		return s, fmt.Errorf("store_id: %w", err)
	}
	if s.JournalDir == "" {
		return s, errors.New("wal_dir is missing")
	}
	return s, nil
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

// recallStoreFile is readStoreFile for a store whose store.json may be lost: it is then made anew, in memory, from what
// table store of the database keeps of it, and lost says why. The rest is as careful as can be: nothing is trimmed until
// somebody says how much journal to keep, and SQLite is in doubt. It is fs.ErrNotExist when there is neither file;
// then lost says whether there is a store.json that is of no use.
func recallStoreFile(ctx context.Context, dir string) (s storeFile, lost string, err error) {
	s, err = readStoreFile(dir)
	var broken *StoreFileError
	switch {
	case err == nil:
		return s, "", nil
	case errors.As(err, &broken):
		lost = fmt.Sprintf("%s is damaged (%v)", storeFileName, broken.Err)
	case errors.Is(err, fs.ErrNotExist):
		lost = storeFileName + " is missing"
	default:
		return s, "", err
	}
	meta, unread := sqlstore.ReadCursor(ctx, sqlitePath(dir))
	switch {
	case errors.Is(unread, sqlstore.ErrMalformed), unread == nil && (!meta.Exists || len(meta.StoreID) != 32):
		// SQLite cannot tell. A journal may.
		if broken == nil {
			lost = ""
		}
		return storeFile{}, lost, fs.ErrNotExist
	case unread != nil:
		return s, "", unread
	}
	s = storeFile{
		Format: storeFormat, StoreID: meta.StoreID, JournalDir: journalDirName, Retention: RetainAll,
		CreatedBy: "auditsql", CreatedAt: time.Now().UTC().Truncate(time.Millisecond), Used: true, Doubted: true, lost: lost,
	}
	if err := s.TimeUnit.UnmarshalText([]byte(meta.TimeUnit)); err != nil {
		return s, "", fmt.Errorf("%s: %w: %w", sqlitePath(dir), ErrDamaged, err)
	}
	// Where SQLite says that it lies, unless it is where it usually is.
	if st, err := os.Lstat(filepath.Join(dir, journalDirName)); (err != nil || !st.IsDir()) && filepath.IsAbs(meta.JournalDir) {
		s.JournalDir = filepath.Clean(meta.JournalDir)
	}
	return s, lost, checkJournalLinks(dir, s.JournalDir)
}

// JournalDir returns the folder of the journal of the store in dir. A folder with nothing but wal/ in it
// is a store too; anything else without store.json is ErrNoStore, unless SQLite knows of the journal. A journal that
// should be there and is not is a *JournalAwayError, which comes together with the folder.
func JournalDir(dir string) (string, error) {
	s, _, err := recallStoreFile(context.Background(), dir)
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
		case strings.HasPrefix(name, sqliteName), strings.HasPrefix(name, storeFileName), strings.HasPrefix(name, asidePrefix):
			// Of a store that has lost its store.json, or of which nothing else than the journal can be read.
			if _, err := os.Lstat(filepath.Join(dir, journalDirName)); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s: %w: there is %s, and neither a %s that can be read nor a journal: restore the store from a backup", dir, ErrMismatch, name, storeFileName)
			}
		default:
			return fmt.Errorf("%s: %w, and none is made among other files (%s)", dir, ErrNoStore, name)
		}
	}
	return nil
}

// sqlitePath returns the path of the database.
func sqlitePath(dir string) string { return filepath.Join(dir, sqliteName) }
