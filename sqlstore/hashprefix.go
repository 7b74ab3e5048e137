package sqlstore

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// evidenceBeginning returns the first hashes of some evidence that begin with hex digits, in order: those that the runs have, and those
// of the generations that are in no run yet.
func (db *DB) evidenceBeginning(ctx context.Context, x *numberIndex, prefix string, most int) (found []string, err error) {
	err = untilSettled(func() (moved bool, err error) {
		s := prefixSearch{db: db, x: x, prefix: prefix, most: most}
		moved, err = s.run(ctx)
		found = s.found
		return moved, err
	})
	return found, err
}

// prefixSearch is an evidenceBeginning under way.
type prefixSearch struct {
	db     *DB
	x      *numberIndex
	prefix string
	most   int

	found []string // in order, each once
}

func (s *prefixSearch) run(ctx context.Context) (moved bool, err error) {
	runs, newest, err := s.db.runs(ctx)
	if err != nil {
		return false, err
	}
	least, greatest := keysBeginning(s.prefix)
	for from, more := least, len(runs) > 0; more && len(s.found) < s.most; {
		var upTo uint32
		var entries []prefixEntry
		if entries, upTo, moved, err = s.entries(ctx, runs, from, greatest); err != nil || moved {
			return moved, err
		}
		if err := s.take(ctx, entries); err != nil {
			return false, err
		}
		from, more = upTo+1, upTo < greatest
	}
	for _, rest := range outsideRuns(runs, span{0, newest}) {
		if err := s.generations(ctx, rest, s.prefix); err != nil {
			return false, err
		}
	}
	return false, nil
}

// keysBeginning returns the least and the greatest key of the hashes that begin with hex digits.
func keysBeginning(prefix string) (least, greatest uint32) {
	const digits = 8
	key := func(fill string) uint32 {
		n, err := strconv.ParseUint((prefix + strings.Repeat(fill, digits))[:digits], 16, 32)
		if err != nil {
			return math.MaxUint32 // no hash begins with a text that is no hex
		}
		return uint32(n)
	}
	return key("0"), key("f")
}

// prefixEntry is an entry of a run.
type prefixEntry struct {
	run int64
	runEntry
}

// entries reads the page of each run that has a key, from. It returns their entries with keys from this one to another, in the order of
// keys. They are all that there are up to the key upTo.
func (s *prefixSearch) entries(ctx context.Context, runs []int64, from, to uint32) (entries []prefixEntry, upTo uint32, moved bool, err error) {
	upTo = to
	moved, err = s.db.runPages(ctx, runs, []int64{int64(from)}, true, func(p *keyPage) error {
		upTo = uint32(min(int64(upTo), p.until))
		return p.upTo(int64(to), func(e runEntry) { entries = append(entries, prefixEntry{p.run, e}) })
	})
	entries = slices.DeleteFunc(entries, func(e prefixEntry) bool { return e.key > upTo })
	slices.SortStableFunc(entries, func(a, b prefixEntry) int { return cmp.Compare(a.key, b.key) })
	return entries, upTo, moved, err
}

// take adds to what was found the hashes of entries, in the order of keys, until there are enough.
func (s *prefixSearch) take(ctx context.Context, all []prefixEntry) error {
	const atOnce = 64
	for len(all) > 0 && len(s.found) < s.most {
		n := min(len(all), atOnce)
		for n < len(all) && all[n].key == all[n-1].key {
			n++
		}
		var ids []int64
		for _, e := range all[:n] {
			if e.number > 0 {
				ids = append(ids, e.number)
				continue
			}
			begin := fmt.Sprintf("%08x", e.key)
			if len(s.prefix) > len(begin) {
				begin = s.prefix
			}
			if err := s.generations(ctx, spanOfRun(e.run), begin); err != nil {
				return err
			}
		}
		err := s.db.readers.each(ctx, s.x.evidenceAmong(), []any{listOfNumbers(ids)}, func(row []driver.Value) bool {
			if text, ok := row[0].(string); ok && strings.HasPrefix(text, s.prefix) {
				s.add(text)
			}
			return true
		})
		if err != nil {
			return err
		}
		s.settle()
		all = all[n:]
	}
	return nil
}

// generations adds the first hashes of some generations that begin with a text.
func (s *prefixSearch) generations(ctx context.Context, in span, prefix string) error {
	from := prefix
	for n := 0; n < s.most; {
		var text *string
		if err := s.db.readers.GetContext(ctx, &text, s.x.next(), in.least, in.most, from, afterPrefix(prefix)); err != nil {
			return err
		}
		if text == nil {
			break
		}
		if s.add(*text) {
			n++
		}
		from = *text + "!" // it sorts before every text that follows in order
	}
	s.settle()
	return nil
}

// add adds a hash to what was found, unless it is none and somebody wrote it by hand.
func (s *prefixSearch) add(text string) bool {
	_, ok := hashOf(text)
	if ok {
		s.found = append(s.found, text)
	}
	return ok
}

// settle puts what was found in order.
func (s *prefixSearch) settle() {
	slices.Sort(s.found)
	s.found = slices.Compact(s.found)
	s.found = s.found[:min(len(s.found), s.most)]
}
