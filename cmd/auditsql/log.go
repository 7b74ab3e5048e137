package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) logCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "log COMMAND",
		Short: "Sign the log of the store, and show what was signed",
		Long: `The store keeps a Merkle tree over its records in the order of their admission,
as RFC 6962 describes it. One short root stands for all of them: whoever has a
root and its size can tell later whether these records were changed, removed or
reordered. Log init makes the store sign the root from time to time, and bring
it to places outside of the store. Log status says whether that works.`,
	}
	needsOneBelow(cmd)
	cmd.AddCommand(a.logRootCommand(), a.logTilesCommand(), a.logInitCommand(), a.logSignCommand(), a.logStatusCommand(), a.logCheckpointsCommand(),
		a.logRotateCommand(), a.logSuccessorCommand(), a.logRebuildCommand())
	return cmd
}

// changedLog prints what a log is after it was changed, and brings its checkpoint to the places outside of the store.
func (a *app) changedLog(ctx context.Context, change audit.LogChange, err error) error {
	if errors.Is(err, audit.ErrInvalid) {
		return usage("%w", err)
	}
	a.noteRecovery(change.Recovery)
	if err != nil {
		return err
	}
	if err := a.facts(a.form(""),
		fact("origin", "log", tui.Text(change.Origin)),
		fact("verifier_key", "verifier key", tui.Text(change.VerifierKey)),
		fact("signed", "records signed", tui.Number(change.Signed.Size))); err != nil {
		return err
	}
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	return a.signAndClose(ctx, db, false)
}
