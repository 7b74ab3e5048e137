package kvshim

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/auditsql/auditsql/sqlstore"
)

// SQLite is a Store in table kv of an SQLite database. Writes take turns; reads go on beside them.
//
// A write that has returned survives the death of the process. A power cut may take the last ones back,
// in order and never half of one, until a checkpoint has synced them: a store made by Open checkpoints
// every few MiB and in Close, one made by New leaves it to the database's owner. What must not be lost
// at all belongs into the journal first (package wal).
type SQLite struct {
	db *sqlstore.DB

	opened  bool         // by Open: checkpoints and closing are this store's business
	written atomic.Int64 // bytes that -wal may have grown by since the last checkpoint
}

var _ Store = (*SQLite)(nil)

// Open opens the database at path, and makes it if it does not exist. One process at a time may have it
// open for writing. It is for stores that are nothing but keys and values: what is written this way
// under audit keys has no place in the order of admission and no forensic rows, so an audit store's own
// database is to be opened by package audit.
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

// Close syncs and closes a database that Open opened; one that New was given it leaves alone. No other
// call may be under way.
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

// checkpointEvery is how much -wal may grow between two checkpoints, in bytes; what SQLite itself would
// let it grow to, by default, with pages of 8 KiB.
const checkpointEvery = 8 << 20

// checkpoint keeps -wal from growing for ever, since sqlstore leaves every checkpoint to its caller. The
// file's size would not do as a measure: it stays when SQLite begins to use the file anew. So each
// change counts as its bytes and a page in the table and in the index.
//
// An error is not the writer's, whose change stands: the next write tries again, and Close tells.
func (s *SQLite) checkpoint(ctx context.Context, changes []sqlstore.Mutation) {
	grown := int64(0)
	for _, c := range changes {
		grown += int64(len(c.Key)+len(c.Value)) + 2*8192
	}
	total := s.written.Add(grown)
	if total < checkpointEvery || !s.written.CompareAndSwap(total, 0) {
		return // not yet, or whoever added in between does it
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
			// Within a page Range does not look at the context.
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

// named makes sure that an error which came of the context's end says so: a statement that was
// interrupted may end with SQLite's own word for it.
func named(ctx context.Context, err error) error {
	if end := ctx.Err(); err != nil && end != nil && !errors.Is(err, end) {
		return fmt.Errorf("%w: %w", end, err)
	}
	return err
}
