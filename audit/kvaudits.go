package audit

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/auditsql/auditsql/kvshim"
)

// KVAudits is a Store over any ordered key/value store, without a journal: a record is as durable as the
// key/value store makes it. DB is the store with a journal.
//
// Its methods may be called from several goroutines.
type KVAudits struct {
	kv kvshim.Store

	// first is held from the search for a key until it is written. So of two concurrent puts with
	// different bytes exactly one finds the key free. Other writers of the same kv do not share this lock: against them
	// kv itself refuses to write an audit key twice.
	first sync.Mutex
}

var _ Store = (*KVAudits)(nil)

// NewStore returns a Store that keeps its records in kv, under the keys of KeyOf and AgentKeyOf. The caller closes kv.
func NewStore(kv kvshim.Store) *KVAudits {
	return &KVAudits{kv: kv}
}

// PutAudit implements Store.
func (s *KVAudits) PutAudit(ctx context.Context, q *QueryAudit) (QueryID, error) {
	value, id, refused := q.encode(nil)
	if refused != nil {
		return QueryID{}, fmt.Errorf("put audit: %w", refused)
	}
	var batch kvshim.Batch
	batch.Put(KeyOf(id), value)
	if q.AgentID != nil {
		batch.Put(AgentKeyOf(*q.AgentID, q.Timestamp, id), nil)
	}
	if err := s.putFirst(ctx, id, value, &batch); err != nil {
		return QueryID{}, fmt.Errorf("put audit %s: %w", id, err)
	}
	return id, nil
}

// putFirst applies the batch unless a record is stored under the id.
func (s *KVAudits) putFirst(ctx context.Context, id QueryID, value []byte, batch *kvshim.Batch) error {
	s.first.Lock()
	defer s.first.Unlock()
	stored, err := s.kv.Get(ctx, KeyOf(id))
	switch {
	case err == nil && bytes.Equal(stored, value):
		return nil
	case err == nil:
		return ErrConflict
	case !errors.Is(err, kvshim.ErrNotFound):
		return err
	}
	err = s.kv.Apply(ctx, batch)
	if errors.Is(err, kvshim.ErrWriteOnce) {
		// Another writer of the same kv was faster.
		return ErrConflict
	}
	return err
}

// GetAudit implements Store.
func (s *KVAudits) GetAudit(ctx context.Context, id QueryID) (*QueryAudit, error) {
	q, err := s.get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("get audit %s: %w", id, err)
	}
	return &q, nil
}

func (s *KVAudits) get(ctx context.Context, id QueryID) (QueryAudit, error) {
	value, err := s.kv.Get(ctx, KeyOf(id))
	if errors.Is(err, kvshim.ErrNotFound) {
		return QueryAudit{}, ErrNotFound
	}
	if err != nil {
		return QueryAudit{}, err
	}
	return parseStored(id, value)
}

// parseStored reads a value that was stored under id. The caller's arguments are not the reason for an error,
// so it is not ErrInvalid.
func parseStored(id QueryID, value []byte) (QueryAudit, error) {
	q, err := ParseAudit(value)
	if err != nil {
		return QueryAudit{}, fmt.Errorf("the stored record is damaged: %v", err)
	}
	if q.QueryID != id {
		return QueryAudit{}, fmt.Errorf("the stored record is damaged: it calls itself %s", q.QueryID)
	}
	return q, nil
}

// AuditsForAgent implements Store.
func (s *KVAudits) AuditsForAgent(ctx context.Context, agent AgentID, from, to uint64, limit int) ([]QueryAudit, error) {
	audits, err := s.agentRange(ctx, agent, from, to, limit)
	if err != nil {
		return nil, fmt.Errorf("audits for agent %s: %w", agent, err)
	}
	return audits, nil
}

