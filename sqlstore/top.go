package sqlstore

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"
)

// TopKey is what Frequencies counts by.
type TopKey uint8

// The keys of Frequencies.
const (
	BySubject TopKey = iota
	ByLens
	ByAssertion
	BySource
)

// column is the key's column, and whether it is one of table contribution.
func (k TopKey) column() (name string, evidence bool) {
	switch k {
	case ByLens:
		return `a.lens`, false
	case ByAssertion:
		return `c.assertion_hash`, true
	case BySource:
		return `c.source_hash`, true
	}
	return `a.subject`, false
}

// Frequency is how often a key was met.
type Frequency struct {
	Key   string // text, or the 32 bytes of a hash
	Count int64  // at least; less than Frequencies.Missed are missing
}

// Frequencies are the keys that were met most often.
type Frequencies struct {
	Top     []Frequency // descending by count, then ascending by key
	Total   int64       // of all counts
	Without int64       // rows that have no key; not in Total
	// Missed is 0 where all keys were counted. Otherwise there were too many to remember: a count may be short by
	// as much, and keys that were met no oftener may be missing.
	Missed int64
}

// maxKeys is how many keys Frequencies remembers: a hash takes about 100 bytes. A variable for tests.
var maxKeys = 1 << 20

// Frequencies counts what a filter selects by a key: records by subject or lens, and contributions by assertion
// or source.
//
// Its memory is bounded. When there are too many keys, those met least are forgotten, and how much that can
// have cost any count is added up in Missed (lossy counting: Manku and Motwani, 2002).
func (db *DB) Frequencies(ctx context.Context, k TopKey, f Filter) (Frequencies, error) {
	column, evidence := k.column()
	join := noJoin
	if evidence {
		join = ` CROSS JOIN contribution c WHERE c.audit = a.idx`
	}
	var result Frequencies
	counts := map[string]int64{}
	for p, err := range db.parts(ctx, f) {
		if err != nil {
			return result, db.fail("count by "+column, err)
		}
		query, args := p.query(column+` AS k, count(*) AS n`, join, `GROUP BY 1`)
		err := scanRows(ctx, db.readers, query, args, func(rows *sqlx.Rows) error {
			var key []byte
			var n int64
			if err := rows.Scan(&key, &n); err != nil {
				return err
			}
			if key == nil {
				result.Without += n
				return nil
			}
			result.Total += n
			counts[string(key)] += n
			return nil
		})
		if err != nil {
			return result, db.fail("count by "+column, err)
		}
		for len(counts) > maxKeys {
			floor := leastCount(counts)
			for key, n := range counts {
				if n <= floor {
					delete(counts, key)
				}
			}
			result.Missed += floor
		}
	}
	for key, n := range counts {
		result.Top = append(result.Top, Frequency{key, n})
	}
	slices.SortFunc(result.Top, func(a, b Frequency) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Key, b.Key))
	})
	return result, nil
}

// leastCount returns the count that the rarer half of the keys does not exceed.
func leastCount(counts map[string]int64) int64 {
	all := make([]int64, 0, len(counts))
	for _, n := range counts {
		all = append(all, n)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// scanRows runs a query and calls scan for each of its rows.
func scanRows(ctx context.Context, q sqlx.QueryerContext, query string, args []any, scan func(*sqlx.Rows) error) error {
	rows, err := q.QueryxContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// SeenBefore tells whether any record with a timestamp before this one has the key. For a lens that is new it
// looks at every record before; anything else has an index.
func (db *DB) SeenBefore(ctx context.Context, k TopKey, key string, timestamp int64) (bool, error) {
	query, value := ``, any(key)
	switch k {
	case BySubject:
		query = `SELECT 1 FROM audit INDEXED BY audit_by_subject WHERE subject = ?1 AND timestamp < ?2`
	case ByLens:
		query = `SELECT 1 FROM audit INDEXED BY audit_by_time WHERE lens = ?1 AND timestamp < ?2`
	default:
		e := Evidence{Source: k == BySource}
		value = hex.EncodeToString([]byte(key))
		query = `WITH RECURSIVE gen (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM gen WHERE n < (SELECT max(idx) >> 14 FROM audit))
			SELECT 1 FROM gen CROSS JOIN contribution c INDEXED BY ` + e.index() + ` CROSS JOIN audit a
			WHERE c.generation = gen.n AND c.` + e.column() + ` = ?1 AND a.idx = c.audit AND a.timestamp < ?2`
	}
	var seen bool
	if err := db.readers.GetContext(ctx, &seen, `SELECT EXISTS (`+query+`)`, value, timestamp); err != nil {
		return false, db.fail(fmt.Sprintf("look for what came before %d", timestamp), err)
	}
	return seen, nil
}
