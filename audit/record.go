package audit

import "math"

// MaxEncoded is the most bytes a record may have in canonical JSON: 16 MiB.
const MaxEncoded = 16 << 20

// MaxAttributes is the most attributes a record may have.
const MaxAttributes = 64

// Unbounded, as the upper end of a time range, means that the range has no upper end.
const Unbounded = math.MaxUint64

// A QueryAudit says what an agent asked, what the answer was, and on which evidence. Once stored it
// never changes.
//
// Its only encoding is canonical JSON (see AppendCanonical and ParseAudit). encoding/json does not
// produce it.
type QueryAudit struct {
	// QueryID identifies the record. Zero means none: then it is derived from the rest of the
	// record (see ID).
	QueryID QueryID

	// AgentID is nil for an anonymous query.
	AgentID *AgentID

	// Timestamp is Unix time in the store's unit, at most MaxTimestamp.
	Timestamp uint64

	Params QueryParams

	// ResultHash is the assertion that was the answer, or nil.
	ResultHash *Hash

	// ResultConfidence is finite.
	ResultConfidence float32

	// ContributingAssertions keeps its order. An empty list and nil are the same record, and ParseAudit
	// returns nil for it.
	ContributingAssertions []ContributingAssertion

	// Attributes holds what the fields above do not: trace ids, model, tool. A value is a string, a bool or
	// a number. Every integer and float type of Go is accepted, and ParseAudit returns float64. Integers
	// beyond ±2^53 are refused, since JSON readers would round them, and so are more than MaxAttributes
	// keys. An empty map and nil are the same record, and ParseAudit returns nil for it.
	Attributes map[string]any
}

// QueryParams is the question. Each part may be nil.
type QueryParams struct {
	Subject   *string
	Predicate *string
	Lifecycle *Lifecycle
	Epoch     *Hash
	Lens      *string
}

// A ContributingAssertion is one piece of evidence for an answer.
type ContributingAssertion struct {
	AssertionHash Hash
	Weight        float32 // finite
	SourceHash    Hash
	Lifecycle     Lifecycle
}
