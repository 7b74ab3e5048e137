package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/internal/sequential"
)

// The forensic commands, with -o json, are held against what a plain program finds in the NDJSON that was
// imported: it reads every record for every question.

// plainRecord is a line of it, read without package audit.
type plainRecord struct {
	ID        string  `json:"query_id"`
	Agent     *string `json:"agent_id"`
	Timestamp uint64  `json:"timestamp"`
	Params    struct {
		Subject   *string `json:"subject"`
		Predicate *string `json:"predicate"`
		Lifecycle *string `json:"lifecycle"`
		Lens      *string `json:"lens"`
	} `json:"params"`
	Result     *string      `json:"result_hash"`
	Confidence float64      `json:"result_confidence"`
	Evidence   []plainPiece `json:"contributing_assertions"`
}

type plainPiece struct {
	Assertion string  `json:"assertion_hash"`
	Weight    float64 `json:"weight"`
	Source    string  `json:"source_hash"`
	Lifecycle string  `json:"lifecycle"`
}

func (q *plainRecord) unapproved() bool {
	return slices.ContainsFunc(q.Evidence, func(p plainPiece) bool { return p.Lifecycle != "Approved" })
}

// weighs is how much of an assertion, or of a source, went into the record, and whether any did.
func (q *plainRecord) weighs(hash string, source bool) (weight float64, pieces int, won bool) {
	for _, p := range q.Evidence {
		if p.Assertion == hash && !source || p.Source == hash && source {
			weight, pieces = weight+p.Weight, pieces+1
			won = won || q.Result != nil && *q.Result == p.Assertion
		}
	}
	return weight, pieces, won
}

type plainRecords []plainRecord

func (rs plainRecords) where(keep func(*plainRecord) bool) plainRecords {
	var kept plainRecords
	for i := range rs {
		if keep(&rs[i]) {
			kept = append(kept, rs[i])
		}
	}
	return kept
}

// agents counts different ones.
func (rs plainRecords) agents() int {
	seen := map[string]bool{}
	for _, q := range rs {
		if q.Agent != nil {
			seen[*q.Agent] = true
		}
	}
	return len(seen)
}

func (rs plainRecords) ids() []string {
	ids := []string{}
	for _, q := range rs {
		ids = append(ids, q.ID)
	}
	return ids
}

// hashOf is a hash that begins with a digit of its own.
func hashOf(kind string, n int) string { return fmt.Sprintf("%02x%s%060x", n, kind, n*n+7) }

const plainStart = 1_795_392_000_000 // a midnight

// plainLines makes records: few of everything, so that much is shared and much happens at one time.
func plainLines(n int) string {
	r := rand.New(rand.NewPCG(7, 11))
	pick := func(items ...string) any {
		if i := r.IntN(len(items) + 1); i < len(items) {
			return items[i]
		}
		return nil
	}
	lifecycles := []string{"Proposed", "UnderReview", "Approved", "Approved", "Approved", "Approved", "Approved", "Deprecated", "Rejected"}
	var b strings.Builder
	for i := range n {
		evidence := []any{}
		for range r.IntN(4) {
			evidence = append(evidence, map[string]any{
				"assertion_hash": hashOf("aa", r.IntN(12)), "weight": float64(r.IntN(40)) / 8, // sums are exact
				"source_hash": hashOf("cc", r.IntN(5)), "lifecycle": lifecycles[r.IntN(len(lifecycles))],
			})
		}
		q := map[string]any{
			"query_id": fmt.Sprintf("%08x%056x", i*7919, i+1), "timestamp": plainStart + r.IntN(200)*1_000_000,
			"params": map[string]any{
				"subject": pick("Tesla", "Ford", "東京"), "predicate": pick("revenue", "staff"), "lifecycle": pick("Approved", "Proposed"), "lens": pick("Recency", "Consensus"),
			},
			"result_hash": pick(hashOf("aa", r.IntN(12)), hashOf("aa", r.IntN(3))), "result_confidence": float64(r.IntN(17)) / 16,
			"contributing_assertions": evidence,
		}
		if agent := r.IntN(6); agent > 0 {
			q["agent_id"] = hashOf("bb", agent)
		}
		line, err := json.Marshal(q)
		if err != nil {
			panic(err)
		}
		b.Write(append(line, '\n'))
	}
	return b.String()
}

