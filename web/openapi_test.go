package web

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit/ask"
)

// An operation is what the description says of a route.
type operation struct {
	Parameters []struct {
		Ref  string `json:"$ref"`
		Name string `json:"name"`
		In   string `json:"in"`
	} `json:"parameters"`
	RequestBody json.RawMessage            `json:"requestBody"`
	Responses   map[string]json.RawMessage `json:"responses"`
	Scope       string                     `json:"x-scope"`
	Security    []json.RawMessage          `json:"security"`
}

// The description has exactly the routes of the API, each with its parameters, its scope and its forms.
func TestTheDescriptionIsThatOfTheRoutes(t *testing.T) {
	var described struct {
		Paths      map[string]map[string]operation `json:"paths"`
		Components struct {
			Parameters map[string]struct{ Name, In string } `json:"parameters"`
		} `json:"components"`
	}
	if err := json.Unmarshal(description, &described); err != nil {
		t.Fatal(err)
	}
	s := Handler(nil, Options{Metrics: NewMetrics()})
	routes := map[string]*route{}
	for _, one := range s.apiRoutes() {
		routes[one.method+" "+strings.ReplaceAll(one.path, "...}", "}")] = &one
	}
	for path, operations := range described.Paths {
		for method, o := range operations {
			name := strings.ToUpper(method) + " " + path
			r := routes[name]
			if r == nil {
				t.Errorf("%s is described, and there is no such route", name)
				continue
			}
			delete(routes, name)
			var inQuery, inPath []string
			for _, p := range o.Parameters {
				if p.Ref != "" {
					shared := described.Components.Parameters[strings.TrimPrefix(p.Ref, "#/components/parameters/")]
					p.Name, p.In = shared.Name, shared.In
				}
				switch p.In {
				case "query":
					inQuery = append(inQuery, p.Name)
				case "path":
					inPath = append(inPath, p.Name)
				case "header":
				default:
					t.Errorf("%s: the parameter %q is in %q", name, p.Name, p.In)
				}
			}
			slices.Sort(inQuery)
			if want := r.takes.names(); !slices.Equal(inQuery, want) {
				t.Errorf("%s: the parameters\n%v are described, and it takes\n%v", name, inQuery, want)
			}
			var variables []string
			for _, match := range regexp.MustCompile(`\{([a-z]+)(?:\.\.\.)?\}`).FindAllStringSubmatch(r.path, -1) {
				variables = append(variables, match[1])
			}
			if !slices.Equal(slices.Sorted(slices.Values(inPath)), slices.Sorted(slices.Values(variables))) {
				t.Errorf("%s: %v are described in the path, and it has %v", name, inPath, variables)
			}
			want := r.scope.String()
			if want == "" && !r.open {
				want = "any"
			}
			if o.Scope != want || r.open == (len(o.Security) > 0) {
				t.Errorf("%s: the scope %q and security %s are described, and it is %q", name, o.Scope, o.Security, want)
			}
			for _, form := range r.takes.forms {
				kind, _, _ := strings.Cut(contentType(form), ";")
				if !strings.Contains(string(o.Responses["200"]), `"`+kind+`"`) {
					t.Errorf("%s: the form %s is not described", name, kind)
				}
			}
			if o.Responses["default"] == nil {
				t.Errorf("%s: its errors are not described", name)
			}
		}
	}
	for name := range routes {
		t.Errorf("%s is not described", name)
	}
	for _, p := range ask.Parameters() {
		if shared, ok := described.Components.Parameters["filter_"+parameterName(p.Name)]; !ok || shared.Name != parameterName(p.Name) {
			t.Errorf("the filter %s is not described", p.Name)
		}
	}
}

// Each type of problem can be looked up, and says what happened and what to do.
func TestEachProblemIsExplained(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range kinds {
		if seen[k.slug] || !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(k.slug) {
			t.Errorf("the name %q", k.slug)
		}
		seen[k.slug] = true
		for what, text := range map[string]string{"means": k.means, "try": k.try} {
			if !strings.HasSuffix(text, ".") {
				t.Errorf("%s: %s is %q", k.slug, what, text)
			}
		}
		if k.title == "" || strings.HasSuffix(k.title, ".") || k.status < 400 || k.status > 599 {
			t.Errorf("%s: title %q, status %d", k.slug, k.title, k.status)
		}
	}
	if len(slices.Collect(maps.Keys(seen))) != len(kinds) {
		t.Error("two kinds have one name")
	}
}
