package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) logStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Who signs the log, what was signed last, and which places have it",
		Long: `Status prints with which key the store's log is signed, how many records the
newest checkpoint covers and how many came after it, and what each place outside
of the store got last. When nothing can be signed, or the store is refused
because of what was signed, it says why, and what to do. It recovers nothing and
never waits.`,
		Example: `  auditsql log status
  auditsql log status -o json | jq '.places[] | select(.error)'`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			db, err := a.openAsItIs(cmd.Context())
			if err != nil {
				return err
			}
			defer db.Close()
			return a.printLog(cmd.Context(), db)
		},
		ValidArgsFunction: completeNothing,
	}
	a.addReading(cmd)
	return cmd
}

// printLog prints the state of a store's log.
func (a *app) printLog(ctx context.Context, db *audit.DB) error {
	state, err := db.Log(ctx)
	if errors.Is(err, audit.ErrNoLog) {
		if stats, statsErr := db.Stats(ctx); statsErr == nil && stats.Follows != "" {
			return trying(err, "auditsql-cluster serve --key FILE, on one node, which then signs the log of all")
		}
	}
	if err != nil {
		return err
	}
	size, _, err := db.Root(ctx)
	if err != nil {
		return err
	}
	v := view.LogOf(state, size)
	facts := append([]tui.Fact{
		titled("log", tui.Text(v.Origin)),
		titled("key", tui.Text(v.Key)),
		titled("verifier key", tui.Text(v.VerifierKey)),
		titled("signed every", tui.Text(v.Every)),
	}, a.signedFacts(v)...)
	for _, p := range v.Places {
		facts = append(facts, titled("place", placeCell(&p)))
	}
	for _, e := range v.Earlier {
		facts = append(facts, titled("earlier", tui.Text(fmt.Sprintf("%s, until %s: %s", e.VerifierKey, e.At.Format(time.RFC3339), e.Reason))))
	}
	if err := a.screen().Object(a.form(""), v, facts...); err != nil {
		return err
	}
	if state.Problem != nil {
		if try := logAdvice(state.Problem, a.dir); try != "" {
			a.note("try: %s", try)
		}
	}
	return nil
}

// signedFacts say how far the log is signed.
func (a *app) signedFacts(v *view.Log) []tui.Fact {
	signed := "nothing yet"
	if v.SignedAt != nil {
		signed = fmt.Sprintf("%s, at %s (%s)", plural(v.Signed, "record", "records"), v.SignedAt.Format(time.RFC3339), humanize.RelTime(*v.SignedAt, a.now(), "ago", "from now"))
	}
	facts := []tui.Fact{
		titled("signed", tui.Text(signed)),
		titled("not signed yet", tui.Text(plural(v.Unsigned, "record", "records"))),
	}
	if v.Problem != nil {
		facts = append(facts, titled("cannot be signed", tui.Text(*v.Problem).Marked(true)))
	}
	return facts
}

// placeCell has the name of the place too. As a title, a long command would push all other facts off the screen.
func placeCell(p *view.LogPlace) tui.Cell {
	has := p.Name + ": has nothing yet"
	if p.At != nil {
		has = fmt.Sprintf("%s: has %s, since %s", p.Name, plural(p.Signed, "record", "records"), p.At.Format(time.RFC3339))
	}
	if p.Error == nil {
		return tui.Text(has)
	}
	return tui.Text(has + "; failed: " + *p.Error).Marked(true)
}
