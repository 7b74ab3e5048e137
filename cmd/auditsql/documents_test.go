package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/web"
)

// documents are the pages whose screens and SQL are kept true.
var documents = []string{"README.md", "docs/investigating.md", "docs/operating.md", "docs/json.md", "docs/proof.md", "docs/api.md", "docs/opentelemetry.md"}

// withSQL are those that also show SQL.
var withSQL = map[string]bool{"README.md": true, "docs/investigating.md": true}

// documentWidth is how wide the terminal is that a document's screens are from.
const documentWidth = 100

// What a document shows is what a person gets who types it, from its top to its end, in a folder that has the
// demo's store in ./incident, evidence from a log in ./evidence and nothing else, with AUDITSQL_DIR naming that store:
//
//   - In a block that begins with ```console a line that begins with "$ " is a command ("> " goes on with it), and
//     what follows is what it shows: the screen of a terminal when it is auditsql alone, with a shell's
//     punctuation what comes out of sh, standard error included. […] stands for a part of a line that is different
//     each time. The command must end well; -update writes what it shows where that differs.
//   - On the page about the API a server has the store, and $URL and $AUTH are as the page says at its beginning.
//   - In a block that begins with ```sql each statement must find rows, by an index. When the comment before it
//     ends in "as auditsql …", it must find the rows of that command: as many, with the same values in all
//     columns that are members of the command's JSON as well. "as MEMBER of auditsql …" is about a list in
//     the one object that the command prints.
func TestTheDocumentsAreTrue(t *testing.T) {
	sequential.Test(t)
	if runtime.GOOS != "linux" {
		t.Skip("the tools beside auditsql print otherwise elsewhere")
	}
	haveShell := true
	if _, err := exec.LookPath("sqlite3"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("the sqlite3 shell is missing")
		}
		haveShell = false
	}
	_, noOpenSSL := exec.LookPath("openssl")
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range documents {
		t.Run(filepath.Base(name), func(t *testing.T) {
			if testing.Short() && name != "README.md" {
				t.Skip("dozens of processes, which take long to start under the race detector")
			}
			if name == "docs/proof.md" && noOpenSSL != nil && os.Getenv("CI") != "true" {
				t.Skip(noOpenSSL)
			}
			file := filepath.Join(root, filepath.FromSlash(name))
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			evidence := os.DirFS(goldenEvidence(t))
			t.Chdir(t.TempDir())
			if err := os.CopyFS("evidence", evidence); err != nil {
				t.Fatal(err)
			}
			t.Setenv("AUDITSQL_DIR", "./incident")
			t.Setenv("GORACE", withoutNap)
			t.Setenv(testTime, noon.Format(time.RFC3339Nano))
			shell(t, "auditsql demo --keep ./incident > /dev/null")
			if name == "docs/api.md" {
				serveIncident(t)
			}
			d := document{t: t, haveShell: haveShell}
			is := fenced.ReplaceAllStringFunc(string(text), d.check)
			if d.screens == 0 || withSQL[name] && d.statements < 8 {
				t.Errorf("only %d screens and %d statements were found", d.screens, d.statements)
			}
			if *update && is != string(text) {
				if err := os.WriteFile(file, []byte(is), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// serveIncident serves the demo's store for the page about the API.
func serveIncident(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	db, err := audit.Open("incident", audit.WithReads(audit.Applied))
	if err != nil {
		t.Fatal(err)
	}
	handler := web.Handler(db, web.Options{
		Tokens: oneToken("asql_example"), Now: func() time.Time { return noon },
		Limits: web.Limits{Beat: 50 * time.Millisecond}, // so that curl finds out soon that nobody reads what it prints
	})
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		handler.Drain()
		server.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("URL", server.URL)
	t.Setenv("AUTH", "Authorization: Bearer asql_example")
}

// oneToken is the only token, with all scopes.
type oneToken string

func (one oneToken) Lookup(secret string) (web.Principal, bool) {
	return web.Principal{ID: "example", Scopes: web.AllScopes}, secret == string(one)
}

var fenced = regexp.MustCompile("(?ms)^```(console|sql)\n.*?^```$")

// A document is one that is being checked.
type document struct {
	t                   *testing.T
	haveShell           bool
	screens, statements int
}

// check runs what a block holds, and returns the block as it should be.
func (d *document) check(text string) string {
	kind, body, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(text, "```"), "```"), "\n")
	if kind == "sql" {
		for _, s := range statementsOf(body) {
			d.checkSQL(s)
		}
		return text
	}
	var is strings.Builder
	for _, s := range screensOf(d.t, body) {
		is.WriteString(s.typed)
		is.WriteString(d.checkScreen(s))
	}
	return "```" + kind + "\n" + is.String() + "```"
}

// A screen is a command and what it shows.
type screen struct {
	typed   string // its lines, with the prompts
	command string
	shown   string
}

func screensOf(t *testing.T, body string) (list []screen) {
	t.Helper()
	for line := range strings.Lines(body) {
		command, begins := strings.CutPrefix(line, "$ ")
		if begins {
			list = append(list, screen{typed: line, command: command})
			continue
		}
		if len(list) == 0 {
			t.Fatalf("a console block does not begin with a command: %s", line)
		}
		s := &list[len(list)-1]
		if more, goesOn := strings.CutPrefix(line, "> "); goesOn && s.shown == "" {
			s.typed += line
			s.command += more
			continue
		}
		s.shown += line
	}
	return list
}

func (d *document) checkScreen(s screen) string {
	d.t.Helper()
	if !d.haveShell && strings.Contains(s.command, "sqlite3") {
		return s.shown
	}
	d.screens++
	var got string
	if args, alone := words(s.command); alone {
		shown, said := onTerminal(d.t, documentWidth, false, args...)
		got = shown + said
	} else {
		got = shell(d.t, s.command)
	}
	if got != "" && !strings.HasSuffix(got, "\n") {
		got += "\n"
	}
	if likeness(s.shown).MatchString(got) {
		return s.shown
	}
	if !*update {
		d.t.Errorf("%s shows (-update writes it)\n%s", s.typed, got)
	}
	return elide(got, s.shown)
}

// words takes a command line apart if it is auditsql with plain words and quoted ones, and nothing for a shell.
func words(command string) (args []string, alone bool) {
	plain := regexp.MustCompile(`^(?:'[^']*'|[^\s'"|&;<>$*?\x60\\]+)`)
	rest := strings.TrimSpace(command)
	for rest != "" {
		word := plain.FindString(rest)
		if word == "" {
			return nil, false
		}
		args = append(args, strings.Trim(word, "'"))
		rest = strings.TrimLeft(rest[len(word):], " \n")
	}
	if len(args) == 0 || args[0] != "auditsql" {
		return nil, false
	}
	return args[1:], true
}

// shell runs a command as a person's shell does, and returns what it prints.
func shell(t *testing.T, command string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return string(out)
}

// elided stands for what is different each time.
const elided = "[…]"

// likeness is what a screen may look like that is kept as shown.
func likeness(shown string) *regexp.Regexp {
	like := strings.ReplaceAll(regexp.QuoteMeta(shown), regexp.QuoteMeta(elided), `[^\n]*`)
	return regexp.MustCompile(`\A` + like + `\z`)
}

// elide leaves out of a screen what was left out of it before.
func elide(got, shown string) string {
	var is strings.Builder
	for line := range strings.Lines(got) {
		for was := range strings.Lines(shown) {
			if strings.Contains(was, elided) && likeness(was).MatchString(line) {
				line = was
				break
			}
		}
		is.WriteString(line)
	}
	return is.String()
}

// A statement is SQL with the comment before it.
type statement struct{ comment, query string }

func statementsOf(body string) (list []statement) {
	var s statement
	for line := range strings.Lines(body) {
		if comment, is := strings.CutPrefix(line, "-- "); is && s.query == "" {
			s.comment += " " + strings.TrimSpace(comment)
			continue
		}
		s.query += line
		if strings.HasSuffix(strings.TrimSpace(line), ";") {
			list = append(list, s)
			s = statement{}
		}
	}
	return list
}

var sameAs = regexp.MustCompile(`as (?:(\w+) of )?auditsql (.*)$`)

func (d *document) checkSQL(s statement) {
	d.t.Helper()
	d.statements++
	d.checkPlan(s.query)
	got := map[string][]map[string]any{}
	out, err := output("auditsql", "sql", "-o", "ndjson", "--", s.query)
	if err != nil {
		d.t.Errorf("%s: %v", s.query, err)
		return
	}
	got["auditsql sql"] = objects(d.t, out)
	if d.haveShell {
		out, err := output("sqlite3", "-readonly", "-bail", "-json", filepath.Join("incident", "audit.db"), s.query)
		if err != nil {
			d.t.Errorf("%s: %v", s.query, err)
			return
		}
		got["sqlite3"] = objects(d.t, out)
	}
	for client, rows := range got {
		if len(rows) == 0 {
			d.t.Errorf("%s finds no rows: %s", client, s.query)
		}
	}
	same := sameAs.FindStringSubmatch(s.comment)
	if same == nil {
		return
	}
	args, alone := words("auditsql " + same[2])
	if !alone {
		d.t.Fatalf("%q is no plain command", same[2])
	}
	out, err = output("auditsql", append(args, "-o", "ndjson")...)
	if err != nil {
		d.t.Errorf("auditsql %s: %v", same[2], err)
		return
	}
	want := objects(d.t, out)
	if member := same[1]; member != "" {
		want = listIn(d.t, want, member)
	}
	for client, rows := range got {
		if difference := differ(rows, want); difference != "" {
			d.t.Errorf("%s: %s\nby %s is not what auditsql %s gives: %s", s.comment, s.query, client, same[2], difference)
		}
	}
}

// checkPlan refuses a statement that reads a large table as a whole. The newest records come off the index of
// time until a LIMIT ends that. What WITH … AS MATERIALIZED has picked out before is no large table, and neither is what
// WITH RECURSIVE has found so far.
func (d *document) checkPlan(query string) {
	d.t.Helper()
	plan, err := planInLibrary(filepath.Join("incident", "audit.db"), "EXPLAIN QUERY PLAN "+query)
	if err != nil {
		d.t.Errorf("%s: %v", query, err)
		return
	}
	for line := range strings.Lines(plan) {
		newest := strings.HasPrefix(line, "SCAN a USING INDEX audit_by_time") && strings.Contains(query, "LIMIT")
		names := materialized.FindAllStringSubmatch(query, -1)
		for _, with := range recursive.FindAllStringSubmatch(query, -1) {
			names = append(names, with)
			names = append(names, regexp.MustCompile(with[1]+` (\w+) JOIN`).FindAllStringSubmatch(query, -1)...)
		}
		picked := slices.ContainsFunc(names, func(with []string) bool {
			return strings.HasPrefix(strings.TrimSpace(line)+" ", "SCAN "+with[1]+" ")
		})
		if strings.HasPrefix(line, "SCAN") && !smallTables.MatchString(strings.TrimSpace(line)) && !newest && !picked {
			d.t.Errorf("%s: its plan is\n%s", query, plan)
		}
	}
}

var recursive = regexp.MustCompile(`WITH RECURSIVE (\w+)`)

var materialized = regexp.MustCompile(`(\w+) AS MATERIALIZED`)

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return string(out), err
}

// objects reads NDJSON, or a list of objects as the sqlite3 shell writes it.
func objects(t *testing.T, text string) (list []map[string]any) {
	t.Helper()
	if strings.HasPrefix(text, "[") {
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatal(err)
		}
		return list
	}
	for line := range strings.Lines(text) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		list = append(list, o)
	}
	return list
}

func listIn(t *testing.T, in []map[string]any, member string) (list []map[string]any) {
	t.Helper()
	if len(in) != 1 {
		t.Fatalf("%d objects, want one with %s", len(in), member)
	}
	elements, ok := in[0][member].([]any)
	if !ok {
		t.Fatalf("%s is no list: %v", member, in[0][member])
	}
	for _, e := range elements {
		list = append(list, e.(map[string]any))
	}
	return list
}

// differ says in what rows are not those of a command, in their order, as far as both have the same columns.
func differ(got, want []map[string]any) string {
	if len(got) != len(want) {
		return fmt.Sprintf("%d rows, want %d", len(got), len(want))
	}
	shared := 0
	for i, row := range got {
		for column, is := range row {
			should, has := want[i][column]
			if !has {
				continue
			}
			shared++
			if b, isBool := should.(bool); isBool { // SQLite has numbers for them
				should = map[bool]float64{false: 0, true: 1}[b]
			}
			if fmt.Sprint(is) != fmt.Sprint(should) {
				return fmt.Sprintf("%s of row %d is %v, want %v", column, i+1, is, should)
			}
		}
	}
	if shared == 0 {
		return "no column of one is a member of the other"
	}
	return ""
}
