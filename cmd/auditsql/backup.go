package main

import (
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup DEST",
		Short: "Copy the store to a new folder, while it is in use",
		Long: `Backup copies the store to the folder DEST. DEST must be empty or must not exist
yet. Backup copies a snapshot of SQLite first, then the journal to the end of
that snapshot or further. It works while another program writes. The copy is
verified, and is a store itself: auditsql -d DEST recent. It has no tokens, and
no inbox: spans that serve --otlp has received and that have not become records
yet.`,
		Example: `  auditsql backup /backups/audit-2026-11-23`,
		Args:    arguments(1, 1, "the folder to copy to"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if store := a.storeAround(args[0]); store != "" {
				return trying(usage("%s is inside %s, the folder of a store", args[0], store), "another folder")
			}
			db, err := a.openReader(cmd.Context())
			if err != nil {
				return err
			}
			defer db.Close()
			// Each can be as large as a store, and its name is hidden. A folder that cannot be listed keeps nobody from making a backup in it.
			left, _ := durable.Unfinished(filepath.Dir(filepath.Clean(args[0])))
			for _, folder := range left {
				a.note("%s is left of a backup that did not end; remove it, unless one runs", folder)
			}
			copied := a.meanwhile("copying the store, and verifying the copy", -1, nil)
			r, err := db.Backup(cmd.Context(), args[0])
			copied()
			if err != nil {
				return err
			}
			if r.InboxLeft {
				a.note("the inbox was left out: spans that have not become records yet are not in the copy")
			}
			if _, err := db.Log(cmd.Context()); !errors.Is(err, audit.ErrNoLog) {
				a.note("the copy has the log of this store: put nothing into it while the original lives. Its records would be signed with the same key, and then the original would be refused; auditsql -d %s --read-only reads it", shellQuote(args[0]))
			}
			form := a.form("")
			verified := "yes"
			if !r.Verified.OK() {
				verified = "no: it has problems"
			}
			if err := a.screen().Object(form, view.BackupOf(&r),
				titled("copied to", tui.Text(r.Dir)),
				titled("records", countCell(r.Audits)),
				titled("size", tui.Text(tui.Bytes(r.Bytes))),
				titled("journal segments", tui.Number(r.Segments)),
				titled("cursor", tui.Number(r.Applied)),
				titled("journal end", tui.Number(r.End)),
				titled("verified", tui.Text(verified)),
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
