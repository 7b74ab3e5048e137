package sqlstore

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"maps"
	"math"
	"slices"
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

func (k TopKey) name() string {
	return [...]string{"subject", "lens", "assertion", "source"}[k]
}

// Frequency is how often a key was met.
type Frequency struct {
	Key   string // text, or the 32 bytes of a hash
	Count int64  // it can be short by up to Frequencies.Missed
}

// Frequencies are the keys that were met most often.
type Frequencies struct {
	Top     []Frequency // descending by count, then ascending by key
	Total   int64       // of all counts
	Without int64       // rows that have no key; not in Total
	// Missed is 0 where all keys were counted. Otherwise there were too many keys to remember. Then a count can be short by up
	// to Missed, and a key that was met no more often than that can be missing.
	Missed int64
}

// Frequencies counts what a filter selects by a key: records by subject or lens, and contributions by assertion
// or source.
//
// Its memory is bounded. When there are too many keys, the rarest are forgotten. Missed adds up how much any count can
// have lost by that (lossy counting: Manku and Motwani, 2002).
func (db *DB) Frequencies(ctx context.Context, k TopKey, f Filter) (Frequencies, error) {
	var result Frequencies
	counts := map[string]int64{}
	add := func(key driver.Value, n int64) {
		switch key := key.(type) {
		case nil:
			result.Without += n
			return
		case string:
			counts[key] += n
		case []byte:
			counts[string(key)] += n
		}
		result.Total += n
	}
	prune := func() {
		for len(counts) > db.sizes.keys {
			floor := leastCount(counts)
			for key, n := range counts {
				if n <= floor {
					delete(counts, key)
				}
			}
			result.Missed += floor
		}
	}
	if err := db.frequencies(ctx, k, f, add, prune); err != nil {
		return result, db.fail("count by "+k.name(), err)
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

// frequencies adds up every key, and prunes between two parts.
func (db *DB) frequencies(ctx context.Context, k TopKey, f Filter, add func(driver.Value, int64), prune func()) error {
	column, join := `a.subject`, noJoin
	switch k {
	case ByLens:
		column = `a.lens`
	case ByAssertion, BySource:
		e := Evidence{Source: k == BySource}
		if f.onlyAsOf() {
			return db.allEvidence(ctx, e, f.AsOf, add, prune)
		}
		return db.evidenceOf(ctx, e, f, add, prune)
	}
	for p, err := range db.parts(ctx, f) {
		if err != nil {
			return err
		}
		query, args := p.query(column, join)
		if err := db.readers.each(ctx, query, args, all(func(row []driver.Value) { add(row[0], 1) })); err != nil {
			return err
		}
		prune()
	}
	return nil
}

// evidenceOf adds up the evidence of the records that a filter selects. It counts the numbers of hashes, and asks the dictionary for each
// number once for each part.
func (db *DB) evidenceOf(ctx context.Context, e Evidence, f Filter, add func(driver.Value, int64), prune func()) error {
	for p, err := range db.parts(ctx, f) {
		if err != nil {
			return err
		}
		query, args := p.query(`c.`+e.column(), ` CROSS JOIN contribution c WHERE c.audit = a.idx`)
		counts := map[int64]int64{}
		if err := db.readers.each(ctx, query, args, all(func(row []driver.Value) { counts[integer(row[0])]++ })); err != nil {
			return err
		}
		if err := db.addNumbers(ctx, counts, add); err != nil {
			return err
		}
		prune()
	}
	return nil
}

// addNumbers adds up what was counted by numbers of hashes. It leaves out what is no hash.
func (db *DB) addNumbers(ctx context.Context, counts map[int64]int64, add func(driver.Value, int64)) error {
	hashes, err := db.hashesOf(ctx, slices.Sorted(maps.Keys(counts)))
	if err != nil {
		return err
	}
	for number, h := range hashes {
		add(h[:], counts[number])
	}
	return nil
}

// allEvidence adds up the evidence of all records, or of those whose index is less than asOf. It reads the index alone, a
// stretch of numbers at a time.
func (db *DB) allEvidence(ctx context.Context, e Evidence, asOf *int64, add func(driver.Value, int64), prune func()) error {
	var newest int64
	if err := db.readers.GetContext(ctx, &newest, `SELECT coalesce(max(idx), -1) FROM audit`); err != nil {
		return err
	}
	newest = min(newest, orNow(asOf)-1)
	for last := int64(0); ; {
		next, more := int64(0), false // a row that was put in by hand may have any number
		err := first(ctx, db.readers, `SELECT id FROM hash WHERE id > ? ORDER BY id LIMIT 1`, []any{last}, func(row []driver.Value) {
			next, more = integer(row[0]), true
		})
		if err != nil || !more {
			return err
		}
		last = next + min(math.MaxInt64-next, int64(db.sizes.tally)-1)
		counts := map[int64]int64{}
		err = db.readers.each(ctx, e.index().tally(), []any{next - 1, last, newest}, all(func(row []driver.Value) { counts[integer(row[0])] = integer(row[1]) }))
		if err == nil {
			err = db.addNumbers(ctx, counts, add)
		}
		if err != nil {
			return err
		}
		prune()
	}
}

// Users says which agents used a key, and when.
type Users struct {
	Agents      map[int64]struct{} // their numbers, without 0 for nobody
	Audits      int64
	First, Last int64 // timestamps
}

// LensUsers counts the records that a filter selects and that have one of these lenses, by lens.
func (db *DB) LensUsers(ctx context.Context, f Filter, lenses []string) (map[string]*Users, error) {
	users := map[string]*Users{}
	for _, l := range lenses {
		users[l] = &Users{Agents: map[int64]struct{}{}}
	}
	err := db.scan(ctx, f, `a.lens, a.agent, a.timestamp`, noJoin, nil, func(row []driver.Value) {
		lens, _ := row[0].(string)
		u := users[lens]
		if u == nil || row[0] == nil {
			return
		}
		agent, timestamp := integer(row[1]), integer(row[2])
		if u.Audits == 0 {
			u.First, u.Last = timestamp, timestamp
		}
		u.Audits++
		u.First, u.Last = min(u.First, timestamp), max(u.Last, timestamp)
		if agent != 0 {
			u.Agents[agent] = struct{}{}
		}
	})
	if err != nil {
		return nil, db.fail("count by lens", err)
	}
	return users, nil
}

// SeenBefore tells whether any record with a timestamp before this one has the key: any of all records, or of those whose index
// is less than asOf. There is no index for lenses: for a lens that is new it looks at every record before the timestamp.
func (db *DB) SeenBefore(ctx context.Context, k TopKey, key string, timestamp int64, asOf *int64) (bool, error) {
	query, value := ``, any(key)
	switch k {
	case BySubject:
		query = `SELECT 1 FROM audit INDEXED BY audit_by_subject WHERE subject = ? AND timestamp < ? AND idx < ?`
	case ByLens:
		query = `SELECT 1 FROM audit INDEXED BY audit_by_time WHERE lens = ? AND timestamp < ? AND idx < ?`
	default:
		e := Evidence{Source: k == BySource}
		x := e.index()
		var h [32]byte
		copy(h[:], key)
		value = hexOf(&h)
		query = generations + `SELECT 1 FROM ` + x.hashed("c") + ` CROSS JOIN audit a WHERE ` + x.matchHashed("c") + ` AND a.idx = c.audit AND a.timestamp < ? AND a.idx < ?`
	}
	var seen bool
	if err := db.readers.GetContext(ctx, &seen, `SELECT EXISTS (`+query+`)`, value, timestamp, orNow(asOf)); err != nil {
		return false, db.fail(fmt.Sprintf("look for what came before %d", timestamp), err)
	}
	return seen, nil
}
