package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// What is looked for as of a moment is looked for among what there was then, however much came later with the same digits.
func TestFindAsOfAMomentFindsWhatThereWas(t *testing.T) {
	r := serve(t)
	put := func(id string, i int) {
		t.Helper()
		body := strings.ReplaceAll(record('a', i, ""), hash('a').String(), id) // the agent has the same digits
		if a := r.do(http.MethodPut, "/v1/audits/"+id, body); a.StatusCode != http.StatusCreated {
			t.Fatal(a.body)
		}
	}
	first, last := "abcd1234"+strings.Repeat("0", 56), "abcd1234"+strings.Repeat("f", 56)
	put(last, 0)
	r.applied()
	put(first, 1)
	r.applied()
	put("abcd1234"+strings.Repeat("5", 56), 2)
	for i := range 20 {
		put("abcd1234"+fmt.Sprintf("%056x", 16+i), 3+i)
	}
	r.applied()
	for _, typed := range []string{"abcd", "abcd1234"} {
		for asOf, want := range map[int][]string{1: {last}, 2: {first, last}} {
			// With one meaning it leads there. 8 digits also mean an agent.
			a := r.do(http.MethodGet, fmt.Sprintf("/find?q=%s&as_of=%d", typed, asOf), "", "Accept", "text/html")
			for _, id := range want {
				if a.StatusCode != http.StatusOK || !strings.Contains(a.body, "/q/"+id) && !strings.Contains(a.Request.URL.Path, "/q/"+id) {
					t.Errorf("%s as of %d: %s is not found", typed, asOf, id)
				}
				if len(typed) == 8 && !strings.Contains(a.body, "/agents/"+id) {
					t.Errorf("%s as of %d: the agent %s is not found", typed, asOf, id)
				}
			}
			if strings.Contains(a.body, strings.Repeat("5", 56)) {
				t.Errorf("%s as of %d: a later record is found", typed, asOf)
			}
		}
	}
}

// A label can be there before the first record that has its hash.
func TestFindKnowsALabelThatNoRecordUses(t *testing.T) {
	t.Parallel()
	p := openPages(t, incident())
	hash := pageHash("agent", "planner 7")
	if err := p.db.PutLabels(t.Context(), []audit.Label{{Hash: hash, Label: "planner 7"}}); err != nil {
		t.Fatal(err)
	}
	_, page := p.open("/find?q=planner+7")
	main := text(elements(page, "main")[0])
	if strings.Contains(main, "Nothing in the store has this") || strings.Count(main, hash.String()) != 1 || !strings.Contains(main, "a label of a hash that no record has yet") {
		t.Errorf("%s", main)
	}
}

// Records that ask nothing with a subject and a predicate are records.
func TestTheLastQuestionsOfRecordsWithoutAQuestion(t *testing.T) {
	t.Parallel()
	records := incident()
	for _, q := range records {
		q.Params.Predicate = nil
	}
	for n, want := range map[int]string{0: "There are no records.", 3: "None of the newest 3 records has a subject and a predicate."} {
		_, page := openPages(t, records[:n]).open("/answers")
		if main := text(elements(page, "main")[0]); !strings.Contains(main, want) {
			t.Errorf("%d records: %s", n, main)
		}
	}
}
