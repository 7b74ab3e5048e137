package sqlstore

import (
	"encoding/hex"
	"fmt"
)

// deriver writes the rows of records into the derived tables, for Apply and Reindex. Rows may wait until flush.
type deriver struct {
	audits, contributions, attributes *bulk
	newest                            *stmt
}

func newDeriver(p *preparer) *deriver {
	return &deriver{
		audits: p.numbered(`audit`, `idx`, `query_id, query_hex, agent, timestamp, subject, predicate, lifecycle, epoch, lens,
			result_hash, result_confidence, contributions, kv_row`, 13),
		contributions: p.bulk(`contribution (audit, position, assertion_hash, weight, source_hash, lifecycle)`, 6),
		attributes:    p.bulk(`attribute (audit, key, value)`, 3),
		newest:        p.prepare(`SELECT coalesce(max(idx), -1) FROM audit`),
	}
}

// begin is called in a transaction before the first put.
func (d *deriver) begin() (err error) {
	d.audits.largest, err = d.newest.queryInt()
	return err
}

// put writes the rows of r, which has this index, is in this row of kv, and whose agent has this number. r must not
// change before flush.
func (d *deriver) put(idx, row, agent int64, r *Record) error {
	// All of a record's hashes in one piece of memory.
	digits := make([]byte, 0, hexLen*(2+2*len(r.Contributions)))
	digits = hex.AppendEncode(digits, r.QueryID[:])
	if r.ResultHash != nil {
		digits = hex.AppendEncode(digits, r.ResultHash[:])
	}
	for i := range r.Contributions {
		digits = hex.AppendEncode(digits, r.Contributions[i].AssertionHash[:])
		digits = hex.AppendEncode(digits, r.Contributions[i].SourceHash[:])
	}
	left := string(digits)
	next := func() (h string) {
		h, left = left[:hexLen], left[hexLen:]
		return h
	}
	query, result := next(), any(nil)
	if r.ResultHash != nil {
		result = next()
	}
	err := d.audits.put(idx, r.QueryID[:], query, agent, r.Timestamp, text(r.Subject), text(r.Predicate),
		small(r.Lifecycle), hash(r.Epoch), text(r.Lens), result, r.ResultConfidence, int64(len(r.Contributions)), row)
	if err != nil {
		return fmt.Errorf("audits up to %d: %w", idx, err)
	}
	for i := range r.Contributions {
		c := &r.Contributions[i]
		if err := d.contributions.put(idx, int64(i), next(), c.Weight, next(), int64(c.Lifecycle)); err != nil {
			return fmt.Errorf("contributions up to audit %d: %w", idx, err)
		}
	}
	for i := range r.Attributes {
		if err := d.attributes.put(idx, r.Attributes[i].Key, r.Attributes[i].Value); err != nil {
			return fmt.Errorf("attributes up to audit %d: %w", idx, err)
		}
	}
	return nil
}

// hexLen is how long a hash is in hex.
const hexLen = 64

// flush writes the rows that wait.
func (d *deriver) flush() error {
	for _, b := range []*bulk{d.audits, d.contributions, d.attributes} {
		if err := b.flush(); err != nil {
			return fmt.Errorf("derived rows: %w", err)
		}
	}
	return nil
}

// forget drops the rows that wait, after a transaction that failed.
func (d *deriver) forget() {
	for _, b := range []*bulk{d.audits, d.contributions, d.attributes} {
		b.forget()
	}
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
