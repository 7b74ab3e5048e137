package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/auditsql/auditsql/audit"
)

func init() {
	if _, err := postgresPrograms(); err != nil {
		leaveOut("postgres and postgres-one", err.Error())
		return
	}
	kinds = append(kinds,
		kind{"postgres", "PostgreSQL, three tables, an index for each question", func(s settings) (store, error) { return openPostgres(s) }},
		kind{"postgres-one", "PostgreSQL, one table, the two key families", func(s settings) (store, error) { return openPostgresOne(s) }})
}

// postgresOne is PostgreSQL with one table: a record under its id, and an index for the list of an agent's records by time.
// Each put is one statement, which is a transaction of its own, and one round trip.
type postgresOne struct {
	server *postgresServer // nil if another process has started it
	pool   *pgxpool.Pool
	put1   func(q *audit.QueryAudit, raw []byte) (string, []any)
	putN   func(qs []*audit.QueryAudit, raws [][]byte) (string, []any)
}

// postgres has three tables, and an index for each question that auditsql has an index for.
type postgres struct{ *postgresOne }

const postgresOneSchema = `
CREATE TABLE IF NOT EXISTS audit (
	query_id  bytea PRIMARY KEY,
	agent     bytea,
	timestamp bigint NOT NULL,
	raw       bytea NOT NULL
);
CREATE INDEX IF NOT EXISTS audit_by_agent ON audit (agent, timestamp, query_id)`

// The tables refer to each other by the id of the query, and not by a number. So no more indexes are needed than those of the questions.
const postgresSchema = `
CREATE TABLE IF NOT EXISTS audit (
	query_id   bytea PRIMARY KEY,
	agent      bytea,
	timestamp  bigint NOT NULL,
	raw        bytea NOT NULL,
	subject    text,
	predicate  text,
	lifecycle  smallint,
	epoch      bytea,
	lens       text,
	result     bytea,
	confidence real NOT NULL
);
CREATE TABLE IF NOT EXISTS contribution (
	query_id  bytea NOT NULL,
	position  smallint NOT NULL,
	assertion bytea NOT NULL,
	source    bytea NOT NULL,
	weight    real NOT NULL,
	lifecycle smallint NOT NULL
);
CREATE TABLE IF NOT EXISTS attribute (
	query_id bytea NOT NULL,
	key      text NOT NULL,
	value    text NOT NULL
);
CREATE INDEX IF NOT EXISTS audit_by_agent ON audit (agent, timestamp, query_id);
CREATE INDEX IF NOT EXISTS audit_by_time ON audit (timestamp, query_id);
CREATE INDEX IF NOT EXISTS audit_by_subject ON audit (subject, timestamp, query_id);
CREATE INDEX IF NOT EXISTS audit_by_result ON audit (result) WHERE result IS NOT NULL;
CREATE INDEX IF NOT EXISTS contribution_by_assertion ON contribution (assertion);
CREATE INDEX IF NOT EXISTS contribution_by_source ON contribution (source);
CREATE INDEX IF NOT EXISTS attribute_by_value ON attribute (key, value)`

// A put inserts nothing when the id is taken. ON CONFLICT waits until another transaction that has the id has ended, so the
// row that it finds is on disk.
const (
	postgresOnePut = `INSERT INTO audit (query_id, agent, timestamp, raw) VALUES ($1, $2, $3, $4) ON CONFLICT (query_id) DO NOTHING`

	postgresOneLoad = `INSERT INTO audit (query_id, agent, timestamp, raw)
		SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bytea[]) ON CONFLICT (query_id) DO NOTHING`

	postgresPut = `
		WITH r AS (
			INSERT INTO audit (query_id, agent, timestamp, raw, subject, predicate, lifecycle, epoch, lens, result, confidence)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (query_id) DO NOTHING RETURNING query_id),
		c AS (
			INSERT INTO contribution (query_id, position, assertion, source, weight, lifecycle)
			SELECT r.query_id, u.* FROM r, unnest($12::smallint[], $13::bytea[], $14::bytea[], $15::real[], $16::smallint[]) AS u),
		a AS (
			INSERT INTO attribute (query_id, key, value)
			SELECT r.query_id, u.* FROM r, unnest($17::text[], $18::text[]) AS u)
		SELECT query_id FROM r`

	postgresLoad = `
		WITH r AS (
			INSERT INTO audit (query_id, agent, timestamp, raw, subject, predicate, lifecycle, epoch, lens, result, confidence)
			SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bytea[], $5::text[], $6::text[], $7::smallint[], $8::bytea[],
				$9::text[], $10::bytea[], $11::real[])
			ON CONFLICT (query_id) DO NOTHING RETURNING query_id),
		c AS (
			INSERT INTO contribution (query_id, position, assertion, source, weight, lifecycle)
			SELECT u.* FROM unnest($12::bytea[], $13::smallint[], $14::bytea[], $15::bytea[], $16::real[], $17::smallint[])
				AS u (query_id, position, assertion, source, weight, lifecycle) JOIN r USING (query_id)),
		a AS (
			INSERT INTO attribute (query_id, key, value)
			SELECT u.* FROM unnest($18::bytea[], $19::text[], $20::text[]) AS u (query_id, key, value) JOIN r USING (query_id))
		SELECT query_id FROM r`
)

