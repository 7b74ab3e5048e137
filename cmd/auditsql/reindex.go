package main

import (
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/sqlstore"
)

func (a *app) reindexCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reindex",
		Short: "Rebuild the tables that questions are answered from",
		Long: `Reindex rebuilds the forensic tables from the records themselves. No record
changes, and interrupting it is harmless: the next command that writes finishes
it. Views, and triggers that guard the records, are restored if somebody removed
them. If SQLite itself finds its file damaged, the whole database is moved aside
and rebuilt from the journal, if that reaches back to the first record. If it
does not, reindex repairs damage in the forensic tables and their indexes, and
keeps a copy of the damaged database. It refuses, and changes nothing, when a
record does not match its leaf hash: repair comes first.`,
		Example: `  auditsql reindex`,
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			db, err := a.openExisting(cmd.Context())
			if err != nil {
				return err
			}
			bar := a.progress("reindexing", -1, false)
			records := uint64(0)
			err = db.Reindex(cmd.Context(), func(done, total uint64) {
				records = done
				bar.Total(int64(total))
				bar.At(int64(done), "reindexing")
			})
			bar.End()
			if aside := db.Salvaged(); aside != "" {
				a.note("audit.db was damaged in the forensic tables, which are rebuilt; a copy of the damaged file is in %s", aside)
			}
			err = errors.Join(err, a.closeWriter(db))
			if errors.Is(err, sqlstore.ErrMalformed) {
				damaged := err
				a.note("%v; rebuilding it, if the journal reaches back", damaged)
				var recovery audit.Recovery
				recovery, err = audit.Recover(cmd.Context(), a.dir, audit.WithLockWait(a.lockWait.Duration))
				a.noteRecovery(recovery)
				records = uint64(recovery.Replayed)
				if err == nil && !recovery.Rebuilt {
					err = damaged
				}
			}
			if err != nil {
				return err
			}
			form := a.form("")
			if form == tui.Table || form == tui.Plain {
				return a.copyOut(fmt.Sprintf("reindexed %s\n", plural(records, "record", "records")))
			}
			return a.facts(form, fact("records", "records", tui.Number(records).As(humanize.Comma(int64(records)))))
		},
		ValidArgsFunction: completeNothing,
	}
	a.addWriting(cmd)
	return cmd
}
