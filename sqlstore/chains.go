package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"database/sql/driver"
	"iter"
	"math"
	"slices"
	"time"
)

// Chains of answers: what one record gave as its result is evidence of another record. A walk follows them from some evidence
// to the records that have it, from their results to the records that have these as evidence, and so on. It does so
// for the results of a whole step at a time: lookUp finds their numbers, and numberIndex.usesOf the records that have these.

// ChainOptions say how far a walk along chains goes.
type ChainOptions struct {
	// AnyOrder also follows a result to records that are older than the record that gave it.
	AnyOrder bool

	Records int64         // how many records it reaches at most; 0: no limit
	Time    time.Duration // that its steps take together, after which it reaches no more; 0: no limit. The time between two steps is the caller's
}

// Reached is a record that a walk has reached, by as few steps as there can be.
type Reached struct {
	In               int // the database that has it, as it was given to NewDownstream; Index and Agent are numbers of that one
	Index, Timestamp int64
	QueryID          [32]byte
	Agent            int64     // its number; 0: anonymous
	Result           *[32]byte // nil: it has none

	// Through is the evidence by which the record was reached: what the walk began with, or the result of By.
	Through [32]byte
	// By is the record of the step before whose result it is: of several the first by (timestamp, query id). It is nil in the
	// first step.
	By *Reached
}

// compare orders records by (timestamp, query id).
func (a *Reached) compare(b *Reached) int {
	return cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), bytes.Compare(a.QueryID[:], b.QueryID[:]))
}

// ChainCut says what ended a walk early.
type ChainCut uint8

// What can end a walk early.
const (
	NotCut       ChainCut = iota
	CutByRecords          // ChainOptions.Records
	CutByTime             // ChainOptions.Time
)

// Downstream is a walk along chains, through one database or several. One goroutine at a time may use it. It keeps all records that it
// has reached.
type Downstream struct {
	dbs   []*DB
	from  Evidence
	o     ChainOptions
	begun time.Time     // the step that is being taken
	spent time.Duration // in the steps before
	rows  int64         // that were read
	ends  []int64       // of each database; records from this index on are not seen
	moved bool          // ends are known: the walk has taken a step

	level   []*Reached           // of the last step
	reached []map[int64]*Reached // of each database, by index
	// given has for each hash the time from which on its uses were reached. When an older record is found that gave it, only
	// the uses between the two are new.
	given   map[[32]byte]int64
	total   int // in reached
	carried int
	cut     ChainCut
}

// NewDownstream begins a walk from some evidence through databases that have no record in common. asOf has for each of them nil, or an
// Entry.Index: the walk sees only records with a lower one. Nothing is read before Next.
func NewDownstream(dbs []*DB, asOf []*int64, e Evidence, o ChainOptions) *Downstream {
	w := &Downstream{dbs: dbs, from: e, o: o, given: map[[32]byte]int64{}}
	for i := range dbs {
		w.ends = append(w.ends, orNow(asOf[i]))
		w.reached = append(w.reached, map[int64]*Reached{})
	}
	if !e.Source {
		w.given[*e.Hash] = math.MinInt64 // every record that has it is reached by the first step
	}
	return w
}

// Cut says what ended the walk early.
func (w *Downstream) Cut() ChainCut { return w.cut }

// Carried is how many records of the step before have results that are evidence of the last step.
func (w *Downstream) Carried() int { return w.carried }

