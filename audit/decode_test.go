package audit_test

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// least is a record with nothing in it that may be missing.
const least = `{"timestamp":5,"params":{},"result_confidence":0.5}`

// with returns the example with one piece of it replaced.
func with(old, new string) string {
	if !strings.Contains(example, old) {
		panic("the example has no " + old)
	}
	return strings.Replace(example, old, new, 1)
}

// attributes returns a record with the attributes given as JSON.
func attributes(object string) string {
	return strings.TrimSuffix(least, "}") + `,"attributes":` + object + `}`
}

// Each input is another way to write the example.
func TestInputThatIsFree(t *testing.T) {
	for name, input := range map[string]string{
		"canonical":              example,
		"white space around":     " \t\r\n" + example + " \n",
		"white space between":    strings.NewReplacer(":", " :\t", ",", " ,\n ", "{", "{ ", "}", " }", "[", "[\r", "]", " ]").Replace(example),
		"null left out":          with(`"epoch":null,`, ""),
		"upper-case hex":         strings.Replace(example, "0a0", "0A0", 1),
		"lower-case lifecycle":   with(`"Approved"`, `"approved"`),
		"mixed lifecycle":        with(`"Approved"}]`, `"aPPROVED"}]`),
		"number with fraction":   with(`"weight":1`, `"weight":1.000`),
		"number with exponent":   with(`0.95`, `95e-2`),
		"number with more":       with(`0.95`, `0.9500000000000000000000001`),
		"float32 in full":        with(`0.95`, `0.949999988079071044921875`),
		"escapes in a value":     with(`Tesla`, `\u0054e\u0073la`),
		"escapes in a name":      with(`"query_id"`, `"query\u005fid"`),
		"escapes in hash":        with(`"0a00`, `"\u0030\u0061\u0030\u0030`),
		"escapes in a lifecycle": with(`"Approved"`, `"\u0041pproved"`),
		"no attributes":          strings.TrimSuffix(example, "}") + `,"attributes":{}}`,
		"another order": `{"contributing_assertions":[{"lifecycle":"Approved","source_hash":"` + fill(3).String() +
			`","weight":1,"assertion_hash":"` + fill(2).String() + `"}],"result_confidence":0.95,"result_hash":"` + fill(1).String() +
			`","params":{"lens":"Recency","epoch":null,"lifecycle":"Approved","predicate":"revenue","subject":"Tesla"},` +
			`"timestamp":1000,"agent_id":"` + fill(1).String() + `","query_id":"0a` + zeros[2:] + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			q := parse(t, input)
			if want := exampleRecord(); !reflect.DeepEqual(q, want) {
				t.Errorf("read as %+v", q)
			}
			if got := canonical(t, &q); got != example {
				t.Errorf("written as\n%s\nwant\n%s", got, example)
			}
			_, err := audit.ParseCanonical([]byte(input))
			if input == example {
				if err != nil {
					t.Errorf("ParseCanonical: %v", err)
				}
			} else {
				wantInvalid(t, err, "")
			}
		})
	}
}

func TestWhatMayBeMissing(t *testing.T) {
	q := parse(t, least)
	want := audit.QueryAudit{QueryID: q.QueryID, Timestamp: 5, ResultConfidence: 0.5}
	if !reflect.DeepEqual(q, want) {
		t.Errorf("read as %+v", q)
	}
	if q.QueryID.IsZero() {
		t.Error("the id was not derived")
	}
	underived := want
	underived.QueryID = audit.QueryID{}
	if id, err := underived.ID(); err != nil || id != q.QueryID {
		t.Errorf("id %s, %v; read as %s", id, err, q.QueryID)
	}

	for _, spelling := range []string{
		strings.Replace(least, "{", `{"query_id":"`+zeros+`",`, 1),
		strings.Replace(least, "{", `{"agent_id":null,"result_hash":null,"contributing_assertions":[],`, 1),
		strings.Replace(least, "{}", `{"subject":null,"predicate":null,"lifecycle":null,"epoch":null,"lens":null}`, 1),
	} {
		if other := parse(t, spelling); !reflect.DeepEqual(other, q) {
			t.Errorf("%s is read as %+v", spelling, other)
		}
	}
}

