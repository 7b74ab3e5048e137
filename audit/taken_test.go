package audit_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// What was acknowledged reaches SQLite although its segment has lost its name, or has got another file's: the writer has it open.
func TestABacklogWhoseSegmentWasTakenAway(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(string) error{
		"deleted": os.Remove,
		"moved":   func(name string) error { return os.Rename(name, name+".old") },
		"replaced": func(name string) error {
			return errors.Join(os.Rename(name, name+".old"), os.WriteFile(name, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "store")
			db := openDB(t, dir)
			lines := putSamples(t, db, 0, 10)
			wantRoom(t, db)
			s := openShell(t, dir)
			s.do("BEGIN IMMEDIATE") // nothing can be applied
			maps.Copy(lines, putSamples(t, db, 10, 30))
			if err := take(filepath.Join(dir, "wal", "0000000000000000.wal")); err != nil {
				t.Fatal(err)
			}
			s.do("ROLLBACK")
			if err := db.AwaitWritten(t.Context()); err != nil {
				t.Errorf("what was acknowledged does not reach SQLite: %v", err)
			}
			_ = db.Close() // it may tell of the segment
			reader, err := audit.Open(dir, audit.ReadOnly(), audit.WithReads(audit.Applied))
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			for id, line := range lines {
				if raw, err := reader.GetRaw(t.Context(), id); err != nil || string(raw) != line {
					t.Fatalf("get: %s, %v", raw, err)
				}
			}
		})
	}
}

// fullTable has no descriptor for a segment, for so many tries.
type fullTable struct {
	wal.FS
	fails *atomic.Int32
}

func (f fullTable) Open(name string) (wal.File, error) {
	if strings.HasSuffix(name, ".wal") && f.fails.Add(-1) >= 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	return f.FS.Open(name)
}

// To apply a batch no file is opened that may be lacking for a moment.
func TestABatchNeedsNoDescriptor(t *testing.T) {
	t.Parallel()
	fails := new(atomic.Int32)
	db := openDB(t, filepath.Join(t.TempDir(), "store"), audit.WithJournalFS(fullTable{wal.OS, fails}))
	lines := putSamples(t, db, 0, 10)
	wantRoom(t, db)
	fails.Store(1000)
	maps.Copy(lines, putSamples(t, db, 10, 20))
	if err := db.AwaitApplied(t.Context()); err != nil {
		t.Error(err)
	}
	fails.Store(0)
	wantAll(t, db, lines)
}

// heldFS knows how many files of the journal are open, and how many were at most.
type heldFS struct {
	wal.FS
	now, most *atomic.Int32
}

type heldFile struct {
	wal.File
	now *atomic.Int32
}

func (h heldFS) Open(name string) (wal.File, error) {
	f, err := h.FS.Open(name)
	if err != nil {
		return nil, err
	}
	now := h.now.Add(1)
	for most := h.most.Load(); now > most && !h.most.CompareAndSwap(most, now); most = h.most.Load() {
	}
	return heldFile{f, h.now}, nil
}

func (f heldFile) Close() error {
	f.now.Add(-1)
	return f.File.Close()
}

// A journal may have segments of a record each. Few of them are open at a time.
func TestAReplayHoldsFewFiles(t *testing.T) {
	t.Parallel()
	dir, lines := closedStore(t, 0, 1000, audit.WithSegmentBytes(1000), audit.WithRetention(audit.RetainAll))
	removeSQLite(t, dir)
	now, most := new(atomic.Int32), new(atomic.Int32)
	db := openDB(t, dir, audit.WithJournalFS(heldFS{wal.OS, now, most}))
	if stats := must(db.Stats(t.Context())); stats.Audits != uint64(len(lines)) {
		t.Errorf("%d records", stats.Audits)
	}
	if segments, _ := filepath.Glob(filepath.Join(dir, "wal", "*.wal")); len(segments) < 500 || most.Load() > 150 {
		t.Errorf("of %d segments %d were open at a time", len(segments), most.Load())
	}
	closeDB(t, db)
	if now.Load() != 0 {
		t.Errorf("%d files are open after the end", now.Load())
	}
}

