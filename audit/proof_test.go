package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/treespec"
	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

// exported is what export prints, a record each.
func exported(t testing.TB, db *audit.DB) (leaves [][]byte) {
	t.Helper()
	for raw, err := range db.RawAudits(context.Background(), audit.Filter{ByAdmission: true}) {
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, raw)
	}
	return leaves
}

func wantExportedRoot(t testing.TB, db *audit.DB) {
	t.Helper()
	leaves := exported(t, db)
	size, root, err := db.Root(context.Background())
	if err != nil || size != uint64(len(leaves)) || root != treespec.RootOf(leaves) {
		t.Errorf("the root of %d records is %s, %v; that of the export of %d is %x", size, root, err, len(leaves), treespec.RootOf(leaves))
	}
}

// The root is that of the export, as anybody can compute it, and is the same when SQLite is built anew from the journal.
func TestTheRootIsThatOfTheExport(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 600)
	db := openDB(t, dir)
	for i := range 50 {
		put(t, db, sample(i*3)) // again
	}
	other := sample(7)
	other.ResultConfidence = 0.5
	if _, err := db.PutAudit(t.Context(), &other); !errors.Is(err, audit.ErrConflict) {
		t.Fatal(err)
	}
	wantExportedRoot(t, db)
	size, root, err := db.Root(t.Context())
	if err != nil || size != 600 {
		t.Fatal(size, err)
	}
	closeDB(t, db)
	removeSQLite(t, dir)
	db = openDB(t, dir)
	if again, same, err := db.Root(t.Context()); err != nil || again != size || same != root {
		t.Errorf("after a rebuild: %d, %s, %v; want %d, %s", again, same, err, size, root)
	}
	if err := db.Reindex(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	wantExportedRoot(t, db)
	rep, err := db.Verify(t.Context(), audit.VerifyOptions{})
	if err != nil || !rep.OK() || rep.Root != root || rep.TreeSize != size {
		t.Errorf("%+v, %v", rep, err)
	}
}

// alteredFS changes a record on its way to the disk, with checksums that fit, once it is armed.
type alteredFS struct {
	wal.FS
	from, to []byte // payloads of the same length
	hits     *atomic.Int32
}

func (fs *alteredFS) Create(name string) (wal.File, error) {
	f, err := fs.FS.Create(name)
	return alteredFile{f, fs}, err
}

func (fs *alteredFS) OpenWrite(name string) (wal.File, error) {
	f, err := fs.FS.OpenWrite(name)
	return alteredFile{f, fs}, err
}

type alteredFile struct {
	wal.File
	fs *alteredFS
}

func (f alteredFile) WriteAt(p []byte, off int64) (int, error) {
	const header = 40
	if i := bytes.Index(p, f.fs.from) - header; i >= 0 {
		// The first segment begins at offset 0, so a place in the file is an offset.
		at := uint64(off) + uint64(i)
		p = bytes.Clone(p)
		if record := walspec.Encode(at, f.fs.from); bytes.Equal(p[i:i+len(record)], record) {
			copy(p[i:], walspec.Encode(at, f.fs.to))
			f.fs.hits.Add(1)
		}
	}
	return f.File.WriteAt(p, off)
}

// A record that changes between the caller and what the applier reads back is not taken into the tree, although its
// checksums fit: the store takes no more records, and says why.
func TestARecordThatChangesOnItsWayStopsTheStore(t *testing.T) {
	t.Parallel()
	q := sample(3)
	raw := []byte(canonical(t, &q))
	altered := bytes.Replace(raw, []byte("trace-3"), []byte("trace-8"), 1)
	fs := &alteredFS{wal.OS, raw, altered, new(atomic.Int32)}
	dir := t.TempDir() + "/store"
	db, err := audit.Open(dir, audit.WithJournalFS(fs), audit.WithReads(audit.Acknowledged))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	put(t, db, sample(0), sample(1), sample(2))
	wantExportedRoot(t, db)
	if _, err := db.PutAudit(t.Context(), &q); err != nil {
		t.Logf("the put itself: %v", err) // the applier may have been faster
	}
	if fs.hits.Load() != 1 {
		t.Fatalf("the record was changed %d times", fs.hits.Load())
	}
	if _, _, err := db.Root(t.Context()); err == nil || !strings.Contains(err.Error(), q.QueryID.String()) || !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("the root: %v", err)
	}
	if err := db.Err(); !errors.Is(err, wal.ErrFailed) || !strings.Contains(err.Error(), "the journal has other bytes") {
		t.Errorf("the store: %v", err)
	}
	if got, err := db.GetRaw(t.Context(), q.QueryID); err == nil {
		t.Errorf("the record is served: %s", got)
	}
	next := sample(4)
	if _, err := db.PutAudit(t.Context(), &next); !errors.Is(err, wal.ErrFailed) {
		t.Errorf("another put: %v", err)
	}
	if got := must(db.GetRaw(t.Context(), sample(2).QueryID)); string(got) != canonical(t, ptr(sample(2))) {
		t.Errorf("a record from before: %s", got)
	}
	// SQLite is as it was: only the record is not in it. The next opening has nothing but the journal to go by.
	db.Close()
	db = openDB(t, dir)
	if rec := db.Recovery(); rec.Rebuilt || rec.Checked || rec.Replayed != 1 {
		t.Errorf("the next opening: %+v", rec)
	}
	wantExportedRoot(t, db)
}

