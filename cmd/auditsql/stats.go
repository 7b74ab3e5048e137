package main

import (
	"fmt"
	"strconv"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
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
			if _, err := a.noteLag(cmd.Context(), db, c); err != nil {
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
func statsFacts(s *audit.Stats, c when.Clock) []fact {
	count := func(n uint64) cell { return number(n).as(humanize.Comma(int64(n))) }
	size := func(n int64) cell { return number(n).as(inBytes(n)) }
	when := func(t *uint64) cell {
		if t == nil {
			return cell{brief: "-"}
		}
		return number(*t).as(fmt.Sprintf("%s (%d)", c.Format(*t), *t))
	}
	writer := boolean(s.Writing).as("no")
	if s.Writing {
		writer.brief = "yes"
		if s.Writer != 0 {
			writer.brief = "yes, process " + strconv.Itoa(s.Writer)
		}
	}
	durable := cell{brief: "only the writer knows"}
	if s.Durable != nil {
		durable = number(*s.Durable)
	}
	lag := number(s.LagBytes).as("none")
	if s.LagBytes > 0 {
		lag.brief = inBytes(int64(s.LagBytes)) + " of journal not yet in SQLite"
	}
	rejected := count(s.Rejected)
	rejected.alarm = s.Rejected > 0
	facts := []fact{
		{"dir", "folder", text(s.Dir)},
		{"store_id", "store id", text(s.StoreID)},
		{"time_unit", "time unit", text(s.TimeUnit.String())},
		{"audits", "records", count(s.Audits)},
		{"agents", "agents", count(s.Agents)},
		{"contributions", "evidence", count(s.Contributions)},
		{"rejected", "rejected in replay", rejected},
		{"oldest", "oldest", when(s.Oldest)},
		{"newest", "newest", when(s.Newest)},
		{"recent_per_second", "recent rate", number(s.RecentPerSecond).as(fmt.Sprintf("%.3g a second", s.RecentPerSecond))},
		{"sqlite_bytes", "SQLite", size(s.SQLiteBytes)},
		{"sqlite_wal_bytes", "SQLite's own log", size(s.SQLiteWAL)},
		{"journal_dir", "journal", text(s.JournalDir)},
		{"journal_bytes", "journal size", size(s.JournalBytes).as(fmt.Sprintf("%s in %s", inBytes(s.JournalBytes), plural(s.Segments, "segment", "segments")))},
		{"segments", "", number(s.Segments)},
		{"retention", "journal kept", text(s.Retention.String()).as(retentionShown(s.Retention))},
		{"journal_first", "journal begins", number(s.JournalFirst)},
		{"journal_end", "journal ends", number(s.JournalEnd)},
		{"applied", "in SQLite up to", number(s.Applied)},
		{"durable", "durable up to", durable},
		{"lag_bytes", "lag", lag},
		{"writing", "open for writing", writer},
		{"writer_pid", "", number(s.Writer)},
		{"backlog", "backlog", number(s.Backlog).as(fmt.Sprintf("%s, %s", plural(s.Backlog, "record", "records"), inBytes(s.BacklogBytes)))},
		{"backlog_bytes", "", number(s.BacklogBytes)},
	}
	if s.JournalAway == "" {
		return facts
	}
	for i := range facts {
		switch facts[i].name {
		case "journal_bytes", "segments", "journal_first", "journal_end", "durable", "lag_bytes",
			"writing", "writer_pid", "backlog", "backlog_bytes":
			facts[i].value = notLookedAt
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
