// Package layers holds a test that keeps the imports of this module pointing one way.
package layers

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/auditsql/auditsql/"

// allowed is which packages of the module each of them may import. Tests may import more.
var allowed = map[string][]string{
	"cmd/auditsql":         {"audit", "otlp", "otlp/receive", "web", "internal/advice", "internal/importing", "internal/serving", "internal/socket", "internal/tokens", "wal", "sqlstore", "internal/legible", "audit/ask", "audit/ingest", "audit/queries", "internal/when", "audit/view", "internal/tui", "internal/show", "evidence", "evidence/bundle", "internal/keyfile", "internal/signing", "internal/deliver", "internal/durable", "internal/report", "tree"},
	"web":                  {"audit", "audit/ask", "audit/ingest", "audit/view", "internal/legible", "internal/show", "internal/tokens", "internal/tui", "internal/when", "evidence", "tree", "web/internal/chart", "web/internal/pages", "web/internal/phrase"},
	"web/internal/pages":   {"internal/legible", "web/internal/phrase"},
	"web/internal/chart":   {"audit", "web/internal/phrase"},
	"web/internal/phrase":  {"audit", "internal/legible"},
	"audit":                {"kvshim", "sqlstore", "wal", "internal/durable", "internal/legible", "internal/backlog", "internal/idfilter", "internal/storedir", "tree", "evidence", "internal/keyfile", "internal/signing", "internal/deliver"},
	"kvshim":               {"sqlstore"},
	"kvshim/kvtest":        {"kvshim"},
	"sqlstore":             {"migrations", "internal/durable", "tree"},
	"migrations":           {},
	"wal":                  {"wal/internal/segment", "internal/durable"},
	"wal/internal/segment": {},
	"tree":                 {},
	"evidence":             {"tree"},
	"evidence/bundle":      {"evidence", "tree"},
	"internal/tokens":      {"audit", "internal/durable", "internal/storedir"},
	"internal/socket":      {"audit", "internal/durable", "internal/storedir", "sqlstore", "tree", "wal"},
	"internal/advice":      {},
	"internal/importing":   {"audit", "audit/ingest", "internal/advice", "internal/durable", "internal/legible", "internal/tui", "internal/when", "otlp", "otlp/put"},
	"internal/serving":     {"audit", "audit/ingest", "internal/advice", "internal/socket", "internal/tokens", "web"},
	"internal/keyfile":     {"evidence", "internal/durable"},
	"internal/deliver":     {"evidence", "tree", "internal/durable"},
	"internal/signing":     {"evidence", "tree", "internal/durable", "internal/keyfile", "internal/storedir"},
	"internal/walspec":     {},
	"internal/treespec":    {"tree"}, // for tests: nothing else may import it
	"internal/crashfs":     {"wal"},  // for tests: nothing else may import it
	"internal/hostile":     {},       // for tests: nothing else may import it
	"internal/sequential":  {},       // for tests: nothing else may import it
	"internal/mutants":     {},       // a command, run by hand
	"internal/durable":     {},
	"internal/layers":      {},
	"internal/legible":     {},
	"internal/backlog":     {"wal"}, // a leaf is 32 bytes here
	"internal/idfilter":    {"internal/durable"},
	"internal/storedir":    {"internal/durable", "sqlstore", "wal"},
	"audit/ask":            {"audit", "internal/legible", "internal/when"},
	"audit/ingest":         {"audit", "internal/when"},
	"audit/queries":        {"audit", "audit/ask", "sqlstore", "internal/when"},
	"internal/when":        {"audit"},
	"audit/view":           {"audit", "wal", "evidence", "internal/legible", "internal/when", "tree"},
	"internal/tui":         {"internal/legible"},
	"internal/show":        {"audit", "audit/view", "internal/legible", "internal/tui"},
	"internal/report":      {"audit", "audit/view", "internal/legible", "internal/show", "internal/tui", "internal/when"},
	"otlp":                 {"audit", "audit/ingest", "internal/legible"},
	"otlp/put":             {"audit", "otlp"},
	"otlp/receive":         {"audit", "audit/ingest", "otlp", "otlp/put", "wal"},
}

// keepers are the only packages that may import what is theirs.
var keepers = map[string][]string{
	"database/sql":           {"sqlstore"},
	"modernc.org/sqlite":     {"sqlstore"},
	"github.com/jmoiron":     {"sqlstore"},
	"github.com/pressly":     {"sqlstore"},
	"github.com/spf13":       {"cmd/auditsql", "internal/importing", "internal/serving"},
	"github.com/jedib0t":     {"internal/tui"},
	"github.com/schollz":     {"internal/tui"},
	"github.com/zeebo":       {"wal", "wal/internal/segment", "audit", "internal/walspec", "otlp"},
	"golang.org/x/mod":       {"tree", "evidence"},
	"golang.org/x/sys":       {"wal", "internal/durable", "internal/socket"},
	"golang.org/x/term":      {"internal/tui"},
	"golang.org/x/text":      {"internal/legible"},
	"github.com/rogpeppe":    {},
	"pgregory.net/rapid":     {"internal/hostile"},
	"github.com/prometheus/": {"web", "cmd/auditsql", "internal/serving"},
	"golang.org/x/time":      {"web"},
	"github.com/klauspost/":  {"web"},
	"go.opentelemetry.io":    {"otlp"},
	"google.golang.org":      {"otlp", "otlp/receive"},
}

func TestImportsPointOneWay(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	used := map[[2]string]bool{} // a package, and what it imports or the prefix that it may import
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return filepath.SkipDir
		}
		if d.IsDir() && name != root && fileExists(filepath.Join(name, "go.mod")) {
			return filepath.SkipDir // another module, which is a user of this one like any other
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(rel))
		seen[pkg] = true
		may, known := allowed[pkg]
		if !known {
			t.Errorf("%s: a package that this test does not know: say what it may import", pkg)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if ours, ok := strings.CutPrefix(imported, module); ok {
				used[[2]string{pkg, ours}] = true
				if !slices.Contains(may, ours) {
					t.Errorf("%s imports %s", rel, ours)
				}
			}
			for prefix, keepers := range keepers {
				if !strings.HasPrefix(imported, prefix) {
					continue
				}
				used[[2]string{pkg, prefix}] = true
				if !slices.Contains(keepers, pkg) {
					t.Errorf("%s imports %s, which is for %q", rel, imported, keepers)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !seen["wal"] || !seen["audit"] {
		t.Fatal("the walk did not find the module")
	}
	// What is allowed and not used would let a wrong import in.
	for pkg, may := range allowed {
		for _, ours := range may {
			if !used[[2]string{pkg, ours}] {
				t.Errorf("%s may import %s, and does not", pkg, ours)
			}
		}
	}
	for prefix, keepers := range keepers {
		for _, pkg := range keepers {
			if !used[[2]string{pkg, prefix}] {
				t.Errorf("%s may import %s, and does not", pkg, prefix)
			}
		}
	}
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
