package sqlstore

import (
	"bytes"
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"slices"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/auditsql/auditsql/tree"
)

// Apply stores a batch in one transaction: for each new record its entry, its keys in kv and its rows in
// the derived tables, and its leaf in the tree; the batch's cursor; and in table rejected what is no record. After an error
// nothing of the batch is stored.
//
// The first record under an id stays. The same bytes again are skipped, and other bytes go to table rejected,
// within one batch too. So to apply a stretch of the journal again changes nothing.
//
// The end of ctx is noticed between two records.
func (db *DB) Apply(ctx context.Context, b *Batch) (Applied, error) {
	w, unlock, err := db.lockWriter(ctx)
	if err != nil {
		return Applied{}, db.fail("apply", err)
	}
	defer unlock()
	if err := w.prepareApply(); err != nil {
		return Applied{}, db.fail("apply", err)
	}
	w.apply.derived.hashes.most = db.sizes.hashes
	if err := db.held.checkWAL(); err != nil {
		return Applied{}, db.fail("apply", db.poison(err))
	}
	var done Applied
	err = w.tx(ctx, func() error {
		if err := w.apply.tree.load(ctx, w.conn); err != nil {
			return err
		}
		return w.raw(func(driver.ConnPrepareContext) (err error) {
			done, err = w.apply.batch(ctx, b)
			return err
		})
	})
	if err != nil {
		w.apply.forget()
		return Applied{}, db.fail(fmt.Sprintf("apply %d records before offset %d", len(b.Records), b.Cursor), clash(err))
	}
	if err := db.held.committed(); err != nil {
		return Applied{}, db.fail("apply", db.poison(err))
	}
	return done, nil
}

// applier holds the prepared statements of Apply, and memory that each batch uses again. Whoever holds the writer may use
// it.
type applier struct {
	begin, end                               *stmt
	lastEntry, getKV, changes                *stmt
	entries, kv                              *bulk
	hasRejected, putRejected                 *stmt
	setCursor, addContributions, addRejected *stmt
	tree                                     *treeWriter
	derived                                  *deriver
	agents                                   *agentBook
	rollup                                   *rollup
	seen                                     map[[32]byte]int // id → record of this batch that is being stored
	order                                    []int            // records of this batch whose ids are its first, by key
	known                                    []bool           // of each record of this batch: its id is in kv, or an earlier record of the batch has it
	fresh                                    []int            // records of this batch to be stored, in order
	rows                                     []int64          // of each record of this batch: where kv has it, if it is to be stored
	payloads                                 []byte           // of the records of one statement
	listings                                 []kvRow
	records                                  []derived   // the records to be stored
	leaves                                   []tree.Hash // of the records to be stored, in order
}

// kvRow is a row for kv. leaf is nil for a key that is no record's.
type kvRow struct{ key, value, leaf []byte }

func newApplier(p *preparer) *applier {
	return &applier{
		begin:            p.prepare(markApplying),
		end:              p.prepare(unmarkApplying),
		lastEntry:        p.prepare(`SELECT max(idx) FROM entry`),
		getKV:            p.prepare(`SELECT value, leaf FROM kv WHERE key = ?`),
		changes:          p.prepare(`SELECT changes(), last_insert_rowid()`),
		entries:          p.bulk(`entry`, `idx, query_id, journal_offset`, 3),
		kv:               p.bulk(`kv`, `key, value, leaf`, 3),
		hasRejected:      p.prepare(`SELECT 1 FROM rejected WHERE journal_offset = ?`),
		putRejected:      p.prepare(`INSERT OR FAIL INTO rejected (journal_offset, reason, payload) VALUES (?, ?, ?)`),
		setCursor:        p.prepare(`UPDATE store SET value = ? WHERE name = 'cursor'`),
		addContributions: p.prepare(`UPDATE store SET value = value + ? WHERE name = 'contributions'`),
		addRejected:      p.prepare(`UPDATE store SET value = value + ? WHERE name = 'rejected'`),
		tree:             newTreeWriter(p),
		derived:          newDeriver(p),
		agents:           newAgentBook(p),
		rollup:           newRollup(p),
		seen:             map[[32]byte]int{},
	}
}

