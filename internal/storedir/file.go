// Package storedir knows the folder of a store: what is in it, what store.json says, and what an opening does with
// the database that it finds.
//
//	DIR/store.json    what must survive the loss of SQLite ([File])
//	DIR/audit.db …    SQLite
//	DIR/ids.filter    the filter over ids (package idfilter), after a clean close
//	DIR/log.json …    who signs the store's log, and what was signed (package signing)
//	DIR/wal/          the journal, unless store.json names another folder. The folder of a store that follows a log has nothing
//	                  but the writer's lock there
//	DIR/inbox/        spans that were received and are not records yet (package otlp/receive)
//	DIR/tokens …      who may use the server of the store (package tokens)
//	DIR/serve.sock    where that server takes what commands write (package socket)
//	DIR/aside-…/      files that an opening has moved out of the way
//
// An opening takes three steps. Only the last one changes anything, and it is in package audit:
//
//	ReadFacts ─► Facts ─► Decide ─► Plan ─► package audit carries it out
//
// [Decide] is a pure function of the facts. It promises that a database that may be wrong is never used as it is: it is
// checked, or rebuilt from the journal, or the store is refused.
//
// It leaves to package audit the lock, the journal's recovery, the replay, and the errors that programs distinguish.
package storedir

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

// The names in a store's folder.
const (
	FileName    = "store.json"
	SQLiteName  = "audit.db"
	JournalName = "wal"
	FilterName  = "ids.filter"
	InboxName   = "inbox" // a journal of spans that are not records yet

	LogName        = "log.json"
	CheckpointName = "checkpoint"
	HistoryName    = "checkpoints.ndjson"

	TokensName     = "tokens"
	TokensLockName = "tokens.lock"
	SocketName     = "serve.sock"

	asidePrefix = "aside-" // followed by a number
)

// ownNames are all names in a store's folder, as patterns. ofUsed says that only a store that was used has such a file: without a journal it
// shows that a store is lost. A name that is missing here would keep a store from being made anew from its journal, see CheckVacant.
var ownNames = []struct {
	pattern string
	ofUsed  bool
}{
	{FileName + durable.PartSuffix, false},
	{FileName + "*", true},
	{SQLiteName + "*", true}, // with what SQLite has beside it, and what replaces it
	{JournalName, false},
	{FilterName, false}, {FilterName + durable.PartSuffix, false},
	{InboxName, true},
	{LogName + "*", true},
	{CheckpointName, true}, {CheckpointName + durable.PartSuffix, true}, {HistoryName, true},
	{TokensName, true}, {TokensName + durable.PartSuffix, true}, {TokensLockName, false},
	{SocketName, false}, {SocketName + durable.PartSuffix, false},
	{asidePrefix + "*", true},
}

// SQLitePath returns the path of the database of the store in dir.
func SQLitePath(dir string) string { return filepath.Join(dir, SQLiteName) }

// ErrNoStore means that the folder holds no store.
var ErrNoStore = errors.New("no store here")

// ErrMismatch means that the parts of a store do not belong together.
var ErrMismatch = errors.New("the parts of the store do not belong together")

// ErrDamaged means that a store was found damaged.
var ErrDamaged = errors.New("the store is damaged")

// The versions of store.json. A store that follows a log has a format of its own, so that a version of this program that does not
// know such stores does not write there.
const (
	format        = 2
	formatFollows = 3
)

