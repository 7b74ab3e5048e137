package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/audit/queries"
	"github.com/auditsql/auditsql/internal/when"
)

type sqlOptions struct {
	list, show bool
	params     []string
	limit      int
	timeout    durationFlag
}

func (a *app) sqlCommand() *cobra.Command {
	o := sqlOptions{timeout: durationFlag{Duration: queries.DefaultTime}}
	cmd := &cobra.Command{
		Use:   "sql [QUERY | NAME]",
		Short: "Read-only SQL over the store",
		Long: `Sql runs one SQL statement, given as its argument or on standard input, or a
query that has a name: --list shows these, --show NAME prints one. It only
reads; a statement that would write is refused. The views audits,
contributions, attributes, answers, agents, labels and kv_readable have hashes
as hex text. A table shows the first 8 digits of each, with the label beside it,
and 3 digits of weights and confidences; -o plain has everything.

Values are bound, not pasted: -p agent=0101… gives :agent its value. In a
named query times may be written as everywhere (-p from=6h), and hashes cut to
8 or more digits or given by label.

In a statement of your own a value is a number if SQLite would print that number
with exactly these characters, and a text otherwise: 42, -7 and 0.5 are
numbers, and 007, 1.10, 2.0, .5 and 1e3 are texts. -p v:text=42, -p v:int=007
and -p v:real=1.10 set the type.

At most --limit rows are printed, and --timeout ends a statement that takes
too long; a message says when either cuts the result. A text or blob of more
than 32 MiB ends it too. The same SQL works in a shell:
sqlite3 -readonly DIR/audit.db.`,
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
			switch {
			case o.list:
				return a.listQueries(queries.All())
			case o.show:
				return a.showQuery(args)
			}
			return a.sql(cmd.Context(), args, o)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, q := range queries.All() {
				names = append(names, q.Name+"\t"+q.About)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.list, "list", false, "show the named queries")
	flags.BoolVar(&o.show, "show", false, "print a named query instead of running it")
	flags.StringArrayVarP(&o.params, "param", "p", nil, "a parameter, `NAME=VALUE` or NAME:TYPE=VALUE with text, int or real; may be repeated")
	flags.IntVar(&o.limit, "limit", queries.DefaultRows, "at most this many rows; 0 is no limit")
	flags.Var(&o.timeout, "timeout", "how long a statement may take; 0 is no limit")
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

func (a *app) sql(ctx context.Context, args []string, o sqlOptions) error {
	s, err := a.statement(ctx, args)
	if err != nil {
		return err
	}
	given, err := givenParameters(o.params)
	if err != nil {
		return err
	}
	// What is missing or no time is refused before the store is opened.
	options, err := a.askOptions()
	if err != nil {
		return err
	}
	if err := refusal(s.Check(given, options), parameterName, nil); err != nil {
		return err
	}
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	values, notes, err := s.Bind(ctx, r.DB, given, r.askOptions())
	r.say(notes, parameterName)
	if err := errors.Join(refusal(err, parameterName, r.labels.names), r.Close()); err != nil {
		return err
	}
	out := &sqlResult{a: a, labels: r.labels}
	cut, err := queries.Run(ctx, a.dir, s, values, queries.Limits{Rows: o.limit, Time: o.timeout.Duration}, out)
	if err := errors.Join(sqlAdvice(err), out.end()); err != nil {
		return err
	}
	if cut {
		a.say("(cut at --limit %d, there are more)", o.limit)
	}
	return nil
}

// parameterName is a parameter of a statement as it is typed.
func parameterName(parameter string) string { return "-p " + parameter }

// sqlAdvice adds to an error of a statement what to try.
func sqlAdvice(err error) error {
	var timeout *queries.TimeoutError
	switch {
	case errors.Is(err, queries.ErrTooLong):
		return trying(err, "a part of it, as in substr(value, 1, 1000)")
	case errors.Is(err, queries.ErrWrites):
		// SQLite's own words are about a file that cannot be written to, which is not the reason.
		return trying(errors.New("this command only reads; the statement would write, or change a setting"), "a SELECT; put and import store records, and nothing changes or deletes one")
	case errors.As(err, &timeout):
		return trying(err, "--timeout %s", when.FormatDuration(10*timeout.After))
	}
	return err
}

// statement is the SQL to run: typed, from standard input or a named query.
func (a *app) statement(ctx context.Context, args []string) (*queries.Statement, error) {
	query := ""
	switch {
	case len(args) == 0 || args[0] == "-":
		if a.inTerm {
			a.note("reading SQL from the terminal; end it with Ctrl-D")
		}
		input, err := a.readStdin(ctx, ingest.LongestLine)
		if err != nil {
			return nil, err
		}
		if query = string(input); strings.TrimSpace(query) == "" {
			return nil, usage("there is no statement, neither as an argument nor on standard input")
		}
	default:
		query = strings.TrimSpace(args[0])
		if named, ok := queries.Find(query); ok {
			return named.Statement()
		}
		switch {
		case query == "":
			return nil, usage("the statement is empty")
		case strings.HasPrefix(query, "."):
			return nil, trying(usage("%q belongs to the sqlite3 shell", query), "sqlite3 -readonly %s", shellQuote(filepath.Join(a.dir, "audit.db")))
		case !strings.ContainsAny(query, " \t\r\n(*;"):
			return nil, unknownQuery(query)
		}
	}
	s, err := queries.Parse(query)
	if err != nil {
		return nil, usage("%w", err)
	}
	return s, nil
}

// givenParameters reads what follows each -p, NAME=VALUE or NAME:TYPE=VALUE.
func givenParameters(params []string) (map[string]queries.Given, error) {
	types := []queries.Kind{"", queries.Text, queries.Int, queries.Real}
	all := map[string]queries.Given{}
	for _, p := range params {
		name, value, found := strings.Cut(p, "=")
		name, kind, typed := strings.Cut(strings.TrimLeft(name, ":@$"), ":")
		switch _, twice := all[name]; {
		case !found || name == "":
			return nil, usage("--param %q: want NAME=VALUE", p)
		case twice:
			return nil, usage("-p %s=… was given before", name)
		case typed && (kind == "" || !slices.Contains(types, queries.Kind(kind))):
			return nil, usage("-p %s:%s=…: want text, int or real as a type", name, kind)
		}
		all[name] = queries.Given{Text: value, Type: queries.Kind(kind)}
	}
	return all, nil
}