// flippedFS changes one bit of a payload where it is read alone, once it is armed.
type flippedFS struct {
	wal.FS
	size  int // of the payload
	armed *atomic.Bool
}

func (fs flippedFS) Open(name string) (wal.File, error) {
	f, err := fs.FS.Open(name)
	return flippedFile{f, fs}, err
}

type flippedFile struct {
	wal.File
	fs flippedFS
}

func (f flippedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if len(p) == f.fs.size && f.fs.armed.Load() {
		p[len(p)-5] ^= 1
	}
	return n, err
}

// The applier reads a record from the journal twice: for its rows, and for its value. If the bytes are not the same, nothing of it gets into
// SQLite, and the next opening applies what the journal has.
func TestARecordThatIsReadOtherwiseTheSecondTimeStopsTheStore(t *testing.T) {
	t.Parallel()
	q := sample(3)
	fs := flippedFS{wal.OS, len(canonical(t, &q)), new(atomic.Bool)}
	dir := t.TempDir() + "/store"
	db, err := audit.Open(dir, audit.WithJournalFS(fs), audit.WithReads(audit.Acknowledged))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	put(t, db, sample(0), sample(1), sample(2))
	wantExportedRoot(t, db)
	fs.armed.Store(true)
	if _, err := db.PutAudit(t.Context(), &q); err != nil {
		t.Logf("the put itself: %v", err) // the applier may have been faster
	}
	if _, _, err := db.Root(t.Context()); err == nil || !strings.Contains(err.Error(), q.QueryID.String()) || !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("the root: %v", err)
	}
	if err := db.Err(); !errors.Is(err, wal.ErrFailed) || !strings.Contains(err.Error(), "the journal was read twice") {
		t.Errorf("the store: %v", err)
	}
	db.Close()
	db = openDB(t, dir)
	if rec := db.Recovery(); rec.Rebuilt || rec.Checked || rec.Replayed != 1 {
		t.Errorf("the next opening: %+v", rec)
	}
	if got := must(db.GetRaw(t.Context(), q.QueryID)); string(got) != canonical(t, &q) {
		t.Errorf("the record: %s", got)
	}
	wantExportedRoot(t, db)
}

