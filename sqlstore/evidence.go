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

// Use is a record that has some evidence.
type Use struct {
	Index     int64 `db:"idx"`
	Agent     int64 // its number; 0: anonymous
	Timestamp int64
}

// Uses returns the first records that have some evidence, each once, in the order of admission: of all records, or of those
// whose index is less than asOf.
func (db *DB) Uses(ctx context.Context, e Evidence, asOf *int64, most int) ([]Use, error) {
	x := e.index()
	with, before, args := generations, ``, []any{hexOf(e.Hash)}
	if asOf != nil {
		// The later generations are left out: whatever they have, it does not count.
		with, before = generationsTo, ` AND a.idx < ?`
		args = []any{generationOf(*asOf - 1), hexOf(e.Hash), *asOf}
	}
	query := with + `SELECT DISTINCT a.idx, a.agent, a.timestamp FROM ` + x.hashed("c") + ` CROSS JOIN audit a
		WHERE ` + x.matchHashed("c") + ` AND a.idx = c.audit` + before + ` LIMIT ?`
	var uses []Use
	if err := db.readers.SelectContext(ctx, &uses, query, append(args, most)...); err != nil {
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
	ByAgent    []AgentUses // in no promised order
	Assertions int         // that the records have of a source, up to one more than was asked for
	Cut        bool        // the budget has ended the count
}

// CountEvidence counts the records that have some evidence and that a filter selects. mostAssertions is how many different
// assertions of it are counted; 0 counts none. The budget is one of records.
func (db *DB) CountEvidence(ctx context.Context, e Evidence, f Filter, mostAssertions int, b Budget) (EvidenceUses, error) {
	f = e.within(f)
	if err := db.resolveAlso(ctx, &f, e.Hash); err != nil {
		return EvidenceUses{}, db.fail("count evidence", err)
	}
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
	// The numbers of a record's hashes are of one generation, so equal hashes have equal numbers.
	columns := `a.idx, a.agent, a.timestamp, c.weight, c.assertion IS a.result`
	if mostAssertions > 0 {
		columns += `, (SELECT hex FROM hash WHERE id = c.assertion)`
	} else {
		columns += `, NULL`
	}
	has := f.has(`+c.`+e.column(), e.Hash)
	join := ` CROSS JOIN contribution c WHERE c.audit = a.idx AND ` + has.sql
	more, err := db.scanSome(ctx, f, columns, join, has.args, visit)
	if err != nil {
		return EvidenceUses{}, db.fail("count evidence", err)
	}
	hashes, err := agentHashes(ctx, db, byAgent)
	if err != nil {
		return EvidenceUses{}, db.fail("count evidence", err)
	}
	uses := EvidenceUses{ByAgent: make([]AgentUses, 0, len(byAgent)), Assertions: len(assertions), Cut: !more}
	for number, u := range byAgent {
		u.Agent = hashes[number]
		uses.ByAgent = append(uses.ByAgent, *u)
	}
	return uses, nil
}

// CountEach is CountEvidence for several assertions, or several sources, with the same filter. selected is how many pieces of
// evidence the filter selects in all. The result is in the order of the hashes, without Assertions.
//
// Where the hashes have few uses in the whole store, each is looked up by its index. The index has no time, so a source that is
// in use everywhere would be read as a whole, also for the minute that a filter asks for. Then all hashes are counted together in
// the records that the filter selects.
func (db *DB) CountEach(ctx context.Context, source bool, hashes []*[32]byte, f Filter, selected int64) ([]EvidenceUses, error) {
	uses := make([]EvidenceUses, len(hashes))
	known, err := db.numbersOf(ctx, hashes)
	if err != nil {
		return nil, db.fail("count evidence", err)
	}
	f.numbers = known
	if !f.onlyAsOf() {
		// A use that is looked up costs about as much as four that are read in passing.
		few, err := db.fewUses(ctx, Evidence{Source: source}, known, hashes, selected/4)
		if err != nil {
			return nil, db.fail("count evidence", err)
		}
		if !few {
			if err := db.countTogether(ctx, Evidence{Source: source}, known, hashes, f, uses); err != nil {
				return nil, db.fail("count evidence", err)
			}
			return uses, nil
		}
	}
	for i, h := range hashes {
		var err error
		if uses[i], err = db.CountEvidence(ctx, Evidence{Hash: h, Source: source}, f, 0, Budget{}); err != nil {
			return nil, err
		}
	}
	return uses, nil
}

// fewUses reports whether all uses of some hashes are not more than most. It reads the index alone.
func (db *DB) fewUses(ctx context.Context, e Evidence, known numbers, hashes []*[32]byte, most int64) (few bool, err error) {
	x := e.index()
	query := `SELECT count(*) FROM (SELECT 1 FROM ` + x.listed("c") + ` WHERE ` + x.matchListed("c") + ` LIMIT ?)`
	err = first(ctx, db.readers, query, []any{known.list(hashes...), most + 1}, func(row []driver.Value) { few = integer(row[0]) <= most })
	return few, err
}

// countTogether counts the uses of several hashes in one pass over the records that a filter selects.
func (db *DB) countTogether(ctx context.Context, e Evidence, known numbers, hashes []*[32]byte, f Filter, uses []EvidenceUses) error {
	type tally struct {
		byAgent map[int64]*AgentUses
		last    int64 // the record that was counted last
		won     bool  // and whether it was counted as won
	}
	tallies := map[[32]byte]*tally{}
	byNumber := map[int64]*tally{}
	for _, h := range hashes {
		tallies[*h] = &tally{byAgent: map[int64]*AgentUses{}, last: -1}
		for _, n := range known[*h] {
			byNumber[n] = tallies[*h]
		}
	}
	columns := `a.idx, a.agent, a.timestamp, c.weight, c.assertion IS a.result, c.` + e.column()
	join := ` CROSS JOIN contribution c WHERE c.audit = a.idx AND +c.` + e.column() + ` IN (SELECT value FROM json_each(?))`
	agents := map[int64]struct{}{}
	err := db.scan(ctx, f, columns, join, []any{known.list(hashes...)}, func(row []driver.Value) {
		t := byNumber[integer(row[5])]
		if t == nil {
			return // no: the query asks for these numbers
		}
		idx, agent, timestamp := integer(row[0]), integer(row[1]), integer(row[2])
		u := t.byAgent[agent]
		if u == nil {
			u = &AgentUses{First: timestamp, Last: timestamp}
			t.byAgent[agent], agents[agent] = u, struct{}{}
		}
		if idx != t.last { // the rows of a record come together
			t.last, t.won = idx, false
			u.Answers++
			u.First, u.Last = min(u.First, timestamp), max(u.Last, timestamp)
		}
		weight, _ := row[3].(float64)
		u.Weight += weight
		if integer(row[4]) != 0 && !t.won {
			t.won = true
			u.Won++
		}
	})
	if err != nil {
		return err
	}
	agentOf, err := agentHashes(ctx, db, agents)
	if err != nil {
		return err
	}
	for i, h := range hashes {
		for number, u := range tallies[*h].byAgent {
			u.Agent = agentOf[number]
			uses[i].ByAgent = append(uses[i].ByAgent, *u)
		}
	}
	return nil
}
