package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The version that is printed is the one that the changelog's newest heading names.
func TestTheChangelogHasTheVersion(t *testing.T) {
	t.Parallel()
	changelog, err := os.ReadFile(filepath.Join("..", "..", "CHANGELOG.md"))
	if err != nil {
		t.Fatal(err)
	}
	newest := regexp.MustCompile(`(?m)^## \[(.+?)\]`).FindSubmatch(changelog)
	if newest == nil {
		t.Fatal("CHANGELOG.md has no heading of a version")
	}
	out, err := output("auditsql", "version", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var printed struct{ Version string }
	if err := json.Unmarshal([]byte(out), &printed); err != nil {
		t.Fatal(err)
	}
	if want := string(newest[1]); printed.Version != want {
		t.Errorf("auditsql version prints %q, and the changelog's newest heading is %q", printed.Version, want)
	}
	if out, err = output("auditsql", "--version"); err != nil || !strings.HasPrefix(out, "auditsql "+printed.Version+",") {
		t.Errorf("auditsql --version prints %q (%v), want version %s", out, err, printed.Version)
	}
}
