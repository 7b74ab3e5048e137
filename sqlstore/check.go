package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"hash/maphash"
	"math"
	"slices"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/auditsql/auditsql/tree"
)

// Counts is how many of each CheckDerived has checked.
type Counts struct {
	Audits        uint64 // entries, and the records they stand for
	AgentKeys     uint64 // keys that list a record under its agent
	Contributions uint64
	Attributes    uint64
	Agents        uint64

	// The tree of the audits, as it follows from their leaf hashes. Zero if an entry is missing.
	TreeSize uint64
	Root     tree.Hash
}

// Check is what CheckDerived needs from its caller.
type Check struct {
	// Decode takes a value of kv apart as Apply expects it. Several goroutines call it at once.
	Decode func(payload []byte) (Record, error)
	// Report gets each problem as one line. It is called by the goroutine of CheckDerived.
	Report func(problem string)
	// Entries, if set, gets all entries that there were at the beginning, as Values yields them, in pages. So a caller who
	// compares the records with something else needs no second reading of them. An entry whose record is missing in kv, or
	// does not match its leaf hash, comes without a value. After the last page it is called once with a nil page, and with
	// the error if the entries could not be read to their end. It is called by the goroutine of CheckDerived, which goes on
	// when it returns.
	Entries func(page []EntryValue, err error)
}

// CheckDerived compares the tables with each other: entry has no gap, every entry has its record in kv, the
// two families of keys in kv hold these records and nothing else, and the rows of audit, contribution,
// attribute, agent, hash and activity are exactly what Decode makes of the records, and those of hash_run what table hash has. Each record
// has its leaf hash, and the tiles and the edge of the tree are those of the leaves. Problems are reported in an order that depends on the tables alone. An error means
// that the check could not go on.
//
// The order of admission is that of the journal, so journal offsets ascend, and the last one is before the cursor.
//
// It reads in short pages and in bounded memory, and checks several pages at once. It checks what was there when it began, so
// a writer may write meanwhile.
func (db *DB) CheckDerived(ctx context.Context, check Check) (Counts, error) {
	c := checker{db: db, Check: check, derived: true}
	c.ids.seed, c.listed.seed, c.rollup.seed = maphash.MakeSeed(), maphash.MakeSeed(), maphash.MakeSeed()
	pages, err := connect(db.path, db.access, 1, checkCache)
	if err != nil {
		c.noMore("check", err)
		return c.counts, db.fail("check", err)
	}
	defer pages.Close()
	c.pages = readers{pages}
	for _, step := range []func(context.Context) error{c.begin, c.learnActivity, c.entries, c.edges, c.strays, c.keys, c.agents, c.dictionary, c.activity} {
		err := step(ctx)
		if ctx.Err() == nil && unreadable(err) {
			c.problem("cannot be read: %v", err)
			err = nil
		}
		if err != nil {
			c.noMore("check", err)
			return c.counts, db.fail("check", err)
		}
	}
	return c.counts, nil
}

// unreadable reports whether err says that the tables cannot be read: a table is missing, a page is
// damaged, or a value is not of its column's kind.
func unreadable(err error) bool {
	return hasCode(err, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT) || isScanError(err)
}

type checker struct {
	Check
	db     *DB
	pages  readers // one connection, which reads the entries and their records
	counts Counts

	// What there was at the beginning.
	begun         bool  // this is known
	newest        int64 // index of the last entry, -1 if there is none
	newestKey     int64 // row id in kv
	newestHash    int64 // number of the last hash, 0 if there is none
	contributions int64 // as table store counts them

	byKey   bool // records are looked for by their keys, since the hints of table audit do not do
	derived bool // the derived tables could be read so far
	ended   bool // Entries got its last call
	tree    checkTree

	ids, listed keySet // the keys that the entries must have: of records, and in agents' lists

	used numberSet // numbers of hashes that the derived rows have

	counted  rollupState // table activity; its minute is 0 if there is nothing to compare
	rollup   rollupSum   // what table activity must have
	reported int         // problems
}

func (c *checker) problem(format string, args ...any) {
	c.reported++
	c.Report(fmt.Sprintf(format, args...))
}

// noMore tells the receiver of the entries that there are no more, and why if not all could be read.
func (c *checker) noMore(doing string, err error) {
	if c.Entries == nil || c.ended {
		return
	}
	c.ended = true
	if err != nil {
		err = c.db.fail(doing, err)
	}
	c.Entries(nil, err)
}

// keySet is a fingerprint of a set of keys. Equal sets have equal fingerprints. Two different sets have equal ones by
// a chance of 2^-64. Nobody can choose keys to that end, since the seed is random.
type keySet struct {
	seed  maphash.Seed
	count uint64
	sum   uint64
}

