package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) verifyCommand() *cobra.Command {
	var o verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check the journal and SQLite, and compare them",
		Long: `Verify checks every record of the journal, the integrity of SQLite's file, its
tables, triggers and views, keys against values, the stored records against the
tables made from them, against their hashes and the tree over these, and the
journal against the stored records. It prints what it counted, the root of the
tree, and each problem with its place. It works beside a writer, and changes
nothing. The result says too whether the store was held against something from
outside, in every form of output.

So it finds what does not fit together. Somebody who can write everything can
make other records fit. --against compares the store with a signed checkpoint
that was kept elsewhere, and may be repeated. The roots are computed from the
stored records, and not from the stored tree. The exit code is 5 when the store
does not have what was signed; the problem names the records among which the
first difference is. --tiles is a copy of the log that was kept elsewhere, as a
folder with tiles (c2sp.org/tlog-tiles); with it the first record that differs
is named. If a checkpoint is not signed by the log's key, or by that of --key or
--policy, or if no key is known, that says nothing about the store: the exit
code is 1.

--quick leaves out the checks that read everything. What it does not count is
"not looked at" in a table, and null in JSON. The exit code is 5 when something
is wrong, also when the journal is not in its place and only SQLite was checked.
A torn tail and gaps that were repaired are notes, not problems. So is a store
that has fewer records than its log has signed, as a backup may: it is not
opened for writing, and with --against the exit code is 5.`,
		Example: `  auditsql verify
  auditsql verify --quick -o json
  auditsql verify --against monday --against tuesday --key "$KEY"`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.verify(cmd, &o)
		},
		ValidArgsFunction: completeNothing,
	}
	cmd.Flags().BoolVar(&o.quick, "quick", false, "leave out what reads everything")
	o.addOutside(cmd)
	a.addReading(cmd)
	return cmd
}

// verifyFlags are the flags of verify.
type verifyFlags struct {
	quick bool
	outsideFlags
}

func (a *app) verify(cmd *cobra.Command, o *verifyFlags) error {
	ctx := cmd.Context()
	options := audit.VerifyOptions{Quick: o.quick}
	closeTiles, err := o.outside(cmd, &options)
	if err != nil {
		return err
	}
	defer closeTiles()
	refused := a.recoverFirst(ctx)
	if refused != nil {
		if !isDamage(refused) {
			return refused
		}
		// Verify describes damage, so damage does not stop it.
		a.note("recovery is refused (%v); verifying what is there", refused)
	}
	bar := a.progress("verifying", -1, false)
	options.Progress = func(stage string, done uint64) { bar.At(int64(done), "checking "+stage) }
	report, err := audit.Verify(ctx, a.dir, options)
	bar.End()
	if refused != nil && errors.Is(err, audit.ErrNoStore) {
		return refused // there is only a journal, and it is damaged
	}
	if err != nil {
		return a.outsideError(err)
	}
	v := view.VerificationOf(&report)
	if err := a.screen().Object(a.form(""), v, verifyTable(v, report.Took)...); err != nil {
		return err
	}
	if form := a.form(""); form == tui.Table {
		a.findings(report.Problems, report.Total, report.Notes)
	}
	if !report.OK() {
		if len(report.Journal.Damage) > 0 {
			a.tellDamage(ctx)
		}
		found := a.damaged(report.Total)
		if slices.ContainsFunc(report.Against, func(c audit.Compared) bool { return !c.Same }) {
			found = trying(found, "keep the store as it is, since it shows what was done; a backup from before, compared with the same checkpoints, shows what the records were")
		}
		return found
	}
	return nil
}

// damaged is the error of a check that found problems.
func (a *app) damaged(problems uint64) error {
	found := &exitError{code: exitDamage, err: errors.New("found " + plural(problems, "problem", "problems"))}
	var away *audit.JournalAwayError
	if _, err := audit.JournalDir(a.dir); errors.As(err, &away) {
		return trying(found, "%s", a.bringBack(away))
	}
	return trying(found,
		"auditsql -d %[1]s repair shows what can be done for the journal and for records, auditsql -d %[1]s reindex rebuilds derived tables and guards", shellQuote(a.dir))
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

func verifyTable(v *view.Verification, took time.Duration) []tui.Fact {
	return slices.Concat(
		[]tui.Fact{titled("result", tui.Text(v.Result).Marked(!v.OK))},
		journalTable(&v.JournalCounts),
		[]tui.Fact{
			titled("records in SQLite", orNotLookedAt(v.Audits, countCell)),
			titled("evidence", orNotLookedAt(v.Contributions, countCell)),
			titled("attributes", orNotLookedAt(v.Attributes, countCell)),
			titled("agents", orNotLookedAt(v.Agents, countCell)),
			titled("keys by agent", orNotLookedAt(v.AgentKeys, countCell)),
			titled("root of the tree", orNotLookedAt(v.Root, func(s string) tui.Cell { return tui.Text(s) })),
			titled("in journal and SQLite", orNotLookedAt(v.Matched, countCell)),
			titled("in the journal alone", orNotLookedAt(v.NotApplied, countCell)),
			titled("rejected in replay", orNotLookedAt(v.Rejected, countCell)),
			titled("took", tui.Text(took.Round(time.Millisecond).String())),
		},
	)
}

func problemsCell(n uint64) tui.Cell { return tui.Text(plural(n, "problem", "problems")).Marked(true) }

// notLookedAt is how a table shows a value that was not found out.
var notLookedAt = tui.Cell{Brief: "not looked at"}

// orNotLookedAt is the cell of a value that is nil when it was not found out.
func orNotLookedAt[T any](v *T, cell func(T) tui.Cell) tui.Cell {
	if v == nil {
		return notLookedAt
	}
	return cell(*v)
}

func countCell[T ~int | ~int64 | ~uint64](n T) tui.Cell { return tui.Text(humanize.Comma(int64(n))) }

// journalTable is how a table shows what a check of the journal counted.
func journalTable(c *view.JournalCounts) []tui.Fact {
	return []tui.Fact{
		titled("journal segments", orNotLookedAt(c.Segments, tui.Number)),
		titled("journal begins", orNotLookedAt(c.First, tui.Number)),
		titled("journal ends", orNotLookedAt(c.End, tui.Number)),
		titled("journal records", orNotLookedAt(c.Records, countCell)),
		titled("journal bytes", orNotLookedAt(c.Bytes, countCell)),
		titled("repaired gaps", orNotLookedAt(c.Fillers, func(n int) tui.Cell {
			if n == 0 {
				return tui.Text("none")
			}
			return tui.Text(fmt.Sprintf("%s, %s", plural(n, "filler", "fillers"), tui.Bytes(*c.FillerBytes)))
		})),
		titled("torn tail", orNotLookedAt(c.Damage, func(int) tui.Cell {
			if c.Torn == nil {
				return tui.Text("none")
			}
			return tui.Text(*c.Torn)
		})),
	}
}
