// Package report writes a view.Report as Markdown: what somebody attaches to an incident.
//
//	report.Write(w, r, report.About{…})
//
// The same report gives the same bytes. Stored texts and labels are always code spans, so nothing that an agent wrote is a link,
// an image, HTML or any other markup. Tables show the first digits of hashes, as many as are unambiguous in the report; all digits
// are at its end.
//
// It leaves to others what the report is about (audit/view), the files beside it, and where it is written to.
package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
)

// About is what the report says about itself.
type About struct {
	Clock when.Clock
	Zone  string   // of the times, as --tz has it; "" is UTC
	Root  string   // of the tree over the first AsOf records, in base64
	More  bool     // the filter selects more records
	Files *Files   // beside the report; nil: the records are in it
	Raw   [][]byte // the records that the report names, in its order, as they are stored
	// Quote writes a word as a person types it.
	Quote func(string) string
}

// Files are what is beside a report.
type Files struct {
	Records string    // the file with the records, one a line
	SHA256  string    // of that file, in hex
	Proofs  *Evidence // nil: there are none
	Without string    // why there are no proofs
}

// Evidence is the file with the proofs.
type Evidence struct {
	File    string
	Records int // that it proves
	Missing int // of the report, which no checkpoint covers yet
	Origin  string
	Size    int64
	Keys    []string
}

// Write writes a report.
func Write(w io.Writer, r *view.Report, about About) error {
	if about.Zone == "" {
		about.Zone = "UTC"
	}
	// The shortest hashes that are not the beginning of two different ones here.
	for _, digits := range []int{8, 12, 16, 24, 32, 64} {
		p := &page{report: r, about: about, digits: digits, hashes: map[string]*string{}}
		p.all()
		if digits == 64 || !p.ambiguous() {
			_, err := io.WriteString(w, p.out.String())
			return err
		}
	}
	return nil
}

// A page is a report that is being written.
type page struct {
	report *view.Report
	about  About
	out    strings.Builder
	digits int
	hashes map[string]*string // that were shown, and their labels
	order  []string           // of them, as they were shown first
}

// ambiguous reports whether two hashes look the same.
func (p *page) ambiguous() bool {
	seen := map[string]bool{}
	for h := range p.hashes {
		if seen[h[:p.digits]] {
			return true
		}
		seen[h[:p.digits]] = true
	}
	return false
}

// hash shows a hash with its label.
func (p *page) hash(h audit.Hash, label *string) string {
	s := h.String()
	if was, known := p.hashes[s]; !known {
		p.hashes[s], p.order = label, append(p.order, s)
	} else if was == nil {
		p.hashes[s] = label
	}
	shown := "`" + s[:p.digits] + "`"
	if label != nil {
		shown += " " + stored(*label)
	}
	return shown
}

func (p *page) hashOr(h *audit.Hash, label *string) string {
	if h == nil {
		return none
	}
	return p.hash(*h, label)
}

func (p *page) agent(id *audit.AgentID, label *string) string {
	if id == nil {
		return "anonymous"
	}
	return p.hash(*id, label)
}

func (p *page) line(format string, args ...any) { fmt.Fprintf(&p.out, format+"\n", args...) }

// table writes a table. Cells are Markdown.
func (p *page) table(columns []string, rows [][]string) {
	p.line("| %s |", strings.Join(columns, " | "))
	p.line("|%s", strings.Repeat("---|", len(columns)))
	for _, row := range rows {
		p.line("| %s |", strings.Join(row, " | "))
	}
	p.line("")
}

// command writes the command that gives what follows.
func (p *page) command(steps ...view.Step) {
	var lines []string
	for _, s := range steps {
		if len(s.Args) == 0 {
			continue
		}
		words := []string{"$ auditsql"}
		args := s.Args
		if p.about.Zone != "UTC" && args[0] != "get" {
			args = slices.Insert(slices.Clone(args), 1, "--tz", p.about.Zone)
		}
		for _, arg := range args {
			words = append(words, p.about.Quote(arg))
		}
		lines = append(lines, strings.Join(words, " "))
	}
	if len(lines) == 0 {
		p.line("(There is no command for this: the question cannot be typed as it is shown.)\n")
		return
	}
	p.line("%s", block("console", lines...))
}

func (p *page) time(timestamp uint64) string { return p.about.Clock.Format(timestamp) }

func (p *page) all() {
	p.head()
	for i := range p.report.Records {
		p.record(i)
	}
	p.reach()
	p.questions()
	p.damaged()
	p.names()
	p.records()
	p.check()
}

