package web

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// dir is the folder of the store, for commands. It is "" when it is not known. It does not change, so the store is asked once.
func (s *Server) dir(ctx context.Context) string {
	if known := s.folder.Load(); known != nil {
		return *known
	}
	stats, err := s.store.Stats(ctx)
	if err != nil {
		return ""
	}
	s.folder.Store(&stats.Dir)
	return stats.Dir
}

// healthPage says how the store is.
func (s *Server) healthPage(ctx context.Context, p *sheet) error {
	p.passing = true
	stats, err := s.store.Stats(ctx)
	if err != nil {
		return err
	}
	p.page.Kind = "Is the store sound?"
	p.page.Title, p.page.Heading = "Health of the store", line(pages.Words("Health of the store"))
	p.command([]string{"stats"}, nil, nil)
	p.page.SQL = "SELECT name, value\nFROM store;"
	p.page.Forms = line(pages.To(phrase.To("/v1/stats", nil), "JSON"), pages.To(phrase.To("/readyz", nil), "Ready?"))
	progress := s.store.Progress()
	state := pages.Section{ID: "state"}
	switch err := s.store.Err(); {
	case errors.Is(err, audit.ErrReadOnly):
		state.About = line(pages.Words("This server only reads. Another process may write to the store."))
	case err != nil && s.following != nil:
		state.Findings = [][]pages.Part{line(pages.Words("The store takes no records now. The log of the server says why. What was acknowledged is safe."))}
	case err != nil:
		state.Findings = [][]pages.Part{line(pages.Words("The store takes no more records. The log of the server says why. What was acknowledged is safe."))}
	default:
		state.About = line(pages.Words("The store takes records."))
	}
	if stats.JournalAway != "" {
		state.Findings = append(state.Findings, line(pages.Words("The journal was not found in its place.")))
	}
	if stats.Inbox != nil && stats.Inbox.Damage != "" {
		state.Findings = append(state.Findings, line(pages.Words("The inbox is damaged, so no spans are received. auditsql verify says where.")))
	}
	if stats.Inbox != nil && stats.Inbox.Unread {
		state.Findings = append(state.Findings, line(pages.Words("The inbox is large, and nobody has looked whether it is damaged. auditsql verify does.")))
	}
	if stats.Inbox != nil && stats.Inbox.Lost != nil && *stats.Inbox.Lost > 0 {
		state.Findings = append(state.Findings, line(pages.Words("The end of the inbox was damaged when it was opened, so spans that were acknowledged may be lost. The log of the server says where.")))
	}
	lag := "nothing"
	if progress.LagRecords > 0 || progress.LagBytes > 0 {
		lag = counted(progress.LagRecords, "record", "records") + ", " + humanize.IBytes(progress.LagBytes)
	}
	switch {
	case progress.Unknown && progress.LagBytes > 0:
		lag = "not known, at least " + humanize.IBytes(progress.LagBytes)
	case progress.Unknown:
		lag = "not known"
	}
	state.Facts = []pages.Fact{
		{Name: "records", Value: line(pages.Count(progress.Records))},
		{Name: "not yet in SQLite", Value: line(pages.Words(lag))},
		{Name: "agents", Value: line(pages.Count(stats.Agents))},
		{Name: "evidence", Value: line(pages.Count(stats.Contributions), pages.Dimmed("pieces"))},
		{Name: "lately", Value: line(pages.Words(fmt.Sprintf("%.3g records a second", stats.RecentPerSecond)))},
	}
	if s.following != nil {
		text := "the log does not answer"
		if behind, err := s.following.now(); err == nil {
			text = counted(behind, "message", "messages")
		}
		state.Facts = append(state.Facts, pages.Fact{Name: "follows", Value: line(cut(stats.Follows))}, pages.Fact{Name: "not yet read", Value: line(pages.Words(text))})
	}
	if stats.Oldest != nil && stats.Newest != nil {
		state.Facts = append(state.Facts, pages.Fact{Name: "oldest", Value: line(p.at(*stats.Oldest))}, pages.Fact{Name: "newest", Value: line(p.at(*stats.Newest))})
	}
	if stats.Rejected > 0 {
		state.Facts = append(state.Facts, pages.Fact{Name: "rejected", Value: line(pages.Part{Text: humanize.Comma(int64(stats.Rejected)), Mark: true})})
	}
	disk := pages.Section{ID: "disk", Heading: "On disk", Facts: []pages.Fact{
		{Name: "folder", Value: line(cut(stats.Dir))},
		{Name: "store id", Value: line(pages.Part{Text: stats.StoreID, Style: pages.Code})},
		{Name: "SQLite", Value: line(pages.Words(humanize.IBytes(uint64(stats.SQLiteBytes))))},
		{Name: "SQLite's log", Value: line(pages.Words(humanize.IBytes(uint64(stats.SQLiteWAL))))},
	}}
	if i := stats.Inbox; i != nil {
		disk.Facts = append(disk.Facts, pages.Fact{Name: "inbox", Value: line(pages.Words(humanize.IBytes(uint64(i.Bytes))), pages.Dimmed("in "+counted(i.Segments, "segment", "segments")))})
	}
	// A store that follows a log has no journal of its own, and has applied the messages of that log.
	if s.following != nil {
		disk.Facts = append(disk.Facts, pages.Fact{Name: "applied up to", Value: line(pages.Words("message "+humanize.Comma(int64(stats.Applied))), pages.Dimmed("of the log that it follows"))})
	} else if stats.JournalAway == "" {
		disk.Facts = append(disk.Facts,
			pages.Fact{Name: "journal", Value: line(pages.Words(humanize.IBytes(uint64(stats.JournalBytes))), pages.Dimmed("in "+counted(stats.Segments, "segment", "segments")))},
			pages.Fact{Name: "journal ends at", Value: line(pages.Words(humanize.Comma(int64(stats.JournalEnd))))},
			pages.Fact{Name: "applied up to", Value: line(pages.Words(humanize.Comma(int64(stats.Applied))))})
	}
	verified := "not by this server since it began; POST /v1/verify does it"
	if v, at := s.lastVerified(); v != nil {
		verified = humanize.RelTime(at, p.q.now, "ago", "from now") + ": " + v.Result
		if !v.OK {
			verified = humanize.RelTime(at, p.q.now, "ago", "from now")
			state.Findings = append(state.Findings, line(pages.Words("The last verify found "+counted(v.TotalProblems, "problem", "problems")+".")))
		}
	}
	state.Facts = append(state.Facts, pages.Fact{Name: "last verify", Value: line(pages.Words(verified))})
	p.page.Sections = []pages.Section{state, disk, p.signed(stats.Log, progress.Records)}
	return nil
}

