package audit_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
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
		if second, err := strictAudit(line); err != nil || !reflect.DeepEqual(second, want) {
			t.Fatalf("%s\nreads by the second reading as\n%+v\nwant\n%+v\n%v", line, second, want, err)
		}
		again, err := read.Canonical()
		if err != nil || !bytes.Equal(again, line) {
			t.Fatalf("%s\nis rewritten as\n%s\n%v", line, again, err)
		}
	})
}

// A record that is written with its fields in another order, with white space, escapes, capitals and longer numbers
// is the same record.
func TestAnySpellingOfARecordIsTheRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := genAudit.Draw(t, "audit")
		line, err := q.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		want, err := audit.ParseAudit(line)
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		spelt := space(t) + respell(t, strictValue(d), "") + space(t)
		got, err := audit.ParseAudit([]byte(spelt))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\nspelt\n%s\nreads as\n%+v\n%v", line, spelt, got, err)
		}
	})
}

func space(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "", "", " ", "\t\r\n "}).Draw(t, "space")
}

// respell writes a value of a record's JSON in another way; field is what it is the value of.
func respell(t *rapid.T, v any, field string) string {
	switch v := v.(type) {
	case map[string]any:
		var members []string
		for _, name := range rapid.Permutation(slices.Sorted(maps.Keys(v))).Draw(t, "order") {
			of := name
			if field == "attributes" { // whatever they are called
				of = "attribute"
			}
			members = append(members, space(t)+respellText(t, name)+space(t)+":"+space(t)+respell(t, v[name], of)+space(t))
		}
		return "{" + strings.Join(members, ",") + "}"
	case []any:
		var elements []string
		for _, e := range v {
			elements = append(elements, space(t)+respell(t, e, "")+space(t))
		}
		return "[" + strings.Join(elements, ",") + "]"
	case string:
		// Hashes and lifecycles are read in any case.
		switch folded := strings.Contains(field, "hash") || field == "query_id" || field == "agent_id" || field == "epoch" || field == "lifecycle"; {
		case folded && v == "UnderReview" && rapid.Bool().Draw(t, "under_review"):
			v = "Under_Review"
		case folded && rapid.Bool().Draw(t, "capitals"):
			v = strings.ToUpper(v)
		}
		return respellText(t, v)
	case json.Number:
		number := string(v)
		if field != "timestamp" && !strings.ContainsAny(number, "e") {
			if !strings.Contains(number, ".") {
				number += rapid.SampledFrom([]string{"", ".0", ".000"}).Draw(t, "fraction")
			}
			number += rapid.SampledFrom([]string{"", "e0", "E+00", "e-0"}).Draw(t, "exponent")
			if v == "0" {
				number = rapid.SampledFrom([]string{"", "-"}).Draw(t, "sign") + number
			}
		}
		return number
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// respellText writes each character as it is, where JSON allows it, or escaped.
func respellText(t *rapid.T, s string) string {
	out := []byte{'"'}
	short := map[rune]string{'"': `\"`, '\\': `\\`, '/': `\/`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}
	for _, r := range s {
		how := rapid.SampledFrom([]string{"as it is", "as it is", "as it is", "short", "lower", "upper"}).Draw(t, "how")
		must := r < ' ' || r == '"' || r == '\\'
		switch {
		case how == "as it is" && !must:
			out = utf8.AppendRune(out, r)
		case short[r] != "" && how != "lower" && how != "upper":
			out = append(out, short[r]...)
		default:
			form := "\\u%04x"
			if how == "upper" {
				form = "\\u%04X"
			}
			for _, half := range utf16.Encode([]rune{r}) {
				out = fmt.Appendf(out, form, half)
			}
		}
	}
	return string(append(out, '"'))
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
	edges := []uint64{0, 1, 0x39, ':', 0x3b, 0xff, 0x100, 0x3a3a, 1<<32 - 1, 1 << 32, audit.MaxTimestamp, 1 << 63, audit.Unbounded - 1, audit.Unbounded}
	genTime := rapid.OneOf(genTimestamp, rapid.Uint64(), rapid.SampledFrom(edges))
	genRecord := rapid.Custom(func(t *rapid.T) record {
		return record{few.Draw(t, "agent"), genTime.Draw(t, "timestamp"), few.Draw(t, "id")}
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
		from, to := genTime.Draw(t, "from"), genTime.Draw(t, "to")
		start, end := audit.AgentRange(a.agent, from, to)
		if end == nil { // it ends where the agent does, before whatever has a higher byte in the separator's place
			end = audit.AgentPrefix(a.agent)
			end[len(end)-1]++
		}
		within := b.agent == a.agent && from <= b.timestamp && b.timestamp <= to
		if in := bytes.Compare(start, keyB) <= 0 && bytes.Compare(keyB, end) < 0; in != within {
			t.Fatalf("%x lies in the range of %s from %d to %d: %v", keyB, a.agent, from, to, in)
		}
		if agent, timestamp, id, ok := audit.ParseAgentKey(keyA); !ok || (record{agent, timestamp, id}) != a {
			t.Fatalf("%x is taken apart as %s, %d, %s, %v", keyA, agent, timestamp, id, ok)
		}
	})
}
