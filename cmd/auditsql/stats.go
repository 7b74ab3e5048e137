package main

import (
	"fmt"
	"math"
	"strconv"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
	"github.com/auditsql/auditsql/wal"
)

func (a *app) statsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Sizes, counts, oldest and newest, cursor, backlog, rates",
		Long: `Stats prints what is known without a scan: how many records there are, from
when to when, and how many bytes of journal SQLite still lacks. It is fast on a
large store too, and works beside a writer. It recovers nothing and never waits:
where records are still to be recovered it says so, and counts what SQLite has.
With --read-only it also works when the journal is not in its place. What only
the journal says is "not looked at" then, and null in JSON.`,
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
			if !a.readOnly && !s.Writing && s.JournalAway == "" && s.Follows == "" && s.JournalEnd < s.Applied {
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
			v := view.StatsOf(&s)
			return a.screen().Object(a.form(""), v, a.statsTable(v, c)...)
		},
		ValidArgsFunction: completeNothing,
	}
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

// statsTable is how a table shows them.
func (a *app) statsTable(s *view.Stats, c when.Clock) []tui.Fact {
	count := func(n uint64) tui.Cell { return tui.Number(n).As(humanize.Comma(int64(n))) }
	size := func(n int64) tui.Cell { return tui.Text(tui.Bytes(n)) }
	at := func(t uint64) tui.Cell { return tui.Text(fmt.Sprintf("%s (%d)", c.Format(t), t)) }
	facts := []tui.Fact{
		titled("folder", tui.Text(s.Dir)),
		titled("store id", tui.Text(s.StoreID)),
		titled("time unit", tui.Text(s.TimeUnit.String())),
		titled("records", count(s.Audits)),
		titled("agents", count(s.Agents)),
		titled("evidence", count(s.Contributions)),
		titled("rejected in replay", count(s.Rejected).Marked(s.Rejected > 0)),
		titled("oldest", tui.Or(s.Oldest, at)),
		titled("newest", tui.Or(s.Newest, at)),
		titled("recent rate", tui.Text(rateShown(s.RecentPerSecond))),
		titled("SQLite", size(s.SQLiteBytes)),
		titled("SQLite's own log", size(s.SQLiteWAL)),
		titled("journal", journalCell(s)),
		titled("journal size", orNotLookedAt(s.JournalBytes, func(n int64) tui.Cell {
			return tui.Text(fmt.Sprintf("%s in %s", tui.Bytes(n), plural(*s.Segments, "segment", "segments")))
		})),
		titled("journal kept", tui.Text(retentionShown(s.Retention))),
		titled("journal begins", orNotLookedAt(s.JournalFirst, tui.Number)),
		titled("journal ends", orNotLookedAt(s.JournalEnd, tui.Number)),
		titled("in SQLite up to", tui.Number(s.Applied)),
		titled("durable up to", durableCell(s)),
		titled("lag", orNotLookedAt(s.LagBytes, func(n uint64) tui.Cell {
			if n == 0 {
				return tui.Text("none")
			}
			return tui.Text(tui.Bytes(int64(n)) + " of journal not yet in SQLite")
		})),
		titled("open for writing", orNotLookedAt(s.Writing, func(writing bool) tui.Cell { return writerCell(writing, *s.WriterPID) })),
		titled("backlog", orNotLookedAt(s.Backlog, func(n int) tui.Cell {
			return tui.Text(fmt.Sprintf("%s, %s", plural(n, "record", "records"), tui.Bytes(*s.BacklogBytes)))
		})),
	}
	if s.Inbox != nil {
		facts = append(facts, titled("inbox", inboxCell(s.Inbox)))
	}
	switch {
	case s.Log == nil:
		return append(facts, titled("log", tui.Text("not signed")))
	case s.Log.Origin == "": // log.json cannot be read
		return append(facts, titled("log", tui.Text(*s.Log.Problem).Marked(true)))
	}
	facts = append(facts, titled("log", tui.Text(s.Log.Origin)))
	facts = append(facts, a.signedFacts(s.Log)...)
	for _, p := range s.Log.Places {
		if p.Error != nil {
			facts = append(facts, titled("place", placeCell(&p)))
		}
	}
	return facts
}

func rateShown(perSecond float64) string {
	if perSecond >= 100 {
		return humanize.Comma(int64(math.Round(perSecond))) + " a second"
	}
	return fmt.Sprintf("%.3g a second", perSecond)
}

func journalCell(s *view.Stats) tui.Cell {
	if s.Follows != nil {
		return tui.Text("none; the store follows " + *s.Follows)
	}
	return tui.Text(s.JournalDir)
}

func durableCell(s *view.Stats) tui.Cell {
	switch {
	case s.Follows != nil:
		return notLookedAt
	case s.JournalAway != "":
		return notLookedAt
	case s.Durable == nil:
		return tui.Text("only the writer knows")
	}
	return tui.Number(*s.Durable)
}

func writerCell(writing bool, pid int) tui.Cell {
	switch {
	case !writing:
		return tui.Text("no")
	case pid == 0:
		return tui.Text("yes")
	}
	return tui.Text("yes, process " + strconv.Itoa(pid))
}

// inboxCell shows the journal of spans that are not records yet.
func inboxCell(i *view.Inbox) tui.Cell {
	if i.Damage != nil {
		return tui.Text("damaged: " + *i.Damage).Marked(true)
	}
	text := fmt.Sprintf("%s in %s", tui.Bytes(i.Bytes), plural(i.Segments, "segment", "segments"))
	if !i.Open {
		text += "; no receiver runs"
	}
	if !i.Checked {
		text += "; nobody has looked for damage, and auditsql verify does"
	}
	if i.KeptAside > 0 {
		text += fmt.Sprintf("; %s that are no whole records are kept in its folder quarantine, and the log of the server says whether spans are lost", tui.Bytes(i.KeptAside))
	}
	return tui.Text(text)
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
