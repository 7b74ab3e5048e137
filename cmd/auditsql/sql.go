package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
	"github.com/auditsql/auditsql/sqlstore"
)

const (
	sqlLimit   = 1000
	sqlTimeout = 30 * time.Second
)

type sqlOptions struct {
	list, show bool
	params     []string
	limit      int
	timeout    durationFlag
}

func (a *app) sqlCommand() *cobra.Command {
	o := sqlOptions{timeout: durationFlag{sqlTimeout}}
	cmd := &cobra.Command{
		Use:   "sql [QUERY | NAME]",
		Short: "Read-only SQL over the store",
		Long: `Sql runs one SQL statement, given as its argument or on standard input, or a
query that it ships under a name (--list shows them, --show NAME prints one).
Nothing can be written. The views audits, contributions, attributes, agents
and kv_readable have hashes as hex text.

Values are bound, not pasted: -p agent=0101… gives :agent its value. In a
named query times may be written as everywhere (-p from=6h), and hashes cut to
8 or more digits or given by label.

In a statement of your own a value is a text, unless SQLite would write it so
if it were a number: 42, -7 and 0.5 are numbers, 007, 1.10, 2.0, .5 and 1e3 are
texts. -p v:text=42, -p v:int=007 and -p v:real=1.10 say it otherwise.

At most --limit rows are printed, and --timeout ends a statement that takes
too long; both are said when they cut. A text or blob of more than 32 MiB ends
it too. The same SQL works in a shell: sqlite3
-readonly DIR/audit.db.`,
		Example: `  auditsql sql 'SELECT subject, count(*) AS n FROM audits GROUP BY 1'
  auditsql sql --list
  auditsql sql around -p at=2026-11-23T10:00 -p window=15m
  auditsql sql 'SELECT * FROM audits WHERE agent_id = :agent' -p agent="$AGENT"
  auditsql sql 'SELECT * FROM attributes WHERE value = :v' -p v:text=42`,
		Args: arguments(0, 1, "one statement, quoted for the shell"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.limit < 0 {
				return usage("--limit %d: want 0 for no limit, or more", o.limit)
			}
			queries, err := namedQueries()
			switch {
			case err != nil:
				return err
			case o.list:
				return a.listQueries(queries)
			case o.show:
				return a.showQuery(queries, args)
			}
			return a.sql(cmd.Context(), queries, args, o)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			queries, _ := namedQueries()
			var names []string
			for _, q := range queries {
				names = append(names, q.name+"\t"+q.about)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.list, "list", false, "show the named queries")
	flags.BoolVar(&o.show, "show", false, "print a named query instead of running it")
	flags.StringArrayVarP(&o.params, "param", "p", nil, "a parameter, `NAME=VALUE` or NAME:TYPE=VALUE with text, int or real; may be repeated")
	flags.IntVar(&o.limit, "limit", sqlLimit, "at most so many rows; 0 is no limit")
	flags.Var(&o.timeout, "timeout", "how long a statement may take; 0 is no limit")
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

func (a *app) listQueries(queries []namedQuery) error {
	if a.form("") == tui.Table {
		return a.pageQueries(queries)
	}
	out := a.rows(a.form(""), tui.Column{Name: "name"}, tui.Column{Name: "parameters"}, tui.Column{Name: "about"})
	for i := range queries {
		q := &queries[i]
		parameters := q.describe()
		if out.Form == tui.Plain {
			parameters = tui.Text(q.synopsis())
		}
		if err := out.Add(tui.Text(q.name), parameters, tui.Text(q.about)); err != nil {
			return err
		}
	}
	return out.End()
}

// pageQueries is the list for people: sentences fold where a table would cut them.
func (a *app) pageQueries(queries []namedQuery) error {
	var entries []tui.Entry
	for i := range queries {
		q := &queries[i]
		about := q.about
		if s := q.synopsis(); s != "" {
			about += "\n" + s
		}
		entries = append(entries, tui.Entry{Name: q.name, About: about})
	}
	p := a.screen().Page()
	p.List(entries)
	p.Head("next", "")
	p.Note("auditsql sql NAME -p k=v  runs one; what is in brackets may be left out")
	p.Note("auditsql sql --show NAME  prints it")
	return p.End()
}

func (a *app) showQuery(queries []namedQuery, args []string) error {
	if len(args) == 0 {
		return usage("--show wants the name of a query")
	}
	for _, q := range queries {
		if q.name == args[0] {
			return a.copyOut(q.text)
		}
	}
	return unknownQuery(args[0], queries)
}

// errTimeLimit is why a statement was ended.
var errTimeLimit = errors.New("it took too long")

func (a *app) sql(ctx context.Context, queries []namedQuery, args []string, o sqlOptions) error {
	query, described, err := a.statement(ctx, queries, args)
	if err != nil {
		return err
	}
	statement, names, err := positional(query)
	if err != nil {
		return usage("%w", err)
	}
	given, err := givenParameters(o.params)
	if err != nil {
		return err
	}
	// What is missing or no time is told before the store is opened.
	c, err := a.earlyClock()
	if err != nil {
		return err
	}
	if _, err := bind(names, described, given, c, shaped); err != nil {
		return err
	}

	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	values, err := bind(names, described, given, r.clock, r.finder(ctx))
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	store, err := sqlstore.Open(ctx, filepath.Join(a.dir, "audit.db"), sqlstore.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer store.Close()
	// From here on: the limit is the statement's, and opening may take as long as it takes.
	if o.timeout.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.timeout.Duration, errTimeLimit)
		defer cancel()
	}
	if err = a.wholeTables(ctx, store); err == nil {
		// The state that the statement sees lies between this look and the next one.
		err = a.runSQL(ctx, store, statement, values, o.limit)
		if whole := a.wholeTables(ctx, store); errors.Is(whole, audit.ErrReindexing) {
			err = whole // also why a view was not there
		}
	}
	if errors.Is(err, sqlstore.ErrTooLong) {
		return trying(err, "a part of it, as in substr(value, 1, 1000)")
	}
	if err != nil && errors.Is(context.Cause(ctx), errTimeLimit) {
		return trying(fmt.Errorf("stopped after %s, the result is not whole", when.FormatDuration(o.timeout.Duration)),
			"--timeout %s", when.FormatDuration(10*o.timeout.Duration))
	}
	return err
}

// statement is the SQL to run, and the parameters of a query that ships with this program.
func (a *app) statement(ctx context.Context, queries []namedQuery, args []string) (string, []parameter, error) {
	if len(args) == 0 || args[0] == "-" {
		if a.inTerm {
			a.note("reading SQL from the terminal; end it with Ctrl-D")
		}
		input, err := readAll(ctx, a.in, longestLine)
		switch {
		case err != nil:
			return "", nil, err
		case strings.TrimSpace(string(input)) == "":
			return "", nil, usage("there is no statement, neither as an argument nor on standard input")
		}
		return string(input), nil, nil
	}
	query := strings.TrimSpace(args[0])
	for _, q := range queries {
		if q.name == query {
			return q.text, q.parameters, nil
		}
	}
	switch {
	case query == "":
		return "", nil, usage("the statement is empty")
	case strings.HasPrefix(query, "."):
		return "", nil, trying(usage("%q belongs to the sqlite3 shell", query), "sqlite3 -readonly %s", shellQuote(filepath.Join(a.dir, "audit.db")))
	case !strings.ContainsAny(query, " \t\r\n(*;"):
		return "", nil, unknownQuery(query, queries)
	}
	return query, nil, nil
}

// readAll reads an input that is expected to be small.
func readAll(ctx context.Context, in io.Reader, most int64) ([]byte, error) {
	type outcome struct {
		input []byte
		err   error
	}
	// A read cannot be called back: when a signal comes, the run ends without this goroutine.
	done := make(chan outcome, 1)
	go func() {
		input, err := io.ReadAll(io.LimitReader(in, most+1))
		done <- outcome{input, err}
	}()
	select {
	case got := <-done:
		if got.err == nil && int64(len(got.input)) > most {
			got.err = fmt.Errorf("longer than %d MiB", most>>20)
		}
		if got.err != nil {
			return nil, fmt.Errorf("standard input: %w", got.err)
		}
		return got.input, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// wholeTables fails while the forensic tables are being built anew: what is in them is a part, and looks like the whole.
func (a *app) wholeTables(ctx context.Context, store *sqlstore.DB) error {
	begun, err := store.Reindexing(ctx)
	if err == nil && begun {
		err = audit.ErrReindexing
	}
	return err
}

func (a *app) runSQL(ctx context.Context, store *sqlstore.DB, statement string, values []any, limit int) error {
	result, err := store.QueryRows(ctx, statement, values...)
	if err != nil {
		return err
	}
	defer result.Close()
	names, err := result.Columns()
	if err != nil {
		return err
	}
	columns := make([]tui.Column, len(names))
	seen := map[string]int{}
	for i, name := range names {
		// Two columns of one name would be two members of one name in JSON.
		seen[name]++
		if n := seen[name]; n > 1 {
			name = fmt.Sprintf("%s:%d", name, n-1)
		}
		columns[i] = tui.Column{Name: name, Flexible: true, Least: 12, Rank: i}
	}
	out := a.rows(a.form(""), columns...)
	cut := false
	for result.Next() {
		if limit > 0 && out.N() == uint64(limit) {
			cut = true
			break
		}
		values, err := result.SliceScan()
		if err != nil {
			return errors.Join(err, out.End())
		}
		cells := make([]tui.Cell, len(values))
		for i, v := range values {
			cells[i] = sqlCell(v)
			if cells[i].Kind == tui.Literal {
				// Of a number nothing is cut.
				out.Columns[i].Right, out.Columns[i].Flexible = true, false
			}
		}
		if err := out.Add(cells...); err != nil {
			return err
		}
	}
	if err := errors.Join(result.Err(), out.End()); err != nil {
		return err
	}
	if cut {
		fmt.Fprintf(a.err, "(cut at --limit %d, there are more)\n", limit)
	}
	return nil
}

// sqlCell is a value as SQLite has it: bytes become hex digits.
func sqlCell(v any) tui.Cell {
	switch v := v.(type) {
	case nil:
		return tui.Cell{}
	case int64:
		return tui.Number(v)
	case float64:
		return tui.Number(v)
	case bool:
		return tui.Bool(v)
	case string:
		return tui.Text(v)
	case []byte:
		return tui.Text(hex.EncodeToString(v))
	case time.Time:
		return tui.Text(v.Format(time.RFC3339Nano))
	}
	return tui.Text(fmt.Sprint(v))
}
