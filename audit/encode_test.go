package audit_test

import (
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
)

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

// example is the record of the contract, to the byte.
const example = `{"query_id":"0a00000000000000000000000000000000000000000000000000000000000000","agent_id":"0101010101010101010101010101010101010101010101010101010101010101","timestamp":1000,"params":{"subject":"Tesla","predicate":"revenue","lifecycle":"Approved","epoch":null,"lens":"Recency"},"result_hash":"0101010101010101010101010101010101010101010101010101010101010101","result_confidence":0.95,"contributing_assertions":[{"assertion_hash":"0202020202020202020202020202020202020202020202020202020202020202","weight":1,"source_hash":"0303030303030303030303030303030303030303030303030303030303030303","lifecycle":"Approved"}]}`

func exampleRecord() audit.QueryAudit {
	return audit.QueryAudit{
		QueryID:   audit.QueryID{0: 0x0a},
		AgentID:   ptr(fill(1)),
		Timestamp: 1000,
		Params: audit.QueryParams{
			Subject:   ptr("Tesla"),
			Predicate: ptr("revenue"),
			Lifecycle: ptr(audit.Approved),
			Lens:      ptr("Recency"),
		},
		ResultHash:       ptr(fill(1)),
		ResultConfidence: 0.95,
		ContributingAssertions: []audit.ContributingAssertion{
			{AssertionHash: fill(2), Weight: 1, SourceHash: fill(3), Lifecycle: audit.Approved},
		},
	}
}

func TestExampleOfTheContractToTheByte(t *testing.T) {
	q := exampleRecord()
	if got := canonical(t, &q); got != example {
		t.Errorf("written as\n%s\nwant\n%s", got, example)
	}
	if read := parse(t, example); !reflect.DeepEqual(read, q) {
		t.Errorf("read as\n%+v\nwant\n%+v", read, q)
	}
}

