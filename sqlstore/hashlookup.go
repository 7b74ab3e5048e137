package sqlstore

import (
	"cmp"
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// numbers are the numbers of hashes in the dictionary, in ascending order: at most one for each generation.
type numbers map[[32]byte][]number

type number struct{ id, generation int64 }

// list writes the numbers of some hashes as a list for json_each.
func (n numbers) list(hashes ...*[32]byte) string {
	all := []int64{}
	for _, h := range hashes {
		for _, n := range n[*h] {
			all = append(all, n.id)
		}
	}
	return listOfNumbers(all)
}

// listOfNumbers writes numbers as a list for json_each.
func listOfNumbers(all []int64) string {
	b, err := json.Marshal(all)
	if err != nil {
		return "[]" // no: integers can be written
	}
	return string(b)
}

// listOf writes hashes as a list for json_each.
func listOf(hashes []*[32]byte) (string, error) {
	texts := make([]string, len(hashes))
	for i, h := range hashes {
		texts[i] = hexOf(h)
	}
	b, err := json.Marshal(texts)
	return string(b), err
}

// numbersOf returns the numbers of hashes as of now.
func (db *DB) numbersOf(ctx context.Context, hashes []*[32]byte) (numbers, error) {
	found := make(numbers, len(hashes))
	var each []*[32]byte // once
	for _, h := range hashes {
		if _, met := found[*h]; !met {
			found[*h], each = nil, append(each, h)
		}
	}
	all, err := db.lookUp(ctx, each, math.MaxInt64, func() bool { return true })
	for _, n := range all {
		found[*each[n.place]] = append(found[*each[n.place]], n.number)
	}
	return found, err
}

// numbersBefore returns the numbers of a hash in the generations of the records before one, or of all records if it is nil, as a list for
// json_each.
func (db *DB) numbersBefore(ctx context.Context, h *[32]byte, asOf *int64) (list string, err error) {
	found, err := db.lookUp(ctx, []*[32]byte{h}, generationOf(orNow(asOf)-1), func() bool { return true })
	ids := make([]int64, len(found))
	for i := range found {
		ids[i] = found[i].id
	}
	return listOfNumbers(ids), err
}

// foundNumber is a number of the hash at a place of a list.
type foundNumber struct {
	place int
	number
}

// lookUp finds the numbers of hashes in the generations up to one. It returns them in the order of the list, and those of each hash
// in ascending order. Its queries are short. Before each of them it asks goOn, and ends early if that returns false.
//
// Hashes that are in ascending order are looked up in the order of the pages, so each page is read once.
func (db *DB) lookUp(ctx context.Context, hashes []*[32]byte, last int64, goOn func() bool) ([]foundNumber, error) {
	var found []foundNumber
	err := untilSettled(func() (moved bool, err error) {
		l := hashLookup{db: db, hashes: hashes, last: last, goOn: goOn}
		err = l.run(ctx)
		found = l.found
		return l.moved, err
	})
	slices.SortFunc(found, func(a, b foundNumber) int { return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.id, b.id)) })
	return slices.Compact(found), err // two runs of one generation are reported by CheckDerived
}

// untilSettled searches in runs. The writer may replace runs by a merged one between two queries. Then the search begins again. That happens
// once in some 500,000 records, so if it happens again and again a run has no first page.
func untilSettled(search func() (moved bool, err error)) error {
	for range 10 {
		if moved, err := search(); err != nil || !moved {
			return err
		}
	}
	return fmt.Errorf("%w: table hash_run lacks pages: run reindex", ErrMalformed)
}

// hashLookup is a lookUp under way.
type hashLookup struct {
	db     *DB
	hashes []*[32]byte
	last   int64
	goOn   func() bool

	found []foundNumber
	moved bool // runs were replaced meanwhile
	// Where runs only say that there may be something: numbers with the key of a hash, and generations where the key is crowded.
	candidates []foundNumber
	crowded    []crowd
}

// crowd is some generations, and the places of the hashes that are to be searched for in them.
type crowd struct {
	generations span
	places      []int
}

