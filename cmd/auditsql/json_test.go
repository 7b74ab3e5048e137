package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/internal/tui"
)

// jsonExamples are command lines whose JSON is held against docs/json.md, each in a folder of its own that has the demo's
// store in ./incident, and evidence from a log in ./evidence. What comes before the last command makes what that needs. Its exit code is not checked: a command
// that finds damage prints its object all the same.
var jsonExamples = map[string][]string{
	"agents":     {"auditsql agents", "ANONYMOUS; auditsql agents"},
	"answers":    {"LABELLED; auditsql answers supplier/Northwind payment_account", "ANONYMOUS; auditsql answers customer/1 open_orders"},
	"backup":     {"rm -rf copy; auditsql backup ./copy"},
	"check":      {"auditsql check --record evidence/record.json evidence/proof.tlog-proof --policy evidence/policy", "auditsql check evidence/log/bundle --key LOGKEY", "auditsql check nothing --key LOGKEY"},
	"compare":    {"auditsql compare --by source --from 2026-11-23T10:00 --to 2026-11-23T10:30 --with 2026-11-23T09:00", "auditsql compare --by lens --from 2026-11-23T10:00 --to 2026-11-23T10:30 --with 2026-11-23T09:00"},
	"diff":       {"auditsql diff 0a3caa49 4058e593", "LABELLED; auditsql name --remove 'mail 7731'; auditsql diff 4058e593 0a3caa49"},
	"export":     {"auditsql export"},
	"get":        {"auditsql get 4058e593 0a3caa49", "ANONYMOUS; auditsql get aaaaaaaa"},
	"impact":     {"LABELLED; auditsql impact f2bf0ec5", "auditsql impact --source 'mail 7731'", "ANONYMOUS; auditsql impact 11111111", "auditsql impact f2bf0ec5 --to 2000-01-01"},
	"import":     {"echo '{\"timestamp\":1,\"params\":{},\"result_confidence\":1}' > lines; auditsql import lines"},
	"init":       {"auditsql -d ./new init"},
	"log root":   {"auditsql log root"},
	"log tiles":  {"auditsql key new log.example.com -o key; auditsql log init --key ./key; auditsql log sign; auditsql log tiles ./tiles"},
	"list":       {"auditsql list", "ANONYMOUS; auditsql list", "LABELLED; auditsql list"},
	"name":       {"auditsql name"},
	"put":        {"auditsql put --subject x --timestamp 1795426200000"},
	"recent":     {"auditsql recent 3"},
	"reindex":    {"auditsql reindex"},
	"repair":     {"auditsql repair", "DAMAGE; auditsql repair --apply", "FORGED; auditsql repair --apply"},
	"serve":      {"(until test -S incident/serve.sock; do sleep 0.1; done; kill $(head -1 incident/wal/LOCK)) > /dev/null 2>&1 & auditsql serve --listen 127.0.0.1:0", "(until test -S incident/serve.sock; do sleep 0.1; done; kill $(head -1 incident/wal/LOCK)) > /dev/null 2>&1 & auditsql serve --listen 127.0.0.1:0 --otlp 127.0.0.1:0 --otlp-grpc 127.0.0.1:0"},
	"sql":        {"auditsql sql recent", "auditsql sql 'SELECT 1, NULL'"},
	"stats":      {"auditsql stats", "auditsql -d ./empty init; auditsql -d ./empty stats", "mv incident/wal away; auditsql stats --read-only", "SIGNED; auditsql stats", "INBOX; auditsql stats", "cp -r incident/wal incident/inbox; auditsql stats"},
	"tail":       {"auditsql tail"},
	"timeline":   {"auditsql timeline --by minute", "auditsql timeline --agent analyst --to 2026-11-23T12:00", "auditsql name --remove analyst; auditsql timeline --agent cff8e71d --to 2026-11-23T12:00"},
	"token add":  {"auditsql token add reader --scope read"},
	"token list": {"auditsql token add reader --scope read; auditsql token add writer --scope write --agent " + strings.Repeat("0a", 32) + " --expires 1d; auditsql token list"},
	"top":        {"auditsql top --by source", "auditsql top --by agent", "auditsql top --by subject"},

	"list --count": {"auditsql list --count --not-agent planner"},
	"trace":        {"LABELLED; auditsql trace --attr trace_id=pay-20931", "ANONYMOUS; auditsql trace aaaaaaaa dddddddd", "auditsql trace 0a3caa49", "MANY; auditsql trace 00000000"},
	"verify":       {"auditsql verify", "DAMAGE; auditsql verify", "TEAR; auditsql verify --read-only", "DAMAGE; rm incident/audit.db*; auditsql wal repair --apply; auditsql verify", "mv incident/wal away; auditsql verify", "auditsql -d ./again import evidence/log/export.ndjson; auditsql -d ./again verify --against evidence/log/checkpoint --key LOGKEY"},
	"version":      {"auditsql version"},

	"log checkpoints": {"SIGNED; auditsql log checkpoints"},
	"log init":        {"auditsql key new log.example.com -o key; auditsql log init --key key", "auditsql -d ./empty init; auditsql key new log.example.com -o empty.key; auditsql -d ./empty log init --key empty.key"},
	"log sign":        {"SIGNED; auditsql log sign"},
	"log status":      {"SIGNED; auditsql log status", "SIGNED; rm key; auditsql log status"},

	"impact --depth": {"LABELLED; auditsql impact f2bf0ec5 --depth all", "CHAIN; auditsql impact RATE --depth 2", "CHAIN; auditsql name RATE rate; auditsql name PRICE price; auditsql impact rate --depth all --limit 4", "ANONYMOUS; auditsql impact 11111111 --depth all", "auditsql impact f2bf0ec5 --depth 1 --to 2000-01-01"},
	"trace --up":     {"CHAIN; auditsql trace --up --attr trace_id=plan-12", "LABELLED; auditsql trace --up 4058e593", "ANONYMOUS; auditsql trace --up aaaaaaaa dddddddd", "MANY; auditsql trace --up 00000000"},

	"import --explain":  {"SPANS; auditsql import --format otlp --explain spans.jsonl silent.jsonl"},
	"import --format":   {"SPANS; auditsql import --format otlp spans.jsonl"},
	"import --catch-up": {"auditsql key new log.example.com -o key; auditsql log init --key key; auditsql export > all; auditsql import --catch-up all"},
	"log rebuild":       {"auditsql log rebuild", "auditsql key new log.example.com -o key; auditsql log init --key key; auditsql log rebuild"},
	"log rotate":        {"auditsql key new log.example.com -o key; auditsql log init --key key; auditsql key new log.example.com -o new; auditsql log rotate --new new"},
	"log successor":     {"auditsql key new log.example.com -o key; auditsql log init --key key; auditsql key new log.example.com/2 -o new; auditsql log successor --after key.signed --reason why --key new"},
	"key show":          {"auditsql key new log.example.com -o key; auditsql key show key"},
	"name HASH":         {"auditsql name planner"},
	"sql --list":        {"auditsql sql --list"},
	"wal dump":          {"auditsql wal dump"},
	"wal inspect":       {"auditsql wal inspect", "SEGMENTS; auditsql wal inspect"},
	"wal repair":        {"auditsql wal repair", "DAMAGE; auditsql wal repair --apply", "DAMAGE; rm incident/audit.db*; auditsql wal repair", "TEAR; auditsql wal repair"},
	"wal verify":        {"auditsql wal verify", "SEGMENTS; printf X | dd of=cut/wal/0000000000000000.wal bs=1 seek=2000 conv=notrunc; auditsql wal verify", "TEAR; auditsql wal verify"},
}

