package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each edit fits the code at exactly one place: whoever changes the code changes the table with it.
func TestEachEditFits(t *testing.T) {
	for _, m := range guards() {
		b, err := os.ReadFile(filepath.Join("..", "..", m.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(b, []byte(m.old)); n != 1 {
			t.Errorf("%s (%s): the edit fits at %d places", m.what, m.file, n)
		}
	}
}

var update = flag.Bool("update", false, "write the table of mutants in docs/durability.md")

// docs/durability.md has a row for each mutant and no others. With -update the test writes the table: it keeps what the
// last two columns say of a mutant, and for a new mutant it names the tests that should notice and puts "-" for the time.
func TestTheDocumentNamesEachMutant(t *testing.T) {
	name := filepath.Join("..", "..", "docs", "durability.md")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), tableHead)
	rows, after, ended := strings.Cut(rest, "\n\n")
	if !found || !ended {
		t.Fatalf("%s has no table that begins with %q", name, tableHead)
	}
	noticed := map[string]string{}
	for row := range strings.Lines(rows) {
		if columns := strings.SplitN(strings.TrimSpace(row), " | ", 3); len(columns) == 3 {
			noticed[columns[0]] = columns[2]
		}
	}
	var want []string
	for _, m := range mutants {
		by, known := noticed["| "+m.what]
		if !known {
			by = expected(m.tests) + " | - |"
		}
		want = append(want, fmt.Sprintf("| %s | `%s` | %s", m.what, m.file, by))
	}
	if rows == strings.Join(want, "\n") {
		return
	}
	if !*update {
		t.Fatalf("the table in %s is not that of internal/mutants/table.go (-update writes it)", name)
	}
	if err := os.WriteFile(name, []byte(before+tableHead+strings.Join(want, "\n")+"\n\n"+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// testNames are the tests of a package's folder.
func testNames(t *testing.T, pkg string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(pkg), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range testFunc.FindAllSubmatch(text, -1) {
			names = append(names, string(found[1]))
		}
	}
	return names
}

var testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example)\w*)\(`)

// A mutant whose tests have another name now would be reported as not noticed, and the document would name what is not there.
func TestTheNamedTestsExist(t *testing.T) {
	there := map[string][]string{}
	var rows []string
	for _, m := range guards() {
		if there[m.pkg] == nil {
			there[m.pkg] = testNames(t, m.pkg)
		}
		for _, one := range strings.Split(m.tests, "|") {
			top, _, _ := strings.Cut(one, "/")
			if pattern := regexp.MustCompile(top); !slices.ContainsFunc(there[m.pkg], pattern.MatchString) {
				t.Errorf("%s: no test of %s fits %s", m.what, m.pkg, one)
			}
		}
	}
	for _, m := range mutants {
		rows = append(rows, "| "+m.what+" | ")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "durability.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), tableHead)
	for row := range strings.Lines(table) {
		i := slices.IndexFunc(rows, func(begin string) bool { return strings.HasPrefix(row, begin) })
		if i < 0 {
			continue
		}
		for _, found := range regexp.MustCompile("`(Test\\w+|Fuzz\\w+)(…?)`").FindAllStringSubmatch(row, -1) {
			if !slices.ContainsFunc(there[mutants[i].pkg], func(name string) bool {
				return name == found[1] || found[2] != "" && strings.HasPrefix(name, found[1])
			}) {
				t.Errorf("docs/durability.md names %s for %q, and %s has no such test", found[0], mutants[i].what, mutants[i].pkg)
			}
		}
	}
}

// expected lists the tests that a pattern for -test.run names. A name that is only the beginning of names ends in an ellipsis.
func expected(pattern string) string {
	var names []string
	for _, one := range strings.Split(pattern, "|") {
		top, _, _ := strings.Cut(one, "/")
		name := strings.TrimPrefix(top, "^")
		if !strings.HasSuffix(name, "$") {
			name += "…"
		}
		names = append(names, "`"+strings.TrimSuffix(name, "$")+"`")
	}
	return strings.Join(names, ", ")
}
