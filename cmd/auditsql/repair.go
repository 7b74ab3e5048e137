package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) repairCommand() *cobra.Command {
	apply := false
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Repair the journal from SQLite, and SQLite from the journal",
		Long: `Repair shows which records are damaged in the journal or in SQLite, and what
comes back from the other copy. --apply does it; without --apply nothing is
changed.

A record comes back only if its hash shows that it is the one that was stored:
the leaf hash in SQLite, the tree, or the hash in the journal's own header. When
neither copy has the right hash, both are kept in a folder aside-*, the record
is lost, and verify reports it from then on. What is lost in the journal alone
becomes a gap, as in wal repair, which is for the journal alone.

The exit code is 5 when damage was found and --apply not given, or when it
cannot be repaired; 0 when nothing was damaged or the repair was done, even if a
record was lost.`,
		Example: `  auditsql repair
  auditsql repair --apply && auditsql verify`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.repair(cmd.Context(), apply)
		},
		ValidArgsFunction: completeNothing,
	}
	cmd.Flags().BoolVar(&apply, "apply", false, "repair, instead of showing what would be done")
	a.addWriting(cmd)
	return cmd
}

func (a *app) repair(ctx context.Context, apply bool) error {
	journal, err := a.repairJournal(ctx, apply, audit.Repair)
	var records audit.RecordsReport
	if err == nil {
		records, err = audit.RepairRecords(ctx, a.dir, audit.RepairOptions{Apply: apply}, audit.WithLockWait(a.lockWait.Duration))
	}
	if err != nil {
		return err
	}
	if err := a.facts(a.form(""), bothFacts(&journal, &records)...); err != nil {
		return err
	}
	ranges, damaged, lost := len(journal.Journal.Damage), records.Damaged(), len(records.Lost)
	what := fmt.Sprintf("%s of the journal and %s in SQLite", plural(ranges, "damaged range", "damaged ranges"), plural(damaged, "damaged record", "damaged records"))
	switch {
	case ranges+damaged == 0:
	case !apply:
		return trying(&exitError{code: exitDamage, err: fmt.Errorf("found %s, and changed nothing; %s; %s", what, wouldBeLost(&journal), recordsToBeLost(lost))},
			"auditsql -d %s repair --apply", shellQuote(a.dir))
	case len(journal.Journal.Unknown) > 0:
		return unknownFormat(&journal)
	default:
		a.note("repaired: %s; auditsql -d %s verify checks the whole store", what, shellQuote(a.dir))
	}
	if lost > 0 {
		a.note("%s lost: no copy has its hash; what is left is in %s, and verify reports it from now on", plural(lost, "record is", "records are"), records.Aside)
	}
	return nil
}

func recordsToBeLost(n int) string {
	if n == 0 {
		return "every record in SQLite can be repaired"
	}
	return plural(n, "record has", "records have") + " no copy with the right hash"
}

func bothFacts(journal *audit.RepairReport, records *audit.RecordsReport) []tui.Fact {
	damaged := len(journal.Journal.Damage) + records.Damaged()
	result := tui.Bool(damaged == 0 || records.Applied && len(records.Lost) == 0).As("nothing to repair")
	switch {
	case len(records.Lost) > 0:
		result.Brief, result.Alarm = plural(len(records.Lost), "record is lost", "records are lost"), true
	case damaged > 0 && records.Applied:
		result.Brief = "repaired"
	case damaged > 0:
		result.Brief, result.Alarm = "damaged", true
	}
	list := func(ids []audit.QueryID) tui.Cell {
		texts := make([]string, len(ids))
		for i, id := range ids {
			texts[i] = id.String()
		}
		cell := tui.Texts(texts)
		switch len(texts) {
		case 0:
			return cell.As("none")
		case 1:
			return cell.As(texts[0])
		}
		return cell.As(plural(len(texts), "record", "records") + ", first " + texts[0])
	}
	aside := tui.Cell{Brief: "none"}
	if records.Aside != "" {
		aside = tui.Text(records.Aside)
	}
	return []tui.Fact{
		fact("ok", "result", result),
		fact("applied", "", tui.Bool(records.Applied)),
		fact("ranges", "damaged in the journal", tui.Number(len(journal.Journal.Damage)).As(plural(len(journal.Journal.Damage), "range", "ranges"))),
		fact("from_sqlite", "back from SQLite", tui.Number(journal.Journal.Restored()).As(plural(journal.Journal.Restored(), "record", "records"))),
		fact("lost_bytes", "lost in the journal", tui.Number(journal.Journal.Lost()).As(plural(journal.Journal.Lost(), "byte", "bytes"))),
		fact("restored", "back from the journal", list(records.Restored)),
		fact("rehashed", "leaf hash restored", list(records.Rehashed)),
		fact("lost", "lost in SQLite", list(records.Lost)),
		fact("aside", "kept aside", aside),
	}
}
