package sqlstore

import (
	"context"
	"encoding/hex"

	"github.com/jmoiron/sqlx"
)

// Evidence names an assertion, or a source of assertions.
type Evidence struct {
	Hash   *[32]byte
	Source bool // the hash is a source's
}

func (e *Evidence) index() string {
	if e.Source {
		return `contribution_by_source`
	}
	return `contribution_by_assertion`
}

// column is the generated one that the index holds, blob the one it is made of.
func (e *Evidence) column() string {
	if e.Source {
		return `source_hex`
	}
	return `assertion_hex`
}

func (e *Evidence) blob() string {
	if e.Source {
		return `source_hash`
	}
	return `assertion_hash`
}

// within returns the filter with the evidence added to what it asks for, unless it asks for other evidence of
// the kind: only one can lead to the records.
func (e *Evidence) within(f Filter) Filter {
	if e.Source && f.Source == nil {
		f.Source = e.Hash
	} else if !e.Source && f.Assertion == nil {
		f.Assertion = e.Hash
	}
	return f
}

// Use is a record that has some evidence.
type Use struct {
	Index     int64 `db:"idx"`
	Agent     int64 // its number; 0: anonymous
	Timestamp int64
}

// Uses returns the records that have some evidence, each once, in the order of admission: the first so many.
func (db *DB) Uses(ctx context.Context, e Evidence, most int) ([]Use, error) {
	query := `WITH RECURSIVE gen (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM gen WHERE n < (SELECT max(idx) >> 14 FROM audit))
		SELECT DISTINCT a.idx, a.agent, a.timestamp
		FROM gen CROSS JOIN contribution c INDEXED BY ` + e.index() + ` CROSS JOIN audit a
		WHERE c.generation = gen.n AND c.` + e.column() + ` = ? AND a.idx = c.audit LIMIT ?`
	var uses []Use
	if err := db.readers.SelectContext(ctx, &uses, query, hex.EncodeToString(e.Hash[:]), most); err != nil {
		return nil, db.fail("count uses", err)
	}
	return uses, nil
}

// AgentUses says how one agent's records use some evidence.
type AgentUses struct {
	Agent       *[32]byte // nil: the anonymous ones
	Answers     int64     // records
	First, Last int64     // their timestamps
	Won         int64     // how many of them it was the answer of
	Weight      float64   // of the evidence in them, together
}

// EvidenceByAgent counts the records that a filter selects among those that have some evidence, by agent, in
// no promised order.
func (db *DB) EvidenceByAgent(ctx context.Context, e Evidence, f Filter) ([]AgentUses, error) {
	type row struct {
		Agent, Answers, First, Last, Won int64
		Weight                           float64
	}
	const columns = `a.agent, a.timestamp, sum(c.weight) AS weight, max(c.assertion_hash IS a.result_hash) AS won`
	const outer = `SELECT agent, count(*) AS answers, min(timestamp) AS first, max(timestamp) AS last,
		sum(won) AS won, sum(weight) AS weight FROM (`
	byAgent := map[int64]*AgentUses{}
	for p, err := range db.parts(ctx, e.within(f)) {
		if err != nil {
			return nil, db.fail("count evidence", err)
		}
		inner, args := p.query(columns, ` CROSS JOIN contribution c WHERE c.audit = a.idx AND c.`+e.blob()+` = ?`, `GROUP BY a.idx`, e.Hash[:])
		var rows []row
		if err := sqlx.SelectContext(ctx, db.readers, &rows, outer+inner+`) GROUP BY agent`, args...); err != nil {
			return nil, db.fail("count evidence", err)
		}
		for _, r := range rows {
			u := byAgent[r.Agent]
			if u == nil {
				u = &AgentUses{First: r.First, Last: r.Last}
				byAgent[r.Agent] = u
			}
			u.Answers += r.Answers
			u.First, u.Last = min(u.First, r.First), max(u.Last, r.Last)
			u.Won += r.Won
			u.Weight += r.Weight
		}
	}
	hashes, err := agentHashes(ctx, db, byAgent)
	if err != nil {
		return nil, db.fail("count evidence", err)
	}
	uses := make([]AgentUses, 0, len(byAgent))
	for number, u := range byAgent {
		u.Agent = hashes[number]
		uses = append(uses, *u)
	}
	return uses, nil
}

// AssertionsOf counts the assertions of a source in the records that a filter selects. It stops counting
// where it has found more than most.
func (db *DB) AssertionsOf(ctx context.Context, source [32]byte, f Filter, most int) (int, error) {
	f.Source = &source
	found := map[string]bool{}
	for p, err := range db.parts(ctx, f) {
		if err != nil {
			return 0, db.fail("count assertions", err)
		}
		query, args := p.query(`DISTINCT c.assertion_hash`, ` CROSS JOIN contribution c WHERE c.audit = a.idx AND c.source_hash = ?`, ``, source[:])
		var hashes [][]byte
		if err := db.readers.SelectContext(ctx, &hashes, query, args...); err != nil {
			return 0, db.fail("count assertions", err)
		}
		for _, h := range hashes {
			found[string(h)] = true
		}
		if len(found) > most {
			break
		}
	}
	return len(found), nil
}