// jsonSetups are what the words in capitals stand for.
var jsonSetups = strings.NewReplacer(
	// Records in which what may be null is null once, and is not null once.
	"ANONYMOUS", `cat > null.ndjson <<-END
		{"query_id":"`+strings.Repeat("a", 64)+`","timestamp":1795429700000,"params":{"subject":null},"result_confidence":0.5,"contributing_assertions":[{"assertion_hash":"`+strings.Repeat("1", 64)+`","weight":1,"source_hash":"`+strings.Repeat("2", 64)+`","lifecycle":"Proposed"},{"assertion_hash":"`+strings.Repeat("4", 64)+`","weight":1,"source_hash":"`+strings.Repeat("2", 64)+`","lifecycle":"Proposed"}]}
		{"query_id":"`+strings.Repeat("b", 64)+`","timestamp":1795429700001,"params":{"subject":"customer/1","predicate":"open_orders"},"result_confidence":0.5,"contributing_assertions":[{"assertion_hash":"`+strings.Repeat("1", 64)+`","weight":1,"source_hash":"`+strings.Repeat("2", 64)+`","lifecycle":"Proposed"}]}
		{"query_id":"`+strings.Repeat("c", 64)+`","timestamp":1795429700002,"params":{"subject":"customer/1","predicate":"open_orders","lens":"Recency","epoch":"`+strings.Repeat("3", 64)+`","lifecycle":"Approved"},"result_hash":"`+strings.Repeat("1", 64)+`","result_confidence":0.5}
		{"query_id":"`+strings.Repeat("d", 64)+`","timestamp":1795429700003,"params":{},"result_confidence":0.5,"contributing_assertions":[{"assertion_hash":"`+strings.Repeat("1", 64)+`","weight":1,"source_hash":"`+strings.Repeat("2", 64)+`","lifecycle":"Proposed"}]}
		END
		auditsql import null.ndjson`,
	// A retrieval that contains a document, its agent, and a retrieval that contains none.
	"SPANS", `cat > spans.jsonl <<-'END'
		{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"000000000000000000000000000000b1","spanId":"0000000000000002","parentSpanId":"0000000000000001","name":"kb","startTimeUnixNano":"1795424401000000000","attributes":[{"key":"openinference.span.kind","value":{"stringValue":"RETRIEVER"}},{"key":"retrieval.documents.0.document.id","value":{"stringValue":"policy-7"}}]},{"traceId":"000000000000000000000000000000b1","spanId":"0000000000000001","name":"SupportAgent","startTimeUnixNano":"1795424400000000000","attributes":[{"key":"openinference.span.kind","value":{"stringValue":"AGENT"}}]}]}]}]}
		END
		sed -e 's/b1"/b2"/g' -e 's/retrieval.documents/other/' spans.jsonl > silent.jsonl`,
	// A store that has received spans.
	"INBOX", `(until test -S incident/serve.sock; do sleep 0.1; done; kill $(head -1 incident/wal/LOCK)) > /dev/null 2>&1 & auditsql serve --listen 127.0.0.1:0 --otlp 127.0.0.1:0`,
	// More evidence than is looked into.
	"MANY", `seq 300 | awk 'BEGIN { printf "{\"query_id\":\"%064d\",\"timestamp\":1795429700000,\"params\":{},\"result_confidence\":1,\"contributing_assertions\":[", 5 }
		{ printf "%s{\"assertion_hash\":\"%064d\",\"weight\":1,\"source_hash\":\"%064d\",\"lifecycle\":\"Approved\"}", (NR > 1 ? "," : ""), $1, 6 }
		END { print "]}" }' > many.ndjson; auditsql import many.ndjson`,
	// A log with a place that works and one that fails.
	"SIGNED", "auditsql key new log.example.com -o key; auditsql log init --key key --publish out --exec false || true",
	"LOGKEY", "$(cat evidence/log/key)",
	// A record that comes back, one that gets its hash back, and one that is lost.
	"FORGED", `sqlite3 incident/audit.db "DROP TRIGGER kv_is_written_once_update;
		UPDATE kv SET value = x'7b7d' WHERE key = (SELECT CAST(x'004155443A' || query_id AS BLOB) FROM entry WHERE idx = 3);
		UPDATE kv SET leaf = zeroblob(32) WHERE key = (SELECT CAST(x'004155443A' || query_id AS BLOB) FROM entry WHERE idx = 5);
		UPDATE kv SET value = x'7b7d' WHERE key = (SELECT CAST(x'004155443A' || query_id AS BLOB) FROM entry WHERE idx = 0);"
		printf X | dd of=incident/wal/0000000000000000.wal bs=1 seek=300 conv=notrunc 2> /dev/null`,
	"CHAIN", "auditsql demo --chain --keep ./orders; export AUDITSQL_DIR=./orders",
	"RATE", demoHash("assertion", chainRate).String(),
	"PRICE", demoHash("assertion", "valve V7 price 4.10").String(),
	"LABELLED", "for h in f2bf0ec5 11c09102; do auditsql name $h answer-$h; done",
	"DAMAGE", "printf X | dd of=incident/wal/0000000000000000.wal bs=1 seek=20000 conv=notrunc 2> /dev/null",
	"TEAR", "printf XXXX >> incident/wal/0000000000000000.wal",
	"SEGMENTS", "auditsql export > all; AUDITSQL_DIR=./cut; auditsql init --segment-bytes 8192; auditsql import all",
)

