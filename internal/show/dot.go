package show

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/tui"
)

// Dot is the form of pictures: a graph in the language of Graphviz. Only chains of answers have it.
const Dot tui.Form = "dot"

// dotColumns is how wide a text in a picture may be.
const dotColumns = 48

// dotText writes a text as a quoted string in which Graphviz finds nothing but the text. Inside the quotes it reads escapes that
// begin with a backslash, and entities as HTML has them.
func dotText(s string) string {
	return dotEscapes.Replace(tui.CutTo(legible.Visible(s), dotColumns, true))
}

var dotEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `&`, `&amp;`)

// dotLabel is a label of several lines, each of which is a text of its own.
func dotLabel(lines ...string) string {
	for i, line := range lines {
		lines[i] = dotText(line)
	}
	return `"` + strings.Join(lines, `\n`) + `"`
}

// A dotGraph writes a graph.
type dotGraph struct {
	out io.Writer
	err error
}

func (g *dotGraph) line(format string, args ...any) {
	if g.err == nil {
		_, g.err = fmt.Fprintf(g.out, format+"\n", args...)
	}
}

// begin writes what is common to all graphs. Everything flows from left to right.
func (g *dotGraph) begin() {
	g.line("digraph chain {")
	g.line("  rankdir=LR;")
	g.line(`  node [shape=box, style=rounded, fontname="Helvetica", fontsize=11];`)
	g.line(`  edge [fontname="Helvetica", fontsize=9];`)
}

func (g *dotGraph) end() error {
	g.line("}")
	return g.err
}

// alarming are the attributes of what nobody approved: a colour, and a wider line for those who see no colours.
const alarming = `, color="#b3261e", penwidth=2`

func alarm(unapproved bool) string {
	if unapproved {
		return alarming
	}
	return ""
}

// hashName is a hash in a picture: its label, and its first digits.
func hashName(h audit.Hash, label *string) string {
	const brief = 8
	if label == nil {
		return h.String()[:brief]
	}
	return *label + " " + h.String()[:brief]
}

func agentName(agent *audit.AgentID, label *string) string {
	if agent == nil {
		return "anonymous"
	}
	return hashName(*agent, label)
}

func questionName(subject, predicate *string) string {
	text := func(s *string) string {
		if s == nil {
			return "-"
		}
		return tui.CutTo(legible.Visible(*s), dotColumns/2, true)
	}
	return text(subject) + " / " + text(predicate)
}

// Dot writes the answers as a graph: the hash, the answers, and which of them led to which.
func (d *Downstream) Dot(ctx context.Context, out io.Writer, leaveOut func(error) bool) error {
	g := dotGraph{out: out}
	g.begin()
	head := d.Viewer.DownstreamHead(d.Hash, d.Options)
	g.line(`  "%s" [label=%s, shape=ellipse, style=bold];`, head.Hash, dotLabel(head.Kind, hashName(head.Hash, head.Label)))
	err := d.Walk(ctx, func(_ *view.DownstreamWalk, answers iter.Seq2[view.DownstreamAnswer, error]) error {
		for a, err := range answers {
			if err != nil {
				if leaveOut(err) {
					continue
				}
				return err
			}
			result := "no answer"
			if a.ResultHash != nil {
				result = "→ " + hashName(*a.ResultHash, a.ResultLabel)
			}
			g.line(`  "%s" [label=%s%s];`, a.QueryID, dotLabel(agentName(a.AgentID, a.AgentLabel), questionName(a.Subject, a.Predicate), a.Time, result), alarm(a.Unapproved))
			from := head.Hash
			if a.By != nil {
				from = *a.By
			}
			g.line(`  "%s" -> "%s" [label=%s%s];`, from, a.QueryID, dotLabel(Weight(a.Weight)+" "+a.Lifecycle), alarm(a.Unapproved))
		}
		return g.err
	})
	if err != nil {
		return err
	}
	for _, bound := range d.Bounds() {
		g.line(`  // %s`, bound)
	}
	return g.end()
}

// OriginsDot writes the origins of a record as a graph: what nobody has answered before, the answers that rest on it, and the record.
func OriginsDot(out io.Writer, o *view.Origins) error {
	g := dotGraph{out: out}
	g.begin()
	q := &o.Audit
	result := "no answer"
	if q.ResultHash != nil {
		result = "→ " + hashName(*q.ResultHash, q.ResultLabel)
	}
	g.line(`  "%s" [label=%s, style="rounded,bold"];`, o.QueryID, dotLabel(agentName(o.AgentID, o.AgentLabel), questionName(q.Params.Subject, q.Params.Predicate), o.Time, result))
	met := map[string]bool{}
	for i := range o.Pieces {
		p := &o.Pieces[i]
		bad := p.Lifecycle.Unapproved()
		from := p.AssertionHash.String() + " " + p.SourceHash.String()
		if a := p.Answered; a != nil {
			from = a.QueryID.String()
			if !met[from] && a.QueryID != o.QueryID {
				g.line(`  "%s" [label=%s];`, from, dotLabel(agentName(a.AgentID, a.AgentLabel), a.Time, "→ "+hashName(p.AssertionHash, p.AssertionLabel)))
			}
		} else if !met[from] {
			g.line(`  "%s" [label=%s, shape=ellipse%s];`, from, dotLabel(hashName(p.AssertionHash, p.AssertionLabel), p.Lifecycle.String()+", from "+hashName(p.SourceHash, p.SourceLabel)), alarm(bad))
		}
		met[from] = true
		g.line(`  "%s" -> "%s" [label=%s%s];`, from, p.Of, dotLabel(tui.Number(p.Weight).Text), alarm(bad))
	}
	if o.Cut != nil {
		g.line(`  // cut by %s: not all of it is here`, *o.Cut)
	}
	return g.end()
}
