package otlp

import (
	"bytes"
	"cmp"
	"slices"
	"sort"
	"strings"

	"github.com/auditsql/auditsql/audit"
)

// A graph is the spans of one trace with their parents.
type graph struct {
	of     map[SpanID]*node
	models []*Reduced // with words, by their starts
	// What the first root that has it says: it is about the whole trace, also about spans whose parents are not there.
	session, user string
}

// A node is a span in the graph, and what it has from the spans above it.
type node struct {
	span  *Reduced
	above *node // nil: a root, or its parent is not there

	resolved bool
	agent    *Named // the nearest name, its own first
	caller   *Named // the name of the nearest ancestor that is an agent, itself first
	workflow *Named
	session  string
	user     string
	top      *node // the span at which the way up ends

	tellsAbove bool       // an ancestor is a retrieval that contains documents
	tellsBelow bool       // a descendant is one
	models     []*Reduced // with words, below this span and not more than maxWay spans down; by their starts
}

// maxWay is how many spans up a retrieval looks for the model that used it, before it takes the nearest of the whole trace.
const maxWay = 64

// An inherited is what a record has from other spans.
type inherited struct {
	agent         *Named
	session, user string
	model         string
	answer        *audit.Hash
}

func newGraph(spans []*Reduced) *graph {
	g := &graph{of: make(map[SpanID]*node, len(spans))}
	for _, r := range spans {
		n := g.of[r.Span]
		if n == nil {
			g.of[r.Span] = &node{span: r}
		} else if better(r, n.span) {
			n.span = r
		}
	}
	ordered := make([]*node, 0, len(g.of))
	for _, n := range g.of {
		ordered = append(ordered, n)
	}
	// The order decides where a circle of parents is cut, so it must not be that of arrival.
	slices.SortFunc(ordered, func(a, b *node) int { return byStart(a.span, b.span) })
	for _, n := range ordered {
		if n.span.Parent != n.span.Span {
			n.above = g.of[n.span.Parent]
		}
	}
	for _, n := range ordered {
		g.cutCircle(n)
	}
	for _, n := range ordered {
		g.resolve(n)
	}
	for _, n := range ordered {
		if n.above == nil {
			g.session, g.user = cmp.Or(g.session, n.session), cmp.Or(g.user, n.user)
		}
		if r := n.span.Retrieved; r != nil && r.tells() {
			for up := n.above; up != nil && !up.tellsBelow; up = up.above {
				up.tellsBelow = true
			}
		}
		if n.span.Answer != nil {
			g.models = append(g.models, n.span)
			for up, way := n.above, 0; up != nil && way < maxWay; up, way = up.above, way+1 {
				up.models = append(up.models, n.span)
			}
		}
	}
	return g
}

// better decides which of two spans with one id counts. Of two retrievals it is the first. Otherwise a retrieval counts, and of
// others the one that ended later: some emitters send a span when it begins, and again when it has ended.
func better(r, than *Reduced) bool {
	switch {
	case than.Class == Retrieval:
		return false
	case r.Class == Retrieval:
		return true
	case r.End != than.End:
		return r.End > than.End
	}
	a, _ := r.Encode()
	b, _ := than.Encode()
	return bytes.Compare(a, b) > 0
}

func byStart(a, b *Reduced) int {
	return cmp.Or(cmp.Compare(a.Start, b.Start), bytes.Compare(a.Span[:], b.Span[:]))
}

// cutCircle takes a parent away from spans that are their own ancestors. A node that has top is known to lead to an end.
func (g *graph) cutCircle(n *node) {
	var way []*node
	seen := map[*node]bool{}
	for at := n; at != nil && at.top == nil; at = at.above {
		if seen[at] {
			way[len(way)-1].above = nil
			break
		}
		seen[at] = true
		way = append(way, at)
	}
	for i := len(way) - 1; i >= 0; i-- {
		if way[i].above == nil {
			way[i].top = way[i]
		} else {
			way[i].top = way[i].above.top
		}
	}
}

// resolve fills in what n has from above. It goes up without recursion: a trace may be a chain of 100,000 spans.
func (g *graph) resolve(n *node) {
	var way []*node
	for at := n; at != nil && !at.resolved; at = at.above {
		way = append(way, at)
	}
	for i := len(way) - 1; i >= 0; i-- {
		n := way[i]
		n.resolved = true
		r := n.span
		n.agent, n.workflow, n.session, n.user = r.Agent, r.Workflow, r.Session, r.User
		if up := n.above; up != nil {
			n.agent = cmp.Or(n.agent, up.agent)
			n.workflow = cmp.Or(n.workflow, up.workflow)
			n.session = cmp.Or(n.session, up.session)
			n.user = cmp.Or(n.user, up.user)
			n.caller = up.caller
			n.tellsAbove = up.tellsAbove || up.span.Retrieved != nil && up.span.Retrieved.tells()
		}
		if r.AgentSpan && r.Class != Retrieval && r.Name != "" {
			called := strings.TrimPrefix(r.Name, "invoke_agent ")
			n.caller = &Named{Name: called, Hash: namedHash(called), From: "name of an agent's span"}
		}
	}
}

// tells reports whether a retrieval contains documents.
func (t *Retrieved) tells() bool { return len(t.Documents) > 0 || t.Untold > 0 }

// wrapper reports whether a retrieval that contains no documents is around, or in, one that does.
func (g *graph) wrapper(n *node) bool {
	t := n.span.Retrieved
	return !t.Told && !t.Unreadable && (n.tellsAbove || n.tellsBelow)
}

// inherited collects what a retrieval has from other spans.
func (g *graph) inherited(n *node) inherited {
	i := inherited{agent: cmp.Or(n.agent, n.caller, n.workflow), session: n.session, user: n.user}
	if service := n.span.Service; i.agent == nil && service != "" && !strings.HasPrefix(service, "unknown_service") {
		i.agent = &Named{Name: service, Hash: namedHash(service), From: "service.name"}
	}
	if top := n.top.span; i.agent == nil && top.Parent == (SpanID{}) && top.Name != "" {
		i.agent = &Named{Name: top.Name, Hash: namedHash(top.Name), From: "name of the root"}
	}
	i.session, i.user = cmp.Or(i.session, g.session), cmp.Or(i.user, g.user)
	if model := g.model(n); model != nil {
		i.model, i.answer = model.Model, model.Answer
	}
	return i
}

// model finds the nearest model span with words that began after the retrieval: the first one below the nearest ancestor that has
// one, or the first one of the trace.
func (g *graph) model(n *node) *Reduced {
	after := func(models []*Reduced) *Reduced {
		i := sort.Search(len(models), func(i int) bool { return models[i].Start >= n.span.Start })
		if i == len(models) {
			return nil
		}
		return models[i]
	}
	for up, way := n.above, 0; up != nil && way < maxWay; up, way = up.above, way+1 {
		if m := after(up.models); m != nil {
			return m
		}
	}
	return after(g.models)
}