// jsonUnseen are kinds of members that no example shows: they depend on the build, on a writer with a backlog, or on
// damage that takes more than a line to make.
var jsonUnseen = []string{
	"statistics.durable integer", "statistics.follows text", "statistics.heads list", "inbox.lost_bytes integer", "verification.tree_size null", "verification.root null",
	"lag.records integer", "lag.more boolean", "lag.oldest integer", "lag.oldest null", "ranking.lag lag", "comparison.lag lag", "count.lag lag", "timeline.lag lag", "impact.lag lag", "downstream.lag lag", "origins.cut text",
	"log.earlier earlier log", "earlier log.origin text", "earlier log.verifier_key text", "earlier log.checkpoint text", "earlier log.checkpoint null",
	"earlier log.reason text", "earlier log.at time",
	"ranked.subjects null", "ranked.confidence null", "version.revision text", "version.revision null", "version.sqlite_driver null", "version.sqlite_driver text",
	"refused record.offset integer", "refused record.bytes integer", "refused record.reason text",
	"damaged range.refused refused record", "repair.unknown text", "backup.problems text", "backup.notes text",
}

// The page about JSON has every command, and every member with its kind: what is not on it is not printed, what is on
// it is, and each kind that a member may have is seen.
func TestTheJSONIsAsDocumented(t *testing.T) {
	if testing.Short() {
		t.Skip("dozens of processes, which take long to start under the race detector")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "json.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := readJSONPage(t, string(text))
	page.hasEveryCommand(t)
	evidence := os.DirFS(goldenEvidence(t))
	t.Chdir(t.TempDir())
	t.Setenv("AUDITSQL_DIR", "./incident")
	t.Setenv("GORACE", withoutNap)
	t.Setenv(testTime, noon.Format(time.RFC3339Nano))
	shell(t, "auditsql demo --keep ./made/incident > /dev/null")
	if err := os.CopyFS("made/evidence", evidence); err != nil {
		t.Fatal(err)
	}
	for _, command := range page.commands {
		if len(jsonExamples[command.name]) == 0 {
			t.Errorf("there is no example of %s", command.name)
		}
		for i, example := range jsonExamples[command.name] {
			page.check(t, example+" -o json: ", "", command.json, runJSON(t, example, tui.JSON))
			if i == 0 {
				page.check(t, example+" -o ndjson: ", "", "list of "+command.line, runJSON(t, example, tui.NDJSON))
			}
		}
	}
	for name, members := range page.shapes {
		for _, m := range members {
			for kind := range strings.SplitSeq(m.kind, " or ") {
				shown := name + "." + m.name + " " + strings.TrimPrefix(kind, "list of ")
				if !page.seen[shown] && !slices.Contains(jsonUnseen, shown) {
					t.Errorf("no example shows %s", shown)
				}
			}
		}
	}
}

// jsonPage is docs/json.md.
type jsonPage struct {
	commands []jsonCommand
	shapes   map[string][]jsonMember
	silent   string          // the names of commands without JSON
	seen     map[string]bool // "shape.member kind"
}

type jsonCommand struct{ name, json, line string }

type jsonMember struct{ name, kind string }

var (
	jsonLink    = regexp.MustCompile(`\[([^]]+)\]\(#([a-z-]+)\)`)
	jsonHeading = regexp.MustCompile(`^## (.+)$`)
	jsonSilent  = regexp.MustCompile(`print no JSON: ([^.]*)\.`)
	jsonRow     = regexp.MustCompile("^\\| `([^`]+)` \\| ([^|]+) \\| ([^|]+) \\|$")
)

func readJSONPage(t *testing.T, text string) *jsonPage {
	t.Helper()
	p := &jsonPage{shapes: map[string][]jsonMember{}, seen: map[string]bool{}}
	if silent := jsonSilent.FindStringSubmatch(text); silent != nil {
		p.silent = silent[1]
	}
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if heading := jsonHeading.FindStringSubmatch(line); heading != nil {
			section = heading[1]
		}
		row := jsonRow.FindStringSubmatch(line)
		if row == nil {
			continue
		}
		kind := jsonLink.ReplaceAllString(row[2], "$1")
		if section == "Which command prints what" {
			p.commands = append(p.commands, jsonCommand{row[1], kind, jsonLink.ReplaceAllString(row[3], "$1")})
			continue
		}
		if slices.ContainsFunc(p.shapes[section], func(m jsonMember) bool { return m.name == row[1] }) {
			t.Errorf("%s has %s twice", section, row[1])
		}
		p.shapes[section] = append(p.shapes[section], jsonMember{row[1], kind})
	}
	for _, link := range jsonLink.FindAllStringSubmatch(text, -1) {
		if len(p.shapes[link[1]]) == 0 || strings.ReplaceAll(link[1], " ", "-") != link[2] {
			t.Errorf("%s leads nowhere", link[0])
		}
	}
	return p
}

