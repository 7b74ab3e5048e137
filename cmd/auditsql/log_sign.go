package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) logSignCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sign",
		Short: "Sign the log now",
		Long: `Sign signs the log as it is now, if it has grown since the last signature, and
brings the checkpoint to every place that does not have it yet. With nothing new
it signs nothing, and that is no error. A program that has the store open signs
by itself.

The exit code is 6 when the log is signed and a place did not get the
checkpoint. It gets it later: with the next signature, or when the store is
opened for writing the next time.`,
		Example: `  auditsql log sign
  auditsql log sign -o json | jq .size`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.logSign(cmd.Context())
		},
		ValidArgsFunction: completeNothing,
	}
	a.addWriting(cmd)
	return cmd
}

func (a *app) logSign(ctx context.Context) error {
	db, err := a.serverOr(ctx, func() (*audit.DB, error) { return a.openExisting(ctx) })
	if errors.Is(err, audit.ErrLocked) && !errors.As(err, new(*exitError)) {
		return trying(err, "nothing: the program that has the store open signs the log by itself, and auditsql log status shows when; --lock-wait 10s waits for it")
	}
	if err != nil {
		return err
	}
	signed, err := db.Sign(ctx)
	if err = errors.Join(err, db.close()); err != nil {
		return err
	}
	if err := a.screen().Object(a.form(""), view.SignatureOf(&signed),
		titled("log", tui.Text(signed.Origin)),
		titled("records", tui.Number(signed.Size)),
		titled("root", tui.Text(signed.Root.String())),
		titled("signed now", tui.Bool(signed.New)),
	); err != nil {
		return err
	}
	return a.undelivered(signed)
}

// signAndClose signs the log of an open store, prints what is known of the log if show is set, and closes the store. The error
// says which places did not get the checkpoint.
func (a *app) signAndClose(ctx context.Context, db *audit.DB, show bool) error {
	signed, err := db.Sign(ctx)
	if err == nil && show {
		err = a.printLog(ctx, db)
	}
	if err = errors.Join(err, a.closeWriter(db)); err != nil {
		return err
	}
	return a.undelivered(signed)
}

// undelivered prints which places did not get a checkpoint, and returns the error that the run ends with, nil when all have it.
func (a *app) undelivered(s audit.Signature) error {
	if len(s.Failed) == 0 {
		return nil
	}
	for _, place := range slices.Sorted(maps.Keys(s.Failed)) {
		a.note("not delivered: %s: %s", place, oneLine(s.Failed[place]))
	}
	return trying(&exitError{code: exitPartly, err: fmt.Errorf("signed, but %s did not get the checkpoint", plural(len(s.Failed), "place", "places"))},
		"auditsql -d %[1]s log sign, when the cause is gone; if the place is the wrong one, auditsql -d %[1]s log init with all places that are right", shellQuote(a.dir))
}
