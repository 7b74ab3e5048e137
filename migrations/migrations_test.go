package migrations_test

import (
	"database/sql"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite"

	"github.com/auditsql/auditsql/migrations"
)

func TestEveryMigrationSetsItsVersion(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil || len(files) != migrations.Newest {
		t.Fatalf("files are %q, %v; the newest is %d", files, err, migrations.Newest)
	}
	db, p := newDatabase(t)
	for i, f := range files {
		version := i + 1
		if !strings.HasPrefix(f, fmt.Sprintf("%05d_", version)) {
			t.Errorf("migration %d is %s", version, f)
		}
		if _, err := p.UpTo(t.Context(), int64(version)); err != nil {
			t.Fatal(err)
		}
		if got := pragma(t, db, "user_version"); got != version {
			t.Errorf("%s sets user_version %d", f, got)
		}
	}
	if got := pragma(t, db, "application_id"); got != migrations.ApplicationID {
		t.Errorf("application_id is %#x", got)
	}
}

// The views' columns are what people have in their queries.
func TestViewsHaveTheirColumns(t *testing.T) {
	t.Parallel()
	db, p := newDatabase(t)
	if _, err := p.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	for view, columns := range map[string]string{
		"audits":        "idx, query_id, agent_id, timestamp, time, subject, predicate, lifecycle, epoch, lens, result_hash, result_confidence, contributions, agent_label",
		"contributions": "query_id, agent_id, timestamp, time, position, assertion_hash, weight, source_hash, lifecycle, idx, agent_label, assertion_label, source_label",
		"attributes":    "query_id, timestamp, time, key, value, idx",
		"agents":        "agent_id, label, audits, first, last, first_time, last_time",
		"answers":       "idx, query_id, agent_id, timestamp, time, subject, predicate, lens, result_hash, result_confidence, previous_id, previous_result, flipped, agent_label",
		"labels":        "hash, label",
		"kv_readable":   "family, query_id, agent_id, timestamp, value, key",
	} {
		rows, err := db.Query("SELECT * FROM " + view)
		if err != nil {
			t.Fatal(err)
		}
		names, err := rows.Columns()
		rows.Close()
		if got := strings.Join(names, ", "); err != nil || got != columns {
			t.Errorf("%s has %s, %v; want %s", view, got, err, columns)
		}
	}
}

// .schema is where people look what a column means.
func TestTablesExplainThemselves(t *testing.T) {
	t.Parallel()
	db, p := newDatabase(t)
	if _, err := p.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := schema(t, db)
	for _, table := range []string{"kv", "entry", "rejected", "label", "store", "audit", "contribution", "attribute", "agent", "tile", "edge", "activity",
		"audits", "contributions", "attributes", "agents", "answers", "labels", "kv_readable"} {
		if !strings.Contains(s[table], "--") {
			t.Errorf("%s has no comment", table)
		}
	}
}

func newDatabase(t *testing.T) (*sql.DB, *goose.Provider) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "audit.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	p, err := goose.NewProvider(goose.DialectSQLite3, db, migrations.FS,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		t.Fatal(err)
	}
	return db, p
}

func pragma(t *testing.T, db *sql.DB, name string) (value int) {
	t.Helper()
	if err := db.QueryRow("PRAGMA " + name).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// schema returns the SQL of every table, index, view and trigger by name.
func schema(t *testing.T, db *sql.DB) map[string]string {
	t.Helper()
	rows, err := db.Query(`SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			t.Fatal(err)
		}
		out[name] = text
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}
