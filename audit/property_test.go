package audit_test

import (
	"bytes"
	"cmp"
	"math"
	"reflect"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/auditsql/auditsql/audit"
	"pgregory.net/rapid"
)

// Generators of everything that a record may be.
var (
	genHash = rapid.Custom(func(t *rapid.T) (h audit.Hash) {
		copy(h[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "hash"))
		return h
	})
	genLifecycle = rapid.Custom(func(t *rapid.T) audit.Lifecycle {
		return audit.Lifecycle(rapid.IntRange(0, 4).Draw(t, "lifecycle"))
	})
	// Any bits that are a number, and numbers as people write them.
	genFloat32 = rapid.OneOf(
		rapid.Custom(func(t *rapid.T) float32 { return math.Float32frombits(rapid.Uint32().Draw(t, "bits")) }),
		rapid.Custom(func(t *rapid.T) float32 { return float32(rapid.IntRange(-2000, 2000).Draw(t, "thousandths")) / 1000 }),
	).Filter(func(v float32) bool { return v == v && !math.IsInf(float64(v), 0) })
	genText = rapid.OneOf(
		rapid.StringOf(rapid.RuneFrom([]rune("ab\"\\/\b\t\n\x01\x1f\x7fé€\u2028\ud7ff\ue000\uffff\U00010000😀\U0010ffff"))),
		rapid.String().Filter(func(s string) bool { return utf8.ValidString(s) && !bytes.ContainsRune([]byte(s), 0) }),
	)
	genTimestamp = rapid.OneOf(rapid.Uint64Range(0, audit.MaxTimestamp), rapid.Uint64Range(0, 20))
	genAttribute = rapid.OneOf(
		rapid.Map(genText, func(s string) any { return s }),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.Float64Range(-1<<53, 1<<53), func(v float64) any { return v + 0 }),
		rapid.Map(rapid.Int64Range(-1<<53, 1<<53), func(v int64) any { return float64(v) }),
	)
	genAudit = rapid.Custom(func(t *rapid.T) audit.QueryAudit {
		return audit.QueryAudit{
			QueryID:   genHash.Draw(t, "query id"),
			AgentID:   rapid.Ptr(genHash, true).Draw(t, "agent"),
			Timestamp: genTimestamp.Draw(t, "timestamp"),
			Params: audit.QueryParams{
				Subject:   rapid.Ptr(genText, true).Draw(t, "subject"),
				Predicate: rapid.Ptr(genText, true).Draw(t, "predicate"),
				Lifecycle: rapid.Ptr(genLifecycle, true).Draw(t, "lifecycle"),
				Epoch:     rapid.Ptr(genHash, true).Draw(t, "epoch"),
				Lens:      rapid.Ptr(genText, true).Draw(t, "lens"),
			},
			ResultHash:       rapid.Ptr(genHash, true).Draw(t, "result"),
			ResultConfidence: genFloat32.Draw(t, "confidence"),
			ContributingAssertions: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) audit.ContributingAssertion {
				return audit.ContributingAssertion{
					AssertionHash: genHash.Draw(t, "assertion"),
					Weight:        genFloat32.Draw(t, "weight"),
					SourceHash:    genHash.Draw(t, "source"),
					Lifecycle:     genLifecycle.Draw(t, "lifecycle"),
				}
			}), 0, 5).Draw(t, "contributions"),
			Attributes: rapid.MapOfN(genText, genAttribute, 0, 6).Draw(t, "attributes"),
		}
	})
)

// normal is what a record looks like after it was read: -0 is 0, empty is nil.
func normal(q audit.QueryAudit) audit.QueryAudit {
	q.ResultConfidence += 0
	q.ContributingAssertions = slices.Clone(q.ContributingAssertions)
	for i := range q.ContributingAssertions {
		q.ContributingAssertions[i].Weight += 0
	}
	if len(q.ContributingAssertions) == 0 {
		q.ContributingAssertions = nil
	}
	if len(q.Attributes) == 0 {
		q.Attributes = nil
	}
	return q
}

func TestAnyRecordReadsBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := genAudit.Draw(t, "audit")
		want := normal(q)
		id, err := q.ID()
		if err != nil {
			t.Fatal(err)
		}
		want.QueryID = id

		line, err := q.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(line) || bytes.ContainsAny(line, "\x00\n") {
			t.Fatalf("not a line of text: %q", line)
		}
		read, err := audit.ParseCanonical(line)
		if err != nil {
			t.Fatalf("ParseCanonical(%s): %v", line, err)
		}
		if !reflect.DeepEqual(read, want) {
			t.Fatalf("%s\nreads as\n%+v\nwant\n%+v", line, read, want)
		}
		again, err := read.Canonical()
		if err != nil || !bytes.Equal(again, line) {
			t.Fatalf("%s\nis rewritten as\n%s\n%v", line, again, err)
		}
	})
}

// The id depends on every byte of the record but its own place.
func TestDerivedIDIsTheHashOfTheRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := genAudit.Draw(t, "audit")
		q.QueryID = audit.QueryID{}
		line, err := q.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		id, err := q.ID()
		if err != nil {
			t.Fatal(err)
		}
		undone := bytes.Replace(line, []byte(id.String()), []byte(zeros), 1)
		if got := hashOf(string(undone)); got != id {
			t.Fatalf("id %s, hash %s of %s", id, got, undone)
		}
	})
}

func TestAgentKeysSortByTimestampAndID(t *testing.T) {
	type record struct {
		agent     audit.AgentID
		timestamp uint64
		id        audit.QueryID
	}
	// Few agents, times and ids, so that they meet; and bytes that are the separator.
	few := rapid.OneOf(genHash, rapid.SampledFrom([]audit.Hash{{}, fill(':'), fill(0xff), {31: 1}, {0: ':'}}))
	genRecord := rapid.Custom(func(t *rapid.T) record {
		return record{few.Draw(t, "agent"), rapid.OneOf(genTimestamp, rapid.Uint64()).Draw(t, "timestamp"), few.Draw(t, "id")}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := genRecord.Draw(t, "a"), genRecord.Draw(t, "b")
		keyA, keyB := audit.AgentKeyOf(a.agent, a.timestamp, a.id), audit.AgentKeyOf(b.agent, b.timestamp, b.id)
		want := cmp.Or(a.agent.Compare(b.agent), cmp.Compare(a.timestamp, b.timestamp), a.id.Compare(b.id))
		if got := bytes.Compare(keyA, keyB); got != want {
			t.Fatalf("%x against %x: %d, want %d", keyA, keyB, got, want)
		}
		if same := bytes.HasPrefix(keyB, audit.AgentPrefix(a.agent)); same != (a.agent == b.agent) {
			t.Fatalf("%x has the prefix of %s: %v", keyB, a.agent, same)
		}
		if agent, timestamp, id, ok := audit.ParseAgentKey(keyA); !ok || (record{agent, timestamp, id}) != a {
			t.Fatalf("%x is taken apart as %s, %d, %s, %v", keyA, agent, timestamp, id, ok)
		}
	})
}
