package kvshim

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/auditsql/auditsql/sqlstore"
)

// SQLite is a Store in table kv of an SQLite database. One write runs at a time; reads go on beside it.
//
// A write that has returned survives the end of the process. A power cut can take back the last writes, each as a
// whole and the latest first, until a checkpoint has synced them. A store made by Open checkpoints
// every few MiB and in Close. A store made by New leaves it to the owner of the database. Data that must not be lost
// at all has to go to a journal first (package wal).
type SQLite struct {
	db *sqlstore.DB

	opened  bool         // by Open: checkpoints and closing are this store's business
	written atomic.Int64 // bytes that -wal may have grown by since the last checkpoint
}

var _ Store = (*SQLite)(nil)

// Open opens the database at path, and makes it if it does not exist. One process at a time may have it
// open for writing. It is for stores of keys and values alone. A record that is written this way
// under an audit key has no place in the order of admission and no rows in the derived tables. So open the database of an
// audit store with package audit.
func Open(path string) (*SQLite, error) {
	db, err := sqlstore.Open(context.Background(), path, sqlstore.Options{CreatedBy: "kvshim"})
	if err != nil {
		return nil, err
	}
	return &SQLite{db: db, opened: true}, nil
}

// New returns the key/value side of a database that its caller has opened, checkpoints and closes.
func New(db *sqlstore.DB) *SQLite {
	return &SQLite{db: db}
}

// Close syncs and closes the database if Open has opened it. It does nothing if New was given the database. No other
// call may be running.
func (s *SQLite) Close() error {
	if !s.opened {
		return nil
	}
	_, err := s.db.Checkpoint(context.Background(), true)
	if errors.Is(err, sqlstore.ErrClosed) {
		err = nil
	}
	return errors.Join(err, s.db.Close())
}

// Get implements Store.
func (s *SQLite) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	value, err := s.db.Get(ctx, key)
	return value, named(ctx, err)
}

// Put implements Store.
func (s *SQLite) Put(ctx context.Context, key, value []byte) error {
	return s.write(ctx, []sqlstore.Mutation{{Key: key, Value: value}})
}

// Delete implements Store.
func (s *SQLite) Delete(ctx context.Context, key []byte) error {
	return s.write(ctx, []sqlstore.Mutation{{Key: key, Delete: true}})
}

// Apply implements Store.
func (s *SQLite) Apply(ctx context.Context, b *Batch) error {
	changes := make([]sqlstore.Mutation, len(b.ops))
	for i, o := range b.ops {
		changes[i] = sqlstore.Mutation{Key: o.key, Value: o.value, Delete: o.delete}
	}
	return s.write(ctx, changes)
}

func (s *SQLite) write(ctx context.Context, changes []sqlstore.Mutation) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.db.Write(ctx, changes); err != nil {
		return named(ctx, err)
	}
	if s.opened {
		s.checkpoint(ctx, changes)
	}
	return nil
}

// checkpointEvery is how much -wal may grow between two checkpoints, in bytes. It is SQLite's own default, for pages of
// 8 KiB.
const checkpointEvery = 8 << 20

// checkpoint keeps -wal from growing for ever, since sqlstore leaves every checkpoint to its caller. The
// file's size is no measure of what is to be copied: it stays when SQLite begins to use the file anew. So each
// change counts as its bytes and a page in the table and in the index.
//
// The write does not return the error of a checkpoint, for its change is stored. The next write tries again, and Close
// returns the error of its own checkpoint.
func (s *SQLite) checkpoint(ctx context.Context, changes []sqlstore.Mutation) {
	grown := int64(0)
	for _, c := range changes {
		grown += int64(len(c.Key)+len(c.Value)) + 2*8192
	}
	total := s.written.Add(grown)
	if total < checkpointEvery || !s.written.CompareAndSwap(total, 0) {
		return // not yet, or a write that has added in between does it
	}
	if _, err := s.db.Checkpoint(context.WithoutCancel(ctx), false); err != nil {
		s.written.Add(checkpointEvery)
	}
}

// Scan implements Store. It reads a page of a few hundred pairs at a time and holds no connection while
// the loop runs.
func (s *SQLite) Scan(ctx context.Context, prefix []byte, o ScanOptions) iter.Seq2[Pair, error] {
	keys, err := spanOf(prefix, o)
	return func(yield func(Pair, error) bool) {
		if err != nil {
			yield(Pair{}, err)
			return
		}
		if err := ctx.Err(); err != nil {
			yield(Pair{}, err)
			return
		}
		if keys.empty() {
			return
		}
		for kv, err := range s.db.Range(ctx, keys.low, keys.high, o.Reverse, o.Limit) {
			// Within a page Range does not check the context.
			if err = named(ctx, err); err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(Pair{}, err)
				return
			}
			if !yield(Pair(kv), nil) {
				return
			}
		}
	}
}

// named adds the context's error to an error that came after the context's end: a statement that was
// interrupted can end with SQLite's own error.
func named(ctx context.Context, err error) error {
	if end := ctx.Err(); err != nil && end != nil && !errors.Is(err, end) {
		return fmt.Errorf("%w: %w", end, err)
	}
	return err
}
