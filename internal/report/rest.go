package report

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
)

// reach writes what the evidence went into that nobody approved, and what came from its sources.
func (p *page) reach() {
	if len(p.report.Reach) == 0 {
		return
	}
	p.line("## Where it went\n")
	for i := range p.report.Reach {
		r := &p.report.Reach[i]
		p.line("### %s %s\n", strings.ToUpper(r.Kind[:1])+r.Kind[1:], p.hash(r.Hash, r.Label))
		p.command(r.Command)
		t := &r.Totals
		if t.Answers == 0 {
			p.line("It is in the evidence of no answer.\n")
			continue
		}
		answers := tui.Counted(t.Answers, "answer", "answers")
		if t.Cut {
			answers = fmt.Sprintf("at least %d answers: the count was ended there, and the figures are of these", t.Answers)
		}
		agents := tui.Counted(t.Agents, "agent", "agents")
		if t.Anonymous > 0 {
			agents += fmt.Sprintf(" and %d anonymous ones", t.Anonymous)
		}
		p.line("It went into %s, of %s, from %s. It was the answer in %d, and weighs %s in all.\n", answers, agents, p.span(*t.First, *t.Last), t.Results, show.Weight(t.Weight))
		p.byAgent(t)
		var rows [][]string
		for j := range r.Answers {
			a := &r.Answers[j]
			answer := ""
			if a.Result {
				answer = "yes"
			}
			lifecycle := a.Lifecycle
			if a.Unapproved {
				lifecycle = "**" + lifecycle + "**"
			}
			rows = append(rows, []string{a.Time, p.hash(a.QueryID, nil), p.agent(a.AgentID, a.AgentLabel), storedOr(a.Subject), storedOr(a.Predicate),
				show.Weight(a.Weight), lifecycle, answer, number(a.ResultConfidence)})
		}
		p.table([]string{"time", "record", "agent", "subject", "predicate", "weight", "lifecycle", "the answer", "confidence"}, rows)
		if r.More {
			p.line("There are more answers than these %d, the oldest.\n", len(r.Answers))
		}
	}
	if p.report.MoreReach {
		p.line("There is more evidence that is not Approved: `auditsql impact` says where each went.\n")
	}
}

func (p *page) byAgent(t *view.ImpactTotals) {
	if len(t.ByAgent) < 2 {
		return
	}
	var by []string
	for i, a := range t.ByAgent {
		if i == 2*show.ShownOthers {
			by = append(by, tui.Counted(len(t.ByAgent)-i, "more agent", "more agents"))
			break
		}
		by = append(by, fmt.Sprintf("%s %d", p.agent(a.AgentID, a.AgentLabel), a.Answers))
	}
	p.line("By agent: %s.\n", strings.Join(by, ", "))
}

// questions writes how the answers to the questions changed.
func (p *page) questions() {
	if len(p.report.Questions) == 0 {
		return
	}
	p.line("## How the answers changed\n")
	for i := range p.report.Questions {
		q := &p.report.Questions[i]
		p.line("### %s / %s\n", stored(q.Subject), stored(q.Predicate))
		p.command(q.Before, q.After)
		if q.Earlier {
			p.line("There are earlier answers.\n")
		}
		var rows [][]string
		for j := range q.Answers {
			a := &q.Answers[j]
			changed := ""
			if a.Flipped {
				changed = "**changed**"
				if causes := view.CauseTexts(a.Causes); len(causes) > 0 {
					changed += ": " + strings.Join(causes, ", ")
				}
			}
			asked := none
			if a.Lifecycle != nil {
				asked = a.Lifecycle.String()
			}
			rows = append(rows, []string{a.Time, p.hash(a.QueryID, nil), p.agent(a.AgentID, a.AgentLabel), p.hashOr(a.ResultHash, a.ResultLabel),
				number(a.ResultConfidence), asked, storedOr(a.Lens), approved(a.Contributions, a.Approved, a.Unapproved), changed})
		}
		p.table([]string{"time", "record", "agent", "answer", "confidence", "asked for", "lens", "approved evidence", ""}, rows)
		if q.Later {
			p.line("There are later answers.\n")
		}
	}
}

// damaged names the records that could not be read.
func (p *page) damaged() {
	if len(p.report.Damaged) == 0 {
		return
	}
	p.line("## What could not be read\n")
	p.line("**These records are damaged in the store. What they say is missing from this report.** `auditsql repair` shows what can be done.\n")
	for _, d := range p.report.Damaged {
		p.line("* `%s`", d.ID)
	}
	p.line("")
}

// names writes all digits of the hashes.
func (p *page) names() {
	if len(p.order) == 0 {
		return
	}
	p.line("## Hashes in full\n")
	rows := make([][]string, len(p.order))
	for i, h := range p.order {
		rows[i] = []string{"`" + h[:p.digits] + "`", "`" + h + "`", storedOr(p.hashes[h])}
	}
	p.table([]string{"here", "in full", "label"}, rows)
}

// records says where the records are, or has them.
func (p *page) records() {
	p.line("## The records\n")
	if f := p.about.Files; f != nil {
		p.line("`%s` has the records that this report names (%d), byte for byte as they are stored, one a line, in the order of time. Its SHA-256 is `%s`.\n",
			f.Records, len(p.about.Raw), f.SHA256)
		return
	}
	p.line("These are the records that this report names, one a line, in the order of time. Characters that cannot be seen are written as `\\u` and their number, which JSON takes for the same; `auditsql get --raw ID` prints the stored bytes.\n")
	lines := make([]string, len(p.about.Raw))
	for i, raw := range p.about.Raw {
		lines[i] = visibleJSON(raw)
	}
	p.line("%s", block("json", lines...))
}

// check says how somebody can check the report.
func (p *page) check() {
	p.line("## How to check this\n")
	n := 0
	item := func(format string, args ...any) {
		n++
		p.line(strconv.Itoa(n)+". "+format, args...)
	}
	item("Run the commands above on the store, with `-d` for its folder. They only read.")
	item("`auditsql verify` says whether the store agrees with itself. `auditsql log root` prints the root of the tree over all records that it has now.")
	if f := p.about.Files; f != nil {
		item("`sha256sum %s` must print the SHA-256 above. `auditsql export` prints the same bytes for the same records.", f.Records)
	}
	switch f := p.about.Files; {
	case f == nil:
		item("This file has no proofs. `auditsql prove ID -o evidence.zip` writes them if the store signs its log, and so does `auditsql report -o FILE.zip`.")
	case f.Proofs == nil:
		item("There are no proofs: %s. Give the SHA-256 above to somebody else today, so that a later change of the files can be noticed.", f.Without)
	default:
		e := f.Proofs
		item("`%s` has %d of the records with proofs, which lead to the checkpoint of %s that %s signed. It needs no store to be checked, and a README in it says how that is done by hand:",
			e.File, e.Records, tui.Counted(uint64(e.Size), "record", "records"), stored(e.Origin))
		keys := ""
		for _, key := range e.Keys {
			keys += " --key " + p.about.Quote(key)
		}
		p.line("\n   %s", strings.ReplaceAll(strings.TrimSuffix(block("console", "$ auditsql check "+e.File+keys), "\n"), "\n", "\n   "))
		p.line("\n   Get the key by another way than with this report: a key that comes with the evidence proves nothing.")
		if e.Missing > 0 {
			item("**Without a proof: %s.** That checkpoint does not cover them yet.", tui.Counted(e.Missing, "record", "records"))
		}
	}
}
