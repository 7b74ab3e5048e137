package sqlstore_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
)

// sample is a stand-in for canonical JSON: the tests of this package need some encoding of a record that
// can be read back, not the real one.
type sample struct {
	ID            string
	Agent         *string
	Time          int64
	Subject       *string
	Predicate     *string
	Lifecycle     *uint8
	Epoch         *string
	Lens          *string
	Result        *string
	Confidence    float64
	Contributions []sampleContribution
	Attributes    []sqlstore.Attribute
}

type sampleContribution struct {
	Assertion, Source string
	Weight            float64
	Lifecycle         uint8
}

func ptr[T any](v T) *T { return &v }

// h is the hash of a name.
func h(name string) [32]byte { return sha256.Sum256([]byte(name)) }

func hx(name string) string { s := h(name); return hex.EncodeToString(s[:]) }

func unhex(s string) (out [32]byte) {
	if n, err := hex.Decode(out[:], []byte(s)); err != nil || n != 32 {
		panic(fmt.Sprint(n, err))
	}
	return out
}

func unhexp(s *string) *[32]byte {
	if s == nil {
		return nil
	}
	return ptr(unhex(*s))
}

// newSample returns record number i of some world: agents and evidence repeat.
func newSample(i int) sample {
	s := sample{
		ID:         hx(fmt.Sprint("query ", i)),
		Agent:      ptr(hx(fmt.Sprint("agent ", i%7))),
		Time:       1_700_000_000_000 + int64(i)*10,
		Subject:    ptr(fmt.Sprint("subject ", i%11)),
		Predicate:  ptr("revenue"),
		Lifecycle:  ptr(uint8(i % 5)),
		Lens:       ptr("Recency"),
		Result:     ptr(hx(fmt.Sprint("assertion ", i%13))),
		Confidence: 0.95,
	}
	for j := range 3 {
		s.Contributions = append(s.Contributions, sampleContribution{
			Assertion: hx(fmt.Sprint("assertion ", (i+j)%13)),
			Source:    hx(fmt.Sprint("source ", (i*j)%5)),
			Weight:    0.1 * float64(j+1),
			Lifecycle: 2,
		})
	}
	if i%10 == 3 {
		s.Agent = nil
	}
	if i%4 == 0 {
		s.Attributes = []sqlstore.Attribute{{Key: "model", Value: "m1"}, {Key: "trace_id", Value: fmt.Sprint("trace ", i)}}
	}
	return s
}

func (s sample) record(offset uint64) sqlstore.Record {
	payload, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	r, err := decode(payload)
	if err != nil {
		panic(err)
	}
	r.Offset = offset
	return r
}

func decode(payload []byte) (sqlstore.Record, error) {
	var s sample
	if err := json.Unmarshal(payload, &s); err != nil {
		return sqlstore.Record{}, err
	}
	r := sqlstore.Record{
		Payload:          payload,
		Leaf:             tree.LeafHash(payload),
		QueryID:          unhex(s.ID),
		AgentID:          unhexp(s.Agent),
		Timestamp:        s.Time,
		Subject:          s.Subject,
		Predicate:        s.Predicate,
		Lifecycle:        s.Lifecycle,
		Epoch:            unhexp(s.Epoch),
		Lens:             s.Lens,
		ResultHash:       unhexp(s.Result),
		ResultConfidence: s.Confidence,
		Attributes:       s.Attributes,
	}
	for _, c := range s.Contributions {
		r.Contributions = append(r.Contributions, sqlstore.Contribution{
			AssertionHash: unhex(c.Assertion), Weight: c.Weight, SourceHash: unhex(c.Source), Lifecycle: c.Lifecycle,
		})
	}
	return r, nil
}

// keyOf returns the key of a record.
func keyOf(r sqlstore.Record) []byte { return append([]byte("\x00AUD:"), r.QueryID[:]...) }

// agentKeyOf returns the key that lists a record under its agent.
func agentKeyOf(r sqlstore.Record) []byte {
	key := append([]byte("\x00AUDA:"), r.AgentID[:]...)
	key = binary.BigEndian.AppendUint64(append(key, ':'), uint64(r.Timestamp))
	return append(append(key, ':'), r.QueryID[:]...)
}

// samples returns records from to to (exclusive), a journal offset apart each.
func samples(from, to int) []sqlstore.Record {
	var rs []sqlstore.Record
	for i := from; i < to; i++ {
		rs = append(rs, newSample(i).record(uint64(i)*100))
	}
	return rs
}

// apply stores records, with the cursor after the last.
func apply(t testing.TB, db *sqlstore.DB, rs ...sqlstore.Record) sqlstore.Applied {
	t.Helper()
	b := sqlstore.Batch{Records: rs}
	if len(rs) > 0 {
		b.Cursor = rs[len(rs)-1].Offset + 100
	}
	done, err := db.Apply(t.Context(), &b)
	if err != nil {
		t.Fatal(err)
	}
	return done
}
