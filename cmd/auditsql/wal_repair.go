package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/wal"
)

func (a *app) walRepairCommand() *cobra.Command {
	apply, inbox := false, false
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Repair damage in the journal",
		Long: `Repair shows where the journal is damaged, which records SQLite can restore,
and what would be lost. --apply repairs it; without --apply nothing is changed.

A damaged range ends at the next intact record, or where the next segment
begins. Its bytes are kept in the journal's folder quarantine. Records that
SQLite still has are written back as they were. The rest of the range is
filled, so that every later record keeps its offset; verify shows such a gap.
No segment is deleted, and interrupting it is harmless. A torn tail is no
damage; the next writer cuts it off.

--inbox repairs the inbox of serve --otlp instead: the journal of spans that are
not records yet. Nothing has a copy of these. So what is damaged there is lost,
and everything else can be read again.

The exit code is 5 when damage was found and --apply was not given, or when the
damage cannot be repaired. It is 0 when the journal has no damage, or all of it
was repaired.`,
		Example: `  auditsql wal repair
  auditsql wal repair --apply && auditsql verify`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.walRepair(cmd.Context(), apply, inbox)
		},
		ValidArgsFunction: completeNothing,
	}
	cmd.Flags().BoolVar(&apply, "apply", false, "repair, instead of showing what would be done")
	cmd.Flags().BoolVar(&inbox, "inbox", false, "the inbox of spans, in place of the store's journal")
	a.addWriting(cmd)
	return cmd
}

func (a *app) walRepair(ctx context.Context, apply, inbox bool) error {
	repair, which := audit.Repair, ""
	if inbox {
		repair, which = audit.RepairInbox, " --inbox"
	}
	report, err := a.repairJournal(ctx, apply, repair)
	var away *audit.JournalAwayError
	if isDamage(err) && !errors.As(err, &away) {
		return trying(err, "a backup of the store; auditsql -d %s export --read-only shows what SQLite has", shellQuote(a.dir))
	}
	if err != nil {
		return err
	}
	form := a.form("")
	if err := a.facts(form, repairFacts(&report, form)...); err != nil {
		return err
	}
	if form == tui.Table {
		a.damagedRanges(&report)
	}
	dir := shellQuote(a.dir)
	switch n := len(report.Journal.Damage); {
	case n > 0 && !apply:
		first := ""
		if report.Journal.Lost() > 0 {
			first = "a backup or an archive of the journal, which may have what would be lost; then "
		}
		return trying(&exitError{code: exitDamage, err: fmt.Errorf("found %s, and changed nothing; %s", plural(n, "damaged range", "damaged ranges"), wouldBeLost(&report))},
			"%sauditsql -d %s wal repair%s --apply", first, dir, which)
	case len(report.Journal.Unknown) > 0:
		return unknownFormat(&report)
	case n > 0:
		a.note("%s; auditsql -d %s verify checks the whole store", wasRepaired(&report), dir)
	}
	return nil
}

// A repairFunc is audit.Repair, or audit.RepairInbox.
type repairFunc func(ctx context.Context, dir string, o audit.RepairOptions, opts ...audit.Option) (audit.RepairReport, error)

// repairJournal repairs the journal, or looks what a repair would do, with progress.
func (a *app) repairJournal(ctx context.Context, apply bool, repair repairFunc) (audit.RepairReport, error) {
	bar := a.progress("checking", -1, true)
	defer bar.End()
	return repair(ctx, a.dir, audit.RepairOptions{
		Apply: apply,
		Progress: func(done, total int64) {
			bar.Total(total)
			bar.At(done, "checking")
		},
	}, audit.WithLockWait(a.lockWait.Duration))
}

// unknownFormat is how a repair ends at a segment that this version cannot read, which is left as it is.
func unknownFormat(r *audit.RepairReport) error {
	return &exitError{code: exitDamage, err: fmt.Errorf("%s; a newer auditsql may know what it is", r.Journal.Unknown[0])}
}

// wouldBeLost says what a repair would restore, and what it would lose.
func wouldBeLost(r *audit.RepairReport) string {
	back := ""
	if n := r.Journal.Restored(); n > 0 {
		back = fmt.Sprintf("SQLite has %s of it, and ", plural(n, "record", "records"))
	}
	if lost := r.Journal.Lost(); lost > 0 {
		return back + plural(lost, "byte", "bytes") + " would be lost"
	}
	return back + "nothing would be lost"
}