// A record that was changed in SQLite is never served, whatever is asked. The rest is answered, and it is said what is
// left out. To put the record again is no conflict.
func TestADamagedRecordIsLeftOutOfAnswers(t *testing.T) {
	t.Parallel()
	from, _ := closedStore(t, 0, 40)
	dir := killed(t, from)
	q := sample(7)
	s := openShell(t, dir)
	s.unguarded(fmt.Sprintf(`UPDATE kv SET value = CAST(replace(CAST(value AS TEXT), 'trace-7', 'trace-8') AS BLOB) WHERE key = x'004155443a%s'`, q.QueryID))
	s.exit()
	db := openDB(t, dir)
	ctx := t.Context()
	want := func(what string, err error) {
		t.Helper()
		var damaged *audit.RecordError
		if !errors.As(err, &damaged) || damaged.ID != q.QueryID || damaged.Missing || !errors.Is(err, audit.ErrDamaged) || damaged.Cure == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := db.GetRaw(ctx, q.QueryID)
	want("get", err)
	_, err = db.GetAudit(ctx, q.QueryID)
	want("get", err)
	_, err = db.Trace(ctx, q.QueryID, audit.TraceOptions{})
	want("trace", err)
	recent, err := db.ListRecent(ctx, 100)
	if want("recent", err); len(recent) != 39 {
		t.Errorf("%d recent", len(recent))
	}
	ofAgent, err := db.AuditsForAgent(ctx, *q.AgentID, 0, audit.Unbounded, 100)
	if want("of the agent", err); len(ofAgent) != 12 {
		t.Errorf("%d of the agent", len(ofAgent))
	}
	for what, seq := range map[string]func(yield func(audit.QueryID, error) bool){
		"list": func(yield func(audit.QueryID, error) bool) {
			for q, err := range db.Audits(ctx, audit.Filter{}) {
				if !yield(q.QueryID, err) {
					return
				}
			}
		},
		"export": func(yield func(audit.QueryID, error) bool) {
			for raw, err := range db.RawAudits(ctx, audit.Filter{ByAdmission: true}) {
				q := audit.QueryAudit{}
				if err == nil {
					q = parse(t, string(raw))
				}
				if !yield(q.QueryID, err) {
					return
				}
			}
		},
		"impact": func(yield func(audit.QueryID, error) bool) {
			for a, err := range db.Impact(ctx, hashOf("source", "0"), audit.ImpactOptions{Source: true}) {
				if !yield(a.Audit.QueryID, err) {
					return
				}
			}
		},
		"answers": func(yield func(audit.QueryID, error) bool) {
			for a, err := range db.Answers(ctx, "subject 2", "revenue", audit.Filter{}) {
				if !yield(a.Audit.QueryID, err) {
					return
				}
			}
		},
		"answers, newest first": func(yield func(audit.QueryID, error) bool) {
			for a, err := range db.Answers(ctx, "subject 2", "revenue", audit.Filter{Descending: true}) {
				if !yield(a.Audit.QueryID, err) {
					return
				}
			}
		},
	} {
		served, refused := 0, 0
		seq(func(id audit.QueryID, err error) bool {
			if err != nil {
				want(what, err)
				refused++
				return true
			}
			if served++; id == q.QueryID {
				t.Errorf("%s: it is served", what)
			}
			return true
		})
		if refused != 1 || served < 7 {
			t.Errorf("%s: %d served, %d refused", what, served, refused)
		}
	}
	tr, err := db.Trace(ctx, sample(10).QueryID, audit.TraceOptions{})
	if err != nil || len(tr.Damaged) != 1 || tr.Damaged[0].ID != q.QueryID || len(tr.Before) != 2 {
		t.Errorf("trace beside it: %+v, %v", tr, err)
	}
	only := audit.Filter{Result: q.ResultHash, From: &q.Timestamp, To: &q.Timestamp}
	for _, c := range []struct {
		filter audit.Filter
		at     uint64
		want   int // the number of the sample, -1: none
	}{{audit.Filter{}, q.Timestamp, 6}, {audit.Filter{}, q.Timestamp + 1, 8}, {audit.Filter{From: &q.Timestamp}, 0, 8}, {only, q.Timestamp, -1}} {
		near, damaged, err := db.Nearest(ctx, c.filter, c.at)
		switch {
		case len(damaged) != 1 || damaged[0].ID != q.QueryID:
			t.Errorf("nearest to %d: damaged are %v", c.at, damaged)
		case c.want < 0 && (near != nil || !errors.Is(err, audit.ErrNotFound)), c.want >= 0 && (err != nil || near.QueryID != sample(c.want).QueryID):
			t.Errorf("nearest to %d: %+v, %v; want %d", c.at, near, err, c.want)
		}
	}
	wantAnswersAround(t, db, q, []audit.QueryAudit{sample(2), sample(12), sample(17), sample(22), sample(27), sample(32), sample(37)})
	results, err := db.PutAudits(ctx, []*audit.QueryAudit{ptr(sample(6)), &q, ptr(sample(50))})
	if err != nil || !results[0].Duplicate || results[2].Err != nil {
		t.Errorf("%+v, %v", results, err)
	}
	if want("put again", results[1].Err); errors.Is(results[1].Err, audit.ErrConflict) {
		t.Error("it is called a conflict")
	}
	want("reindex", db.Reindex(ctx, nil))
	if running, err := db.Timeline(ctx, audit.TimelineOptions{By: audit.ByDay}); err != nil || running == nil {
		t.Errorf("after the refused reindex: %v", err)
	}
	if _, err := db.Backup(ctx, t.TempDir()+"/copy"); !errors.Is(err, audit.ErrDamaged) || !strings.Contains(err.Error(), q.QueryID.String()) {
		t.Errorf("backup: %v", err)
	}
	rep, err := db.Verify(ctx, audit.VerifyOptions{})
	if err != nil || !slices.ContainsFunc(rep.Problems, func(p string) bool {
		return strings.Contains(p, q.QueryID.String()) && strings.Contains(p, "does not match its leaf hash")
	}) {
		t.Errorf("%q, %v", rep.Problems, err)
	}
}

// wantAnswersAround checks that each answer to the damaged record's question is compared with the last one before it that is not
// damaged, whatever the limit and the beginning are. whole are the answers that are not damaged, in the order of time.
func wantAnswersAround(t *testing.T, db *audit.DB, damaged audit.QueryAudit, whole []audit.QueryAudit) {
	t.Helper()
	before := map[audit.QueryID]audit.QueryID{whole[0].QueryID: {}}
	for i := range whole[1:] {
		before[whole[i+1].QueryID] = whole[i].QueryID
	}
	for _, from := range []uint64{0, whole[0].Timestamp + 1, damaged.Timestamp, damaged.Timestamp + 1, whole[3].Timestamp} {
		for limit := range len(whole) + 3 {
			for _, descending := range []bool{false, true} {
				what := fmt.Sprintf("answers from %d, limit %d, descending %v", from, limit, descending)
				served, refused := 0, 0
				for a, err := range db.Answers(t.Context(), *damaged.Params.Subject, *damaged.Params.Predicate, audit.Filter{From: &from, Limit: limit, Descending: descending}) {
					if err != nil {
						if refused++; refused > 1 || !strings.Contains(err.Error(), damaged.QueryID.String()) {
							t.Errorf("%s: %v", what, err)
						}
						continue
					}
					served++
					var got audit.QueryID
					if a.Before != nil {
						got = a.Before.A.QueryID
					}
					if want, ok := before[a.Audit.QueryID]; !ok || got != want {
						t.Errorf("%s: %s is compared with %s, not with %s", what, a.Audit.QueryID, got, want)
					}
				}
				all := 0
				for _, q := range whole {
					if q.Timestamp >= from {
						all++
					}
				}
				if least := min(all, limit-1); served < least || limit == 0 && served != all {
					t.Errorf("%s: %d are served of %d", what, served, all)
				}
			}
		}
	}
}

// A reader of the tree shows the roots of all sizes up to that of its moment, also while records are added.
func TestAReaderOfTheTreeStaysAtItsMoment(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 600)
	db := openDB(t, dir)
	leaves := exported(t, db)
	size, tiles, err := db.Tree(t.Context())
	if err != nil || size != 600 {
		t.Fatal(size, err)
	}
	for i := range 300 {
		put(t, db, sample(1000+i))
	}
	wantExportedRoot(t, db)
	for _, n := range []int{0, 1, 255, 256, 257, 512, 599, 600} {
		if root, err := tree.Root(tiles, int64(n)); err != nil || root != treespec.RootOf(leaves[:n]) {
			t.Errorf("the root of the first %d records is %s, %v; that of the export is %x", n, root, err, treespec.RootOf(leaves[:n]))
		}
	}
	if _, err := tree.Root(tiles, 601); err == nil {
		t.Error("the reader shows a record that came after it")
	}
}

