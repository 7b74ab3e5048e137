package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// auditsqlBacklog is audit's default bound in records, given so that it can be told when it is reached.
const auditsqlBacklog = 50_000

// auditsql is the product as it comes.
type auditsql struct {
	db *audit.DB
	// sql asks what the library has no call for, as a shell beside the writer would.
	sql *sqlstore.DB
}

func openAuditsql(s settings) (store, error) {
	opts := []audit.Option{audit.WithBacklog(auditsqlBacklog, 0)}
	switch {
	case s.shared:
		opts = []audit.Option{audit.ReadOnly()}
	case s.whole:
		opts = append(opts, audit.WithRetention(audit.RetainAll))
	}
	db, err := audit.Open(s.dir, opts...)
	if err != nil {
		return nil, err
	}
	return &auditsql{db: db}, nil
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

// drain waits until SQLite has everything: a question without a limit of time begins with that.
func (a *auditsql) drain(ctx context.Context) error {
	for _, err := range a.db.RawAudits(ctx, audit.Filter{Limit: 1}) {
		return err
	}
	return nil
}

func (a *auditsql) backlog() (records, bound int) {
	s, err := a.db.Stats(context.Background())
	if err != nil {
		return 0, auditsqlBacklog
	}
	return s.Backlog, auditsqlBacklog
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

// impact is the README's query for it, on the views that people use.
func (a *auditsql) impact(ctx context.Context, assertion audit.Hash) ([]use, error) {
	const query = `SELECT query_id, coalesce(agent_id, ''), timestamp, weight FROM contributions
		WHERE assertion_hash = ? ORDER BY timestamp`
	rows, err := a.sql.QueryRows(ctx, query, assertion.String())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var uses []use
	for rows.Next() {
		var u use
		var id, agent string
		if err := rows.Scan(&id, &agent, &u.Timestamp, &u.Weight); err != nil {
			return nil, err
		}
		if u.Query, err = audit.ParseHash(id); err != nil {
			return nil, err
		}
		if agent != "" {
			if u.Agent, err = audit.ParseHash(agent); err != nil {
				return nil, err
			}
		}
		uses = append(uses, u)
	}
	return uses, rows.Err()
}

// readers opens what impact asks, before it is measured.
func (a *auditsql) readers(ctx context.Context, n int) (err error) {
	a.sql, err = sqlstore.Open(ctx, filepath.Join(a.db.Dir(), "audit.db"), sqlstore.Options{ReadOnly: true, Readers: n})
	return err
}

func (a *auditsql) close() error {
	var err error
	if a.sql != nil {
		err = a.sql.Close()
	}
	return errors.Join(err, a.db.Close())
}

// journal is package wal with nothing behind it. It has no ids, so nothing is looked up.
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
