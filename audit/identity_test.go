package audit_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/wal"
)

var units = map[audit.TimeUnit]byte{audit.Seconds: 0, audit.Milliseconds: 1, audit.Microseconds: 2, audit.Nanoseconds: 3}

// bareJournal is a store of which nothing is left but the journal.
func bareJournal(t *testing.T, dir string) string {
	t.Helper()
	bare := t.TempDir()
	if err := os.CopyFS(filepath.Join(bare, "wal"), os.DirFS(filepath.Join(dir, "wal"))); err != nil {
		t.Fatal(err)
	}
	return bare
}

// storeFile is what store.json says.
func storeFile(t *testing.T, dir string) (s struct {
	StoreID  string `json:"store_id"`
	TimeUnit string `json:"time_unit"`
}) {
	t.Helper()
	if err := json.Unmarshal(must(os.ReadFile(filepath.Join(dir, "store.json"))), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAJournalByItselfKeepsIDAndTimeUnit(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	for unit, b := range units {
		t.Run(unit.String(), func(t *testing.T) {
			t.Parallel()
			dir, lines := closedStore(t, 0, 40, audit.WithTimeUnit(unit), audit.WithSegmentBytes(4000))
			was := storeFile(t, dir)
			want := append(must(hex.DecodeString(was.StoreID)), b)
			for _, again := range [][]audit.Option{nil, {audit.WithTimeUnit(unit)}} {
				bare := bareJournal(t, dir)
				if have, found, err := wal.Identity(filepath.Join(bare, "wal"), wal.Options{}); err != nil || !found || !bytes.Equal(have, want) {
					t.Fatalf("the journal's identity is %x, %v, %v; want %x", have, found, err, want)
				}
				if identity, err := audit.JournalIdentity(bare); err != nil || identity != nil {
					t.Errorf("without store.json its identity is %x, %v", identity, err)
				}
				db := openDB(t, bare, again...)
				if db.TimeUnit() != unit || storeFile(t, bare) != was {
					t.Errorf("the unit is %s, store.json says %+v, want %+v", db.TimeUnit(), storeFile(t, bare), was)
				}
				for _, note := range db.Recovery().Notes {
					if strings.Contains(note, "assumed") {
						t.Errorf("note: %s", note)
					}
				}
				for id, line := range putSamples(t, db, 100, 140) {
					lines[id] = line
				}
				wantAll(t, db, lines)
				rep := must(db.Verify(context.Background(), audit.VerifyOptions{}))
				if !rep.OK() || rep.Journal.Identities != rep.Journal.Segments || rep.Journal.Segments < 4 {
					t.Errorf("verify: %+v", rep)
				}
				closeDB(t, db)
				if identity, err := audit.JournalIdentity(bare); err != nil || !bytes.Equal(identity, want) {
					t.Errorf("its identity is %x, %v", identity, err)
				}
				for id := range lines {
					if q := parse(t, lines[id]); q.Timestamp >= sample(100).Timestamp {
						delete(lines, id)
					}
				}
			}
		})
	}
}

func TestAnotherTimeUnitThanTheJournalsIsRefused(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 10, audit.WithTimeUnit(audit.Seconds))
	bare := bareJournal(t, dir)
	_, err := audit.Open(bare, audit.WithTimeUnit(audit.Microseconds))
	if !errors.Is(err, audit.ErrInvalid) || !strings.Contains(err.Error(), "time unit is s, for good, not us") {
		t.Fatalf("got %v", err)
	}
	if entries := must(os.ReadDir(bare)); len(entries) != 1 {
		t.Errorf("the refused folder has %v", entries)
	}
}

// oldJournal is a journal that is older than identities, with records whose timestamps count seconds.
func oldJournal(t *testing.T, records int) (dir string, lines map[audit.QueryID]string) {
	t.Helper()
	dir, lines = t.TempDir(), map[audit.QueryID]string{}
	j, _, err := wal.Open(filepath.Join(dir, "wal"), wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		q := sample(i)
		q.Timestamp = uint64(1_795_428_000 + i)
		line := canonical(t, &q)
		lines[q.QueryID] = line
		if _, err := j.Append(context.Background(), []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, lines
}

func TestAJournalWithoutAnIdentityIsTakenForMilliseconds(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	const assumed = "ms was assumed, and the oldest record left is of 1970-01-21T18:43:48Z then"
	for _, tc := range []struct {
		name    string
		records int
		opts    []audit.Option
		unit    audit.TimeUnit
		told    bool
	}{
		{"nobody says", 5, nil, audit.Milliseconds, true},
		{"the caller says", 5, []audit.Option{audit.WithTimeUnit(audit.Seconds)}, audit.Seconds, false},
		{"no record", 0, nil, audit.Milliseconds, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, lines := oldJournal(t, tc.records)
			db := openDB(t, dir, append(tc.opts, audit.WithSegmentBytes(2000))...)
			told := strings.Contains(strings.Join(db.Recovery().Notes, "\n"), assumed)
			if db.TimeUnit() != tc.unit || told != tc.told {
				t.Errorf("the unit is %s, notes %q", db.TimeUnit(), db.Recovery().Notes)
			}
			// It goes on, and what comes from here on says whose it is.
			for id, line := range putSamples(t, db, 100, 130) {
				lines[id] = line
			}
			wantAll(t, db, lines)
			closeDB(t, db)
			db = openDB(t, dir)
			if len(db.Recovery().Notes) > 0 {
				t.Errorf("told again: %q", db.Recovery().Notes)
			}
			rep := must(db.Verify(context.Background(), audit.VerifyOptions{}))
			if !rep.OK() || rep.Journal.Identities == 0 {
				t.Errorf("verify: %+v", rep)
			}
		})
	}
}

func TestAnIdentityOfNoStoreIsRefused(t *testing.T) {
	t.Parallel()
	for _, identity := range [][]byte{[]byte("somebody"), append(make([]byte, 16), 4)} {
		dir := t.TempDir()
		j, _, err := wal.Open(filepath.Join(dir, "wal"), wal.Options{Identity: identity})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.Append(context.Background(), []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := audit.Open(dir); !errors.Is(err, audit.ErrMismatch) || !strings.Contains(err.Error(), hex.EncodeToString(identity)) {
			t.Errorf("got %v", err)
		}
	}
}

func TestASegmentOfAnotherStoreIsRefused(t *testing.T) {
	t.Parallel()
	const first = "wal/0000000000000000.wal"
	dir, _ := closedStore(t, 0, 30)
	other, _ := closedStore(t, 0, 30)
	put := func(t *testing.T, name string, text []byte) {
		t.Helper()
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("open", func(t *testing.T) {
		mixed := killed(t, dir)
		put(t, filepath.Join(mixed, first), must(os.ReadFile(filepath.Join(other, first))))
		for range 2 {
			_, err := audit.Open(mixed)
			if !errors.Is(err, audit.ErrMismatch) || !errors.Is(err, wal.ErrForeign) ||
				!strings.Contains(err.Error(), "the segment is of store "+storeFile(t, other).StoreID+", store.json says "+storeFile(t, dir).StoreID) {
				t.Fatalf("got %v", err)
			}
		}
	})
	// Under a reader and verify: SQLite is the store's own, and below the cursor the writer does not look.
	t.Run("verify", func(t *testing.T) {
		mixed := killed(t, dir)
		put(t, filepath.Join(mixed, first), must(os.ReadFile(filepath.Join(other, first))))
		db := openDB(t, mixed, audit.ReadOnly())
		rep := must(db.Verify(context.Background(), audit.VerifyOptions{}))
		if rep.OK() || len(rep.Journal.Damage) != 1 || !strings.Contains(rep.Problems[0], "another journal") || rep.Journal.Records > 0 {
			t.Errorf("verify: %+v", rep)
		}
		for _, err := range db.Tail(context.Background(), 10, false) {
			if !errors.Is(err, wal.ErrForeign) {
				t.Errorf("tail: %v", err)
			}
		}
		if _, err := db.Backup(context.Background(), filepath.Join(t.TempDir(), "copy")); err == nil {
			t.Error("it was backed up")
		}
	})
	t.Run("time unit", func(t *testing.T) {
		edited := killed(t, dir)
		name := filepath.Join(edited, "store.json")
		put(t, name, bytes.Replace(must(os.ReadFile(name)), []byte(`"time_unit": "ms"`), []byte(`"time_unit": "s"`), 1))
		// SQLite, which says the same as the journal, is lost as well.
		for _, name := range []string{"audit.db", "audit.db-wal", "audit.db-shm"} {
			if err := os.Remove(filepath.Join(edited, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
		_, err := audit.Open(edited)
		if !errors.Is(err, audit.ErrMismatch) || !strings.Contains(err.Error(), "the segment's time unit is ms, store.json says s") {
			t.Fatalf("got %v", err)
		}
	})
}

func TestRepairBringsTheIdentityBack(t *testing.T) {
	t.Parallel()
	dir, lines := closedStore(t, 0, 30, audit.WithSegmentBytes(4000))
	name := filepath.Join(dir, "wal", "0000000000000000.wal")
	whole := must(os.ReadFile(name))
	flipped := bytes.Clone(whole)
	flipped[45] ^= 1
	if err := os.WriteFile(name, flipped, 0o600); err != nil {
		t.Fatal(err)
	}
	rep, err := audit.Repair(context.Background(), dir, audit.RepairOptions{Apply: true})
	if err != nil || len(rep.Journal.Damage) != 1 || !rep.Journal.Damage[0].Identity || rep.Journal.Lost() > 0 {
		t.Fatalf("%+v, %v", rep.Journal, err)
	}
	if got := must(os.ReadFile(name)); !bytes.Equal(got, whole) {
		t.Error("the segment is not what it was")
	}
	db := openDB(t, dir)
	wantAll(t, db, lines)
	if rep := must(db.Verify(context.Background(), audit.VerifyOptions{})); !rep.OK() {
		t.Errorf("verify: %+v", rep)
	}
}

// lockedFS tells when somebody asks for the lock, and waits then.
type lockedFS struct {
	wal.FS
	asked, goOn chan struct{}
}

func (l lockedFS) Lock(name, owner string) (wal.Lock, error) {
	l.asked <- struct{}{}
	<-l.goOn
	return l.FS.Lock(name, owner)
}

// Two processes make a store at once. The second one finds that it is there, with another id than it has drawn.
func TestAStoreThatAnotherProcessHasJustMade(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	fsys := lockedFS{wal.OS, make(chan struct{}), make(chan struct{})}
	type outcome struct {
		db  *audit.DB
		err error
	}
	done := make(chan outcome)
	go func() {
		db, err := audit.Open(dir, audit.WithJournalFS(fsys), audit.WithLockWait(time.Minute))
		done <- outcome{db, err}
	}()
	<-fsys.asked // it has found no store, and drawn an id
	db := openDB(t, dir, audit.WithTimeUnit(audit.Seconds))
	lines := putSamples(t, db, 0, 5)
	closeDB(t, db)
	was := storeFile(t, dir)
	fsys.goOn <- struct{}{}
	<-fsys.asked // started again
	fsys.goOn <- struct{}{}
	got := <-done
	if got.err != nil {
		t.Fatal(got.err)
	}
	defer got.db.Close()
	if got.db.TimeUnit() != audit.Seconds || storeFile(t, dir) != was {
		t.Errorf("the unit is %s, store.json says %+v, was %+v", got.db.TimeUnit(), storeFile(t, dir), was)
	}
	wantAll(t, got.db, lines)
}
