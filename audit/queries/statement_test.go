package queries

import (
	"slices"
	"strings"
	"testing"
)

func TestNamedParametersBecomeNumbered(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in, want string
		names    []string
	}{
		{in: "SELECT 1", want: "SELECT 1"},
		{in: "SELECT :a, @b, $c, :a;", want: "SELECT ?1, ?2, ?3, ?1;", names: []string{"a", "b", "c"}},
		{in: "SELECT ':a', \":b\", `:c`, [:d], x.a", want: "SELECT ':a', \":b\", `:c`, [:d], x.a"},
		{in: "SELECT 'it''s :a' || :a", want: "SELECT 'it''s :a' || ?1", names: []string{"a"}},
		{in: "SELECT 1 -- :a\n, :b /* :c */", want: "SELECT 1 -- :a\n, ?1 /* :c */", names: []string{"b"}},
		{in: "SELECT 1; -- done\n ;", want: "SELECT 1; -- done\n ;"},
		{in: "SELECT ';'; ", want: "SELECT ';'; "},
		{in: "SELECT a$b, 'open :a", want: "SELECT a$b, 'open :a"},
		{in: "SELECT é:é", want: "SELECT é?1", names: []string{"é"}},
		{in: "", want: ""},
	} {
		got, names, err := positional(test.in)
		if err != nil || got != test.want || !slices.Equal(names, test.names) {
			t.Errorf("%q: got %q %q %v, want %q %q", test.in, got, names, err, test.want, test.names)
		}
	}
	for in, want := range map[string]string{
		"SELECT 1; SELECT 2": "more than one statement",
		"SELECT ?":           "need a name",
		"SELECT ?1":          "need a name",
	} {
		if _, _, err := positional(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want it to say %q", in, err, want)
		}
	}
}

// plainKinds are what a parameter of a named query can be that is no hash.
var plainKinds = []Kind{Text, Choice, Count, Real, Time, End, Duration}

func TestNamedQueriesDescribeThemselves(t *testing.T) {
	t.Parallel()
	if len(All()) == 0 {
		t.Fatal("there are none")
	}
	for _, q := range All() {
		s, err := q.Statement()
		if err != nil {
			t.Errorf("%s: %v", q.Name, err)
			continue
		}
		if q.About == "" {
			t.Errorf("%s does not say what it answers", q.Name)
		}
		var described []string
		for _, p := range q.Parameters {
			described = append(described, p.Name)
			if !slices.Contains(plainKinds, p.Kind) && !p.Kind.IsHash() {
				t.Errorf("%s: parameter %s is %q", q.Name, p.Name, p.Kind)
			}
		}
		names := slices.Clone(s.names)
		slices.Sort(names)
		slices.Sort(described)
		if !slices.Equal(names, described) {
			t.Errorf("%s has parameters %q and describes %q", q.Name, names, described)
		}
	}
}
