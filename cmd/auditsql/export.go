package main

import (
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) exportCommand() *cobra.Command {
	var f filterFlags
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Everything, or what fits a filter, as NDJSON or CSV",
		Long: `Export prints records in the order of their admission, without a limit: as
NDJSON unless -o says otherwise. Importing its NDJSON makes an equal store. When
timestamps lie in the future, import it with --max-future 0.

CSV has a line per record with the columns of list, one of them the attributes
as JSON. It has the number of contributing assertions; the assertions themselves
are in NDJSON and JSON only. It is RFC 4180, with CR LF at line
ends, and exact. Texts may begin with = + - or @, which a spreadsheet takes for
a formula. --csv-safe puts an apostrophe before such a text. Some spreadsheets
begin a new cell inside a text: after a ; or a tab, and at the beginning of a
line. --csv-safe puts an apostrophe there too, before what begins like a
formula.`,
		Example: `  auditsql export > all.ndjson
  auditsql export --from 2026-11-23 -o csv --csv-safe > monday.csv`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.listRecords(cmd.Context(), &f, listing{byAdmission: true, usual: tui.NDJSON})
		},
		ValidArgsFunction: completeNothing,
	}
	f.register(a, cmd)
	f.registerLimit(cmd, 0, "at most this many; 0 is no limit")
	cmd.Flags().BoolVar(&f.descending, "desc", false, "last admitted first")
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}