func (s *keySet) add(key []byte) {
	s.count++
	s.sum += maphash.Bytes(s.seed, key)
}

// join adds the keys of a set with the same seed.
func (s *keySet) join(other keySet) {
	s.count += other.count
	s.sum += other.sum
}

func (c *checker) begin(ctx context.Context) error {
	// Before the newest entry: no hash up to this one is of a later record.
	const hashes = `SELECT coalesce(max(id), 0) FROM hash WHERE id < ?`
	if err := c.db.readers.GetContext(ctx, &c.newestHash, hashes, int64(maxNumber)); err != nil && !unreadable(err) {
		return err
	}
	const query = `SELECT (SELECT coalesce(max(idx), -1) FROM entry) AS newest,
		coalesce((SELECT CAST(journal_offset AS INTEGER) FROM entry ORDER BY idx DESC LIMIT 1), -1) AS newest_offset,
		coalesce((SELECT CAST(value AS INTEGER) FROM store WHERE name = 'cursor'), -1) AS cursor,
		(SELECT coalesce(max(rowid), -1) FROM kv) AS newest_key,
		coalesce((SELECT CAST(value AS INTEGER) FROM store WHERE name = 'contributions'), -1) AS contributions,
		coalesce((SELECT CAST(value AS INTEGER) FROM store WHERE name = 'rejected'), -1) AS noted,
		(SELECT count(*) FROM rejected) AS rejected,
		EXISTS (SELECT 1 FROM store WHERE name = 'applying') AS applying`
	var r struct {
		Newest        int64
		NewestOffset  int64 `db:"newest_offset"`
		Cursor        int64
		NewestKey     int64 `db:"newest_key"`
		Contributions int64
		Noted         int64
		Rejected      int64
		Applying      bool
	}
	if err := c.db.readers.GetContext(ctx, &r, query); err != nil {
		// The entries are checked all the same, whatever else cannot be read.
		c.newestKey = math.MaxInt64
		if last := c.db.readers.GetContext(ctx, &c.newest, `SELECT coalesce(max(idx), -1) FROM entry`); last != nil {
			c.newest = -1
			c.noMore("read entry", last)
		}
		return err
	}
	c.begun, c.newest = true, r.Newest
	c.newestKey, c.contributions = r.NewestKey, r.Contributions
	if r.NewestOffset >= r.Cursor {
		c.problem("entry: the newest, %d, has journal offset %d, and the cursor is only at %d", r.Newest, r.NewestOffset, r.Cursor)
	}
	if r.Applying {
		c.problem("store: a row 'applying' was put in by hand: while it is there, the guards let anything into kv and entry")
	}
	if r.Noted != r.Rejected {
		c.problem("rejected: has %d rows, table store counts %d", r.Rejected, r.Noted)
	}
	return nil
}