// Next takes the next step, and returns the records that it reached, by (timestamp, query id). None is the end: there are no
// more, or Cut says what ended the walk.
func (w *Downstream) Next(ctx context.Context) ([]*Reached, error) {
	if w.cut != NotCut {
		return nil, nil
	}
	w.begun = time.Now()
	defer func() { w.spent += time.Since(w.begun) }()
	step := chainStep{w: w, found: make([]map[int64]*Reached, len(w.dbs)), latest: map[[32]byte]int64{}}
	for i := range step.found {
		step.found[i] = map[int64]*Reached{}
	}
	if !w.moved {
		// The whole walk sees one moment: a record that is admitted meanwhile is not in it.
		for i, db := range w.dbs {
			newest, err := db.newest(ctx)
			if err != nil {
				return nil, db.fail("follow answers", err)
			}
			w.ends[i] = min(newest+1, w.ends[i])
		}
		w.moved = true
		step.uses = []chainUse{{hash: *w.from.Hash, from: math.MinInt64, to: math.MaxInt64}}
		err := step.run(ctx, w.from.index())
		w.level = step.level()
		return w.level, err
	}
	for _, r := range w.level {
		if r.Result == nil {
			continue
		}
		from := r.Timestamp
		if w.o.AnyOrder {
			from = math.MinInt64
		}
		to, known := w.given[*r.Result]
		if !known {
			to = math.MaxInt64
		}
		if known && from >= to {
			continue // what has it from then on was reached
		}
		w.given[*r.Result] = from
		step.uses = append(step.uses, chainUse{*r.Result, from, to, r})
	}
	err := step.run(ctx, &byAssertion)
	w.carried = 0
	for _, r := range w.level {
		if r.Result == nil {
			continue
		}
		if latest, any := step.latest[*r.Result]; any && (w.o.AnyOrder || r.Timestamp <= latest) {
			w.carried++
		}
	}
	w.level = step.level()
	return w.level, err
}

// chainUse is a hash whose uses are looked for, from a time on and up to another, which does not belong to it.
type chainUse struct {
	hash     [32]byte
	from, to int64
	by       *Reached // who gave it first, of the step before; nil: the walk begins with it
}

// chainStep is a step of a walk.
type chainStep struct {
	w      *Downstream
	uses   []chainUse
	found  []map[int64]*Reached // of each database, by index
	count  int                  // of all that were found
	latest map[[32]byte]int64   // for each hash the timestamp of the newest record that was found by it
}

// level returns what the step has found, in order.
func (s *chainStep) level() []*Reached {
	level := make([]*Reached, 0, s.count)
	for i, found := range s.found {
		for idx, r := range found {
			s.w.reached[i][idx] = r
			level = append(level, r)
		}
	}
	s.w.total += len(level)
	slices.SortFunc(level, (*Reached).compare)
	return level
}

// run finds the uses in each database, for a part of the hashes after the other.
func (s *chainStep) run(ctx context.Context, x *numberIndex) error {
	for in, db := range s.w.dbs {
		for uses := range slices.Chunk(s.uses, db.sizes.chainHashes) {
			numbers, err := s.numbers(ctx, in, uses)
			if err == nil {
				err = s.read(ctx, in, x, uses, numbers)
			}
			if err != nil {
				return db.fail("follow answers", err)
			}
		}
	}
	return nil
}

// numbers finds the numbers of the hashes of uses, in the order of the uses.
func (s *chainStep) numbers(ctx context.Context, in int, uses []chainUse) ([]foundNumber, error) {
	hashes := make([]*[32]byte, len(uses))
	for i := range uses {
		hashes[i] = &uses[i].hash
	}
	return s.w.dbs[in].lookUp(ctx, hashes, span{0, generationOf(s.w.ends[in] - 1)}, s.inTime)
}

