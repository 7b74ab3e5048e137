package main

import (
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup DEST",
		Short: "Copy the store to a new folder, while it is in use",
		Long: `Backup copies the store to the folder DEST, which must not exist or be empty:
a snapshot of SQLite first, then the journal through at least that. It works
beside a writer. The copy is verified, and opens as a store: auditsql -d DEST
recent.`,
		Example: `  auditsql backup /backups/audit-2026-11-23`,
		Args:    arguments(1, 1, "the folder to copy to"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if store := a.storeAround(args[0]); store != "" {
				return trying(usage("%s lies in %s, which belongs to a store alone", args[0], store), "another folder")
			}
			db, err := a.openReader(cmd.Context())
			if err != nil {
				return err
			}
			defer db.Close()
			r, err := db.Backup(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			form := a.form("")
			if err := a.facts(form,
				fact("dir", "copied to", tui.Text(r.Dir)),
				fact("audits", "records", tui.Number(r.Audits).As(humanize.Comma(int64(r.Audits)))),
				fact("bytes", "size", tui.Number(r.Bytes).As(tui.Bytes(r.Bytes))),
				fact("segments", "journal segments", tui.Number(r.Segments)),
				fact("applied", "cursor", tui.Number(r.Applied)),
				fact("journal_end", "journal end", tui.Number(r.End)),
				fact("verified", "verified", tui.Bool(r.Verified.OK()).As(map[bool]string{true: "yes", false: "no: it has problems"}[r.Verified.OK()])),
				fact("problems", "", tui.Texts(r.Verified.Problems)),
				fact("notes", "", tui.Texts(r.Verified.Notes)),
			); err != nil {
				return err
			}
			if form == tui.Table {
				a.findings(r.Verified.Problems, r.Verified.Total, r.Verified.Notes)
			}
			if !r.Verified.OK() {
				return a.damaged(r.Verified.Total)
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	a.addReading(cmd)
	return cmd
}
