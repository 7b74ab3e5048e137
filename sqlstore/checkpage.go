package sqlstore

import (
	"bytes"
	"context"
	"database/sql/driver"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/auditsql/auditsql/tree"
)

// How the entries are checked: the goroutine of CheckDerived reads page after page of entry and kv. For each page another
// goroutine checks what can be checked without the pages before it. The first goroutine takes the results in the order of
// the pages, reports them, and checks what goes on from page to page.
//
//	read page ─► check page ─┐
//	read page ─► check page ─┼─► take: report, hand to Entries, grow the tree
//	read page ─► check page ─┘

const (
	// pageEntries is how many entries are checked together.
	pageEntries = 256
	// checkCache is the page cache of the connection that reads entries. A batch of the applier has some 20 MB of rows in kv,
	// in the order of their keys, and the entries come in another order.
	checkCache = 32 << 20
	// keysAtOnce is how many keys one statement looks up.
	keysAtOnce = 64
)

// checkRow is an entry with its record, as the check reads it.
type checkRow struct {
	entryRow
	numbered bool // the journal offset is an integer, as it should be
}

func (r *checkRow) scan(row []driver.Value) (size int, err error) {
	r.numbered = integer(row[5]) == 1
	return r.entryRow.scan(row[:5])
}

// scope is what is checked of a page.
type scope int

const (
	scopeValues  scope = iota // only whether the records match their leaves
	scopePrimary              // entry and kv too
	scopeAll                  // and the derived tables
)

// entries checks each entry with what belongs to it: its record in kv, the key in its agent's list, its leaf and its derived
// rows. After an error it goes on reading for the receiver of the entries alone.
func (c *checker) entries(ctx context.Context) (err error) {
	var pending []chan *pageCheck // pages that are being checked, in order
	defer func() {
		for _, p := range pending {
			<-p
		}
	}()
	workers := c.workers()
	next := pageCheck{before: -1}
	var unread error
	for more := true; ; {
		for more && len(pending) < workers {
			page := next
			if page.entries, unread = c.page(ctx, page.next); unread != nil || len(page.entries) == 0 {
				more = false
				break
			}
			switch {
			case err != nil:
				page.scope = scopeValues
			case c.derived:
				page.scope = scopeAll
			default:
				page.scope = scopePrimary
			}
			last := &page.entries[len(page.entries)-1]
			next.next, next.before = last.Idx+1, last.offset()
			more = next.next <= c.newest
			checked := make(chan *pageCheck, 1)
			go func() {
				page.run(ctx, c)
				checked <- &page
			}()
			pending = append(pending, checked)
		}
		if len(pending) == 0 {
			break
		}
		p := <-pending[0]
		pending = pending[1:]
		if err == nil {
			err = c.take(ctx, p)
		}
		if c.Entries != nil {
			c.Entries(p.values, nil)
		} else if err != nil {
			return err
		}
	}
	c.noMore("read values", unread)
	if err == nil {
		err = unread
	}
	if err == nil && c.derived && c.begun && c.counts.Contributions != uint64(c.contributions) {
		c.problem("contribution: has %d rows, table store counts %d", c.counts.Contributions, c.contributions)
	}
	return err
}

// workers is how many pages are checked at once. Each takes one of the connections that read, for some milliseconds. Two are
// left: for SQLite's own check, and for whoever reads meanwhile.
func (c *checker) workers() int {
	return max(1, min(runtime.GOMAXPROCS(0), c.db.readers.Stats().MaxOpenConnections-2))
}

