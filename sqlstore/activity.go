package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
)

// AgentCount is an agent with its records.
type AgentCount struct {
	Agent       *[32]byte // nil: the anonymous records
	Audits      int64
	First, Last int64 // timestamps
}

type agentCountRow struct {
	Agent, Audits, First, Last int64
	AgentID                    []byte `db:"agent_id"`
}

// Agents returns every agent with the count of all its records, in no promised order.
func (db *DB) Agents(ctx context.Context) ([]AgentCount, error) {
	const query = `SELECT id AS agent, agent_id, audits, first, last FROM agent WHERE audits > 0`
	var rows []agentCountRow
	if err := db.readers.SelectContext(ctx, &rows, query); err != nil {
		return nil, db.fail("read agents", err)
	}
	counts := make([]AgentCount, len(rows))
	for i, r := range rows {
		counts[i] = AgentCount{hashOrNil(r.AgentID), r.Audits, r.First, r.Last}
	}
	return counts, nil
}

// AgentOf returns an agent with the count of all its records, or false if it has none.
func (db *DB) AgentOf(ctx context.Context, agent [32]byte) (AgentCount, bool, error) {
	const query = `SELECT id AS agent, agent_id, audits, first, last FROM agent WHERE agent_hex = ? AND audits > 0`
	var r agentCountRow
	err := db.readers.GetContext(ctx, &r, query, hexOf(&agent))
	if errors.Is(err, sql.ErrNoRows) {
		return AgentCount{}, false, nil
	}
	if err != nil {
		return AgentCount{}, false, db.fail("read agent", err)
	}
	return AgentCount{hashOrNil(r.AgentID), r.Audits, r.First, r.Last}, true, nil
}

// AgentCounts counts the records that a filter selects by agent, in no promised order.
func (db *DB) AgentCounts(ctx context.Context, f Filter) ([]AgentCount, error) {
	byAgent := map[int64]*AgentCount{}
	err := db.scan(ctx, f, `a.agent, a.timestamp`, noJoin, nil, func(row []driver.Value) {
		agent, timestamp := integer(row[0]), integer(row[1])
		c := byAgent[agent]
		if c == nil {
			c = &AgentCount{First: timestamp, Last: timestamp}
			byAgent[agent] = c
		}
		c.Audits++
		c.First, c.Last = min(c.First, timestamp), max(c.Last, timestamp)
	})
	if err != nil {
		return nil, db.fail("count agents", err)
	}
	hashes, err := agentHashes(ctx, db, byAgent)
	if err != nil {
		return nil, db.fail("count agents", err)
	}
	counts := make([]AgentCount, 0, len(byAgent))
	for number, c := range byAgent {
		c.Agent = hashes[number]
		counts = append(counts, *c)
	}
	return counts, nil
}

// AgentNumber returns the number by which rows name an agent, or -1 for an agent that has no records.
func (db *DB) AgentNumber(ctx context.Context, agent [32]byte) (int64, error) {
	number := int64(-1)
	if err := db.readers.GetContext(ctx, &number, `SELECT id FROM agent WHERE agent_hex = ?`, hexOf(&agent)); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return -1, db.fail("look for an agent", err)
	}
	return number, nil
}

// LastBefore returns the timestamp of an agent's newest record up to a time, or false if there is none. With asOf only records
// with a lower index count.
func (db *DB) LastBefore(ctx context.Context, agent [32]byte, upTo int64, asOf *int64) (int64, bool, error) {
	const query = `SELECT a.timestamp FROM audit a INDEXED BY audit_by_agent
		WHERE a.agent = ` + agentNumber + ` AND a.timestamp <= ? AND a.idx < ?
		ORDER BY a.timestamp DESC LIMIT 1`
	var last int64
	err := db.readers.GetContext(ctx, &last, query, hexOf(&agent), upTo, orNow(asOf))
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, db.fail("look for an agent's records", err)
	}
	return last, true, nil
}

// Moment is when a record was made, and by whom.
type Moment struct {
	Agent      int64 // the agent's number; 0: anonymous
	Timestamp  int64
	Unapproved bool // some of the record's evidence is not Approved, if that was asked for
}

// Moments visits the records that a filter selects, in no promised order.
func (db *DB) Moments(ctx context.Context, f Filter, withUnapproved bool, visit func(Moment)) error {
	columns := `a.agent, a.timestamp, 0`
	if withUnapproved {
		columns = `a.agent, a.timestamp, ` + unapproved
	}
	err := db.scan(ctx, f, columns, noJoin, nil, func(row []driver.Value) {
		visit(Moment{integer(row[0]), integer(row[1]), integer(row[2]) != 0})
	})
	if err != nil {
		return db.fail("count by time", err)
	}
	return nil
}

// AgentHashes returns the agents of these numbers; number 0, the anonymous ones, has none.
func (db *DB) AgentHashes(ctx context.Context, numbers []int64) (map[int64]*[32]byte, error) {
	set := make(map[int64]struct{}, len(numbers))
	for _, n := range numbers {
		set[n] = struct{}{}
	}
	hashes, err := agentHashes(ctx, db, set)
	if err != nil {
		return nil, db.fail("read agents", err)
	}
	return hashes, nil
}

func agentHashes[T any](ctx context.Context, db *DB, numbers map[int64]T) (map[int64]*[32]byte, error) {
	const query = `SELECT g.id AS agent, g.agent_id FROM json_each(?) j CROSS JOIN agent g ON g.id = j.value`
	list := make([]int64, 0, len(numbers))
	for n := range numbers {
		list = append(list, n)
	}
	text, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	var rows []agentCountRow
	if err := db.readers.SelectContext(ctx, &rows, query, string(text)); err != nil {
		return nil, err
	}
	hashes := make(map[int64]*[32]byte, len(rows))
	for _, r := range rows {
		hashes[r.Agent] = hashOrNil(r.AgentID)
	}
	return hashes, nil
}

func hashOrNil(b []byte) *[32]byte {
	if len(b) != 32 {
		return nil
	}
	return (*[32]byte)(b)
}
