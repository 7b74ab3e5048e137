package kvshim

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/auditsql/auditsql/sqlstore"
)

// Memory is a Store in memory, for the tests of programs that use a Store. Reads take no lock. A scan
// sees the store as it was when its loop began. Store allows that and does not promise it.
type Memory struct {
	seed maphash.Seed

	writing sync.Mutex // held by a write from reading root to replacing it
	root    atomic.Pointer[node]
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{seed: maphash.MakeSeed()}
}

// Get implements Store.
func (m *Memory) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n := m.root.Load().get(key)
	if n == nil {
		return nil, ErrNotFound
	}
	return own(n.value), nil
}

// Put implements Store.
func (m *Memory) Put(ctx context.Context, key, value []byte) error {
	return m.write(ctx, []op{{key: own(key), value: own(value)}})
}

// Delete implements Store.
func (m *Memory) Delete(ctx context.Context, key []byte) error {
	return m.write(ctx, []op{{key: key, delete: true}})
}

// Apply implements Store. The tree keeps the batch's own slices, which nobody changes.
func (m *Memory) Apply(ctx context.Context, b *Batch) error {
	return m.write(ctx, b.ops)
}

// write does all of ops or none. It keeps the slices of what is put.
func (m *Memory) write(ctx context.Context, ops []op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.writing.Lock()
	defer m.writing.Unlock()

	root := m.root.Load()
	for _, o := range ops {
		held := root.get(o.key)
		if held != nil && sqlstore.IsAuditKey(o.key) {
			if o.delete || !bytes.Equal(held.value, o.value) {
				return fmt.Errorf("%w: key %x is there already", ErrWriteOnce, o.key)
			}
			continue
		}
		switch {
		case !o.delete:
			root = root.put(&node{key: o.key, value: o.value, priority: maphash.Bytes(m.seed, o.key)})
		case held != nil:
			root = root.remove(o.key)
		}
	}
	m.root.Store(root)
	return nil
}

// Scan implements Store.
func (m *Memory) Scan(ctx context.Context, prefix []byte, o ScanOptions) iter.Seq2[Pair, error] {
	s, err := spanOf(prefix, o)
	return func(yield func(Pair, error) bool) {
		if err != nil {
			yield(Pair{}, err)
			return
		}
		if err := ctx.Err(); err != nil {
			yield(Pair{}, err)
			return
		}
		yielded := 0
		m.root.Load().walk(s, o.Reverse, func(n *node) bool {
			if err := ctx.Err(); err != nil {
				yield(Pair{}, err)
				return false
			}
			if !yield(Pair{Key: own(n.key), Value: own(n.value)}, nil) {
				return false
			}
			yielded++
			return yielded != o.Limit
		})
	}
}
