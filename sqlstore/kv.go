package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// KV is a key with its value. Both are the receiver's.
type KV struct {
	Key, Value []byte
}

// Get returns the value of key, never nil, or ErrNotFound. ctx ends the wait for one of the readers.
func (db *DB) Get(ctx context.Context, key []byte) ([]byte, error) {
	value, err := get(ctx, db.readers, key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, db.fail("get", err)
	}
	return value, err
}

func get(ctx context.Context, r readers, key []byte) (value []byte, err error) {
	err = r.use(ctx, func(c *readerConn) error {
		// Without ctx: the driver would start a goroutine to watch it.
		return first(context.Background(), c, `SELECT value FROM kv WHERE key = ?`, []any{blob(key)}, func(row []driver.Value) {
			value = blob(bytesOf(row[0]))
		})
	})
	if err == nil && value == nil {
		err = ErrNotFound
	}
	return value, err
}

// Record returns the record of an id, or ErrNotFound. If its value does not match its leaf hash, the error is a
// *RecordError.
func (db *DB) Record(ctx context.Context, id [32]byte) (value []byte, err error) {
	query := `SELECT value, ` + db.leafColumn("") + ` FROM kv WHERE key = ?`
	found, intact := false, false
	err = db.readers.use(ctx, func(c *readerConn) error {
		return first(context.Background(), c, query, []any{recordKey(id[:])}, func(row []driver.Value) {
			found, value = true, bytesOf(row[0])
			intact = db.unhashed || isLeafOf(bytesOf(row[1]), value)
		})
	})
	switch {
	case err != nil:
		return nil, db.fail("get", err)
	case !found:
		return nil, ErrNotFound
	case !intact:
		return nil, db.fail("get", &RecordError{QueryID: id})
	}
	return value, nil
}

func (kv *KV) scan(row []driver.Value) (size int, err error) {
	kv.Key, kv.Value = blob(bytesOf(row[0])), blob(bytesOf(row[1]))
	return len(kv.Key) + len(kv.Value), nil
}

// rangePage is how many keys Range reads at a time. A page is a read transaction; short ones let
// checkpoints finish.
const rangePage = 256

// Range yields the keys from low (inclusive) to high (exclusive) with their values, in byte order or the
// reverse. nil leaves an end open; limit 0 means no limit. It reads page by page. Of keys that are written or
// deleted meanwhile it may show those that it has not reached, and shows none of those that it has passed.
func (db *DB) Range(ctx context.Context, low, high []byte, reverse bool, limit int) iter.Seq2[KV, error] {
	// Every bound is a term of its own, so that each of these walks one stretch of the index and stops.
	const (
		from      = `SELECT key, value FROM kv WHERE key >= ? ORDER BY key LIMIT ?`
		fromTo    = `SELECT key, value FROM kv WHERE key >= ? AND key < ? ORDER BY key LIMIT ?`
		after     = `SELECT key, value FROM kv WHERE key > ? ORDER BY key LIMIT ?`
		afterTo   = `SELECT key, value FROM kv WHERE key > ? AND key < ? ORDER BY key LIMIT ?`
		backEnd   = `SELECT key, value FROM kv WHERE key >= ? ORDER BY key DESC LIMIT ?`
		backBelow = `SELECT key, value FROM kv WHERE key >= ? AND key < ? ORDER BY key DESC LIMIT ?`
	)
	low = blob(bytes.Clone(low))
	high = bytes.Clone(high)
	return func(yield func(KV, error) bool) {
		var last []byte // the key yielded last
		for left := limit; ; {
			n := rangePage
			if limit > 0 {
				n = min(n, left)
			}
			var page []KV
			var cut bool
			var err error
			read := func(query string, args ...any) {
				page, cut, err = readPage(ctx, db.readers, db.sizes.pageBytes, query, args, (*KV).scan)
			}
			switch {
			case !reverse && last == nil && high == nil:
				read(from, low, n)
			case !reverse && last == nil:
				read(fromTo, low, high, n)
			case !reverse && high == nil:
				read(after, last, n)
			case !reverse:
				read(afterTo, last, high, n)
			case last != nil:
				read(backBelow, low, last, n)
			case high != nil:
				read(backBelow, low, high, n)
			default:
				read(backEnd, low, n)
			}
			if err != nil {
				yield(KV{}, db.fail("range", err))
				return
			}
			if len(page) > 0 {
				last = bytes.Clone(page[len(page)-1].Key) // the receiver may change the one it gets
			}
			for _, kv := range page {
				if !yield(kv, nil) {
					return
				}
			}
			left -= len(page)
			if len(page) < n && !cut || limit > 0 && left == 0 {
				return
			}
		}
	}
}

// Mutation is one step of a Write: a value for a key, or the end of it.
type Mutation struct {
	Key, Value []byte
	Delete     bool
}

// Write makes all the changes, in order, in one transaction. Deleting a key that does not exist is no
// error. An audit key keeps its first value for good: writing the same bytes again changes nothing, other
// bytes or a deletion fail with ErrWriteOnce, and with it the whole Write.
func (db *DB) Write(ctx context.Context, changes []Mutation) error {
	if len(changes) == 0 {
		return ctx.Err()
	}
	w, unlock, err := db.lockWriter(ctx)
	if err != nil {
		return db.fail("write", err)
	}
	defer unlock()
	err = w.tx(ctx, func() (err error) {
		steady := context.WithoutCancel(ctx) // see Apply
		if slices.ContainsFunc(changes, func(m Mutation) bool { return IsAuditKey(m.Key) }) {
			// A program may keep records without a journal. Then change sees to it that they are written once.
			if _, err := w.conn.ExecContext(steady, markApplying); err != nil {
				return err
			}
			defer func() {
				if err == nil {
					_, err = w.conn.ExecContext(steady, unmarkApplying)
				}
			}()
		}
		for i := range changes {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := w.change(steady, &changes[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return db.fail("write", err)
	}
	return nil
}

func (w *writer) change(ctx context.Context, m *Mutation) error {
	key, value := blob(m.Key), blob(m.Value)
	if m.Delete {
		_, err := w.delKV.ExecContext(ctx, key)
		return err
	}
	if IsAuditKey(key) {
		// The guard refuses to write a key again, the same value too.
		var have []byte
		err := w.getKV.QueryRowContext(ctx, key).Scan(&have)
		switch {
		case err == nil && bytes.Equal(have, value):
			return nil
		case err == nil:
			return fmt.Errorf("%w: key %x has another value", ErrWriteOnce, key)
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
	}
	_, err := w.putKV.ExecContext(ctx, key, value)
	return err
}
