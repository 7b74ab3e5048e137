package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"math"
	"slices"
)

// AgentCount is an agent with its records.
type AgentCount struct {
	Agent       *[32]byte // nil: the anonymous records
	Number      int64     // which stands for it in Activity; 0: the anonymous records
	Audits      int64
	First, Last int64 // timestamps
}

type agentCountRow struct {
	Agent, Audits, First, Last int64
	AgentID                    []byte `db:"agent_id"`
}

// Agents returns every agent with the count of all its records, in no promised order. If asOf is not nil, only records with a
// lower Entry.Index count. The figures are those of table agent, without the records that came later. If those are too many,
// the records are counted: cut is true if the budget has ended that.
func (db *DB) Agents(ctx context.Context, asOf *int64, b Budget) (counts []AgentCount, cut bool, err error) {
	a := agentsAsOf{db: db, asOf: math.MaxInt64, later: map[int64]*Activity{}}
	if asOf != nil {
		a.asOf = *asOf
	}
	if err := a.read(ctx); err != nil {
		return nil, false, db.fail("read agents", err)
	}
	if a.tooMany {
		return db.AgentCounts(ctx, Filter{AsOf: asOf}, b)
	}
	for i := range a.counts {
		if err := a.correct(ctx, &a.counts[i]); err != nil {
			return nil, false, db.fail("read agents", err)
		}
	}
	return slices.DeleteFunc(a.counts, func(c AgentCount) bool { return c.Audits <= 0 }), false, nil
}

// agentsAsOf is table agent as it was when the store had fewer records.
type agentsAsOf struct {
	db      *DB
	asOf    int64
	counts  []AgentCount
	later   map[int64]*Activity // by agent, the records that are in the table and not in the answer
	tooMany bool                // of these
}

// read reads the table and the later records, in one read transaction.
func (a *agentsAsOf) read(ctx context.Context) error {
	const (
		agents  = `SELECT id, agent_id, audits, first, last FROM agent WHERE audits > 0`
		records = `SELECT a.agent, a.timestamp FROM audit a WHERE a.idx >= ? LIMIT ?`
	)
	return a.db.readers.use(ctx, func(conn *readerConn) error {
		return conn.readTx(ctx, func() error {
			n, most := 0, a.db.sizes.corrections
			err := conn.each(ctx, records, []any{a.asOf, most + 1}, all(func(row []driver.Value) {
				n++
				number, timestamp := integer(row[0]), integer(row[1])
				l := a.later[number]
				if l == nil {
					l = &Activity{From: timestamp, To: timestamp}
					a.later[number] = l
				}
				l.Audits++
				l.From, l.To = min(l.From, timestamp), max(l.To, timestamp)
			}))
			if a.tooMany = n > most; err != nil || a.tooMany {
				return err
			}
			return conn.each(ctx, agents, nil, all(func(row []driver.Value) {
				hash, _ := row[1].([]byte)
				a.counts = append(a.counts, AgentCount{hashOrNil(hash), integer(row[0]), integer(row[2]), integer(row[3]), integer(row[4])})
			}))
		})
	})
}

// correct takes the later records out of what the table says of an agent.
func (a *agentsAsOf) correct(ctx context.Context, c *AgentCount) (err error) {
	later := a.later[c.Number]
	if later == nil {
		return nil
	}
	if c.Audits -= later.Audits; c.Audits <= 0 {
		return nil
	}
	from, to := c.First, c.Last
	if later.From <= from {
		if c.First, _, err = a.db.FirstOf(ctx, c.Number, from, to, a.asOf); err != nil {
			return err
		}
	}
	if later.To >= to {
		c.Last, _, err = a.db.LastOf(ctx, c.Number, from, to, a.asOf)
	}
	return err
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
	return AgentCount{hashOrNil(r.AgentID), r.Agent, r.Audits, r.First, r.Last}, true, nil
}

// AgentCounts counts the records that a filter selects by agent, in no promised order. It takes the counts from the rollup
// where it can, see CountActivity. cut is true if the budget has ended the count.
func (db *DB) AgentCounts(ctx context.Context, f Filter, b Budget) (counts []AgentCount, cut bool, err error) {
	type tally struct {
		AgentCount
		firstTo, lastFrom int64 // the first record is from First to firstTo, and the last one from lastFrom to Last
	}
	byAgent := map[int64]*tally{}
	everywhere := func(int64, int64) []Grid { return []Grid{{0, math.MaxInt64, quarterSpan}} }
	m := b.Start()
	done, err := db.CountActivity(ctx, f, everywhere, false, func(a Activity) bool {
		if !m.More() {
			return false
		}
		c := byAgent[a.Agent]
		if c == nil {
			c = &tally{AgentCount{Number: a.Agent, First: a.From, Last: a.To}, a.To, a.From}
			byAgent[a.Agent] = c
		}
		c.Audits += a.Audits
		if a.From < c.First {
			c.First, c.firstTo = a.From, a.To
		}
		if a.To > c.Last {
			c.Last, c.lastFrom = a.To, a.From
		}
		return true
	})
	if err != nil {
		return nil, false, err
	}
	hashes, err := agentHashes(ctx, db, byAgent)
	if err != nil {
		return nil, false, db.fail("count agents", err)
	}
	counts = make([]AgentCount, 0, len(byAgent))
	for number, c := range byAgent {
		c.Agent = hashes[number]
		if c.First < c.firstTo {
			c.First, _, err = db.FirstOf(ctx, number, c.First, c.firstTo, done.AsOf)
		}
		if err == nil && c.lastFrom < c.Last {
			c.Last, _, err = db.LastOf(ctx, number, c.lastFrom, c.Last, done.AsOf)
		}
		if err != nil {
			return nil, false, err
		}
		counts = append(counts, c.AgentCount)
	}
	return counts, done.Cut, nil
}

// LastOf returns the timestamp of the newest record in a time of the agent with this number, among those with an Entry.Index
// below asOf. ok is false if there is none.
func (db *DB) LastOf(ctx context.Context, agent, from, to, asOf int64) (last int64, ok bool, err error) {
	return db.endOf(ctx, agent, from, to, asOf, ` DESC`)
}

// FirstOf is LastOf for the oldest record.
func (db *DB) FirstOf(ctx context.Context, agent, from, to, asOf int64) (first int64, ok bool, err error) {
	return db.endOf(ctx, agent, from, to, asOf, ``)
}

func (db *DB) endOf(ctx context.Context, agent, from, to, asOf int64, order string) (timestamp int64, ok bool, err error) {
	const query = `SELECT a.timestamp FROM audit a INDEXED BY audit_by_agent
		WHERE a.agent = ? AND a.timestamp >= ? AND a.timestamp <= ? AND a.idx < ? ORDER BY a.timestamp`
	err = first(ctx, db.readers, query+order+` LIMIT 1`, []any{agent, from, to, asOf}, func(row []driver.Value) {
		timestamp, ok = integer(row[0]), true
	})
	if err != nil {
		return 0, false, db.fail("look for an agent's records", err)
	}
	return timestamp, ok, nil
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
	number, err := db.AgentNumber(ctx, agent)
	if err != nil || number < 0 {
		return 0, false, err
	}
	return db.LastOf(ctx, number, 0, upTo, orNow(asOf))
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
