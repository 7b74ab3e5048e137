package sqlstore

import (
	"context"
	"database/sql/driver"
	"iter"
	"math"
	"math/bits"
	"slices"
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

// remove takes a number away, if the set has it.
func (s numberSet) remove(n int64) {
	if part := s[n>>numberShift]; part != nil {
		bit := uint64(n) % numberBits
		part[bit/64] &^= 1 << (bit % 64)
	}
}

// all yields the numbers.
func (s numberSet) all() iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for i, part := range s {
			for j, word := range part {
				for ; word != 0; word &= word - 1 {
					if !yield(i<<numberShift + int64(j*64+bits.TrailingZeros64(word))) {
						return
					}
				}
			}
		}
	}
}

func (s numberSet) has(n int64) bool {
	part := s[n>>numberShift]
	bit := uint64(n) % numberBits
	return part != nil && part[bit/64]&(1<<(bit%64)) != 0
}

// dictionary reports rows of table hash that no record has, and runs that differ from the table.
func (c *checker) dictionary(ctx context.Context) error {
	if !c.derived {
		return nil // that is reported already
	}
	const query = `SELECT id, generation, hex FROM hash WHERE id > ? AND (id <= ? OR id >= ?) ORDER BY id LIMIT ?`
	const page = 8192
	type row struct {
		id, generation int64
		hex            any
	}
	runs := runCheck{c: c}
	unread := runs.begin(ctx)
	rows := make([]row, 0, page)
	for last, found := int64(math.MinInt64), 0; ; last = rows[page-1].id {
		rows = rows[:0]
		err := c.db.readers.each(ctx, query, []any{last, c.newestHash, int64(maxNumber), page}, all(func(v []driver.Value) {
			rows = append(rows, row{integer(v[0]), integer(v[1]), v[2]})
		}))
		if err != nil {
			return err
		}
		for _, r := range rows {
			used := c.used.has(r.id)
			if !used && found < maxProblems {
				found++
				c.problem("hash: no record has number %d, which stands for %v", r.id, r.hex)
			}
			if text, ok := r.hex.(string); ok && unread == nil {
				if err := runs.row(ctx, r.id, r.generation, text, used); err != nil {
					return err
				}
			}
		}
		if len(rows) < page {
			break
		}
	}
	if unread != nil {
		return unread
	}
	return runs.end(ctx)
}

// runCheck compares the runs with table hash. The rows of the table come by number, and so by generation too, and one run at a time is in
// memory: 4 bytes for each of its hashes.
type runCheck struct {
	c     *checker
	left  []int64 // runs that were not compared yet, in the order of generations
	least int64   // the rows with a number below it were compared
	// numbers of rows that no record has, which are reported already
	unused numberSet
	found  int // problems

	// Of the run that is in memory: its generations, and the keys of its numbers.
	in       span
	late     bool // the writer has merged it since begin, so the entries below least were compared before
	keys     map[int64]*[numberBits]uint32
	has      numberSet           // numbers that no row was found for yet
	overflow map[uint32]struct{} // keys that overflow: their hashes are searched for in table hash
	after    int64               // the id of the page that was read last, which comes after the next one
}

// begin checks which runs there are.
func (r *runCheck) begin(ctx context.Context) error {
	runs, newest, err := r.c.db.runs(ctx)
	if err != nil {
		return err
	}
	r.in = span{-1, -1} // none is in memory
	next := int64(0)
	for _, run := range runs {
		s := spanOfRun(run)
		switch {
		case s.least < next:
			r.problem("there are two runs of generation %d", s.least)
		case s.least > next:
			r.problem("the run of generation %d is missing", next)
		case s.most >= newest:
			r.problem("there is a run of generation %d, which is not complete", s.most)
		}
		next = max(next, s.most+1)
	}
	r.left = runs
	return nil
}

func (r *runCheck) problem(format string, args ...any) {
	if r.found++; r.found <= maxProblems {
		r.c.problem("hash_run: "+format, args...)
	}
}

