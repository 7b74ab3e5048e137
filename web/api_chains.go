package web

import (
	"context"
	"net/http"
	"strconv"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
)

// The parameters of chains of answers.
const (
	depthName    = "depth"
	anyOrderName = "any-order"
	upName       = "up"

	allSteps = "all"
)

// mostFollowed is the greatest limit of a walk: it keeps what it has reached.
const mostFollowed = 100_000

// reachedBytes is about what a walk keeps of an answer that it has reached.
const reachedBytes = 512

// follow reads how far answers are followed. ok is false if they are not. Then the limit is usual unless it is given. drawn says that
// the answer is a graph, which only answers that are followed have.
func (q *question) follow(usual int, drawn bool) (o audit.DownstreamOptions, ok bool, err error) {
	if o.AnyOrder, err = q.isSet(anyOrderName); err != nil {
		return o, false, err
	}
	depth := q.own(depthName, "")
	switch {
	case depth == "" && q.values.Has(anyOrderName):
		return o, false, problem(kindParameter, "%s goes with %s", anyOrderName, depthName).at(anyOrderName)
	case depth == "" && drawn:
		return o, false, problem(kindParameter, "%s=%s goes with %s", formName, show.Dot, depthName).at(formName)
	case depth == "":
		q.limitOr(usual)
		return o, false, nil
	}
	if depth != allSteps {
		if o.Depth, err = strconv.Atoi(depth); err != nil || o.Depth < 1 {
			return o, false, problem(kindParameter, "%s: want a number of steps from 1, or %s", depthName, allSteps).at(depthName)
		}
	}
	if len(q.filter["desc"]) > 0 {
		return o, false, problem(kindParameter, "desc goes without %s: the nearest answers come first", depthName).at("desc")
	}
	q.limitOr(audit.DefaultDownstreamAnswers)
	limit, err := strconv.Atoi(q.filter["limit"][0])
	if err != nil || limit < 1 || limit > mostFollowed {
		return o, false, problem(kindParameter, "limit: with %s want a number from 1 to %d", depthName, mostFollowed).at("limit")
	}
	o.Budget = audit.Budget{Records: uint64(limit), Time: audit.DefaultDownstreamTime}
	return o, true, nil
}

// downstream answers GET /v1/impact/{hash} with depth.
func (s *Server) downstream(w http.ResponseWriter, r *http.Request, q *question, h audit.Hash, o audit.DownstreamOptions) error {
	return s.answered(w, r, q, s.expensive, func(ctx context.Context, v *view.Viewer, a *answer) error {
		if err := v.CheckEvidence(ctx, h, o.Source, o.Filter.AsOf); err != nil {
			return err
		}
		a.found = int64(o.Budget.Records) * reachedBytes
		d := show.Downstream{Viewer: v, Hash: h, Options: o}
		var err error
		if q.form == show.Dot {
			err = d.Dot(ctx, a, a.leaveOut)
		} else {
			err = d.Write(ctx, rowsOf[view.DownstreamAnswer](a), a.leaveOut)
		}
		a.more = d.Tail.Totals.Cut != nil
		return err
	})
}

// origins answers GET /v1/audits/{id}/trace with up.
func (s *Server) origins(w http.ResponseWriter, r *http.Request, q *question) error {
	for _, name := range []string{neighboursName, lowConfidenceName} {
		if q.values.Has(name) {
			return problem(kindParameter, "%s goes without %s", name, upName).at(name)
		}
	}
	id, err := s.pathID(r.Context(), r, "id", q.asOf)
	if err != nil {
		return err
	}
	return s.reading(w, r, q, func(ctx context.Context) error {
		return s.answered(w, r, q, s.bounded, func(ctx context.Context, v *view.Viewer, a *answer) error {
			o, err := v.Origins(ctx, id, audit.OriginsOptions{
				AsOf: q.asOf, Budget: audit.Budget{Records: audit.DefaultOriginAnswers, Time: audit.DefaultOriginTime},
			})
			if err != nil {
				return err
			}
			for _, damaged := range o.Damaged {
				a.leaveOut(damaged)
			}
			a.more = o.Cut != nil
			if q.form == show.Dot {
				return show.OriginsDot(a, o)
			}
			out := rowsOf[view.OriginLine](a)
			if err := show.Origins(out, o); err != nil {
				return err
			}
			return out.End()
		})
	})
}