func (p *page) head() {
	r := p.report
	p.line("# Report on %s\n", tui.Counted(len(r.Records), "record", "records"))
	p.line("The store had %s. Every answer here is of that moment, and the commands with `--as-of %d` give it again. Labels are those of the day of the report.\n",
		tui.Counted(r.AsOf, "record", "records"), r.AsOf)
	p.line("The root of the tree over these records is `%s`.\n", p.about.Root)
	p.line("Times are in %s. What agents wrote, and labels, are set `like this`. In them `\\u` and a number stand for a character that cannot be shown. A long text is cut, and then ends in `…`.\n", stored(p.about.Zone))
	if p.about.More {
		p.line("**The filter selects more records than the report has.**\n")
	}
	if len(r.Records) < 2 {
		return
	}
	var rows [][]string
	for i := range r.Records {
		q := &r.Records[i].Audit
		rows = append(rows, []string{strconv.Itoa(i + 1), p.hash(q.QueryID, nil), p.time(q.Timestamp), p.agent(q.AgentID, q.AgentLabel), storedOr(q.Params.Subject), storedOr(q.Params.Predicate)})
	}
	p.table([]string{"", "record", "time", "agent", "subject", "predicate"}, rows)
}

// record writes why an agent was answered so.
func (p *page) record(i int) {
	one := &p.report.Records[i]
	t := one.Trace
	q := &t.Audit
	p.line("## %d. Record %s\n", i+1, p.hash(q.QueryID, nil))
	p.command(one.Command)
	lifecycle := none
	if q.Params.Lifecycle != nil {
		lifecycle = q.Params.Lifecycle.String()
	}
	p.table([]string{"", ""}, [][]string{
		{"time", p.time(q.Timestamp)},
		{"agent", p.agent(q.AgentID, q.AgentLabel)},
		{"subject", storedOr(q.Params.Subject)},
		{"predicate", storedOr(q.Params.Predicate)},
		{"lens", storedOr(q.Params.Lens)},
		{"lifecycle asked for", lifecycle},
		{"epoch", p.hashOr(q.Params.Epoch, nil)},
		{"answer", p.hashOr(q.ResultHash, t.ResultLabel)},
		{"confidence", number(q.ResultConfidence)},
	})
	if len(t.Findings) > 0 {
		for _, f := range t.Findings {
			p.line("* **%s**", f.Text)
		}
		p.line("")
	}
	p.evidence(t)
	p.others(t)
	p.around(t)
	p.attributes(q)
	if one.Since != nil {
		p.since(one.Since)
	}
}

func (p *page) evidence(t *view.Trace) {
	p.line("### Its evidence\n")
	if len(t.Evidence) == 0 {
		p.line("There is none.\n")
		return
	}
	p.line("%s, total weight %s.\n", tui.Counted(len(t.Evidence), "piece", "pieces"), show.Weight(t.TotalWeight))
	var rows [][]string
	var selected show.Selection
	for i := range t.Evidence {
		e := &t.Evidence[i]
		if !selected.Shows("", e.Lifecycle.Unapproved()) {
			continue
		}
		answer, seen := "", none
		if e.Result {
			answer = "yes"
		}
		if e.FirstSeen != nil {
			seen = p.about.Clock.Apart(*e.FirstSeen, t.Audit.Timestamp)
		}
		rows = append(rows, []string{number(e.Weight), p.hash(e.AssertionHash, e.AssertionLabel), lifecycle(e.Lifecycle), answer, p.hash(e.SourceHash, e.SourceLabel),
			seen, atLeast(e.Answers, e.More), atLeast(e.Agents, e.More)})
	}
	p.table([]string{"weight", "assertion", "lifecycle", "the answer", "source", "first seen", "answers with it", "agents"}, rows)
	if selected.Left > 0 {
		p.line("%d more of less weight, %d of them not Approved.\n", selected.Left, selected.LeftUnapproved)
	}
}

// others says who else used evidence that nobody approved.
func (p *page) others(t *view.Trace) {
	var rows [][]string
	left := 0
	for i := range t.Evidence {
		e := &t.Evidence[i]
		for n, other := range e.Others.ByAgent {
			if n >= show.ShownOthers || len(rows) >= 2*show.ShownOthers {
				left++
				continue
			}
			rows = append(rows, []string{p.hash(e.AssertionHash, e.AssertionLabel), lifecycle(e.Lifecycle), p.agent(other.AgentID, other.AgentLabel),
				strconv.FormatUint(other.Answers, 10), p.span(other.First, other.Last)})
		}
	}
	if len(rows) == 0 {
		return
	}
	p.line("### Who else used what is not Approved\n")
	p.table([]string{"assertion", "lifecycle", "agent", "other answers", "when"}, rows)
	if left > 0 {
		p.line("%s.\n", tui.Counted(left, "more agent", "more agents"))
	}
}

func (p *page) around(t *view.Trace) {
	if len(t.Before)+len(t.After) == 0 {
		return
	}
	p.line("### What the agent asked before and after\n")
	var rows [][]string
	add := func(mark string, q *view.Record) {
		rows = append(rows, []string{mark, p.time(q.Timestamp), p.hash(q.QueryID, nil), storedOr(q.Params.Subject), storedOr(q.Params.Predicate),
			p.hashOr(q.ResultHash, q.ResultLabel), number(q.ResultConfidence), approved(len(q.ContributingAssertions), q.Approved(), q.Unapproved())})
	}
	for i := range t.Before {
		add("", &t.Before[i])
	}
	add("this one", &t.Audit)
	for i := range t.After {
		add("", &t.After[i])
	}
	p.table([]string{"", "time", "record", "subject", "predicate", "answer", "confidence", "approved evidence"}, rows)
}

