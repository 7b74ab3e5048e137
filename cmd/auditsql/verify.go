package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
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
		Progress: func(stage string, done uint64) { bar.at(int64(done), "checking "+stage) },
	})
	bar.end()
	if refused != nil && errors.Is(err, audit.ErrNoStore) {
		return refused // there is nothing but a journal, and that is damaged
	}
	if err != nil {
		return err
	}
	if err := a.facts(a.form(""), verifyFacts(&report)...); err != nil {
		return err
	}
	if form := a.form(""); form == formTable {
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
		fmt.Fprintf(a.out, "%s %s\n", a.alarm("problem:"), harmless(p))
	}
	if more := total - uint64(len(problems)); more > 0 {
		fmt.Fprintf(a.out, "%s %d more\n", a.alarm("problem:"), more)
	}
	for _, n := range notes {
		fmt.Fprintf(a.out, "note: %s\n", harmless(n))
	}
}

func verifyFacts(r *audit.VerifyReport) []fact {
	count := func(n uint64) cell { return number(n).as(humanize.Comma(int64(n))) }
	result := boolean(r.OK()).as("all is well")
	if r.Quick {
		result.brief = "all is well, as far as --quick looks"
	}
	if !r.OK() {
		result.brief, result.alarm = plural(r.Total, "problem", "problems"), true
	}
	facts := []fact{{"ok", "result", result}, {"quick", "", boolean(r.Quick)}}
	facts = append(facts, journalFacts(&r.Journal)...)
	facts = append(facts,
		fact{"audits", "records in SQLite", count(r.Audits)},
		fact{"contributions", "evidence", count(r.Contributions)},
		fact{"attributes", "attributes", count(r.Attributes)},
		fact{"agents", "agents", count(r.Agents)},
		fact{"agent_keys", "keys by agent", count(r.AgentKeys)},
		fact{"matched", "in journal and SQLite", count(r.Matched)},
		fact{"not_applied", "in the journal alone", count(r.NotApplied)},
		fact{"rejected", "rejected in replay", count(r.Rejected)},
		fact{"seconds", "took", number(r.Took.Seconds()).as(r.Took.Round(time.Millisecond).String())},
		fact{"problems", "", textList(r.Problems)},
		fact{"total_problems", "", number(r.Total)},
		fact{"notes", "", textList(r.Notes)},
	)
	for i := range facts {
		if !wasLookedAt(r, facts[i].name) {
			facts[i].value = notLookedAt
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
var notLookedAt = cell{brief: "not looked at"}

// trimmedBytes is how much of the journal a writer removed before it could be checked.
func trimmedBytes(r *wal.Report) (bytes int64) {
	for _, gone := range r.Trimmed {
		bytes += int64(gone.End - gone.Offset)
	}
	return bytes
}

// journalFacts are what a check of the journal counted.
func journalFacts(r *wal.Report) []fact {
	torn := cell{brief: "none"}
	if t := r.Torn; t != nil {
		torn = text(fmt.Sprintf("%d bytes at offset %d: %s", t.Bytes, t.Offset, t.Reason))
	}
	gaps := number(r.Fillers).as("none")
	if r.Fillers > 0 {
		gaps.brief = fmt.Sprintf("%s, %s", plural(r.Fillers, "filler", "fillers"), inBytes(r.FillBytes))
	}
	return []fact{
		{"journal_segments", "journal segments", number(r.Segments)},
		{"journal_first", "journal begins", number(r.First)},
		{"journal_end", "journal ends", number(r.End)},
		{"journal_records", "journal records", number(r.Records).as(humanize.Comma(int64(r.Records)))},
		{"journal_bytes", "journal bytes", number(r.Bytes).as(humanize.Comma(r.Bytes))},
		{"journal_marks", "", number(r.Marks)},
		{"journal_identities", "", number(r.Identities)},
		{"journal_trimmed_bytes", "", number(trimmedBytes(r))},
		{"journal_fillers", "repaired gaps", gaps},
		{"journal_filler_bytes", "", number(r.FillBytes)},
		{"journal_torn", "torn tail", torn},
		{"journal_damage", "", number(len(r.Damage))},
	}
}
