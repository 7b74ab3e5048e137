package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"maps"
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

// missing returns those of some hashes that are not among those that were looked up. nil is no hash.
func (n numbers) missing(hashes []*[32]byte) []*[32]byte {
	return slices.DeleteFunc(slices.Clone(hashes), func(h *[32]byte) bool {
		if h == nil {
			return true
		}
		_, known := n[*h]
		return known
	})
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

// numbersOf returns the numbers of hashes in some generations as of now.
func (db *DB) numbersOf(ctx context.Context, hashes []*[32]byte, generations span) (numbers, error) {
	found := make(numbers, len(hashes))
	var each []*[32]byte // once
	for _, h := range hashes {
		if _, met := found[*h]; !met {
			found[*h], each = nil, append(each, h)
		}
	}
	all, err := db.lookUp(ctx, each, generations, func() bool { return true })
	for _, n := range all {
		found[*each[n.place]] = append(found[*each[n.place]], n.number)
	}
	return found, err
}

// A Dictionary remembers the numbers of hashes, for several questions about them. Records that are admitted after a hash was looked up
// may be left out of the answers. One goroutine at a time may use it.
type Dictionary struct {
	db    *DB
	found numbers
}

// Dictionary returns one that remembers nothing yet.
func (db *DB) Dictionary() *Dictionary { return &Dictionary{db, numbers{}} }

// Learn looks up those of the hashes that it does not remember, all together.
func (d *Dictionary) Learn(ctx context.Context, hashes ...*[32]byte) error {
	found, err := d.db.numbersOf(ctx, d.found.missing(hashes), everything)
	if err != nil {
		return d.db.fail("look up hashes", err)
	}
	maps.Copy(d.found, found)
	return nil
}

// foundNumber is a number of the hash at a place of a list.
type foundNumber struct {
	place int
	number
}

// lookUp finds the numbers of hashes in some generations. It returns them in the order of the list, and those of each hash
// in ascending order. Its queries are short. Before each of them but the first it asks goOn, and ends early if that returns false.
func (db *DB) lookUp(ctx context.Context, hashes []*[32]byte, generations span, goOn func() bool) ([]foundNumber, error) {
	var found []foundNumber
	err := untilSettled(func() (moved bool, err error) {
		l := hashLookup{db: db, hashes: hashes, in: generations, goOn: goOn}
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
	in     span // generations
	goOn   func() bool

	ordered []int              // the places, in the order of the hashes: that of the pages, so that each page is read once
	places  map[[32]byte][]int // of each hash

	found []foundNumber
	moved bool // runs were replaced meanwhile
	rest  []sweep
}

// sweep is a search in table hash itself: of the hashes at some places, in some generations.
type sweep struct {
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
	l.in = l.in.within(span{0, newest})
	l.places = make(map[[32]byte][]int, len(l.hashes))
	for place, h := range l.hashes {
		l.ordered, l.places[*h] = append(l.ordered, place), append(l.places[*h], place)
	}
	slices.SortFunc(l.ordered, func(i, j int) int { return bytes.Compare(l.hashes[i][:], l.hashes[j][:]) })
	for _, generations := range outsideRuns(runs, l.in) {
		l.rest = append(l.rest, sweep{generations, l.ordered})
	}
	runs = slices.DeleteFunc(runs, func(run int64) bool {
		s := spanOfRun(run)
		return s.least > l.in.most || s.most < l.in.least
	})
	for part := range slices.Chunk(runs, l.atOnce()) {
		candidates, err := l.pages(ctx, part)
		if err != nil || l.moved {
			return err
		}
		if err := l.compare(ctx, candidates); err != nil {
			return err
		}
	}
	for _, s := range l.rest {
		if err := l.sweep(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// outsideRuns returns those of some generations that are in none of these runs: the newest ones, and those of a run that somebody has
// deleted.
func outsideRuns(runs []int64, in span) (rest []span) {
	next := in.least
	upTo := func(end int64) {
		if next < end && next <= in.most {
			rest = append(rest, span{next, min(end-1, in.most)})
		}
	}
	for _, run := range runs {
		s := spanOfRun(run)
		upTo(s.least)
		next = max(next, s.most+1)
	}
	upTo(in.most + 1)
	return rest
}

// atOnce is in how many runs or generations one query looks for all hashes.
func (l *hashLookup) atOnce() int { return max(1, l.db.sizes.chainLookups/len(l.hashes)) }

// runs returns the runs that there are, in the order of their generations, and the generation of the newest record, -1 if there is none.
func (db *DB) runs(ctx context.Context) (runs []int64, newest int64, err error) {
	// Somebody can have put rows in by hand. Where a number would be too large for the next search, it ends.
	const query = `WITH RECURSIVE run (n) AS (SELECT min(id) >> 32 FROM hash_run WHERE id >= 0
		UNION ALL SELECT (SELECT min(id) >> 32 FROM hash_run WHERE id >= (n + 1) << 32) FROM run WHERE n < 0x7fffffff)
		SELECT TRUE, n FROM run WHERE n IS NOT NULL UNION ALL SELECT FALSE, coalesce(max(idx) >> 14, -1) FROM audit`
	err = db.readers.each(ctx, query, nil, all(func(row []driver.Value) {
		if n := integer(row[1]); integer(row[0]) == 0 {
			newest = n
		} else if isRun(n) {
			runs = append(runs, n)
		}
	}))
	slices.SortFunc(runs, func(a, b int64) int {
		return cmp.Or(cmp.Compare(spanOfRun(a).least, spanOfRun(b).least), cmp.Compare(b, a))
	})
	return runs, newest, err
}

// pages reads the pages of some runs that have the keys of the hashes. It returns the numbers that they have for these keys.
func (l *hashLookup) pages(ctx context.Context, runs []int64) (candidates []int64, err error) {
	if !l.goOn() {
		return nil, nil
	}
	var keys []int64
	for _, place := range l.ordered {
		keys = append(keys, int64(runKey(l.hashes[place])))
	}
	l.moved, err = l.db.runPages(ctx, runs, slices.Compact(keys), false, func(p *keyPage) error {
		return p.upTo(p.wanted, func(e runEntry) {
			if e.number > 0 {
				candidates = append(candidates, e.number)
				return
			}
			places := slices.DeleteFunc(slices.Clone(l.ordered), func(place int) bool { return runKey(l.hashes[place]) != e.key })
			l.rest = append(l.rest, sweep{spanOfRun(p.run).within(l.in), places})
		})
	})
	return candidates, err
}

// keyPage is the page of a run that has a key.
type keyPage struct {
	runReader
	run    int64
	wanted int64 // the key
	until  int64 // the greatest key that this page can have
}

// upTo hands visit the entries with keys from the one that is wanted up to another.
func (p *keyPage) upTo(key int64, visit func(runEntry)) error {
	for {
		e, more, err := p.next()
		if err != nil || !more || int64(e.key) > key {
			return err
		}
		if int64(e.key) >= p.wanted {
			visit(e)
		}
	}
}

// runPages hands visit the page of each run that has each of the keys. moved says that not all of these runs are there any more. Without bounds the pages do not say which key is the greatest that they can have.
func (db *DB) runPages(ctx context.Context, runs, keys []int64, bounds bool, visit func(*keyPage) error) (moved bool, err error) {
	const (
		query = `WITH wanted (key) AS MATERIALIZED (SELECT value FROM json_each(?2))
			SELECT w.key, r.value, p.id, p.entries, `
		from = ` FROM json_each(?1) r CROSS JOIN wanted w
			LEFT JOIN hash_run p ON p.id = (SELECT max(id) FROM hash_run WHERE id <= (r.value << 32) + w.key)`
		after = `(SELECT min(id) FROM hash_run WHERE id > p.id AND id < (r.value + 1) << 32)`
	)
	until := `NULL`
	if bounds {
		until = after
	}
	failed := db.readers.each(ctx, query+until+from, []any{listOfNumbers(runs), listOfNumbers(keys)}, func(row []driver.Value) bool {
		p := keyPage{run: integer(row[1]), wanted: integer(row[0]), until: math.MaxUint32}
		id, ok := row[2].(int64)
		if !ok || id>>runShift != p.run {
			moved = true
			return false
		}
		if next, ok := row[4].(int64); ok {
			p.until = int64(uint32(next)) - 1
		}
		if p.runReader, err = readRunPage(id, bytesOf(row[3])); err == nil {
			err = visit(&p)
		}
		return err == nil
	})
	return moved, cmp.Or(err, failed)
}

// compare finds those of the numbers that stand for one of the hashes.
func (l *hashLookup) compare(ctx context.Context, candidates []int64) error {
	for part := range slices.Chunk(candidates, l.db.sizes.chainHashes) {
		if !l.goOn() {
			return nil
		}
		err := l.db.standFor(ctx, part, func(n number, value driver.Value) {
			text, _ := value.(string)
			if h, ok := hashOf(text); ok && n.generation >= l.in.least && n.generation <= l.in.most {
				for _, place := range l.places[h] {
					l.found = append(l.found, foundNumber{place, n})
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// standFor hands visit the hash that each of some numbers stands for, as table hash has it.
func (db *DB) standFor(ctx context.Context, ids []int64, visit func(n number, text driver.Value)) error {
	const query = `SELECT h.id, h.generation, h.hex FROM json_each(?) j CROSS JOIN hash h ON h.id = j.value`
	return db.readers.each(ctx, query, []any{listOfNumbers(ids)}, all(func(row []driver.Value) {
		visit(number{integer(row[0]), integer(row[1])}, row[2])
	}))
}

// sweep searches for hashes in table hash itself, generation by generation.
func (l *hashLookup) sweep(ctx context.Context, s sweep) error {
	const query = generationsIn + `, wanted (place, hex) AS MATERIALIZED (SELECT key, value FROM json_each(?3))
		SELECT w.place, h.id, h.generation FROM gen CROSS JOIN wanted w CROSS JOIN hash h INDEXED BY hash_by_hex WHERE h.generation = gen.n AND h.hex = w.hex`
	hashes := make([]*[32]byte, len(s.places))
	for i, place := range s.places {
		hashes[i] = l.hashes[place]
	}
	list, err := listOf(hashes)
	if err != nil {
		return err
	}
	for from, step := s.generations.least, int64(l.atOnce()); from <= s.generations.most && l.goOn(); from += step {
		err := l.db.readers.each(ctx, query, []any{from, min(from+step-1, s.generations.most), list}, all(func(row []driver.Value) {
			l.found = append(l.found, foundNumber{s.places[integer(row[0])], number{integer(row[1]), integer(row[2])}})
		}))
		if err != nil {
			return err
		}
	}
	return nil
}
