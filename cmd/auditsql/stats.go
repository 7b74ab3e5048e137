package main

import (
	"fmt"
	"strconv"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
	"github.com/auditsql/auditsql/wal"
)

func (a *app) statsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Sizes, counts, oldest and newest, cursor, backlog, rates",
		Long: `Stats prints what is known without a scan, also of a large store and beside a
writer: how much there is, from when to when, and how far SQLite lags behind
the journal. It recovers nothing and waits for nobody: where records are still
to be recovered it says so, and counts what SQLite has. With --read-only it
also works when the journal is not in its place: what only the journal tells
is null then.`,
		Example: `  auditsql stats
  auditsql stats -o json | jq .lag_bytes`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := a.earlyClock(); err != nil {
				return err
			}
			db, err := a.openAsItIs(cmd.Context())
			if err != nil {
				return err
			}
			defer db.Close()
			s, err := db.Stats(cmd.Context())
			if err != nil {
				return err
			}
			if !a.readOnly && !s.Writing && s.JournalAway == "" && s.JournalEnd < s.Applied {
				return fmt.Errorf("%w: it ends at offset %d, and SQLite has everything up to %d", wal.ErrAhead, s.JournalEnd, s.Applied)
			}
			c, err := a.clock(s.TimeUnit)
			if err != nil {
				return err
			}
			if _, err := a.tellLag(cmd.Context(), db, c); err != nil {
				return err
			}
			if s.JournalAway != "" {
				a.note("the journal was not looked at: %s", s.JournalAway)
			}
			return a.facts(a.form(""), statsFacts(&s, c)...)
		},
		ValidArgsFunction: completeNothing,
	}
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

// statsFacts names them as audit.Stats does in JSON.
func statsFacts(s *audit.Stats, c when.Clock) []tui.Fact {
	count := func(n uint64) tui.Cell { return tui.Number(n).As(humanize.Comma(int64(n))) }
	size := func(n int64) tui.Cell { return tui.Number(n).As(tui.Bytes(n)) }
	when := func(t *uint64) tui.Cell {
		if t == nil {
			return tui.Cell{Brief: "-"}
		}
		return tui.Number(*t).As(fmt.Sprintf("%s (%d)", c.Format(*t), *t))
	}
	writer := tui.Bool(s.Writing).As("no")
	if s.Writing {
		writer.Brief = "yes"
		if s.Writer != 0 {
			writer.Brief = "yes, process " + strconv.Itoa(s.Writer)
		}
	}
	durable := tui.Cell{Brief: "only the writer knows"}
	if s.Durable != nil {
		durable = tui.Number(*s.Durable)
	}
	lag := tui.Number(s.LagBytes).As("none")
	if s.LagBytes > 0 {
		lag.Brief = tui.Bytes(int64(s.LagBytes)) + " of journal not yet in SQLite"
	}
	rejected := count(s.Rejected)
	rejected.Alarm = s.Rejected > 0
	facts := []tui.Fact{
		fact("dir", "folder", tui.Text(s.Dir)),
		fact("store_id", "store id", tui.Text(s.StoreID)),
		fact("time_unit", "time unit", tui.Text(s.TimeUnit.String())),
		fact("audits", "records", count(s.Audits)),
		fact("agents", "agents", count(s.Agents)),
		fact("contributions", "evidence", count(s.Contributions)),
		fact("rejected", "rejected in replay", rejected),
		fact("oldest", "oldest", when(s.Oldest)),
		fact("newest", "newest", when(s.Newest)),
		fact("recent_per_second", "recent rate", tui.Number(s.RecentPerSecond).As(fmt.Sprintf("%.3g a second", s.RecentPerSecond))),
		fact("sqlite_bytes", "SQLite", size(s.SQLiteBytes)),
		fact("sqlite_wal_bytes", "SQLite's own log", size(s.SQLiteWAL)),
		fact("journal_dir", "journal", tui.Text(s.JournalDir)),
		fact("journal_bytes", "journal size", size(s.JournalBytes).As(fmt.Sprintf("%s in %s", tui.Bytes(s.JournalBytes), plural(s.Segments, "segment", "segments")))),
		fact("segments", "", tui.Number(s.Segments)),
		fact("retention", "journal kept", tui.Text(s.Retention.String()).As(retentionShown(s.Retention))),
		fact("journal_first", "journal begins", tui.Number(s.JournalFirst)),
		fact("journal_end", "journal ends", tui.Number(s.JournalEnd)),
		fact("applied", "in SQLite up to", tui.Number(s.Applied)),
		fact("durable", "durable up to", durable),
		fact("lag_bytes", "lag", lag),
		fact("writing", "open for writing", writer),
		fact("writer_pid", "", tui.Number(s.Writer)),
		fact("backlog", "backlog", tui.Number(s.Backlog).As(fmt.Sprintf("%s, %s", plural(s.Backlog, "record", "records"), tui.Bytes(s.BacklogBytes)))),
		fact("backlog_bytes", "", tui.Number(s.BacklogBytes)),
	}
	if s.JournalAway == "" {
		return facts
	}
	for i := range facts {
		switch facts[i].Name {
		case "journal_bytes", "segments", "journal_first", "journal_end", "durable", "lag_bytes",
			"writing", "writer_pid", "backlog", "backlog_bytes":
			facts[i].Value = notLookedAt
		}
	}
	return facts
}

func retentionShown(r audit.Retention) string {
	switch {
	case r == audit.RetainAll:
		return "all of it"
	case r == audit.RetainNone:
		return "only what SQLite may lack"
	}
	return "the newest " + humanize.IBytes(uint64(r)) + " beyond what SQLite may lack"
}
