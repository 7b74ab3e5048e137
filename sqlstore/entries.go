package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/jmoiron/sqlx"

	"github.com/auditsql/auditsql/tree"
)

// Entry is a record's place in the order of admission.
type Entry struct {
	Index         uint64 // 0, 1, 2, … without a hole
	QueryID       [32]byte
	JournalOffset uint64
}

// EntryValue is an entry with the record it stands for.
type EntryValue struct {
	Entry
	Value []byte // canonical JSON
}

type entryRow struct {
	Idx           int64
	QueryID       []byte `db:"query_id"`
	JournalOffset int64  `db:"journal_offset"`
	Value         []byte // the record; nil: kv does not have it
	Leaf          []byte // its leaf hash, as kv has it
	KVRow         *int64 // where kv has it, for Reindex
}

// damage says what is wrong with the record that kv has for the entry, or nil.
func (r *entryRow) damage() error {
	switch {
	case len(r.Value) == 0: // which no record is
		return &RecordError{QueryID: r.entry().QueryID, Missing: true}
	case !isLeafOf(r.Leaf, r.Value):
		return &RecordError{QueryID: r.entry().QueryID}
	}
	return nil
}

// scan takes a row apart: idx, query_id, journal_offset, value, leaf and, if it is there, the row of kv.
func (r *entryRow) scan(row []driver.Value) (size int, err error) {
	r.Idx, r.QueryID, r.JournalOffset, r.Value = integer(row[0]), bytesOf(row[1]), integer(row[2]), bytesOf(row[3])
	r.Leaf = bytesOf(row[4])
	if len(row) > 5 {
		if id, ok := row[5].(int64); ok {
			r.KVRow = &id
		}
	}
	return len(r.Value), nil
}

func (r *entryRow) entry() Entry {
	e := Entry{Index: uint64(r.Idx), JournalOffset: uint64(r.JournalOffset)}
	copy(e.QueryID[:], r.QueryID)
	return e
}

// LastEntry returns the newest entry, or false if there is none.
func (db *DB) LastEntry(ctx context.Context) (Entry, bool, error) {
	return db.EntryBefore(ctx, 0)
}

// EntryBefore returns the entry that was admitted n before the newest (0: the newest), or false if there
// are not so many.
func (db *DB) EntryBefore(ctx context.Context, n uint64) (Entry, bool, error) {
	e, err := entryBefore(ctx, db.readers, n)
	switch {
	case err != nil:
		return Entry{}, false, db.fail("read entry", err)
	case e == nil:
		return Entry{}, false, nil
	}
	return *e, true, nil
}

func entryBefore(ctx context.Context, q sqlx.QueryerContext, n uint64) (*Entry, error) {
	const query = `SELECT idx, query_id, journal_offset FROM entry WHERE idx = (SELECT max(idx) FROM entry) - ?`
	var r entryRow
	err := sqlx.GetContext(ctx, q, &r, query, int64(min(n, 1<<62)))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	}
	e := r.entry()
	return &e, nil
}

// extent is what the order of admission must have, as two tables say independently of each other.
type extent struct {
	last int64 // index of the newest row of entry, -1 if there is none
	want int64 // number of records: that of the rows, or of the hashes in the tree, whichever is more
	// filling says that a Reindex fills the derived tables, or was interrupted (see Reindexing).
	filling bool
}

// asOf is the extent that the order of admission had when it had so many records; nil: now.
func (e extent) asOf(n *int64) extent {
	if n != nil {
		e.last, e.want = min(e.last, *n-1), min(e.want, *n)
	}
	return e
}

