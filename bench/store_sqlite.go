package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // driver "sqlite"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/migrations"
)

// sqliteStore is SQLite alone: our migrations, so our tables, indexes, views and triggers; one transaction for each put,
// on disk when it is committed (synchronous=FULL in WAL mode); statements that are prepared once.
type sqliteStore struct {
	writer, readers *sql.DB

	mu      sync.Mutex // held over a transaction
	conn    *sql.Conn
	stmts   [stmtCount]*sql.Stmt
	numbers map[audit.AgentID]int64 // of agents, as committed
	hashes  map[audit.Hash]int64    // numbers of the hashes of a generation, as committed
	of      int64                   // that generation
	next    int64                   // entry.idx to come

	getStmt, agentStmt, recentStmt, impactStmt *sql.Stmt
}

const (
	stmtGet = iota
	stmtEntry
	stmtKV
	stmtFindAgent
	stmtNewAgent
	stmtCountAgent
	stmtFindHash
	stmtNewHash
	stmtAudit
	stmtContribution
	stmtAttribute
	stmtCount
)

var writes = [stmtCount]string{
	stmtGet:        `SELECT value FROM kv WHERE key = ?`,
	stmtEntry:      `INSERT INTO entry (idx, query_id, journal_offset) VALUES (?, ?, 0)`,
	stmtKV:         `INSERT INTO kv (key, value) VALUES (?, ?)`,
	stmtFindAgent:  `SELECT id FROM agent WHERE agent_hex = lower(hex(?))`,
	stmtNewAgent:   `INSERT INTO agent (agent_id, audits, first, last) VALUES (?, 0, NULL, NULL)`,
	stmtCountAgent: `UPDATE agent SET audits = audits + 1, first = min(coalesce(first, ?1), ?1), last = max(coalesce(last, ?1), ?1) WHERE id = ?2`,
	stmtFindHash:   `SELECT id FROM hash WHERE generation = ? AND hex = ?`,
	stmtNewHash:    `INSERT INTO hash (generation, hex) VALUES (?, ?)`,
	stmtAudit: `INSERT INTO audit (idx, query_hex, agent, timestamp, subject, predicate, lifecycle, epoch, lens,
		result, result_confidence, contributions, kv_row) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
	stmtContribution: `INSERT INTO contribution (audit, position, assertion, weight, source, lifecycle) VALUES (?, ?, ?, ?, ?, ?)`,
	stmtAttribute:    `INSERT INTO attribute (audit, key, value) VALUES (?, ?, ?)`,
}

// openSQLite opens the driver without cgo.
func openSQLite(s settings) (store, error) {
	return openSQL(s, "sqlite", func(name, pragma string) string { return "_pragma=" + url.QueryEscape(name+"("+pragma+")") }, "_txlock=immediate")
}

// openSQL opens a store with a driver of database/sql. format writes a pragma as that driver takes it.
func openSQL(s settings, driver string, format func(name, value string) string, more string) (store, error) {
	dsn := func(cacheKiB int) string {
		name := "file:" + filepath.ToSlash(filepath.Join(s.dir, "audit.db")) + "?" + more
		for _, p := range [][2]string{
			{"busy_timeout", "10000"},
			{"journal_mode", "WAL"},
			{"synchronous", "FULL"},
			{"cache_size", strconv.Itoa(-cacheKiB)}, // as auditsql has it
		} {
			name += "&" + format(p[0], p[1])
		}
		return name
	}
	if err := paged(s, driver); err != nil {
		return nil, err
	}
	writer, err := sql.Open(driver, dsn(64<<10))
	if err != nil {
		return nil, err
	}
	writer.SetMaxOpenConns(1)
	readers, err := sql.Open(driver, dsn(8<<10))
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	readers.SetMaxOpenConns(8)
	readers.SetMaxIdleConns(8)
	q := &sqliteStore{writer: writer, readers: readers, numbers: map[audit.AgentID]int64{}, hashes: map[audit.Hash]int64{}}
	if err := q.prepare(context.Background(), s.shared); err != nil {
		return nil, errors.Join(err, q.close())
	}
	return q, nil
}

// paged makes the database with the page size of auditsql, unless the database exists. The size is fixed when the first
// page is written. A driver that also gets journal_mode may write that page before it sets the size.
func paged(s settings, driver string) error {
	name := filepath.Join(s.dir, "audit.db")
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	db, err := sql.Open(driver, "file:"+filepath.ToSlash(name))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	for _, p := range []string{`PRAGMA page_size = 8192`, `PRAGMA journal_mode = WAL`} {
		if _, err := db.Exec(p); err != nil {
			return errors.Join(err, db.Close())
		}
	}
	return db.Close()
}

func (s *sqliteStore) prepare(ctx context.Context, shared bool) (err error) {
	if !shared {
		if err := s.migrate(ctx); err != nil {
			return err
		}
		if s.conn, err = s.writer.Conn(ctx); err != nil {
			return err
		}
		for i, query := range writes {
			if s.stmts[i], err = s.conn.PrepareContext(ctx, query); err != nil {
				return fmt.Errorf("%s: %w", query, err)
			}
		}
		if err := s.conn.QueryRowContext(ctx, `SELECT coalesce(max(idx) + 1, 0) FROM entry`).Scan(&s.next); err != nil {
			return err
		}
	}
	// As auditsql reads records: by their row in kv. auditsql also compares the key, because the row is only a hint.
	const record = `SELECT k.value FROM audit a JOIN kv k ON k.rowid = a.kv_row`
	const ids = `WITH RECURSIVE gen (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM gen WHERE n < (SELECT max(idx) >> 14 FROM audit))
		SELECT h.id FROM gen CROSS JOIN hash h WHERE h.generation = gen.n AND h.hex = ?`
	for _, q := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&s.getStmt, `SELECT value FROM kv WHERE key = ?`},
		{&s.agentStmt, record + ` WHERE a.agent = (SELECT id FROM agent WHERE agent_hex = ?) AND a.timestamp >= ?
			ORDER BY a.timestamp, a.idx LIMIT ?`},
		{&s.recentStmt, record + ` ORDER BY a.timestamp DESC, a.idx DESC LIMIT ?`},
		{&s.impactStmt, `SELECT k.value FROM (SELECT DISTINCT audit FROM contribution WHERE assertion IN (` + ids + `)) c
			CROSS JOIN audit a ON a.idx = c.audit JOIN kv k ON k.rowid = a.kv_row
			ORDER BY a.timestamp, a.query_hex`},
	} {
		if *q.stmt, err = s.readers.PrepareContext(ctx, q.text); err != nil {
			return fmt.Errorf("%s: %w", q.text, err)
		}
	}
	return nil
}

func (s *sqliteStore) migrate(ctx context.Context) error {
	// The page size is fixed when the file is made.
	if _, err := s.writer.ExecContext(ctx, `PRAGMA page_size=8192`); err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, s.writer, migrations.FS,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return err
	}
	// The triggers of our tables let records in while this row exists. The applier inserts and deletes it in each of its
	// transactions. Here, where each put is a transaction, the row stays, and costs a put nothing.
	_, err = s.writer.ExecContext(ctx, `INSERT INTO store (name, value) VALUES ('applying', 'now') ON CONFLICT DO NOTHING`)
	return err
}

func (s *sqliteStore) put(ctx context.Context, q *audit.QueryAudit) error {
	raw, err := q.Canonical()
	if err != nil {
		return err
	}
	return s.tx(ctx, func() error { return s.insert(ctx, q, raw) })
}

func (s *sqliteStore) load(ctx context.Context, qs []*audit.QueryAudit) error {
	return s.tx(ctx, func() error {
		for _, q := range qs {
			raw, err := q.Canonical()
			if err == nil {
				err = s.insert(ctx, q, raw)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// tx runs f in a transaction, one at a time.
func (s *sqliteStore) tx(ctx context.Context, f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.next
	_, err := s.conn.ExecContext(ctx, `BEGIN IMMEDIATE`)
	if err != nil {
		return err
	}
	if err = f(); err == nil {
		_, err = s.conn.ExecContext(ctx, `COMMIT`)
	}
	if err != nil {
		s.next = next
		clear(s.numbers)
		clear(s.hashes)
		_, rollback := s.conn.ExecContext(ctx, `ROLLBACK`)
		return errors.Join(err, rollback)
	}
	return nil
}

// insert writes the rows of a record.
func (s *sqliteStore) insert(ctx context.Context, q *audit.QueryAudit, raw []byte) error {
	key := audit.KeyOf(q.QueryID)
	var stored []byte
	switch err := s.stmts[stmtGet].QueryRowContext(ctx, key).Scan(&stored); {
	case err == nil:
		return settle(stored, raw)
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	var errs error
	run := func(stmt int, args ...any) (row int64) {
		if errs != nil {
			return 0
		}
		var done sql.Result
		if done, errs = s.stmts[stmt].ExecContext(ctx, args...); errs == nil {
			row, errs = done.LastInsertId()
		}
		return row
	}
	idx := s.next
	run(stmtEntry, idx, q.QueryID[:])
	row := run(stmtKV, key, raw)
	agent := int64(0)
	if q.AgentID != nil {
		run(stmtKV, audit.AgentKeyOf(*q.AgentID, q.Timestamp, q.QueryID), []byte{})
		if errs == nil {
			agent, errs = s.number(ctx, *q.AgentID)
		}
	}
	run(stmtCountAgent, int64(q.Timestamp), agent)
	hash := func(h audit.Hash) any {
		n := int64(0)
		if errs == nil {
			n, errs = s.hash(ctx, idx>>14, h)
		}
		return n
	}
	run(stmtAudit, idx, q.QueryID.String(), agent, int64(q.Timestamp), q.Params.Subject, q.Params.Predicate,
		optional(q.Params.Lifecycle, func(l audit.Lifecycle) any { return int64(l) }), optional(q.Params.Epoch, hash),
		q.Params.Lens, optional(q.ResultHash, hash), decimal(q.ResultConfidence), int64(len(q.ContributingAssertions)), row)
	for i, c := range q.ContributingAssertions {
		run(stmtContribution, idx, int64(i), hash(c.AssertionHash), decimal(c.Weight), hash(c.SourceHash), int64(c.Lifecycle))
	}
	for name, value := range q.Attributes {
		run(stmtAttribute, idx, name, fmt.Sprint(value))
	}
	if errs == nil {
		s.next++
	}
	return errs
}

// number returns the number of an agent. It gives a new agent a number.
func (s *sqliteStore) number(ctx context.Context, agent audit.AgentID) (int64, error) {
	if n, ok := s.numbers[agent]; ok {
		return n, nil
	}
	var n int64
	err := s.stmts[stmtFindAgent].QueryRowContext(ctx, agent[:]).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		var r sql.Result
		if r, err = s.stmts[stmtNewAgent].ExecContext(ctx, agent[:]); err == nil {
			n, err = r.LastInsertId()
		}
	}
	if err == nil {
		s.numbers[agent] = n
	}
	return n, err
}

// hash returns the number of a hash in a generation of records. It gives a new hash a number.
func (s *sqliteStore) hash(ctx context.Context, generation int64, h audit.Hash) (int64, error) {
	if generation != s.of {
		clear(s.hashes)
		s.of = generation
	}
	if n, ok := s.hashes[h]; ok {
		return n, nil
	}
	var n int64
	err := s.stmts[stmtFindHash].QueryRowContext(ctx, generation, h.String()).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		var r sql.Result
		if r, err = s.stmts[stmtNewHash].ExecContext(ctx, generation, h.String()); err == nil {
			n, err = r.LastInsertId()
		}
	}
	if err == nil {
		s.hashes[h] = n
	}
	return n, err
}

func optional[T any](v *T, value func(T) any) any {
	if v == nil {
		return nil
	}
	return value(*v)
}

// decimal returns the double that the shortest decimal of f denotes.
func decimal(f float32) float64 {
	d, _ := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	return d
}

func (s *sqliteStore) get(ctx context.Context, id audit.QueryID) (raw []byte, err error) {
	err = s.getStmt.QueryRowContext(ctx, audit.KeyOf(id)).Scan(&raw)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, audit.ErrNotFound
	}
	return raw, err
}

func (s *sqliteStore) agent(ctx context.Context, agent audit.AgentID, from uint64, limit int) ([][]byte, error) {
	return values(s.agentStmt.QueryContext(ctx, agent.String(), int64(from), limit))
}

func (s *sqliteStore) recent(ctx context.Context, limit int) ([][]byte, error) {
	return values(s.recentStmt.QueryContext(ctx, limit))
}

func values(rows *sql.Rows, err error) (found [][]byte, _ error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			return nil, err
		}
		found = append(found, raw)
	}
	return found, rows.Err()
}

func (s *sqliteStore) impact(ctx context.Context, assertion audit.Hash) ([][]byte, error) {
	return values(s.impactStmt.QueryContext(ctx, assertion.String()))
}

func (s *sqliteStore) newest(ctx context.Context) (newest uint64, err error) {
	err = s.readers.QueryRowContext(ctx, `SELECT coalesce(max(timestamp), 0) FROM audit`).Scan(&newest)
	return newest, err
}

func (s *sqliteStore) close() error {
	var errs []error
	for _, stmt := range append(s.stmts[:], s.getStmt, s.agentStmt, s.recentStmt, s.impactStmt) {
		if stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	return errors.Join(append(errs, s.readers.Close(), s.writer.Close())...)
}
