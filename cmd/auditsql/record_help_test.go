package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// The record that help and README explain is one that import takes, has every field, and is the same in both.
func TestTheExplainedRecordIsOne(t *testing.T) {
	t.Parallel()
	words := regexp.MustCompile(`(?m)(\S)  +.*$`)
	record := strings.ReplaceAll(words.ReplaceAllString(recordExample, "$1"), "…", strings.Repeat("a", 64))
	q, err := audit.ParseAudit([]byte(record))
	if err != nil {
		t.Fatalf("%v: %s", err, record)
	}
	if q.AgentID == nil || q.Params.Subject == nil || q.Params.Predicate == nil || q.Params.Lifecycle == nil || q.Params.Epoch == nil ||
		q.Params.Lens == nil || q.ResultHash == nil || len(q.ContributingAssertions) == 0 || len(q.Attributes) == 0 {
		t.Errorf("a field is not explained: %+v", q)
	}
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), recordExample) {
		t.Error("the README explains another record than help import")
	}
}