func wasRepaired(r *audit.RepairReport) string {
	lost := "nothing is lost"
	if n := r.Journal.Lost(); n > 0 {
		lost = plural(n, "byte is", "bytes are") + " lost"
	}
	return fmt.Sprintf("repaired: %s, %s back from SQLite, %s", plural(len(r.Journal.Damage), "damaged range", "damaged ranges"),
		plural(r.Journal.Restored(), "record", "records"), lost)
}

// tellDamage notes what a repair could do about damage in the journal.
func (a *app) tellDamage(ctx context.Context) {
	if r, err := audit.Repair(ctx, a.dir, audit.RepairOptions{}); err == nil && len(r.Journal.Damage) > 0 {
		a.note("the damage is in %s; %s", plural(len(r.Journal.Damage), "range of the journal", "ranges of the journal"), wouldBeLost(&r))
	}
}

func repairFacts(r *audit.RepairReport, form tui.Form) []tui.Fact {
	j := &r.Journal
	result := tui.Bool(len(j.Damage) == 0 || j.Applied).As("nothing to repair")
	switch n := plural(len(j.Damage), "damaged range", "damaged ranges"); {
	case len(j.Damage) > 0 && j.Applied:
		result.Brief = "repaired " + n
	case len(j.Damage) > 0:
		result.Brief, result.Alarm = n, true
	}
	fillers := 0
	for _, d := range j.Damage {
		fillers += d.Fillers
	}
	torn := tui.Cell{Brief: "none"}
	if t := j.Torn; t != nil {
		torn = tui.Text(fmt.Sprintf("%d bytes at offset %d: %s", t.Bytes, t.Offset, t.Reason))
		torn.Brief = torn.Text + "; the next writer cuts it off"
	}
	unknown := make([]string, len(j.Unknown))
	for i, u := range j.Unknown {
		unknown[i] = u.Error()
	}
	count := func(n int) tui.Cell { return tui.Number(n).As(humanize.Comma(int64(n))) }
	return []tui.Fact{
		fact("ok", "result", result),
		fact("applied", "", tui.Bool(j.Applied)),
		fact("sqlite", "SQLite", tui.Text(r.SQLite)),
		fact("cursor", "", tui.Number(j.Cursor)),
		fact("journal_segments", "segments checked", count(j.Segments)),
		fact("journal_records", "intact records", count(j.Records)),
		fact("journal_bytes", "intact bytes", tui.Number(j.Bytes).As(humanize.Comma(j.Bytes))),
		fact("journal_first", "journal begins", tui.Number(j.First)),
		fact("journal_end", "journal ends", tui.Number(j.End)),
		fact("restored", "back from SQLite", tui.Number(j.Restored()).As(plural(j.Restored(), "record", "records"))),
		fact("lost_bytes", "lost", tui.Number(j.Lost()).As(plural(j.Lost(), "byte", "bytes"))),
		fact("fillers", "", tui.Number(fillers)),
		fact("torn", "torn tail", torn),
		fact("unknown", "", tui.Texts(unknown)),
		fact("damage", "", damageCell(r, form)),
	}
}