// File is the content of store.json.
type File struct {
	Format       int       `json:"format"`
	StoreID      string    `json:"store_id"` // 32 hex digits
	TimeUnit     Unit      `json:"time_unit"`
	JournalDir   string    `json:"wal_dir"` // within the store's folder, or absolute
	Retention    Retention `json:"wal_retain"`
	SegmentBytes int64     `json:"segment_bytes,omitempty"` // 0: the journal's default
	CreatedBy    string    `json:"created_by"`
	CreatedAt    time.Time `json:"created_at"`
	// Used says that the store was opened once, so that a journal and a database existed. When both are missing,
	// something is lost.
	Used bool `json:"used"`
	// Clean says that SQLite has everything on disk, and that nothing was written to it since. When it is false, a
	// missing or empty -wal means that somebody has changed the files.
	Clean bool `json:"clean"`
	// Doubted says that the database was found to be suspect, and was not checked to the end since. It must be noted:
	// one opening gives the database a new -wal, after which the files look sound.
	Doubted bool `json:"doubted,omitempty"`
	// Doubt is why, as far as it is known.
	Doubt string `json:"doubt,omitempty"`
	// Rebuilding is set while a database is being rebuilt. It is the folder, within the store's, that the old one is moved
	// to. Meanwhile Reached does not count: it says what the old database had. Together with Doubted it does not say whether the
	// old one was moved yet; MovedAside does.
	Rebuilding string `json:"rebuilding,omitempty"`
	// Replacing is set while a database that was salvaged takes the place of the damaged one, see Replace. It is the folder,
	// within the store's, that the damaged one is moved to.
	Replacing string `json:"replacing,omitempty"`
	// Reached is what SQLite had on disk when that was noted last, nil before the first note.
	Reached *Reached `json:"reached,omitempty"`
	// Synced is the offset up to which the journal was synced when Reached was noted, or when it failed; 0 if Reached says as much. What
	// is damaged or missing before that offset was acknowledged.
	Synced wal.Offset `json:"synced,omitempty"`
	// Left is the offset up to which SQLite had everything when the store was closed while a reader kept the close from
	// being clean. SQLite copies the rest and removes -wal when that reader ends.
	Left *wal.Offset `json:"left,omitempty"`
	// Failed says that SQLite's files could not be written. A later checkpoint that brings all of SQLite to disk removes it.
	Failed *Failure `json:"failed,omitempty"`

	// Follows names the log that the store gets its records from. It is nil for a store with a journal of its own. In a store that
	// follows a log, offsets are the numbers of the log's messages.
	Follows *Origin `json:"follows,omitempty"`

	// Lost says why store.json could not be read and Recall derived this File. It is "" for a File that was read.
	Lost string `json:"-"`
}

// Origin is a log on other machines.
type Origin struct {
	Log string `json:"log"` // what a person calls it
	ID  string `json:"id"`  // of this log: one that was made again under the name has another
	// Unproven says that records came from it while it was not certain that it keeps what it acknowledges. It stays.
	Unproven bool `json:"unproven,omitempty"`
}

// Name is what reports call the log.
func (o *Origin) Name() string {
	if o.Unproven {
		return o.Log + ", which was not proven to keep what it acknowledged"
	}
	return o.Log
}

// Text is what the database keeps of a log, for when store.json is lost; "" when there is none.
func (o *Origin) Text() string {
	if o == nil {
		return ""
	}
	text, err := json.Marshal(o)
	if err != nil {
		return "" // two texts can always be written
	}
	return string(text)
}

// Follow makes f the file of a store that follows a log.
func (f *File) Follow(o Origin) { f.Format, f.Follows = formatFollows, &o }

// Failure is when and why writing SQLite's files failed.
type Failure struct {
	At    time.Time `json:"at"`
	Error string    `json:"error"`
}

// Fail notes why the writer of SQLite's files has stopped. A database that SQLite refuses to read is suspect from then
// on.
func (f *File) Fail(at time.Time, cause error) {
	f.Clean, f.Left = false, nil
	switch {
	case errors.Is(cause, sqlstore.ErrMalformed):
		f.Suspect(strings.TrimPrefix(cause.Error(), sqlstore.ErrFailed.Error()+": ")) // nothing was written
	case f.Failed == nil:
		f.Failed = &Failure{at.UTC().Truncate(time.Millisecond), cause.Error()}
	}
}