func openPostgresOne(s settings) (*postgresOne, error) { return openPostgresWith(s, postgresOneSchema) }

func openPostgres(s settings) (*postgres, error) {
	one, err := openPostgresWith(s, postgresSchema)
	if err != nil {
		return nil, err
	}
	one.put1, one.putN = postgresPutOf, postgresLoadOf
	return &postgres{one}, nil
}

// postgresReaders are the connections beside those of the writers.
const postgresReaders = 8

func openPostgresWith(s settings, schema string) (_ *postgresOne, err error) {
	p := &postgresOne{put1: postgresOnePutOf, putN: postgresOneLoadOf}
	if !s.shared {
		start := startPostgres
		if s.standbys {
			start = startPostgresWithStandbys
		}
		if p.server, err = start(s.dir); err != nil {
			return nil, err
		}
	}
	if p.pool, err = dialPostgres(s.dir, max(1, s.writers)+postgresReaders); err == nil && !s.shared {
		_, err = p.pool.Exec(context.Background(), schema)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func postgresOnePutOf(q *audit.QueryAudit, raw []byte) (string, []any) {
	return postgresOnePut, []any{q.QueryID[:], bytesOf(q.AgentID), int64(q.Timestamp), raw}
}

func postgresOneLoadOf(qs []*audit.QueryAudit, raws [][]byte) (string, []any) {
	ids, agents, times := make([][]byte, len(qs)), make([][]byte, len(qs)), make([]int64, len(qs))
	for i, q := range qs {
		ids[i], agents[i], times[i] = q.QueryID[:], bytesOf(q.AgentID), int64(q.Timestamp)
	}
	return postgresOneLoad, []any{ids, agents, times, raws}
}

// contributions are the columns of table contribution for one or many records.
type contributions struct {
	id, assertion, source [][]byte
	position, lifecycle   []int16
	weight                []float32
}

func (c *contributions) add(q *audit.QueryAudit) {
	for i := range q.ContributingAssertions {
		a := &q.ContributingAssertions[i]
		c.id = append(c.id, q.QueryID[:])
		c.position = append(c.position, int16(i))
		c.assertion, c.source = append(c.assertion, a.AssertionHash[:]), append(c.source, a.SourceHash[:])
		c.weight, c.lifecycle = append(c.weight, a.Weight), append(c.lifecycle, int16(a.Lifecycle))
	}
}

// attributes are the columns of table attribute.
type attributes struct {
	id         [][]byte
	key, value []string
}

func (a *attributes) add(q *audit.QueryAudit) {
	for name, value := range q.Attributes {
		a.id, a.key, a.value = append(a.id, q.QueryID[:]), append(a.key, name), append(a.value, fmt.Sprint(value))
	}
}

func postgresPutOf(q *audit.QueryAudit, raw []byte) (string, []any) {
	var c contributions
	var a attributes
	c.add(q)
	a.add(q)
	return postgresPut, []any{q.QueryID[:], bytesOf(q.AgentID), int64(q.Timestamp), raw, q.Params.Subject, q.Params.Predicate,
		lifecycleOf(q), bytesOf(q.Params.Epoch), q.Params.Lens, bytesOf(q.ResultHash), q.ResultConfidence,
		c.position, c.assertion, c.source, c.weight, c.lifecycle, a.key, a.value}
}

func postgresLoadOf(qs []*audit.QueryAudit, raws [][]byte) (string, []any) {
	n := len(qs)
	ids, agents, epochs, results := make([][]byte, n), make([][]byte, n), make([][]byte, n), make([][]byte, n)
	times, confidences := make([]int64, n), make([]float32, n)
	subjects, predicates, lenses, lifecycles := make([]*string, n), make([]*string, n), make([]*string, n), make([]*int16, n)
	var c contributions
	var a attributes
	for i, q := range qs {
		ids[i], agents[i], epochs[i], results[i] = q.QueryID[:], bytesOf(q.AgentID), bytesOf(q.Params.Epoch), bytesOf(q.ResultHash)
		times[i], confidences[i] = int64(q.Timestamp), q.ResultConfidence
		subjects[i], predicates[i], lenses[i], lifecycles[i] = q.Params.Subject, q.Params.Predicate, q.Params.Lens, lifecycleOf(q)
		c.add(q)
		a.add(q)
	}
	return postgresLoad, []any{ids, agents, times, raws, subjects, predicates, lifecycles, epochs, lenses, results, confidences,
		c.id, c.position, c.assertion, c.source, c.weight, c.lifecycle, a.id, a.key, a.value}
}

func bytesOf(h *audit.Hash) []byte {
	if h == nil {
		return nil
	}
	return h[:]
}

func lifecycleOf(q *audit.QueryAudit) *int16 {
	if q.Params.Lifecycle == nil {
		return nil
	}
	l := int16(*q.Params.Lifecycle)
	return &l
}

func (p *postgresOne) put(ctx context.Context, q *audit.QueryAudit) error {
	raw, err := q.Canonical()
	if err != nil {
		return err
	}
	statement, args := p.put1(q, raw)
	done, err := p.pool.Exec(ctx, statement, args...)
	if err != nil || done.RowsAffected() == 1 {
		return err
	}
	stored, err := p.get(ctx, q.QueryID)
	if err != nil {
		return err
	}
	return settle(stored, raw)
}

func (p *postgresOne) load(ctx context.Context, qs []*audit.QueryAudit) error {
	fresh, raws, err := first(qs, func(audit.QueryID) ([]byte, error) { return nil, nil })
	if err != nil {
		return err
	}
	statement, args := p.putN(fresh, raws)
	done, err := p.pool.Exec(ctx, statement, args...)
	if err != nil || done.RowsAffected() == int64(len(fresh)) {
		return err
	}
	// Some were there before: compare all.
	ids := make([][]byte, len(fresh))
	given := make(map[audit.QueryID][]byte, len(fresh))
	for i, q := range fresh {
		ids[i], given[q.QueryID] = q.QueryID[:], raws[i]
	}
	rows, err := p.pool.Query(ctx, `SELECT query_id, raw FROM audit WHERE query_id = ANY($1)`, ids)
	if err != nil {
		return err
	}
	var id, stored []byte
	var conflicts []error
	_, err = pgx.ForEachRow(rows, []any{&id, &stored}, func() error {
		if err := settle(stored, given[audit.QueryID(id)]); err != nil {
			conflicts = append(conflicts, fmt.Errorf("%x: %w", id, err))
		}
		return nil
	})
	return errors.Join(append(conflicts, err)...)
}

func (p *postgresOne) get(ctx context.Context, id audit.QueryID) (raw []byte, err error) {
	err = p.pool.QueryRow(ctx, `SELECT raw FROM audit WHERE query_id = $1`, id[:]).Scan(&raw)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, audit.ErrNotFound
	}
	return raw, err
}

func (p *postgresOne) agent(ctx context.Context, agent audit.AgentID, from uint64, limit int) ([][]byte, error) {
	return p.values(ctx, `SELECT raw FROM audit WHERE agent = $1 AND timestamp >= $2 ORDER BY timestamp, query_id LIMIT $3`,
		agent[:], int64(from), limit)
}

func (p *postgres) recent(ctx context.Context, limit int) ([][]byte, error) {
	return p.values(ctx, `SELECT raw FROM audit ORDER BY timestamp DESC, query_id DESC LIMIT $1`, limit)
}

func (p *postgres) impact(ctx context.Context, assertion audit.Hash) ([][]byte, error) {
	return p.values(ctx, `SELECT raw FROM audit WHERE query_id IN (SELECT query_id FROM contribution WHERE assertion = $1)
		ORDER BY timestamp, query_id`, assertion[:])
}

func (p *postgres) newest(ctx context.Context) (newest uint64, err error) {
	err = p.pool.QueryRow(ctx, `SELECT coalesce(max(timestamp), 0) FROM audit`).Scan(&newest)
	return newest, err
}

func (p *postgresOne) values(ctx context.Context, query string, args ...any) ([][]byte, error) {
	rows, err := p.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[[]byte])
}

// servers returns the processes that do the store's work beside this one.
func (p *postgresOne) servers() []int {
	if p.server == nil {
		return nil
	}
	return p.server.processes()
}

func (p *postgresOne) close() error {
	if p.pool != nil {
		p.pool.Close()
	}
	if p.server == nil {
		return nil
	}
	return p.server.stop()
}
