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
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
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

	if record := run("get", "4058e593", "-o", "table"); !strings.Contains(readme, strings.TrimSpace(record)) {
		t.Errorf("get prints\n%s", record)
	}
	row := strings.Fields(run("list", "--attr", "trace_id=pay-20931", "-o", "plain"))
	for _, word := range []string{row[0][:8], row[1][:8], "supplier/Northwind", "payment_account"} {
		if !strings.Contains(readme, word) {
			t.Errorf("list shows %s, which the README does not", word)
		}
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
