package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/queries"
)

// walked are the named queries that walk through a table in the order of an index, or of admission, up to their
// limit, or that are about a small table as a whole.
var walked = map[string]string{
	"recent": "SCAN a USING INDEX audit_by_time", "tail": "SCAN a", "export": "SCAN entry",
	"rejected": "SCAN rejected", "stats": "SCAN store",
}

// smallTables are those that may be read as a whole: agents and labels are few.
var smallTables = regexp.MustCompile(`^SCAN (g|l|label|CONSTANT ROW|\(subquery-\d+\)|SUBQUERY \d+)( |$)`)

// A query that names something finds it by an index, in this program and in the shell that people have. One that
// has to look at everything of a time says so, and uses the index of time.
func TestNamedQueriesFindTheirIndex(t *testing.T) {
	t.Parallel()
	path := demoDatabase(t)
	clients := map[string]func(query string) (string, error){"library": func(query string) (string, error) { return planInLibrary(path, query) }}
	if _, err := exec.LookPath("sqlite3"); err == nil {
		clients["shell"] = func(query string) (string, error) {
			out, err := exec.CommandContext(t.Context(), "sqlite3", "-readonly", "-bail", path, query).CombinedOutput()
			return string(out), err
		}
	} else if os.Getenv("CI") == "true" {
		t.Fatal("the sqlite3 shell is missing")
	}
	for name, plan := range clients {
		t.Run(name, func(t *testing.T) {
			for _, q := range queries.All() {
				got, err := plan("EXPLAIN QUERY PLAN " + pasted(&q))
				if err != nil {
					t.Errorf("%s: %v: %s", q.Name, err, got)
					continue
				}
				checkPlan(t, &q, got)
			}
		})
	}
}

// demoDatabase is the database of a closed store with the demo's records.
func demoDatabase(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	db, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range demoRecords() {
		if _, err := db.PutAudit(context.Background(), q); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "audit.db")
}

func planInLibrary(path, query string) (string, error) {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return "", err
	}
	defer db.Close()
	rows, err := db.Query(query)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			return "", err
		}
		fmt.Fprintln(&plan, detail)
	}
	return plan.String(), rows.Err()
}

// pasted is a query with values in place of its parameters, as somebody would paste it into a shell.
func pasted(q *queries.Query) string {
	var text strings.Builder
	for line := range strings.Lines(q.Text) {
		if !strings.HasPrefix(line, "--") {
			text.WriteString(line)
		}
	}
	query := text.String()
	for _, p := range q.Parameters {
		value := "5"
		if p.Kind == queries.Text || p.Kind == queries.Choice || p.Kind.IsHash() {
			value = "'" + strings.Repeat("ab", 32) + "'"
		}
		query = regexp.MustCompile(":"+p.Name+`\b`).ReplaceAllString(query, value)
	}
	return query
}

func checkPlan(t *testing.T, q *queries.Query, plan string) {
	t.Helper()
	timed := strings.Contains(plan, "audit_by_time (timestamp>? AND timestamp<?)")
	if says := strings.Contains(q.About, "looks at every record"); timed && !says && !strings.Contains(q.Text, "LIMIT") && q.Name != "around" {
		t.Errorf("%s: looks at every record of a time and does not say so:\n%s", q.Name, plan)
	} else if says && !timed {
		t.Errorf("%s: says that it looks at every record, and does not by time:\n%s", q.Name, plan)
	}
	for line := range strings.Lines(plan) {
		line = strings.TrimLeft(strings.TrimSpace(line), "|-` ")
		if !strings.HasPrefix(line, "SCAN") || smallTables.MatchString(line) {
			continue
		}
		if allowed := walked[q.Name]; allowed == "" || !strings.HasPrefix(line, allowed) {
			t.Errorf("%s: %s in its plan:\n%s", q.Name, line, plan)
		}
	}
}

// What the named queries answer about the demo's incident.
func TestNamedQueriesAnswer(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", demoDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	payment := demoPayment()
	id, err := payment.ID()
	if err != nil {
		t.Fatal(err)
	}
	wrong, planner := demoHash("assertion", demoFalse).String(), demoHash("agent", "planner").String()
	start := demoStart.UnixMilli()
	hour := int64(3_600_000)
	for _, c := range []struct {
		name   string
		values map[string]any
		column int
		want   string
	}{
		{"trace", map[string]any{"id": id.String()}, 7, "3 4"}, // uses, by weight
		{"trace", map[string]any{"id": id.String()}, 6, "1 0"}, // who won
		{"beside", map[string]any{"id": id.String(), "window": 1000}, 1, id.String()},
		{"impact", map[string]any{"assertion": wrong, "from": 0, "to": start + 2*hour, "limit": 10}, 4, "0.41 0.62 0.62"},
		{"impact", map[string]any{"assertion": wrong, "from": 0, "to": start + 2*hour, "limit": 2}, 4, "0.41 0.62"},
		{"impact-source", map[string]any{"source": demoHash("source", "mail 7731").String(), "from": 0, "to": start + 2*hour, "limit": 10}, 6, "0.41 0.62 0.62"},
		{"impact-totals", map[string]any{"assertion": wrong, "from": 0, "to": start + 2*hour}, 5, "1 1 1"}, // won
		{"answers", map[string]any{"subject": "supplier/Northwind", "predicate": "payment_account", "from": 0, "to": start + 2*hour, "limit": 10}, 8, "0 1 0 0 1"},
		{"diff", map[string]any{"a": id.String(), "b": id.String()}, 2, "0.38 0.62"},
		{"silent", map[string]any{"from": start + 9*hour, "to": start + 10*hour}, 2, "*"},
		{"awake", map[string]any{"from": start + 49*60_000, "to": start + 50*60_000}, 2, "*"},
		{"timeline", map[string]any{"by": "day", "from": 0, "to": start + 2*hour}, 1, "45"},
		{"timeline", map[string]any{"by": "day", "from": 0, "to": start + 2*hour}, 2, "5"},
		{"new-sources", map[string]any{"since": start + 40*60_000, "limit": 5}, 2, "3"},
		{"new-assertions", map[string]any{"since": start + 40*60_000, "limit": 1}, 0, wrong},
		{"top-lenses", map[string]any{"from": 0, "to": start + 2*hour, "limit": 1}, 0, "Recency"},
		{"name", map[string]any{"hash": wrong}, 2, "3"},
		{"name", map[string]any{"hash": planner}, 2, "0"},
	} {
		got := answerColumn(t, db, c.name, c.values, c.column)
		if got != c.want && (c.want != "*" || got == "") {
			t.Errorf("%s %v: column %d is %q, want %q", c.name, c.values, c.column, got, c.want)
		}
	}
}

// answerColumn runs a named query and returns one column of its result, separated by blanks.
func answerColumn(t *testing.T, db *sql.DB, name string, values map[string]any, column int) string {
	t.Helper()
	if q, ok := queries.Find(name); ok {
		var args []any
		for k, v := range values {
			args = append(args, sql.Named(k, v))
		}
		rows, err := db.Query(q.Text, args...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer rows.Close()
		names, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for rows.Next() {
			row := make([]any, len(names))
			for i := range row {
				row[i] = new(any)
			}
			if err := rows.Scan(row...); err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprint(*row[column].(*any)))
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return strings.Join(out, " ")
	}
	t.Fatalf("there is no query %s", name)
	return ""
}
