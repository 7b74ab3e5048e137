package sqlstore

import (
	"cmp"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Runs are the dictionary once more, for generations that are complete (see hashindex.go). Table hash keeps the hashes of each generation
// apart, so a search would visit some hundred places in a large store. A run has the hashes of a generation, or of 32 of them,
// in the order of the hashes, so it is one place:
//
//	generation    0 … 31      32 … 63     64    65    66
//	run           merged 0    merged 1    64    65    –      66 is not complete: it is searched in table hash
//
// This is a log-structured merge with two levels. (O'Neil et al., "The log-structured merge-tree (LSM-tree)", Acta Informatica 33, 1996.) Runs
// are written in one go and in order, so they cost a record some 100 bytes on the way to the disk, and 1 % of its time.
//
// A run is a list of entries: a key, which is the first four bytes of a hash, and the number of a hash with this key. Two hashes can have the
// same key. So whoever searches reads in table hash what the number stands for, and compares it. The entries ascend by key. The list is
// cut into pages, and entries of one key are always in one page. Table hash_run has a row for each page:
//
//	id       (run << 32) + key of the first entry; the first page of a run has key 0
//	entries  the least number of the page, and then for each entry two numbers:
//	         its key minus the key of the entry before it; for the first entry, minus the key in the id
//	         its number minus the least number, plus 1; 0 where the key overflows
//
// All are unsigned varints of package encoding/binary. A key overflows if more than 256 hashes have it. Nobody gets there by
// chance, so somebody has chosen these hashes. Such a hash is searched for in each generation of the run.
//
// Runs only make searches faster. So whatever somebody has done to them or to table hash, it does not keep records from being applied: a
// run that cannot be read is written again, and runs that are too large together are not merged.

const (
	runShift      = 32
	generationsOf = 32 // of a merged run
	firstMerged   = 1 << 24
	runPage       = 320 // entries: four pages of them, of some 1,900 bytes, fill a page of SQLite
	mostOfKey     = 256
	// runsAtOnce is how many runs a transaction writes at most, so that it stays short: a store of an older version has none, and each takes
	// a tenth of a second.
	runsAtOnce = 4
	// mostMerged is how many pages a merged run has at most, some 130 MB. With three new pieces of evidence a record it has 12,000.
	mostMerged = 1 << 16
)

// runKey returns the key of a hash.
func runKey(h *[32]byte) uint32 { return binary.BigEndian.Uint32(h[:]) }

// isRun reports whether there can be a run with this number.
func isRun(run int64) bool { return run >= 0 && run < 2*firstMerged }

// pageID is the id of the page of a run that begins with a key.
func pageID(run int64, key uint32) int64 { return run<<runShift + int64(key) }

// spanOfRun returns the generations of a run.
func spanOfRun(run int64) span {
	if run < firstMerged {
		return span{run, run}
	}
	first := (run - firstMerged) * generationsOf
	return span{first, first + generationsOf - 1}
}

// runEntry is an entry of a run. Its number is 0 if the key overflows.
type runEntry struct {
	key    uint32
	number int64
}

// entryOf is the entry of a hash with its number. A number that only somebody who wrote it by hand can have given is left out, so the
// hash is searched for like those of a key that overflows.
func entryOf(h *[32]byte, number int64) runEntry {
	if number <= 0 || number >= maxNumber {
		number = 0
	}
	return runEntry{runKey(h), number}
}

// runReader reads the entries of a page.
type runReader struct {
	id   int64
	key  uint32
	base int64
	rest []byte
}

// readRunPage begins to read a page.
func readRunPage(id int64, entries []byte) (runReader, error) {
	base, n := binary.Uvarint(entries)
	r := runReader{id: id, key: uint32(id), base: int64(base)}
	if n <= 0 || base >= maxNumber {
		return r, r.malformed()
	}
	r.rest = entries[n:]
	return r, nil
}

func (r *runReader) malformed() error {
	return fmt.Errorf("%w: page %d of table hash_run is no list of entries: run reindex", ErrMalformed, r.id)
}

// next returns the next entry. more is false after the last one.
func (r *runReader) next() (e runEntry, more bool, err error) {
	if len(r.rest) == 0 {
		return e, false, nil
	}
	step, n := binary.Uvarint(r.rest)
	if n <= 0 || step > math.MaxUint32-uint64(r.key) {
		return e, false, r.malformed()
	}
	r.key += uint32(step)
	number, m := binary.Uvarint(r.rest[n:])
	if m <= 0 || number > maxNumber {
		return e, false, r.malformed()
	}
	r.rest = r.rest[n+m:]
	if e.key = r.key; number > 0 {
		e.number = r.base + int64(number) - 1
	}
	if e.number >= maxNumber {
		return e, false, r.malformed()
	}
	return e, true, nil
}

// appendRunPage writes a page of a run whose id has this key.
func appendRunPage(b []byte, key uint32, entries []runEntry) []byte {
	base := int64(math.MaxInt64)
	for _, e := range entries {
		if e.number > 0 {
			base = min(base, e.number)
		}
	}
	if base == math.MaxInt64 {
		base = 0
	}
	b = binary.AppendUvarint(b, uint64(base))
	for _, e := range entries {
		b = binary.AppendUvarint(b, uint64(e.key-key))
		key = e.key
		if e.number == 0 {
			b = append(b, 0)
			continue
		}
		b = binary.AppendUvarint(b, uint64(e.number-base)+1)
	}
	return b
}

// runBuilder writes a run from its entries, which come in order.
type runBuilder struct {
	run   int64
	put   func(id int64, entries []byte) error
	begun bool       // the first page was written
	page  []runEntry // those that are not written yet; the entries of the last key
	last  int        // begin here
	bytes []byte
}

func (b *runBuilder) begin(run int64) {
	b.run, b.begun, b.page, b.last = run, false, b.page[:0], 0
}

// add adds an entry.
func (b *runBuilder) add(e runEntry) error {
	n := len(b.page)
	switch {
	case n == 0 || b.page[b.last].key != e.key:
		if n >= runPage {
			if err := b.write(); err != nil {
				return err
			}
		}
		b.last = len(b.page)
	case b.page[b.last].number == 0:
		return nil // the key overflows already
	case e.number == 0 || n-b.last == mostOfKey:
		b.page = append(b.page[:b.last], runEntry{key: e.key})
		return nil
	}
	b.page = append(b.page, e)
	return nil
}

// write writes the page that is full.
func (b *runBuilder) write() error {
	key := uint32(0)
	if b.begun {
		key = b.page[0].key
	}
	b.bytes = appendRunPage(b.bytes[:0], key, b.page)
	b.begun, b.page = true, b.page[:0]
	return b.put(pageID(b.run, key), b.bytes)
}

// end writes the last page. A run without entries has one page too.
func (b *runBuilder) end() error {
	if len(b.page) == 0 && b.begun {
		return nil
	}
	return b.write()
}

// runWriter writes the runs.
type runWriter struct {
	newest, dictionary     *stmt
	page, put, drop, pages *stmt

	next    int64        // the first generation that is in no run
	written int          // runs in this transaction
	pause   func() error // called now and then, may end it; set by whoever has the writer
	builder runBuilder
	entries []runEntry
}

func newRunWriter(p *preparer) *runWriter {
	w := &runWriter{
		newest:     p.prepare(`SELECT coalesce(max(id) >> 32, -1) FROM hash_run WHERE id >= ? AND id < ?`),
		dictionary: p.prepare(`SELECT id, hex FROM hash INDEXED BY hash_by_hex WHERE generation = ? ORDER BY hex`),
		page:       p.prepare(`SELECT id, entries FROM hash_run WHERE id >= ? AND id < ? ORDER BY id LIMIT 1`),
		put:        p.prepare(`INSERT OR FAIL INTO hash_run (id, entries) VALUES (?, ?)`),
		drop:       p.prepare(`DELETE FROM hash_run WHERE id >= ? AND id < ?`),
		pages:      p.prepare(`SELECT count(*) FROM (SELECT 1 FROM hash_run WHERE id >= ? AND id < ? LIMIT ?)`),
		pause:      func() error { return nil },
	}
	w.builder.put = func(id int64, entries []byte) error {
		if err := w.pause(); err != nil {
			return err
		}
		return w.put.exec(id, entries)
	}
	return w
}

// begin is called in a transaction before the first upTo.
func (w *runWriter) begin() error {
	w.next, w.written = 0, 0
	for _, first := range []int64{0, firstMerged} {
		run, err := w.newest.queryInt(pageID(first, 0), pageID(first+firstMerged, 0))
		if err != nil {
			return err
		}
		if run >= 0 {
			w.next = max(w.next, spanOfRun(run).most+1)
		}
	}
	return nil
}

// upTo writes the runs of the generations before one, or of the first few of them. book may remember the hashes of one.
func (w *runWriter) upTo(generation int64, book *hashBook) error {
	for ; w.written < runsAtOnce && w.next < generation; w.written++ {
		if err := w.write(w.next, book); err != nil {
			return fmt.Errorf("run of generation %d: %w", w.next, err)
		}
		w.next++
		if w.next%generationsOf == 0 {
			if err := w.mergeAll(w.next/generationsOf-1, book); err != nil {
				return fmt.Errorf("run of the generations up to %d: %w", w.next-1, err)
			}
		}
	}
	return nil
}

// write writes the run of a generation.
func (w *runWriter) write(generation int64, book *hashBook) error {
	w.builder.begin(generation)
	if book.complete && book.generation == generation {
		w.entries = w.entries[:0]
		for h, place := range book.places {
			w.entries = append(w.entries, entryOf(&h, book.numbers[place]))
		}
		slices.SortFunc(w.entries, func(a, b runEntry) int { return cmp.Compare(a.key, b.key) })
		for _, e := range w.entries {
			if err := w.builder.add(e); err != nil {
				return err
			}
		}
		return w.builder.end()
	}
	var failed error
	err := w.dictionary.each(func(row []driver.Value) {
		text, _ := row[1].(string)
		if h, ok := hashOf(text); ok && failed == nil {
			failed = w.builder.add(entryOf(&h, integer(row[0])))
		}
	}, generation)
	if err = cmp.Or(failed, err); err != nil {
		return err
	}
	return w.builder.end()
}

// mergeAll writes a merged run, and deletes those of its generations. A run of these that is damaged is written again first.
func (w *runWriter) mergeAll(n int64, book *hashBook) error {
	s := spanOfRun(firstMerged + n)
	from, to := pageID(s.least, 0), pageID(s.most+1, 0)
	pages, err := w.pages.queryInt(from, to, int64(mostMerged)+1)
	if err != nil || pages > mostMerged {
		return err
	}
	for range generationsOf + 1 {
		var damaged *damagedRun
		err := w.merge(n)
		if err == nil {
			return w.drop.exec(from, to)
		}
		if !errors.As(err, &damaged) {
			return err
		}
		for _, run := range []int64{firstMerged + n, damaged.run} {
			if err := w.drop.exec(pageID(run, 0), pageID(run+1, 0)); err != nil {
				return err
			}
		}
		if err := w.write(damaged.run, book); err != nil {
			return err
		}
	}
	return nil // the runs of the generations stay
}

// damagedRun says which run cannot be read.
type damagedRun struct {
	run int64
	error
}

// merge writes a merged run.
func (w *runWriter) merge(n int64) error {
	s := spanOfRun(firstMerged + n)
	inputs := make([]runCursor, 0, generationsOf)
	for run := s.least; run <= s.most; run++ {
		c := runCursor{page: w.page, run: run, next: pageID(run, 0)}
		if err := c.advance(); err != nil {
			return err
		}
		inputs = append(inputs, c)
	}
	w.builder.begin(firstMerged + n)
	for {
		// A heap would find the least key with fewer comparisons, but these few take a tenth of the time of the rest.
		var least *runCursor
		for i := range inputs {
			if c := &inputs[i]; c.more && (least == nil || c.entry.key < least.entry.key) {
				least = c
			}
		}
		if least == nil {
			return w.builder.end()
		}
		if err := w.builder.add(least.entry); err != nil {
			return err
		}
		if err := least.advance(); err != nil {
			return err
		}
	}
}

// runCursor reads the entries of a run in order.
type runCursor struct {
	page   *stmt
	run    int64
	next   int64 // least id of the next page
	reader runReader
	entry  runEntry
	more   bool
}

// advance reads the next entry. It returns a *damagedRun if the run is no list of entries in order.
func (c *runCursor) advance() error {
	last := c.entry.key
	for {
		var err error
		if c.entry, c.more, err = c.reader.next(); err != nil {
			return &damagedRun{c.run, err}
		}
		if c.more {
			if c.entry.key < last {
				return &damagedRun{c.run, c.reader.malformed()}
			}
			return nil
		}
		row, err := c.page.query(c.next, pageID(c.run+1, 0))
		if err != nil {
			return err
		}
		if row == nil {
			if c.next == pageID(c.run, 0) {
				return &damagedRun{c.run, errors.New("it has no pages")}
			}
			return nil
		}
		id := integer(row[0])
		if c.next == pageID(c.run, 0) && id != c.next {
			return &damagedRun{c.run, errors.New("it has no first page")}
		}
		if c.reader, err = readRunPage(id, bytesOf(row[1])); err != nil {
			return &damagedRun{c.run, err}
		}
		c.next = id + 1
	}
}
