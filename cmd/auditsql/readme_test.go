package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the README shows is what a person gets who types it on the demo's store.
func TestTheREADMEIsTrue(t *testing.T) {
	name := filepath.Join("..", "..", "README.md")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	readme := string(text)
	store := filepath.Join(t.TempDir(), "demo")
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("auditsql", append([]string{"-d", store}, args...)...)
		cmd.Env = append(os.Environ(), "GORACE="+withoutNap)
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("auditsql %q: %v: %s", args, err, said.String())
		}
		return string(out)
	}
	run("demo", "--keep", store)

	// The screen at its top: on a terminal of 100 columns, with the store where AUDITSQL_DIR says.
	const command = "trace --attr trace_id=pay-20931"
	t.Setenv("AUDITSQL_DIR", store)
	trace, _ := onTerminal(t, 100, false, strings.Fields(command)...)
	before, rest, found := strings.Cut(readme, "$ auditsql "+command+"\n")
	screen, after, found2 := strings.Cut(rest, "```\n")
	switch {
	case !found || !found2:
		t.Fatalf("no screen of auditsql %s", command)
	case *update:
		if err := os.WriteFile(name, []byte(before+"$ auditsql "+command+"\n"+trace+"```\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
	case screen != trace:
		t.Errorf("trace shows (-update writes it)\n%s", trace)
	}
	sql := regexp.MustCompile("(?s)```sql\n(.*?)```").FindStringSubmatch(readme)
	if sql == nil {
		t.Fatal("no SQL in the README")
	}
	n := 0
	queries := regexp.MustCompile("(?m)^--.*$").ReplaceAllString(sql[1], "")
	for statement := range strings.SplitSeq(queries, ";") {
		if !strings.Contains(statement, "SELECT") {
			continue
		}
		n++
		if rows := run("sql", "--", statement); strings.Count(rows, "\n") < 1 {
			t.Errorf("no rows: %s", statement)
		}
	}
	if n < 8 {
		t.Errorf("only %d queries were found", n)
	}
}
