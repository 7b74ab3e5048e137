package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) topCommand() *cobra.Command {
	var f filterFlags
	by, rank, newSince, figures := string(audit.TopAgents), string(audit.RankPieces), "", false
	cmd := &cobra.Command{
		Use:   "top",
		Short: "The most frequent agents, subjects, predicates, sources, attributes …",
		Long: `Top ranks the values of one field in the selected records, the most frequent
first: agents, subjects, predicates, lenses, the values of an attribute (--by
attr:KEY), or the assertions, sources and lifecycles of their evidence.
--new-since T prints only those that no record of the whole store has before T.

Assertions, sources and lifecycles are counted by pieces of evidence, anything
else by records. Where pieces are counted, --unapproved, --lifecycle,
--assertion and --source say which pieces: --by source --unapproved ranks the
sources of what is not Approved. --rank answers ranks by records, --rank agents
by how many different agents these have.

subjects is how many different subjects the records have, and conf is the mean
of their confidences. The counts of agents are stored. For these two columns top
must look at their records, and leaves the columns out when there are more than
100000. --figures has them all the same.

-o json is an object: by, rank, entries (hash, label, text: of what is no hash;
count, share, answers: records, agents, weight: of evidence in all; first,
first_time, last, last_time, subjects, more_subjects: there are more than could
be counted, confidence), total (of all counted), without (records that have
none), more (the limit cut), missed (a count may be too small by up to this
number; 0 unless there are very many different things), incomplete, unfigured
(subjects and confidence were left out), lag (what SQLite lacks: records, more,
oldest; null when it lacks nothing older than a second). -o ndjson, csv and
plain text have a line for each entry.`,
		Example: `  auditsql top --by agent --from today
  auditsql top --by source --unapproved
  auditsql top --by attr:model --rank agents
  auditsql top --by assertion --new-since 1h`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			kind, err := audit.ParseTopBy(by)
			if err != nil {
				return usage("--by %q: want %s", by, audit.TopKeys)
			}
			ranked, err := audit.ParseTopRank(rank)
			if err != nil {
				return usage("--rank %q: want pieces, answers or agents", rank)
			}
			return a.top(cmd.Context(), audit.TopOptions{By: kind, Rank: ranked, Figures: figures}, newSince, &f)
		},
		ValidArgsFunction: completeNothing,
	}
	f.register(a, cmd)
	f.registerLimit(cmd, audit.DefaultTop, "at most this many, 1 or more")
	cmd.Flags().StringVar(&by, "by", by, "`what` to rank: "+audit.TopKeys)
	cmd.Flags().StringVar(&rank, "rank", rank, "rank by `these`: pieces (or records), answers or agents")
	cmd.Flags().BoolVar(&figures, "figures", false, "count subjects and confidence of agents with many records too")
	cmd.Flags().StringVar(&newSince, "new-since", "", "only what was never seen before this `time`")
	_ = cmd.RegisterFlagCompletionFunc("by", completeWords(topWords...))
	_ = cmd.RegisterFlagCompletionFunc("rank", completeWords("pieces", "answers", "agents"))
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

// topWords are what --by is completed to.
var topWords = []string{"agent", "subject", "predicate", "lens", "attr:", "assertion", "source", "lifecycle"}

func (a *app) top(ctx context.Context, options audit.TopOptions, newSince string, f *filterFlags) error {
	if f.limit < 1 {
		return usage("--limit %d: want 1 or more", f.limit)
	}
	if err := f.check(a); err != nil {
		return err
	}
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	if options.Filter, err = f.filter(ctx, r); err != nil {
		return err
	}
	if f.cmd.Flags().Changed("new-since") {
		since, err := r.clock.Parse(newSince)
		if err != nil {
			return usage("--new-since: %w", err)
		}
		options.NewSince = &since.First
	}
	v := r.viewer()
	counted := a.meanwhile("counting", -1, nil)
	t, err := v.Top(ctx, options)
	counted()
	if err != nil {
		return err
	}
	out := tui.NewListing(a.screen(), a.form(""), r.topTable(t.RankingHead))
	if err := show.Ranking(out, t); err != nil {
		return err
	}
	if out.Form == tui.Table && len(t.Entries) > 0 {
		p := a.screen().Page()
		p.Text(rankedOf(t))
		a.next(p, v.NextAfterTop(ctx, t))
		if err := p.End(); err != nil {
			return err
		}
	}
	if t.More {
		a.say("(cut at --limit %d, there are more)", f.limit)
	}
	if t.Unfigured && len(t.Entries) > 0 {
		a.say("(subjects and confidence are left out: they need a look at each of more than %d records; --figures has them)", audit.MostFigured)
	}
	if t.Missed > 0 {
		a.say("(there are too many different ones to count all: what was met %d times or less may be missing, and a count may be too small by as much; --from and --to make them fewer)", t.Missed)
	}
	return nil
}