// hasEveryCommand looks for each command in the table, or among those that print no JSON.
func (p *jsonPage) hasEveryCommand(t *testing.T) {
	t.Helper()
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		name := strings.TrimPrefix(c.CommandPath(), "auditsql ")
		switch {
		case strings.Contains(p.silent, "`"+name+"`"):
		case c.HasSubCommands():
			for _, below := range c.Commands() {
				walk(below)
			}
		case !slices.ContainsFunc(p.commands, func(o jsonCommand) bool { return o.name == name }):
			t.Errorf("%s is not on the page", name)
		}
	}
	walk(new(app).root())
}

// runJSON runs an example in a folder of its own and returns what its last command prints: a value, or for NDJSON the
// list of its lines.
func runJSON(t *testing.T, example string, form tui.Form) any {
	t.Helper()
	script := jsonSetups.Replace(example)
	at := strings.LastIndex(script, "auditsql ")
	script = "export AUDITSQL_DIR\nset -e\n{ :; " + script[:at] + "\n} > /dev/null\n" + script[at:] + " -o " + string(form)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("made")); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "sh", "-c", script)
	c.Dir = dir
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() == exitUsage || len(out) == 0) {
		t.Fatalf("%s: %v: %s", example, err, &said)
	}
	decode := json.NewDecoder(bytes.NewReader(out))
	decode.UseNumber()
	list := []any{}
	for decode.More() {
		var value any
		if err := decode.Decode(&value); err != nil {
			t.Fatalf("%s: %v: %s", example, err, out)
		}
		list = append(list, value)
	}
	if form == tui.NDJSON {
		if lines := bytes.Count(out, []byte("\n")); lines != len(list) {
			t.Errorf("%s -o ndjson prints %d values on %d lines", example, len(list), lines)
		}
		return list
	}
	if len(list) != 1 {
		t.Fatalf("%s -o %s prints %d values: %s", example, form, len(list), &said)
	}
	return list[0]
}

