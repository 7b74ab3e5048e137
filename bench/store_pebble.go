package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/auditsql/auditsql/audit"
)

// pebbleStore is Pebble with the two key families and, if full, with a key for each question that auditsql answers from
// an index.
//
// Pebble's commits share syncs by themselves. So each put commits its own batch, and no queue is needed.
type pebbleStore struct {
	db    *pebble.DB
	cache *pebble.Cache
	full  bool
	ids   *claims
	// load locks loading; puts share it.
	loading sync.RWMutex
}

func openPebble(s settings, full bool) (store, error) {
	cache := pebble.NewCache(128 << 20)
	o := &pebble.Options{
		Cache: cache,
		// The newest on-disk format: columnar blocks, faster to seek in.
		FormatMajorVersion: pebble.FormatNewest,
		// 64 MiB, as in CockroachDB: level 0 has fewer and larger files, and puts never wait for the flush of one
		// memtable.
		MemTableSize:                64 << 20,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       2,
		L0StopWritesThreshold:       1000,
		LBaseMaxBytes:               64 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 3 },
		MaxOpenFiles:                10_000,
		Logger:                      quiet{},
	}
	// 10 bits for each key on every level; see has for the last level. Blocks stay at 4 KiB: larger blocks make a get of a
	// kilobyte slower than they make anything faster. Indexes have one level.
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].IndexBlockSize = 256 << 10
	}
	db, err := pebble.Open(s.dir, o)
	if err != nil {
		cache.Unref()
		return nil, err
	}
	p := &pebbleStore{db: db, cache: cache, full: full, ids: newClaims()}
	if full {
		return pebbleFull{p}, nil
	}
	return p, nil
}

// quiet is a logger that prints only errors that end the process.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

func (p *pebbleStore) put(_ context.Context, q *audit.QueryAudit) error {
	raw, err := q.Canonical()
	if err != nil {
		return err
	}
	p.loading.RLock()
	defer p.loading.RUnlock()
	p.ids.take(q.QueryID)
	defer p.ids.leave(q.QueryID)
	stored, err := p.has(q.QueryID)
	if err != nil {
		return err
	}
	if stored != nil {
		return settle(stored, raw)
	}
	b := p.db.NewBatchWithSize(4 << 10)
	p.write(b, q, raw)
	return b.Commit(pebble.Sync)
}

func (p *pebbleStore) load(_ context.Context, qs []*audit.QueryAudit) error {
	p.loading.Lock()
	defer p.loading.Unlock()
	fresh, raws, err := first(qs, p.has)
	if err != nil {
		return err
	}
	b := p.db.NewBatch()
	for i, q := range fresh {
		p.write(b, q, raws[i])
		// Pebble flushes a batch of half a memtable or more on its own, so batches stay smaller than that.
		if b.Len() > 8<<20 {
			if err := b.Commit(pebble.NoSync); err != nil {
				return err
			}
			b = p.db.NewBatch()
		}
	}
	return b.Commit(pebble.Sync)
}

// has returns what is stored under an id, or nil. It uses a seek instead of Get, because nearly all ids are new. Get does
// not use the filters of the last level, where most records are, so it would read a block of that level for each put.
func (p *pebbleStore) has(id audit.QueryID) (stored []byte, err error) {
	it, err := p.db.NewIter(&pebble.IterOptions{UseL6Filters: true})
	if err != nil {
		return nil, err
	}
	key := audit.KeyOf(id)
	if it.SeekPrefixGE(key) && bytes.Equal(it.Key(), key) {
		if stored, err = it.ValueAndErr(); err == nil {
			stored = bytes.Clone(stored)
		}
	}
	return stored, errors.Join(err, it.Close())
}

// The other families of keys, by their first byte. Each key ends with timestamp and id. So the order of bytes is the order
// of time, and a key leads to its record.
const (
	byTime      = 't' // timestamp, id
	bySubject   = 's' // subject, 0, timestamp, id
	byAssertion = 'e' // hash, timestamp, id, position → agent, weight
	bySource    = 'o' // likewise
	byResult    = 'r' // hash, timestamp, id
	byAttribute = 'a' // key, 0, value, 0, timestamp, id
)

