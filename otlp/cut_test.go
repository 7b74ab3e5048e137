package otlp_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/otlp"
)

// A question or a name of which a record has the beginning alone says so, also when it became longer because of what a record cannot have.
func TestWhatIsCutIsMarked(t *testing.T) {
	t.Parallel()
	mapping, err := otlp.NewMapping(otlp.DefaultMap())
	if err != nil {
		t.Fatal(err)
	}
	type attributes = map[string]string
	for name, c := range map[string]struct {
		told    attributes
		subject bool
		names   float64
	}{
		"nothing":                      {attributes{"input.value": strings.Repeat("q", 1024), "retrieval.documents.0.document.id": strings.Repeat("i", 256)}, false, 0},
		"a long question":              {attributes{"input.value": strings.Repeat("q", 1025)}, true, 0},
		"a question with zero bytes":   {attributes{"input.value": strings.Repeat("q", 1000) + strings.Repeat("\x00", 20)}, true, 0},
		"an id":                        {attributes{"retrieval.documents.0.document.id": strings.Repeat("i", 257)}, false, 1},
		"an id with zero bytes":        {attributes{"retrieval.documents.0.document.id": strings.Repeat("\x00", 100)}, false, 1},
		"a source, and a predicate":    {attributes{"auditsql.predicate": strings.Repeat("p", 300), "retrieval.documents.0.document.metadata": `{"source":"https://x/` + strings.Repeat("s", 300) + `"}`}, false, 2},
		"what no record needs to have": {attributes{"retrieval.documents.0.document.content": strings.Repeat("c", 3000)}, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			list := []map[string]any{{"key": "openinference.span.kind", "value": map[string]string{"stringValue": "RETRIEVER"}}}
			if _, has := c.told["retrieval.documents.0.document.content"]; !has {
				c.told["retrieval.documents.0.document.content"] = "words"
			}
			for key, value := range c.told {
				list = append(list, map[string]any{"key": key, "value": map[string]string{"stringValue": value}})
			}
			request, err := json.Marshal(map[string]any{"resourceSpans": []any{map[string]any{"scopeSpans": []any{map[string]any{"spans": []any{map[string]any{
				"traceId": strings.Repeat("1", 32), "spanId": strings.Repeat("2", 16), "name": "Search", "startTimeUnixNano": "1795424400000000000", "attributes": list,
			}}}}}}})
			if err != nil {
				t.Fatal(err)
			}
			spans, err := otlp.DecodeJSON(string(request))
			if err != nil || len(spans) != 1 {
				t.Fatal(spans, err)
			}
			q, err := mapping.Reduce(spans[0]).Alone(audit.Milliseconds)
			if err != nil {
				t.Fatal(err)
			}
			_, hash := q.Attributes["subject_hash"]
			if cut, _ := q.Attributes["subject_cut"].(bool); cut != c.subject || hash != c.subject {
				t.Errorf("the subject is cut: %v", q.Attributes)
			}
			if n, _ := q.Attributes["names_cut"].(float64); n != c.names {
				t.Errorf("%v names are cut, want %v", n, c.names)
			}
		})
	}
}