// asked runs a command, and reads what it prints as JSON.
func asked[T any](t *testing.T, dir string, args ...string) T {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(context.Background(), append([]string{"-d", dir, "-o", "json"}, args...), streams{in: strings.NewReader(""), out: &out, err: &errs, now: func() time.Time { return noon }})
	if code != exitDone {
		t.Fatalf("%q: exit code %d: %s", args, code, &errs)
	}
	var answer T
	d := json.NewDecoder(&out)
	if err := d.Decode(&answer); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Fatalf("%q prints more than one value", args)
	}
	return answer
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func TestForensicCommandsAgreeWithAPlainProgram(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	n := 600
	if testing.Short() {
		n = 150
	}
	file := filepath.Join(t.TempDir(), "records.ndjson")
	if err := os.WriteFile(file, []byte(plainLines(n)), 0o600); err != nil {
		t.Fatal(err)
	}
	asked[any](t, dir, "import", "--max-future", "0", file) // some lie days after noon

	lines, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all plainRecords
	for line := range bytes.Lines(lines) {
		var q plainRecord
		if err := json.Unmarshal(line, &q); err != nil {
			t.Fatal(err)
		}
		all = append(all, q)
	}
	slices.SortFunc(all, func(a, b plainRecord) int {
		return cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), cmp.Compare(a.ID, b.ID))
	})
	t.Run("list", func(t *testing.T) { plainList(t, dir, all) })
	t.Run("agents", func(t *testing.T) { plainAgents(t, dir, all) })
	t.Run("impact", func(t *testing.T) { plainImpact(t, dir, all) })
	t.Run("answers", func(t *testing.T) { plainAnswers(t, dir, all) })
	t.Run("trace", func(t *testing.T) { plainTrace(t, dir, all) })
	t.Run("diff", func(t *testing.T) { plainDiff(t, dir, all) })
	t.Run("timeline", func(t *testing.T) { plainTimeline(t, dir, all) })
	t.Run("top", func(t *testing.T) { plainTop(t, dir, all) })
}

func plainList(t *testing.T, dir string, all plainRecords) {
	for _, test := range []struct {
		args []string
		keep func(*plainRecord) bool
	}{
		{[]string{"--anonymous"}, func(q *plainRecord) bool { return q.Agent == nil }},
		{[]string{"--agent", hashOf("bb", 3)[:8]}, func(q *plainRecord) bool { return q.Agent != nil && *q.Agent == hashOf("bb", 3) }},
		{[]string{"--unapproved"}, (*plainRecord).unapproved},
		{[]string{"--assertion", hashOf("aa", 4)[:10]}, func(q *plainRecord) bool { _, n, _ := q.weighs(hashOf("aa", 4), false); return n > 0 }},
		{[]string{"--source", hashOf("cc", 2)}, func(q *plainRecord) bool { _, n, _ := q.weighs(hashOf("cc", 2), true); return n > 0 }},
		{[]string{"--around", fmt.Sprint(plainStart + 50_000_000), "--window", "2h"}, func(q *plainRecord) bool {
			return q.Timestamp >= plainStart+50_000_000-7_200_000 && q.Timestamp <= plainStart+50_000_000+7_200_000
		}},
	} {
		got := asked[plainRecords](t, dir, append([]string{"list", "--limit", "0"}, test.args...)...)
		want := all.where(test.keep)
		if len(want) == 0 {
			t.Fatalf("%q selects nothing", test.args)
		}
		same(t, fmt.Sprintf("list %q", test.args), got.ids(), want.ids())
	}
}

type plainAgent struct {
	Agent       *string `json:"agent_id"`
	Audits      int     `json:"audits"`
	First, Last uint64
}

