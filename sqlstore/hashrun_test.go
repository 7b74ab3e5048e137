package sqlstore_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/sqlstore"
)

// What a run has can be read from its pages. Entries of one key are in one page, the first page has key 0, and each later one that of its
// first entry. A key that more than 256 hashes have is there once, without numbers.
func TestRunsAreCutIntoPages(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const run = 7
		var entries, want []sqlstore.RunEntry
		key := uint64(0)
		for range rapid.IntRange(0, 40).Draw(t, "keys") {
			key += rapid.SampledFrom([]uint64{0, 1, 2, 300, 1 << 20, 1 << 30}).Draw(t, "step")
			if key >= 1<<32 {
				break
			}
			if n := len(entries); n > 0 && entries[n-1].Key == uint32(key) {
				key++
			}
			many := rapid.SampledFrom([]int{1, 1, 2, 100, 255, 256, 257, 700}).Draw(t, "hashes")
			overflows := many > 256
			merged := -1 // which of them overflowed in a run that is merged
			if rapid.IntRange(0, 9).Draw(t, "merged") == 9 {
				merged, overflows = rapid.IntRange(0, many-1).Draw(t, "which"), true
			}
			base := rapid.Int64Range(1, 1<<47).Draw(t, "base")
			for i := range many {
				number := base + int64(i*i*7919%1000)
				if i == merged {
					number = 0
				}
				entries = append(entries, sqlstore.RunEntry{Key: uint32(key), Number: number})
			}
			if overflows {
				want = append(want, sqlstore.RunEntry{Key: uint32(key)})
			} else {
				want = append(want, entries[len(entries)-many:]...)
			}
		}
		ids, pages := sqlstore.RunPages(run, entries)
		var got []sqlstore.RunEntry
		last := int64(-1)
		for i, page := range pages {
			part, err := sqlstore.ReadRunPage(ids[i], page)
			if err != nil {
				t.Fatal(err)
			}
			first := int64(run) << 32
			if i > 0 {
				first += int64(part[0].Key)
				if n := len(got); got[n-1].Key == part[0].Key {
					t.Fatalf("key %d is in two pages", part[0].Key)
				}
			}
			if ids[i] != first || ids[i] <= last || len(part) > 320+256 {
				t.Fatalf("page %d has id %d after %d, want %d, and %d entries", i, ids[i], last, first, len(part))
			}
			last = ids[i]
			got = append(got, part...)
		}
		if len(pages) == 0 || !slices.Equal(got, want) {
			t.Fatalf("%d pages: got %v, want %v", len(pages), got, want)
		}
	})
}

func FuzzRunPage(f *testing.F) {
	_, pages := sqlstore.RunPages(1, []sqlstore.RunEntry{{3, 9}, {3, 4}, {70000, 0}, {1 << 31, 1 << 40}})
	f.Add(int64(1<<32), pages[0])
	f.Add(int64(0), append(binary.AppendUvarint(nil, 1<<47+5), append([]byte{0}, binary.AppendUvarint(nil, 1<<47)...)...))
	f.Add(int64(-1), []byte{0, 0xff, 0xff, 0xff, 0xff, 0x0f, 1})
	f.Fuzz(func(t *testing.T, id int64, page []byte) {
		entries, err := sqlstore.ReadRunPage(id, page)
		if err != nil {
			if !errors.Is(err, sqlstore.ErrMalformed) || !strings.Contains(err.Error(), "run reindex") {
				t.Fatal(err)
			}
			return
		}
		for i, e := range entries {
			if e.Number < 0 || e.Number >= 1<<48 || e.Key < uint32(id) || i > 0 && e.Key < entries[i-1].Key {
				t.Fatalf("%v of %x", entries, page)
			}
		}
	})
}