// page reads the entries from index next on. A record is read from the row of kv that table audit names, which spares a
// search in an index that is larger than any cache. Nothing depends on that: if a record is not there, the page is read again
// by keys.
func (c *checker) page(ctx context.Context, next int64) ([]checkRow, error) {
	// Of an offset that is no number the cast makes one. It is wrong, and the check finds that.
	const (
		columns = `SELECT e.idx, e.query_id, CAST(e.journal_offset AS INTEGER), k.value, k.leaf, typeof(e.journal_offset) = 'integer' FROM entry e `
		key     = `LEFT JOIN kv k ON k.key = ` + keyOfEntry
		row     = `LEFT JOIN audit a ON a.idx = e.idx LEFT JOIN kv k ON k.rowid = a.kv_row AND k.key = ` + keyOfEntry
		part    = ` WHERE e.idx >= ? AND e.idx <= ? ORDER BY e.idx LIMIT ?`
	)
	read := func(query string) ([]checkRow, error) {
		page, _, err := readPage(ctx, c.pages, c.db.sizes.pageBytes, query, []any{next, c.newest, pageEntries}, (*checkRow).scan)
		return page, err
	}
	if !c.byKey {
		page, err := read(columns + row + part)
		if err == nil && !slices.ContainsFunc(page, func(r checkRow) bool { return r.Value == nil }) {
			return page, nil
		}
		c.byKey = true
	}
	return read(columns + key + part)
}

// take reports what was found in a page, and continues the tree. It is called with the pages in their order.
func (c *checker) take(ctx context.Context, p *pageCheck) error {
	for _, problem := range p.problems {
		c.Report(problem)
	}
	c.counts.Audits += p.counts.Audits
	c.counts.AgentKeys += p.counts.AgentKeys
	c.ids.join(p.ids)
	c.listed.join(p.listed)
	c.rollup.join(p.rollup)
	if p.err != nil {
		return p.err
	}
	c.tree.gap = c.tree.gap || p.gap
	if err := c.compareTiles(ctx, p.leaves); err != nil {
		return err
	}
	if !c.derived {
		return nil
	}
	for _, problem := range p.rowProblems {
		c.Report(problem)
	}
	c.counts.Contributions += p.rowCounts.Contributions
	c.counts.Attributes += p.rowCounts.Attributes
	c.used.join(&p.used)
	if p.rowErr == nil {
		return nil
	}
	if ctx.Err() != nil || !unreadable(p.rowErr) {
		return p.rowErr
	}
	c.derived = false // report it once
	c.problem("derived tables cannot be read, a reindex makes them again: %v", p.rowErr)
	return nil
}

// pageCheck is the check of one page. One goroutine at a time uses it.
type pageCheck struct {
	entries      []checkRow
	next, before int64 // the index that comes first if no entry is missing, and the journal offset of the entry before it
	scope        scope

	decode func([]byte) (Record, error)
	conn   *readerConn
	minute int64 // in units of time; 0: table activity is not checked

	// What was found.
	values      []EntryValue // without the values that do not match their leaves
	problems    []string     // of entries and kv
	counts      Counts       // of these
	leaves      []tree.Hash
	gap         bool // an entry is missing
	ids, listed keySet
	err         error
	rollup      rollupSum // of these records
	rowProblems []string  // of the derived rows
	rowCounts   Counts    // of these
	used        numberSet // numbers of hashes that these have
	rowErr      error
}

