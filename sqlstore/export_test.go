package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"iter"
	"math"
)

// ShrinkSelect makes Select read in small pages, and look up few records.
func (db *DB) ShrinkSelect(page, lookup, stretch int) {
	z := &db.sizes
	z.few = max(1, lookup/3)
	z.selectPage, z.lookup, z.minStretch, z.maxStretch, z.lookAfter = page, lookup, stretch, 2*stretch, stretch
}

// ShrinkTies makes Select sort few places of records of one timestamp at a time.
func (db *DB) ShrinkTies(n int) { db.sizes.ties = n }

// ShrinkHashes makes Apply remember few hashes.
func (db *DB) ShrinkHashes(n int) { db.sizes.hashes = n }

// ShrinkPages makes pages of rows end early.
func (db *DB) ShrinkPages(bytes int) { db.sizes.pageBytes = bytes }

// ShrinkReindex makes Reindex work in small transactions.
func (db *DB) ShrinkReindex(page int) { db.sizes.reindexPage = page }

// ShrinkFrequencies makes Frequencies remember few keys.
func (db *DB) ShrinkFrequencies(keys int) { db.sizes.keys = keys }

// LookUp looks records up as Select does for a filter, and reports whether it found them so, or has to walk.
func LookUp(ctx context.Context, db *DB, f Filter) (n int, found bool, err error) {
	if err := db.resolve(ctx, &f); err != nil {
		return 0, false, err
	}
	s := newSelection(db, &f, toRead)
	done, err := s.prepare(ctx)
	if err != nil || done != doLookUp {
		return 0, false, err
	}
	return len(s.found), true, nil
}

// SelectLater is Select for which other things happen after it has looked up the hashes of its filter.
func (db *DB) SelectLater(ctx context.Context, f Filter, meanwhile func()) iter.Seq2[[]byte, error] {
	if err := db.resolve(ctx, &f); err != nil {
		return func(yield func([]byte, error) bool) { yield(nil, err) }
	}
	meanwhile()
	return db.Select(ctx, f)
}

// Alone calls f while nobody else in this process may open the database at path.
func Alone(ctx context.Context, path string, f func()) bool { return alone(ctx, path, f) }

// ShrinkTree makes BuildTree work in small transactions.
func (db *DB) ShrinkTree(records int) { db.sizes.treePart = records }

// ShrinkRollup makes CountActivity read small pages, and lets it subtract few records.
func (db *DB) ShrinkRollup(page, corrections int) {
	db.sizes.rollupPage, db.sizes.corrections = page, corrections
}

// ShrinkChains makes a walk along chains read in short queries.
func (db *DB) ShrinkChains(hashes, rows, lookups int) {
	db.sizes.chainHashes, db.sizes.chainRows, db.sizes.chainLookups = hashes, rows, lookups
}

// Ahead works on the values of a sequence as the counts do.
func Ahead[T, R any](ctx context.Context, values iter.Seq2[T, error], work func(context.Context, T) (R, error), take func(T, R) bool) error {
	return ahead(ctx, values, work, take)
}

// Passed is how many rows of an index by time a Select passes for a filter with a limit, until it has all records or reads the rest
// by the evidence.
func Passed(t interface {
	Context() context.Context
	Fatal(...any)
}, db *DB, f Filter) int {
	if err := db.resolve(t.Context(), &f); err != nil {
		t.Fatal(err)
	}
	s := newSelection(db, &f, toRead)
	if done, err := s.prepare(t.Context()); err != nil || done != doWalk {
		t.Fatal("no walk: ", done, err)
	}
	order := newTimeOrder(s)
	for n := 0; n < f.Limit; {
		page, err := order.page(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if page == nil {
			break
		}
		n += len(page)
	}
	return order.w.looked
}

// RunEntry is an entry of a sorted run of hashes.
type RunEntry struct {
	Key    uint32
	Number int64
}

// RunPages returns the pages of a run with some entries, as the writer cuts them.
func RunPages(run int64, entries []RunEntry) (ids []int64, pages [][]byte) {
	b := runBuilder{put: func(id int64, page []byte) error {
		ids, pages = append(ids, id), append(pages, append([]byte(nil), page...))
		return nil
	}}
	b.begin(run)
	for _, e := range entries {
		b.add(runEntry{e.Key, e.Number})
	}
	b.end()
	return ids, pages
}

// ReadRunPage reads a page of a run.
func ReadRunPage(id int64, page []byte) (entries []RunEntry, err error) {
	r, err := readRunPage(id, page)
	for err == nil {
		e, more, malformed := r.next()
		if err = malformed; err != nil || !more {
			break
		}
		entries = append(entries, RunEntry{e.key, e.number})
	}
	return entries, err
}

// Numbers finds the numbers of hashes, and calls between before each of its queries but the first.
func (db *DB) Numbers(ctx context.Context, hashes [][32]byte, between func()) (ids [][]int64, err error) {
	list := make([]*[32]byte, len(hashes))
	for i := range hashes {
		list[i] = &hashes[i]
	}
	found, err := db.lookUp(ctx, list, everything, func() bool {
		between()
		return true
	})
	ids = make([][]int64, len(hashes))
	for _, n := range found {
		ids[n.place] = append(ids[n.place], n.id)
	}
	return ids, err
}

// WriteRuns writes runs of the generations before one, as a transaction of Apply does.
func (db *DB) WriteRuns(ctx context.Context, generation int64) error {
	w, unlock, err := db.lockWriter(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := w.prepareApply(); err != nil {
		return err
	}
	book := w.apply.derived.hashes
	return w.tx(ctx, func() error {
		return w.raw(func(driver.ConnPrepareContext) error {
			if err := errors.Join(w.apply.begin.exec(), book.begin(), book.runs.upTo(generation, book)); err != nil {
				return err
			}
			return w.apply.end.exec()
		})
	})
}

// CheckRuns compares the runs with table hash as CheckDerived does. It calls between before each row of the table.
func (db *DB) CheckRuns(ctx context.Context, report func(string), between func(generation int64)) error {
	c := &checker{Check: Check{Report: report}, db: db, newestHash: math.MaxInt64}
	runs := runCheck{c: c}
	if err := runs.begin(ctx); err != nil {
		return err
	}
	type row struct {
		id, generation int64
		hex            string
	}
	var rows []row
	err := db.readers.each(ctx, `SELECT id, generation, hex FROM hash ORDER BY id`, nil, all(func(v []driver.Value) {
		rows = append(rows, row{integer(v[0]), integer(v[1]), v[2].(string)})
	}))
	for _, r := range rows {
		between(r.generation)
		err = errors.Join(err, runs.row(ctx, r.id, r.generation, r.hex, r.id > 0 && r.id < maxNumber))
	}
	return errors.Join(err, runs.end(ctx))
}

// NumbersIn finds the numbers of a hash in some generations.
func (db *DB) NumbersIn(ctx context.Context, hash [32]byte, first, last int64) (ids []int64, err error) {
	found, err := db.numbersOf(ctx, []*[32]byte{&hash}, span{first, last})
	for _, n := range found[hash] {
		ids = append(ids, n.id)
	}
	return ids, err
}
