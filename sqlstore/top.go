package sqlstore

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
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

	// Cut says that the budget has ended the count. Counted is then a filter for the records that were counted, which are the
	// newest ones. Otherwise it is the filter that was asked about.
	Cut     bool
	Counted Filter
}

// Frequencies counts what a filter selects by a key: records by subject or lens, and contributions by assertion
// or source.
//
// Its memory is bounded. When there are too many keys, the rarest are forgotten. Missed adds up how much any count can
// have lost by that (lossy counting: Manku and Motwani, 2002).
//
// It begins with the newest records, so what the budget lets it count is what happened last. It goes by whole parts of some
// thousand records, and counts at least one. A half of the time of the budget is left for the questions that follow about what
// was found: who used it, and when. Where all evidence of the store is counted by its index, they take longer than the count, and
// more is left for them.
func (db *DB) Frequencies(ctx context.Context, k TopKey, f Filter, b Budget) (Frequencies, error) {
	result := Frequencies{Counted: f}
	ofAll := (k == ByAssertion || k == BySource) && f.onlyAsOf()
	b = b.Part(1, 2)
	if ofAll {
		b = b.Part(1, allEvidenceShare)
	}
	m, spent := b.Start(), int64(0)
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
	ended := func(end *border) bool {
		for len(counts) > db.sizes.keys {
			floor := leastCount(counts)
			for key, n := range counts {
				if n <= floor {
					delete(counts, key)
				}
			}
			result.Missed += floor
		}
		counted := result.Total + result.Without
		result.Cut = m.Spent(counted-spent) && end != nil
		spent = counted
		if result.Cut {
			result.Counted = f.downTo(end)
		}
		return result.Cut
	}
	var err error
	if ofAll {
		err = db.allEvidence(ctx, Evidence{Source: k == BySource}, f.AsOf, add, ended)
	} else {
		err = db.frequencies(ctx, k, f, add, ended)
	}
	if err != nil {
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

// allEvidenceShare is how much faster evidence is counted by its index than looked at, more or less.
const allEvidenceShare = 8

// downTo returns the filter narrowed to the records that parts have gone through, beginning with the newest, up to a border.
func (f Filter) downTo(b *border) Filter {
	r := &b.row
	if b.byAdmission {
		f.since = &r.Idx
		return f
	}
	f.From, f.fromOn = &r.Timestamp, &Place{Timestamp: r.Timestamp} // a walk begins where From says
	copy(f.fromOn.QueryID[:], r.QueryID)
	return f
}

// frequencies adds up every key, and asks after each part whether it was enough.
func (db *DB) frequencies(ctx context.Context, k TopKey, f Filter, add func(driver.Value, int64), ended func(end *border) bool) error {
	column, join := `a.subject`, noJoin
	switch k {
	case ByLens:
		column = `a.lens`
	case ByAssertion, BySource:
		e := Evidence{Source: k == BySource}
		column, join = `c.`+e.column(), ` CROSS JOIN contribution c WHERE c.audit = a.idx`
		add = ofHashes(add)
	}
	for p, err := range db.parts(ctx, f, true) {
		if err != nil {
			return err
		}
		query, args := p.query(column, join)
		if err := db.readers.each(ctx, query, args, all(func(row []driver.Value) { add(row[0], 1) })); err != nil {
			return err
		}
		if ended(p.end) {
			return nil
		}
	}
	return nil
}

// allEvidence adds up the evidence of all records, or of those whose index is less than asOf. It reads the index alone, a
// generation at a time, and asks after each whether it was enough.
func (db *DB) allEvidence(ctx context.Context, e Evidence, asOf *int64, add func(driver.Value, int64), ended func(end *border) bool) error {
	var newest int64
	if err := db.readers.GetContext(ctx, &newest, `SELECT coalesce(max(idx), -1) FROM audit`); err != nil {
		return err
	}
	newest = min(newest, orNow(asOf)-1)
	add = ofHashes(add)
	for generation, end := range everyGeneration(newest, true) {
		err := db.readers.each(ctx, e.index().tally(), []any{generation, newest}, all(func(row []driver.Value) { add(row[0], integer(row[1])) }))
		if err != nil {
			return err
		}
		if ended(end) {
			return nil
		}
	}
	return nil
}

// ofHashes returns a function that takes hashes in hex and passes them to add as bytes. It leaves out what is no hash.
func ofHashes(add func(driver.Value, int64)) func(driver.Value, int64) {
	var h [32]byte // one for all rows: add does not keep it
	return func(v driver.Value, n int64) {
		text, _ := v.(string)
		var ok bool
		if h, ok = hashOf(text); ok {
			add(h[:], n)
		}
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
		query = generations + `SELECT 1 FROM ` + x.from("c") + ` CROSS JOIN audit a WHERE ` + x.match("c") + ` AND a.idx = c.audit AND a.timestamp < ? AND a.idx < ?`
	}
	var seen bool
	if err := db.readers.GetContext(ctx, &seen, `SELECT EXISTS (`+query+`)`, value, timestamp, orNow(asOf)); err != nil {
		return false, db.fail(fmt.Sprintf("look for what came before %d", timestamp), err)
	}
	return seen, nil
}
