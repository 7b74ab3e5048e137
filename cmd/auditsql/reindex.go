package main

import (
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) reindexCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reindex",
		Short: "Rebuild the tables that questions are answered from",
		Long: `Reindex rebuilds the forensic tables from the records themselves. No record
changes, and interrupting it is harmless: the next command that writes finishes
it. Views, and triggers that guard the records, are restored if somebody removed
them. It refuses, and changes nothing, when a record does not match its leaf
hash: repair comes first.

If the database is damaged, also so that no other command can open the store,
reindex replaces it and moves the damaged one to a folder aside-*. The new
database is built from the journal, if that reaches back to the first record.
If it does not, everything that cannot be made anew is copied out of the
damaged database: records and their order, tree, labels. That works while none
of these is lost, and needs free space, at most twice the size of the database.
If something is lost, or there is no room, reindex says so and changes nothing.`,
		Example: `  auditsql reindex`,
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Whether there is a store is checked first, since opening for writing would make one.
			if _, err := audit.JournalDir(a.dir); errors.Is(err, audit.ErrNoStore) {
				return err
			}
			bar := a.progress("reindexing", -1, false)
			progress, end := a.opening()
			rep, err := audit.Reindex(cmd.Context(), a.dir, func(done, total uint64) {
				bar.Total(int64(total))
				bar.At(int64(done), "reindexing")
			}, append(progress, audit.WithLockWait(a.lockWait.Duration), audit.WithCreatedBy("auditsql "+version))...)
			end()
			bar.End()
			a.noteRecovery(rep.Recovery)
			if rep.CloseNote != "" {
				a.note("%s", rep.CloseNote)
			}
			if err != nil {
				return err
			}
			form := a.form("")
			if form == tui.Table || form == tui.Plain {
				return a.copyOut(fmt.Sprintf("reindexed %s\n", plural(rep.Records, "record", "records")))
			}
			return a.facts(form, fact("records", "records", tui.Number(rep.Records).As(humanize.Comma(int64(rep.Records)))))
		},
		ValidArgsFunction: completeNothing,
	}
	a.addWriting(cmd)
	return cmd
}
