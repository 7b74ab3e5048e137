package main

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"

	"github.com/auditsql/auditsql/audit"
)

// shape says how often evidence repeats.
type shape string

const (
	// shapePartly: half of the assertions are drawn from those in use at the time, and about twenty records use each of
	// them. Sources come from a skewed pool. This is the default.
	shapePartly shape = "partly"
	// shapeNew: every assertion and every source is new. The worst case for an index of hashes.
	shapeNew shape = "new"
)

const (
	agents     = 40
	subjects   = 10_000
	sources    = 2_000
	facts      = 4_000  // assertions in use at a time,
	factsAge   = 50_000 // and how many records that time is long
	firstTime  = 1_795_000_000_000
	perRequest = 4 // records that share a trace id
)

// world makes the records, each from its number alone: the same number and seed give the same bytes in any process. A
// record costs about two microseconds, for every store. Records are not kept, because a list of them would be most of
// the memory of a measured process.
type world struct {
	seed  uint64
	shape shape
}

// stream is SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
type stream uint64

func (s *stream) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (s *stream) below(n int) int {
	hi, _ := bits.Mul64(s.next(), uint64(n))
	return int(hi)
}

// skewed returns a number below n. It returns i about as often as 1/(i+1), so small numbers are the most frequent.
func (s *stream) skewed(n int) int {
	u := float64(s.next()>>11) / (1 << 53)
	return int(math.Pow(float64(n+1), u)) - 1
}

func (s *stream) hash() (h audit.Hash) {
	for i := 0; i < len(h); i += 8 {
		binary.LittleEndian.PutUint64(h[i:], s.next())
	}
	return h
}

// stream returns the stream for number no of a kind.
func (w world) stream(kind byte, no int) stream {
	s := stream(w.seed ^ uint64(kind)<<56 ^ uint64(no))
	s = stream(s.next())
	return s
}

func (w world) hash(kind byte, no int) audit.Hash {
	s := w.stream(kind, no)
	return s.hash()
}

// id returns the id of record no.
func (w world) id(no int) audit.QueryID { return w.hash('q', no) }

var (
	predicates = []string{"revenue", "headcount", "payment_account", "supplier_rating", "lead_time", "list_price",
		"contract_end", "credit_limit", "delivery_date", "contact", "tax_id", "risk_class"}
	lenses = []string{"Recency", "Confidence", "Authority", "Consensus"}
	models = []string{"planner-3", "planner-4", "buyer-2", "analyst-7", "reviewer-1"}
	tools  = []string{"pay_invoice", "rank_suppliers", "draft_answer"}
)

// record returns record no: three contributions, about 1.1 kB of canonical JSON, one millisecond after the previous
// record. It shares no memory with other records, except constants.
func (w world) record(no int) *audit.QueryAudit {
	s := w.stream('r', no)
	agent := w.hash('a', s.skewed(agents))
	subject := "supplier/" + strconv.Itoa(10_000+s.skewed(subjects))
	lifecycle := audit.Approved
	trace := w.hash('t', no/perRequest)
	q := &audit.QueryAudit{
		QueryID: w.id(no), AgentID: &agent, Timestamp: firstTime + uint64(no),
		Params: audit.QueryParams{
			Subject: &subject, Predicate: &predicates[s.below(len(predicates))],
			Lifecycle: &lifecycle, Lens: &lenses[s.below(len(lenses))],
		},
		ResultConfidence:       float32(s.below(1000)) / 1000,
		ContributingAssertions: make([]audit.ContributingAssertion, 3),
		Attributes: map[string]any{
			"model":    models[s.below(len(models))],
			"tool":     tools[s.below(len(tools))],
			"trace_id": trace.String()[:16],
		},
	}
	for i := range q.ContributingAssertions {
		c := &q.ContributingAssertions[i]
		c.Weight = float32(1+s.below(1000)) / 1000
		c.Lifecycle = audit.Approved
		if s.below(20) == 0 {
			c.Lifecycle = audit.Proposed
		}
		repeats, pick, from := s.below(2) == 0, s.below(facts), s.skewed(sources)
		c.AssertionHash, c.SourceHash = w.hash('n', no*4+i), w.hash('s', from)
		switch {
		case w.shape == shapeNew:
			c.SourceHash = w.hash('m', no*4+i)
		case repeats:
			c.AssertionHash = w.hash('f', no/factsAge*facts+pick)
		}
	}
	q.ResultHash = &q.ContributingAssertions[0].AssertionHash
	return q
}
