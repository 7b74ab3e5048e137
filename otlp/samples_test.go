package otlp_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/otlp"
)

// samplesVariable names the folder with samples of real spans. They are not in the repository.
const samplesVariable = "AUDITSQL_OTLP_SAMPLES"

// samples is that folder. Without it, it is beside the checkout, as the other real input is.
func samples(t testing.TB) string {
	t.Helper()
	dir := os.Getenv(samplesVariable)
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data", "otlp")
		if _, err := os.Stat(dir); err != nil {
			// A worktree is one level deeper.
			dir = filepath.Join("..", dir)
		}
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("there are no samples of real spans: %v; %s names their folder", err, samplesVariable)
	}
	return dir
}

func mapping(t testing.TB, text string) *otlp.Mapping {
	t.Helper()
	m, err := otlp.ParseMap([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c, err := otlp.NewMapping(m)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// read returns all spans of a file.
func read(t testing.TB, in io.Reader, format otlp.Format) []*otlp.Span {
	t.Helper()
	var spans []*otlp.Span
	err := otlp.Read(in, format, func(p otlp.Part) error {
		if p.Err != nil {
			return fmt.Errorf("line %d: %w", p.Line, p.Err)
		}
		spans = append(spans, p.Spans...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return spans
}

func reduce(m *otlp.Mapping, spans []*otlp.Span) []*otlp.Reduced {
	var all []*otlp.Reduced
	for _, s := range spans {
		if r := m.Reduce(s); r != nil {
			all = append(all, r)
		}
	}
	return all
}

// joined gives the records of spans, and the counts.
func joined(reduced []*otlp.Reduced) (records []otlp.Record, counts otlp.Counts) {
	j := otlp.NewJoiner(otlp.JoinOptions{})
	take := func(all []otlp.Settled) {
		for i := range all {
			counts.Add(all[i].Counts())
			for _, o := range all[i].Outcomes {
				if o.Record != nil {
					records = append(records, *o.Record)
				}
			}
		}
	}
	for _, r := range reduced {
		take(j.Add(r, 0, time.Time{}))
	}
	take(j.Flush())
	slices.SortFunc(records, func(a, b otlp.Record) int {
		if a.Audit.Timestamp != b.Audit.Timestamp {
			return int(a.Audit.Timestamp) - int(b.Audit.Timestamp)
		}
		return a.Audit.QueryID.Compare(b.Audit.QueryID)
	})
	return records, counts
}

func canonical(t testing.TB, records []otlp.Record) string {
	t.Helper()
	var lines []string
	for i := range records {
		raw, err := records[i].Audit.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(raw))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// in describes a record in a line: agent; question / predicate; what is told of the documents; weights; other attributes.
func in(r *otlp.Record) string {
	q := &r.Audit
	text := func(s *string) string {
		if s == nil {
			return "null"
		}
		return *s
	}
	at := func(key string) string {
		if v, ok := q.Attributes[key]; ok {
			return fmt.Sprint(v)
		}
		return "-"
	}
	var weights []string
	for _, c := range q.ContributingAssertions {
		weights = append(weights, fmt.Sprint(c.Weight))
	}
	return fmt.Sprintf("%s; %s / %s; %s; [%s]; scores %s", at("agent"), text(q.Params.Subject), text(q.Params.Predicate), at("documents"), strings.Join(weights, " "), at("scores"))
}

var sampleFiles = []struct {
	name    string
	m       string
	counts  otlp.Counts
	records []string // in the order of time, and of their ids
}{
	{"c01-openinference-langchain-js.otlp.jsonl", `{}`, otlp.Counts{Read: 10, Records: 2, Context: 8}, []string{
		`hr-assistant; How do I request annual leave? / HandbookRetriever; [{"id":"leave-3","source":"handbook.pdf"},{"id":"leave-9","source":"handbook.pdf"},{"id":null,"source":"sick.md"}]; [0.91 0.77 0]; scores some`,
		`hr-assistant; Where is the cafeteria? / EmptyRetriever; []; []; scores -`,
	}},
	{"c02-traceloop-langchain-js.otlp.jsonl", `{}`, otlp.Counts{Read: 8, Context: 8}, nil},
	{"c04-langsmith-otel.otlp.pb", `{}`, otlp.Counts{Read: 2, Records: 1, Context: 1}, []string{
		`support-agent; What is the refund window? / kb-search; [{"id":"policy-7","source":"policy.pdf"},{"id":null,"source":"policy.pdf"}]; [0 0]; scores none`,
	}},
	{"c06-vercel-ai-sdk.otlp.jsonl", `{}`, otlp.Counts{Read: 4, Context: 4}, nil},
	{"c06-vercel-ai-sdk.otlp.jsonl", `{"tools":[{"name":"searchKnowledge"}]}`, otlp.Counts{Read: 4, Records: 1, Context: 3}, []string{
		`support-agent; refund window / ai.toolCall; [{"id":"policy-7","source":"policy-7"},{"id":"policy-2","source":"policy-2"}]; [0.88 0.41]; scores -`,
	}},
	{"c06-vercel-ai-sdk.otlp.jsonl", `{"tools":[{"name":"searchKnowledge","query":"ai.toolCall.args.query","documents":"ai.toolCall.result.results","id":"id","content":"text","score":"score"}]}`, otlp.Counts{Read: 4, Records: 1, Context: 3}, []string{
		`support-agent; refund window / ai.toolCall; [{"id":"policy-7","source":"policy-7"},{"id":"policy-2","source":"policy-2"}]; [0.88 0.41]; scores -`,
	}},
	{"m01-quirks.otlp.jsonl", `{}`, otlp.Counts{Read: 9, Records: 8, Wrapped: 1}, []string{}},
	{"p05-monocle-bedrock-kb.json", `{}`, otlp.Counts{Read: 6, Records: 1, Context: 5}, []string{
		`boto_coverage_api; What is Summary of Chapter1 / botocore.client.BedrockAgentRuntime; not told; []; scores -`,
	}},
	{"p10-traceloop-langchain.otlp.json", `{}`, otlp.Counts{Read: 4, Records: 4}, nil},
	{"p12-otel-genai-langchain.otlp.json", `{}`, otlp.Counts{Read: 5, Records: 5}, nil},
}

func TestSamples(t *testing.T) {
	dir := samples(t)
	for _, f := range sampleFiles {
		t.Run(f.name, func(t *testing.T) {
			file, err := os.Open(filepath.Join(dir, f.name))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			records, counts := joined(reduce(mapping(t, f.m), read(t, file, otlp.OTLP)))
			if counts != f.counts {
				t.Errorf("counts %+v, want %+v", counts, f.counts)
			}
			for i := range records {
				raw, _ := records[i].Audit.Canonical()
				t.Log(in(&records[i]), string(raw))
			}
		})
	}
}

var _ = json.Valid
var _ = rand.N[int]
var _ audit.Hash
