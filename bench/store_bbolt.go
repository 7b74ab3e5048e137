package main

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/auditsql/auditsql/audit"
)

// boltStore is bbolt with the two key families in one bucket. Write transactions run one after the other. Each put looks its
// id up and writes it in the same transaction, so no id must be claimed.
type boltStore struct {
	db    *bbolt.DB
	alone bool // one writer: there is nobody to share a transaction with
}

var bucket = []byte("kv")

func openBolt(s settings) (store, error) {
	db, err := bbolt.Open(filepath.Join(s.dir, "bolt.db"), 0o600, &bbolt.Options{
		Timeout: time.Second,
		// The free list is not written with every transaction. Opening the file finds it with a scan.
		NoFreelistSync: true,
		FreelistType:   bbolt.FreelistMapType,
		// This is address space, not memory. Growing the map would stop every reader and writer.
		InitialMmapSize: 16 << 30,
	})
	if err != nil {
		return nil, err
	}
	// A transaction begins when every writer has joined it, or after a millisecond, which is about the time of a sync. The
	// default of 10 ms would be most of the time of a put.
	db.MaxBatchSize, db.MaxBatchDelay = max(s.writers, 1), time.Millisecond
	// The default makes the file grow by 16 MiB at a time, each with a sync of its own.
	db.AllocSize = 64 << 20
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &boltStore{db, s.writers <= 1}, nil
}

func (b *boltStore) put(_ context.Context, q *audit.QueryAudit) error {
	raw, err := q.Canonical()
	if err != nil {
		return err
	}
	key := audit.KeyOf(q.QueryID)
	// An error would end the transaction for all puts in it. So a conflict is not returned as its error.
	var refused error
	write := func(tx *bbolt.Tx) error {
		refused = nil // it may be called again
		kv := tx.Bucket(bucket)
		if stored := kv.Get(key); stored != nil {
			refused = settle(stored, raw)
			return nil
		}
		return putBolt(kv, key, q, raw)
	}
	if b.alone {
		err = b.db.Update(write)
	} else {
		err = b.db.Batch(write)
	}
	return errors.Join(err, refused)
}

func putBolt(kv *bbolt.Bucket, key []byte, q *audit.QueryAudit, raw []byte) error {
	err := kv.Put(key, raw)
	if q.AgentID != nil {
		err = errors.Join(err, kv.Put(audit.AgentKeyOf(*q.AgentID, q.Timestamp, q.QueryID), nil))
	}
	return err
}

func (b *boltStore) load(_ context.Context, qs []*audit.QueryAudit) error {
	return b.db.Update(func(tx *bbolt.Tx) error {
		kv := tx.Bucket(bucket)
		fresh, raws, err := first(qs, func(id audit.QueryID) ([]byte, error) { return kv.Get(audit.KeyOf(id)), nil })
		if err != nil {
			return err
		}
		// Write in the order of keys, so that each page is searched and split once.
		order := make([]int, len(fresh))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(i, j int) int { return fresh[i].QueryID.Compare(fresh[j].QueryID) })
		for _, i := range order {
			if err := putBolt(kv, audit.KeyOf(fresh[i].QueryID), fresh[i], raws[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *boltStore) get(_ context.Context, id audit.QueryID) (raw []byte, err error) {
	err = b.db.View(func(tx *bbolt.Tx) error {
		stored := tx.Bucket(bucket).Get(audit.KeyOf(id))
		if stored == nil {
			return audit.ErrNotFound
		}
		raw = bytes.Clone(stored) // it belongs to the transaction
		return nil
	})
	return raw, err
}

func (b *boltStore) agent(_ context.Context, agent audit.AgentID, from uint64, limit int) (found [][]byte, err error) {
	low, _ := audit.AgentRange(agent, from, audit.Unbounded)
	prefix := audit.AgentPrefix(agent)
	err = b.db.View(func(tx *bbolt.Tx) error {
		kv := tx.Bucket(bucket)
		c := kv.Cursor()
		for key, _ := c.Seek(low); bytes.HasPrefix(key, prefix) && len(found) < limit; key, _ = c.Next() {
			_, _, id, _ := audit.ParseAgentKey(key)
			found = append(found, bytes.Clone(kv.Get(audit.KeyOf(id))))
		}
		return nil
	})
	return found, err
}

func (b *boltStore) close() error { return b.db.Close() }