// extent reads it in one query, so that both are of one moment.
func (db *DB) extent(ctx context.Context) (e extent, err error) {
	const entries = `SELECT max(idx), EXISTS (SELECT 1 FROM store WHERE name = 'reindex') FROM entry`
	const query = entries + ` UNION ALL SELECT level, length(hashes) FROM edge`
	leaves, n := int64(0), 0
	visit := all(func(row []driver.Value) {
		if n++; n == 1 {
			e.last = -1
			if newest, ok := row[0].(int64); ok {
				e.last = newest
			}
			e.filling = integer(row[1]) == 1
			return
		}
		if level := integer(row[0]); level >= 0 && level < tree.Levels {
			leaves += integer(row[1]) / tree.HashSize << (tree.TileHeight * level)
		}
	})
	if !db.unhashed {
		err = db.readers.each(ctx, query, nil, visit)
	}
	if db.unhashed || unreadable(err) { // whether the records can be read does not depend on the tree
		leaves, n = 0, 0
		err = db.readers.each(ctx, entries, nil, visit)
	}
	e.want = max(e.last+1, leaves)
	return e, err
}

// CheckEntries returns an *IncompleteError when the end of the order of admission is missing, as the tree shows. It reads a few
// rows.
func (db *DB) CheckEntries(ctx context.Context) error {
	e, err := db.extent(ctx)
	if err == nil && e.want > e.last+1 {
		err = &IncompleteError{Table: "entry", Have: uint64(e.last + 1), Want: uint64(e.want)}
	}
	if err != nil {
		return db.fail("check the entries", err)
	}
	return nil
}

// Entries yields the entries from index from on, without their values, in the order of admission. If entries are missing, an
// *IncompleteError comes last.
func (db *DB) Entries(ctx context.Context, from uint64) iter.Seq2[Entry, error] {
	const query = `SELECT idx, query_id, journal_offset FROM entry WHERE idx >= ? ORDER BY idx LIMIT ?`
	const page = 4096
	return func(yield func(Entry, error) bool) {
		end, err := db.extent(ctx)
		if err != nil {
			yield(Entry{}, db.fail("read entries", err))
			return
		}
		count := entryCount{from: int64(from), next: int64(from)}
		for {
			var rows []entryRow
			if err := db.readers.SelectContext(ctx, &rows, query, int64(from), page); err != nil {
				yield(Entry{}, db.fail("read entries", err))
				return
			}
			for i := range rows {
				if err := count.add(rows[i].Idx, end); err != nil {
					yield(Entry{}, db.fail("read entries", err))
					return
				}
				if !yield(rows[i].entry(), nil) {
					return
				}
			}
			if len(rows) < page {
				break
			}
			from = uint64(rows[len(rows)-1].Idx) + 1
		}
		if err := count.complete(end); err != nil {
			yield(Entry{}, db.fail("read entries", err))
		}
	}
}

// EntriesFrom returns the entries from an index on, at most so many, in the order of admission.
func (db *DB) EntriesFrom(ctx context.Context, from uint64, most int) ([]Entry, error) {
	const query = `SELECT idx, query_id, journal_offset FROM entry WHERE idx >= ? ORDER BY idx LIMIT ?`
	var entries []Entry
	err := db.readers.each(ctx, query, []any{int64(min(from, math.MaxInt64)), most}, all(func(row []driver.Value) {
		r := entryRow{Idx: integer(row[0]), QueryID: bytesOf(row[1]), JournalOffset: integer(row[2])}
		entries = append(entries, r.entry())
	}))
	if err != nil {
		return nil, db.fail("read entries", err)
	}
	return entries, nil
}

// entryCount counts the entries of a walk that begins at entry from, which next is to begin with.
type entryCount struct{ from, next, have int64 }

// add counts an entry, unless it came after the walk had begun. Entries ascend.
func (c *entryCount) add(idx int64, e extent) error {
	if idx < c.next {
		return fmt.Errorf("%w: table entry has %d where %d or a later one should be", ErrMalformed, idx, c.next)
	}
	c.next = idx + 1
	if idx < e.want {
		c.have++
	}
	return nil
}

// complete returns an *IncompleteError when the walk has not met every entry.
func (c *entryCount) complete(e extent) error {
	if want := e.want - c.from; c.have < want {
		return &IncompleteError{Table: "entry", Have: uint64(c.have), Want: uint64(want)}
	}
	return nil
}