// read reads the records that have the evidence with the numbers.
func (s *chainStep) read(ctx context.Context, in int, x *numberIndex, uses []chainUse, numbers []foundNumber) error {
	db := s.w.dbs[in]
	query := x.usesOf(`a.agent, ` + hexOfNumber(`a.result`))
	for part := range slices.Chunk(numbers, db.sizes.chainHashes) {
		if !s.inTime() {
			break
		}
		ids := make([]int64, len(part))
		for i := range part {
			ids[i] = part[i].id
		}
		err := db.eachUse(ctx, query, nil, ids, s.w.ends[in], db.sizes.chainRows, func(place int, row []driver.Value) bool {
			if s.w.rows++; s.w.rows%clockEvery == 0 && !s.inTime() {
				return false
			}
			return s.take(in, &uses[part[place].place], row)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// inTime reports whether nothing has ended the walk, and there is time for more.
func (s *chainStep) inTime() bool {
	w := s.w
	if w.cut == NotCut && w.o.Time > 0 && w.spent+time.Since(w.begun) >= w.o.Time {
		w.cut = CutByTime
	}
	return w.cut == NotCut
}

// take takes a row of usesOf, and reports whether another record may be reached.
func (s *chainStep) take(in int, u *chainUse, row []driver.Value) bool {
	w := s.w
	idx, timestamp := integer(row[1]), integer(row[2])
	if timestamp < u.from || timestamp >= u.to && u.to != math.MaxInt64 || w.reached[in][idx] != nil {
		return true
	}
	// The uses are in the order of the records that gave them, and so are their rows: who comes first is the first in time.
	r := s.found[in][idx]
	if r == nil {
		if w.o.Records > 0 && int64(w.total+s.count) == w.o.Records {
			w.cut = CutByRecords
			return false
		}
		r = &Reached{In: in, Index: idx, Timestamp: timestamp, Agent: integer(row[4]), Through: u.hash, By: u.by}
		copy(r.QueryID[:], bytesOf(row[3]))
		if text, ok := row[5].(string); ok {
			if h, ok := hashOf(text); ok {
				r.Result = &h
			}
		}
		s.found[in][idx] = r
		s.count++
	}
	if latest, any := s.latest[u.hash]; !any || timestamp > latest {
		s.latest[u.hash] = timestamp
	}
	return true
}

// newest is the index of the newest record that the forensic tables have, -1 for none.
func (db *DB) newest(ctx context.Context) (newest int64, err error) {
	err = first(ctx, db.readers, `SELECT coalesce(max(idx), -1) FROM audit`, nil, func(row []driver.Value) { newest = integer(row[0]) })
	return newest, err
}

// Among yields those of some records that a filter selects, in the order of the list, as SelectNumbered does. The filter's
// limit, order and After have no effect.
func (db *DB) Among(ctx context.Context, f Filter, list []*Reached) iter.Seq2[Numbered, error] {
	return func(yield func(Numbered, error) bool) {
		found := make([]auditRow, len(list))
		for i, r := range list {
			found[i].Idx = r.Index
		}
		if err := db.resolve(ctx, &f); err != nil {
			yield(Numbered{}, db.fail("read answers", err))
			return
		}
		s := newSelection(db, &f, toRead)
		s.placed = true
		pages := s.fetch(found, s.placed)
		for {
			page, err := pages(ctx)
			if err != nil {
				yield(Numbered{}, db.fail("read answers", err))
				return
			}
			if page == nil {
				return
			}
			for i := range page {
				v := Numbered{Index: uint64(page[i].Idx)}
				copy(v.QueryID[:], page[i].QueryID)
				damage := page[i].damage()
				if damage != nil {
					damage = db.fail("read answers", damage)
				} else {
					v.Value = page[i].Value
				}
				if !yield(v, damage) {
					return
				}
			}
		}
	}
}

// Givers returns the first records that have a hash as their result, in the order of admission: of all records, or of those
// whose index is less than asOf. Of a record it has what identifies it.
func (d *Dictionary) Givers(ctx context.Context, result [32]byte, asOf *int64, most int) ([]Reached, error) {
	if err := d.Learn(ctx, &result); err != nil {
		return nil, err
	}
	db, x := d.db, &byResult
	query := `SELECT a.idx, a.timestamp, e.query_id, a.agent FROM ` + x.hashed("a") + withEntry + ` WHERE ` + x.matchListed("a") + ` AND a.idx < ? LIMIT ?`
	args := []any{d.found.list(&result), hexOf(&result), orNow(asOf), most}
	var givers []Reached
	err := db.readers.each(ctx, query, args, all(func(row []driver.Value) {
		r := Reached{Index: integer(row[0]), Timestamp: integer(row[1]), Agent: integer(row[3]), Result: &result}
		copy(r.QueryID[:], bytesOf(row[2]))
		givers = append(givers, r)
	}))
	if err != nil {
		return nil, db.fail("look for answers", err)
	}
	return givers, nil
}
