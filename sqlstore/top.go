package sqlstore

import (
	"cmp"
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// TopKey is what Frequencies counts by.
type TopKey struct {
	name      string
	column    string // its value in a row, as joined has it; of a hash the number
	of        keyOf
	attribute string // of the key of attributes
}

// keyOf says what has a key.
type keyOf uint8

const (
	ofRecords    keyOf = iota // a record has one, or none
	ofAttributes              // likewise
	ofEvidence                // each piece of evidence has one
)

// The keys of Frequencies. Nothing changes these variables.
var (
	BySubject   = TopKey{name: "subject", column: `a.subject`}
	ByPredicate = TopKey{name: "predicate", column: `a.predicate`}
	ByLens      = TopKey{name: "lens", column: `a.lens`}
	ByAssertion = TopKey{name: "assertion", column: `e.assertion`, of: ofEvidence}
	BySource    = TopKey{name: "source", column: `e.source`, of: ofEvidence}
	ByLifecycle = TopKey{name: "lifecycle", column: `e.lifecycle`, of: ofEvidence} // of evidence, as a decimal number
	ByAgent     = TopKey{name: "agent", column: `a.agent`}                         // for Figures alone
)

// ByAttribute is the key that counts by the value of an attribute.
func ByAttribute(key string) TopKey {
	return TopKey{name: "attribute", column: `t.value`, of: ofAttributes, attribute: key}
}

// evidence returns the kind of evidence that the key is a hash of, if it is one.
func (k *TopKey) evidence() (e Evidence, ok bool) {
	return Evidence{Source: *k == BySource}, *k == ByAssertion || *k == BySource
}

// joined joins what has the key to the records that a filter selects, with further conditions.
func (k *TopKey) joined(f *Filter, cs ...clause) clause {
	switch k.of {
	case ofEvidence:
		return f.joinEvidence(cs...)
	case ofAttributes:
		c := and(cs)
		return clause{` LEFT JOIN attribute t ON t.audit = a.idx AND t.key = ? WHERE ` + c.sql, append([]any{k.attribute}, c.args...)}
	}
	c := and(cs)
	return clause{` WHERE ` + c.sql, c.args}
}

// text returns the key of a row as Frequency has it. ok is false where the row has none, or one that somebody wrote by hand.
func (k *TopKey) text(v driver.Value) (key string, ok bool) {
	switch v := v.(type) {
	case string:
		if _, hash := k.evidence(); !hash {
			return v, true
		}
		h, ok := hashOf(v)
		return string(h[:]), ok
	case int64:
		return strconv.FormatInt(v, 10), true
	}
	return "", false
}

// Rank is what Frequencies orders keys by.
type Rank uint8

// The ranks.
const (
	RankCount   Rank = iota // records, or pieces of evidence
	RankAnswers             // records
	RankAgents              // different agents of the records; nobody is no agent
)

// Frequency is how often a key was met.
type Frequency struct {
	Key   string // text, or the 32 bytes of a hash
	Count int64  // of what the rank says; it can be short by up to Frequencies.Missed
}

// Frequencies are the keys that were met most often.
type Frequencies struct {
	Top     []Frequency // descending by count, then ascending by key
	Total   int64       // of all rows that have a key, whatever the rank
	Without int64       // rows that have no key; not in Total
	// Missed is 0 where all keys were counted. Otherwise there were too many keys to remember. Then a count can be short by up
	// to Missed, and a key that was met no more often than that can be missing.
	Missed int64

	// Agents has for each key the numbers of the agents that the records have, if they are ranked by RankAgents.
	Agents map[string]map[int64]struct{}

	// Cut says that the budget has ended the count. Counted is then a filter for the records that were counted, which are the
	// newest ones. Otherwise it is the filter that was asked about.
	Cut     bool
	Counted Filter
}

// Frequencies counts what a filter selects by a key: records by subject, predicate, lens or attribute, and evidence by assertion,
// source or lifecycle. If the filter has OnePiece, the evidence that does not meet it is not counted.
//
// Its memory is bounded. When there are too many keys, the rarest are forgotten. Missed adds up how much any count can
// have lost by that (lossy counting: Manku and Motwani, 2002).
//
// It reads two parts at a time where there are two processors, and counts them in order.
//
// It begins with the newest records, so what the budget lets it count is what happened last. It goes by whole parts of some
// thousand records, and counts at least one. A half of the time of the budget is left for the questions that follow about what
// was found: who used it, and when. Where all evidence of the store is counted by its index, they take longer than the count, and
// more is left for them.
func (db *DB) Frequencies(ctx context.Context, k TopKey, f Filter, rank Rank, b Budget) (Frequencies, error) {
	c := frequencyCount{db: db, filter: f, key: k, rank: rank, counts: map[string]int64{}}
	c.Counted = f
	b = b.Part(1, 2)
	if c.ofAll() {
		b = b.Part(1, allEvidenceShare)
	}
	c.meter = b.Start()
	if err := c.run(ctx); err != nil {
		return c.Frequencies, db.fail("count by "+k.name, err)
	}
	for key, n := range c.counts {
		c.Top = append(c.Top, Frequency{key, n})
	}
	slices.SortFunc(c.Top, func(a, b Frequency) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Key, b.Key))
	})
	return c.Frequencies, nil
}