// valuesPage is how many entries Values reads at a time.
const valuesPage = 256

// Values yields the records from index from on, in the order of admission, up to the newest one there was
// when it began. It needs no derived table. An entry whose record is missing in kv, or does not match its leaf hash, comes
// with a *RecordError and without a value, and the receiver may go on after it. If entries are missing, an *IncompleteError
// comes last. After any other error the sequence ends.
func (db *DB) Values(ctx context.Context, from uint64) iter.Seq2[EntryValue, error] {
	return db.values(ctx, from, nil)
}

// values is Values of the records whose index is less than asOf, if that is not nil.
func (db *DB) values(ctx context.Context, from uint64, asOf *int64) iter.Seq2[EntryValue, error] {
	return func(yield func(EntryValue, error) bool) {
		for row, err := range db.entryRows(ctx, from, asOf) {
			if err != nil {
				yield(EntryValue{}, db.fail("read values", err))
				return
			}
			v := EntryValue{row.entry(), row.Value}
			err := row.damage()
			if err != nil && (len(v.Value) == 0 || !db.unhashed) {
				v.Value, err = nil, db.fail("read values", fmt.Errorf("entry %d: %w", v.Index, err))
			} else {
				err = nil
			}
			if !yield(v, err) {
				return
			}
		}
	}
}

// EntryLeaf is an entry with the hash of the value that kv has for it.
type EntryLeaf struct {
	Entry
	Leaf tree.Hash
}

// Leaves yields the leaf hashes of the records from index from on, in the order of admission, up to the newest one there was
// when it began. It computes each from the value in kv, and looks neither at the leaf hash beside it nor at the tiles. An
// entry whose record is missing in kv comes with a *RecordError, and the receiver may go on after it. If entries are missing, an
// *IncompleteError comes last. After any other error the sequence ends.
func (db *DB) Leaves(ctx context.Context, from uint64) iter.Seq2[EntryLeaf, error] {
	return func(yield func(EntryLeaf, error) bool) {
		for row, err := range db.entryRows(ctx, from, nil) {
			if err != nil {
				yield(EntryLeaf{}, db.fail("hash the records", err))
				return
			}
			e := EntryLeaf{Entry: row.entry()}
			if len(row.Value) == 0 { // which no record is
				err = db.fail("hash the records", fmt.Errorf("entry %d: %w", e.Index, &RecordError{QueryID: e.QueryID, Missing: true}))
			} else {
				e.Leaf = tree.LeafHash(row.Value)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// entryRows yields the entries from index from on with what kv has of them, up to the newest one there was when it began, or
// when there were asOf. It reads in pages. If entries are missing, an *IncompleteError comes last. After any error it ends.
func (db *DB) entryRows(ctx context.Context, from uint64, asOf *int64) iter.Seq2[*entryRow, error] {
	// The cast makes a number of an offset that is none. The number is wrong, and the check finds it.
	query := `SELECT e.idx, e.query_id, CAST(e.journal_offset AS INTEGER) AS journal_offset, k.value, ` + db.leafColumn("k.") + `
		FROM entry e LEFT JOIN kv k ON k.key = ` + keyOfEntry + `
		WHERE e.idx >= ? AND e.idx <= ? ORDER BY e.idx LIMIT ?`
	return func(yield func(*entryRow, error) bool) {
		end, err := db.extent(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		end = end.asOf(asOf)
		count := entryCount{from: int64(from), next: int64(from)}
		for next := int64(from); next <= end.last; {
			page, cut, err := readPage(ctx, db.readers, db.sizes.pageBytes, query, []any{next, end.last, valuesPage}, (*entryRow).scan)
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range page {
				if err := count.add(page[i].Idx, end); err != nil {
					yield(nil, err)
					return
				}
				if !yield(&page[i], nil) {
					return
				}
				next = page[i].Idx + 1
			}
			if len(page) < valuesPage && !cut {
				break
			}
		}
		if err := count.complete(end); err != nil {
			yield(nil, err)
		}
	}
}
