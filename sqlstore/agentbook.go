package sqlstore

import "fmt"

// agentBook gives agents their numbers and counts their records. During a batch it counts in memory, and at the end of the
// batch it writes table agent.
type agentBook struct {
	last, find, insert, update *stmt

	// numbers remembers agents by hash. It is emptied when it has grown too large. It is also emptied after a transaction
	// that failed, because the agents that were new in it are gone.
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
		find:   p.prepare(`SELECT ` + agentNumber),
		insert: p.prepare(`INSERT INTO agent (id, agent_id, audits, first, last) VALUES (?, ?, ?, ?, ?)`),
		update: p.prepare(`UPDATE agent SET audits = audits + ?1, first = min(coalesce(first, ?2), ?2),
			last = max(coalesce(last, ?3), ?3) WHERE id = ?4`),
		numbers: map[[32]byte]int64{},
		tally:   map[int64]*tally{},
	}
}

// count counts a record of this agent (nil: of nobody) and returns the agent's number.
func (b *agentBook) count(agent *[32]byte, timestamp int64) (int64, error) {
	var id int64
	var fresh *[32]byte
	if agent != nil {
		known := false
		if id, known = b.numbers[*agent]; !known {
			var err error
			if id, err = b.find.queryInt(hexOf(agent)); err != nil {
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
