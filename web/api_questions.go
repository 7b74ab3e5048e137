package web

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
)

// The limits of the questions are those of the commands.
const (
	impactLimit   = 100
	answersLimit  = 100
	timelineLimit = 1000
	timelineMost  = 10_000
	tracesMost    = 100
)

// agents answers GET /v1/agents. Without a filter it is cheap: the store counts the records of each agent as they come.
func (s *Server) agents(w http.ResponseWriter, r *http.Request, q *question) error {
	return s.reading(w, r, q, func(ctx context.Context) error {
		f, err := s.filter(ctx, w, q)
		if err != nil {
			return err
		}
		run := s.expensive
		if len(q.filter) == 0 || len(q.filter) == 1 && q.filter["limit"] != nil {
			run = s.bounded
		}
		return s.answered(w, r, q, run, func(ctx context.Context, v *view.Viewer, a *answer) error {
			return rows(a, v.Agents(ctx, f))
		})
	})
}

// rows writes the rows of a stream.
func rows[T any](a *answer, stream *view.Stream[T]) error {
	out := rowsOf[T](a)
	if err := show.Rows(out, stream.Rows(), a.leaveOut, nil); err != nil {
		return err
	}
	a.more = stream.More()
	return out.End()
}

// The parameters of a trace.
const (
	neighboursName    = "neighbours"
	lowConfidenceName = "low-confidence"
	maxNeighbours     = 1000
)

// traceOptions reads the parameters of a trace.
func (q *question) traceOptions() (o audit.TraceOptions, err error) {
	if o.Neighbours, err = q.count(neighboursName, audit.DefaultNeighbours, 0, maxNeighbours); err != nil {
		return o, err
	}
	if o.Neighbours == 0 {
		o.Neighbours = -1 // none
	}
	if q.values.Has(lowConfidenceName) {
		low, err := ask.Number(q.values.Get(lowConfidenceName))
		if err != nil {
			return o, problem(kindParameter, "%s: %v", lowConfidenceName, err).at(lowConfidenceName)
		}
		o.LowConfidence = &low
	}
	return o, nil
}

// trace answers GET /v1/audits/{id}/trace.
func (s *Server) trace(w http.ResponseWriter, r *http.Request, q *question) error {
	up, err := q.isSet(upName)
	switch {
	case err != nil:
		return err
	case up:
		return s.origins(w, r, q)
	case q.form == show.Dot:
		return problem(kindParameter, "%s=%s goes with %s", formName, show.Dot, upName).at(formName)
	}
	o, err := q.traceOptions()
	if err != nil {
		return err
	}
	o.AsOf = q.asOf
	id, err := s.pathID(r.Context(), r, "id", q.asOf)
	if err != nil {
		return err
	}
	return s.reading(w, r, q, func(ctx context.Context) error {
		return s.answered(w, r, q, s.bounded, func(ctx context.Context, v *view.Viewer, a *answer) error {
			out := rowsOf[view.TraceLine](a)
			if err := writeTrace(ctx, v, a, out, id, o); err != nil {
				return err
			}
			return out.End()
		})
	})
}

// writeTrace writes the trace of a record.
func writeTrace(ctx context.Context, v *view.Viewer, a *answer, out *tui.Listing[view.TraceLine], id audit.QueryID, o audit.TraceOptions) error {
	t, err := v.Trace(ctx, id, o)
	if err != nil {
		return err
	}
	for _, damaged := range t.Damaged {
		a.leaveOut(damaged)
	}
	return show.Trace(out, t)
}

const aroundName = "around"

