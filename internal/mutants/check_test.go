package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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

// expected lists the tests that a pattern for -test.run names.
func expected(pattern string) string {
	var names []string
	for _, one := range strings.Split(pattern, "|") {
		top, _, _ := strings.Cut(one, "/")
		names = append(names, "`"+regexp.MustCompile(`[$^]`).ReplaceAllString(top, "")+"`")
	}
	return strings.Join(names, ", ")
}
