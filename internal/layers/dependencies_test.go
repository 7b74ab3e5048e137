package layers

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// README.md says of each module that go.mod requires what it is for, and names no other one.
func TestEachDependencyHasAReason(t *testing.T) {
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, table, found := strings.Cut(read("README.md"), "## Dependencies, and why\n")
	if !found {
		t.Fatal("README.md has no list of dependencies")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	named := map[string]bool{}
	for row := range strings.Lines(table) {
		if cells := strings.Split(row, "|"); len(cells) > 2 {
			for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
				named[name[1]] = true
			}
		}
	}
	major := regexp.MustCompile(`/v\d+$`)
	for _, required := range regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(read("go.mod"), -1) {
		name := major.ReplaceAllString(strings.TrimPrefix(required[1], "github.com/"), "")
		short := strings.TrimPrefix(name, "golang.org/") // as x/term, beside golang.org/x/sys
		if !named[name] && !named[short] {
			t.Errorf("README.md does not say what %s is for", required[1])
		}
		delete(named, name)
		delete(named, short)
	}
	for name := range named {
		t.Errorf("README.md says what %s is for, and go.mod does not require it", name)
	}
}
