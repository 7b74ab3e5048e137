package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver of the pattern

	"github.com/auditsql/auditsql/migrations"
)

// CheckSchema compares the tables, indexes, views and triggers of the database with those that the migrations make.
// If a trigger was dropped, history can be rewritten, and a trigger that was added can rewrite it. A view or an
// index that was changed gives other answers. Each difference is reported as a problem, in one line. Further tables,
// indexes and views do no harm, and are reported as notes.
func (db *DB) CheckSchema(ctx context.Context, problem, note func(string)) error {
	found, err := db.schemaDifferences(ctx, db.readers)
	if err != nil {
		return db.fail("check the schema", err)
	}
	for _, d := range found {
		switch {
		case d.have == nil:
			problem(fmt.Sprintf("schema: %s is missing", d.want))
		case d.want != nil:
			problem(fmt.Sprintf("schema: %s is not what it was made as", d.have))
		case d.have.Type == "trigger":
			problem(fmt.Sprintf("schema: %s was added: it changes what is written", d.have))
		default:
			note(fmt.Sprintf("%s was added by somebody", d.have))
		}
	}
	return nil
}

// schemaObject is a row of sqlite_schema.
type schemaObject struct {
	Type, Name string
	Table      string `db:"tbl_name"`
	SQL        string
}

func (o *schemaObject) String() string {
	if o.Type == "trigger" || o.Type == "index" {
		return fmt.Sprintf("%s %q on %q", o.Type, o.Name, o.Table)
	}
	return fmt.Sprintf("%s %q", o.Type, o.Name)
}

// difference is an object that is missing (have is nil), added (want is nil) or another one.
type difference struct{ have, want *schemaObject }

func (db *DB) schemaDifferences(ctx context.Context, q sqlx.QueryerContext) ([]difference, error) {
	var version int64
	if err := sqlx.GetContext(ctx, q, &version, `SELECT user_version FROM pragma_user_version`); err != nil {
		return nil, err
	}
	have, err := readSchema(ctx, q)
	if err != nil {
		return nil, err
	}
	want, err := patternSchema(ctx, version)
	if err != nil {
		return nil, err
	}
	var found []difference
	for name, w := range want {
		if h := have[name]; h == nil || *h != *w {
			found = append(found, difference{h, w})
		}
	}
	for name, h := range have {
		if want[name] == nil {
			found = append(found, difference{have: h})
		}
	}
	slices.SortFunc(found, func(a, b difference) int {
		return cmp.Compare(cmp.Or(a.have, a.want).Name, cmp.Or(b.have, b.want).Name)
	})
	return found, nil
}

// readSchema returns the objects of a database by name, without SQLite's own, such as
// the statistics of an ANALYZE.
func readSchema(ctx context.Context, q sqlx.QueryerContext) (map[string]*schemaObject, error) {
	const query = `SELECT type, name, tbl_name, coalesce(sql, '') AS sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\'`
	var rows []*schemaObject
	if err := sqlx.SelectContext(ctx, q, &rows, query); err != nil {
		return nil, err
	}
	objects := make(map[string]*schemaObject, len(rows))
	for _, o := range rows {
		objects[strings.ToLower(o.Name)] = o
	}
	return objects, nil
}

// patternSchema returns the schema that the migrations make up to a version. It makes it in memory.
func patternSchema(ctx context.Context, version int64) (objects map[string]*schemaObject, err error) {
	err = onPattern(ctx, version, func(pool *sqlx.DB) (err error) {
		objects, err = readSchema(ctx, pool)
		return err
	})
	return objects, err
}

