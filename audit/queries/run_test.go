package queries_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/audit/queries"
	"github.com/auditsql/auditsql/internal/sequential"
)

// rows writes a result down.
type rows struct{ columns, rows []string }

func (r *rows) Columns(names []string) error {
	r.columns = names
	return nil
}

func (r *rows) Row(values []any) error {
	r.rows = append(r.rows, strings.TrimSpace(fmt.Sprintln(values...)))
	return nil
}

// store is a folder with a store of two records of the agent 0101….
func store(t *testing.T) (dir string, db *audit.DB) {
	t.Helper()
	dir = t.TempDir()
	db, err := audit.Open(dir, audit.WithReads(audit.Acknowledged))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	var agent audit.AgentID
	for i := range agent {
		agent[i] = 1
	}
	for i := range 2 {
		subject := fmt.Sprint("subject ", i)
		q := &audit.QueryAudit{QueryID: audit.QueryID{1, byte(i)}, AgentID: &agent, Timestamp: uint64(1000 * (i + 1)), Params: audit.QueryParams{Subject: &subject}}
		if _, err := db.PutAudit(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	// A question waits until SQLite has both.
	if _, err := ask.Hash(t.Context(), db, "01010101", audit.AgentHash, nil); err != nil {
		t.Fatal(err)
	}
	return dir, db
}

func parse(t *testing.T, sql string) *queries.Statement {
	t.Helper()
	s, err := queries.Parse(sql)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAStatementGetsItsValuesAndGivesItsRows(t *testing.T) {
	t.Parallel()
	dir, db := store(t)
	s := parse(t, "SELECT subject, timestamp AS n, :v AS n FROM audits WHERE timestamp >= :t ORDER BY 2")
	values, _, err := s.Bind(t.Context(), db, map[string]queries.Given{"v": {Text: "1.10"}, "t": {Text: "7", Type: queries.Int}}, ask.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var all, one rows
	if cut, err := queries.Run(t.Context(), dir, s, values, queries.Limits{}, &all); cut || err != nil {
		t.Errorf("cut %v, %v", cut, err)
	}
	if got := strings.Join(all.columns, ",") + " " + strings.Join(all.rows, ";"); got != "subject,n,n:1 subject 0 1000 1.10;subject 1 2000 1.10" {
		t.Errorf("got %s", got)
	}
	if cut, err := queries.Run(t.Context(), dir, s, values, queries.Limits{Rows: 1}, &one); !cut || err != nil || len(one.rows) != 1 {
		t.Errorf("one row: cut %v, %v, %q", cut, err, one.rows)
	}
	if cut, err := queries.Run(t.Context(), dir, s, values, queries.Limits{Rows: 2}, &rows{}); cut || err != nil {
		t.Errorf("two rows: cut %v, %v", cut, err)
	}
}

func TestANamedQueryFindsHashesAndTimes(t *testing.T) {
	t.Parallel()
	dir, db := store(t)
	q, ok := queries.Find("agent")
	if !ok {
		t.Fatal("there is no query of an agent")
	}
	s, err := q.Statement()
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]queries.Given{"agent": {Text: "01010101"}, "from": {Text: "1970-01-01T00:00:02"}}
	if err := s.Check(given, ask.Options{}); err != nil {
		t.Fatal(err)
	}
	values, _, err := s.Bind(t.Context(), db, given, ask.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got rows
	if _, err := queries.Run(t.Context(), dir, s, values, queries.Limits{Rows: queries.DefaultRows, Time: queries.DefaultTime}, &got); err != nil || len(got.rows) != 1 || !strings.Contains(got.rows[0], "subject 1") {
		t.Errorf("got %q, %v", got.rows, err)
	}
}

// A value that is refused names its parameter, and is refused without a store where that can be.
func TestValuesThatAreRefused(t *testing.T) {
	t.Parallel()
	_, db := store(t)
	for _, test := range []struct {
		query     string
		values    map[string]queries.Given
		parameter string
		want      string
		late      bool
	}{
		{"agent", nil, "agent", "is missing: ", false},
		{"agent", map[string]queries.Given{"agent": {Text: "02020202"}}, "agent", "no agent begins with that", true},
		{"agent", map[string]queries.Given{"agent": {Text: "01010101"}, "colour": {}}, "colour", "there is no parameter :colour", false},
		{"agent", map[string]queries.Given{"agent": {Text: "01010101", Type: queries.Text}}, "agent", "its own kinds", false},
		{"agent", map[string]queries.Given{"agent": {Text: "01010101"}, "limit": {Text: "x"}}, "limit", "want a whole number", false},
		{"trace", map[string]queries.Given{"id": {Text: "0101"}}, "id", "too short", false},
		{"trace", map[string]queries.Given{"id": {Text: "ffffffff"}}, "id", "no such record", true},
		{"around", map[string]queries.Given{"at": {Text: "noon"}}, "at", "is no time", false},
		{"around", map[string]queries.Given{"at": {Text: "now"}, "window": {Text: "long"}}, "window", "no length of time", false},
	} {
		q, ok := queries.Find(test.query)
		if !ok {
			t.Fatalf("there is no query %s", test.query)
		}
		s, err := q.Statement()
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = s.Bind(t.Context(), db, test.values, ask.Options{Now: time.Unix(1e9, 0)})
		var refused *ask.Error
		if !errors.As(err, &refused) || refused.Parameter != test.parameter || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %v: got %v, want %s", test.query, test.values, err, test.want)
		}
		if early := s.Check(test.values, ask.Options{Now: time.Unix(1e9, 0)}); (early != nil) == test.late {
			t.Errorf("%s %v: checked without a store: %v", test.query, test.values, early)
		}
	}
}

// Whatever the value of a parameter is, a named query refuses it as an *ask.Error or takes it: SQLite never gets a value that
// it cannot use where the query has it.
func TestNamedQueriesRefuseValuesOfAnotherKind(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	dir, db := store(t)
	good := map[queries.Kind]string{
		queries.Text: "x", queries.Count: "1", queries.Real: "0.5", queries.Time: "0", queries.End: "9", queries.Duration: "1s",
		queries.ID: "0100000000000000", queries.Agent: "01010101", queries.Assertion: strings.Repeat("02", 32), queries.Source: strings.Repeat("03", 32), queries.Hash: "01010101",
	}
	for _, q := range queries.All() {
		s, err := q.Statement()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range q.Parameters {
			for _, odd := range []string{"", "0", "1", "-1", "0.5", "-0.5", "1e3", "1e999", "NaN", "Inf", "0x10", "1_000", "9223372036854775807", "9223372036854775808", "NULL", "'", "hour", "ever", "now", "1s"} {
				given := map[string]queries.Given{p.Name: {Text: odd}}
				for _, other := range q.Parameters {
					if other.Name != p.Name && !other.Optional {
						given[other.Name] = queries.Given{Text: good[other.Kind]}
					}
				}
				values, _, err := s.Bind(t.Context(), db, given, ask.Options{Now: time.Unix(1e9, 0)})
				var refused *ask.Error
				if errors.As(err, &refused) && refused.Parameter == p.Name {
					continue
				}
				if err != nil {
					t.Fatalf("%s %s=%q: %v", q.Name, p.Name, odd, err)
				}
				if _, err := queries.Run(t.Context(), dir, s, values, queries.Limits{}, &rows{}); err != nil {
					t.Errorf("%s %s=%q: %v", q.Name, p.Name, odd, err)
				}
			}
		}
	}
}

func TestNothingIsWritten(t *testing.T) {
	t.Parallel()
	dir, _ := store(t)
	for _, sql := range []string{"DELETE FROM kv", "PRAGMA user_version = 9", "ATTACH 'other.db' AS other", "WITH x AS (SELECT 1) DELETE FROM kv"} {
		if _, err := queries.Run(t.Context(), dir, parse(t, sql), nil, queries.Limits{Rows: queries.DefaultRows, Time: queries.DefaultTime}, &rows{}); !errors.Is(err, queries.ErrWrites) {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestAStatementEndsAtItsLimitOfTime(t *testing.T) {
	t.Parallel()
	dir, _ := store(t)
	s := parse(t, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")
	var timeout *queries.TimeoutError
	if _, err := queries.Run(t.Context(), dir, s, nil, queries.Limits{Time: time.Millisecond}, &rows{}); !errors.As(err, &timeout) || timeout.After != time.Millisecond {
		t.Errorf("got %v", err)
	}
}

func TestEachColumnHasANameOfItsOwn(t *testing.T) {
	t.Parallel()
	dir, _ := store(t)
	for text, want := range map[string][]string{
		`SELECT 1 AS n, 2 AS n, 3 AS n`:         {"n", "n:1", "n:2"},
		`SELECT 1 AS n, 2 AS "n:1", 3 AS n`:     {"n", "n:1", "n:2"},
		`SELECT 1 AS "n:1", 2 AS n, 3 AS n`:     {"n:1", "n", "n:2"},
		`SELECT 1 AS a, 2 AS b, 3 AS "a:1"`:     {"a", "b", "a:1"},
		`SELECT 1 AS a, 2 AS "a:1", 3 AS "a:1"`: {"a", "a:1", "a:1:1"},
	} {
		s, err := queries.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		var got rows
		if _, err := queries.Run(t.Context(), dir, s, nil, queries.Limits{}, &got); err != nil || !slices.Equal(got.columns, want) {
			t.Errorf("%s: %q, %v, want %q", text, got.columns, err, want)
		}
	}
}