func TestZerosAreNoIDButAreAnAgent(t *testing.T) {
	q := parse(t, strings.Replace(least, "{", `{"query_id":"`+zeros+`","agent_id":"`+zeros+`",`, 1))
	if q.QueryID.IsZero() || q.AgentID == nil || !q.AgentID.IsZero() {
		t.Errorf("read as %+v", q)
	}
}

func TestNumbersAreReadStraightToFloat32(t *testing.T) {
	for _, test := range []struct {
		literal string
		want    float32
	}{
		{"0", 0}, {"-0", 0}, {"-0.0e5", 0}, {"1", 1}, {"-1.5e1", -15},
		// By way of a float64 this would be halfway between two float32 and become 1.
		{"1.00000005960464477540", math.Nextafter32(1, 2)},
		{"3.4028235e38", math.MaxFloat32},
		{"3.4028235677e38", math.MaxFloat32},
		{"1e-45", math.SmallestNonzeroFloat32},
		{"0e999999999999999999999", 0}, {"0.0", 0}, {"0e10", 0}, {"-0e-999999999999999999999", 0},
		{"0.5" + strings.Repeat("0", 100_000), 0.5},
		{"1" + strings.Repeat("0", 100_000) + "e-100000", 1},
		{"0." + strings.Repeat("0", 1_000_000) + "25e1000000", 0.25},
		{"-25" + strings.Repeat("0", 1_000_000) + "E-1000002", -0.25},
		{"1.00000005960464477539" + strings.Repeat("0", 2000), 1},
		{"1.000000059604644775390625" + strings.Repeat("0", 2000), 1},
		{"1.000000059604644775390625" + strings.Repeat("0", 2000) + "1", math.Nextafter32(1, 2)},
		{"0." + strings.Repeat("3", 1_000_000), 1.0 / 3},
		{"-0." + strings.Repeat("0", 2000), 0},
		{"0." + strings.Repeat("0", 2000) + "5e+2000", 0.5},
	} {
		q := parse(t, strings.Replace(least, "0.5", test.literal, 1))
		if q.ResultConfidence != test.want || math.Signbit(float64(q.ResultConfidence)) != (test.want < 0) {
			t.Errorf("%.60s is read as %g, want %g", test.literal, q.ResultConfidence, test.want)
		}
		if canonical, err := q.Canonical(); err != nil {
			t.Errorf("%s: %v", canonical, err)
		}
	}
}

func TestAttributeValues(t *testing.T) {
	q := parse(t, attributes(`{"":"","s":"a\"b","t":true,"f":false,"i":-7,"d":1e-7,"z":-0.0,`+
		`"m":9007199254740992,"n":-9007199254740992,"e":9.007199254740992e15,"x":4503599627370497.5,`+
		`"l":9007199254740991.9999999999999999,"y":`+strings.Repeat("9", 10)+"."+strings.Repeat("9", 5000)+`}`))
	want := map[string]any{"": "", "s": `a"b`, "t": true, "f": false, "i": -7.0, "d": 1e-7, "z": 0.0,
		"m": 9007199254740992.0, "n": -9007199254740992.0, "e": 9007199254740992.0, "x": 4503599627370497.5,
		"l": 9007199254740992.0, "y": 1e10}
	if !reflect.DeepEqual(q.Attributes, want) {
		t.Errorf("read as %v", q.Attributes)
	}
	if math.Signbit(q.Attributes["z"].(float64)) {
		t.Error("-0 stayed -0")
	}
}

func TestSixtyFourAttributesAreTaken(t *testing.T) {
	var members []string
	for i := range 64 {
		members = append(members, fmt.Sprintf(`"k%d":%d`, i, i))
	}
	if q := parse(t, attributes("{"+strings.Join(members, ",")+"}")); len(q.Attributes) != 64 {
		t.Errorf("%d attributes", len(q.Attributes))
	}
	_, err := audit.ParseAudit([]byte(attributes("{" + strings.Join(append(members, `"k64":64`), ",") + "}")))
	wantInvalid(t, err, "attributes")
}

func TestParseKeepsNothingOfTheLine(t *testing.T) {
	line := []byte(strings.TrimSuffix(example, "}") + `,"attributes":{"key":"value"}}`)
	q, err := audit.ParseAudit(line)
	if err != nil {
		t.Fatal(err)
	}
	before := canonical(t, &q)
	for i := range line {
		line[i] = 'x'
	}
	if after := canonical(t, &q); after != before {
		t.Errorf("the record changed with the line: %s", after)
	}
}