// frequencyCount is a Frequencies under way.
type frequencyCount struct {
	Frequencies
	db     *DB
	filter Filter
	meter  *Meter
	spent  int64 // rows that the meter knows of
	key    TopKey
	rank   Rank
	counts map[string]int64

	last    map[string]int64 // by key, the record that was counted last: for RankAnswers
	members int              // of all sets in Agents

	texts map[int64]string // of keys that are hashes, by number: "" for one that somebody wrote by hand
}

// allEvidenceShare is how much faster evidence is counted by its index than looked at, more or less.
const allEvidenceShare = 8

// ofAll reports whether the evidence of all records is counted by its index.
func (c *frequencyCount) ofAll() bool {
	_, hash := c.key.evidence()
	return hash && c.rank == RankCount && c.filter.onlyAsOf()
}

// run adds up every row, and asks after each part whether it was enough.
func (c *frequencyCount) run(ctx context.Context) error {
	if c.ofAll() {
		return c.allEvidence(ctx, c.filter.AsOf)
	}
	if err := c.db.resolve(ctx, &c.filter); err != nil {
		return err
	}
	join := c.key.joined(&c.filter)
	_, hash := c.key.evidence()
	read := func(ctx context.Context, p part) (found keyPart, err error) {
		query, args := p.query(c.key.column+`, a.idx, a.agent`, join.sql, join.args...)
		if hash {
			found.met, err = c.tally(ctx, query, args)
			return found, err
		}
		err = c.db.readers.each(ctx, query, args, all(func(row []driver.Value) {
			r := keyRow{idx: integer(row[1]), agent: integer(row[2]), none: row[0] == nil}
			ok := r.none
			if !ok {
				r.key, ok = c.key.text(row[0])
			}
			if ok {
				found.rows = append(found.rows, r)
			}
		}))
		return found, err
	}
	var failed error
	err := ahead(ctx, c.db.parts(ctx, c.filter, true), read, func(p part, found keyPart) (more bool) {
		for i := range found.rows {
			c.add(&found.rows[i])
		}
		failed = c.addHashes(ctx, found.met)
		return failed == nil && !c.ended(p.end)
	})
	return errors.Join(err, failed)
}

// keyPart is what a part has to be counted: rows, or of keys that are hashes how often each number was met.
type keyPart struct {
	rows []keyRow
	met  map[int64]*numberTally
}

// keyRow is a row that is counted.
type keyRow struct {
	key        string
	none       bool // it has no key
	idx, agent int64
}

// ended prunes after a part, and reports whether that was the last one: the budget is used up, and others would follow.
func (c *frequencyCount) ended(end *border) bool {
	c.prune()
	counted := c.Total + c.Without
	c.Cut = c.meter.Spent(counted-c.spent) && end != nil
	c.spent = counted
	if c.Cut {
		c.Counted = c.filter.downTo(end)
	}
	return c.Cut
}

// downTo returns the filter narrowed to the records that parts have gone through, beginning with the newest, up to a border.
func (f Filter) downTo(b *border) Filter {
	r := &b.row
	if b.byAdmission {
		f.since = &r.Idx
		return f
	}
	f.From, f.fromOn = &r.Timestamp, &Place{Timestamp: r.Timestamp, Index: r.Idx} // a walk begins where From says
	return f
}

// add counts a row. The rows of a record come together.
func (c *frequencyCount) add(r *keyRow) {
	if r.none {
		c.Without++
		return
	}
	key, idx, agent := r.key, r.idx, r.agent
	c.Total++
	switch c.rank {
	case RankCount:
		c.counts[key]++
	case RankAnswers:
		if c.last == nil {
			c.last = map[string]int64{}
		}
		if before, met := c.last[key]; !met || before != idx {
			c.last[key] = idx
			c.counts[key]++
		}
	case RankAgents:
		c.addAgent(key, agent)
	}
}

// addAgent counts an agent of a record that has a key; 0 is none.
func (c *frequencyCount) addAgent(key string, agent int64) {
	if c.Agents == nil {
		c.Agents = map[string]map[int64]struct{}{}
	}
	set := c.Agents[key]
	if set == nil {
		set = map[int64]struct{}{}
		c.Agents[key] = set
	}
	if agent != 0 {
		set[agent] = struct{}{}
	}
	c.members += len(set) - int(c.counts[key])
	c.counts[key] = int64(len(set))
}

