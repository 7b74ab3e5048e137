package sqlstore

import (
	"context"
	"database/sql/driver"
	"math"
)

// How the dictionary is checked. Each derived row is compared together with the hashes that its numbers stand for. So a wrong or a
// missing row of table hash shows in each record that has its number. Rows that no record has are searched for in the end: a person
// who looks for a hash by its first digits would find them.

// numberSet is a set of numbers of hashes. They are dense, so a set of all of them takes little more than a bit for each.
type numberSet map[int64]*[numberBits / 64]uint64

const (
	numberShift = 14
	numberBits  = 1 << numberShift
)

// add adds a number as the driver reads it, or NULL.
func (s *numberSet) add(v driver.Value) {
	n, ok := v.(int64)
	if !ok {
		return
	}
	if *s == nil {
		*s = numberSet{}
	}
	part := (*s)[n>>numberShift]
	if part == nil {
		part = new([numberBits / 64]uint64)
		(*s)[n>>numberShift] = part
	}
	bit := uint64(n) % numberBits
	part[bit/64] |= 1 << (bit % 64)
}

// join adds the numbers of another set, which is not used any more.
func (s *numberSet) join(other *numberSet) {
	if *s == nil {
		*s = numberSet{}
	}
	for i, part := range *other {
		have := (*s)[i]
		if have == nil {
			(*s)[i] = part
			continue
		}
		for j := range part {
			have[j] |= part[j]
		}
	}
}

func (s numberSet) has(n int64) bool {
	part := s[n>>numberShift]
	bit := uint64(n) % numberBits
	return part != nil && part[bit/64]&(1<<(bit%64)) != 0
}

// dictionary reports rows of table hash that no record has.
func (c *checker) dictionary(ctx context.Context) error {
	if !c.derived {
		return nil // that is reported already
	}
	const query = `SELECT id, hex FROM hash WHERE id > ? AND (id <= ? OR id >= ?) ORDER BY id LIMIT ?`
	const page = 8192
	found := 0
	for n, last := page, int64(math.MinInt64); n == page && found < maxProblems; {
		n = 0
		err := c.db.readers.each(ctx, query, []any{last, c.newestHash, int64(maxNumber), page}, all(func(row []driver.Value) {
			n++
			last = integer(row[0])
			if !c.used.has(last) && found < maxProblems {
				found++
				c.problem("hash: no record has number %d, which stands for %v", last, row[1])
			}
		}))
		if err != nil {
			return err
		}
	}
	return nil
}
