package otlp_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/blake3"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/otlp"
)

// samplesVariable names the folder with samples of real spans. They are not in the repository.
const samplesVariable = "AUDITSQL_OTLP_SAMPLES"

// sampleDir is that folder. Without the variable it is beside the checkout, as the other real input is, or beside a worktree's.
func sampleDir() (string, bool) {
	dirs := []string{os.Getenv(samplesVariable)}
	if dirs[0] == "" {
		dirs = []string{filepath.Join("..", "..", "shared", "data", "otlp"), filepath.Join("..", "..", "..", "shared", "data", "otlp")}
	}
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err == nil {
			return dir, true
		}
	}
	return "", false
}

func samples(t testing.TB) string {
	t.Helper()
	dir, ok := sampleDir()
	if !ok {
		t.Skipf("there are no samples of real spans beside the checkout; %s names their folder", samplesVariable)
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
	records []string // in any order
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
	{"m01-quirks.otlp.jsonl", `{}`, otlp.Counts{Read: 9, Records: 8, Wrapped: 1}, []string{
		`made; supplier/Northwind payment_account / kb; [{"id":"f2bf0ec5e19d5457a264d7ba05ff942d9496de5ee6ea16b2a27307c76f40a486","source":"mail 7731"},{"id":"f2bf0ec5e19d5457a264d7ba05ff942d9496de5ee6ea16b2a27307c76f40a486","source":"f2bf0ec5e19d5457a264d7ba05ff942d9496de5ee6ea16b2a27307c76f40a486"}]; [0.62 0.61]; scores -`,
		`made; capital of France? / H7STPQYOND; [{"id":"doc_123","source":"doc_123"},{"id":"doc_456","source":"doc_456"}]; [0.95 0.87]; scores -`,
		`made; scores / scores; [{"id":"d0","source":"d0"},{"id":"d1","source":"d1"},{"id":"d2","source":"d2"},{"id":"d3","source":"d3"},{"id":"d4","source":"d4"},{"id":"d5","source":"d5"},{"id":"d6","source":"d6"}]; [0 0 -3.25 1 0.5 0 0]; scores some`,
		`made; null / redacted-ids; [{"id":"policy-0","source":"policy-0"},{"id":"policy-1","source":"policy-1"}]; [0 0]; scores none`,
		`made; null / redacted-all; not told; []; scores -`,
		`made; order / order; [{"id":"0","source":"0"},{"id":"1","source":"1"},{"id":"2","source":"2"},{"id":"3","source":"3"},{"id":"4","source":"4"},{"id":"6","source":"6"},{"id":"7","source":"7"},{"id":"8","source":"8"},{"id":"9","source":"9"},{"id":"10","source":"10"},{"id":"11","source":"11"},{"id":"12","source":"12"}]; [1 0.95 0.9 0.85 0.8 0.7 0.65 0.6 0.55 0.5 0.45 0.4]; scores -`,
		`made; q / retrieval; not told; []; scores -`,
		`made; wrapped / BaseRetriever.retrieve; [{"id":"n1","source":"n1"}]; [0.5]; scores -`,
	}},
	{"p05-monocle-bedrock-kb.json", `{}`, otlp.Counts{Read: 6, Records: 1, Context: 5}, []string{
		`boto_coverage_api; What is Summary of Chapter1 / botocore.client.BedrockAgentRuntime; not told; []; scores -`,
	}},
	{"p10-traceloop-langchain.otlp.json", `{}`, otlp.Counts{Read: 4, Records: 4}, []string{
		`vm-bot; Which VM is low on memory? / VectorStoreRetriever; [{"id":"doc-1","source":"status"}]; [0.9]; scores -`,
		`vm-bot; fallback query / retrieve; [{"id":null,"source":"retrieve"}]; [0]; scores none`,
		`vm-bot; q / retrieve; [{"id":null,"source":"retrieve"},{"id":null,"source":"retrieve"}]; [0 0]; scores none`,
		`vm-bot; null / retrieve; [{"id":null,"source":"retrieve"}]; [1]; scores -`,
	}},
	{"p12-otel-genai-langchain.otlp.json", `{}`, otlp.Counts{Read: 5, Records: 5}, []string{
		`otel-genai; What is the capital of France? / retrieval; [{"id":"doc-1","source":"doc-1"},{"id":null,"source":"retrieval"}]; [0 0]; scores none`,
		`otel-genai; null / retrieval; not told; []; scores -`,
		`otel-genai; q / retrieval; []; []; scores -`,
		`otel-genai; null / retrieval; not told; []; scores -`,
		`otel-genai; q / retrieval; [{"id":"doc-2","source":"doc-2"}]; [0.92]; scores -`,
	}},
}

func TestSamples(t *testing.T) {
	dir := samples(t)
	for i, f := range sampleFiles {
		t.Run(fmt.Sprintf("%s %d", f.name, i), func(t *testing.T) {
			t.Parallel()
			m := mapping(t, f.m)
			text, err := os.ReadFile(filepath.Join(dir, f.name))
			if err != nil {
				t.Fatal(err)
			}
			reduced := reduce(m, read(t, bytes.NewReader(text), otlp.OTLP))
			records, counts := joined(reduced)
			if counts != f.counts {
				t.Errorf("counts %+v, want %+v", counts, f.counts)
			}
			var got []string
			for i := range records {
				got = append(got, in(&records[i]))
			}
			if f.records != nil {
				slices.Sort(got)
				want := slices.Sorted(slices.Values(f.records))
				if !slices.Equal(got, want) {
					t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
			want := canonical(t, records)
			for range 5 {
				rand.Shuffle(len(reduced), func(i, k int) { reduced[i], reduced[k] = reduced[k], reduced[i] })
				if again, _ := joined(reduced); canonical(t, again) != want {
					t.Fatal("another order of the spans gives other records")
				}
			}
			for _, packed := range [][]byte{zipped(t, text), shuffledLines(f.name, text)} {
				if again, _ := joined(reduce(m, read(t, bytes.NewReader(packed), otlp.OTLP))); canonical(t, again) != want {
					t.Error("packed with gzip, or with its lines in another order, it gives other records")
				}
			}
		})
	}
}

// What the samples have in particular.
func TestSamplesInDetail(t *testing.T) {
	dir := samples(t)
	all := map[string]*otlp.Record{}
	for _, name := range []string{"c01-openinference-langchain-js.otlp.jsonl", "c04-langsmith-otel.otlp.pb", "c06-vercel-ai-sdk.otlp.jsonl", "m01-quirks.otlp.jsonl", "p12-otel-genai-langchain.otlp.json"} {
		file, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		records, _ := joined(reduce(mapping(t, `{"tools":[{"name":"searchKnowledge"}]}`), read(t, file, otlp.OTLP)))
		file.Close()
		for i := range records {
			all[name[:3]+" "+fmt.Sprint(records[i].Audit.Attributes["span_id"])] = &records[i]
		}
	}
	attribute := func(record, key string, want any) {
		t.Helper()
		if got := all[record].Audit.Attributes[key]; got != want {
			t.Errorf("%s: %s is %v, want %v", record, key, got, want)
		}
	}
	attribute("c01 ecb81336d3efd792", "answer_hash", hashed("Ask in the portal two weeks ahead."))
	attribute("c01 ecb81336d3efd792", "session", "t-1")
	attribute("c01 ecb81336d3efd792", "user", "emp-7")
	attribute("c01 ecb81336d3efd792", "parent_span_id", "72d2511e2ffa9e49")
	attribute("c04 bebf687a1e0f7403", "session", "t-9")
	attribute("c04 bebf687a1e0f7403", "agent_from", "name of the root")
	attribute("c06 56bb8990e4e97229", "answer_hash", hashed("Refunds are possible within 30 days."))
	attribute("m01 0000000000000006", "dropped_attributes", 7.0)
	attribute("m01 0000000000000007", "error", "timeout")
	attribute("m01 0000000000000020", "documents_untold", 2.0)
	attribute("m01 abcdef0000000004", "trace_id", "abcdef00000000000000000000000004")
	attribute("p12 0000000000000124", "error", "RuntimeError")

	// One hash for the same words, whoever emitted them.
	refunds := hashed("Refunds within 30 days.")
	for _, record := range []string{"c04 bebf687a1e0f7403", "c06 56bb8990e4e97229"} {
		if got := all[record].Audit.ContributingAssertions[0].AssertionHash.String(); got != refunds {
			t.Errorf("%s: the assertion is %s, want %s", record, got, refunds)
		}
	}
	q := all["m01 0000000000000006"].Audit
	if want := "f2bf0ec5e19d5457a264d7ba05ff942d9496de5ee6ea16b2a27307c76f40a486"; q.ContributingAssertions[0].AssertionHash.String() != want {
		t.Errorf("64 hex digits became %s", q.ContributingAssertions[0].AssertionHash)
	}
	if l := q.ContributingAssertions[0].Lifecycle; l != audit.Proposed {
		t.Errorf("the lifecycle of the metadata became %s", l)
	}
	if got, want := q.QueryID.String(), hashed("otel:00000000000000000000000000000006:0000000000000006"); got != want {
		t.Errorf("the query id is %s, want %s", got, want)
	}
	if q.Timestamp != 1789000000000 {
		t.Errorf("the timestamp is %d", q.Timestamp)
	}
}

func hashed(text string) string {
	sum := blake3.Sum256([]byte(text))
	return audit.Hash(sum).String()
}

func zipped(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// shuffledLines changes the order of lines, where each is a text of its own.
func shuffledLines(name string, text []byte) []byte {
	if !strings.HasSuffix(name, ".jsonl") || name == "console.jsonl" {
		return text
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(text), "\n")+"\n", "\n")
	rand.Shuffle(len(lines), func(i, k int) { lines[i], lines[k] = lines[k], lines[i] })
	return []byte(strings.Join(lines, ""))
}
