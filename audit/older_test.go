package audit_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// The roots that testdata/stores/README.md names.
const (
	rootOfVersion2  = "S3YYxid7zRsLJobKmEvC5cS8Jfzp6qhWxHLc3G8oYuU="
	rootOfVersion3  = "UwaGd2qoRqi3Y9QHzzrGTZ7e+p5z2zg5pn0mVNHVVX0="
	rootOfVersion4  = "K3wL2x0ZHv0yPR8Q+D9AdtnF3QJbrzJaQlHSS0lV/HU="
	rootOfCanonical = "Z/yUjOv/gV7izsmWX5pZYIWze+bjT6+stRbdn7tn9dM="
)

// version2 is a store of the version before the Merkle tree, and version3 one of the version before the counts by time. There are also
// version5, of the version before the dictionary of hashes, version6, of the version before the sorted runs of hashes, and
// version7, of the version in which a shell could raise the cursor and the counts.
func version2(t *testing.T) (dir string) { return goldenStore(t, "version2") }
func version3(t *testing.T) (dir string) { return goldenStore(t, "version3") }

func goldenStore(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	f := must(os.Open(filepath.Join("..", "testdata", "stores", name+".tar.gz")))
	defer f.Close()
	for r := tar.NewReader(must(gzip.NewReader(f))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(name, 0o700)
		} else {
			err = os.WriteFile(name, must(io.ReadAll(r)), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func wantVersion2(t *testing.T, db *audit.DB) {
	t.Helper()
	wantGolden(t, db, rootOfVersion2)
}

func wantGolden(t *testing.T, db *audit.DB, want string) {
	t.Helper()
	size, root, err := db.Root(t.Context())
	if err != nil || size != 270 || root.String() != want {
		t.Errorf("the root of %d is %s, %v", size, root, err)
	}
	wantExportedRoot(t, db)
	wantSound(t, db)
}

// A golden root: what is a leaf never changes.
func TestTheRootOfTheGoldenRecords(t *testing.T) {
	t.Parallel()
	db := openDB(t, t.TempDir()+"/store")
	for line := range bytes.Lines(must(os.ReadFile(filepath.Join("..", "testdata", "records", "canonical.ndjson")))) {
		put(t, db, parse(t, string(line)))
	}
	if size, root, err := db.Root(t.Context()); err != nil || size != 12 || root.String() != rootOfCanonical {
		t.Errorf("the root of %d is %s, %v", size, root, err)
	}
}

// The records of an older version get their leaf hashes when the store is opened for writing. Before that a reader says
// what is to be done.
func TestAnOlderStoreIsMigrated(t *testing.T) {
	t.Parallel()
	dir := version2(t)
	if _, err := audit.Open(dir, audit.ReadOnly()); !errors.Is(err, sqlstore.ErrOlder) {
		t.Errorf("a reader: %v", err)
	}
	if why, err := audit.NeedsRecovery(t.Context(), dir); err != nil || !strings.Contains(why, "older version") {
		t.Errorf("needs recovery: %q, %v", why, err)
	}
	calls := 0
	db := openDB(t, dir, audit.WithMigrationProgress(func(done, total uint64) {
		if calls++; done != 270 || total != 270 {
			t.Errorf("%d of %d", done, total)
		}
	}))
	if notes := fmt.Sprint(db.Recovery().Notes); !strings.Contains(notes, "all 270 that were left to do were compared") || calls != 2 { // to hash them, and to count them
		t.Errorf("%s, %d calls", notes, calls)
	}
	wantVersion2(t, db)
	put(t, db, sample(1))
	wantExportedRoot(t, db)
	closeDB(t, db)
	if notes := openDB(t, dir).Recovery().Notes; len(notes) > 0 {
		t.Errorf("the next opening: %q", notes)
	}
}

// What the journal does not have any more is counted.
func TestAnOlderStoreWithATrimmedJournal(t *testing.T) {
	t.Parallel()
	dir := version2(t)
	for _, name := range must(filepath.Glob(filepath.Join(dir, "wal", "*.wal")))[:3] {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	db := openDB(t, dir)
	var compared, alone int
	notes := db.Recovery().Notes
	i := slices.IndexFunc(notes, func(n string) bool { return strings.Contains(n, "could not be") })
	if i < 0 {
		t.Fatalf("%q", notes)
	}
	if _, err := fmt.Sscanf(notes[i], "the records of an older version have leaf hashes now; %d of them were compared with the journal, and %d could not be", &compared, &alone); err != nil ||
		compared+alone != 270 || alone < 50 || compared < 50 {
		t.Errorf("%q, %v", notes[i], err)
	}
	wantVersion2(t, db)
}

// A migration that drops tables is not begun where they cannot be filled again: the older program still reads the rest.
func TestADamagedOlderStoreIsRefusedAsItIs(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"version2", "version5"} {
		dir := goldenStore(t, name)
		for _, name := range must(filepath.Glob(filepath.Join(dir, "wal", "*.wal")))[:3] {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		// The page with the oldest records: an opening does not read it. The root of the table has its number in its first cell
		// (https://www.sqlite.org/fileformat2.html#b_tree_pages).
		shell := openShell(t, dir)
		root, size := shell.ask(`SELECT rootpage FROM sqlite_schema WHERE name = 'kv'`), shell.ask(`PRAGMA page_size`)
		shell.exit()
		was := must(os.ReadFile(filepath.Join(dir, "audit.db")))
		page := was[(root-1)*size:][:size]
		oldest := int64(binary.BigEndian.Uint32(page[binary.BigEndian.Uint16(page[12:]):]))
		clear(was[(oldest-1)*size:][:size])
		if err := os.WriteFile(filepath.Join(dir, "audit.db"), was, 0o600); err != nil {
			t.Fatal(err)
		}
		var damaged *audit.DamagedError
		for range 2 {
			if _, err := audit.Open(dir); !errors.As(err, &damaged) {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if m, err := sqlstore.ReadCursor(t.Context(), filepath.Join(dir, "audit.db")); err != nil || fmt.Sprint("version", m.Version) != name {
			t.Errorf("%s: it has version %d now, %v", name, m.Version, err)
		}
	}
}

// The migration may be interrupted at any moment. It goes on where it was.
func TestAnInterruptedMigrationGoesOn(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	for name, root := range map[string]string{"version2": rootOfVersion2, "version3": rootOfVersion3, "version5": rootOfVersion4} {
		dir := goldenStore(t, name)
		interrupted := 0
		for n := 1; ; n = n*5/4 + 1 {
			db, err := audit.OpenContext(endAtLook(n), dir)
			if err == nil {
				defer db.Close()
				wantGolden(t, db, root)
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			interrupted++
			dir = killed(t, dir)
		}
		if interrupted < 10 {
			t.Errorf("%s: interrupted %d times", name, interrupted)
		}
	}
}

// A process that dies in the middle of the migration leaves a store that the next opening migrates to the end.
func TestAKilledMigrationGoesOn(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	for name, root := range map[string]string{"version2": rootOfVersion2, "version3": rootOfVersion3, "version5": rootOfVersion4} {
		dir := goldenStore(t, name)
		var left []string
		db := openDB(t, dir, audit.WithMigrationProgress(func(done, total uint64) { left = append(left, killed(t, dir)) }))
		wantGolden(t, db, root)
		if len(left) == 0 {
			t.Errorf("%s: no migration", name)
		}
		for _, dir := range left {
			if why, err := audit.NeedsRecovery(t.Context(), dir); err != nil || why == "" {
				t.Errorf("%s: needs recovery: %q, %v", name, why, err)
			}
			db := openDB(t, dir)
			wantGolden(t, db, root)
			closeDB(t, db)
			if notes := openDB(t, dir).Recovery().Notes; len(notes) > 0 {
				t.Errorf("%s: the next opening: %q", name, notes)
			}
		}
	}
}

// A writer counts the records of a store of the version before the counts by time, as one by one.
func TestAStoreWithoutCountsIsMigrated(t *testing.T) {
	t.Parallel()
	dir := version3(t)
	f := audit.Filter{From: ptr(uint64(1_795_426_800_000)), To: ptr(uint64(1_795_435_234_567))}
	ask := func(db *audit.DB, f audit.Filter) string {
		t.Helper()
		line, err := db.Timeline(t.Context(), audit.TimelineOptions{By: audit.ByMinute, Filter: f, Unapproved: true})
		if err != nil {
			t.Fatal(err)
		}
		line.Silent = nil // a filter that selects by time alone also lists earlier ones
		return show(*line) + show(agentsOf(t, db, f))
	}
	if why, err := audit.NeedsRecovery(t.Context(), dir); err != nil || !strings.Contains(why, "older version") {
		t.Errorf("needs recovery: %q, %v", why, err)
	}
	calls := 0
	db := openDB(t, dir, audit.WithMigrationProgress(func(done, total uint64) {
		if calls++; done != 270 || total != 270 {
			t.Errorf("%d of %d", done, total)
		}
	}))
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
	wantGolden(t, db, rootOfVersion3)
	if counted, one := ask(db, f), ask(db, uncounted(f)); counted != one || len(counted) < 1000 {
		t.Errorf("counted:\n%s\none by one:\n%s", counted, one)
	}
	put(t, db, sample(1))
	wantSound(t, db)
}

// A writer fills the forensic tables of a store of the version before the dictionary of hashes anew, and adds the table of runs to one of the
// version before these, in which nothing is filled anew. A reader does not know the older tables, and says what is to be done. Of the version
// after that a writer changes the triggers alone.
func TestAStoreWithOlderTablesIsMigrated(t *testing.T) {
	t.Parallel()
	for name, filled := range map[string]uint64{"version5": 270, "version6": 0, "version7": 0} {
		dir := goldenStore(t, name)
		if db, err := audit.Open(dir, audit.ReadOnly()); name == "version7" && err == nil {
			wantGolden(t, db, rootOfVersion4) // only triggers and an index are others
			closeDB(t, db)
		} else if !errors.Is(err, sqlstore.ErrOlder) {
			t.Errorf("%s: a reader: %v", name, err)
		}
		if why, err := audit.NeedsRecovery(t.Context(), dir); err != nil || !strings.Contains(why, "older version") {
			t.Errorf("%s: needs recovery: %q, %v", name, why, err)
		}
		var done, total uint64
		called := false
		db := openDB(t, dir, audit.WithMigrationProgress(func(d, n uint64) { done, total, called = d, n, true }))
		if done != filled || total != filled || called != (filled > 0) {
			t.Errorf("%s: %d of %d, called: %v", name, done, total, called)
		}
		wantGolden(t, db, rootOfVersion4)
		put(t, db, sample(1))
		wantSound(t, db)
		closeDB(t, db)
		if notes := openDB(t, dir).Recovery().Notes; len(notes) > 0 {
			t.Errorf("%s: the next opening: %q", name, notes)
		}
	}
}

// Somebody has dropped a table before the store was migrated. The migration makes it, and it is filled anew.
func TestAnOlderStoreThatLacksATable(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	for name, root := range map[string]string{"version2": rootOfVersion2, "version3": rootOfVersion3, "version5": rootOfVersion4,
		"version6": rootOfVersion4, "version7": rootOfVersion4} {
		whole := goldenStore(t, name)
		s := openShell(t, whole)
		var tables []string
		rows, err := s.db.Query(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('agent', 'hash', 'hash_run', 'audit', 'contribution', 'attribute', 'activity')`)
		for err == nil && rows.Next() {
			tables = append(tables, "")
			err = rows.Scan(&tables[len(tables)-1])
		}
		if err != nil || len(tables) < 4 {
			t.Fatal(name, tables, err)
		}
		rows.Close()
		s.exit()
		for _, table := range tables {
			t.Run(name+" without "+table, func(t *testing.T) {
				t.Parallel()
				dir := killed(t, whole)
				s := openShell(t, dir)
				s.do("DROP TABLE " + table)
				s.exit()
				db := openDB(t, dir)
				wantGolden(t, db, root)
			})
		}
	}
}

// A writer that dies in the middle of a migration leaves no views that show less than there is.
func TestAMigrationHidesTheViewsOfWhatItFills(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"version2", "version5"} {
		var left []string
		dir := goldenStore(t, name)
		db := openDB(t, dir, audit.WithMigrationProgress(func(uint64, uint64) { left = append(left, killed(t, dir)) }))
		closeDB(t, db)
		for i, dir := range append(left, dir) {
			s := openShell(t, dir)
			var views int
			if err := s.db.QueryRow(`SELECT count(*) FROM sqlite_schema WHERE type = 'view' AND name IN ('audits', 'contributions', 'attributes', 'answers', 'agents')`).Scan(&views); err != nil {
				t.Fatal(err)
			}
			s.exit()
			want := 0
			if i == len(left) {
				want = 5
			}
			if views != want {
				t.Errorf("%s: %d views after step %d of %d", name, views, i, len(left))
			}
		}
	}
}

// A record that differs from the journal gets no hash: nothing can be proven of a record of which there are two versions.
// The store is refused until one of them is put back.
func TestAnOlderStoreThatDiffersFromItsJournalIsRefused(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	dir := version2(t)
	const change = `UPDATE kv SET value = CAST(replace(CAST(value AS TEXT), '%s', '%s') AS BLOB) WHERE key = (SELECT CAST(x'004155443A' || query_id AS BLOB) FROM entry WHERE idx = 9)`
	s := openShell(t, dir)
	s.unguarded(fmt.Sprintf(change, `"t9"`, `"t8"`))
	s.exit()
	for range 2 {
		_, err := audit.Open(dir)
		if !errors.Is(err, audit.ErrDamaged) || !strings.Contains(err.Error(), "(entry 9) has other bytes in SQLite than in the journal at offset") || strings.Contains(err.Error(), "\n") {
			t.Fatalf("opening: %v", err)
		}
	}
	if _, err := audit.Open(dir, audit.ReadOnly()); !errors.Is(err, sqlstore.ErrOlder) {
		t.Errorf("a reader: %v", err)
	}
	// repair takes the value of the journal, whose header has a hash of it.
	repaired := killed(t, dir)
	for _, apply := range []bool{false, true} {
		rep, err := audit.RepairRecords(t.Context(), repaired, audit.RepairOptions{Apply: apply})
		if err != nil || len(rep.Restored) != 1 || rep.Damaged() != 1 {
			t.Errorf("repair %v: %+v, %v", apply, rep, err)
		}
	}
	wantVersion2(t, openDB(t, repaired))
	// Two other ways: the value comes back, or SQLite is rebuilt from the journal.
	again := killed(t, dir)
	s = openShell(t, again)
	s.unguarded(fmt.Sprintf(change, `"t8"`, `"t9"`))
	s.exit()
	wantVersion2(t, openDB(t, again))
	removeSQLite(t, dir)
	wantVersion2(t, openDB(t, dir))
}

// The journal of an older store is repaired from its SQLite, before and in the middle of the migration.
func TestTheJournalOfAnOlderStoreIsRepaired(t *testing.T) {
	t.Parallel()
	dir := version2(t)
	name := must(filepath.Glob(filepath.Join(dir, "wal", "*.wal")))[2]
	b := must(os.ReadFile(name))
	b[5000] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	begun := killed(t, dir)
	var corrupt *wal.CorruptError
	if _, err := audit.Open(begun); !errors.As(err, &corrupt) {
		t.Errorf("opening: %v", err)
	}
	for what, dir := range map[string]string{"before": dir, "in the middle": begun} {
		rep := repair(t, dir, true)
		if !rep.Asked || len(rep.Ranges) != 1 || len(rep.Ranges[0].Restored) != 1 {
			t.Errorf("%s: %+v", what, rep)
		}
		wantVersion2(t, openDB(t, dir))
	}
}

// A store of the version before the times of agents gets its view when it is opened for writing.
func TestAStoreWithoutTimesOfAgentsIsMigrated(t *testing.T) {
	t.Parallel()
	dir := goldenStore(t, "version4")
	if why, err := audit.NeedsRecovery(t.Context(), dir); err != nil || !strings.Contains(why, "older version") {
		t.Errorf("needs recovery: %q, %v", why, err)
	}
	db := openDB(t, dir)
	wantGolden(t, db, rootOfVersion4)
	closeDB(t, db)
	s := openShell(t, dir)
	if s.ask(`SELECT sum(audits) FROM agents`) != 270 || s.ask(`SELECT count(*) FROM agents WHERE agent_id IS NULL AND audits = 38`) != 1 {
		t.Error("the view agents has not all records")
	}
	if s.ask(`SELECT count(*) FROM agents g WHERE first_time = (SELECT min(time) FROM audits WHERE agent_id IS g.agent_id)
		AND last_time = (SELECT max(time) FROM audits WHERE agent_id IS g.agent_id)`) != 7 {
		t.Error("the view agents has other times than its records")
	}
	s.exit()
}