// Suspect notes that the database is suspect. The first reason stays.
func (f *File) Suspect(doubt string) {
	if !f.Doubted || f.Doubt == "" {
		f.Doubted, f.Doubt = true, doubt
	}
}

// Trust notes that the database was checked to the end.
func (f *File) Trust() { f.Doubted, f.Doubt = false, "" }

// JournalPath returns where the journal of the store in dir lies.
func (f File) JournalPath(dir string) string {
	if filepath.IsAbs(f.JournalDir) {
		return f.JournalDir
	}
	return filepath.Join(dir, f.JournalDir)
}

// A ForeignError says that a database and store.json differ in what never changes: the store's id or its time unit. It
// is an ErrMismatch.
type ForeignError struct {
	Path, Why string
	// Edited: the journal agrees with the database, so store.json was changed.
	Edited bool
}

func (e *ForeignError) Error() string { return fmt.Sprintf("%s: %v: %s", e.Path, ErrMismatch, e.Why) }
func (e *ForeignError) Unwrap() error { return ErrMismatch }

// CheckStore returns a *ForeignError when the database at path says that it belongs to another store, else nil. journal
// is the identity of the store's journal, or nil when it is not known.
func (f File) CheckStore(path string, m sqlstore.Meta, journal []byte) error {
	if m.StoreID == f.StoreID {
		return nil
	}
	e := &ForeignError{Path: path, Why: fmt.Sprintf("it belongs to store %s, %s says %s", cmp.Or(m.StoreID, "none"), FileName, f.StoreID)}
	if id, _, ok := ParseIdentity(journal); ok && id == m.StoreID {
		e.Why, e.Edited = e.Why+", and the journal is of store "+id+" as well", true
	}
	return e
}

// CheckUnit is CheckStore for the time unit.
func (f File) CheckUnit(path string, m sqlstore.Meta, journal []byte) error {
	if m.TimeUnit == string(f.TimeUnit) {
		return nil
	}
	e := &ForeignError{Path: path, Why: fmt.Sprintf("its time unit is %s, %s says %s", cmp.Or(m.TimeUnit, "unknown"), FileName, f.TimeUnit)}
	if _, unit, ok := ParseIdentity(journal); ok && string(unit) == m.TimeUnit {
		e.Why, e.Edited = fmt.Sprintf("%s, and the time unit of the journal is %s as well", e.Why, unit), true
	}
	return e
}

// New returns the file of a new store, with a random id and the defaults.
func New(createdBy string) File {
	var id [16]byte
	rand.Read(id[:])
	return File{
		Format: format, StoreID: hex.EncodeToString(id[:]), TimeUnit: DefaultUnit, JournalDir: JournalName,
		Retention: RetainDefault, CreatedBy: createdBy, CreatedAt: time.Now().UTC().Truncate(time.Millisecond), Clean: true,
	}
}

// brokenError says why store.json cannot be used: it is empty, cut or changed.
type brokenError struct{ error }

// read reads store.json. It returns fs.ErrNotExist when there is none, and a brokenError for one that cannot be used. It is
// the first step of each opening. So it also refuses a store in which a part is a symbolic link.
func read(dir string) (File, error) {
	if err := checkLinks(dir); err != nil {
		return File{}, err
	}
	name := filepath.Join(dir, FileName)
	opened, err := durable.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		// It may be a store with nothing but its journal.
		if link := CheckJournalLinks(dir, JournalName); link != nil {
			return File{}, link
		}
	}
	if err != nil {
		return File{}, err
	}
	defer opened.Close()
	const longest = 1 << 20
	text, err := io.ReadAll(io.LimitReader(opened, longest))
	if err != nil {
		return File{}, err
	}
	f, err := parse(text)
	switch {
	case errors.Is(err, sqlstore.ErrNewer):
		return f, fmt.Errorf("%s: %w", name, err)
	case err != nil:
		return f, brokenError{err}
	}
	// A wal_dir that auditsql does not write was written by a person, on purpose. So this file is refused, not replaced.
	if err := checkJournalDir(f.JournalDir); err != nil {
		return f, fmt.Errorf("%s: %w", name, err)
	}
	return f, CheckJournalLinks(dir, f.JournalDir)
}

