package ask_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
)

var (
	noon    = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	options = ask.Options{Now: noon}
)

func hash(b byte) audit.Hash {
	var h audit.Hash
	for i := range h {
		h[i] = b
	}
	return h
}

func pointer[T any](v T) *T { return &v }

// none is the filter that leaves out what another one selects.
func none(f audit.Filter) audit.Filter { return audit.Filter{NoneOf: []audit.Filter{f}} }

// store holds one answer, with an agent, an assertion and a source that have labels.
func store(t *testing.T) *audit.DB {
	t.Helper()
	db, err := audit.Open(t.TempDir(), audit.WithReads(audit.Acknowledged))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	for i, subject := range []string{"caf\u00e9", "cafe\u0301"} {
		_, err = db.PutAudit(t.Context(), &audit.QueryAudit{
			QueryID: hash(byte(0xe0 + i)), AgentID: pointer(hash(1)), Timestamp: uint64(noon.UnixMilli()), Params: audit.QueryParams{Subject: &subject},
			ResultHash:             pointer(hash(2)),
			ContributingAssertions: []audit.ContributingAssertion{{AssertionHash: hash(2), SourceHash: hash(3), Weight: 1}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err = db.PutLabels(t.Context(), []audit.Label{{Hash: hash(1), Label: "planner"}, {Hash: hash(2), Label: "twin"}, {Hash: hash(9), Label: "twin"}})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// Each parameter sets its field of the filter, and nothing else.
func TestParametersSetTheirFields(t *testing.T) {
	t.Parallel()
	db := store(t)
	day := uint64(time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).UnixMilli())
	at, minute := uint64(noon.UnixMilli()), uint64(60_000)
	approved := audit.Approved
	tested := map[string]bool{}
	for _, test := range []struct {
		values map[string][]string
		want   audit.Filter
	}{
		{map[string][]string{"agent": {"planner"}}, audit.Filter{Agent: pointer(hash(1))}},
		{map[string][]string{"agent": {"01010101"}}, audit.Filter{Agent: pointer(hash(1))}},
		{map[string][]string{"anonymous": {""}}, audit.Filter{Anonymous: true}},
		{map[string][]string{"anonymous": {"false"}, "agent": {"planner"}}, audit.Filter{Agent: pointer(hash(1))}},
		{map[string][]string{"from": {"yesterday"}}, audit.Filter{From: &day}},
		{map[string][]string{"to": {"yesterday"}}, audit.Filter{To: pointer(day + 24*60*minute - 1)}},
		{map[string][]string{"around": {"now"}}, audit.Filter{From: pointer(at - 15*minute), To: pointer(at + 15*minute)}},
		{map[string][]string{"around": {"now"}, "window": {"1m"}}, audit.Filter{From: pointer(at - minute), To: pointer(at + minute)}},
		{map[string][]string{"subject": {""}}, audit.Filter{SubjectGlob: pointer("")}},
		{map[string][]string{"predicate": {"p"}}, audit.Filter{Predicate: pointer("p")}},
		{map[string][]string{"lens": {"l"}}, audit.Filter{Lens: pointer("l")}},
		{map[string][]string{"lifecycle": {"approved"}}, audit.Filter{Lifecycle: &approved}},
		{map[string][]string{"result": {hash(2).String()}}, audit.Filter{Result: pointer(hash(2))}},
		{map[string][]string{"assertion": {"02020202"}}, audit.Filter{Assertion: pointer(hash(2))}},
		{map[string][]string{"source": {"0303030303"}}, audit.Filter{Source: pointer(hash(3))}},
		{map[string][]string{"unapproved": {"true"}}, audit.Filter{Unapproved: true}},
		{map[string][]string{"attr": {"a=b=c", `"a=b"=c`, `""=`}}, audit.Filter{Attributes: []audit.Attribute{{Key: "a", Value: "b=c"}, {Key: "a=b", Value: "c"}, {}}}},
		{map[string][]string{"min-confidence": {"0.25"}}, audit.Filter{MinConfidence: pointer(float32(0.25))}},
		{map[string][]string{"max-confidence": {"1"}}, audit.Filter{MaxConfidence: pointer(float32(1))}},
		{map[string][]string{"as-of": {"2"}}, audit.Filter{AsOf: pointer(uint64(2))}},
		{map[string][]string{"limit": {"7"}}, audit.Filter{Limit: 7}},
		{map[string][]string{"desc": {"true"}}, audit.Filter{Descending: true}},

		// Several values are alternatives. The same one twice is one.
		{map[string][]string{"agent": {"planner", hash(7).String()}}, audit.Filter{AnyOf: [][]audit.Filter{{{Agent: pointer(hash(1))}, {Agent: pointer(hash(7))}}}}},
		{map[string][]string{"agent": {"planner", "01010101"}}, audit.Filter{Agent: pointer(hash(1))}},
		{map[string][]string{"subject": {"a*", "[!b]"}}, audit.Filter{AnyOf: [][]audit.Filter{{{SubjectGlob: pointer("a*")}, {SubjectGlob: pointer("[!b]")}}}}},
		{map[string][]string{"attr": {"k=1", "j=1", "k=2"}}, audit.Filter{
			Attributes: []audit.Attribute{{Key: "j", Value: "1"}},
			AnyOf:      [][]audit.Filter{{{Attributes: []audit.Attribute{{Key: "k", Value: "1"}}}, {Attributes: []audit.Attribute{{Key: "k", Value: "2"}}}}}}},

		// A negation is no condition of its own: it leaves out what another one selects.
		{map[string][]string{"not-agent": {"planner"}}, none(audit.Filter{Agent: pointer(hash(1))})},
		{map[string][]string{"not-agent": {"planner", hash(7).String()}, "agent": {"planner"}}, audit.Filter{
			Agent: pointer(hash(1)), NoneOf: []audit.Filter{{Agent: pointer(hash(1))}, {Agent: pointer(hash(7))}}}},
		{map[string][]string{"not-anonymous": {""}}, none(audit.Filter{Anonymous: true})},
		{map[string][]string{"not-anonymous": {"false"}}, audit.Filter{}},
		{map[string][]string{"not-from": {"yesterday"}}, audit.Filter{To: pointer(day - 1)}},
		{map[string][]string{"not-from": {"0"}}, none(audit.Filter{From: pointer(uint64(0))})},
		{map[string][]string{"not-to": {"yesterday"}}, audit.Filter{From: pointer(day + 24*60*minute)}},
		{map[string][]string{"from": {"now"}, "not-to": {"yesterday"}}, audit.Filter{From: &at}},
		{map[string][]string{"not-around": {"now"}, "window": {"1m"}}, none(audit.Filter{From: pointer(at - minute), To: pointer(at + minute)})},
		{map[string][]string{"not-subject": {""}}, none(audit.Filter{SubjectGlob: pointer("")})},
		{map[string][]string{"not-predicate": {"p"}}, none(audit.Filter{Predicate: pointer("p")})},
		{map[string][]string{"not-lens": {"l"}}, none(audit.Filter{Lens: pointer("l")})},
		{map[string][]string{"not-lifecycle": {"approved"}}, none(audit.Filter{Lifecycle: &approved})},
		{map[string][]string{"not-result": {hash(2).String()}}, none(audit.Filter{Result: pointer(hash(2))})},
		{map[string][]string{"not-assertion": {"02020202"}}, none(audit.Filter{Assertion: pointer(hash(2))})},
		{map[string][]string{"not-source": {"0303030303"}}, none(audit.Filter{Source: pointer(hash(3))})},
		{map[string][]string{"not-unapproved": {"true"}}, none(audit.Filter{Unapproved: true})},
		{map[string][]string{"not-attr": {"a=b"}}, none(audit.Filter{Attributes: []audit.Attribute{{Key: "a", Value: "b"}}})},
		{map[string][]string{"not-min-confidence": {"0.25"}}, none(audit.Filter{MinConfidence: pointer(float32(0.25))})},
		{map[string][]string{"not-max-confidence": {"0.5"}}, none(audit.Filter{MaxConfidence: pointer(float32(0.5))})},
	} {
		got, notes, err := ask.Filter(t.Context(), db, test.values, options)
		if err != nil || len(notes) > 0 || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%v: got %+v, %v, %v", test.values, got, notes, err)
		}
		if err := ask.Check(test.values, options); err != nil {
			t.Errorf("%v: checked: %v", test.values, err)
		}
		for name := range test.values {
			tested[name] = true
		}
	}
	for _, p := range ask.Parameters() {
		if !tested[p.Name] {
			t.Errorf("%s is not tested", p.Name)
		}
		if p.Plain() == "" || strings.Contains(p.Plain(), "`") {
			t.Errorf("%s is described as %q", p.Name, p.Plain())
		}
	}
}

// What is refused names its parameters, in the way of the front end, and is refused without a store where that can be.
func TestRefusalsNameTheirParameters(t *testing.T) {
	t.Parallel()
	db := store(t)
	flag := func(parameter string) string { return "--" + parameter }
	for _, test := range []struct {
		values    map[string][]string
		parameter string
		want      string
		late      bool // only the store can tell
	}{
		{map[string][]string{"from": {"11/23/2026"}}, "from", `--from: "11/23/2026" is no time`, false},
		{map[string][]string{"from": {"today", "now"}}, "from", "--from: is given more than once", false},
		{map[string][]string{"from": {"today"}, "to": {"yesterday"}}, "from", "--from 2026-11-23T00:00:00.000Z is later than --to 2026-11-22T23:59:59.999Z", true},
		{map[string][]string{"around": {"now"}, "to": {"now"}}, "around", "--around and --to cannot be used together", false},
		{map[string][]string{"window": {"1m"}}, "window", "--window goes with --around", false},
		{map[string][]string{"around": {"now"}, "window": {"1 month"}}, "window", "--window: months and years", false},
		{map[string][]string{"anonymous": {"true"}, "agent": {"planner"}}, "anonymous", "--anonymous and --agent cannot", false},
		{map[string][]string{"anonymous": {"maybe"}}, "anonymous", `--anonymous: want true or false, and got "maybe"`, false},
		{map[string][]string{"agent": {""}}, "agent", `--agent: "": want a hash or a label`, false},
		{map[string][]string{"agent": {"planer"}}, "agent", `--agent: "planer" is neither a label nor a hash`, true},
		{map[string][]string{"agent": {"02020202"}}, "agent", `--agent: "02020202": no agent begins with that`, true},
		{map[string][]string{"assertion": {"twin"}}, "assertion", `--assertion: "twin" is ambiguous: `, true},
		{map[string][]string{"attr": {"a"}}, "attr", `--attr: "a": want KEY=VALUE`, false},
		{map[string][]string{"attr": {`"a"b=c`}}, "attr", `--attr: "\"a\"b=c": a key in quotes ends`, false},
		{map[string][]string{"lifecycle": {"Final"}}, "lifecycle", "--lifecycle: unknown lifecycle", false},
		{map[string][]string{"min-confidence": {"NaN"}}, "min-confidence", `--min-confidence: "NaN" is no number`, false},
		{map[string][]string{"max-confidence": {"1e-99"}}, "max-confidence", `--max-confidence: "1e-99" is too small`, false},
		{map[string][]string{"min-confidence": {"0.9"}, "max-confidence": {"0.1"}}, "min-confidence", "--min-confidence 0.9 is above --max-confidence 0.1", false},
		{map[string][]string{"limit": {"-1"}}, "limit", `--limit: want 0 for no limit, or more, and got "-1"`, false},
		{map[string][]string{"as-of": {"-1"}}, "as-of", `--as-of: want a number of records, and got "-1"`, false},
		{map[string][]string{"as-of": {"now"}}, "as-of", `--as-of: want a number of records, and got "now"`, false},
		{map[string][]string{"from": {"now"}, "not-from": {"now"}}, "from", "--from 2026-11-23T12:00:00.000Z and --not-from 2026-11-23T12:00:00.000Z leave no time", true},
		{map[string][]string{"not-agent": {"planer"}}, "not-agent", `--not-agent: "planer" is neither a label nor a hash`, true},
		{map[string][]string{"not-min-confidence": {"1", "0"}}, "not-min-confidence", "--not-min-confidence: is given more than once", false},
		{map[string][]string{"lens": slices.Repeat([]string{"l"}, ask.MaxValues+1)}, "lens", "--lens: has 1001 values: want 1000 or less", false},
		{map[string][]string{"not-limit": {"1"}}, "not-limit", "--not-limit: there is no such parameter", false},
		{map[string][]string{"colour": {"red"}}, "colour", "--colour: there is no such parameter", false},
	} {
		_, _, err := ask.Filter(t.Context(), db, test.values, options)
		var refused *ask.Error
		if !errors.As(err, &refused) || refused.Parameter != test.parameter || !strings.HasPrefix(refused.Text(flag), test.want) {
			t.Errorf("%v: got %v, want %s", test.values, err, test.want)
		}
		if early := ask.Check(test.values, options); (early != nil) == test.late {
			t.Errorf("%v: checked without a store: %v", test.values, early)
		}
	}
}

// A filter that may be meant otherwise is read as it is, with a note.
func TestNotesSayWhatMayBeMeant(t *testing.T) {
	t.Parallel()
	db := store(t)
	_, err := db.PutAudit(t.Context(), &audit.QueryAudit{Timestamp: uint64(noon.UnixMilli()), Params: audit.QueryParams{Predicate: pointer("Revenue"), Lens: pointer("Recency")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		values map[string][]string
		want   ask.Note
	}{
		{map[string][]string{"lens": {"recency"}}, ask.Note{Parameter: "lens", Text: `the newest records have "Recency", and not "recency": case matters`}},
		{map[string][]string{"not-predicate": {"REVENUE", "Revenue"}}, ask.Note{Parameter: "not-predicate", Text: `the newest records have "Revenue", and not "REVENUE": case matters`}},
		{map[string][]string{"not-source": {"planner"}}, ask.Note{Parameter: "not-source", Text: `"planner" is an agent, and no source`}},
		{map[string][]string{"from": {fmt.Sprint(noon.Unix())}}, ask.Note{Parameter: "from", Text: "1795435200 is 1970-01-21T18:43:55.200Z, since this store counts ms; in s it would be 2026-11-23T12:00:00Z"}},
		{map[string][]string{"source": {"planner"}}, ask.Note{Parameter: "source", Text: `"planner" is an agent, and no source`}},
		{map[string][]string{"subject": {"caf\u00e9"}}, ask.Note{Parameter: "subject", Pattern: "caf*",
			Text: "records also have another spelling of caf\u00e9, which looks the same: an accented letter may be one character or several"}},
	} {
		_, notes, err := ask.Filter(t.Context(), db, test.values, options)
		if err != nil || len(notes) != 1 || notes[0] != test.want {
			t.Errorf("%v: got %q, %v, want %q", test.values, notes, err, test.want)
		}
	}
}

func TestIDsAreFoundByTheirFirstDigits(t *testing.T) {
	t.Parallel()
	db := store(t)
	if id, err := ask.ID(t.Context(), db, "E0E0E0E0e", nil); err != nil || id != hash(0xe0) {
		t.Errorf("got %v, %v", id, err)
	}
	if id, err := ask.ID(t.Context(), db, hash(7).String(), nil); err != nil || id != hash(7) {
		t.Errorf("a whole id: got %v, %v", id, err)
	}
	if _, err := ask.ID(t.Context(), db, "07070707", nil); !errors.Is(err, audit.ErrNotFound) {
		t.Errorf("the digits of none: %v", err)
	}
	if _, err := ask.ID(t.Context(), db, "0707", nil); err == nil || errors.Is(err, audit.ErrNotFound) {
		t.Errorf("too few digits: %v", err)
	}
	near := hash(0xe0)
	near[31] = 1
	if _, err := db.PutAudit(t.Context(), &audit.QueryAudit{QueryID: near, Timestamp: 1}); err != nil {
		t.Fatal(err)
	}
	var ambiguous *ask.AmbiguousIDError
	if _, err := ask.ID(t.Context(), db, "e0e0e0e0", nil); !errors.As(err, &ambiguous) || len(ambiguous.IDs) != 2 {
		t.Errorf("the digits of two: %v", err)
	}
}