// onPattern calls f with a database in memory that the migrations have made up to a version.
func onPattern(ctx context.Context, version int64, f func(*sqlx.DB) error) (err error) {
	pool, err := sqlx.Open("sqlite", ":memory:")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	pool.SetMaxOpenConns(1) // each would have a memory of its own
	p, err := goose.NewProvider(goose.DialectSQLite3, pool.DB, migrations.FS,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	if version >= 1 && version <= migrations.Newest {
		_, err = p.UpTo(ctx, version)
	} else {
		_, err = p.Up(ctx)
	}
	if err != nil {
		return fmt.Errorf("make the schema to compare with: %w", err)
	}
	return f(pool)
}

// restoreGuards makes the wanted triggers, indexes and views anew that are missing or not what the migrations make. Tables
// stay as they are: their rows cannot be made again. It runs in a transaction.
func (db *DB) restoreGuards(ctx context.Context, w *writer, wanted func(*schemaObject) bool) error {
	found, err := db.schemaDifferences(ctx, w.conn)
	if err != nil {
		return err
	}
	missing := map[string]bool{} // tables
	for _, d := range found {
		if d.have == nil && d.want.Type == "table" {
			missing[d.want.Name] = true
		}
	}
	for _, d := range found {
		if d.want == nil || missing[d.want.Table] || d.want.Type == "table" || d.have != nil && d.have.Type != d.want.Type || !wanted(d.want) {
			continue
		}
		if d.have != nil {
			// The names are the migrations' own.
			if _, err := w.conn.ExecContext(ctx, "DROP "+d.want.Type+" "+d.want.Name); err != nil {
				return err
			}
		}
		if _, err := w.conn.ExecContext(ctx, d.want.SQL); err != nil {
			return fmt.Errorf("make %s: %w", d.want, err)
		}
	}
	return nil
}

// pattern is the derived tables with all that belongs to them, and the derived views, as the migrations make them, and the planner's statistics.
type pattern struct {
	derived []*schemaObject // tables first
	planner []plannerRow
}

// plannerRow is a row of sqlite_stat1.
type plannerRow struct{ Tbl, Idx, Stat string }

func readPattern(ctx context.Context) (p pattern, err error) {
	err = onPattern(ctx, migrations.Newest, func(pool *sqlx.DB) error {
		all, err := readSchema(ctx, pool)
		if err != nil {
			return err
		}
		for _, o := range all {
			if slices.Contains(derivedTables, o.Table) || slices.Contains(derivedViews, o.Name) {
				p.derived = append(p.derived, o)
			}
		}
		slices.SortFunc(p.derived, func(a, b *schemaObject) int {
			return cmp.Or(boolCompare(a.Type != "table", b.Type != "table"), cmp.Compare(a.Name, b.Name))
		})
		return pool.SelectContext(ctx, &p.planner, `SELECT tbl, idx, stat FROM sqlite_stat1`)
	})
	return p, err
}

// remakeTables makes the tables anew that somebody has dropped and that may be empty, with their indexes and triggers.
func (w *writer) remakeTables(ctx context.Context) error {
	missing, err := missingTables(ctx, w.conn)
	if err != nil || len(missing) == 0 {
		return err
	}
	want, err := patternSchema(ctx, int64(migrations.Newest))
	if err != nil {
		return err
	}
	return w.make(ctx, want, missing)
}

// remakeDerivedOf makes the derived tables of a version anew that somebody has dropped: a migration may change one of them. They stay
// empty, so a Reindex is due.
func (w *writer) remakeDerivedOf(ctx context.Context, version int) error {
	const tables = `SELECT name FROM sqlite_schema WHERE type = 'table'`
	want, err := patternSchema(ctx, int64(version))
	if err != nil {
		return err
	}
	var have, missing []string
	if err := w.conn.SelectContext(ctx, &have, tables); err != nil {
		return err
	}
	for _, name := range derivedTables {
		if want[name] != nil && !slices.Contains(have, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	// The mark comes first: an empty table does not show that a Reindex is due.
	if err := w.tx(ctx, func() error { return w.markReindex(ctx) }); err != nil {
		return err
	}
	return w.make(ctx, want, missing)
}

// make makes tables with their indexes and triggers.
func (w *writer) make(ctx context.Context, want map[string]*schemaObject, missing []string) error {
	// Tables first: the others belong to them.
	objects := slices.SortedFunc(maps.Values(want), func(a, b *schemaObject) int {
		return cmp.Or(boolCompare(a.Type != "table", b.Type != "table"), cmp.Compare(a.Name, b.Name))
	})
	return w.tx(ctx, func() error {
		for _, o := range objects {
			if !slices.Contains(missing, o.Table) || o.SQL == "" {
				continue
			}
			if _, err := w.conn.ExecContext(ctx, o.SQL); err != nil {
				return fmt.Errorf("make %s: %w", o, err)
			}
		}
		return nil
	})
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
