package main

import (
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/sqlstore"
)

func (a *app) reindexCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reindex",
		Short: "Rebuild the tables that questions are answered from",
		Long: `Reindex makes the forensic tables anew from the records themselves. Nothing of
the records changes, and interrupting it is harmless: the next command that
writes finishes it. Triggers that guard the records, and views, are put back
where somebody took them away. Where SQLite itself finds its file damaged, the
whole database is moved aside and built anew from the journal, if that reaches
back to the first record. If it does not, reindex repairs damage in the
forensic tables and their indexes, and keeps a copy of the damaged database.`,
		Example: `  auditsql reindex`,
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			db, err := a.openExisting()
			if err != nil {
				return err
			}
			bar := a.progress("reindexing", -1, false)
			records := uint64(0)
			err = db.Reindex(cmd.Context(), func(done, total uint64) {
				records = done
				bar.total(int64(total))
				bar.at(int64(done), "reindexing")
			})
			bar.end()
			if aside := db.Salvaged(); aside != "" {
				a.note("audit.db was damaged in the forensic tables, which are made anew; a copy of the damaged file is in %s", aside)
			}
			err = errors.Join(err, a.closeWriter(db))
			if errors.Is(err, sqlstore.ErrMalformed) {
				damaged := err
				a.note("%v; building it anew, if the journal reaches back", damaged)
				var recovery audit.Recovery
				recovery, err = audit.Recover(cmd.Context(), a.dir, audit.WithLockWait(a.lockWait.Duration))
				a.tellRecovery(recovery)
				records = uint64(recovery.Replayed)
				if err == nil && !recovery.Rebuilt {
					err = damaged
				}
			}
			if err != nil {
				return err
			}
			form := a.form("")
			if form == formTable || form == formPlain {
				return a.copyOut(fmt.Sprintf("reindexed %s\n", plural(records, "record", "records")))
			}
			return a.facts(form, fact{"records", "records", number(records).as(humanize.Comma(int64(records)))})
		},
		ValidArgsFunction: completeNothing,
	}
	a.addWriting(cmd)
	return cmd
}