func plainAgents(t *testing.T, dir string, all plainRecords) {
	for _, filter := range [][]string{nil, {"--unapproved"}} {
		counts := map[string]*plainAgent{}
		for _, q := range all {
			if filter != nil && !q.unapproved() {
				continue
			}
			name := "~" // after every hash
			if q.Agent != nil {
				name = *q.Agent
			}
			if counts[name] == nil {
				counts[name] = &plainAgent{Agent: q.Agent, First: q.Timestamp}
			}
			counts[name].Audits++
			counts[name].Last = q.Timestamp
		}
		var want []plainAgent
		for _, name := range slices.Sorted(maps.Keys(counts)) {
			want = append(want, *counts[name])
		}
		slices.SortStableFunc(want[:len(want)-1], func(a, b plainAgent) int { return cmp.Compare(b.Audits, a.Audits) })
		same(t, fmt.Sprintf("agents %q", filter), asked[[]plainAgent](t, dir, append([]string{"agents"}, filter...)...), want)
	}
}

func plainImpact(t *testing.T, dir string, all plainRecords) {
	type answer struct {
		ID     string `json:"query_id"`
		Weight float64
		Pieces int
		Result bool
	}
	type totals struct {
		Answers, Agents, Anonymous, Results, Assertions int
		Weight                                          float64
		First, Last                                     *uint64
	}
	type impact struct {
		Hash, Kind string
		Answers    []answer
		More       bool
		Totals     totals
	}
	for i := range 14 {
		if testing.Short() && i%4 != 0 { // opening SQLite takes a second under the race detector
			continue
		}
		hash, kind, args := hashOf("aa", i), "assertion", []string{}
		if i >= 12 {
			hash, kind, args = hashOf("cc", i-12), "source", []string{"--source"}
		}
		want := impact{Hash: hash, Kind: kind, Answers: []answer{}}
		assertions, in := map[string]bool{}, plainRecords{}
		for _, q := range all {
			weight, pieces, won := q.weighs(hash, kind == "source")
			if pieces == 0 {
				continue
			}
			in = append(in, q)
			want.Answers = append(want.Answers, answer{q.ID, weight, pieces, won})
			want.Totals.Weight += weight
			if won {
				want.Totals.Results++
			}
			if q.Agent == nil {
				want.Totals.Anonymous++
			}
			for _, p := range q.Evidence {
				if p.Source == hash || p.Assertion == hash {
					assertions[p.Assertion] = true
				}
			}
		}
		want.Totals.Answers, want.Totals.Agents, want.Totals.Assertions = len(in), in.agents(), len(assertions)
		if len(in) > 0 {
			want.Totals.First, want.Totals.Last = &in[0].Timestamp, &in[len(in)-1].Timestamp
		}
		same(t, "impact "+hash, asked[impact](t, dir, append([]string{"impact", "--limit", "0", hash[:9]}, args...)...), want)
		want.Answers, want.More = want.Answers[:3], true
		same(t, "three of impact "+hash, asked[impact](t, dir, append([]string{"impact", "--limit", "3", hash}, args...)...), want)
	}
}

func plainAnswers(t *testing.T, dir string, all plainRecords) {
	type answer struct {
		ID       string `json:"query_id"`
		Flipped  bool
		Result   *string `json:"result_hash"`
		Previous *string `json:"previous_result_hash"`
	}
	text := func(s *string) string {
		if s == nil {
			return "-"
		}
		return *s
	}
	for _, subject := range []string{"Tesla", "東京"} {
		for _, lens := range []string{"", "Recency"} {
			if testing.Short() && lens == "" {
				continue
			}
			want, flips := []answer{}, []answer{}
			var last *plainRecord
			for _, q := range all {
				if text(q.Params.Subject) != subject || text(q.Params.Predicate) != "revenue" || lens != "" && text(q.Params.Lens) != lens {
					continue
				}
				a := answer{ID: q.ID, Result: q.Result}
				if last != nil {
					a.Previous, a.Flipped = last.Result, text(last.Result) != text(q.Result)
				}
				if want = append(want, a); a.Flipped {
					flips = append(flips, a)
				}
				last = &q
			}
			args := []string{"answers", subject, "revenue", "--limit", "0"}
			if lens != "" {
				args = append(args, "--lens", lens)
			}
			if len(flips) == 0 || len(flips) == len(want) {
				t.Fatalf("%q shows nothing", args)
			}
			same(t, fmt.Sprint(args), asked[[]answer](t, dir, args...), want)
			same(t, fmt.Sprint(args, " --flips"), asked[[]answer](t, dir, append(args, "--flips")...), flips)
			slices.Reverse(want)
			same(t, fmt.Sprint(args, " --desc"), asked[[]answer](t, dir, append(args, "--desc")...), want)
		}
	}
}

