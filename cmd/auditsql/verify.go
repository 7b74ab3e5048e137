package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/wal"
)

func (a *app) verifyCommand() *cobra.Command {
	var quick bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check everything against everything",
		Long: `Verify checks every record of the journal, SQLite's own integrity, that its
tables, triggers and views are as they were made, keys against values, the
stored records against the tables made from them, and the journal against the
stored records. It prints what it counted and each problem with its place,
works beside a writer, and changes nothing.

--quick leaves out what reads everything; what it does not count is "not looked
at" in a table, and null in JSON. The exit code is 5 when something is wrong,
also when the journal is not in its place and only SQLite was checked; a torn
tail, or gaps that were repaired, are told and are nothing wrong.`,
		Example: `  auditsql verify
  auditsql verify --quick -o json`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.verify(cmd.Context(), quick)
		},
		ValidArgsFunction: completeNothing,
	}
	cmd.Flags().BoolVar(&quick, "quick", false, "leave out what reads everything")
	a.addReading(cmd)
	return cmd
}

func (a *app) verify(ctx context.Context, quick bool) error {
	refused := a.recoverFirst(ctx)
	if refused != nil {
		if !isDamage(refused) {
			return refused
		}
		// Damage is what verify is there to describe.
		a.note("recovery is refused (%v); verifying what is there", refused)
	}
	bar := a.progress("verifying", -1, false)
	report, err := audit.Verify(ctx, a.dir, audit.VerifyOptions{
		Quick:    quick,
		Progress: func(stage string, done uint64) { bar.At(int64(done), "checking "+stage) },
	})
	bar.End()
	if refused != nil && errors.Is(err, audit.ErrNoStore) {
		return refused // there is nothing but a journal, and that is damaged
	}
	if err != nil {
		return err
	}
	if err := a.facts(a.form(""), verifyFacts(&report)...); err != nil {
		return err
	}
	if form := a.form(""); form == tui.Table {
		a.findings(report.Problems, report.Total, report.Notes)
	}
	if !report.OK() {
		if len(report.Journal.Damage) > 0 {
			a.tellDamage(ctx)
		}
		return a.damaged(report.Total)
	}
	return nil
}

// damaged is the error of a check that found something.
func (a *app) damaged(problems uint64) error {
	found := &exitError{code: exitDamage, err: errors.New("found " + plural(problems, "problem", "problems"))}
	var away *audit.JournalAwayError
	if _, err := audit.JournalDir(a.dir); errors.As(err, &away) {
		return trying(found, "%s", a.bringBack(away))
	}
	return trying(found,
		"auditsql -d %[1]s wal repair shows what can be done for the journal, auditsql -d %[1]s reindex rebuilds derived tables and guards", shellQuote(a.dir))
}

// findings prints problems and notes below the counts.
func (a *app) findings(problems []string, total uint64, notes []string) {
	for _, p := range problems {
		fmt.Fprintf(a.out, "%s %s\n", a.screen().Alarm("problem:"), harmless(p))
	}
	if more := total - uint64(len(problems)); more > 0 {
		fmt.Fprintf(a.out, "%s %d more\n", a.screen().Alarm("problem:"), more)
	}
	for _, n := range notes {
		fmt.Fprintf(a.out, "note: %s\n", harmless(n))
	}
}

