package main

import (
	"context"
	"errors"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"github.com/auditsql/auditsql/audit"
)

// badgerStore is Badger with the two key families.
//
// With SyncWrites Badger syncs once for each transaction, also for transactions that wait at the same time. So puts are
// grouped here: a put that arrives while a transaction is being committed joins the next one.
type badgerStore struct {
	db      *badger.DB
	ids     *claims
	loading sync.RWMutex // held by load, and shared by puts

	queue chan *badgerPut
	done  chan struct{} // closed when commit has ended
}

type badgerPut struct {
	q    *audit.QueryAudit
	raw  []byte
	done chan error
}

// badgerGroup is the largest number of puts in a transaction, far below Badger's limit on its size.
const badgerGroup = 1024

func openBadger(s settings) (store, error) {
	o := badger.DefaultOptions(s.dir).
		WithSyncWrites(true).
		WithLogger(nil).
		WithMetricsEnabled(false).
		// An id is claimed before it is looked up, so two transactions never conflict.
		WithDetectConflicts(false).
		// Filters of 1 % are Badger's default (10 bits for each key). Values stay in the tree, which is the default: in
		// the value log each transaction would need a second sync.
		WithBlockCacheSize(128 << 20).
		WithNumVersionsToKeep(1)
	db, err := badger.Open(o)
	if err != nil {
		return nil, err
	}
	b := &badgerStore{db: db, ids: newClaims(), queue: make(chan *badgerPut, badgerGroup), done: make(chan struct{})}
	go b.commit()
	return b, nil
}

// commit writes what puts have queued, until the queue is closed.
func (b *badgerStore) commit() {
	defer close(b.done)
	for p := range b.queue {
		group := []*badgerPut{p}
	gather:
		for len(group) < badgerGroup {
			select {
			case p, ok := <-b.queue:
				if !ok {
					break gather
				}
				group = append(group, p)
			default:
				break gather
			}
		}
		err := b.write(group)
		for _, p := range group {
			p.done <- err
		}
	}
}

func (b *badgerStore) write(group []*badgerPut) error {
	wb := b.db.NewWriteBatch()
	defer wb.Cancel()
	for _, p := range group {
		if err := wb.Set(audit.KeyOf(p.q.QueryID), p.raw); err != nil {
			return err
		}
		if p.q.AgentID == nil {
			continue
		}
		if err := wb.Set(audit.AgentKeyOf(*p.q.AgentID, p.q.Timestamp, p.q.QueryID), nil); err != nil {
			return err
		}
	}
	return wb.Flush()
}

func (b *badgerStore) put(_ context.Context, q *audit.QueryAudit) error {
	raw, err := q.Canonical()
	if err != nil {
		return err
	}
	b.loading.RLock()
	defer b.loading.RUnlock()
	b.ids.take(q.QueryID)
	defer b.ids.leave(q.QueryID)
	stored, err := b.has(q.QueryID)
	if err != nil {
		return err
	}
	if stored != nil {
		return settle(stored, raw)
	}
	p := &badgerPut{q, raw, make(chan error, 1)}
	b.queue <- p
	return <-p.done
}

func (b *badgerStore) load(_ context.Context, qs []*audit.QueryAudit) error {
	b.loading.Lock()
	defer b.loading.Unlock()
	fresh, raws, err := first(qs, b.has)
	if err != nil {
		return err
	}
	group := make([]*badgerPut, len(fresh))
	for i, q := range fresh {
		group[i] = &badgerPut{q: q, raw: raws[i]}
	}
	return b.write(group)
}

func (b *badgerStore) has(id audit.QueryID) ([]byte, error) {
	raw, err := b.get(context.Background(), id)
	if errors.Is(err, audit.ErrNotFound) {
		return nil, nil
	}
	return raw, err
}

func (b *badgerStore) get(_ context.Context, id audit.QueryID) (raw []byte, err error) {
	err = b.db.View(func(txn *badger.Txn) error {
		raw, err = badgerValue(txn, audit.KeyOf(id))
		return err
	})
	return raw, err
}

func badgerValue(txn *badger.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, audit.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return item.ValueCopy(nil)
}

func (b *badgerStore) agent(_ context.Context, agent audit.AgentID, from uint64, limit int) (found [][]byte, err error) {
	low, _ := audit.AgentRange(agent, from, audit.Unbounded)
	o := badger.DefaultIteratorOptions
	o.Prefix, o.PrefetchValues = audit.AgentPrefix(agent), false // the values are empty
	err = b.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Seek(low); it.Valid() && len(found) < limit; it.Next() {
			_, _, id, _ := audit.ParseAgentKey(it.Item().Key())
			raw, err := badgerValue(txn, audit.KeyOf(id))
			if err != nil {
				return err
			}
			found = append(found, raw)
		}
		return nil
	})
	return found, err
}

func (b *badgerStore) close() error {
	close(b.queue)
	<-b.done
	return b.db.Close()
}