// mostAttributes is how many attributes of a record a report shows.
const mostAttributes = 40

func (p *page) attributes(q *view.Record) {
	if len(q.Attributes) == 0 {
		return
	}
	p.line("### What else it says\n")
	p.command(view.Step{Args: []string{"get", q.QueryID.String()}})
	keys := slices.Sorted(maps.Keys(q.Attributes))
	var rows [][]string
	for _, key := range keys[:min(len(keys), mostAttributes)] {
		value, isText := q.Attributes[key].(string)
		if !isText {
			value = string(tui.ToJSON(q.Attributes[key]))
		}
		rows = append(rows, []string{stored(key), stored(value)})
	}
	p.table([]string{"attribute", "value"}, rows)
	if over := len(keys) - mostAttributes; over > 0 {
		p.line("%s.\n", tui.Counted(over, "more attribute", "more attributes"))
	}
}

// since writes what changed since the same was last asked.
func (p *page) since(d *view.ReportedDiff) {
	p.line("### Since the agent last asked the same\n")
	p.command(d.Command)
	if d.Flipped {
		causes := view.CauseTexts(d.Causes)
		if len(causes) == 0 {
			causes = []string{"nothing that is recorded explains it"}
		}
		p.line("**The answer is another**: %s.\n", strings.Join(causes, ", "))
	}
	var rows [][]string
	for _, f := range d.Fields {
		name, from, to := strings.ReplaceAll(f.Field, "_", " "), storedOr(f.From), storedOr(f.To)
		switch f.Field {
		case "agent_id":
			name, from, to = "agent", p.agent(d.From.AgentID, d.From.AgentLabel), p.agent(d.To.AgentID, d.To.AgentLabel)
		case "epoch":
			from, to = p.hashOr(d.From.Params.Epoch, nil), p.hashOr(d.To.Params.Epoch, nil)
		case "result_hash":
			name, from, to = "answer", p.hashOr(d.From.ResultHash, d.From.ResultLabel), p.hashOr(d.To.ResultHash, d.To.ResultLabel)
		case "timestamp":
			name, from, to = "time", p.time(d.From.Timestamp), p.time(d.To.Timestamp)
		}
		rows = append(rows, []string{strings.TrimPrefix(name, "result "), from, to})
	}
	if len(rows) > 0 {
		p.table([]string{"", "from", "to"}, rows)
	}
	rows = nil
	var selected show.Selection
	for i := range d.Evidence {
		e := &d.Evidence[i]
		if selected.Shows(e.Change, e.Unapproved()) {
			rows = append(rows, []string{e.Change, p.hash(e.AssertionHash, e.AssertionLabel), p.side(e.From), p.side(e.To)})
		}
	}
	if len(rows) > 0 {
		p.table([]string{"evidence", "assertion", "from", "to"}, rows)
	}
	if selected.Left > 0 {
		p.line("%d more pieces, %d of them not Approved.\n", selected.Left, selected.LeftUnapproved)
	}
	rows = nil
	for i, a := range d.Attributes {
		if i == mostAttributes {
			break
		}
		rows = append(rows, []string{stored(a.Key), storedOr(a.From), storedOr(a.To)})
	}
	if len(rows) > 0 {
		p.table([]string{"attribute", "from", "to"}, rows)
	}
	if over := len(d.Attributes) - mostAttributes; over > 0 {
		p.line("%s.\n", tui.Counted(over, "more attribute", "more attributes"))
	}
}

func (p *page) side(s *view.Side) string {
	if s == nil {
		return none
	}
	return number(s.Weight) + ", " + lifecycle(s.Lifecycle) + ", " + p.hash(s.SourceHash, s.SourceLabel)
}

// span is a span of time.
func (p *page) span(first, last uint64) string {
	if first == last {
		return p.time(first)
	}
	return p.time(first) + " to " + p.time(last)
}

// number is a number as JSON has it.
func number[T float32 | float64](n T) string { return string(tui.ToJSON(n)) }

// lifecycle marks what is not approved.
func lifecycle(l audit.Lifecycle) string {
	if l.Unapproved() {
		return "**" + l.String() + "**"
	}
	return l.String()
}

// approved is how much of some evidence is approved.
func approved(all, approved, unapproved int) string {
	switch {
	case all == 0:
		return none
	case unapproved > 0:
		return fmt.Sprintf("**%d of %d**", approved, all)
	}
	return fmt.Sprintf("%d of %d", approved, all)
}

// atLeast is a count, with a + after it where counting ended at a limit.
func atLeast(n int, more bool) string {
	if more {
		return strconv.Itoa(n) + "+"
	}
	return strconv.Itoa(n)
}
