package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) logRebuildCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rebuild",
		Short: "Make the tree over the records again where it is wrong",
		Long: `Rebuild makes tiles of the tree again that are missing or wrong, and its edge.
First it compares each record with its leaf hash. Then it computes the root at
the size that was signed last, from the records alone. If a record does not
match its hash, or if the root is not the signed one, nothing is changed and the
exit code is 5: the tree is not what is wrong then. The records after the signed
ones are compared with the journal too.

A store that signs nothing is rebuilt as well. Then nothing outside of the store
says that the root is right, and a note says so, as it says how many records the
journal does not have any more. Interrupting it is harmless.`,
		Example: `  auditsql log rebuild && auditsql verify`,
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.logRebuild(cmd.Context())
		},
		ValidArgsFunction: completeNothing,
	}
	a.addWriting(cmd)
	return cmd
}

func (a *app) logRebuild(ctx context.Context) error {
	bar := a.progress("comparing", -1, false)
	report, err := audit.RebuildTree(ctx, a.dir, func(stage string, done, total uint64) {
		bar.Total(int64(total))
		bar.At(int64(done), stage)
	}, audit.WithLockWait(a.lockWait.Duration))
	bar.End()
	a.noteRecovery(report.Recovery)
	if err != nil {
		return err
	}
	signed := tui.Cell{Brief: "nothing"}
	if report.Signed != nil {
		signed = tui.Number(report.Signed.Size)
	} else {
		a.note("nothing was signed, so nothing outside of the store says that this root is the right one")
	}
	if report.Alone > 0 {
		a.note("%s not compared with the journal, which does not have them any more; no signature covers them either",
			plural(report.Alone, "record was", "records were"))
	}
	return a.facts(a.form(""),
		fact("size", "size", tui.Number(report.Size)),
		fact("root", "root", tui.Text(report.Root.String())),
		fact("signed", "signed", signed),
		fact("tiles", "tiles made again", tui.Number(report.Tiles)),
		fact("edges", "levels of the edge made again", tui.Number(report.Edges)))
}
