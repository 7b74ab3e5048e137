package sqlstore

import (
	"context"
	"database/sql/driver"
)

// Evidence names an assertion, or a source of assertions.
type Evidence struct {
	Hash   *[32]byte
	Source bool // the hash is a source's
}

func (e *Evidence) index() *numberIndex {
	if e.Source {
		return &bySource
	}
	return &byAssertion
}

func (e *Evidence) column() string { return e.index().column }

// within returns the filter with the evidence added to its conditions. If the filter asks for evidence of the same kind
// already, it stays as it is: the records are found by one of the two.
func (e *Evidence) within(f Filter) Filter {
	if e.Source && f.Source == nil {
		f.Source = e.Hash
	} else if !e.Source && f.Assertion == nil {
		f.Assertion = e.Hash
	}
	return f
}

// joinEvidence joins the evidence, as e, of the records that a filter selects: the pieces that meet some conditions, and those of
// the filter if it is about one piece.
func (f *Filter) joinEvidence(cs ...clause) clause {
	c := and(append([]clause{{sql: `e.audit = a.idx`}}, append(cs, f.ofPiece()...)...))
	return clause{` CROSS JOIN contribution e WHERE ` + c.sql, c.args}
}

// Use is a record that has some evidence.
type Use struct {
	Index     int64 `db:"idx"`
	Agent     int64 // its number; 0: anonymous
	Timestamp int64
}

// Uses returns the first records that have some evidence, each once, in the order of admission: of all records, or of those
// whose index is less than asOf.
func (d *Dictionary) Uses(ctx context.Context, e Evidence, asOf *int64, most int) ([]Use, error) {
	if err := d.Learn(ctx, e.Hash); err != nil {
		return nil, err
	}
	db := d.db
	x := e.index()
	query := `SELECT DISTINCT a.idx, a.agent, a.timestamp FROM ` + x.hashed("c") + ` CROSS JOIN audit a
		WHERE ` + x.matchListed("c") + ` AND c.audit < ? AND a.idx = c.audit LIMIT ?`
	var uses []Use
	if err := db.readers.SelectContext(ctx, &uses, query, d.found.list(e.Hash), hexOf(e.Hash), orNow(asOf), most); err != nil {
		return nil, db.fail("count uses", err)
	}
	return uses, nil
}

// AgentUses says how one agent's records use some evidence.
type AgentUses struct {
	Agent       *[32]byte // nil: the anonymous ones
	Answers     int64     // records
	First, Last int64     // their timestamps
	Won         int64     // records whose answer the evidence is
	Weight      float64   // sum of the weights of the evidence in these records
}

// EvidenceUses counts the records that have some evidence.
type EvidenceUses struct {
	ByAgent    []AgentUses         // in no promised order
	Assertions map[string]struct{} // in hex, that the records have of a source, up to one more than was asked for
	Cut        bool                // the budget has ended the count
}

// CountEvidence counts the records that have some evidence and that a filter selects. If the filter has OnePiece, only the pieces
// that meet it count. mostAssertions is how many different assertions of it are counted; 0 counts none. The budget is one of
// records.
func (db *DB) CountEvidence(ctx context.Context, e Evidence, f Filter, mostAssertions int, b Budget) (EvidenceUses, error) {
	byAgent := map[int64]*AgentUses{}
	assertions := map[string]struct{}{}
	var u *AgentUses
	last, won := int64(-1), false // the record of the previous row, and whether it was counted as won
	m := b.Start()
	visit := func(row []driver.Value) bool {
		idx, agent, timestamp := integer(row[0]), integer(row[1]), integer(row[2])
		if idx != last { // the rows of a record come together
			if !m.More() {
				return false
			}
			last, won = idx, false
			if u = byAgent[agent]; u == nil {
				u = &AgentUses{First: timestamp, Last: timestamp}
				byAgent[agent] = u
			}
			u.Answers++
			u.First, u.Last = min(u.First, timestamp), max(u.Last, timestamp)
		}
		weight, _ := row[3].(float64)
		u.Weight += weight
		if integer(row[4]) != 0 && !won {
			won = true
			u.Won++
		}
		if assertion, ok := row[5].(string); ok && len(assertions) <= mostAssertions {
			assertions[assertion] = struct{}{}
		}
		return true
	}
	if err := db.resolve(ctx, &f, e.Hash); err != nil {
		return EvidenceUses{}, db.fail("count evidence", err)
	}
	// The numbers of a record's hashes are of one generation, so equal hashes have equal numbers.
	columns := `a.idx, a.agent, a.timestamp, e.weight, e.assertion IS a.result`
	if mostAssertions > 0 {
		columns += `, ` + hexOfNumber(`e.assertion`)
	} else {
		columns += `, NULL`
	}
	join := f.joinEvidence(f.has(`+e.`+e.column(), e.Hash))
	more, err := db.scanSome(ctx, e.within(f), columns, join.sql, join.args, visit)
	if err != nil {
		return EvidenceUses{}, db.fail("count evidence", err)
	}
	hashes, err := agentHashes(ctx, db, byAgent)
	if err != nil {
		return EvidenceUses{}, db.fail("count evidence", err)
	}
	uses := EvidenceUses{ByAgent: make([]AgentUses, 0, len(byAgent)), Assertions: assertions, Cut: !more}
	for number, u := range byAgent {
		u.Agent = hashes[number]
		uses.ByAgent = append(uses.ByAgent, *u)
	}
	return uses, nil
}