// row compares a row of table hash with the run of its generation. A row that no record uses is reported already.
func (r *runCheck) row(ctx context.Context, number, generation int64, text string, used bool) error {
	if !used {
		r.unused.add(number)
		r.has.remove(number)
		return nil
	}
	r.least = number
	if number <= 0 || number >= maxNumber {
		return nil // somebody wrote it by hand, and no run has it
	}
	for generation > r.in.most && len(r.left) > 0 {
		if err := r.next(ctx); err != nil {
			return err
		}
	}
	h, ok := hashOf(text)
	if !ok || generation < r.in.least || generation > r.in.most {
		return nil
	}
	key := runKey(&h)
	if _, over := r.overflow[key]; over {
		return nil
	}
	if r.has.has(number) && r.keys[number>>numberShift][uint64(number)%numberBits] == key {
		r.has.remove(number)
	} else {
		r.problem("the run of generation %d does not have %s with number %d", generation, text, number)
	}
	return nil
}

// next reports what is left of the run that is in memory, and reads the next one.
func (r *runCheck) next(ctx context.Context) error {
	r.rest()
	run := r.left[0]
	r.left = r.left[1:]
	r.in, r.late = spanOfRun(run), false
	r.keys, r.has, r.overflow = map[int64]*[numberBits]uint32{}, numberSet{}, map[uint32]struct{}{}
	there, err := r.pages(ctx, run)
	if err == nil && !there && run < firstMerged {
		// The writer has merged it meanwhile, in one transaction.
		there, err = r.pages(ctx, firstMerged+r.in.least/generationsOf)
	}
	if err == nil && !there {
		r.problem("the run of generation %d has gone", r.in.least)
	}
	return err
}

// pages takes the entries of a run into memory, if it is there.
func (r *runCheck) pages(ctx context.Context, run int64) (there bool, err error) {
	const query = `SELECT id, entries FROM hash_run WHERE id >= ? AND id < ? ORDER BY id DESC`
	first := pageID(run, 0)
	r.after = pageID(run+1, 0)
	err = r.c.db.readers.each(ctx, query, []any{first, pageID(run+1, 0)}, func(row []driver.Value) bool {
		if !there && run >= firstMerged && r.in != spanOfRun(run) {
			r.in, r.late = spanOfRun(run), true
			r.left = slices.DeleteFunc(r.left, func(other int64) bool { return spanOfRun(other).most <= r.in.most })
		}
		there = true
		id := integer(row[0])
		if malformed := r.page(id, bytesOf(row[1])); malformed != nil {
			r.problem("%v", malformed)
		}
		r.after = id
		return r.found < maxProblems
	})
	if there && r.after != first && r.found < maxProblems {
		r.problem("the run of generation %d has no first page", r.in.least)
	}
	return there, err
}

// page takes the entries of a page into memory.
func (r *runCheck) page(id int64, entries []byte) error {
	page, err := readRunPage(id, entries)
	if err != nil {
		return err
	}
	next := int64(math.MaxUint32) + 1 // the key of the page that follows in the run
	if r.after>>runShift == id>>runShift {
		next = int64(uint32(r.after))
	}
	for first := true; ; first = false {
		e, more, err := page.next()
		if err != nil || !more {
			if err == nil && first && (uint32(id) != 0 || next <= math.MaxUint32) {
				r.problem("page %d is empty", id)
			}
			return err
		}
		if first && uint32(id) != 0 && e.key != uint32(id) {
			r.problem("page %d does not begin with its key", id)
		}
		if int64(e.key) >= next {
			r.problem("page %d has key %08x, which belongs to a later page", id, e.key)
		}
		switch {
		case e.number == 0:
			r.overflow[e.key] = struct{}{}
		case r.late && e.number < r.least || e.number > r.c.newestHash:
			// It was compared when the run was not merged yet, or a record has it that came later.
		case r.unused.has(e.number):
		case r.has.has(e.number):
			r.problem("a run has number %d twice", e.number)
		default:
			r.has.add(e.number)
			part := r.keys[e.number>>numberShift]
			if part == nil {
				part = new([numberBits]uint32)
				r.keys[e.number>>numberShift] = part
			}
			part[uint64(e.number)%numberBits] = e.key
		}
	}
}

// rest reports what is left of the run that is in memory.
func (r *runCheck) rest() {
	for number := range r.has.all() {
		if r.found >= maxProblems {
			return
		}
		r.problem("a run of generation %d has number %d, which table hash does not have there", r.in.least, number)
	}
}

// end compares the runs that no row of table hash belongs to.
func (r *runCheck) end(ctx context.Context) error {
	r.least = r.c.newestHash + 1
	for len(r.left) > 0 {
		if err := r.next(ctx); err != nil {
			return err
		}
	}
	r.rest()
	return nil
}