func TestNilsAreWrittenAndListsAreNeverNull(t *testing.T) {
	for name, q := range map[string]audit.QueryAudit{
		"nil":   {QueryID: fill(9)},
		"empty": {QueryID: fill(9), ContributingAssertions: []audit.ContributingAssertion{}, Attributes: map[string]any{}},
	} {
		t.Run(name, func(t *testing.T) {
			want := `{"query_id":"` + fill(9).String() + `","agent_id":null,"timestamp":0,"params":{"subject":null,` +
				`"predicate":null,"lifecycle":null,"epoch":null,"lens":null},"result_hash":null,"result_confidence":0,` +
				`"contributing_assertions":[]}`
			if got := canonical(t, &q); got != want {
				t.Errorf("written as\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestAppendCanonicalAppends(t *testing.T) {
	q := exampleRecord()
	q.QueryID = audit.QueryID{}
	got, err := q.AppendCanonical([]byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "before" + canonical(t, &q); string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}

	q.ResultConfidence = float32(math.NaN())
	got, err = q.AppendCanonical([]byte("before"))
	wantInvalid(t, err, "result_confidence")
	if string(got) != "before" {
		t.Errorf("after a refusal dst is %q", got)
	}
}

func TestZeroQueryIDIsDerived(t *testing.T) {
	q := exampleRecord()
	q.QueryID = audit.QueryID{}
	before := exampleRecord()
	before.QueryID = audit.QueryID{}

	id, err := q.ID()
	if err != nil {
		t.Fatal(err)
	}
	written := canonical(t, &q)
	if !reflect.DeepEqual(q, before) {
		t.Errorf("the record was written to: %+v", q)
	}

	// By the words of the contract: BLAKE3-256 of the canonical JSON with a query_id of 64 zeros.
	withZeros := strings.Replace(example, "0a"+zeros[2:], zeros, 1)
	if want := hashOf(withZeros); id != want {
		t.Errorf("id %s, want %s", id, want)
	}
	if want := strings.Replace(withZeros, zeros, id.String(), 1); written != want {
		t.Errorf("written as\n%s\nwant\n%s", written, want)
	}

	q.QueryID = id
	if again, err := q.ID(); err != nil || again != id {
		t.Errorf("ID of a record that has one: %s, %v", again, err)
	}
}

// number is what the encoder makes of a float32, taken out of a whole record.
func number32(t *testing.T, v float32) string {
	t.Helper()
	q := audit.QueryAudit{QueryID: fill(1), ResultConfidence: v}
	_, after, _ := strings.Cut(canonical(t, &q), `"result_confidence":`)
	text, _, _ := strings.Cut(after, ",")
	return text
}

func number64(t *testing.T, v any) string {
	t.Helper()
	q := audit.QueryAudit{QueryID: fill(1), Attributes: map[string]any{"n": v}}
	_, after, _ := strings.Cut(canonical(t, &q), `"n":`)
	return strings.TrimSuffix(after, "}}")
}

func TestFloat32Forms(t *testing.T) {
	for _, test := range []struct {
		v    float32
		want string
	}{
		{0, "0"},
		{float32(math.Copysign(0, -1)), "0"},
		{1, "1"},
		{-1, "-1"},
		{0.95, "0.95"},
		{0.1, "0.1"},
		{1.0 / 3, "0.33333334"},
		{100, "100"},
		{999999, "999999"},
		{1e6, "1000000"},
		{1234567, "1234567"},
		{16777216, "16777216"},
		// Shortest means that trailing digits of large whole numbers become zeros.
		{50331648, "50331650"},
		{1e20, "100000000000000000000"},
		// The float32 next to 1e21 is more than 1e21, that below less.
		{1e21, "1e+21"},
		{math.Nextafter32(1e21, 0), "999999950000000000000"},
		{-1e22, "-1e+22"},
		{math.MaxFloat32, "3.4028235e+38"},
		// The float32 next to 1e-6 is less than 1e-6.
		{1e-6, "0.000001"},
		{math.Nextafter32(1e-6, 0), "9.999999e-7"},
		{1.5e-7, "1.5e-7"},
		{1e-10, "1e-10"},
		{math.SmallestNonzeroFloat32, "1e-45"},
		{0x1p-126, "1.1754944e-38"},
		// Ties go to the even digit.
		{1478132.25, "1478132.2"},
		{2772.90625, "2772.9062"},
		{0x1p-12, "0.00024414062"},
		{-0x1p-12, "-0.00024414062"},
	} {
		got := number32(t, test.v)
		if got != test.want {
			t.Errorf("%g is written %s, want %s", test.v, got, test.want)
		}
		if back, err := strconv.ParseFloat(got, 32); err != nil || float32(back) != test.v {
			t.Errorf("%s reads back as %g, %v", got, back, err)
		}
	}
}

// The cases within range of RFC 8785, appendix B, and the ends of what attributes hold.
func TestFloat64Forms(t *testing.T) {
	for _, test := range []struct {
		v    any
		want string
	}{
		{math.Float64frombits(0x0000000000000000), "0"},
		{math.Float64frombits(0x8000000000000000), "0"},
		{math.Float64frombits(0x0000000000000001), "5e-324"},
		{math.Float64frombits(0x8000000000000001), "-5e-324"},
		{math.Float64frombits(0x4340000000000000), "9007199254740992"},
		{math.Float64frombits(0xc340000000000000), "-9007199254740992"},
		{math.Float64frombits(0x3eb0c6f7a0b5ed8c), "9.999999999999997e-7"},
		{math.Float64frombits(0x3eb0c6f7a0b5ed8d), "0.000001"},
		{math.Float64frombits(0x41b3de4355555553), "333333333.3333332"},
		{math.Float64frombits(0x41b3de4355555554), "333333333.33333325"},
		{math.Float64frombits(0x41b3de4355555555), "333333333.3333333"},
		{math.Float64frombits(0x41b3de4355555556), "333333333.3333334"},
		{math.Float64frombits(0x41b3de4355555557), "333333333.33333343"},
		{math.Float64frombits(0xbecbf647612f3696), "-0.0000033333333333333333"},
		{math.Float64frombits(0x43143ff3c1cb0959), "1424953923781206.2"},
		{1e15, "1000000000000000"},
		{-1.5, "-1.5"},
		{float32(0.5), "0.5"},
		{float32(0.1), "0.10000000149011612"},
		{int(-7), "-7"},
		{int8(-8), "-8"},
		{int16(-16), "-16"},
		{int32(-32), "-32"},
		{int64(1 << 53), "9007199254740992"},
		{int64(-1 << 53), "-9007199254740992"},
		{uint(7), "7"},
		{uint8(8), "8"},
		{uint16(16), "16"},
		{uint32(32), "32"},
		{uint64(1 << 53), "9007199254740992"},
		{true, "true"},
		{false, "false"},
		{"1", `"1"`},
	} {
		if got := number64(t, test.v); got != test.want {
			t.Errorf("%T %v is written %s, want %s", test.v, test.v, got, test.want)
		}
	}
}

func TestStringsAreEscapedOnlyWhereTheyMustBe(t *testing.T) {
	for _, test := range []struct{ s, want string }{
		{"", `""`},
		{"plain", `"plain"`},
		{"\"\\/", `"\"\\/"`},
		{"\b\t\n\f\r", `"\b\t\n\f\r"`},
		{"\x01\x0b\x1f\x7f", `"\u0001\u000b\u001f` + "\x7f\""},
		{"<script>&amp;</script>", `"<script>&amp;</script>"`},
		{"\u2028\u2029", "\"\u2028\u2029\""},
		{"é日本😀\ufeff\ufffd\uffff", "\"é日本😀\ufeff\ufffd\uffff\""},
	} {
		q := audit.QueryAudit{QueryID: fill(1), Params: audit.QueryParams{Subject: &test.s}}
		written := canonical(t, &q)
		if want := `{"subject":` + test.want + `,`; !strings.Contains(written, want) {
			t.Errorf("%q is not written %s, but %s", test.s, test.want, written)
		}
		if back := *parse(t, written).Params.Subject; back != test.s {
			t.Errorf("%q reads back as %q", test.s, back)
		}
	}
}

func TestAttributesAreSortedByUTF16CodeUnits(t *testing.T) {
	// RFC 8785, section 3.2.3, and what sorts otherwise by bytes of UTF-8.
	sorted := []string{"", "\n", "\r", "1", "10", "2", "</script>", "A", "a", "aa", "b", "\u0080", "ö", "\u20ac",
		"\ud7ff", "\U00010000", "\U00010000a", "😀", "\U0010ffff", "\ue000", "\ufb33", "\uffff", "\uffff😀", "\uffff\ue000"}
	q := audit.QueryAudit{QueryID: fill(1), Attributes: map[string]any{}}
	for i, key := range sorted {
		q.Attributes[key] = i
	}
	written := canonical(t, &q)
	_, attributes, _ := strings.Cut(written, `"attributes":`)
	values := regexp.MustCompile(`":(\d+)`).FindAllStringSubmatch(attributes, -1)
	if len(values) != len(sorted) {
		t.Fatalf("%d attributes in %s", len(values), written)
	}
	for i, value := range values {
		if value[1] != strconv.Itoa(i) {
			t.Fatalf("key %q is out of order in %s", sorted[i], written)
		}
	}
}

func TestEncoderRefuses(t *testing.T) {
	type text string
	nan, inf := math.NaN(), math.Inf(1)
	attribute := func(key string, v any) func(*audit.QueryAudit) {
		return func(q *audit.QueryAudit) { q.Attributes = map[string]any{"fine": 1, key: v} }
	}
	for _, test := range []struct {
		name, field string
		change      func(*audit.QueryAudit)
	}{
		{"timestamp that SQLite cannot hold", "timestamp", func(q *audit.QueryAudit) { q.Timestamp = 1 << 63 }},
		{"NaN confidence", "result_confidence", func(q *audit.QueryAudit) { q.ResultConfidence = float32(nan) }},
		{"infinite confidence", "result_confidence", func(q *audit.QueryAudit) { q.ResultConfidence = float32(-inf) }},
		{"NaN weight", "contributing_assertions[1].weight", func(q *audit.QueryAudit) {
			q.ContributingAssertions = append(q.ContributingAssertions, audit.ContributingAssertion{Weight: float32(nan)})
		}},
		{"unknown lifecycle of a contribution", "contributing_assertions[0].lifecycle", func(q *audit.QueryAudit) {
			q.ContributingAssertions[0].Lifecycle = 6
		}},
		{"unknown lifecycle", "params.lifecycle", func(q *audit.QueryAudit) { q.Params.Lifecycle = ptr(audit.Lifecycle(255)) }},
		{"invalid UTF-8", "params.subject", func(q *audit.QueryAudit) { q.Params.Subject = ptr("a\xffb") }},
		{"surrogate in UTF-8", "params.predicate", func(q *audit.QueryAudit) { q.Params.Predicate = ptr("\xed\xa0\x80") }},
		{"cut UTF-8", "params.lens", func(q *audit.QueryAudit) { q.Params.Lens = ptr("\xe2\x82") }},
		{"NUL", "params.lens", func(q *audit.QueryAudit) { q.Params.Lens = ptr("a\x00") }},
		{"NUL in an attribute", "attributes.trace_id", attribute("trace_id", "\x00")},
		{"invalid UTF-8 in an attribute", "attributes.trace_id", attribute("trace_id", "\xc0\x80")},
		{"NUL in an attribute's key", `attributes."\x00"`, attribute("\x00", "")},
		{"invalid UTF-8 in an attribute's key", `attributes."\xff"`, attribute("\xff", "")},
		{"NaN attribute", "attributes.n", attribute("n", nan)},
		{"infinite attribute", "attributes.n", attribute("n", inf)},
		{"infinite float32 attribute", "attributes.n", attribute("n", float32(inf))},
		{"int beyond 2^53", "attributes.n", attribute("n", 1<<53+1)},
		{"int64 beyond -2^53", "attributes.n", attribute("n", int64(-1<<53-1))},
		{"uint64 beyond 2^53", "attributes.n", attribute("n", uint64(math.MaxUint64))},
		{"uint beyond 2^53", "attributes.n", attribute("n", uint(1<<53+1))},
		{"whole float64 beyond 2^53", "attributes.n", attribute("n", float64(1<<53+2))},
		{"whole float32 beyond 2^53", "attributes.n", attribute("n", float32(1<<60))},
		{"null attribute", "attributes.n", attribute("n", nil)},
		{"nested attribute", "attributes.n", attribute("n", map[string]any{})},
		{"list attribute", "attributes.n", attribute("n", []string{})},
		{"bytes attribute", "attributes.n", attribute("n", []byte{})},
		{"pointer attribute", "attributes.n", attribute("n", ptr("x"))},
		// A named type may mean something else than its kind.
		{"named string attribute", "attributes.n", attribute("n", text("x"))},
		{"duration attribute", "attributes.n", attribute("n", time.Second)},
		{"65 attributes", "attributes", func(q *audit.QueryAudit) {
			q.Attributes = map[string]any{}
			for i := range 65 {
				q.Attributes[strconv.Itoa(i)] = i
			}
		}},
		{"long key in the error", `attributes."` + strings.Repeat("k", 64) + `"…`, attribute(strings.Repeat("k", 1<<20), nil)},
		{"more than 16 MiB", "", func(q *audit.QueryAudit) { q.Params.Subject = ptr(strings.Repeat("s", 16<<20)) }},
		{"more contributions than fit in 16 MiB", "contributing_assertions", func(q *audit.QueryAudit) {
			q.ContributingAssertions = make([]audit.ContributingAssertion, 100_000)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, id := range []audit.QueryID{{}, fill(1)} {
				q := exampleRecord()
				q.QueryID = id
				test.change(&q)
				_, err := q.Canonical()
				wantInvalid(t, err, test.field)
				if id.IsZero() {
					_, err := q.ID()
					wantInvalid(t, err, test.field)
				}
			}
		})
	}

	t.Run("nil record", func(t *testing.T) {
		_, err := (*audit.QueryAudit)(nil).Canonical()
		wantInvalid(t, err, "")
		_, err = (*audit.QueryAudit)(nil).ID()
		wantInvalid(t, err, "")
	})
}

func TestSixteenMebibytesAreTheMostAndAreTaken(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	q := exampleRecord()
	room := audit.MaxEncoded - len(canonical(t, &q)) + len("Tesla")
	q.Params.Subject = ptr(strings.Repeat("s", room))
	line := canonical(t, &q)
	if len(line) != 16<<20 {
		t.Fatalf("%d bytes", len(line))
	}
	parse(t, "  "+line+"\n") // white space does not count

	_, err := audit.ParseAudit([]byte(strings.Replace(line, "sss", "ssss", 1)))
	wantInvalid(t, err, "")
	// Its canonical form is longer than the input: 1e20 is written with 21 digits.
	_, err = audit.ParseAudit([]byte(strings.Replace(line, `"weight":1,`, `"weight":1e20,`, 1)))
	wantInvalid(t, err, "")
	*q.Params.Subject += "s"
	_, err = q.Canonical()
	wantInvalid(t, err, "")
}