func (s *KVAudits) agentRange(ctx context.Context, agent AgentID, from, to uint64, limit int) ([]QueryAudit, error) {
	if err := checkLimit(limit); err != nil {
		return nil, err
	}
	audits := []QueryAudit{}
	if from > to {
		return audits, nil
	}
	start, end := AgentRange(agent, from, to)
	options := kvshim.ScanOptions{Start: start, End: end, Limit: limit}
	for pair, err := range s.kv.Scan(ctx, AgentPrefix(agent), options) {
		if err != nil {
			return nil, err
		}
		_, _, id, ok := ParseAgentKey(pair.Key)
		if !ok {
			return nil, fmt.Errorf("the key %x is no agent's key", pair.Key)
		}
		q, err := s.get(ctx, id)
		if err != nil {
			// Both keys were written in one batch, so the record must be there.
			return nil, fmt.Errorf("audit %s: %w", id, err)
		}
		audits = append(audits, q)
	}
	return audits, nil
}

// ListRecent implements Store. No key is in the order of time over all agents, so it reads every
// record once and keeps the newest limit of them. DB uses an index instead.
func (s *KVAudits) ListRecent(ctx context.Context, limit int) ([]QueryAudit, error) {
	audits, err := s.recent(ctx, limit)
	if err != nil {
		return nil, fmt.Errorf("list recent audits: %w", err)
	}
	return audits, nil
}

func (s *KVAudits) recent(ctx context.Context, limit int) ([]QueryAudit, error) {
	if err := checkLimit(limit); err != nil {
		return nil, err
	}
	var newest oldestFirst
	for pair, err := range s.kv.Scan(ctx, []byte(KeyPrefix), kvshim.ScanOptions{}) {
		if err != nil {
			return nil, err
		}
		id, ok := ParseKey(pair.Key)
		if !ok {
			return nil, fmt.Errorf("the key %x is no audit's key", pair.Key)
		}
		timestamp, err := storedTimestamp(id, pair.Value)
		if err != nil {
			return nil, fmt.Errorf("audit %s: %w", id, err)
		}
		r := recentAudit{timestamp, id, pair.Value}
		switch {
		case len(newest) < limit:
			heap.Push(&newest, r)
		case newest[0].before(r):
			newest[0] = r
			heap.Fix(&newest, 0)
		}
	}
	audits := make([]QueryAudit, len(newest))
	for i := len(newest) - 1; i >= 0; i-- {
		r := heap.Pop(&newest).(recentAudit)
		q, err := parseStored(r.id, r.value)
		if err != nil {
			return nil, fmt.Errorf("audit %s: %w", r.id, err)
		}
		audits[i] = q
	}
	return audits, nil
}

// storedTimestamp returns the timestamp of a stored record, in most cases without reading the rest of it.
func storedTimestamp(id QueryID, value []byte) (uint64, error) {
	if h, ok := headingOf(value); ok {
		return uint64(h.Timestamp), nil
	}
	q, err := parseStored(id, value)
	return q.Timestamp, err
}

// recentAudit is a record that is not parsed yet.
type recentAudit struct {
	timestamp uint64
	id        QueryID
	value     []byte
}

// before orders by (timestamp, query id).
func (r recentAudit) before(other recentAudit) bool {
	if r.timestamp != other.timestamp {
		return r.timestamp < other.timestamp
	}
	return r.id.Compare(other.id) < 0
}

// oldestFirst is a heap.Interface with the oldest record at the root: it is removed when a newer
// one comes.
type oldestFirst []recentAudit

func (h oldestFirst) Len() int           { return len(h) }
func (h oldestFirst) Less(i, j int) bool { return h[i].before(h[j]) }
func (h oldestFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *oldestFirst) Push(r any)        { *h = append(*h, r.(recentAudit)) }
func (h *oldestFirst) Pop() any {
	last := len(*h) - 1
	r := (*h)[last]
	(*h)[last] = recentAudit{}
	*h = (*h)[:last]
	return r
}

// HasAuditsForAgent implements Store.
func (s *KVAudits) HasAuditsForAgent(ctx context.Context, agent AgentID) (bool, error) {
	for _, err := range s.kv.Scan(ctx, AgentPrefix(agent), kvshim.ScanOptions{Limit: 1}) {
		if err != nil {
			return false, fmt.Errorf("search audits of agent %s: %w", agent, err)
		}
		return true, nil
	}
	return false, nil
}