// keys checks that the two families of keys in kv have no other keys. Every entry has found its own keys already. So if the
// fingerprints of the sets are equal, there are no others. If not, they are searched for.
func (c *checker) keys(ctx context.Context) error {
	for _, family := range []struct {
		prefix string
		length int
		want   *keySet
		search func(context.Context) error
	}{
		{KeyPrefix, KeyLen, &c.ids, c.strayRecords},
		{AgentKeyPrefix, AgentKeyLen, &c.listed, c.strayListings},
	} {
		have := keySet{seed: family.want.seed}
		err := c.scan(ctx, family.prefix, 4096, func(keys [][]byte) error {
			for _, k := range keys {
				if len(k) != family.length {
					c.problem("kv: key %x belongs to no record", k)
					continue
				}
				have.add(k)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if have != *family.want {
			if err := family.search(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// scan calls f with the keys of a family that were there at the beginning, in order, up to page at a time.
func (c *checker) scan(ctx context.Context, prefix string, page int, f func(keys [][]byte) error) error {
	const query = `SELECT key FROM kv WHERE key > ? AND key < ? AND rowid <= ? ORDER BY key LIMIT ?`
	for low := []byte(prefix); ; {
		var keys [][]byte
		if err := c.db.readers.SelectContext(ctx, &keys, query, low, after([]byte(prefix)), c.newestKey, page); err != nil {
			return err
		}
		n := len(keys)
		if n > 0 {
			low = bytes.Clone(keys[n-1])
		}
		if err := f(keys); err != nil {
			return err
		}
		if n < page {
			return nil
		}
	}
}

// strayRecords reports records that have no entry, and records that have several. It reads all of entry for each
// page of kv, so these pages are large.
func (c *checker) strayRecords(ctx context.Context) error {
	const query = `SELECT idx, query_id FROM entry WHERE idx >= ? ORDER BY idx LIMIT 4096`
	matched := uint64(0)
	err := c.scan(ctx, KeyPrefix, 1<<18, func(keys [][]byte) error {
		keys = slices.DeleteFunc(keys, func(k []byte) bool { return len(k) != KeyLen })
		stray := make([]bool, len(keys))
		for i := range stray {
			stray[i] = true
		}
		for next := int64(0); len(keys) > 0; {
			// Also entries that came after the check began: a new key can have the row id of a deleted one.
			var page []entryRow
			if err := c.db.readers.SelectContext(ctx, &page, query, next); err != nil {
				return err
			}
			for i := range page {
				k, found := slices.BinarySearchFunc(keys, page[i].QueryID, func(key, id []byte) int {
					return bytes.Compare(recordOf(key), id)
				})
				if found && stray[k] && page[i].Idx <= c.newest {
					matched++
				}
				if found {
					stray[k] = false
				}
			}
			if len(page) == 0 {
				break
			}
			next = page[len(page)-1].Idx + 1
		}
		for i, k := range keys {
			if stray[i] {
				c.problem("kv: no entry stands for record %x", recordOf(k))
			}
		}
		return nil
	})
	if err == nil && matched < c.ids.count {
		c.problem("entry: %d entries stand for records that others stand for already", c.ids.count-matched)
	}
	return err
}

// strayListings reports keys in agents' lists that are not those of their record.
func (c *checker) strayListings(ctx context.Context) error {
	return c.scan(ctx, AgentKeyPrefix, 4096, func(keys [][]byte) error {
		for _, k := range keys {
			if len(k) != AgentKeyLen {
				continue
			}
			v, err := c.db.Get(ctx, recordKey(recordOf(k)))
			if err != nil && err != ErrNotFound {
				return err
			}
			if err == nil {
				if r, err := c.Decode(v); err == nil && bytes.Equal(r.agentKey(), k) {
					continue
				}
			}
			c.problem("kv: key %x lists a record under an agent that is not its own", k)
		}
		return nil
	})
}

// strays reports rows that belong to no entry because their number is below 0 or above that of the newest entry.
func (c *checker) strays(ctx context.Context) error {
	for _, t := range []struct{ table, query string }{
		{"entry", `SELECT DISTINCT idx FROM entry WHERE idx < 0 LIMIT ?`},
		{"audit", `SELECT idx FROM audit a WHERE (idx < 0 OR idx > (SELECT coalesce(max(idx), -1) FROM entry)) LIMIT ?`},
		{"contribution", `SELECT DISTINCT audit FROM contribution WHERE (audit < 0 OR audit > (SELECT coalesce(max(idx), -1) FROM entry)) LIMIT ?`},
		{"attribute", `SELECT DISTINCT audit FROM attribute WHERE (audit < 0 OR audit > (SELECT coalesce(max(idx), -1) FROM entry)) LIMIT ?`},
	} {
		var found []int64
		if err := c.db.readers.SelectContext(ctx, &found, t.query, maxProblems); err != nil {
			return err
		}
		for _, idx := range found {
			c.problem("%s: there is no entry %d", t.table, idx)
		}
	}
	return nil
}

// agents compares the counts of table agent with table audit, which entries has compared with the records.
func (c *checker) agents(ctx context.Context) error {
	const query = `SELECT id, agent_id, audits, first, last,
		(SELECT count(*) FROM audit a WHERE a.agent = g.id) AS count,
		(SELECT min(timestamp) FROM audit a WHERE a.agent = g.id) AS oldest,
		(SELECT max(timestamp) FROM audit a WHERE a.agent = g.id) AS newest
		FROM agent g WHERE id >= ? ORDER BY id LIMIT 64`
	anonymous := false
	for next := int64(math.MinInt64); ; {
		var page []struct {
			ID             int64
			AgentID        []byte `db:"agent_id"`
			Audits, Count  int64
			First, Last    sql.NullInt64
			Oldest, Newest sql.NullInt64
		}
		if err := c.db.readers.SelectContext(ctx, &page, query, next); err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, g := range page {
			next = g.ID + 1
			switch {
			case g.ID == 0:
				anonymous = true
			case g.Count == 0:
				c.problem("agent: %x has no records", g.AgentID)
			default:
				c.counts.Agents++
			}
			if g.Audits != g.Count || g.First != g.Oldest || g.Last != g.Newest {
				c.problem("agent: %x has %d records from %d to %d, the table says %d from %d to %d", g.AgentID,
					g.Count, g.Oldest.Int64, g.Newest.Int64, g.Audits, g.First.Int64, g.Last.Int64)
			}
		}
	}
	if !anonymous {
		c.problem("agent: row 0, for records of no agent, is missing")
	}
	return nil
}