// forget drops what is remembered of a transaction that failed.
func (a *applier) forget() {
	a.agents.forget()
	a.rollup.forget()
	a.derived.forget()
	a.entries.forget()
	a.tree.forget()
}

// lookEvery is how many records are stored before the context is checked and Batch.Yield is called again: half a
// millisecond or so.
const lookEvery = 8

// pause is called before record i of a loop over records.
func (b *Batch) pause(ctx context.Context, i int) error {
	if i%lookEvery != 0 {
		return nil
	}
	if b.Yield != nil {
		b.Yield()
	}
	return ctx.Err()
}

func (a *applier) batch(ctx context.Context, b *Batch) (done Applied, err error) {
	if b.Cursor > math.MaxInt64 {
		return done, fmt.Errorf("cursor %d is beyond what SQLite holds", b.Cursor)
	}
	if err := a.begin.exec(); err != nil {
		return done, err
	}
	first, err := a.nextEntry()
	if err != nil {
		return done, err
	}
	if done, err = a.admit(ctx, b); err != nil {
		return done, err
	}
	if err := a.putEntries(ctx, b, first); err != nil {
		return done, err
	}
	if err := a.putListings(ctx, b); err != nil {
		return done, err
	}
	if err := a.putTree(b, first); err != nil {
		return done, err
	}
	if err := a.derived.begin(); err != nil {
		return done, err
	}
	if err := a.rollup.begin(); err != nil {
		return done, err
	}
	contributions := 0
	a.records = a.records[:0]
	defer func() { clear(a.records) }()
	for i, n := range a.fresh {
		r := &b.Records[n]
		contributions += len(r.Contributions)
		agent, err := a.agents.count(r.AgentID, r.Timestamp)
		if err != nil {
			return done, err
		}
		a.records = append(a.records, derived{first + int64(i), a.rows[n], agent, r})
		a.rollup.count(agent, r.Timestamp, r.unapproved())
	}
	if err := a.derived.put(a.records, func(i int) error { return b.pause(ctx, i) }); err != nil {
		return done, err
	}
	if err := a.agents.write(); err != nil {
		return done, err
	}
	if err := a.rollup.write(); err != nil {
		return done, err
	}
	for i := range b.Rejected {
		if err := a.reject(&b.Rejected[i], &done); err != nil {
			return done, err
		}
	}
	if contributions > 0 {
		if err := a.addContributions.exec(int64(contributions)); err != nil {
			return done, err
		}
	}
	if done.Rejected > 0 {
		if err := a.addRejected.exec(int64(done.Rejected)); err != nil {
			return done, err
		}
	}
	if err := a.setCursor.exec(int64(b.Cursor)); err != nil {
		return done, err
	}
	return done, a.end.exec()
}

// Between these two statements, in one transaction, the guards let in what comes from the journal.
const (
	markApplying   = `INSERT INTO store (name, value) VALUES ('applying', 'now') ON CONFLICT DO NOTHING`
	unmarkApplying = `DELETE FROM store WHERE name = 'applying'`
)

// nextEntry returns the index of the entry to come.
func (a *applier) nextEntry() (int64, error) {
	row, err := a.lastEntry.query()
	if err != nil || row == nil {
		return 0, err
	}
	if last, ok := row[0].(int64); ok {
		return last + 1, nil
	}
	return 0, nil
}

