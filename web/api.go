package web

import (
	"net/http"

	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
)

// The forms of answers.
var (
	threeForms = []tui.Form{tui.JSON, tui.NDJSON, tui.CSV}
	twoForms   = []tui.Form{tui.JSON, tui.NDJSON}
	chainForms = []tui.Form{tui.JSON, tui.NDJSON, tui.CSV, show.Dot}
	tailForms  = []tui.Form{events, tui.NDJSON}
)

// apiRoutes are the routes of the API.
func (s *Server) apiRoutes() []route {
	filter := func(own ...string) takes {
		return takes{filter: true, zone: true, reads: true, forms: threeForms, own: own}
	}
	without := func(t takes, names ...string) takes {
		t.without = names
		return t
	}
	drawn := func(t takes) takes {
		t.forms = chainForms
		return t
	}
	asked := func(own ...string) takes { return takes{zone: true, reads: true, forms: threeForms, own: own} }
	get := func(path string, t takes, handle handler) route {
		return route{method: http.MethodGet, path: path, scope: ScopeRead, takes: t, handle: handle}
	}
	routes := []route{
		{method: http.MethodPost, path: "/v1/audits", scope: ScopeWrite, writes: true, takes: takes{own: []string{maxFutureName, strictName}}, handle: s.putAudits},
		{method: http.MethodPut, path: "/v1/audits/{id}", scope: ScopeWrite, writes: true, takes: takes{own: []string{maxFutureName}}, handle: s.putUnder},
		get("/v1/audits/{id}", takes{}, s.getAudit),
		get("/v1/audits", filter(afterName, orderName), s.listAudits),
		get("/v1/recent", without(filter(), "desc"), s.recent),
		get("/v1/agents", without(filter(), "desc"), s.agents),
		get("/v1/agents/{id}/audits", without(filter(afterName, orderName), "agent", "anonymous", "not-agent", "not-anonymous"), s.agentAudits),
		{method: http.MethodHead, path: "/v1/agents/{id}", scope: ScopeRead, handle: s.hasAgent},

		get("/v1/audits/{id}/trace", drawn(asked(neighboursName, lowConfidenceName, upName, asOfName)), s.trace),
		get("/v1/trace", without(filter(neighboursName, lowConfidenceName), "desc"), s.traceSelected),
		get("/v1/impact/{hash}", drawn(without(filter(sourceName, depthName, anyOrderName), "assertion", "source")), s.impact),
		get("/v1/answers", without(filter(subjectName, predicateName, flipsName), "subject", "predicate", "not-subject", "not-predicate"), s.answers),
		get("/v1/diff/{a}/{b}", asked(asOfName), s.diff),
		get("/v1/timeline", without(filter(byName), "desc"), s.timeline),
		get("/v1/top", without(filter(byName, rankName, newSinceName, figuresName), "desc"), s.top),
		get("/v1/compare", without(filter(byName, withName, andName), "desc"), s.compare),
		get("/v1/count", without(filter(), "desc", "limit"), s.count),
		get("/v1/resolve", takes{own: []string{queryName, asOfName}, reads: true}, s.resolve),
		get("/v1/tail", takes{own: []string{afterName}, forms: tailForms}, s.tail),

		get("/v1/labels", takes{forms: threeForms}, s.labels),
		{method: http.MethodPut, path: "/v1/labels", scope: ScopeLabel, writes: true, handle: s.putLabels},
		get("/v1/labels/{hash}", takes{}, s.labelOf),
		{method: http.MethodPut, path: "/v1/labels/{hash}", scope: ScopeLabel, writes: true, handle: s.putLabel},
		{method: http.MethodDelete, path: "/v1/labels/{hash}", scope: ScopeLabel, writes: true, handle: s.deleteLabel},

		get("/v1/checkpoint", takes{}, s.checkpoint),
		get("/checkpoint", takes{}, s.checkpoint),
		get("/v1/audits/{id}/proof", takes{}, s.proof),
		get("/tile/{tile...}", takes{}, s.tile),

		get("/v1/stats", takes{forms: threeForms}, s.stats),
		{method: http.MethodPost, path: "/v1/verify", scope: ScopeOps, takes: takes{own: []string{quickName}, forms: twoForms}, handle: s.verify},
		{method: http.MethodGet, path: "/healthz", open: true, alive: true, handle: s.healthz},
		{method: http.MethodGet, path: "/readyz", open: true, alive: true, handle: s.readyz},
		{method: http.MethodGet, path: "/v1/openapi.json", handle: s.openAPI},
		{method: http.MethodGet, path: "/problems", open: true, handle: s.problemTypes},
		{method: http.MethodGet, path: "/problems/{type}", open: true, handle: s.problemType},
	}
	if s.metrics != nil {
		routes = append(routes, route{method: http.MethodGet, path: "/metrics", scope: ScopeMetrics, alive: true, handle: s.serveMetrics})
	}
	return routes
}

// A handler answers a request, or returns why it cannot.
type handler = func(w http.ResponseWriter, r *http.Request, q *question) error
