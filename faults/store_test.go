package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/faults/fusefs"
	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

// store is a store on a machine of its own, and the oracle over its records.
type store struct {
	fs   *fusefs.FS
	m    *fusefs.Machine
	opts []audit.Option
	dbs  []*audit.DB // all openings
	left bool        // a store that has failed keeps connections open until the process ends

	mu    sync.Mutex
	given map[audit.QueryID]string // records that were put: they may be there
	there map[audit.QueryID]string // records that were acknowledged or seen: they must be there
	next  int                      // the number of the next record to put
	heads map[uint64]tree.Hash     // roots of the tree that were seen, by size: the store must always have them
}

// newStore makes a machine with these files, and a store on it that trims its journal as early as it can. The first
// opening creates the store.
func newStore(fs *fusefs.FS, seed uint64, files fusefs.Files) *store {
	return &store{
		fs: fs, m: must(fs.Machine(seed, files)),
		opts:  []audit.Option{audit.WithRetention(audit.RetainNone), audit.WithSegmentBytes(4096), audit.WithCacheBytes(1 << 20)},
		given: map[audit.QueryID]string{}, there: map[audit.QueryID]string{}, heads: map[uint64]tree.Hash{},
	}
}

func (s *store) dir() string { return filepath.Join(s.m.Dir(), "store") }
func (s *store) file(parts ...string) string {
	return filepath.Join(append([]string{s.dir()}, parts...)...)
}

func (s *store) open(opts ...audit.Option) (*audit.DB, error) {
	db, err := audit.Open(s.dir(), slices.Concat([]audit.Option{audit.WithReads(audit.Acknowledged)}, s.opts, opts)...)
	if err == nil {
		s.dbs = append(s.dbs, db)
	}
	s.noteLeft(err)
	return db, err
}

// noteLeft notes what an opening or a closing says of connections that it leaves open. It must not close the last one when SQLite's
// files have failed and no reader can be opened.
func (s *store) noteLeft(err error) {
	if err != nil && strings.Contains(err.Error(), "its other connections stay open") {
		s.left = true
	}
}

// end ends the machine, and closes every opening that is left.
func (s *store) end() {
	s.m.Kill()
	for _, db := range s.dbs {
		s.noteLeft(db.Close())
	}
	s.m.Drop()
}

// record returns the n-th record. Records share a few agents and pieces of evidence.
func record(n int) *audit.QueryAudit {
	hash := func(kind byte, i int) (h audit.Hash) {
		h[0], h[1], h[2], h[31] = kind, byte(i), byte(i>>8), 1
		return h
	}
	agent, result := hash('a', n%5), hash('r', n%11)
	subject, predicate := fmt.Sprintf("subject %d", n%7), "is"
	q := &audit.QueryAudit{
		AgentID: &agent, Timestamp: uint64(1000 + n), ResultHash: &result, ResultConfidence: 0.5,
		Params: audit.QueryParams{Subject: &subject, Predicate: &predicate},
		ContributingAssertions: []audit.ContributingAssertion{
			{AssertionHash: hash('x', n%13), Weight: 1, SourceHash: hash('s', n%3), Lifecycle: audit.Approved},
		},
		Attributes: map[string]any{"n": n, "filler": strings.Repeat("f", n*37%700)},
	}
	return q
}

// put puts the next n records in one call. It returns nil if they were acknowledged.
func (s *store) put(db *audit.DB, n int) error {
	s.mu.Lock()
	qs := make([]*audit.QueryAudit, n)
	lines := make([]string, n)
	for i := range qs {
		qs[i] = record(s.next)
		qs[i].QueryID = must(qs[i].ID())
		lines[i] = string(must(qs[i].Canonical()))
		s.given[qs[i].QueryID] = lines[i]
		s.next++
	}
	s.mu.Unlock()
	results, err := db.PutAudits(context.Background(), qs)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range results {
		if r.Err != nil {
			return fmt.Errorf("record %s: %w", r.ID, r.Err)
		}
		s.there[qs[i].QueryID] = lines[i]
	}
	return nil
}

// fill puts n records, a few in each call. Each call becomes one transaction in SQLite.
func (s *store) fill(db *audit.DB, n int) {
	for ; n > 0; n -= 5 {
		ok(s.put(db, min(n, 5)))
		time.Sleep(10 * time.Millisecond)
	}
}

// fillAndTrim puts records and waits for a checkpoint, twice, so that the journal is trimmed up to the first checkpoint.
// From then on only SQLite has the oldest records.
func (s *store) fillAndTrim(db *audit.DB) {
	s.fill(db, 60)
	settle()
	s.fill(db, 20)
	settle()
	if first := must(db.Stats(context.Background())).JournalFirst; first == 0 {
		panic("the journal was not trimmed")
	}
}

// settle leaves the store idle until its checkpoint is done. It is for bubbles (testing/synctest), in which time costs
// nothing.
func settle() { time.Sleep(3 * time.Second) }