func verifyFacts(r *audit.VerifyReport) []tui.Fact {
	count := func(n uint64) tui.Cell { return tui.Number(n).As(humanize.Comma(int64(n))) }
	result := tui.Bool(r.OK()).As("all is well")
	if r.Quick {
		result.Brief = "all is well, as far as --quick looks"
	}
	if !r.OK() {
		result.Brief, result.Alarm = plural(r.Total, "problem", "problems"), true
	}
	facts := []tui.Fact{fact("ok", "result", result), fact("quick", "", tui.Bool(r.Quick))}
	facts = append(facts, journalFacts(&r.Journal)...)
	facts = append(facts,
		fact("audits", "records in SQLite", count(r.Audits)),
		fact("contributions", "evidence", count(r.Contributions)),
		fact("attributes", "attributes", count(r.Attributes)),
		fact("agents", "agents", count(r.Agents)),
		fact("agent_keys", "keys by agent", count(r.AgentKeys)),
		fact("matched", "in journal and SQLite", count(r.Matched)),
		fact("not_applied", "in the journal alone", count(r.NotApplied)),
		fact("rejected", "rejected in replay", count(r.Rejected)),
		fact("seconds", "took", tui.Number(r.Took.Seconds()).As(r.Took.Round(time.Millisecond).String())),
		fact("problems", "", tui.Texts(r.Problems)),
		fact("total_problems", "", tui.Number(r.Total)),
		fact("notes", "", tui.Texts(r.Notes)),
	)
	for i := range facts {
		if !wasLookedAt(r, facts[i].Name) {
			facts[i].Value = notLookedAt
		}
	}
	return facts
}

// wasLookedAt reports whether a verification found out the fact of this name: nothing that was not counted is shown as 0.
func wasLookedAt(r *audit.VerifyReport, name string) bool {
	switch name {
	case "journal_segments", "journal_first", "journal_end", "journal_bytes":
		// A quick look that SQLite ended did not come to the journal.
		return r.JournalAway == "" && !(r.Quick && r.SQLiteUnread != "")
	case "journal_records", "journal_marks", "journal_identities", "journal_trimmed_bytes",
		"journal_fillers", "journal_filler_bytes", "journal_torn", "journal_damage":
		return r.JournalAway == "" && !r.Quick
	case "matched", "not_applied":
		return r.JournalAway == "" && !r.Quick && r.SQLiteUnread == ""
	case "attributes", "agent_keys":
		return !r.Quick && r.SQLiteUnread == ""
	case "audits", "contributions", "agents", "rejected":
		return r.SQLiteUnread == ""
	}
	return true
}

// notLookedAt is a value that is not known, because nothing was looked at that tells it.
var notLookedAt = tui.Cell{Brief: "not looked at"}

// trimmedBytes is how much of the journal a writer removed before it could be checked.
func trimmedBytes(r *wal.Report) (bytes int64) {
	for _, gone := range r.Trimmed {
		bytes += int64(gone.End - gone.Offset)
	}
	return bytes
}

// journalFacts are what a check of the journal counted.
func journalFacts(r *wal.Report) []tui.Fact {
	torn := tui.Cell{Brief: "none"}
	if t := r.Torn; t != nil {
		torn = tui.Text(fmt.Sprintf("%d bytes at offset %d: %s", t.Bytes, t.Offset, t.Reason))
	}
	gaps := tui.Number(r.Fillers).As("none")
	if r.Fillers > 0 {
		gaps.Brief = fmt.Sprintf("%s, %s", plural(r.Fillers, "filler", "fillers"), tui.Bytes(r.FillBytes))
	}
	return []tui.Fact{
		fact("journal_segments", "journal segments", tui.Number(r.Segments)),
		fact("journal_first", "journal begins", tui.Number(r.First)),
		fact("journal_end", "journal ends", tui.Number(r.End)),
		fact("journal_records", "journal records", tui.Number(r.Records).As(humanize.Comma(int64(r.Records)))),
		fact("journal_bytes", "journal bytes", tui.Number(r.Bytes).As(humanize.Comma(r.Bytes))),
		fact("journal_marks", "", tui.Number(r.Marks)),
		fact("journal_identities", "", tui.Number(r.Identities)),
		fact("journal_trimmed_bytes", "", tui.Number(trimmedBytes(r))),
		fact("journal_fillers", "repaired gaps", gaps),
		fact("journal_filler_bytes", "", tui.Number(r.FillBytes)),
		fact("journal_torn", "torn tail", torn),
		fact("journal_damage", "", tui.Number(len(r.Damage))),
	}
}