// write adds a record's keys to a batch. Writing to a batch in memory returns no errors.
func (p *pebbleStore) write(b *pebble.Batch, q *audit.QueryAudit, raw []byte) {
	set := func(key, value []byte) { b.Set(key, value, nil) }
	set(audit.KeyOf(q.QueryID), raw)
	if q.AgentID != nil {
		set(audit.AgentKeyOf(*q.AgentID, q.Timestamp, q.QueryID), nil)
	}
	if !p.full {
		return
	}
	key := make([]byte, 0, 128)
	tail := func(key []byte) []byte {
		return append(binary.BigEndian.AppendUint64(key, q.Timestamp), q.QueryID[:]...)
	}
	set(tail(append(key, byTime)), nil)
	if s := q.Params.Subject; s != nil {
		set(tail(append(append(append(key, bySubject), *s...), 0)), nil)
	}
	if q.ResultHash != nil {
		set(tail(append(append(key, byResult), q.ResultHash[:]...)), nil)
	}
	for i, c := range q.ContributingAssertions {
		value := make([]byte, 0, 36)
		if q.AgentID != nil {
			value = append(value, q.AgentID[:]...)
		} else {
			value = append(value, make([]byte, 32)...)
		}
		value = binary.BigEndian.AppendUint32(value, math.Float32bits(c.Weight))
		place := func(key []byte) []byte { return binary.BigEndian.AppendUint16(tail(key), uint16(i)) }
		set(place(append(append(key, byAssertion), c.AssertionHash[:]...)), value)
		set(place(append(append(key, bySource), c.SourceHash[:]...)), value)
	}
	for name, value := range q.Attributes {
		set(tail(append(append(append(append(append(key, byAttribute), name...), 0), fmt.Sprint(value)...), 0)), nil)
	}
}

func (p *pebbleStore) get(_ context.Context, id audit.QueryID) ([]byte, error) {
	// Nearly always the id exists, and then the filter of the last level would only cost time.
	stored, closer, err := p.db.Get(audit.KeyOf(id))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, audit.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return bytes.Clone(stored), closer.Close()
}

func (p *pebbleStore) agent(ctx context.Context, agent audit.AgentID, from uint64, limit int) ([][]byte, error) {
	low, _ := audit.AgentRange(agent, from, audit.Unbounded)
	it, err := p.db.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: after(audit.AgentPrefix(agent))})
	if err != nil {
		return nil, err
	}
	var ids []audit.QueryID
	for ok := it.First(); ok && len(ids) < limit; ok = it.Next() {
		_, _, id, _ := audit.ParseAgentKey(it.Key())
		ids = append(ids, id)
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return nil, err
	}
	return p.records(ctx, ids)
}

// after returns the first key after all keys that begin with prefix. The prefix must not be all 0xff.
func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; ; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
}

func (p *pebbleStore) records(ctx context.Context, ids []audit.QueryID) ([][]byte, error) {
	found := make([][]byte, 0, len(ids))
	for _, id := range ids {
		raw, err := p.get(ctx, id)
		if err != nil {
			return nil, err
		}
		found = append(found, raw)
	}
	return found, nil
}

func (p *pebbleStore) close() error {
	err := p.db.Close()
	p.cache.Unref()
	return err
}

// pebbleFull is a pebbleStore with an index for each question.
type pebbleFull struct{ *pebbleStore }

func (p pebbleFull) recent(ctx context.Context, limit int) ([][]byte, error) {
	it, err := p.db.NewIter(&pebble.IterOptions{LowerBound: []byte{byTime}, UpperBound: []byte{byTime + 1}})
	if err != nil {
		return nil, err
	}
	var ids []audit.QueryID
	for ok := it.Last(); ok && len(ids) < limit; ok = it.Prev() {
		ids = append(ids, audit.QueryID(it.Key()[9:]))
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return nil, err
	}
	return p.records(ctx, ids)
}

func (p pebbleFull) impact(ctx context.Context, assertion audit.Hash) ([][]byte, error) {
	low := append([]byte{byAssertion}, assertion[:]...)
	it, err := p.db.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: after(low)})
	if err != nil {
		return nil, err
	}
	var ids []audit.QueryID
	for ok := it.First(); ok; ok = it.Next() {
		id := audit.QueryID(it.Key()[len(low)+8:][:32])
		if n := len(ids); n == 0 || ids[n-1] != id { // twice in one record
			ids = append(ids, id)
		}
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return nil, err
	}
	return p.records(ctx, ids)
}
