package audit

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"

	"github.com/auditsql/auditsql/sqlstore"
)

// parts are the stores in which a question is asked, each as of a moment of its own: one for a DB, several for a Union. They have no
// record in common.
//
// What a store numbers means nothing in another one: the numbers of agents, and the indexes of records. So the answers of several are
// put together by hashes.
type parts struct {
	dbs  []*DB
	asOf []*uint64            // for each the moment that was asked for, nil: as it is
	home func(id QueryID) int // which of them a record is in
}

// An asked is what a question is asked: a DB or a Union.
type asked interface {
	// inParts runs a question, when the stores have what it is to see. asOf is the moment that it is about, nil: as it is.
	inParts(ctx context.Context, asOf *uint64, question func(p *parts) error) error
}

// inParts asks one store.
func (db *DB) inParts(ctx context.Context, asOf *uint64, question func(p *parts) error) error {
	p := &parts{dbs: []*DB{db}, asOf: []*uint64{asOf}, home: func(QueryID) int { return 0 }}
	return db.ask(ctx, asOf, func() error { return question(p) })
}

// at returns the filter of a part.
func (p *parts) at(f Filter, i int) Filter {
	f.AsOf = p.asOf[i]
	return f
}

// moments are the moments as package sqlstore has them.
func (p *parts) moments() []*int64 {
	moments := make([]*int64, len(p.asOf))
	for i, asOf := range p.asOf {
		moments[i] = indexOf(asOf)
	}
	return moments
}

// now fixes the moment of each part that has none.
func (p *parts) now(ctx context.Context) (*parts, error) {
	fixed := &parts{dbs: p.dbs, asOf: make([]*uint64, len(p.dbs)), home: p.home}
	for i, db := range p.dbs {
		if fixed.asOf[i] = p.asOf[i]; fixed.asOf[i] != nil {
			continue
		}
		n, err := db.records(ctx)
		if err != nil {
			return nil, err
		}
		fixed.asOf[i] = &n
	}
	return fixed, nil
}

// stores are the databases of the parts.
func (p *parts) stores() []*sqlstore.DB {
	stores := make([]*sqlstore.DB, len(p.dbs))
	for i, db := range p.dbs {
		stores[i] = db.sql
	}
	return stores
}

// each asks all parts at once, and returns their answers in the order of the parts.
func each[T any](ctx context.Context, p *parts, ask func(ctx context.Context, i int, db *DB) (T, error)) ([]T, error) {
	answers := make([]T, len(p.dbs))
	if len(p.dbs) == 1 {
		var err error
		answers[0], err = ask(ctx, 0, p.dbs[0])
		return answers, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for i, db := range p.dbs {
		all.Go(func() {
			var err error
			if answers[i], err = ask(ctx, i, db); err != nil {
				cancel(err) // the first one; the others end because of it
			}
		})
	}
	all.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return answers, nil
}

// selected yields the records that a select of each part has for a filter, in the order of the filter, at most its limit.
func (p *parts) selected(ctx context.Context, f Filter, from func(*sqlstore.DB, context.Context, sqlstore.Filter) iter.Seq2[[]byte, error]) iter.Seq2[QueryAudit, error] {
	lists := make([]iter.Seq2[QueryAudit, error], len(p.dbs))
	for i, db := range p.dbs {
		lists[i] = func(yield func(QueryAudit, error) bool) {
			g, err := db.lower(ctx, p.at(f, i))
			if err != nil {
				yield(QueryAudit{}, err)
				return
			}
			parsed(func(yield func([]byte, error) bool) {
				for raw, err := range from(db.sql, ctx, g) {
					if !yield(raw, db.lost(err)) {
						return
					}
				}
			})(yield)
		}
	}
	return merged(lists, f.Descending, f.Limit, CursorOf)
}

// merged puts lists together that are in the order of time, of which each has at most limit rows; 0 is no limit. An error about one
// record has no place in the order: it comes before what follows it in its own list, and counts as a row.
func merged[T any](lists []iter.Seq2[T, error], descending bool, limit int, place func(*T) Cursor) iter.Seq2[T, error] {
	if len(lists) == 1 {
		return lists[0]
	}
	type head struct {
		row  T
		at   Cursor
		next func() (T, error, bool)
	}
	return func(yield func(T, error) bool) {
		n := 0
		// take brings the next row of a list. ok is false at its end, more when nothing is wanted any more.
		take := func(h *head) (ok, more bool) {
			for {
				row, err, has := h.next()
				if !has {
					return false, true
				}
				if err == nil {
					h.row, h.at = row, place(&row)
					return true, true
				}
				n++
				if !yield(row, err) || !ofRecord(err) || n == limit {
					return false, false
				}
			}
		}
		var heads []*head
		for _, list := range lists {
			next, stop := iter.Pull2(list)
			defer stop()
			h := &head{next: next}
			ok, more := take(h)
			if !more {
				return
			}
			if ok {
				heads = append(heads, h)
			}
		}
		for len(heads) > 0 {
			first := 0
			for i, h := range heads {
				if order := h.at.compare(heads[first].at); order < 0 != descending && order != 0 {
					first = i
				}
			}
			h := heads[first]
			if n++; !yield(h.row, nil) || n == limit {
				return
			}
			ok, more := take(h)
			if !more {
				return
			}
			if !ok {
				heads = slices.Delete(heads, first, first+1)
			}
		}
	}
}

// share is the part of a budget that each of several parts has. They count at the same time.
func (b Budget) share(n int) Budget {
	if b.Records > 0 {
		b.Records = (b.Records + uint64(n) - 1) / uint64(n)
	}
	return b
}

// agentBook gives the agents of several parts numbers that they share. Number 0 is nobody.
type agentBook struct {
	numbers map[Hash]int64
	hashes  []*Hash // by number
}

// shared returns for numbers of agents in one part those that all parts share.
func (a *agentBook) shared(ctx context.Context, db *DB, numbers []int64) (map[int64]int64, error) {
	hashes, err := db.sql.AgentHashes(ctx, numbers)
	if err != nil {
		return nil, err
	}
	if a.numbers == nil {
		a.numbers, a.hashes = map[Hash]int64{}, []*Hash{nil}
	}
	shared := map[int64]int64{0: 0}
	for _, n := range numbers {
		if n == 0 {
			continue
		}
		h := (*Hash)(hashes[n])
		if h == nil { // no such agent: the table was changed by hand
			shared[n] = a.next(nil)
			continue
		}
		if _, known := a.numbers[*h]; !known {
			a.numbers[*h] = a.next(h)
		}
		shared[n] = a.numbers[*h]
	}
	return shared, nil
}

func (a *agentBook) next(h *Hash) int64 {
	a.hashes = append(a.hashes, h)
	return int64(len(a.hashes) - 1)
}

// agentKey distinguishes agents, whatever number they have in a part.
type agentKey struct {
	Hash
	anonymous bool
}

// keyOf is the key of the agent with a hash; nil is nobody.
func keyOf(agent *[32]byte) agentKey { return agentKey{deref(agent, [32]byte{}), agent == nil} }

// ErrDivided says that a question has no answer over a store whose records are divided among several logs. errors.As with a
// *DividedError says why.
var ErrDivided = errors.New("not answered over a store in several partitions")

// A DividedError says why a Union does not answer a question. It is an ErrDivided.
type DividedError struct{ Why string }

// Error implements error.
func (e *DividedError) Error() string { return ErrDivided.Error() + ": " + e.Why }

// Unwrap makes every DividedError an ErrDivided.
func (e *DividedError) Unwrap() error { return ErrDivided }