// admit writes each record whose id is new under its key, and lists these records in a.fresh. It does not search for the
// key first: kv refuses a key that is there. New ids are the rule, and for them that saves a search.
//
// It writes in the order of keys. Ids are spread evenly over kv's index, and so each page of the index is visited once
// for the batch.
func (a *applier) admit(ctx context.Context, b *Batch) (done Applied, err error) {
	a.order, a.fresh = a.order[:0], a.fresh[:0]
	a.known = append(a.known[:0], make([]bool, len(b.Records))...)
	a.rows = append(a.rows[:0], make([]int64, len(b.Records))...)
	clear(a.seen)
	for n := range b.Records {
		r := &b.Records[n]
		if r.Offset > math.MaxInt64 {
			return done, fmt.Errorf("offset %d is beyond what SQLite holds", r.Offset)
		}
		if _, a.known[n] = a.seen[r.QueryID]; a.known[n] {
			continue // the first in the journal stays
		}
		a.seen[r.QueryID] = n
		a.order = append(a.order, n)
	}
	slices.SortFunc(a.order, func(m, n int) int { return bytes.Compare(b.Records[m].QueryID[:], b.Records[n].QueryID[:]) })
	err = a.putKV(ctx, b, len(a.order), func(i int) (kvRow, error) {
		r := &b.Records[a.order[i]]
		payload, err := a.payload(b, a.order[i])
		return kvRow{recordKey(r.QueryID[:]), blob(payload), r.Leaf[:]}, err
	}, func(i int, row int64) { a.rows[a.order[i]] = row }, func(i int) { a.known[a.order[i]] = true })
	if err != nil {
		return done, err
	}
	for n := range b.Records {
		if !a.known[n] {
			a.fresh = append(a.fresh, n)
			continue
		}
		other, err := a.again(b, n, &done)
		if err != nil {
			return done, err
		}
		if b.Again != nil {
			b.Again(n, other)
		}
	}
	if cap(a.payloads) > mostPayloads {
		a.payloads = nil
	}
	done.Inserted = len(a.fresh)
	return done, nil
}

// putKV inserts n rows into kv. For each it calls inserted with the row id, or exists if the key is there already.
func (a *applier) putKV(ctx context.Context, b *Batch, n int, row func(i int) (kvRow, error), inserted func(i int, id int64), exists func(i int)) error {
	// SQLite counts row ids up from the largest. (Once the largest is 1<<63 - 1, which a program can have used for a key of its
	// own, SQLite picks any that are free. Then these numbers are wrong. That does no harm, see the column kv_row.)
	number := func(from, to int, last int64) {
		for i := from; i < to; i++ {
			inserted(i, last-int64(to-1-i))
		}
	}
	var rows []kvRow // those from row from on that were made: where a key is there, most of them are needed again
	for from := 0; from < n; {
		if err := b.pause(ctx, 0); err != nil {
			return err
		}
		if len(rows) == 0 {
			a.payloads = a.payloads[:0]
		}
		to := min(from+bulkRows, n)
		for i := from + len(rows); i < to; i++ {
			r, err := row(i)
			if err != nil {
				return err
			}
			rows = append(rows, r)
		}
		a.kv.forget()
		for _, r := range rows {
			a.kv.args = append(a.kv.args, r.key, r.value, optionalBlob(r.leaf))
		}
		insert := a.kv.many
		if to-from < bulkRows {
			// The last few, or those after one that is there.
			insert, to = a.kv.one, from+1
		}
		last, err := insert.insert(a.kv.args[:3*(to-from)]...)
		if err == nil {
			number(from, to, last)
			rows = append(rows[:0], rows[to-from:]...)
			from = to
			continue
		}
		if !hasCode(err, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY) {
			return fmt.Errorf("keys from %x on: %w", rows[0].key, err)
		}
		// OR FAIL leaves the rows before the one that is there, and counts them.
		counts, err := a.changes.query()
		if err != nil {
			return err
		}
		done := integer(counts[0])
		if done < 0 || done >= int64(to-from) {
			return fmt.Errorf("%d of %d keys were inserted and one refused", done, to-from)
		}
		number(from, from+int(done), integer(counts[1]))
		from += int(done)
		exists(from)
		from++
		rows = append(rows[:0], rows[done+1:]...)
	}
	a.kv.forget()
	return nil
}

