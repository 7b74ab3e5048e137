package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/wal"
)

// The limits of the backlog in records: the default of audit, which is set here so that the benchmark knows when the backlog is full, and one
// for bursts.
const (
	auditsqlBacklog = 150_000
	burstBacklog    = 1_000_000
)

// auditsql is this project, with default settings.
type auditsql struct {
	db    *audit.DB
	done  atomic.Int64 // records applied
	bound int          // of the backlog
}

func openAuditsql(s settings) (store, error) { return openWith(s) }

// openBurst opens auditsql with a backlog for bursts.
func openBurst(s settings) (store, error) {
	a, err := openWith(s, audit.WithBacklog(burstBacklog, 1<<30))
	if err != nil {
		return nil, err
	}
	a.bound = burstBacklog
	return a, nil
}

// openWith opens auditsql with further options.
func openWith(s settings, opts ...audit.Option) (*auditsql, error) {
	a := &auditsql{bound: auditsqlBacklog}
	opts = append([]audit.Option{audit.WithBacklog(auditsqlBacklog, 0)}, opts...)
	opts = append(opts,
		audit.WithMetrics(audit.Metrics{Applied: func(_ time.Duration, records int, _ time.Duration) { a.done.Add(int64(records)) }}),
	)
	switch {
	case s.shared:
		opts = []audit.Option{audit.ReadOnly()}
	case s.whole:
		opts = append(opts, audit.WithRetention(audit.RetainAll))
	}
	var err error
	if a.db, err = audit.Open(s.dir, opts...); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *auditsql) put(ctx context.Context, q *audit.QueryAudit) error {
	_, err := a.db.PutAudit(ctx, q)
	return err
}

func (a *auditsql) load(ctx context.Context, qs []*audit.QueryAudit) error {
	results, err := a.db.PutAudits(ctx, qs)
	if err != nil {
		return err
	}
	for i := range results {
		err = errors.Join(err, results[i].Err)
	}
	return err
}

// drain waits until SQLite has everything.
func (a *auditsql) drain(ctx context.Context) error { return a.db.AwaitApplied(ctx) }

func (a *auditsql) applied() int64 { return a.done.Load() }

func (a *auditsql) backlog() (records, bound int) {
	return a.db.Progress().LagRecords, a.bound
}

func (a *auditsql) get(ctx context.Context, id audit.QueryID) ([]byte, error) {
	return a.db.GetRaw(ctx, id)
}

func (a *auditsql) agent(ctx context.Context, agent audit.AgentID, from uint64, limit int) ([][]byte, error) {
	return a.list(ctx, audit.Filter{Agent: &agent, From: &from, Limit: limit})
}

func (a *auditsql) recent(ctx context.Context, limit int) ([][]byte, error) {
	return a.list(ctx, audit.Filter{Descending: true, Limit: limit})
}

func (a *auditsql) list(ctx context.Context, f audit.Filter) (found [][]byte, err error) {
	for raw, err := range a.db.RawAudits(ctx, f) {
		if err != nil {
			return nil, err
		}
		found = append(found, raw)
	}
	return found, nil
}

func (a *auditsql) getAudit(ctx context.Context, id audit.QueryID) (*audit.QueryAudit, error) {
	return a.db.GetAudit(ctx, id)
}

func (a *auditsql) agentAudits(ctx context.Context, agent audit.AgentID, from uint64, limit int) ([]audit.QueryAudit, error) {
	return a.db.AuditsForAgent(ctx, agent, from, audit.Unbounded, limit)
}

func (a *auditsql) recentAudits(ctx context.Context, limit int) ([]audit.QueryAudit, error) {
	return a.db.ListRecent(ctx, limit)
}

func (a *auditsql) newest(ctx context.Context) (uint64, error) {
	found, err := a.db.ListRecent(ctx, 1)
	if err != nil || len(found) == 0 {
		return 0, err
	}
	return found[0].Timestamp, nil
}

func (a *auditsql) impact(ctx context.Context, assertion audit.Hash) ([][]byte, error) {
	return a.list(ctx, audit.Filter{Assertion: &assertion})
}

func (a *auditsql) impacted(ctx context.Context, assertion audit.Hash) (found []audit.ImpactedAnswer, err error) {
	for answer, err := range a.db.Impact(ctx, assertion, audit.ImpactOptions{}) {
		if err != nil {
			return nil, err
		}
		found = append(found, answer)
	}
	return found, nil
}

func (a *auditsql) close() error { return a.db.Close() }

// signedStore is auditsql with its tree signed every second by a key that is made for it.
type signedStore struct {
	*auditsql
	key string // the folder with the key, which must not be in the store
}

func openSignedStore(s settings) (_ store, err error) {
	key, err := os.MkdirTemp("", "bench-key")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(key)
		}
	}()
	private, _, err := evidence.GenerateKey("log.example.com/bench")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(key, "log.key")
	if err := os.WriteFile(file, []byte(private+"\n"), 0o600); err != nil {
		return nil, err
	}
	a, err := openWith(s, audit.WithSigner(audit.LogOptions{Key: file, Every: time.Second}))
	if err != nil {
		return nil, err
	}
	return &signedStore{a, key}, nil
}

func (s *signedStore) close() error { return errors.Join(s.auditsql.close(), os.RemoveAll(s.key)) }

// journal is package wal alone. It has no ids, so nothing is looked up.
type journal struct{ j *wal.Journal }

func openJournal(s settings) (store, error) {
	j, _, err := wal.Open(s.dir, wal.Options{})
	if err != nil {
		return nil, err
	}
	return &journal{j}, nil
}

func (j *journal) put(ctx context.Context, q *audit.QueryAudit) error {
	raw, err := q.Canonical()
	if err != nil {
		return err
	}
	_, err = j.j.Append(ctx, raw)
	return err
}

func (j *journal) load(ctx context.Context, qs []*audit.QueryAudit) error {
	raws := make([][]byte, len(qs))
	for i, q := range qs {
		var err error
		if raws[i], err = q.Canonical(); err != nil {
			return fmt.Errorf("record %d of a batch: %w", i, err)
		}
	}
	_, err := j.j.AppendBatch(ctx, raws)
	return err
}

func (j *journal) close() error { return j.j.Close() }