// numberTally is how often the number of a hash was met in a part.
type numberTally struct {
	rows, answers int64
	last          int64              // the record that was counted last
	agents        map[int64]struct{} // for RankAgents
}

// tally counts the rows of a part, whose keys are hashes, by number: of the hash the text is looked up once, and not for each row.
func (c *frequencyCount) tally(ctx context.Context, query string, args []any) (map[int64]*numberTally, error) {
	met := map[int64]*numberTally{}
	err := c.db.readers.each(ctx, query, args, all(func(row []driver.Value) {
		n, idx, agent := integer(row[0]), integer(row[1]), integer(row[2])
		t := met[n]
		if t == nil {
			t = &numberTally{last: -1}
			if c.rank == RankAgents {
				t.agents = map[int64]struct{}{}
			}
			met[n] = t
		}
		t.rows++
		if idx != t.last {
			t.last = idx
			t.answers++
		}
		if t.agents != nil {
			t.agents[agent] = struct{}{}
		}
	}))
	return met, err
}

// addHashes adds up what was met in a part.
func (c *frequencyCount) addHashes(ctx context.Context, met map[int64]*numberTally) error {
	if err := c.learnTexts(ctx, met); err != nil {
		return err
	}
	for n, t := range met {
		key, known := c.texts[n]
		switch {
		case !known:
			c.Without += t.rows
			continue
		case key == "":
			continue
		}
		c.Total += t.rows
		switch c.rank {
		case RankCount:
			c.counts[key] += t.rows
		case RankAnswers: // a record is in one part, with one number for each hash
			c.counts[key] += t.answers
		case RankAgents:
			for agent := range t.agents {
				c.addAgent(key, agent)
			}
		}
	}
	return nil
}

// learnTexts looks up the hashes of the numbers that were met and are not known yet.
func (c *frequencyCount) learnTexts(ctx context.Context, met map[int64]*numberTally) error {
	if c.texts == nil || len(c.texts) > c.db.sizes.keys {
		c.texts = map[int64]string{}
	}
	var unknown []int64
	for n := range met {
		if _, known := c.texts[n]; !known {
			unknown = append(unknown, n)
		}
	}
	slices.Sort(unknown)
	for some := range slices.Chunk(unknown, c.db.sizes.maxStretch) {
		err := c.db.standFor(ctx, some, func(n number, text driver.Value) { c.texts[n.id], _ = c.key.text(text) })
		if err != nil {
			return err
		}
	}
	return nil
}

// prune forgets the rarest keys when there are too many.
func (c *frequencyCount) prune() {
	for len(c.counts) > c.db.sizes.keys || c.members > c.db.sizes.keys {
		floor := leastCount(c.counts)
		for key, n := range c.counts {
			if n <= floor {
				delete(c.counts, key)
				delete(c.last, key)
				c.members -= len(c.Agents[key])
				delete(c.Agents, key)
			}
		}
		c.Missed += floor
	}
}