// Two records that were exchanged have their leaf hashes, each of the other one. Neither is served under the other's id.
func TestARecordIsNotServedUnderAnotherID(t *testing.T) {
	t.Parallel()
	from, _ := closedStore(t, 0, 20)
	a, b := sample(7), sample(8)
	key := func(q audit.QueryAudit) string { return fmt.Sprintf(`x'004155443a%s'`, must(q.ID())) }
	dir := damagedTree(t, from,
		`CREATE TEMP TABLE kept AS SELECT value, leaf FROM kv WHERE key = `+key(a),
		`UPDATE kv SET (value, leaf) = (SELECT value, leaf FROM kv WHERE key = `+key(b)+`) WHERE key = `+key(a),
		`UPDATE kv SET (value, leaf) = (SELECT value, leaf FROM kept) WHERE key = `+key(b))
	db := openDB(t, dir)
	for _, q := range []audit.QueryAudit{a, b} {
		id := must(q.ID())
		var damaged *audit.RecordError
		if raw, err := db.GetRaw(t.Context(), id); !errors.As(err, &damaged) || damaged.ID != id {
			t.Errorf("%s, %v", raw, err)
		}
		if got, err := db.GetAudit(t.Context(), id); !errors.As(err, &damaged) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if _, err := db.GetRaw(t.Context(), must(ptr(sample(9)).ID())); err != nil {
		t.Error(err)
	}
}