func (l *hashLookup) run(ctx context.Context) error {
	if len(l.hashes) == 0 {
		return nil
	}
	runs, newest, err := l.db.runs(ctx)
	if err != nil {
		return err
	}
	l.last = min(l.last, newest)
	rest := outsideRuns(runs, l.last)
	runs = slices.DeleteFunc(runs, func(run int64) bool {
		from, _ := spanOfRun(run)
		return from > l.last
	})
	for part := range slices.Chunk(runs, l.atOnce()) {
		if err := l.pages(ctx, part); err != nil || l.moved {
			return err
		}
	}
	if err := l.compare(ctx); err != nil {
		return err
	}
	everywhere := make([]int, len(l.hashes))
	for place := range everywhere {
		everywhere[place] = place
	}
	for _, s := range rest {
		l.crowded = append(l.crowded, crowd{s, everywhere})
	}
	for _, c := range l.crowded {
		if err := l.generations(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// outsideRuns returns the generations up to the last one that are in none of these runs: the newest ones, and those of a run that somebody
// has deleted.
func outsideRuns(runs []int64, last int64) (rest []span) {
	spans := make([]span, len(runs))
	for i, run := range runs {
		from, to := spanOfRun(run)
		spans[i] = span{from, to - 1}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.least, b.least) })
	next := int64(0)
	for _, s := range append(spans, span{last + 1, last + 1}) {
		if next < s.least && next <= last {
			rest = append(rest, span{next, min(s.least-1, last)})
		}
		next = max(next, s.most+1)
	}
	return rest
}

// atOnce is in how many runs or generations one query looks for all hashes.
func (l *hashLookup) atOnce() int { return max(1, l.db.sizes.chainLookups/len(l.hashes)) }

// runs returns the runs that there are, and the generation of the newest record, -1 if there is none.
func (db *DB) runs(ctx context.Context) (runs []int64, newest int64, err error) {
	const query = `WITH RECURSIVE run (n) AS (SELECT min(id) >> 32 FROM hash_run
		UNION ALL SELECT (SELECT min(id) >> 32 FROM hash_run WHERE id >= (n + 1) << 32) FROM run WHERE n IS NOT NULL)
		SELECT TRUE, n FROM run WHERE n IS NOT NULL UNION ALL SELECT FALSE, coalesce(max(idx) >> 14, -1) FROM audit`
	err = db.readers.each(ctx, query, nil, all(func(row []driver.Value) {
		if integer(row[0]) != 0 {
			runs = append(runs, integer(row[1]))
		} else {
			newest = integer(row[1])
		}
	}))
	return runs, newest, err
}

// pages reads, for each hash, the page of some runs that has its key.
func (l *hashLookup) pages(ctx context.Context, runs []int64) error {
	if !l.goOn() {
		return nil
	}
	keys := make([]int64, len(l.hashes))
	for i, h := range l.hashes {
		keys[i] = int64(runKey(h))
	}
	crowds := map[int64]int{} // by run: which of l.crowded
	moved, err := l.db.runPages(ctx, runs, keys, func(place int, run int64, page *runReader) error {
		for key := uint32(keys[place]); ; {
			e, more, err := page.next()
			if err != nil || !more || e.key > key {
				return err
			}
			switch {
			case e.key < key:
			case e.number > 0:
				l.candidates = append(l.candidates, foundNumber{place, number{id: e.number}})
			default:
				at, known := crowds[run]
				if !known {
					at = len(l.crowded)
					crowds[run] = at
					from, to := spanOfRun(run)
					l.crowded = append(l.crowded, crowd{span{from, min(to-1, l.last)}, nil})
				}
				l.crowded[at].places = append(l.crowded[at].places, place)
			}
		}
	})
	l.moved = l.moved || moved
	return err
}

// runPages hands visit the page of each run that has each of the keys, with the place of the key. moved says that not all of these runs
// are there any more.
func (db *DB) runPages(ctx context.Context, runs, keys []int64, visit func(place int, run int64, page *runReader) error) (moved bool, err error) {
	const query = `WITH wanted (place, key) AS MATERIALIZED (SELECT key, value FROM json_each(?2))
		SELECT w.place, r.value, p.id, p.entries FROM json_each(?1) r CROSS JOIN wanted w
		LEFT JOIN hash_run p ON p.id = (SELECT max(id) FROM hash_run WHERE id <= (r.value << 32) + w.key)`
	failed := db.readers.each(ctx, query, []any{listOfNumbers(runs), listOfNumbers(keys)}, func(row []driver.Value) bool {
		run := integer(row[1])
		id, ok := row[2].(int64)
		if !ok || id>>runShift != run {
			moved = true
			return false
		}
		var page runReader
		if page, err = readRunPage(id, bytesOf(row[3])); err == nil {
			err = visit(int(integer(row[0])), run, &page)
		}
		return err == nil
	})
	return moved, cmp.Or(err, failed)
}

// compare takes from the candidates those that are numbers of the hashes.
func (l *hashLookup) compare(ctx context.Context) error {
	const query = `SELECT j.key, h.generation, h.hex FROM json_each(?) j CROSS JOIN hash h ON h.id = j.value`
	for part := range slices.Chunk(l.candidates, l.db.sizes.chainHashes) {
		if !l.goOn() {
			return nil
		}
		ids := make([]int64, len(part))
		for i := range part {
			ids[i] = part[i].id
		}
		err := l.db.readers.each(ctx, query, []any{listOfNumbers(ids)}, all(func(row []driver.Value) {
			c := part[integer(row[0])]
			text, _ := row[2].(string)
			if h, ok := hashOf(text); ok && h == *l.hashes[c.place] && integer(row[1]) <= l.last {
				c.generation = integer(row[1])
				l.found = append(l.found, c)
			}
		}))
		if err != nil {
			return err
		}
	}
	return nil
}

// generations searches for hashes in the dictionary itself, generation by generation.
func (l *hashLookup) generations(ctx context.Context, c crowd) error {
	const query = `WITH RECURSIVE gen (n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM gen WHERE n < ?2),
		wanted (place, hex) AS MATERIALIZED (SELECT key, value FROM json_each(?3))
		SELECT w.place, h.id, h.generation FROM gen CROSS JOIN wanted w CROSS JOIN hash h INDEXED BY hash_by_hex WHERE h.generation = gen.n AND h.hex = w.hex`
	hashes := make([]*[32]byte, len(c.places))
	for i, place := range c.places {
		hashes[i] = l.hashes[place]
	}
	list, err := listOf(hashes)
	if err != nil {
		return err
	}
	for from, step := c.generations.least, int64(l.atOnce()); from <= c.generations.most && l.goOn(); from += step {
		err := l.db.readers.each(ctx, query, []any{from, min(from+step-1, c.generations.most), list}, all(func(row []driver.Value) {
			l.found = append(l.found, foundNumber{c.places[integer(row[0])], number{integer(row[1]), integer(row[2])}})
		}))
		if err != nil {
			return err
		}
	}
	return nil
}
