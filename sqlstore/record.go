package sqlstore

import "github.com/auditsql/auditsql/tree"

// Record is an audit taken apart: its bytes in kv, and its columns. The caller owns all slices and pointers. Apply reads them
// and keeps none.
type Record struct {
	Offset uint64 // in the journal; below 1<<63

	Payload []byte    // canonical JSON: its value in kv; not used if Batch.Payload is set
	Leaf    tree.Hash // its leaf in the Merkle tree: tree.LeafHash of the payload

	QueryID          [32]byte
	AgentID          *[32]byte
	Timestamp        int64 // ≥ 0, in the store's unit
	Subject          *string
	Predicate        *string
	Lifecycle        *uint8
	Epoch            *[32]byte
	Lens             *string
	ResultHash       *[32]byte
	ResultConfidence float64 // the shortest decimal of the 32-bit float, as a double
	Contributions    []Contribution
	Attributes       []Attribute // each key once
}

// agentKey returns the key that lists the record under its agent, nil if it is anonymous.
func (r *Record) agentKey() []byte {
	if r.AgentID == nil {
		return nil
	}
	return AgentKey(*r.AgentID, uint64(r.Timestamp), r.QueryID)
}

// Contribution is an assertion that an answer rests on.
type Contribution struct {
	AssertionHash [32]byte
	Weight        float64 // the shortest decimal of the 32-bit float, as a double
	SourceHash    [32]byte
	Lifecycle     uint8
}

// unapproved reports whether some of the evidence is not Approved, as the condition unapproved says it of a row. Where nobody
// said (Unstated) it is not.
func (r *Record) unapproved() bool {
	for i := range r.Contributions {
		if r.Contributions[i].unapproved() {
			return true
		}
	}
	return false
}

// unapproved reports whether the piece is neither Approved nor Unstated, as the condition unapprovedPiece says it of a row.
func (c *Contribution) unapproved() bool {
	return c.Lifecycle != lifecycleApproved && c.Lifecycle != lifecycleUnstated
}

// Lifecycles as the tables have them.
const (
	lifecycleApproved = 2
	lifecycleUnstated = 5
)

// Attribute is a key with its value as text: a string as it is, a number as canonical JSON writes it, or true
// or false.
type Attribute struct {
	Key, Value string
}

// Rejected is a journal record that cannot be stored, and why.
type Rejected struct {
	Offset  uint64 `db:"journal_offset"`
	Reason  string
	Payload []byte
}

// Batch is what one transaction applies.
type Batch struct {
	Records  []Record   // in journal order
	Rejected []Rejected // records of the same stretch of the journal that are no audits
	Cursor   uint64     // journal offset after the last of them

	// Payload, if set, appends the payload of a record, given by its index, to a slice. So a batch need not hold all payloads at a
	// time. It is called for a record once, or more often when the id is there already. An error ends Apply.
	Payload func(record int, into []byte) ([]byte, error)

	// Again, if set, is called for each record whose id is there already, with its index and whether the record under the id is
	// another one. When Apply returns an error, the calls mean nothing.
	Again func(record int, other bool)

	// Yield, if set, is called every half a millisecond or so while the batch is stored, in the goroutine that
	// stores it. It can let other goroutines run first. It must not use the database.
	Yield func()
}

// Applied counts what was done with the records of a batch.
type Applied struct {
	Inserted  int
	Duplicate int // were stored before, with the same bytes
	Rejected  int // written to table rejected now: those of the batch, and other bytes under an id that exists
}