func (p *pageCheck) problem(format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

func (p *pageCheck) rowProblem(format string, args ...any) {
	p.rowProblems = append(p.rowProblems, fmt.Sprintf(format, args...))
}

// offset is the entry's place in the journal, or -1 if it is no number.
func (r *checkRow) offset() int64 {
	if !r.numbered {
		return -1
	}
	return r.JournalOffset
}

// run checks the page on one connection and in one read transaction, which is short.
func (p *pageCheck) run(ctx context.Context, c *checker) {
	p.decode = c.Decode
	p.ids.seed, p.listed.seed, p.rollup.seed = c.ids.seed, c.listed.seed, c.rollup.seed
	p.minute = c.counted.minute
	p.values = make([]EntryValue, len(p.entries))
	for i := range p.entries {
		e := &p.entries[i]
		p.values[i].Entry = e.entry()
		if e.damage() == nil {
			p.values[i].Value = e.Value
		}
	}
	if p.scope == scopeValues {
		return
	}
	p.err = c.db.readers.use(ctx, func(conn *readerConn) error {
		p.conn = conn
		return conn.readTx(ctx, func() error {
			records, err := p.records(ctx)
			if err == nil && p.scope == scopeAll {
				p.rowErr = p.rows(ctx, records)
			}
			return err
		})
	})
}

// records checks the entries and their records. It returns the records taken apart, nil for one that cannot be.
func (p *pageCheck) records(ctx context.Context) (map[int64]*Record, error) {
	type decoded struct {
		Record
		err error
	}
	all := make([]decoded, len(p.entries))
	var keys [][]byte
	for i := range p.entries {
		e := &p.entries[i]
		if len(e.Value) == 0 { // which no record is
			continue
		}
		d := &all[i]
		if d.Record, d.err = p.decode(e.Value); d.err == nil && d.AgentID != nil {
			keys = append(keys, d.agentKey())
		}
	}
	listings, unread := p.listings(ctx, keys)
	records := make(map[int64]*Record, len(p.entries))
	next, before := p.next, p.before
	p.leaves = make([]tree.Hash, 0, len(p.entries))
	for i := range p.entries {
		e := &p.entries[i]
		if e.Idx != next {
			p.problem("entry: %d to %d are missing", next, e.Idx-1)
			p.gap = true
		}
		next = e.Idx + 1
		if e.offset() <= before {
			p.problem("entry: %d has no journal offset above that of the one before", e.Idx)
		}
		before = e.offset()
		p.counts.Audits++
		var leaf tree.Hash
		copy(leaf[:], e.Leaf)
		p.leaves = append(p.leaves, leaf)
		records[e.Idx] = nil
		if len(e.Value) == 0 {
			p.problem("kv: record %x of entry %d is missing", e.QueryID, e.Idx)
			continue
		}
		p.ids.add(recordKey(e.QueryID))
		if p.values[i].Value == nil {
			p.problem("kv: record %x of entry %d does not match its leaf hash", e.QueryID, e.Idx)
		}
		r := &all[i]
		if r.err != nil {
			p.problem("kv: record %x of entry %d cannot be read: %v", e.QueryID, e.Idx, r.err)
			continue
		}
		if !bytes.Equal(r.QueryID[:], e.QueryID) {
			p.problem("kv: the key of record %x holds record %x", e.QueryID, r.QueryID)
			continue
		}
		records[e.Idx] = &r.Record
		if r.AgentID != nil && unread == nil {
			p.listing(e, r.agentKey(), listings)
		}
	}
	return records, unread
}

// listing checks the key that lists a record under its agent. listings is the result of listings.
func (p *pageCheck) listing(e *checkRow, key []byte, listings map[string]bool) {
	p.counts.AgentKeys++
	empty, found := listings[string(key)]
	if !found {
		p.problem("kv: record %x is not in the list of its agent", e.QueryID)
		return
	}
	p.listed.add(key)
	if !empty {
		p.problem("kv: key %x in an agent's list has a value", key)
	}
}

// listings returns which of the keys are in kv, and whether their value is empty, as it should be.
func (p *pageCheck) listings(ctx context.Context, keys [][]byte) (map[string]bool, error) {
	// Many at a time: looking keys up one by one takes half as long again.
	const query = `SELECT key, octet_length(value) > 0 FROM kv WHERE key IN (`
	found := make(map[string]bool, len(keys))
	args := make([]any, keysAtOnce)
	for from := 0; from < len(keys); from += keysAtOnce {
		for i := range args {
			args[i] = keys[min(from+i, len(keys)-1)] // the last one again, so that there is one statement to prepare
		}
		err := p.conn.each(ctx, query+strings.Repeat(`?, `, keysAtOnce-1)+`?)`, args, all(func(row []driver.Value) {
			found[string(bytesOf(row[0]))] = integer(row[1]) == 0
		}))
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}