// unsigned says that nothing is signed, and what makes that otherwise.
func (p *sheet) unsigned() string {
	if p.s.following != nil {
		return "This node signs no log. One node of a cluster signs for all of them: auditsql-cluster serve with --key makes it that node."
	}
	return "This store signs no log. auditsql log init makes one."
}

// signed is the state of the log: what its newest checkpoint covers, and how old that is.
func (p *sheet) signed(log *audit.LogState, records uint64) pages.Section {
	section := pages.Section{ID: "log", Heading: "The signed log"}
	if log == nil {
		section.About = line(pages.Words(p.unsigned() + " Then records can be proven to others."))
		return section
	}
	if log.Problem != nil {
		section.Findings = [][]pages.Part{line(pages.Words("Nothing can be signed now. auditsql log status says why."))}
	}
	section.Facts = []pages.Fact{{Name: "origin", Value: line(cut(log.Origin))}}
	if log.Size == 0 {
		section.Facts = append(section.Facts, pages.Fact{Name: "checkpoint", Value: line(pages.Words("none yet"))})
		return section
	}
	unsigned := uint64(0)
	if records > log.Size {
		unsigned = records - log.Size
	}
	section.Facts = append(section.Facts,
		pages.Fact{Name: "checkpoint", Value: line(pages.Words(humanize.RelTime(log.SignedAt, p.q.now, "old", "in the future")), pages.Part{Text: log.SignedAt.UTC().Format(time.RFC3339), Style: pages.Dim})},
		pages.Fact{Name: "covers", Value: line(pages.Words(counted(log.Size, "record", "records")))},
		pages.Fact{Name: "not covered yet", Value: line(pages.Words(counted(unsigned, "record", "records")))},
		pages.Fact{Name: "root", Value: line(pages.Part{Text: log.Root.String(), Style: pages.Code})})
	if len(log.Places) > 0 {
		table := &pages.Table{Caption: "Where checkpoints go", Columns: []pages.Column{{Name: "place"}, {Name: "covers", Right: true}, {Name: "at"}, {Name: "failed"}}}
		for _, place := range log.Places {
			failed := none()
			if place.Error != "" {
				failed = line(pages.Part{Text: humanize.RelTime(place.FailedAt, p.q.now, "ago", "from now"), Mark: true})
			}
			at := none()
			if !place.At.IsZero() {
				at = line(pages.Words(place.At.UTC().Format(time.RFC3339)))
			}
			table.Rows = append(table.Rows, pages.Row{Marked: place.Error != "", Cells: [][]pages.Part{line(cut(place.Name)), line(pages.Count(place.Size)), at, failed}})
		}
		section.Table = table
	}
	section.Links = line(pages.To(phrase.To("/v1/checkpoint", nil), "The newest checkpoint"))
	return section
}

// apiPage says what programs can ask.
func (s *Server) apiPage(ctx context.Context, p *sheet) error {
	p.passing = true
	p.page.Kind = "For programs"
	p.page.Title, p.page.Heading = "The API", line(pages.Words("The API"))
	table := &pages.Table{Caption: "What the server takes; /v1/openapi.json has all of it", Head: 1, Columns: []pages.Column{{Name: "method"}, {Name: "path"}, {Name: "needs a token with"}, {Name: "parameters"}}}
	for _, one := range s.apiRoutes() {
		needs := one.scope.String()
		if one.open {
			needs = "no token"
		}
		var names []pages.Part
		for _, name := range one.takes.names() {
			names = append(names, pages.Part{Text: name, Style: pages.Code})
		}
		if names == nil {
			names = none()
		}
		table.Rows = append(table.Rows, pages.Row{Cells: [][]pages.Part{line(pages.Words(one.method)), line(pages.Part{Text: one.path, Style: pages.Code}), line(pages.Words(needs)), names}})
	}
	host := p.r.Host
	p.page.Sections = []pages.Section{
		{About: line(pages.Words("Every page has a link to the same answer as JSON, NDJSON or CSV at its end. The JSON is that of auditsql with -o json.")),
			Links: line(pages.To(phrase.To("/v1/openapi.json", nil), "The description (OpenAPI)"), pages.To(phrase.To("/problems", nil), "What errors mean"))},
		{Heading: "Store a record", Stored: &pages.Stored{Label: "A command that stores a record", Text: fmt.Sprintf(
			"curl -H 'Authorization: Bearer asql_…' -H 'Content-Type: application/json' \\\n  -d '{\"timestamp\":%d,\"params\":{\"subject\":\"supplier/Northwind\"},\"result_confidence\":0.97}' \\\n  http://%s/v1/audits", p.nowTimestamp(), host)}},
		{Heading: "Paths", Table: table},
	}
	return nil
}