func plainTrace(t *testing.T, dir string, all plainRecords) {
	type uses struct {
		First           *uint64 `json:"first_seen"`
		Answers, Agents int
	}
	type evidence struct {
		Position  int
		Assertion string `json:"assertion_hash"`
		Weight    float64
		Approved  bool
		Result    bool
		uses
		Others uses
	}
	type trace struct {
		Audit    plainRecord
		Evidence []evidence
		Before   plainRecords
		After    plainRecords
	}
	count := func(rs plainRecords) uses {
		if len(rs) == 0 {
			return uses{}
		}
		return uses{&rs[0].Timestamp, len(rs), rs.agents()}
	}
	for i := 0; i < len(all); i += 37 {
		q := all[i]
		want := []evidence{}
		for position, p := range q.Evidence {
			with := all.where(func(q *plainRecord) bool { _, n, _ := q.weighs(p.Assertion, false); return n > 0 })
			others := with.where(func(other *plainRecord) bool { return other.ID != q.ID })
			want = append(want, evidence{position, p.Assertion, p.Weight, p.Lifecycle == "Approved", q.Result != nil && *q.Result == p.Assertion, count(with), count(others)})
		}
		slices.SortStableFunc(want, func(a, b evidence) int { return cmp.Compare(b.Weight, a.Weight) })
		got := asked[[]trace](t, dir, "trace", q.ID, "--neighbours", "2")[0]
		same(t, "trace "+q.ID, got.Audit.ID, q.ID)
		same(t, "evidence of "+q.ID, got.Evidence, want)
		before, after := []string{}, []string{}
		if q.Agent != nil {
			of := all.where(func(other *plainRecord) bool { return other.Agent != nil && *other.Agent == *q.Agent })
			at := slices.Index(of.ids(), q.ID)
			before, after = of[max(at-2, 0):at].ids(), of[at+1:min(at+3, len(of))].ids()
		}
		same(t, "before "+q.ID, got.Before.ids(), before)
		same(t, "after "+q.ID, got.After.ids(), after)
	}
}

func plainDiff(t *testing.T, dir string, all plainRecords) {
	type field struct {
		Field    string
		From, To *string
	}
	type difference struct {
		Flipped  bool
		Fields   []field
		Evidence []struct {
			Assertion string `json:"assertion_hash"`
			Change    string
		}
		Same int
	}
	for i := 0; i+1 < len(all); i += 41 {
		a, b := all[i], all[i+1]
		got := asked[difference](t, dir, "diff", a.ID, b.ID)
		fields := map[string][2]*string{"lens": {a.Params.Lens, b.Params.Lens}, "subject": {a.Params.Subject, b.Params.Subject}, "result_hash": {a.Result, b.Result}, "agent_id": {a.Agent, b.Agent}}
		for name, values := range fields {
			at := slices.IndexFunc(got.Fields, func(f field) bool { return f.Field == name })
			if equal := reflect.DeepEqual(values[0], values[1]); equal != (at < 0) {
				t.Errorf("diff %s %s: %s is the same: %t, and among the changes at %d", a.ID, b.ID, name, equal, at)
			} else if !equal {
				same(t, name, [2]*string{got.Fields[at].From, got.Fields[at].To}, values)
			}
		}
		same(t, "flipped", got.Flipped, !reflect.DeepEqual(a.Result, b.Result))
		// Each piece of both is the same, changed, or on one side alone.
		counts := map[string]int{}
		for _, e := range got.Evidence {
			counts[e.Change]++
		}
		same(t, "pieces of "+a.ID, got.Same+counts["changed"]+counts["removed"], len(a.Evidence))
		same(t, "pieces of "+b.ID, got.Same+counts["changed"]+counts["added"], len(b.Evidence))
	}
}

