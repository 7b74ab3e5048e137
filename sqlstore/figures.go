package sqlstore

import (
	"context"
	"database/sql/driver"
	"encoding/json"
)

// Figures say more about the records that a filter selects and that have a key of Frequencies.
type Figures struct {
	Count       int64 // records, or pieces of evidence
	First, Last int64 // timestamps of the records

	// ByAgent are the records by agent, in no promised order, with the weights of the evidence that has the key. Won is not
	// counted.
	ByAgent []AgentUses

	Confidence float64 // the sum of the confidences of the records

	// Subjects are the different subjects that the records have. If there were too many to remember, there are more of them
	// (MoreSubjects).
	Subjects     map[string]struct{}
	MoreSubjects bool
}

// Figures returns the figures of some keys, in their order. A key of ByAgent is the 32 bytes of an agent. selected is how many
// rows the filter selects in all. The budget is one of records: figures that it cuts are not returned.
//
// Where an index leads to the records of a key, they are read by it. An index of hashes has no time, so a source that is in use
// everywhere would be read as a whole, also for the minute that a filter asks for. Then all keys are counted together in the
// records that the filter selects, and so are those for which there is no index.
func (db *DB) Figures(ctx context.Context, k TopKey, keys []string, f Filter, selected int64, b Budget) (figures []Figures, cut bool, err error) {
	c := newFigureCount(db, k, keys, b)
	if err := c.learn(ctx, &f); err != nil {
		return nil, false, db.fail("count by "+k.name, err)
	}
	apart, err := c.apart(ctx, &f, selected)
	switch {
	case err != nil:
	case apart:
		for i, key := range keys {
			if err = c.run(ctx, k.within(key, f), keys[i:i+1], &c.tallies[i]); err != nil || c.cut {
				break
			}
		}
	case len(keys) > 0:
		err = c.run(ctx, f, keys, nil)
	}
	if err == nil && !c.cut {
		figures, err = c.figures(ctx)
	}
	if err != nil {
		return nil, false, db.fail("count by "+k.name, err)
	}
	return figures, c.cut, nil
}

// within returns the filter with the key among its conditions, for a key that an index leads to.
func (k *TopKey) within(key string, f Filter) Filter {
	var h [32]byte
	copy(h[:], key)
	e, hash := k.evidence()
	switch {
	case hash:
		e.Hash = &h
		return e.within(f)
	case k.of == ofAttributes:
		f.Attributes = append(f.Attributes[:len(f.Attributes):len(f.Attributes)], Attribute{k.attribute, key})
	case *k == BySubject:
		f.Subject = &key
	case *k == ByAgent:
		f.Agent = &h
	}
	return f
}

// figureCount is a Figures under way.
type figureCount struct {
	db      *DB
	key     TopKey
	keys    []string
	tallies []figureTally
	byKey   map[string]*figureTally
	byHash  map[int64]*figureTally // by number, where keys are hashes
	meter   *Meter
	cut     bool
	members int // of all sets of subjects
}

type figureTally struct {
	Figures
	last    int64 // the record that was counted last
	byAgent map[int64]*AgentUses
}

func newFigureCount(db *DB, k TopKey, keys []string, b Budget) *figureCount {
	c := &figureCount{db: db, key: k, keys: keys, tallies: make([]figureTally, len(keys)), byKey: map[string]*figureTally{}, meter: b.Start()}
	for i, key := range keys {
		c.tallies[i] = figureTally{Figures: Figures{Subjects: map[string]struct{}{}}, last: -1, byAgent: map[int64]*AgentUses{}}
		c.byKey[key] = &c.tallies[i]
	}
	return c
}

// learn finds the numbers of the filter's hashes, and of the keys where they are hashes.
func (c *figureCount) learn(ctx context.Context, f *Filter) error {
	var keys []*[32]byte
	_, hash := c.key.evidence()
	in := everything
	if hash {
		keys = hashesOf(c.keys)
		var err error
		if in, err = c.generations(ctx, f); err != nil {
			return err
		}
	}
	if err := c.db.resolveIn(ctx, f, in, keys...); err != nil || !hash {
		return err
	}
	c.byHash = map[int64]*figureTally{}
	for _, h := range keys {
		for _, n := range f.numbers[*h] {
			c.byHash[n.id] = c.byKey[string(h[:])]
		}
	}
	return nil
}

// generations returns the generations of the records that a filter can select. Evidence that is used everywhere has a number in each
// generation. The records of a short time are in few generations, so only the numbers of these are needed. If an index by time has many
// records of the time, all generations are returned.
func (c *figureCount) generations(ctx context.Context, f *Filter) (span, error) {
	if f.ByAdmission || !f.bounded() {
		return everything, nil
	}
	p, most := f.path(false), c.db.sizes.corrections
	stretch := p.stretch()
	query := `SELECT count(*), min(idx), max(idx) FROM (SELECT a.idx FROM ` + p.from + ` WHERE ` + stretch.sql + ` LIMIT ?)`
	in := everything
	err := first(ctx, c.db.readers, query, append(stretch.args, most+1), func(row []driver.Value) {
		if n := integer(row[0]); n > 0 && n <= int64(most) {
			in = span{generationOf(integer(row[1])), generationOf(integer(row[2]))}
		}
	})
	return in, err
}

