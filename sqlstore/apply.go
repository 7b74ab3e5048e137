package sqlstore

import (
	"bytes"
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"slices"

	sqlite3 "modernc.org/sqlite/lib"
)

// Apply stores a batch in one transaction: for each new record its entry, its keys in kv and its rows in
// the derived tables; the batch's cursor; and what could not be taken in table rejected. After an error
// nothing of the batch is stored.
//
// The first record under an id stays. The same bytes again are skipped, other bytes go to table rejected,
// also within one batch. So applying a stretch of the journal again changes nothing.
//
// It ends early only between records: ctx is looked at there.
func (db *DB) Apply(ctx context.Context, b *Batch) (Applied, error) {
	w, unlock, err := db.lockWriter(ctx)
	if err != nil {
		return Applied{}, db.fail("apply", err)
	}
	defer unlock()
	if err := w.prepareApply(); err != nil {
		return Applied{}, db.fail("apply", err)
	}
	var done Applied
	err = w.tx(ctx, func() error {
		return w.raw(func(driver.ConnPrepareContext) (err error) {
			done, err = w.apply.batch(ctx, b)
			return err
		})
	})
	if err != nil {
		w.apply.agents.forget()
		return Applied{}, db.fail(fmt.Sprintf("apply %d records before offset %d", len(b.Records), b.Cursor), err)
	}
	return done, nil
}

// applier holds the prepared statements of Apply, and memory that batches use again. It belongs to whoever
// holds the writer.
type applier struct {
	lastEntry, putEntry, getKV, putKV        *stmt
	hasRejected, putRejected                 *stmt
	setCursor, addContributions, addRejected *stmt
	derived                                  *deriver
	agents                                   *agentBook
	seen                                     map[[32]byte]int // id → record of this batch that is being stored
	fresh                                    []int            // records of this batch to be stored, in order
	keys                                     []KV
}

func newApplier(p *preparer) *applier {
	return &applier{
		lastEntry:        p.prepare(`SELECT max(idx) FROM entry`),
		putEntry:         p.prepare(`INSERT INTO entry (idx, query_id, journal_offset) VALUES (?, ?, ?)`),
		getKV:            p.prepare(`SELECT value FROM kv WHERE key = ?`),
		putKV:            p.prepare(`INSERT INTO kv (key, value) VALUES (?, ?)`),
		hasRejected:      p.prepare(`SELECT 1 FROM rejected WHERE journal_offset = ?`),
		putRejected:      p.prepare(`INSERT INTO rejected (journal_offset, reason, payload) VALUES (?, ?, ?)`),
		setCursor:        p.prepare(`UPDATE store SET value = ? WHERE name = 'cursor'`),
		addContributions: p.prepare(`UPDATE store SET value = value + ? WHERE name = 'contributions'`),
		addRejected:      p.prepare(`UPDATE store SET value = value + ? WHERE name = 'rejected'`),
		derived:          newDeriver(p),
		agents:           newAgentBook(p),
		seen:             map[[32]byte]int{},
	}
}

// lookEvery is how many records are stored between two looks at the context.
const lookEvery = 256

func (a *applier) batch(ctx context.Context, b *Batch) (done Applied, err error) {
	if b.Cursor > math.MaxInt64 {
		return done, fmt.Errorf("cursor %d is beyond what SQLite holds", b.Cursor)
	}
	first, err := a.nextEntry()
	if err != nil {
		return done, err
	}
	if done, err = a.admit(ctx, b, first); err != nil {
		return done, err
	}
	if err := a.putKeys(ctx, b); err != nil {
		return done, err
	}
	contributions := 0
	for i, n := range a.fresh {
		if i%lookEvery == 0 && ctx.Err() != nil {
			return done, ctx.Err()
		}
		r := &b.Records[n]
		contributions += len(r.Contributions)
		agent, err := a.agents.count(r.AgentID, r.Timestamp)
		if err != nil {
			return done, err
		}
		if err := a.derived.put(first+int64(i), agent, r); err != nil {
			return done, err
		}
	}
	if err := a.agents.write(); err != nil {
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
	return done, a.setCursor.exec(int64(b.Cursor))
}

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

// admit writes an entry for each record whose id is new, from index first on, and lists these records in
// a.fresh. It does not look in kv first: the guard of table entry does, and refuses an id that is there.
// That is one search less for the rule, and an error for the exception.
func (a *applier) admit(ctx context.Context, b *Batch, first int64) (done Applied, err error) {
	a.fresh = a.fresh[:0]
	clear(a.seen)
	for n := range b.Records {
		if n%lookEvery == 0 && ctx.Err() != nil {
			return done, ctx.Err()
		}
		r := &b.Records[n]
		if r.Offset > math.MaxInt64 {
			return done, fmt.Errorf("offset %d is beyond what SQLite holds", r.Offset)
		}
		var have []byte
		if m, ok := a.seen[r.QueryID]; ok {
			have = b.Records[m].Payload
		} else {
			err := a.putEntry.exec(first+int64(len(a.fresh)), r.QueryID[:], int64(r.Offset))
			if err == nil {
				a.seen[r.QueryID] = n
				a.fresh = append(a.fresh, n)
				continue
			}
			if !hasCode(err, sqlite3.SQLITE_CONSTRAINT_TRIGGER) {
				return done, fmt.Errorf("entry of %x: %w", r.QueryID, err)
			}
			row, gerr := a.getKV.query(r.Key)
			if gerr != nil {
				return done, gerr
			}
			if row == nil {
				return done, fmt.Errorf("entry of %x: %w", r.QueryID, err)
			}
			have, _ = row[0].([]byte)
		}
		if bytes.Equal(have, r.Payload) {
			done.Duplicate++
			continue
		}
		err := a.reject(&Rejected{r.Offset, fmt.Sprintf("another record has query_id %x", r.QueryID), r.Payload}, &done)
		if err != nil {
			return done, err
		}
	}
	done.Inserted = len(a.fresh)
	return done, nil
}

// putKeys writes the keys of the admitted records, in byte order: ids fall everywhere in kv's index, and so
// each of its pages is visited once for the batch.
func (a *applier) putKeys(ctx context.Context, b *Batch) error {
	a.keys = a.keys[:0]
	for _, n := range a.fresh {
		r := &b.Records[n]
		a.keys = append(a.keys, KV{r.Key, r.Payload})
		if r.AgentKey != nil {
			a.keys = append(a.keys, KV{r.AgentKey, nil})
		}
	}
	defer func() { clear(a.keys) }() // the payloads are the caller's
	slices.SortFunc(a.keys, func(x, y KV) int { return bytes.Compare(x.Key, y.Key) })
	for i := range a.keys {
		if i%lookEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		kv := &a.keys[i]
		err := a.putKV.exec(kv.Key, blob(kv.Value))
		if err != nil && hasCode(err, sqlite3.SQLITE_CONSTRAINT_TRIGGER) && bytes.HasPrefix(kv.Key, agentPrefix) {
			// Somebody wrote this key by hand. It is what has to be there, and cannot be written again.
			err = nil
		}
		if err != nil {
			return fmt.Errorf("key %x: %w", kv.Key, err)
		}
	}
	return nil
}

// reject notes a record in table rejected, unless it stands there already.
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