// traceSelected answers GET /v1/trace: the newest record that a filter selects, or the nearest to a time, or several.
func (s *Server) traceSelected(w http.ResponseWriter, r *http.Request, q *question) error {
	o, err := q.traceOptions()
	if err != nil {
		return err
	}
	q.limitOr(1)
	return s.reading(w, r, q, func(ctx context.Context) error {
		f, err := s.filter(ctx, w, q)
		if err != nil {
			return err
		}
		if f.Limit == 0 || f.Limit > tracesMost {
			return problem(kindParameter, "limit: want 1 to %d", tracesMost).at("limit")
		}
		o.AsOf = f.AsOf
		var around *uint64
		if text := q.filter[aroundName]; text != nil {
			clock := q.clock(s.store.TimeUnit())
			at, err := clock.Parse(text[0])
			if err != nil {
				return problem(kindParameter, "%s: %v", aroundName, err).at(aroundName)
			}
			around = &at.First
		}
		return s.answered(w, r, q, s.expensive, func(ctx context.Context, v *view.Viewer, a *answer) error {
			ids, more, err := v.ToTrace(ctx, f, around, func(err *audit.RecordError) error {
				a.leaveOut(err)
				return nil
			})
			if err != nil {
				return err
			}
			a.more = more
			out := rowsOf[view.TraceLine](a)
			for _, id := range ids {
				if err := writeTrace(ctx, v, a, out, id, o); err != nil && !a.leaveOut(err) {
					return err
				}
			}
			return out.End()
		})
	})
}

const sourceName = "source"

// impact answers GET /v1/impact/{hash}.
func (s *Server) impact(w http.ResponseWriter, r *http.Request, q *question) error {
	kinds := audit.AssertionHash
	source, err := q.isSet(sourceName)
	if err != nil {
		return err
	}
	if source {
		kinds = audit.SourceHash
	}
	follow, further, err := q.follow(impactLimit, q.form == show.Dot)
	if err != nil {
		return err
	}
	return s.reading(w, r, q, func(ctx context.Context) error {
		f, err := s.filter(ctx, w, q)
		if err != nil {
			return err
		}
		h, err := s.store.ResolveHashAsOf(ctx, r.PathValue("hash"), kinds, f.AsOf)
		if err != nil {
			return err
		}
		if further {
			follow.Source, follow.Filter = source, f
			return s.downstream(w, r, q, h, follow)
		}
		return s.answered(w, r, q, s.expensive, func(ctx context.Context, v *view.Viewer, a *answer) error {
			if err := v.CheckEvidence(ctx, h, source, f.AsOf); err != nil {
				return err
			}
			i := show.Impact{Viewer: v, Hash: h, Options: audit.ImpactOptions{Source: source, Filter: f}}
			if err := i.Begin(ctx, q.form); err != nil {
				return err
			}
			err := i.Write(ctx, rowsOf[view.ImpactedAnswer](a), a.leaveOut, nil)
			a.more = i.Tail.More
			return err
		})
	})
}

// The parameters of answers.
const (
	subjectName   = "subject"
	predicateName = "predicate"
	flipsName     = "flips"
)

// answers answers GET /v1/answers.
func (s *Server) answers(w http.ResponseWriter, r *http.Request, q *question) error {
	q.limitOr(answersLimit)
	for _, name := range []string{subjectName, predicateName} {
		if !q.values.Has(name) {
			return problem(kindParameter, "%s is missing: the question is a subject and a predicate", name).at(name)
		}
	}
	flips, err := q.isSet(flipsName)
	if err != nil {
		return err
	}
	subject, predicate := q.values.Get(subjectName), q.values.Get(predicateName)
	return s.reading(w, r, q, func(ctx context.Context) error {
		f, err := s.filter(ctx, w, q)
		if err != nil {
			return err
		}
		if other, err := ask.OtherSpelling(ctx, s.store, subject, f.From, f.To); err != nil {
			return err
		} else if other != nil {
			notes(w, []ask.Note{*other})
		}
		return s.answered(w, r, q, s.expensive, func(ctx context.Context, v *view.Viewer, a *answer) error {
			return rows(a, v.Answers(ctx, subject, predicate, f, flips))
		})
	})
}

// diff answers GET /v1/diff/{a}/{b}.
func (s *Server) diff(w http.ResponseWriter, r *http.Request, q *question) error {
	ids := [2]audit.QueryID{}
	for i, name := range []string{"a", "b"} {
		var err error
		if ids[i], err = s.pathID(r.Context(), r, name, q.asOf); err != nil {
			return err
		}
	}
	return s.reading(w, r, q, func(ctx context.Context) error {
		return s.answered(w, r, q, s.bounded, func(ctx context.Context, v *view.Viewer, a *answer) error {
			d, err := v.Diff(ctx, ids[0], ids[1], q.asOf)
			if err != nil {
				return err
			}
			return show.Diff(a.Screen, a.form, d)
		})
	})
}

const byName = "by"