// apart decides whether the records of each key are looked for apart.
func (c *figureCount) apart(ctx context.Context, f *Filter, selected int64) (bool, error) {
	e, hash := c.key.evidence()
	switch {
	case c.key == ByAgent:
		return true, nil
	case c.key == BySubject:
		// With an agent in the filter it is the index of agents that is read, as a whole for each subject.
		return f.Agent == nil && !f.Anonymous, nil
	case hash && f.onlyAsOf():
		return true, nil
	case hash:
		// A use that is looked up costs about as much as four that are read in passing.
		x := e.index()
		return c.few(ctx, x.listed("u")+` WHERE `+x.matchListed("u"), []any{f.numbers.list(hashesOf(c.keys)...)}, selected/4)
	case c.key.of == ofAttributes:
		list, err := json.Marshal(c.keys)
		if err != nil {
			return false, err
		}
		return c.few(ctx, `json_each(?) j CROSS JOIN `+byAttribute.from("u")+` WHERE u.generation = gen.n AND u.key = ? AND u.value = j.value`,
			[]any{string(list), c.key.attribute}, min(selected/4, int64(c.db.sizes.lookup)))
	}
	return false, nil
}

// few reports whether a FROM, with its condition, has no more rows than most. It reads an index alone.
func (c *figureCount) few(ctx context.Context, from string, args []any, most int64) (few bool, err error) {
	query := generations + `SELECT count(*) FROM (SELECT 1 FROM ` + from + ` LIMIT ?)`
	err = first(ctx, c.db.readers, query, append(args, most+1), func(row []driver.Value) { few = integer(row[0]) <= most })
	return few, err
}

// run counts the records that a filter selects and that have one of these keys: all for one tally, or with a nil one each for that
// of its key.
func (c *figureCount) run(ctx context.Context, f Filter, keys []string, one *figureTally) error {
	weight := `NULL`
	if c.key.of == ofEvidence {
		weight = `e.weight`
	}
	var only []clause
	if _, hash := c.key.evidence(); hash {
		only = []clause{{`+` + c.key.column + ` IN (SELECT value FROM json_each(?))`, []any{f.numbers.list(hashesOf(keys)...)}}}
	}
	columns := c.key.column + `, a.idx, a.agent, a.timestamp, a.subject, a.result_confidence, ` + weight
	join := c.key.joined(&f, only...)
	more, err := c.db.scanSome(ctx, f, columns, join.sql, join.args, func(row []driver.Value) bool {
		t := one
		if t == nil {
			if n, number := row[0].(int64); number && c.byHash != nil {
				t = c.byHash[n]
			} else if key, ok := c.key.text(row[0]); ok {
				t = c.byKey[key]
			}
			if t == nil {
				return true
			}
		}
		return c.add(t, row)
	})
	c.cut = c.cut || !more
	return err
}

// add counts a row for a key, unless the budget is used up. The rows of a record come together.
func (c *figureCount) add(t *figureTally, row []driver.Value) bool {
	idx, agent, timestamp := integer(row[1]), integer(row[2]), integer(row[3])
	u := t.byAgent[agent]
	if u == nil {
		u = &AgentUses{First: timestamp, Last: timestamp}
		t.byAgent[agent] = u
	}
	if idx != t.last {
		if !c.meter.More() {
			return false
		}
		t.last = idx
		if t.Count == 0 {
			t.First, t.Last = timestamp, timestamp
		}
		t.First, t.Last = min(t.First, timestamp), max(t.Last, timestamp)
		u.Answers++
		u.First, u.Last = min(u.First, timestamp), max(u.Last, timestamp)
		confidence, _ := row[5].(float64)
		t.Confidence += confidence
		if subject, ok := row[4].(string); ok {
			if _, known := t.Subjects[subject]; !known {
				if c.members < c.db.sizes.keys {
					t.Subjects[subject] = struct{}{}
					c.members++
				} else {
					t.MoreSubjects = true
				}
			}
		}
	}
	t.Count++
	weight, _ := row[6].(float64)
	u.Weight += weight
	return true
}

func (c *figureCount) figures(ctx context.Context) ([]Figures, error) {
	agents := map[int64]struct{}{}
	for i := range c.tallies {
		for number := range c.tallies[i].byAgent {
			agents[number] = struct{}{}
		}
	}
	hashes, err := agentHashes(ctx, c.db, agents)
	if err != nil {
		return nil, err
	}
	figures := make([]Figures, len(c.tallies))
	for i := range c.tallies {
		t := &c.tallies[i]
		for number, u := range t.byAgent {
			u.Agent = hashes[number]
			t.ByAgent = append(t.ByAgent, *u)
		}
		figures[i] = t.Figures
	}
	return figures, nil
}
