package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) getCommand() *cobra.Command {
	var raw bool
	var moment filterFlags
	cmd := &cobra.Command{
		Use:   "get ID…",
		Short: "Records in full, by their ids",
		Long: `Get prints records in full: what was asked, what was answered, and on which
evidence. An id may be cut to its first 8 or more digits when only one record
begins with them.

On a terminal each record is laid out for reading. Plain text has a line for
each value, with the name and a tab before it, and an empty line between
records. -o ndjson is the canonical JSON of each record, and -o json a list of
these. --raw prints the stored bytes of one record and nothing else, so that
their hash can be computed; on a terminal a line end follows. Of several records
each has a line of its own.

The exit code is 3 when an id was not found (the others are printed), and 2 when
several records begin with the digits. With --as-of a record that came later is
not found.`,
		Example: `  auditsql get 498d156c
  auditsql get 498d156c -o ndjson | jq .contributing_assertions
  auditsql get 498d156c --raw >record.json`,
		Args: arguments(1, anyNumber, "an id, or the first 8 or more digits of one,"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if raw && (a.output != "" || a.json) {
				return usage("--raw prints what is stored, and takes no form of output")
			}
			return a.get(cmd.Context(), args, raw, &moment)
		},
		ValidArgsFunction: completeNothing,
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "print the stored bytes")
	moment.registerMoment(a, cmd)
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

func (a *app) get(ctx context.Context, args []string, raw bool, moment *filterFlags) error {
	for _, arg := range args {
		if err := checkPrefix(arg); err != nil {
			return err
		}
	}
	if err := moment.check(a); err != nil {
		return err
	}
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	defer r.Close()

	filter, err := moment.filter(ctx, r)
	if err != nil {
		return err
	}
	// An ambiguous prefix is found before anything is printed.
	ids := make([]*audit.QueryID, len(args))
	for i, arg := range args {
		if ids[i], err = resolve(ctx, r.DB, arg, filter.AsOf); err != nil {
			return err
		}
	}
	form := a.form("")
	if raw {
		form = tui.NDJSON
	}
	out := a.detail(form, r)
	missing := false
	for i, id := range ids {
		value, err := lookUp(ctx, r.DB, id, filter.AsOf)
		if errors.Is(err, audit.ErrNotFound) {
			try := ""
			if filter.AsOf == nil {
				try = a.otherHash(ctx, r, args[i])
			}
			fmt.Fprintf(a.err, "auditsql: get: %s: no such record%s%s\n", args[i], among(filter.AsOf), try)
			missing = true
			continue
		}
		if a.leaveOut(err) {
			continue
		}
		switch {
		case err != nil:
		case raw && len(args) == 1 && !a.outTerm.Is:
			_, err = a.out.Write(value) // a line feed would be one byte more than the leaf of the record has
		default:
			err = out.write(value)
		}
		if err != nil {
			return errors.Join(err, out.Flush())
		}
	}
	if err := out.End(); err != nil {
		return err
	}
	if missing {
		return quietly(exitNotFound)
	}
	return nil
}

// otherHash is the advice for digits that begin no id of a record, and that begin another hash of the store; "" is none.
func (a *app) otherHash(ctx context.Context, r *reading, digits string) string {
	// Of a hash in full ResolveHash does not ask whether the store has it.
	begin := digits[:min(len(digits), audit.MinPrefix*2)]
	for _, o := range []struct {
		kind audit.HashKind
		is   string
		try  string
	}{
		{audit.AssertionHash, "an assertion", a.typed("impact", digits)},
		{audit.SourceHash, "a source", a.typed("impact", "--source", digits)},
		{audit.AgentHash, "an agent", a.typed("list", "--agent", digits)},
	} {
		if _, err := r.ResolveHash(ctx, begin, o.kind); err == nil {
			return fmt.Sprintf(", but %s begins so; try: %s", o.is, o.try)
		}
	}
	return ""
}

func lookUp(ctx context.Context, db *audit.DB, id *audit.QueryID, asOf *uint64) ([]byte, error) {
	if id == nil {
		return nil, audit.ErrNotFound
	}
	return db.GetRawAsOf(ctx, *id, asOf)
}

// checkPrefix refuses what cannot be an id, nor the beginning of one.
func checkPrefix(s string) error {
	if err := ask.CheckID(s); err != nil {
		return usage("%w", err)
	}
	return nil
}

// resolve finds the one id that begins with prefix, or nil when none does. asOf is the moment of ask.ID.
func resolve(ctx context.Context, db *audit.DB, prefix string, asOf *uint64) (*audit.QueryID, error) {
	id, err := ask.ID(ctx, db, prefix, asOf)
	switch {
	case errors.Is(err, audit.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, refusal(err, nil, nil)
	}
	return &id, nil
}