// generationsByHand gives a store a record in each of some generations: row 5 of each is a copy of record 4, under another id.
func generationsByHand(t *testing.T, path string, generations int) {
	t.Helper()
	numbers := fmt.Sprintf(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) `, generations-1)
	const id = `CAST(substr(b.query_id, 1, 30) || char(32 + i) || 'x' AS BLOB)`
	tamper(t, path,
		fmt.Sprintf(`INSERT INTO kv (key, value, leaf) `+numbers+`SELECT CAST(x'004155443a' || `+id+` AS BLOB), x'00', x'%x' FROM n, entry b WHERE b.idx = 4`, leafOfZero),
		`INSERT INTO entry (idx, query_id, journal_offset) `+numbers+`SELECT (i << 14) + 5, `+id+`, 10000 + i FROM n, entry b WHERE b.idx = 4`,
		`INSERT INTO hash (id, generation, hex) `+numbers+`SELECT i * 1000 + id, i, hex FROM n, hash
			WHERE id IN (SELECT assertion FROM contribution WHERE audit = 4 UNION SELECT source FROM contribution WHERE audit = 4 UNION SELECT result FROM audit WHERE idx = 4)`,
		`INSERT INTO audit (idx, query_hex, agent, timestamp, subject, result, result_confidence, contributions) `+numbers+
			`SELECT (i << 14) + 5, lower(hex(`+id+`)), agent, timestamp - i, subject, i * 1000 + result, result_confidence, contributions FROM n, audit a, entry b WHERE a.idx = 4 AND b.idx = 4`,
		`INSERT INTO contribution (audit, position, assertion, weight, source, lifecycle) `+numbers+
			`SELECT (i << 14) + 5, position, i * 1000 + assertion, weight, i * 1000 + source, lifecycle FROM n, contribution WHERE audit = 4`,
		`INSERT INTO attribute (audit, key, value) `+numbers+`SELECT (i << 14) + 5, key, value FROM n, attribute WHERE audit = 4`,
	)
}

// leafOfZero is the leaf hash of a record of one zero byte.
var leafOfZero = sha256.Sum256([]byte{0, 0})

// The runs are written a few generations at a time while records are added, and 32 of them become one.
func TestRunsOfManyGenerations(t *testing.T) {
	t.Parallel()
	db, path := guarded(t)
	generationsByHand(t, path, 70)
	// What somebody writes by hand is found too, also with numbers that no run can have. Hashes in upper case are none.
	tamper(t, path, fmt.Sprintf(`INSERT INTO hash (id, generation, hex) VALUES (1 << 60, 45, '%x'), (-5, 46, '%x'), (1 << 50, 5, '%x'), (45900, 45, '%X'), (45901, 45, '%X')`,
		h("by hand"), h("by hand"), h("by hand"), h("assertion 5"), h("by hand")))
	// One record has evidence that no other one has.
	tamper(t, path, fmt.Sprintf(`INSERT INTO hash (id, generation, hex) VALUES (66900, 66, '%x')`, h("late")),
		`UPDATE contribution SET assertion = 66900 WHERE audit = (66 << 14) + 5 AND position = 0`)
	hashes := [][32]byte{h("assertion 5"), h("source 4"), h("nowhere"), unhex(*newSample(4).Result), h("by hand")}
	want := make([][]int64, len(hashes))
	for i, hash := range hashes {
		for _, n := range rows(t, db, fmt.Sprintf(`SELECT id FROM hash WHERE hex = '%x' ORDER BY id`, hash)) {
			var id int64
			fmt.Sscan(n, &id)
			want[i] = append(want[i], id)
		}
	}
	if len(want[0]) != 70 || len(want[2]) != 0 || len(want[4]) != 3 {
		t.Fatal(want)
	}
	right := func(doing string) {
		t.Helper()
		db.ShrinkChains(5, 4096, 20) // several queries
		got, err := db.Numbers(t.Context(), hashes, func() {})
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, %v; want %v", doing, got, err, want)
		}
		for _, c := range []struct {
			timestamp, asOf int64
			want            [3]bool
		}{{1 << 60, 1 << 60, [3]bool{true, true, false}}, {1 << 60, 66<<14 + 5, [3]bool{true, false, false}}, {-1 << 40, 1 << 60, [3]bool{}}} {
			keys := []string{}
			for _, hash := range [][32]byte{h("assertion 5"), h("late"), h("nowhere")} {
				keys = append(keys, string(hash[:]))
			}
			seen, err := db.SeenBefore(t.Context(), sqlstore.ByAssertion, keys, c.timestamp, &c.asOf)
			if err != nil || !slices.Equal(seen, c.want[:]) {
				t.Errorf("%s: seen before %d of %d: %v, %v; want %v", doing, c.timestamp, c.asOf, seen, err, c.want)
			}
		}
	}
	figures := func(doing string) {
		t.Helper()
		last := newSample(4).Time
		for _, from := range []int64{last - 100, last - 40, last - 39, last - 3, last, last + 1} {
			for _, to := range []int64{last, last - 2, last - 39} {
				for _, corrections := range []int{100_000, 5} { // so that few records are looked at to find their generations
					db.ShrinkRollup(8192, corrections)
					want := rows(t, db, fmt.Sprintf(`SELECT count(*) FROM contributions WHERE assertion_hash = '%x' AND timestamp BETWEEN %d AND %d`, hashes[0], from, to))
					got, cut, err := db.Figures(t.Context(), sqlstore.ByAssertion, []string{string(hashes[0][:])}, sqlstore.Filter{From: &from, To: &to}, 1_000_000, sqlstore.Budget{})
					if err != nil || cut || fmt.Sprint(got[0].Count) != want[0] {
						t.Errorf("%s: figures from %d to %d: %+v, %v, %v; want %s", doing, from, to, got, cut, err, want[0])
					}
				}
			}
		}
	}
	right("without runs")
	figures("without runs")
	more := func() {
		t.Helper()
		if err := db.WriteRuns(t.Context(), 69); err != nil {
			t.Fatal(err)
		}
	}
	const runs = `SELECT DISTINCT id >> 32 FROM hash_run WHERE id >> 32 < 1 << 24`
	for i := range 20 {
		more()
		right(fmt.Sprint("batch ", i))
		done := min(69, 4*(i+1))
		var left []string
		for run := done / 32 * 32; run < done; run++ {
			left = append(left, fmt.Sprint(run))
		}
		wantRows(t, db, runs, left...)
		wantRows(t, db, `SELECT count(DISTINCT id >> 32) FROM hash_run WHERE id >> 32 >= 1 << 24`, fmt.Sprint(done/32))
	}
	figures("with runs")
	// A search in some generations finds what the run has of these.
	for _, in := range [][2]int64{{0, 69}, {5, 5}, {31, 33}, {68, 69}, {69, 69}, {70, 90}} {
		got, err := db.NumbersIn(t.Context(), hashes[0], in[0], in[1])
		least, most := in[0]*1000, (in[1]+1)*1000
		var part []int64
		for _, n := range want[0] {
			if n >= least && n < most {
				part = append(part, n)
			}
		}
		if err != nil || !slices.Equal(got, part) {
			t.Errorf("generations %v: %v, %v; want %v", in, got, err, part)
		}
	}
	for _, kind := range []sqlstore.HashKind{sqlstore.AssertionHash, sqlstore.SourceHash} {
		checkPrefixes(t, db, kind)
	}
	// A writer merges runs between two queries of a search.
	tamper(t, path, `DELETE FROM hash_run WHERE id >> 32 BETWEEN 60 AND 68 OR id >> 32 = (1 << 24) + 1`)
	for range 3 { // runs 32 to 43
		more()
	}
	right("before the merge")
	sound := func(doing string, between func(generation int64)) {
		t.Helper()
		err := db.CheckRuns(t.Context(), func(p string) {
			if !strings.Contains(p, "hash_run: the run of generation 45 does not have") && !strings.Contains(p, "hash_run: the run of generation 46 does not have") {
				t.Errorf("%s: %s", doing, p)
			}
		}, between)
		if err != nil {
			t.Errorf("%s: %v", doing, err)
		}
	}
	sound("before the merge", func(int64) {})
	// A page of hash_run is damaged, and a run is lost.
	tamper(t, path, `UPDATE hash_run SET entries = x'0001' WHERE id >> 32 = 40`, `DELETE FROM hash_run WHERE id >> 32 IN (32, 41)`,
		`UPDATE hash_run SET id = (33 << 32) + 0xffffffff, entries = x'00' WHERE id >> 32 = 33`)
	calls := 0
	got, err := db.Numbers(t.Context(), hashes, func() {
		if calls++; calls == 1 {
			for range 6 { // runs 44 to 67: those up to 63 are merged
				more()
			}
		}
	})
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) || calls < 2 {
		t.Errorf("merged meanwhile: %v, %v; want %v", got, err, want)
	}
	wantRows(t, db, `SELECT count(DISTINCT id >> 32) FROM hash_run WHERE id >> 32 >= 1 << 24`, "2")
	right("after the merge of what was damaged")
	sound("after the merge", func(int64) {})
	// The writer merges runs in the middle of a check.
	tamper(t, path, `DELETE FROM hash_run WHERE id >> 32 BETWEEN 60 AND 68 OR id >> 32 = (1 << 24) + 1`)
	for range 3 {
		more()
	}
	merged := false
	sound("merged in the middle", func(generation int64) {
		if generation == 40 && !merged {
			merged = true
			for range 6 {
				more()
			}
		}
	})
	wantRows(t, db, `SELECT count(DISTINCT id >> 32) FROM hash_run WHERE id >> 32 >= 1 << 24`, "2")
	tamper(t, path, `INSERT INTO hash_run VALUES (0x7fffffff00000000, x'00'), (-1, x'00'), (1 << 58, x'00')`)
	right("rows that are no pages")
	more() // and new runs are written as before
	right("rows that are no pages, and a new run")
	// A run that is missing, and two of one generation, are reported by verify. Meanwhile nothing is missed, and nothing found twice.
	tamper(t, path, `INSERT INTO hash_run SELECT (40 << 32) + (id & 0xffffffff), entries FROM hash_run WHERE id >> 32 = (1 << 24) + 1`)
	right("two runs")
	tamper(t, path, `DELETE FROM hash_run WHERE id >> 32 IN (40, 65, 1 << 24)`)
	right("runs are missing")
	for _, kind := range []sqlstore.HashKind{sqlstore.AssertionHash, sqlstore.SourceHash} {
		checkPrefixes(t, db, kind)
	}
}

// checkPrefixes compares PrefixHashes with all evidence.
func checkPrefixes(t *testing.T, db *sqlstore.DB, kind sqlstore.HashKind) {
	t.Helper()
	column := map[sqlstore.HashKind]string{sqlstore.AssertionHash: "assertion", sqlstore.SourceHash: "source"}[kind]
	all := rows(t, db, `SELECT DISTINCT hex FROM hash WHERE id IN (SELECT `+column+` FROM contribution) ORDER BY hex`)
	for _, prefix := range []string{"", "0", "7", "f", all[0], all[len(all)-1], all[len(all)/2][:9], all[len(all)/2][:8], all[len(all)/3][:3], "00000000000000"} {
		for _, most := range []int{1, 2, 3, 100, 2000} {
			var want []string
			for _, hex := range all {
				if strings.HasPrefix(hex, prefix) && len(want) < most {
					want = append(want, hex)
				}
			}
			found, err := db.PrefixHashes(t.Context(), kind, prefix, most)
			got := make([]string, len(found))
			for i := range found {
				got[i] = fmt.Sprintf("%x", found[i])
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s %q, at most %d: %q, %v; want %q", column, prefix, most, got, err, want)
			}
		}
	}
}

// mob returns a hash of those that somebody has chosen: all begin with the same four bytes.
func mob(i int) (h [32]byte) {
	copy(h[:], "mob!")
	binary.BigEndian.PutUint32(h[28:], uint32(i*7919))
	return h
}

// Runs that a writer makes from records have what table hash has: of hashes that somebody has chosen, of a page of one key and of several
// pages, after a reindex, and after an opening in the middle of a generation, when not all hashes of it are remembered.
func TestRunsHaveTheHashesOfTheirGenerations(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	const generation = 1 << 14
	offset := uint64(0)
	fill := func(n int, record func(i int) sample) {
		rs := make([]sqlstore.Record, n)
		for i := range rs {
			rs[i] = record(i).record(offset)
			offset += 100
		}
		apply(t, db, rs...)
	}
	about := func(assertion, source [32]byte) sample {
		return sample{ID: hx(fmt.Sprint("about ", offset)), Time: int64(offset), Contributions: []sampleContribution{{Assertion: fmt.Sprintf("%x", assertion), Source: fmt.Sprintf("%x", source)}}}
	}
	nothing := func(int) sample { return sample{ID: hx(fmt.Sprint("nothing ", offset)), Time: int64(offset)} }
	fill(700, func(i int) sample { return about(h(fmt.Sprint("assertion ", i)), mob(i%300)) })
	fill(100, func(i int) sample { return about(h(fmt.Sprint("other ", i)), mob(i)) })
	mustClose(t, db)
	db = open(t, path, sqlstore.Options{})
	db.ShrinkHashes(50)
	fill(generation-800, nothing)
	db.ShrinkHashes(1 << 18)
	fill(400, func(i int) sample { return about(h(fmt.Sprint("assertion ", i)), mob(i%256)) })
	fill(generation-400, nothing)
	fill(10, func(i int) sample { return about(h(fmt.Sprint("assertion ", i)), mob(i)) })
	sound := func() {
		t.Helper()
		wantRows(t, db, `SELECT id >> 32, count(*) FROM hash_run GROUP BY 1`, "0|3", "1|2")
		if _, problems := check(t, db); len(problems) > 0 {
			t.Error(problems)
		}
		for _, c := range []struct {
			e    sqlstore.Evidence
			want int
		}{
			{sqlstore.Evidence{Hash: ptr(h("assertion 5"))}, 3},
			{sqlstore.Evidence{Hash: ptr(h("assertion 699"))}, 1},
			{sqlstore.Evidence{Hash: ptr(h("other 99"))}, 1},
			{sqlstore.Evidence{Hash: ptr(mob(299)), Source: true}, 2},
			{sqlstore.Evidence{Hash: ptr(mob(5)), Source: true}, 3 + 1 + 2 + 1},
			{sqlstore.Evidence{Hash: ptr(mob(300)), Source: true}, 0},
		} {
			if uses, err := db.Dictionary().Uses(t.Context(), c.e, nil, 100); err != nil || len(uses) != c.want {
				t.Errorf("%x: %d uses, want %d, %v", c.e.Hash, len(uses), c.want, err)
			}
			f := sqlstore.Filter{Assertion: c.e.Hash}
			if c.e.Source {
				f = sqlstore.Filter{Source: c.e.Hash}
			}
			if got := collect(t, db, f); len(got) != c.want {
				t.Errorf("%x: %d records, want %d", c.e.Hash, len(got), c.want)
			}
			first := int64(generation)
			if uses, err := db.Dictionary().Uses(t.Context(), c.e, &first, 100); err != nil || len(uses) > c.want || slices.ContainsFunc(uses, func(u sqlstore.Use) bool { return u.Index >= first }) {
				t.Errorf("%x in generation 0: %d uses, %v", c.e.Hash, len(uses), err)
			}
		}
		for _, kind := range []sqlstore.HashKind{sqlstore.AssertionHash, sqlstore.SourceHash} {
			checkPrefixes(t, db, kind)
		}
		prefix := fmt.Sprintf("%x", "mob!")
		if found, err := db.PrefixHashes(t.Context(), sqlstore.SourceHash, prefix, 280); err != nil || len(found) != 280 {
			t.Errorf("%d of them, %v", len(found), err)
		}
	}
	sound()
	if err := db.Reindex(t.Context(), decode, nil); err != nil {
		t.Fatal(err)
	}
	sound()
	// Without its first page a run cannot be searched.
	tamper(t, path, `DELETE FROM hash_run WHERE id = 1 << 32`)
	least := h("assertion 0")
	for i := range 400 {
		if other := h(fmt.Sprint("assertion ", i)); bytes.Compare(other[:], least[:]) < 0 {
			least = other
		}
	}
	if _, err := db.Dictionary().Uses(t.Context(), sqlstore.Evidence{Hash: &least}, nil, 1); !errors.Is(err, sqlstore.ErrMalformed) || !strings.Contains(err.Error(), "run reindex") {
		t.Error(err)
	}
	if _, err := db.PrefixHashes(t.Context(), sqlstore.AssertionHash, "0", 1); !errors.Is(err, sqlstore.ErrMalformed) {
		t.Error(err)
	}
}

// Verify tells of each way in which runs can differ from table hash.
func TestRunsThatDifferAreFound(t *testing.T) {
	t.Parallel()
	page := func(entries ...sqlstore.RunEntry) string {
		_, pages := sqlstore.RunPages(1, entries)
		return fmt.Sprintf("x'%x'", pages[0])
	}
	for name, c := range map[string]struct{ tamper, want string }{
		"no run":           {`DELETE FROM hash_run WHERE id >> 32 = 66`, "hash_run: the run of generation 66 is missing"},
		"two runs":         {`INSERT INTO hash_run SELECT (40 << 32) + (id & 0xffffffff), entries FROM hash_run WHERE id >> 32 = 64`, "hash_run: there are two runs of generation 40"},
		"a run too many":   {`INSERT INTO hash_run SELECT (69 << 32) + (id & 0xffffffff), entries FROM hash_run WHERE id >> 32 = 68`, "hash_run: there is a run of generation 69, which is not complete"},
		"nothing":          {`UPDATE hash_run SET entries = x'00' WHERE id >> 32 = 65`, "hash_run: the run of generation 65 does not have "},
		"other entries":    {`UPDATE hash_run SET entries = ` + page(sqlstore.RunEntry{Key: 5, Number: 7}) + ` WHERE id >> 32 = 66`, "hash_run: the run of generation 66 does not have "},
		"another number":   {`UPDATE hash_run SET entries = ` + page(sqlstore.RunEntry{Key: 5, Number: 67001}) + ` WHERE id >> 32 = 67`, "hash_run: a run of generation 67 has number 67001, which table hash does not have there"},
		"twice":            {`UPDATE hash_run SET entries = ` + page(sqlstore.RunEntry{Key: 5, Number: 7}, sqlstore.RunEntry{Key: 9, Number: 7}) + ` WHERE id >> 32 = 66`, "hash_run: a run has number 7 twice"},
		"an empty page":    {`INSERT INTO hash_run VALUES ((66 << 32) + 5, x'00')`, "is empty"},
		"a page too early": {`INSERT INTO hash_run VALUES ((66 << 32) + 1, ` + page(sqlstore.RunEntry{Key: 1, Number: 7}) + `)`, ", which belongs to a later page"},
		"no first page":    {`UPDATE hash_run SET id = id + 1 WHERE id >> 32 = 66`, "hash_run: the run of generation 66 has no first page"},
		"another key":      {`UPDATE hash_run SET id = id + 1 WHERE id = (SELECT max(id) FROM hash_run WHERE id >> 32 = 1 << 24)`, "does not begin with its key"},
		"no list":          {`UPDATE hash_run SET entries = x'ff' WHERE id >> 32 = 65`, "is no list of entries"},
		"no list, merged":  {`UPDATE hash_run SET entries = x'0001' WHERE id >> 32 = 1 << 24`, "is no list of entries"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, path := guarded(t)
			generationsByHand(t, path, 70)
			// A row of table hash that no record has is reported as that alone.
			tamper(t, path, fmt.Sprintf(`INSERT INTO hash (id, generation, hex) VALUES (64999, 65, '%x')`, h("unused")))
			for range 20 {
				if err := db.WriteRuns(t.Context(), 69); err != nil {
					t.Fatal(err)
				}
			}
			ours := func() (problems []string) {
				_, all := check(t, db)
				for _, p := range all {
					if strings.HasPrefix(p, "hash_run: ") {
						problems = append(problems, p)
					}
				}
				return problems
			}
			if got := ours(); len(got) > 0 {
				t.Fatal(got)
			}
			tamper(t, path, c.tamper)
			if got := ours(); !slices.ContainsFunc(got, func(p string) bool { return strings.Contains(p, c.want) }) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