// damageCell is the list of damaged ranges: objects in JSON, else a line each.
func damageCell(r *audit.RepairReport, form tui.Form) tui.Cell {
	if form != tui.JSON && form != tui.NDJSON {
		lines := make([]string, len(r.Journal.Damage))
		for i, d := range r.Journal.Damage {
			lines[i] = strings.Join(rangeLines(d, &r.Ranges[i], r.Journal.Applied), "; ")
		}
		return tui.Texts(lines)
	}
	type refused struct {
		Offset wal.Offset `json:"offset"`
		Bytes  int64      `json:"bytes"`
		Reason string     `json:"reason"`
	}
	type damagedRange struct {
		Segment     string          `json:"segment"`
		Missing     bool            `json:"missing"`
		Offset      wal.Offset      `json:"offset"`
		End         wal.Offset      `json:"end"`
		Reason      string          `json:"reason"`
		Quarantined int64           `json:"quarantined_bytes"`
		Cut         int64           `json:"cut_bytes"`
		Quarantine  *string         `json:"quarantine"`
		Identity    bool            `json:"identity"`
		Restored    int             `json:"restored"`
		RestoredIDs []audit.QueryID `json:"restored_ids"`
		Lost        int64           `json:"lost_bytes"`
		Fillers     int             `json:"fillers"`
		LostRecords int             `json:"lost_readable"`
		LostIDs     []audit.QueryID `json:"lost_ids"`
		Refused     []refused       `json:"refused"`
	}
	all := make([]damagedRange, len(r.Journal.Damage))
	for i, d := range r.Journal.Damage {
		known := &r.Ranges[i]
		all[i] = damagedRange{
			Segment: filepath.Base(d.Segment), Missing: d.Missing, Offset: d.Offset, End: d.End, Reason: d.Reason,
			Quarantined: d.Stored + d.Cut, Cut: d.Cut, Identity: d.Identity,
			Restored: d.Restored, RestoredIDs: append([]audit.QueryID{}, known.Restored...),
			Lost: d.FillBytes, Fillers: d.Fillers,
			LostRecords: known.LostRecords, LostIDs: append([]audit.QueryID{}, known.Lost...),
			Refused: []refused{},
		}
		if d.Quarantine != "" {
			all[i].Quarantine = &d.Quarantine
		}
		for _, f := range d.Refused {
			all[i].Refused = append(all[i].Refused, refused(f))
		}
	}
	return tui.Cell{Kind: tui.Composite, Text: string(tui.ToJSON(all))}
}

// damagedRanges prints them below the counts.
func (a *app) damagedRanges(r *audit.RepairReport) {
	for i, d := range r.Journal.Damage {
		for n, line := range rangeLines(d, &r.Ranges[i], r.Journal.Applied) {
			if n == 0 {
				fmt.Fprintf(a.out, "%s %s\n", a.screen().Alarm("damaged:"), harmless(line))
			} else {
				fmt.Fprintf(a.out, "  %s\n", harmless(line))
			}
		}
	}
}

// rangeLines describe a damaged range.
func rangeLines(d *wal.DamagedRange, known *audit.RepairedRange, applied bool) []string {
	is := func(did, would string) string {
		if applied {
			return did
		}
		return would
	}
	place := fmt.Sprintf("%s at offset %d of %s", plural(int64(d.End-d.Offset), "byte", "bytes"), d.Offset, filepath.Base(d.Segment))
	if d.Missing {
		place += ", which " + is("was missing", "is missing")
	}
	lines := []string{place + ": " + d.Reason}
	if d.Restored > 0 {
		lines = append(lines, fmt.Sprintf("%s from SQLite: %s%s", is("back", "comes back"), plural(d.Restored, "record", "records"), ids(known.Restored, d.Restored)))
	}
	if d.Identity {
		lines = append(lines, is("written back", "would be written back")+": the segment's identity")
	}
	if d.FillBytes > 0 {
		which := ""
		if known.LostRecords > 0 {
			which = fmt.Sprintf(", in which %s can be read%s", plural(known.LostRecords, "query id", "query ids"), ids(known.Lost, known.LostRecords))
		}
		lines = append(lines, fmt.Sprintf("%s: %s (%s)%s", is("lost", "would be lost"), plural(d.FillBytes, "byte", "bytes"), plural(d.Fillers, "filler", "fillers"), which))
	}
	if d.Cut > 0 {
		lines = append(lines, fmt.Sprintf("%s: %s after the segment's end", is("cut", "would be cut"), plural(d.Cut, "byte", "bytes")))
	}
	for _, f := range d.Refused {
		lines = append(lines, fmt.Sprintf("what SQLite has for offset %d does not fit: %s", f.Offset, f.Reason))
	}
	if d.Quarantine != "" {
		lines = append(lines, "a copy of the bytes is in "+d.Quarantine)
	}
	return lines
}

// ids lists a few query ids in full, so that they can be copied.
func ids(some []audit.QueryID, of int) string {
	const most = 5
	if len(some) == 0 {
		return ""
	}
	var list []string
	for _, id := range some[:min(most, len(some))] {
		list = append(list, id.String())
	}
	if more := of - len(list); more > 0 {
		list = append(list, fmt.Sprintf("and %d more", more))
	}
	return " (" + strings.Join(list, ", ") + ")"
}