// timeline answers GET /v1/timeline.
func (s *Server) timeline(w http.ResponseWriter, r *http.Request, q *question) error {
	q.limitOr(timelineLimit)
	size, err := audit.ParseBucketSize(q.own(byName, "hour"))
	if err != nil {
		return problem(kindParameter, "%s: want minute, quarter, hour or day", byName).at(byName)
	}
	return s.reading(w, r, q, func(ctx context.Context) error {
		f, err := s.filter(ctx, w, q)
		if err != nil {
			return err
		}
		if f.Limit > timelineMost {
			// Empty buckets are counted too, and a few words can ask for millions.
			return problem(kindParameter, "limit: want 1 to %d, or 0 for the usual number", timelineMost).at("limit")
		}
		return s.answered(w, r, q, s.expensive, func(ctx context.Context, v *view.Viewer, a *answer) error {
			t, err := v.Timeline(ctx, size, f)
			if err != nil {
				return err
			}
			a.more = t.Cut
			return show.Timeline(rowsOf[view.Bucket](a), t)
		})
	})
}

// The parameters of top.
const (
	newSinceName = "new-since"
	rankName     = "rank"
	figuresName  = "figures"
)

// top answers GET /v1/top.
func (s *Server) top(w http.ResponseWriter, r *http.Request, q *question) error {
	q.limitOr(audit.DefaultTop)
	by, err := q.rankedBy()
	if err != nil {
		return err
	}
	o := audit.TopOptions{By: by}
	if o.Rank, err = q.rank(); err != nil {
		return err
	}
	if o.Figures, err = q.isSet(figuresName); err != nil {
		return err
	}
	if q.values.Has(newSinceName) {
		clock := q.clock(s.store.TimeUnit())
		since, err := clock.Parse(q.values.Get(newSinceName))
		if err != nil {
			return problem(kindParameter, "%s: %v", newSinceName, err).at(newSinceName)
		}
		o.NewSince = &since.First
	}
	return s.reading(w, r, q, func(ctx context.Context) error {
		var err error
		if o.Filter, err = s.filter(ctx, w, q); err != nil {
			return err
		}
		if err := limitFrom1(&o.Filter); err != nil {
			return err
		}
		return s.answered(w, r, q, s.expensive, func(ctx context.Context, v *view.Viewer, a *answer) error {
			t, err := v.Top(ctx, o)
			if err != nil {
				return err
			}
			a.more = t.More
			return show.Ranking(rowsOf[view.Ranked](a), t)
		})
	})
}

// rankedBy reads the parameter that says what is ranked or compared.
func (q *question) rankedBy() (audit.TopBy, error) {
	by, err := audit.ParseTopBy(q.own(byName, string(audit.TopAgents)))
	if err != nil {
		return "", problem(kindParameter, "%s: want %s", byName, audit.TopKeys).at(byName)
	}
	return by, nil
}

// rank reads the parameter that says what a ranking is ordered by.
func (q *question) rank() (audit.TopRank, error) {
	rank, err := audit.ParseTopRank(q.own(rankName, string(audit.RankPieces)))
	if err != nil {
		return "", problem(kindParameter, "%s: want pieces, answers or agents", rankName).at(rankName)
	}
	return rank, nil
}

// The parameters of compare.
const (
	withName = "with"
	andName  = "and"
)

// compare answers GET /v1/compare.
func (s *Server) compare(w http.ResponseWriter, r *http.Request, q *question) error {
	q.limitOr(audit.DefaultTop)
	by, err := q.rankedBy()
	if err != nil {
		return err
	}
	return s.reading(w, r, q, func(ctx context.Context) error {
		f, err := s.filter(ctx, w, q)
		if err != nil {
			return err
		}
		if err := limitFrom1(&f); err != nil {
			return err
		}
		o := audit.CompareOptions{By: by, Filter: f}
		var list []ask.Note
		o.Before, o.After, list, err = ask.Windows(&f, s.store.TimeUnit(), q.own(withName, ""), q.own(andName, ""), q.askOptions())
		notes(w, list)
		if err != nil {
			return err
		}
		return s.answered(w, r, q, s.expensive, func(ctx context.Context, v *view.Viewer, a *answer) error {
			c, err := v.Compare(ctx, o)
			if err != nil {
				return err
			}
			a.more = c.More
			return show.Comparison(rowsOf[view.Compared](a), c)
		})
	})
}