// keyColumn is the column of what is ranked or compared.
func keyColumn(by audit.TopBy) tui.Column {
	if by.OfHashes() {
		return tui.Column{Name: string(by), Flexible: true, Least: 2 * briefHash}
	}
	return tui.Column{Name: keyName(by), Flexible: true, Least: 16, Middle: true}
}

// keyName is what is ranked or compared, in a sentence or above a column.
func keyName(by audit.TopBy) string {
	if key, ok := by.Attribute(); ok {
		return "attribute " + harmless(key)
	}
	return string(by)
}

func (r *reading) keyCell(hash *audit.Hash, text *string) tui.Cell {
	if hash != nil {
		return r.labels.hash(*hash)
	}
	return tui.Text(*text)
}

// topTable are the columns of a ranking.
func (r *reading) topTable(h view.RankingHead) []tui.ColumnOf[view.Ranked] {
	type row = view.Ranked
	key := tui.ColumnOf[row]{Column: keyColumn(h.By), Cell: func(e *row) tui.Cell { return r.keyCell(e.Hash, e.Text) }}
	count := tui.ColumnOf[row]{Column: tui.Column{Name: "records", Right: true}, Cell: func(e *row) tui.Cell { return tui.Number(e.Count) }}
	share := tui.ColumnOf[row]{Column: tui.Column{Name: "share", Right: true, Rank: 2}, Cell: func(e *row) tui.Cell { return tui.Number(e.Share).As(percent(e.Share)) }}
	answers := tui.ColumnOf[row]{Column: tui.Column{Name: "answers", Right: true, Rank: 3}, Cell: func(e *row) tui.Cell { return tui.Number(e.Answers) }}
	agents := tui.ColumnOf[row]{Column: tui.Column{Name: "agents", Right: true, Rank: 4}, Cell: func(e *row) tui.Cell { return tui.Number(e.Agents) }}
	subjects := tui.ColumnOf[row]{Column: tui.Column{Name: "subjects", Right: true, Rank: 5}, Cell: subjectsCell}
	confidence := tui.ColumnOf[row]{Column: tui.Column{Name: "conf", Right: true, Rank: 1}, Cell: func(e *row) tui.Cell {
		return tui.Or(e.Confidence, tui.Figure[float32])
	}}
	weight := tui.ColumnOf[row]{Column: tui.Column{Name: "weight", Right: true, Rank: 7}, Cell: func(e *row) tui.Cell { return tui.Figure(*e.Weight) }}
	first := tui.ColumnOf[row]{Column: tui.Column{Name: "first", Rank: 6}, Cell: func(e *row) tui.Cell { return timeCell(e.First, r.clock) }}
	last := tui.ColumnOf[row]{Column: tui.Column{Name: "last", Rank: 8}, Cell: func(e *row) tui.Cell { return timeCell(e.Last, r.clock) }}
	switch {
	case h.By.OfEvidence():
		count.Name = "pieces"
		return []tui.ColumnOf[row]{key, count, share, answers, agents, subjects, confidence, weight, first, last}
	case h.By == audit.TopAgents:
		return []tui.ColumnOf[row]{key, count, share, subjects, confidence, first, last}
	case h.By == audit.TopSubjects:
		return []tui.ColumnOf[row]{key, count, share, agents, confidence, first, last}
	}
	return []tui.ColumnOf[row]{key, count, share, agents, subjects, confidence, first, last}
}

// subjectsCell is how many different subjects an entry has, or the least number that it can be.
func subjectsCell(e *view.Ranked) tui.Cell {
	return tui.Or(e.Subjects, func(n uint64) tui.Cell {
		if e.MoreSubjects {
			return tui.Number(n).As(fmt.Sprintf("%d+", n))
		}
		return tui.Number(n)
	})
}

// percent never shows a share that is not 0 as 0.
func percent(share float64) string {
	if share > 0 && share < 0.0005 {
		return "<0.1%"
	}
	return fmt.Sprintf("%.1f%%", 100*share)
}

// rankedOf says what the shares are parts of.
func rankedOf(t *view.Ranking) string {
	about := "of " + countedOf(t.By, t.Total)
	if t.Without > 0 {
		about += fmt.Sprintf(", and %s with no %s", plural(t.Without, "record", "records"), keyName(t.By))
	}
	return about
}

// countedOf is a number of what a ranking by this counts.
func countedOf(by audit.TopBy, n uint64) string {
	one, many := view.CountedBy(by)
	return plural(n, one, many)
}