// leastCount returns the count that the rarer half of the keys does not exceed.
func leastCount(counts map[string]int64) int64 {
	all := make([]int64, 0, len(counts))
	for _, n := range counts {
		all = append(all, n)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// allEvidence adds up the evidence of all records, or of those whose index is less than asOf. It reads the index alone, a
// generation at a time, the newest first.
func (c *frequencyCount) allEvidence(ctx context.Context, asOf *int64) error {
	newest, err := c.db.newest(ctx)
	if err != nil {
		return err
	}
	newest = min(newest, orNow(asOf)-1)
	e, _ := c.key.evidence()
	type one struct {
		generation int64
		end        *border
	}
	generations := func(yield func(one, error) bool) {
		for generation, end := range everyGeneration(newest, true) {
			if !yield(one{generation, end}, nil) {
				return
			}
		}
	}
	read := func(ctx context.Context, g one) (found []Frequency, err error) {
		err = c.db.readers.each(ctx, e.index().tally(), []any{newest, g.generation}, all(func(row []driver.Value) {
			// What another column has the hash for is none of these.
			if key, ok := c.key.text(row[0]); ok && integer(row[1]) > 0 {
				found = append(found, Frequency{key, integer(row[1])})
			}
		}))
		return found, err
	}
	return ahead(ctx, generations, read, func(g one, found []Frequency) (more bool) {
		for _, f := range found {
			c.counts[f.Key] += f.Count
			c.Total += f.Count
		}
		return !c.ended(g.end)
	})
}

// SeenBefore says which keys any record with a timestamp before this one has: any of all records, or of those whose index
// is less than asOf. There is no index for predicates, lenses and lifecycles: for one that is new it looks at every record before
// the timestamp.
func (db *DB) SeenBefore(ctx context.Context, k TopKey, keys []string, timestamp int64, asOf *int64) (seen []bool, err error) {
	if e, hash := k.evidence(); hash {
		seen, err = db.evidenceBefore(ctx, &e, keys, timestamp, asOf)
	} else {
		seen = make([]bool, len(keys))
		for i, key := range keys {
			if seen[i], err = db.seenBefore(ctx, k, key, timestamp, asOf); err != nil {
				break
			}
		}
	}
	if err != nil {
		return nil, db.fail(fmt.Sprintf("look for what came before %d", timestamp), err)
	}
	return seen, nil
}

// hashesOf returns keys that are hashes as such.
func hashesOf(keys []string) []*[32]byte {
	all := make([]*[32]byte, len(keys))
	for i, key := range keys {
		h := [32]byte([]byte(key))
		all[i] = &h
	}
	return all
}

// evidenceBefore is SeenBefore for hashes of evidence. It looks for all together.
//
// Evidence that is used everywhere has a number in each generation, and the first of them is enough. So the first few generations are searched
// first, up to a use that came before. What is left is new or rare as a rule.
func (db *DB) evidenceBefore(ctx context.Context, e *Evidence, keys []string, timestamp int64, asOf *int64) ([]bool, error) {
	const oldest = 4 // generations
	x := e.index()
	// The time is no join: SQLite would read all of table audit for a filter of its rows first.
	before := ` CROSS JOIN ` + x.named("c") + ` WHERE c.` + x.column + ` = h.id AND c.audit < ? AND (SELECT a.timestamp FROM audit a WHERE a.idx = c.audit) < ?`
	seen := make([]bool, len(keys))
	mark := func(query string, args ...any) error {
		return db.readers.each(ctx, query, append(args, orNow(asOf), timestamp), all(func(row []driver.Value) { seen[integer(row[0])] = true }))
	}
	hashes := hashesOf(keys)
	texts, err := listOf(hashes)
	if err != nil {
		return nil, err
	}
	query := generationsIn + `SELECT k.key FROM json_each(?) k WHERE EXISTS (SELECT 1 FROM gen CROSS JOIN hash h INDEXED BY hash_by_hex
		ON h.generation = gen.n AND h.hex = k.value` + before + `)`
	if err := mark(query, 0, oldest-1, texts); err != nil {
		return nil, err
	}
	var left []*[32]byte
	for i, h := range hashes {
		if !seen[i] {
			left = append(left, h)
		}
	}
	if len(left) == 0 {
		return seen, nil
	}
	found, err := db.numbersOf(ctx, left, everything)
	if err != nil {
		return nil, err
	}
	type known struct {
		Hash    string          `json:"hash"`
		Numbers json.RawMessage `json:"numbers"`
	}
	lists := make([]known, len(keys))
	for i, h := range hashes {
		lists[i] = known{hexOf(h), json.RawMessage(found.list(h))}
	}
	list, err := json.Marshal(lists)
	if err != nil {
		return nil, err
	}
	// A Reindex may have given the numbers to other hashes meanwhile.
	query = `SELECT k.key FROM json_each(?) k WHERE EXISTS (SELECT 1 FROM json_each(k.value, '$.numbers') j
		CROSS JOIN hash h ON h.id = j.value AND h.hex = k.value ->> '$.hash'` + before + `)`
	return seen, mark(query, string(list))
}

// seenBefore is SeenBefore for a key that is no hash.
func (db *DB) seenBefore(ctx context.Context, k TopKey, key string, timestamp int64, asOf *int64) (seen bool, err error) {
	const before = ` AND a.timestamp < ? AND a.idx < ?`
	query, args := ``, []any{key}
	switch {
	case k.of == ofEvidence:
		query = `SELECT 1 FROM audit a INDEXED BY audit_by_time CROSS JOIN contribution e WHERE e.audit = a.idx AND ` + k.column + ` = CAST(? AS INTEGER)` + before
	case k.of == ofAttributes:
		x, join := &byAttribute, joinAudit(byAttribute.table)
		args = []any{k.attribute, key}
		query = generations + `SELECT 1 FROM ` + x.from("x") + join + ` WHERE ` + x.match("x") + before
	case k == BySubject:
		query = `SELECT 1 FROM audit a INDEXED BY audit_by_subject WHERE a.subject = ?` + before
	default:
		query = `SELECT 1 FROM audit a INDEXED BY audit_by_time WHERE ` + k.column + ` = ?` + before
	}
	err = db.readers.GetContext(ctx, &seen, `SELECT EXISTS (`+query+`)`, append(args, timestamp, orNow(asOf))...)
	return seen, err
}