// Who has moved SQLite's file is told to save it before they end the process, which may have the only copy.
func TestNobodyIsToldToEndAProcessThatHasTheOnlyCopy(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 60, audit.WithSegmentBytes(4000), audit.WithRetention(audit.RetainNone))
	db := openDB(t, dir)
	putSamples(t, db, 60, 61)
	wantRoom(t, db)
	if err := os.Rename(filepath.Join(dir, "audit.db"), filepath.Join(t.TempDir(), "gone")); err != nil {
		t.Fatal(err)
	}
	for n := 61; db.Err() == nil; n++ { // the files are looked at once a second
		q := sample(n)
		if _, err := db.PutAudit(t.Context(), &q); err == nil {
			_ = db.AwaitApplied(t.Context())
		}
	}
	if err := db.Err(); !errors.Is(err, sqlstore.ErrMoved) || strings.Contains(err.Error(), "safe") || !strings.Contains(err.Error(), "save it") {
		t.Error(err)
	}
}

// lateFS says late that it cannot list a folder: at one of the calls to come.
type lateFS struct {
	wal.FS
	fails *atomic.Int32
}

func (l lateFS) List(dir string) ([]string, error) {
	if l.fails.Add(-1) != 0 {
		return l.FS.List(dir)
	}
	time.Sleep(120 * time.Millisecond) // longer than Progress waits
	return nil, &fs.PathError{Op: "open", Path: dir, Err: syscall.EMFILE}
}

// A journal that could not be opened, or read, in time is opened again by the next call.
func TestAJournalThatIsNotOpenedInTime(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 10)
	for call := int32(1); call <= 3; call++ {
		fails := new(atomic.Int32)
		db, err := audit.Open(dir, audit.ReadOnly(), audit.WithReads(audit.Applied), audit.WithJournalFS(lateFS{wal.OS, fails}))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		fails.Store(call)
		unknown := db.Progress().Unknown
		if late := fails.Load() <= 0; late != unknown {
			t.Errorf("call %d: %t, unknown: %t", call, late, unknown)
		}
		fails.Store(0)
		for p := db.Progress(); p.Unknown || p.LagBytes != 0; p = db.Progress() {
			if t.Context().Err() != nil {
				t.Fatalf("%+v", p)
			}
		}
	}
}

// slowFS answers reads late.
type slowFS struct {
	wal.FS
	late *atomic.Bool
}

type slowFile struct {
	wal.File
	late *atomic.Bool
	read *atomic.Int64
}

func (s slowFS) Open(name string) (wal.File, error) {
	f, err := s.FS.Open(name)
	return slowFile{f, s.late, nil}, err
}

func (f slowFile) ReadAt(p []byte, off int64) (int, error) {
	if f.late != nil && f.late.Load() {
		time.Sleep(120 * time.Millisecond) // longer than Progress waits
	}
	if f.read != nil {
		f.read.Add(int64(len(p)))
	}
	return f.File.ReadAt(p, off)
}

// A lag that could not be read in time is not known. It is not none.
func TestALagThatIsReadTooSlowlyIsNotKnown(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir, audit.WithReads(audit.Applied))
	putSamples(t, db, 0, 5)
	if err := db.AwaitApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	late := new(atomic.Bool)
	reader, err := audit.Open(dir, audit.ReadOnly(), audit.WithReads(audit.Applied), audit.WithJournalFS(slowFS{wal.OS, late}))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	s := openShell(t, dir)
	s.do("BEGIN IMMEDIATE")
	putSamples(t, db, 5, 50)
	late.Store(true)
	if p := reader.Progress(); !p.Unknown {
		t.Errorf("%+v while 45 records are missing", p)
	}
	late.Store(false)
	if p := reader.Progress(); p.Unknown || p.LagBytes == 0 {
		t.Errorf("%+v while 45 records are missing", p)
	}
	s.do("ROLLBACK")
	if err := db.AwaitApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := reader.Progress(); p.Unknown || p.LagBytes != 0 {
		t.Errorf("%+v while none is missing", p)
	}
}

// readFS counts the bytes that are read.
type readFS struct {
	wal.FS
	read *atomic.Int64
}

func (s readFS) Open(name string) (wal.File, error) {
	f, err := s.FS.Open(name)
	return slowFile{f, nil, s.read}, err
}

// A store to which nobody writes reads its journal once to know that SQLite has all, and not for each answer.
func TestTheLagOfAStoreAtRestIsReadOnce(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 5000)
	read := new(atomic.Int64)
	db, err := audit.Open(dir, audit.ReadOnly(), audit.WithReads(audit.Applied), audit.WithJournalFS(readFS{wal.OS, read}))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for db.Progress().Unknown {
	}
	read.Store(0)
	for range 3 {
		if p := db.Progress(); p.Unknown || p.LagBytes != 0 {
			t.Errorf("%+v", p)
		}
	}
	if read.Load() > 1<<20 {
		t.Errorf("%d bytes of the journal were read again", read.Load())
	}
}