func plainTimeline(t *testing.T, dir string, all plainRecords) {
	type bucket struct {
		Start, End                            uint64
		Audits, Agents, Anonymous, Unapproved int
	}
	type timeline struct {
		Buckets                   []bucket
		Audits, Agents, Anonymous int
	}
	for by, size := range map[string]uint64{"hour": 3_600_000, "day": 86_400_000} {
		var want timeline
		for start := all[0].Timestamp / size * size; start <= all[len(all)-1].Timestamp; start += size {
			in := all.where(func(q *plainRecord) bool { return q.Timestamp/size*size == start })
			want.Buckets = append(want.Buckets, bucket{
				start, start + size - 1, len(in), in.agents(), len(in.where(func(q *plainRecord) bool { return q.Agent == nil })), len(in.where((*plainRecord).unapproved)),
			})
		}
		want.Audits, want.Agents, want.Anonymous = len(all), all.agents(), len(all.where(func(q *plainRecord) bool { return q.Agent == nil }))
		same(t, "timeline --by "+by, asked[timeline](t, dir, "timeline", "--by", by), want)
	}
}

func plainTop(t *testing.T, dir string, all plainRecords) {
	type entry struct {
		Hash, Text     *string
		Count, Answers int
		Agents         int
		First, Last    uint64
	}
	type top struct {
		Entries        []entry
		Total, Without int
	}
	keys := map[string]func(*plainRecord) []string{
		"agent":   func(q *plainRecord) []string { return one(q.Agent) },
		"subject": func(q *plainRecord) []string { return one(q.Params.Subject) },
		"lens":    func(q *plainRecord) []string { return one(q.Params.Lens) },
		"assertion": func(q *plainRecord) (keys []string) {
			for _, p := range q.Evidence {
				keys = append(keys, p.Assertion)
			}
			return keys
		},
		"source": func(q *plainRecord) (keys []string) {
			for _, p := range q.Evidence {
				keys = append(keys, p.Source)
			}
			return keys
		},
	}
	for by, of := range keys {
		met := map[string]plainRecords{} // a record as often as it has the key
		want := top{}
		for _, q := range all {
			keys := of(&q)
			if len(keys) == 0 && by != "assertion" && by != "source" {
				want.Without++
			}
			for _, k := range keys {
				met[k] = append(met[k], q)
				want.Total++
			}
		}
		entries := map[string]entry{}
		for key, in := range met {
			e := entry{Count: len(in), Answers: len(slices.Compact(in.ids())), Agents: in.agents(), First: in[0].Timestamp, Last: in[len(in)-1].Timestamp}
			if by == "subject" || by == "lens" {
				e.Text = &key
			} else {
				e.Hash = &key
			}
			entries[key] = e
		}
		got := asked[top](t, dir, "top", "--by", by, "--limit", "100")
		same(t, "total of "+by, [2]int{got.Total, got.Without}, [2]int{want.Total, want.Without})
		same(t, "how many of "+by, len(got.Entries), len(entries))
		for i, e := range got.Entries {
			key := e.Text
			if key == nil {
				key = e.Hash
			}
			same(t, by+" "+*key, e, entries[*key])
			if i > 0 && e.Count > got.Entries[i-1].Count {
				t.Errorf("top --by %s is not in order at %d", by, i)
			}
		}
	}
}

func one(s *string) []string {
	if s == nil {
		return nil
	}
	return []string{*s}
}