// count answers GET /v1/count.
func (s *Server) count(w http.ResponseWriter, r *http.Request, q *question) error {
	return s.reading(w, r, q, func(ctx context.Context) error {
		f, err := s.filter(ctx, w, q)
		if err != nil {
			return err
		}
		return s.answered(w, r, q, s.expensive, func(ctx context.Context, v *view.Viewer, a *answer) error {
			n, err := v.Count(ctx, f)
			if err != nil {
				return err
			}
			return a.Object(q.form, n)
		})
	})
}

const queryName = "q"

// A resolution says what some digits, a hash or a label stand for.
type resolution struct {
	Q        string          `json:"q"`
	QueryIDs []audit.QueryID `json:"query_ids"` // records whose id is this, or begins so
	Hashes   []resolvedHash  `json:"hashes"`
	More     bool            `json:"more"` // there are more ids or hashes than these
}

// A resolvedHash is a hash that was meant, and what it is.
type resolvedHash struct {
	Hash      audit.Hash `json:"hash"`
	Label     *string    `json:"label"`
	Agent     bool       `json:"agent"`
	Assertion bool       `json:"assertion"`
	Source    bool       `json:"source"`
}

// resolve answers GET /v1/resolve.
func (s *Server) resolve(w http.ResponseWriter, r *http.Request, q *question) error {
	typed := strings.TrimSpace(q.own(queryName, ""))
	if err := audit.CheckName(typed); err != nil {
		return problem(kindParameter, "%s: %v", queryName, err).at(queryName)
	}
	return s.reading(w, r, q, func(ctx context.Context) error {
		return s.bounded(w, r, func(ctx context.Context) error {
			found, err := s.resolved(ctx, typed, q.asOf)
			if err != nil {
				return err
			}
			return s.object(w, r, found)
		})
	})
}

// resolved finds what was typed among what the store had at a moment, nil: has.
func (s *Server) resolved(ctx context.Context, typed string, asOf *uint64) (*resolution, error) {
	found := &resolution{Q: typed, QueryIDs: []audit.QueryID{}, Hashes: []resolvedHash{}}
	if ask.CheckID(typed) == nil {
		ids, err := s.store.ResolveAsOf(ctx, strings.ToLower(typed), asOf)
		if err != nil {
			return nil, err
		}
		found.More = len(ids) == audit.MaxResolved
		for _, id := range ids {
			if had, err := s.had(ctx, id, asOf); err != nil {
				return nil, err
			} else if had {
				found.QueryIDs = append(found.QueryIDs, id)
			}
		}
	}
	var hashes []audit.Hash
	h, err := s.store.ResolveHashAsOf(ctx, typed, audit.AnyHash, asOf)
	switch ambiguous, isAmbiguous := asError[*audit.AmbiguousError](err); {
	case isAmbiguous:
		for _, one := range ambiguous.Hashes {
			hashes = append(hashes, one.Hash)
		}
		found.More = found.More || len(hashes) >= audit.MaxResolved
	case err == nil:
		hashes = append(hashes, h)
	case ask.Refused(err): // nothing has this name
	default:
		return nil, err
	}
	for _, h := range hashes {
		is, err := s.store.IdentifyAsOf(ctx, h, asOf)
		if err != nil {
			return nil, err
		}
		one := resolvedHash{Hash: h, Agent: is.Agent != nil, Assertion: is.Assertion.Answers > 0, Source: is.Source.Answers > 0}
		if is.Label != "" {
			one.Label = &is.Label
		}
		if one.Label != nil || one.Agent || one.Assertion || one.Source {
			found.Hashes = append(found.Hashes, one)
		}
	}
	return found, nil
}

// had reports whether a record that the store has was there at a moment; nil: it was.
func (s *Server) had(ctx context.Context, id audit.QueryID, asOf *uint64) (bool, error) {
	if asOf == nil {
		return true, nil
	}
	_, err := s.store.GetRawAsOf(ctx, id, asOf)
	var damaged *audit.RecordError
	switch {
	case errors.Is(err, audit.ErrNotFound):
		return false, nil
	case errors.As(err, &damaged):
		return true, nil
	}
	return err == nil, err
}