// deep is nested so far that a recursive reader would run out of stack.
var deep = strings.Repeat(`[`, 5_000_000)

func TestDecoderRefuses(t *testing.T) {
	const (
		contribution = "contributing_assertions[0]"
		hex64        = "0303030303030303030303030303030303030303030303030303030303030303"
	)
	long := strings.Repeat("9", 1_000_000)
	for _, test := range []struct{ name, input, field string }{
		// The whole.
		{"empty", "", ""},
		{"white space", " \n", ""},
		{"byte order mark", "\ufeff" + example, ""},
		{"UTF-16", "{\x00\"\x00", ""},
		{"null", "null", ""},
		{"list", "[" + example + "]", ""},
		{"string", `"x"`, ""},
		{"deep list", deep, ""},
		{"deep object", strings.Repeat(`{"a":`, 1_000_000), "a"},
		{"two records", example + example, ""},
		{"two lines", example + "\n" + example, ""},
		{"trailing comma", example + ",", ""},
		{"trailing NUL", example + "\x00", ""},
		{"cut", example[:len(example)-1], ""},
		{"white space that JSON has not", "\v" + example, ""},
		{"no-break space", "\u00a0" + example, ""},
		{"comment", "// x\n" + example, ""},

		// Names.
		{"unknown field", with(`{"query_id"`, `{"x":1,"query_id"`), "x"},
		{"unknown field that is deep", with(`{"query_id"`, `{"x":`+deep+`,"query_id"`), "x"},
		{"unknown field in params", with(`"lens"`, `"lenses"`), "params.lenses"},
		{"unknown field in a contribution", with(`"weight"`, `"weights"`), contribution + ".weights"},
		{"capitalized field", with(`"query_id"`, `"Query_id"`), "Query_id"},
		{"Go's name of a field", with(`"query_id"`, `"QueryID"`), "QueryID"},
		{"capitalized field in params", with(`"subject"`, `"Subject"`), "params.Subject"},
		{"capitalized field in a contribution", with(`"weight"`, `"WEIGHT"`), contribution + ".WEIGHT"},
		{"long s in a field", with(`"subject"`, "\"\u017fubject\""), `params."\u017fubject"`},
		{"empty name", with(`"query_id"`, `""`), `""`},
		{"long name", with(`"query_id"`, `"`+strings.Repeat("n", 1_000_000)+`"`), `"` + strings.Repeat("n", 64) + `"…`},
		{"name for a terminal", with(`"query_id"`, "\"\u202e\\u001b[31m\""), `"\u202e\x1b[31m"`},
		{"doubled field", with(`"timestamp":1000`, `"timestamp":1000,"timestamp":1000`), "timestamp"},
		{"doubled null", with(`"epoch":null`, `"epoch":null,"epoch":null`), "params.epoch"},
		{"doubled by an escape", with(`"agent_id"`, `"query\u005fid":"`+hex64+`","agent_id"`), "query_id"},
		{"doubled in a contribution", with(`"weight":1`, `"weight":1,"weight":1`), contribution + ".weight"},
		{"doubled in a canonical contribution", with(`"lifecycle":"Approved"}]`, `"lifecycle":"Approved","weight":1}]`), contribution + ".weight"},
		{"doubled list", strings.TrimSuffix(example, "}") + `,"contributing_assertions":[]}`, "contributing_assertions"},
		{"doubled attributes", strings.TrimSuffix(attributes(`{}`), "}") + `,"attributes":{}}`, "attributes"},
		{"doubled attribute", attributes(`{"a":1,"b":2,"a":1}`), "attributes.a"},
		{"attribute doubled by an escape", attributes(`{"a":1,"\u0061":1}`), "attributes.a"},
		{"empty attribute doubled", attributes(`{"":1,"":1}`), `attributes.""`},
		{"NUL in a name", with(`"query_id"`, `"query\u0000id"`), ""},
		{"NUL in a name in params", with(`"lens"`, `"lens\u0000"`), "params"},
		{"invalid UTF-8 in a name", with(`"query_id"`, "\"query\xff\""), ""},
		{"lone surrogate in a name", with(`"query_id"`, `"\ud800"`), ""},
		{"name that is no string", with(`"query_id"`, `query_id`), ""},

		// What must be there.
		{"no fields", `{}`, "timestamp"},
		{"no timestamp", `{"params":{},"result_confidence":1}`, "timestamp"},
		{"no params", `{"timestamp":1,"result_confidence":1}`, "params"},
		{"no confidence", `{"timestamp":1,"params":{}}`, "result_confidence"},
		{"contribution without assertion", with(`"assertion_hash":"`+fill(2).String()+`",`, ``), contribution + ".assertion_hash"},
		{"contribution without weight", with(`"weight":1,`, ``), contribution + ".weight"},
		{"contribution without source", with(`"source_hash":"`+hex64+`",`, ``), contribution + ".source_hash"},
		{"contribution without lifecycle", with(`,"lifecycle":"Approved"}]`, `}]`), contribution + ".lifecycle"},
		{"empty contribution", with(`{"assertion_hash"`, `{},{"assertion_hash"`), contribution + ".assertion_hash"},

		// Null where it may not be.
		{"null id", with(`"0a`+zeros[2:]+`"`, `null`), "query_id"},
		{"null timestamp", with(`1000`, `null`), "timestamp"},
		{"null params", strings.Replace(least, `{}`, `null`, 1), "params"},
		{"null confidence", with(`0.95`, `null`), "result_confidence"},
		{"null list", strings.TrimSuffix(least, "}") + `,"contributing_assertions":null}`, "contributing_assertions"},
		{"null contribution", with(`[{`, `[null,{`), contribution},
		{"null weight", with(`"weight":1`, `"weight":null`), contribution + ".weight"},
		{"null hash of a contribution", with(`"`+hex64+`"`, `null`), contribution + ".source_hash"},
		{"null lifecycle of a contribution", with(`"Approved"}]`, `null}]`), contribution + ".lifecycle"},
		{"null attributes", attributes(`null`), "attributes"},
		{"null attribute", attributes(`{"a":null}`), "attributes.a"},
		{"nulls run on", with(`null`, `nulll`), "params"},
		{"null with a capital", with(`null`, `Null`), "params.epoch"},

		// Other types.
		{"hash as number", with(`"0a`+zeros[2:]+`"`, `0`), "query_id"},
		{"timestamp as string", with(`1000`, `"1000"`), "timestamp"},
		{"timestamp as boolean", with(`1000`, `true`), "timestamp"},
		{"params as list", strings.Replace(least, `{}`, `[]`, 1), "params"},
		{"subject as number", with(`"Tesla"`, `1`), "params.subject"},
		{"subject as object", with(`"Tesla"`, `{}`), "params.subject"},
		{"lifecycle as number", with(`"Approved"`, `2`), "params.lifecycle"},
		{"weight as string", with(`"weight":1`, `"weight":"1"`), contribution + ".weight"},
		{"contributions as object", with(`[{`, `{"a":{`), "contributing_assertions"},
		{"deep contribution", with(`[{`, deep+`[{`), contribution},
		{"attributes as list", attributes(`[]`), "attributes"},
		{"nested attribute", attributes(`{"a":{}}`), "attributes.a"},
		{"list attribute", attributes(`{"a":[]}`), "attributes.a"},
		{"deep attribute", attributes(`{"a":` + deep), "attributes.a"},
		{"word attribute", attributes(`{"a":tru}`), "attributes.a"},
		{"NaN attribute", attributes(`{"a":NaN}`), "attributes.a"},

		// Hashes.
		{"63 digits", with(`"0a`, `"a`), "query_id"},
		{"65 digits", with(`"0a`, `"00a`), "query_id"},
		{"no hex", with(`"0a`, `"0g`), "query_id"},
		{"empty hash", with(`"`+hex64+`"`, `""`), contribution + ".source_hash"},
		{"no hex in the result", with(`"result_hash":"01`, `"result_hash":"x1`), "result_hash"},
		{"no hex in the agent", with(`"agent_id":"01`, `"agent_id":"0x`), "agent_id"},
		{"no hex in the epoch", with(`"epoch":null`, `"epoch":"x"`), "params.epoch"},
		{"no hex in the second contribution", with(`}]`, `},{"assertion_hash":"`+hex64+`","weight":1,"source_hash":"`+strings.Replace(hex64, "3", "z", 1)+`","lifecycle":"Approved"}]`), "contributing_assertions[1].source_hash"},
		{"long hash", with(`"0a`, `"`+long), "query_id"},

		// Timestamps.
		{"2^63", with(`1000`, `9223372036854775808`), "timestamp"},
		{"2^64", with(`1000`, `18446744073709551616`), "timestamp"},
		{"2^64 + 1000", with(`1000`, `18446744073709552616`), "timestamp"},
		{"long timestamp", with(`1000`, long), "timestamp"},
		{"negative timestamp", with(`1000`, `-1`), "timestamp"},
		{"negative zero timestamp", with(`1000`, `-0`), "timestamp"},
		{"timestamp with a fraction", with(`1000`, `1000.0`), "timestamp"},
		{"timestamp with an exponent", with(`1000`, `1e3`), "timestamp"},
		{"timestamp with an Exponent", with(`1000`, `1E3`), "timestamp"},

		// Numbers.
		{"confidence beyond float32", with(`0.95`, `3.4028236e38`), "result_confidence"},
		{"confidence beyond float64", with(`0.95`, `1e400`), "result_confidence"},
		{"negative beyond float32", with(`0.95`, `-1e39`), "result_confidence"},
		{"exponent beyond all", with(`0.95`, `1e99999999999999999999`), "result_confidence"},
		{"digits beyond all", with(`0.95`, long), "result_confidence"},
		{"confidence that would be 0", with(`0.95`, `1e-60`), "result_confidence"},
		{"negative that would be 0", with(`0.95`, `-1e-46`), "result_confidence"},
		{"beyond any exponent", with(`0.95`, `1e-999999999999999999999`), "result_confidence"},
		{"a small number of many digits", with(`0.95`, `0.`+strings.Repeat("0", 2000)+`1`), "result_confidence"},
		{"weight that would be 0", with(`"weight":1`, `"weight":1e-46`), contribution + ".weight"},
		{"weight beyond float32", with(`"weight":1`, `"weight":1e39`), contribution + ".weight"},
		{"NaN", with(`0.95`, `NaN`), "result_confidence"},
		{"Infinity", with(`0.95`, `Infinity`), "result_confidence"},
		{"-Infinity", with(`0.95`, `-Infinity`), "result_confidence"},
		{"inf", with(`0.95`, `inf`), "result_confidence"},
		{"leading zero", with(`0.95`, `00.95`), "result_confidence"},
		{"leading zero of a timestamp", with(`1000`, `01000`), "timestamp"},
		{"leading plus", with(`0.95`, `+0.95`), "result_confidence"},
		{"no digit before the point", with(`0.95`, `.95`), "result_confidence"},
		{"no digit after the point", with(`0.95`, `0.`), "result_confidence"},
		{"no digit in the exponent", with(`0.95`, `1e`), "result_confidence"},
		{"no digit after the sign", with(`0.95`, `1e+`), "result_confidence"},
		{"minus alone", with(`0.95`, `-`), "result_confidence"},
		{"hexadecimal", with(`0.95`, `0x1p-2`), ""},
		{"underscore", with(`0.95`, `1_0`), ""},
		{"two points", with(`0.95`, `0.9.5`), ""},

		// Integers in attributes.
		{"2^53 + 1", attributes(`{"a":9007199254740993}`), "attributes.a"},
		{"-2^53 - 1", attributes(`{"a":-9007199254740993}`), "attributes.a"},
		{"2^53 + 1 with a fraction", attributes(`{"a":9007199254740993.0}`), "attributes.a"},
		{"2^53 + 1 with an exponent", attributes(`{"a":9.007199254740993e15}`), "attributes.a"},
		{"2^53 and a half", attributes(`{"a":9007199254740992.5}`), "attributes.a"},
		{"2^53 and a little", attributes(`{"a":9007199254740992.` + strings.Repeat("0", 2000) + `1}`), "attributes.a"},
		{"2^53 + 2", attributes(`{"a":9007199254740994}`), "attributes.a"},
		{"1e16", attributes(`{"a":1e16}`), "attributes.a"},
		{"1e300", attributes(`{"a":1e300}`), "attributes.a"},
		{"1e400", attributes(`{"a":1e400}`), "attributes.a"},
		{"1e-400", attributes(`{"a":1e-400}`), "attributes.a"},
		{"-1e-400", attributes(`{"a":-1e-400}`), "attributes.a"},
		{"-1e400", attributes(`{"a":-1e400}`), "attributes.a"},
		{"long integer", attributes(`{"a":` + long + `}`), "attributes.a"},

		// Strings.
		{"NUL as it is", with(`Tesla`, "Te\x00sla"), "params.subject"},
		{"NUL escaped", with(`Tesla`, `Te\u0000sla`), "params.subject"},
		{"NUL after an escape", with(`Tesla`, "\\n\x00"), "params.subject"},
		{"control character", with(`Tesla`, "Te\nsla"), "params.subject"},
		{"control character after an escape", with(`Tesla`, "\\n\x1f"), "params.subject"},
		{"high surrogate alone", with(`Tesla`, `\ud83d`), "params.subject"},
		{"high surrogate before a letter", with(`Tesla`, `\ud83dx\ude00`), "params.subject"},
		{"high surrogate before another escape", with(`Tesla`, `\ud83d\u0041`), "params.subject"},
		{"high surrogate twice", with(`Tesla`, `\ud83d\ud83d\ude00`), "params.subject"},
		{"low surrogate alone", with(`Tesla`, `\ude00`), "params.subject"},
		{"surrogates the wrong way round", with(`Tesla`, `\ude00\ud83d`), "params.subject"},
		{"surrogate and half an escape", with(`Tesla`, `\ud83d\ude0`), "params.subject"},
		{"surrogate in UTF-8", with(`Tesla`, "\xed\xa0\xbd\xed\xb8\x80"), "params.subject"},
		{"invalid UTF-8", with(`Tesla`, "\xff"), "params.subject"},
		{"overlong UTF-8", with(`Tesla`, "\xc0\xaf"), "params.subject"},
		{"overlong NUL", with(`Tesla`, "\xc0\x80"), "params.subject"},
		{"beyond U+10FFFF", with(`Tesla`, "\xf4\x90\x80\x80"), "params.subject"},
		{"cut UTF-8", with(`Tesla`, "\xf0\x9f\x98"), "params.subject"},
		{"UTF-8 put together by an escape", with(`Tesla`, "\xc3\\u00a9"), "params.subject"},
		{"invalid UTF-8 after an escape", with(`Tesla`, "\\n\x80"), "params.subject"},
		{"unknown escape", with(`Tesla`, `\x41`), "params.subject"},
		{"escaped quote of another kind", with(`Tesla`, `\'`), "params.subject"},
		{"escape that is no ASCII", with(`Tesla`, "\\\xff"), "params.subject"},
		{"escape without digits", with(`Tesla`, `\u00g0`), "params.subject"},
		{"escape cut by the quote", with(`Tesla`, `\u00`), "params.subject"},
		{"capital U", with(`Tesla`, `\U0041`), "params.subject"},
		{"no closing quote", example[:strings.Index(example, "Tesla")+3], "params.subject"},
		{"ends after a backslash", example[:strings.Index(example, "Tesla")] + `\`, "params.subject"},
		{"ends within an escape", example[:strings.Index(example, "Tesla")] + `\u00`, "params.subject"},
		{"NUL in an attribute", attributes(`{"a":"\u0000"}`), "attributes.a"},
		{"lone surrogate in an attribute", attributes(`{"a":"\udfff"}`), "attributes.a"},
		{"NUL in an attribute's key", attributes(`{"\u0000":1}`), "attributes"},
		{"lone surrogate in an attribute's key", attributes(`{"\udfff":1}`), "attributes"},
		{"unknown lifecycle", with(`"Approved"`, `"Believed"`), "params.lifecycle"},
		{"empty lifecycle", with(`"Approved"`, `""`), "params.lifecycle"},
		{"unknown lifecycle of a contribution", with(`"Approved"}]`, `"Approve"}]`), contribution + ".lifecycle"},
		{"lifecycle that begins well", with(`"Approved"}]`, `"ApprovedX"}]`), contribution + ".lifecycle"},
		{"long lifecycle", with(`"Approved"`, `"`+long+`"`), "params.lifecycle"},

		// Grammar.
		{"comma first", `{,}`, ""},
		{"comma last", strings.TrimSuffix(least, "}") + `,}`, ""},
		{"comma last in params", with(`"Recency"`, `"Recency",`), "params"},
		{"comma last in the list", with(`}]`, `},]`), "contributing_assertions[1]"},
		{"comma first in the list", with(`[{`, `[,{`), contribution},
		{"two commas", with(`,"params"`, `,,"params"`), ""},
		{"no comma", with(`,"params"`, ` "params"`), ""},
		{"no comma in the list", with(`}]`, `}{}]`), "contributing_assertions"},
		{"no colon", with(`"params":`, `"params"`), ""},
		{"two colons", with(`"params":`, `"params"::`), "params"},
		{"wrong bracket", with(`}]`, `]]`), contribution},
		{"list not closed", with(`}]}`, `}`), "contributing_assertions"},
	} {
		t.Run(test.name, func(t *testing.T) {
			q, err := audit.ParseAudit([]byte(test.input))
			wantInvalid(t, err, test.field)
			if !reflect.DeepEqual(q, audit.QueryAudit{}) {
				t.Errorf("a refused record came back as %+v", q)
			}
			_, err = audit.ParseCanonical([]byte(test.input))
			wantInvalid(t, err, test.field)
		})
	}
}

// Wherever a line is cut, it is refused, and nothing reads after its end.
func TestCutAnywhereIsRefused(t *testing.T) {
	line := strings.TrimSuffix(with("Tesla", `\u0054\ud83d\ude00`), "}") + `,"attributes":{"a":"b\n","c":-1.5e-3,"d":true}}`
	parse(t, line)
	for i := range line {
		if _, err := audit.ParseAudit([]byte(line[:i])); err == nil {
			t.Errorf("accepted: %s", line[:i])
		}
	}
}

func TestParseCanonicalRefusesWhatIsOnlyEquivalent(t *testing.T) {
	whole := attributes(`{"a":1,"b":0.5}`)
	q := parse(t, whole)
	line := canonical(t, &q)
	if _, err := audit.ParseCanonical([]byte(line)); err != nil {
		t.Fatal(err)
	}
	for name, payload := range map[string]string{
		"derived id left out": whole,
		"id of zeros":         strings.Replace(line, q.QueryID.String(), zeros, 1),
		"trailing newline":    line + "\n",
		"attributes swapped":  strings.Replace(line, `"a":1,"b":0.5`, `"b":0.5,"a":1`, 1),
		"longer number":       strings.Replace(line, `"a":1`, `"a":1.0`, 1),
		"needless escape":     strings.Replace(line, `"a"`, `"\u0061"`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := audit.ParseCanonical([]byte(payload))
			wantInvalid(t, err, "")
			if again := parse(t, payload); !reflect.DeepEqual(again, q) {
				t.Errorf("it is not equivalent: %+v", again)
			}
		})
	}
}

func TestMoreContributionsThanARecordHoldsAreRefused(t *testing.T) {
	t.Parallel()
	_, before, _ := strings.Cut(example, `"contributing_assertions":[`)
	one := strings.TrimSuffix(before, "]}")
	_, err := audit.ParseAudit([]byte(with(one, one+strings.Repeat(","+one, 100_000))))
	wantInvalid(t, err, "contributing_assertions")
}

func TestManyContributionsKeepTheirOrder(t *testing.T) {
	want := bigRecord(1000)
	for i := range want.ContributingAssertions {
		want.ContributingAssertions[i].Weight = float32(i)
		want.ContributingAssertions[i].Lifecycle = audit.Lifecycle(i % 5)
	}
	line := canonical(t, &want)
	if got := parse(t, line); !reflect.DeepEqual(got, want) {
		t.Error("the record changed")
	}
	spaced := strings.ReplaceAll(line, `"weight":`, `"weight": `)
	if got := parse(t, spaced); !reflect.DeepEqual(got, want) {
		t.Error("the record changed with white space in it")
	}
	_, err := audit.ParseAudit([]byte(strings.Replace(line, `"weight":777,`, `"weight":`+strconv.Quote("x")+`,`, 1)))
	wantInvalid(t, err, "contributing_assertions[777].weight")
}
