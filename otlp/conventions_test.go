package otlp_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/otlp"
)

var update = flag.Bool("update", false, "write the files with what is wanted again")

// fixtures are the files of testdata/conventions: one for each convention.
func fixtures(t testing.TB) []string {
	t.Helper()
	var files []string
	for _, ext := range []string{"*.jsonl", "*.langfuse", "*.langsmith"} {
		found, err := filepath.Glob(filepath.Join("testdata", "conventions", ext))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 13 {
		t.Fatalf("%d fixtures", len(files))
	}
	return files
}

func formatOf(file string) otlp.Format {
	switch filepath.Ext(file) {
	case ".langfuse":
		return otlp.Langfuse
	case ".langsmith":
		return otlp.LangSmith
	}
	return otlp.OTLP
}

func mapOf(t testing.TB, file string) *otlp.Mapping {
	t.Helper()
	text, err := os.ReadFile(strings.TrimSuffix(file, filepath.Ext(file)) + ".map")
	if err != nil {
		text = []byte("{}")
	}
	return mapping(t, string(text))
}

// explained writes down what became of spans: a line for each, with its record.
func explained(t testing.TB, reduced []*otlp.Reduced) string {
	t.Helper()
	j := otlp.NewJoiner(otlp.JoinOptions{})
	var b strings.Builder
	for _, r := range reduced {
		j.Add(r, 0, noTime)
	}
	for _, s := range j.Flush() {
		for _, o := range s.Outcomes {
			b.WriteString(o.Span.Name + ": " + string(o.Became) + " (" + o.Span.Rule + ")\n")
			if o.Record == nil {
				continue
			}
			var pretty bytes.Buffer
			raw, err := o.Record.Audit.Canonical()
			if err == nil {
				err = json.Indent(&pretty, raw, "    ", "  ")
			}
			if err != nil {
				t.Fatal(err)
			}
			b.WriteString("    " + pretty.String() + "\n")
			for _, l := range o.Labels {
				b.WriteString("    label " + l.Hash.String()[:8] + " " + l.Label + "\n")
			}
		}
	}
	return b.String()
}

// Each convention gives what stands in its file .want, which a person has read.
func TestConventions(t *testing.T) {
	for _, file := range fixtures(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			in, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			got := explained(t, reduce(mapOf(t, file), read(t, in, formatOf(file))))
			if *update {
				if err := os.WriteFile(file+".want", []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file + ".want")
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// The words of documents and answers are in no reduced span, and the question is there only if the map keeps it.
func TestNoTextIsKept(t *testing.T) {
	texts := []string{"Refunds within", "Gift cards", "A regular customer", "Within 30 days", "the deadline passed"}
	for _, file := range fixtures(t) {
		for _, subject := range []string{otlp.KeepText, otlp.HashText, otlp.NoText} {
			in, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			m := mapOf(t, file).Map()
			m.Subject = subject
			c, err := otlp.NewMapping(m)
			if err != nil {
				t.Fatal(err)
			}
			questions := 0
			for _, r := range reduce(c, read(t, in, formatOf(file))) {
				text, err := r.Encode()
				if err != nil {
					t.Fatal(err)
				}
				if text[0] != '{' {
					t.Fatalf("%s begins with %q", text, text[0])
				}
				for _, one := range texts {
					if bytes.Contains(text, []byte(one)) {
						t.Errorf("%s: %q is in %s", file, one, text)
					}
				}
				if bytes.Contains(text, []byte("refund window")) {
					questions++
				}
			}
			in.Close()
			if subject != otlp.KeepText && questions > 0 {
				t.Errorf("%s: the question is kept although the map says %s", file, subject)
			}
		}
	}
}

// What is encoded and decoded again gives the same records.
func TestReducedSpansCanBeKept(t *testing.T) {
	for _, file := range fixtures(t) {
		in, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		reduced := reduce(mapOf(t, file), read(t, in, formatOf(file)))
		in.Close()
		again := make([]*otlp.Reduced, len(reduced))
		for i, r := range reduced {
			text, err := r.Encode()
			if err == nil {
				again[i], err = otlp.DecodeReduced(text)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if got, want := explained(t, again), explained(t, reduced); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
		}
	}
}

func TestMapsAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		`{"agents":["x"]}`:                      `unknown field "agents"`,
		`{"agent":5}`:                           "want a text or a list of texts",
		`{} {}`:                                 "something follows",
		`[]`:                                    "the map:",
		`{"assertion":"url"}`:                   `want "content" or "id"`,
		`{"subject":"all"}`:                     `want "keep", "hash" or "none"`,
		`{"lifecycle":{"default":"Published"}}`: "Published",
		`{"lifecycle":{"values":{"live":"Blue"}}}`:                                    "Blue",
		`{"lifecycle":{"from":"x","to":"y"}}`:                                         `unknown field "to"`,
		`{"tools":[{"query":"q"}]}`:                                                   "tools[0]: it has no name",
		`{"tools":[{"name":"a"},{"name":"a"}]}`:                                       `"a" is there twice`,
		`{"attributes":["span_digest"]}`:                                              `"span_digest" is a name`,
		`{"attributes":["a","a"]}`:                                                    `"a" is a name`,
		`{"attributes":["` + strings.Join(slices.Collect(letters(60)), `","`) + `"]}`: "are too many",
	} {
		if _, err := otlp.ParseMap([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	m, err := otlp.ParseMap([]byte(`{"drop":"health"}`))
	if err != nil {
		t.Fatal(err)
	}
	shown, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	again, err := otlp.ParseMap(shown)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := json.Marshal(again); !bytes.Equal(text, shown) {
		t.Errorf("%s became %s", shown, text)
	}
}

func letters(n int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := range n {
			if !yield("k" + string(rune('a'+i%26)) + string(rune('a'+i/26))) {
				return
			}
		}
	}
}