// again counts or rejects a record whose id kv has already. other says that the record there has other bytes.
func (a *applier) again(b *Batch, n int, done *Applied) (other bool, err error) {
	r := &b.Records[n]
	key := recordKey(r.QueryID[:])
	row, err := a.getKV.query(key)
	if err != nil {
		return false, err
	}
	if row == nil {
		return false, fmt.Errorf("key %x is there and cannot be read", key)
	}
	// A record that has the leaf is the one that was admitted, also when the value in kv was changed since: verify reports
	// that. It is no other record.
	a.payloads = a.payloads[:0]
	payload, err := a.payload(b, n)
	if err != nil {
		return false, err
	}
	if bytes.Equal(bytesOf(row[1]), r.Leaf[:]) || bytes.Equal(bytesOf(row[0]), payload) {
		done.Duplicate++
		return false, nil
	}
	return true, a.reject(&Rejected{r.Offset, fmt.Sprintf("another record has query_id %x", r.QueryID), payload}, done)
}

// mostPayloads is how many bytes of payloads are kept together in memory that is used again. A statement has some 70 KB of them,
// if they are not unusually long.
const mostPayloads = 1 << 20

// payload returns the payload of a record. It is valid until a.payloads is emptied.
func (a *applier) payload(b *Batch, n int) (payload []byte, err error) {
	if b.Payload == nil {
		return b.Records[n].Payload, nil
	}
	if len(a.payloads) > mostPayloads {
		a.payloads = nil // the payloads that were returned keep the old memory
	}
	from := len(a.payloads)
	a.payloads, err = b.Payload(n, a.payloads)
	return a.payloads[from:], err
}

// putEntries writes the entries of the admitted records, from index first on.
func (a *applier) putEntries(ctx context.Context, b *Batch, first int64) error {
	for i, n := range a.fresh {
		if err := b.pause(ctx, i); err != nil {
			return err
		}
		r := &b.Records[n]
		if err := a.entries.put(first+int64(i), r.QueryID[:], int64(r.Offset)); err != nil {
			return fmt.Errorf("entries up to %d: %w", first+int64(i), err)
		}
	}
	if err := a.entries.flush(); err != nil {
		return fmt.Errorf("entries: %w", err)
	}
	return nil
}

// putListings writes the keys that list the admitted records under their agents, in byte order like admit. A key
// that is there already was written by hand, and is the right one.
func (a *applier) putListings(ctx context.Context, b *Batch) error {
	a.listings = a.listings[:0]
	for _, n := range a.fresh {
		if key := b.Records[n].agentKey(); key != nil {
			a.listings = append(a.listings, kvRow{key, []byte{}, nil})
		}
	}
	defer func() { clear(a.listings) }()
	slices.SortFunc(a.listings, func(m, n kvRow) int { return bytes.Compare(m.key, n.key) })
	return a.putKV(ctx, b, len(a.listings), func(i int) (kvRow, error) { return a.listings[i], nil }, func(int, int64) {}, func(int) {})
}

// putTree adds the admitted records to the tree, which has first leaves.
func (a *applier) putTree(b *Batch, first int64) error {
	a.leaves = a.leaves[:0]
	for _, n := range a.fresh {
		a.leaves = append(a.leaves, b.Records[n].Leaf)
	}
	return a.tree.append(first, a.leaves)
}

// reject writes a record to table rejected, unless it is there already.
func (a *applier) reject(r *Rejected, done *Applied) error {
	if r.Offset > math.MaxInt64 {
		return fmt.Errorf("offset %d is beyond what SQLite holds", r.Offset)
	}
	row, err := a.hasRejected.query(int64(r.Offset))
	if err != nil || row != nil {
		return err
	}
	done.Rejected++
	return a.putRejected.exec(int64(r.Offset), r.Reason, blob(r.Payload))
}
