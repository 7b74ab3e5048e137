package sqlstore

import "fmt"

// deriver writes the rows of a record into the derived tables, for Apply and Reindex.
type deriver struct {
	putAudit, putContribution, putAttribute *stmt
}

func newDeriver(p *preparer) *deriver {
	const (
		audit = `INSERT INTO audit (idx, query_id, agent, timestamp, subject, predicate, lifecycle, epoch, lens,
			result_hash, result_confidence, contributions) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
		contribution = `INSERT INTO contribution (audit, position, assertion_hash, weight, source_hash, lifecycle)
			VALUES (?, ?, ?, ?, ?, ?)`
		attribute = `INSERT INTO attribute (audit, key, value) VALUES (?, ?, ?)`
	)
	return &deriver{p.prepare(audit), p.prepare(contribution), p.prepare(attribute)}
}

// put writes the rows of r, which has this index and whose agent has this number.
func (d *deriver) put(idx, agent int64, r *Record) error {
	err := d.putAudit.exec(idx, r.QueryID[:], agent, r.Timestamp, text(r.Subject), text(r.Predicate),
		small(r.Lifecycle), hash(r.Epoch), text(r.Lens), hash(r.ResultHash), r.ResultConfidence,
		int64(len(r.Contributions)))
	if err != nil {
		return fmt.Errorf("audit %d: %w", idx, err)
	}
	for i := range r.Contributions {
		c := &r.Contributions[i]
		err := d.putContribution.exec(idx, int64(i), c.AssertionHash[:], c.Weight, c.SourceHash[:], int64(c.Lifecycle))
		if err != nil {
			return fmt.Errorf("contribution %d of audit %d: %w", i, idx, err)
		}
	}
	for i := range r.Attributes {
		if err := d.putAttribute.exec(idx, r.Attributes[i].Key, r.Attributes[i].Value); err != nil {
			return fmt.Errorf("attribute %q of audit %d: %w", r.Attributes[i].Key, idx, err)
		}
	}
	return nil
}

// text, small and hash make NULL of nil.

func text(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}

func small(n *uint8) any {
	if n == nil {
		return nil
	}
	return int64(*n)
}

func hash(h *[32]byte) any {
	if h == nil {
		return nil
	}
	return h[:]
}

// agentBook gives agents their numbers and counts their records: in memory during a batch, in table agent
// at its end.
type agentBook struct {
	last, find, insert, update *stmt

	// numbers remembers agents by hash. It is emptied when it has grown too large, and after a transaction
	// that failed, since its new agents are gone.
	numbers map[[32]byte]int64
	next    int64            // the number of the next new agent; 0: not known
	tally   map[int64]*tally // of this batch, by number
}

type tally struct {
	agent       *[32]byte // nil: anonymous, or known to the table
	audits      int64
	first, last int64 // timestamps
}

// maxAgents bounds agentBook.numbers.
const maxAgents = 1 << 16

func newAgentBook(p *preparer) *agentBook {
	return &agentBook{
		last:   p.prepare(`SELECT max(id) FROM agent`),
		find:   p.prepare(`SELECT id FROM agent WHERE agent_hex = lower(hex(?))`),
		insert: p.prepare(`INSERT INTO agent (id, agent_id, audits, first, last) VALUES (?, ?, ?, ?, ?)`),
		update: p.prepare(`UPDATE agent SET audits = audits + ?1, first = min(coalesce(first, ?2), ?2),
			last = max(coalesce(last, ?3), ?3) WHERE id = ?4`),
		numbers: map[[32]byte]int64{},
		tally:   map[int64]*tally{},
	}
}

// count notes a record of this agent (nil: nobody) and returns the agent's number.
func (b *agentBook) count(agent *[32]byte, timestamp int64) (int64, error) {
	var id int64
	var fresh *[32]byte
	if agent != nil {
		known := false
		if id, known = b.numbers[*agent]; !known {
			var err error
			if id, err = b.find.queryInt(agent[:]); err != nil {
				return 0, err
			}
			if id == 0 {
				if id, err = b.number(); err != nil {
					return 0, err
				}
				fresh = agent
			}
			b.numbers[*agent] = id
		}
	}
	t := b.tally[id]
	if t == nil {
		t = &tally{agent: fresh, first: timestamp, last: timestamp}
		b.tally[id] = t
	}
	t.audits++
	t.first = min(t.first, timestamp)
	t.last = max(t.last, timestamp)
	return id, nil
}

// number returns the number of a new agent.
func (b *agentBook) number() (int64, error) {
	if b.next == 0 {
		last, err := b.last.queryInt()
		if err != nil {
			return 0, err
		}
		b.next = last + 1
	}
	b.next++
	return b.next - 1, nil
}

// write brings table agent up to date with what was counted.
func (b *agentBook) write() error {
	for id, t := range b.tally {
		var err error
		if t.agent != nil {
			err = b.insert.exec(id, t.agent[:], t.audits, t.first, t.last)
		} else {
			err = b.update.exec(t.audits, t.first, t.last, id)
		}
		if err != nil {
			return fmt.Errorf("agent %d: %w", id, err)
		}
	}
	clear(b.tally)
	if len(b.numbers) > maxAgents {
		clear(b.numbers)
	}
	return nil
}

// forget empties the memory, after a transaction that failed.
func (b *agentBook) forget() {
	clear(b.numbers)
	clear(b.tally)
	b.next = 0
}