// check compares an open store with the oracle. From then on every record that it sees must stay.
func (s *store) check(db *audit.DB) error {
	ctx := context.Background()
	missing := 0
	var first error
	for id, line := range s.there {
		if raw, err := db.GetRaw(ctx, id); err != nil || string(raw) != line {
			if missing++; first == nil {
				first = fmt.Errorf("%s: %.40s, %w", id, raw, err)
			}
		}
	}
	if missing > 0 {
		return fmt.Errorf("%w: %d of %d acknowledged records are gone: %w", errLost, missing, len(s.there), first)
	}
	n := 0
	var records tree.Frontier
	for raw, err := range db.RawAudits(ctx, audit.Filter{ByAdmission: true}) {
		if err != nil {
			return fmt.Errorf("list the records: %w", err)
		}
		records.Append(tree.LeafHash(raw))
		q, err := audit.ParseAudit(raw)
		if err != nil || s.given[q.QueryID] != string(raw) {
			return fmt.Errorf("this record was never put: %.200s (%v)", raw, err)
		}
		s.there[q.QueryID] = string(raw)
		n++
	}
	if n != len(s.there) {
		return fmt.Errorf("%w: %d records are listed, want %d", errLost, n, len(s.there))
	}
	if err := s.checkHeads(db); err != nil {
		return err
	}
	if root := s.heads[uint64(n)]; root != records.Root() {
		return fmt.Errorf("the root of %d records is %s, and that of the list is %s", n, root, records.Root())
	}
	rep, err := db.Verify(ctx, audit.VerifyOptions{})
	if err != nil {
		return err
	}
	if !rep.OK() {
		return fmt.Errorf("verify finds %d problems: %s", rep.Total, strings.Join(rep.Problems[:min(3, len(rep.Problems))], "; "))
	}
	return nil
}

// checkHeads compares the tree of an open store with the roots that were seen before: no record that was in it has changed, or
// has another number now. From then on the root that it has must stay.
func (s *store) checkHeads(db *audit.DB) error {
	size, tiles, err := db.Tree(context.Background())
	if err != nil {
		return err
	}
	for old, want := range s.heads {
		root, err := tree.Root(tiles, int64(old))
		if err != nil || root != want {
			return fmt.Errorf("%w: the first %d of %d records had the root %s, and have %s now (%v)", errLost, old, size, want, root, err)
		}
	}
	s.heads[size], err = tree.Root(tiles, int64(size))
	return err
}

var errLost = errors.New("lost")

// recovered opens the store after a crash, compares it with the oracle, and closes it.
func (s *store) recovered() error {
	s.m.Plan()
	db, err := s.open()
	if err != nil {
		return fmt.Errorf("the store cannot be opened any more (%s): %w", refusal(err), err)
	}
	return errors.Join(s.check(db), db.Close())
}

// recoveredOr opens the store after a crash. If the store is refused, cure does what the refusal asks for, and then the
// store must open.
func (s *store) recoveredOr(cure func()) error {
	err := s.recovered()
	if err == nil || errors.Is(err, errLost) || refusal(err) == "no refusal" {
		return err
	}
	cure()
	if again := s.recovered(); again != nil {
		return fmt.Errorf("also after the cure: %w; before: %w", again, err)
	}
	return nil
}

// backUp makes a backup, and restoreDatabase replaces the store's database with that of the backup. This is the cure for
// a store whose database is lost or corrupt and whose journal was trimmed.
func (s *store) backUp(db *audit.DB) {
	must(db.Backup(context.Background(), filepath.Join(s.m.Dir(), "backup")))
}

func (s *store) restoreDatabase() {
	s.bring(filepath.Join(s.m.Dir(), "backup"), "audit.db", "audit.db-wal")
}

// bring replaces files of the store by those of a folder, and removes those that the folder does not have.
func (s *store) bring(from string, names ...string) {
	for _, name := range names {
		if err := os.Remove(s.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			panic(err)
		}
		if err := os.Rename(filepath.Join(from, name), s.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			panic(err)
		}
	}
	syncFolder(s.dir())
}

func syncFolder(dir string) {
	d := must(os.Open(dir))
	defer d.Close()
	ok(d.Sync())
}

// refusal names the kind of a refusal: an error with which opening refuses a store because of what is on disk.
func refusal(err error) string {
	var damage *wal.CorruptError
	switch {
	case errors.Is(err, wal.ErrGap):
		return "gap"
	case errors.Is(err, wal.ErrAhead):
		return "ahead"
	case errors.Is(err, audit.ErrMismatch):
		return "mismatch"
	case errors.Is(err, audit.ErrDamaged):
		return "damaged"
	case errors.As(err, &damage):
		return "corrupt journal"
	}
	return "no refusal"
}

// failed reports whether a call has failed by the plan, or the plan has ended the life.
func failed(m *fusefs.Machine) bool {
	st := m.State()
	for _, n := range st.Struck {
		if n > 0 {
			return true
		}
	}
	return st.Dead
}

var (
	syncs  = []crashfs.Op{crashfs.OpSync}
	writes = []crashfs.Op{crashfs.OpWrite}
)

// fillAsFarAsItGoes puts up to n records into a store that may have failed.
func (s *store) fillAsFarAsItGoes(db *audit.DB, n int) {
	for ; n > 0; n-- {
		if s.put(db, 1) != nil {
			return
		}
	}
}

// begin copies the oracle of another store, for a store that begins with a copy of its files.
func (s *store) begin(other *store) {
	s.given, s.there, s.next = maps.Clone(other.given), maps.Clone(other.there), other.next
}