// check holds a value against its kind. member is what it is the value of, "" at the top.
func (p *jsonPage) check(t *testing.T, where, member, kind string, value any) {
	t.Helper()
	for one := range strings.SplitSeq(kind, " or ") {
		of, isList := strings.CutPrefix(one, "list of ")
		if isList {
			elements, ok := value.([]any)
			if !ok {
				continue
			}
			for _, e := range elements {
				p.check(t, where+"[]", member, of, e)
			}
			return
		}
		if p.is(t, where, one, value) {
			if member != "" {
				p.seen[member+" "+one] = true
			}
			return
		}
	}
	t.Errorf("%s is no %s: %v", where, kind, value)
}

var (
	jsonHash    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	jsonInteger = regexp.MustCompile(`^[0-9]+$`)
)

// is says whether a value is of a kind that is no list. Of a shape it checks the members.
func (p *jsonPage) is(t *testing.T, where, kind string, value any) bool {
	t.Helper()
	text, isText := value.(string)
	number, isNumber := value.(json.Number)
	object, isObject := value.(map[string]any)
	switch kind {
	case "hash":
		return isText && jsonHash.MatchString(text)
	case "time":
		_, err := time.Parse(time.RFC3339, text)
		return isText && err == nil
	case "text":
		return isText
	case "integer":
		return isNumber && jsonInteger.MatchString(number.String())
	case "number":
		return isNumber
	case "boolean":
		_, is := value.(bool)
		return is
	case "null":
		return value == nil
	case "object":
		return isObject
	case "any":
		return true
	case "left out":
		return false
	}
	members := p.shapes[kind]
	if len(members) == 0 {
		t.Fatalf("%s: the page does not say what %q is", where, kind)
	}
	if !isObject {
		return false
	}
	for _, m := range members {
		v, has := object[m.name]
		switch {
		case has:
			p.check(t, where+"."+m.name, kind+"."+m.name, m.kind, v)
		case strings.HasSuffix(m.kind, " or left out"):
			p.seen[kind+"."+m.name+" left out"] = true
		default:
			t.Errorf("%s lacks %s, which the page has of %s", where, m.name, kind)
		}
		delete(object, m.name)
	}
	for name := range object {
		t.Errorf("%s has %s, which the page does not have of %s", where, name, kind)
	}
	return true
}