func parse(text []byte) (File, error) {
	var f File
	if len(bytes.Trim(text, "\x00 \t\r\n")) == 0 {
		return f, errors.New("it is empty")
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return f, err
	}
	switch {
	case f.Format > formatFollows:
		return f, fmt.Errorf("%w: format %d", sqlstore.ErrNewer, f.Format)
	case f.Format != format && f.Format != formatFollows:
		return f, fmt.Errorf("format %d is unknown", f.Format)
	case (f.Format == formatFollows) != (f.Follows != nil):
		return f, fmt.Errorf("format %d does not fit what it says about a log", f.Format)
	case len(f.StoreID) != 32:
		return f, errors.New("store_id is missing")
	}
	if _, err := hex.DecodeString(f.StoreID); err != nil {
		return f, fmt.Errorf("store_id: %w", err)
	}
	if f.JournalDir == "" {
		return f, errors.New("wal_dir is missing")
	}
	if f.TimeUnit == "" {
		f.TimeUnit = DefaultUnit
	}
	return f, nil
}

// Write replaces the store.json of the store in dir as a whole. It is durable when Write returns.
func Write(dir string, f File) error {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	name := filepath.Join(dir, FileName)
	if err := durable.WriteBytes(name, OwnedLike(dir), append(text, '\n')); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// Recall reads store.json. If store.json is missing or damaged, Recall derives its content from table store of the
// database, which has a copy of some of it, and File.Lost says why. The rest gets the most careful values: the whole
// journal is kept until somebody says how much to keep, and SQLite is suspect. Nothing is written.
//
// The error is fs.ErrNotExist when the database does not have the copy either. Then Lost is not "" if there is a damaged
// store.json.
func Recall(ctx context.Context, dir string) (File, error) {
	f, err := read(dir)
	var broken brokenError
	var lost string
	switch {
	case err == nil:
		return f, nil
	case errors.As(err, &broken):
		lost = fmt.Sprintf("%s is damaged (%v)", FileName, broken)
	case errors.Is(err, fs.ErrNotExist):
		lost = FileName + " is missing"
	default:
		return f, err
	}
	meta, unread := sqlstore.ReadCursor(ctx, SQLitePath(dir))
	switch {
	case errors.Is(unread, sqlstore.ErrMalformed), unread == nil && (!meta.Exists || len(meta.StoreID) != 32):
		// The caller may still find the store's id in the journal.
		if broken.error == nil {
			lost = ""
		}
		return File{Lost: lost}, fs.ErrNotExist
	case unread != nil:
		return f, unread
	}
	f = File{
		Format: format, StoreID: meta.StoreID, JournalDir: JournalName, Retention: RetainAll,
		CreatedBy: "auditsql", CreatedAt: time.Now().UTC().Truncate(time.Millisecond), Used: true, Doubted: true, Lost: lost,
	}
	if err := f.TimeUnit.UnmarshalText([]byte(meta.TimeUnit)); err != nil {
		return f, fmt.Errorf("%s: %w: %w", SQLitePath(dir), ErrDamaged, err)
	}
	if meta.Follows != "" {
		var o Origin
		if err := json.Unmarshal([]byte(meta.Follows), &o); err != nil {
			return f, fmt.Errorf("%s: %w: which log the store follows: %w", SQLitePath(dir), ErrDamaged, err)
		}
		f.Follow(o)
		return f, nil
	}
	// If the journal is not in its usual folder, it is where SQLite says.
	if st, err := os.Lstat(filepath.Join(dir, JournalName)); (err != nil || !st.IsDir()) && filepath.IsAbs(meta.JournalDir) {
		f.JournalDir = filepath.Clean(meta.JournalDir)
	}
	return f, CheckJournalLinks(dir, f.JournalDir)
}
