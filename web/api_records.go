package web

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
)

// The limits of lists.
const (
	listLimit   = 100 // as JSON, unless another one is given
	listMost    = 1000
	listBytes   = 8 << 20 // a page of a list ends early when it has so many bytes
	recentLimit = 20
)

// pathID reads an id from the path: all 64 digits, or the first 8 or more of one id. Of several ids that begin so, asOf
// leaves those of records that the store had at that moment.
func (s *Server) pathID(ctx context.Context, r *http.Request, name string, asOf *uint64) (audit.QueryID, error) {
	typed := r.PathValue(name)
	id, err := ask.ID(ctx, s.store, typed, asOf)
	switch {
	case errors.Is(err, audit.ErrNotFound):
		return id, problem(kindNotFound, "no record has an id that begins with %s", typed)
	case errors.Is(err, audit.ErrInvalid):
		return id, problem(kindParameter, "%v", err).at(name)
	}
	return id, err
}

// getAudit answers GET /v1/audits/{id} with the stored bytes. They never change, so a client may keep them.
func (s *Server) getAudit(w http.ResponseWriter, r *http.Request, _ *question) error {
	if err := mustAccept(r, typeJSON); err != nil {
		return err
	}
	typed := r.PathValue("id")
	id, err := s.pathID(r.Context(), r, "id", nil)
	if err != nil {
		return err
	}
	if id.String() != typed {
		// One record has one URL, which can be kept.
		http.Redirect(w, r, "/v1/audits/"+id.String(), http.StatusTemporaryRedirect)
		return nil
	}
	raw, err := s.store.GetRaw(r.Context(), id)
	if errors.Is(err, audit.ErrNotFound) && errors.Is(s.store.Err(), audit.ErrReadOnly) {
		// Another process writes. Its journal may have the record already.
		if err := s.await(r.Context()); err != nil && !errors.Is(err, audit.ErrEndUnknown) {
			return err
		}
		raw, err = s.store.GetRaw(r.Context(), id)
	}
	if errors.Is(err, audit.ErrNotFound) {
		return problem(kindNotFound, "no record has the id %s", id)
	}
	if err != nil {
		return err
	}
	h := w.Header()
	tag := `"` + id.String() + `"`
	h.Set("ETag", tag)
	h.Set("Cache-Control", "private, max-age=31536000, immutable")
	if matches(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", typeJSON)
	h.Set("Content-Length", strconv.Itoa(len(raw)))
	_, err = w.Write(raw)
	return err
}

// matches reports whether an If-None-Match header has a tag.
func matches(headers []string, tag string) bool {
	for part := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		if part = strings.TrimSpace(part); part == "*" || strings.TrimPrefix(part, "W/") == tag {
			return true
		}
	}
	return false
}

// mustAccept refuses a client that does not take the only form that an answer has.
func mustAccept(r *http.Request, mediaType string) error {
	if ranges := acceptedBy(r); len(ranges) > 0 && ranges.quality(mediaType) == 0 {
		return problem(kindNotAcceptable, "the answer is %s, which the Accept header does not take", mediaType)
	}
	return nil
}

// listAudits answers GET /v1/audits with the records that a filter selects: a page of them as JSON, and all of them in other
// forms.
func (s *Server) listAudits(w http.ResponseWriter, r *http.Request, q *question) error {
	byAdmission, err := q.oneOf(orderName, "time", "admission")
	if err != nil {
		return err
	}
	if q.form == tui.JSON {
		q.limitOr(listLimit)
	}
	return s.reading(w, r, q, func(ctx context.Context) error {
		f, err := s.filter(ctx, w, q)
		if err != nil {
			return err
		}
		f.ByAdmission = byAdmission == "admission"
		if q.form == tui.JSON && (f.Limit < 1 || f.Limit > listMost) {
			return problem(kindParameter, "limit: a page has 1 to %d records; format=ndjson and format=csv have no such limit", listMost).at("limit")
		}
		if f.After, err = q.after(); err != nil {
			return err
		}
		if q.form == tui.JSON && s.showsEarly(q, &f) {
			if err := s.awaitBriefly(ctx); err != nil {
				return err
			}
			s.setLag(w)
		}
		run := runner(s.bounded)
		switch {
		case f.Limit == 0 || f.Limit > listMost:
			run = s.export // a large limit costs as much as none
		case searches(&f):
			run = s.expensive
		}
		return s.answered(w, r, q, run, func(ctx context.Context, v *view.Viewer, a *answer) error {
			if q.form == tui.JSON {
				return a.page(ctx, v, q, f)
			}
			return a.stream(ctx, v, f)
		})
	})
}

// showsEarly reports whether a page of a list waits a moment for what was acknowledged before it, though nobody asked for that: as NDJSON
// the list shows it. A page is as of a number of records, and SQLite alone numbers them. A store that is open for reading
// has nothing but SQLite, one that follows a log has waited already, and in one that has failed nothing comes.
func (s *Server) showsEarly(q *question, f *audit.Filter) bool {
	return f.ShownEarly() && s.following == nil && !q.acknowledged && !q.values.Has(consistencyName) && s.store.Err() == nil
}

// limitFrom1 refuses a limit that is none, or that is above that of a page.
func limitFrom1(f *audit.Filter) error {
	if f.Limit < 1 || f.Limit > listMost {
		return problem(kindParameter, "limit: want 1 to %d", listMost).at("limit")
	}
	return nil
}

// searches reports whether a filter may have to look at many records for each one that it selects: no index has what it asks
// for.
func searches(f *audit.Filter) bool {
	indexed := f.Agent != nil || f.Subject != nil || f.Result != nil || f.Assertion != nil || f.Source != nil || len(f.Attributes) > 0 ||
		f.SubjectGlob != nil && !strings.ContainsAny((*f.SubjectGlob + "*")[:1], "*?[")
	others := f.Anonymous || f.SubjectGlob != nil || f.Predicate != nil || f.Lens != nil || f.Lifecycle != nil || f.Unapproved ||
		f.MinConfidence != nil || f.MaxConfidence != nil
	return others && !indexed
}

// page answers with one page of a list. The pages of a list are those that the store had when the first of them was asked
// for: the link to the next one has as_of.
func (a *answer) page(ctx context.Context, v *view.Viewer, q *question, f audit.Filter) error {
	store := a.server.store
	if f.AsOf == nil {
		now := store.Moment()
		f.AsOf = &now
	}
	asOf := *f.AsOf
	body := append(make([]byte, 0, 16<<10), `{"audits":[`...)
	n, more := 0, false
	var last []byte
	limit := f.Limit
	f.Limit++ // one more shows that the list goes on
	rows := pastDamage(f, func(f audit.Filter) iter.Seq2[[]byte, error] { return store.RawAudits(ctx, f) })
	for raw, err := range rows {
		if err != nil {
			if a.leaveOut(err) {
				continue
			}
			return err
		}
		object := raw
		if !f.ByAdmission { // what auditsql export prints can be imported
			if object, err = show.Listed(v, raw); err != nil {
				return err
			}
		}
		if n == limit || n > 0 && len(body)+len(object) > listBytes {
			more = true
			break
		}
		if n > 0 {
			body = append(body, ",\n"...)
		}
		body, last = append(body, object...), raw
		n++
	}
	body = append(body, `],"next":`...)
	if more {
		end, err := audit.ParseCanonical(last)
		if err != nil {
			return fmt.Errorf("stored record: %w", err)
		}
		cursor := audit.CursorOf(&end).String()
		body = append(append(append(body, '"'), cursor...), '"')
		a.w.Header().Set("Link", "<"+a.server.nextPage(a.r, q, &f, cursor)+`>; rel="next"`)
	} else {
		body = append(body, "null"...)
	}
	body = strconv.AppendUint(append(body, `,"as_of":`...), asOf, 10)
	a.held = append(body, "}\n"...)
	return nil
}

// pastDamage yields what list yields, until as many records have come as the filter's limit says that are not damaged. The limit of a store
// counts damaged ones too. Without more than that a page could have fewer records than it may, and would look like the last one. It could
// also have none, and then there is no place after which the next page goes on. The filter has a moment (AsOf), so list yields the same
// rows each time.
func pastDamage[T any](f audit.Filter, list func(audit.Filter) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		want, whole := f.Limit, 0
		for done := 0; ; f.Limit *= 2 {
			seen := 0
			for row, err := range list(f) {
				if seen++; seen <= done {
					continue
				}
				if err == nil {
					whole++
				}
				if !yield(row, err) || whole == want {
					return
				}
			}
			if seen < f.Limit {
				return
			}
			done = seen
		}
	}
}

// nextPage is the URL of the next page of a list. f is the filter of the page, with the moment that it is about. The URL selects the
// same records whenever it is followed, so nothing in it may depend on the present, nor on labels.
func (s *Server) nextPage(r *http.Request, q *question, f *audit.Filter, cursor string) string {
	values := lasting(q.values, f, q.clock(s.store.TimeUnit()))
	values.Set(afterName, cursor)
	values.Set(asOfName, strconv.FormatUint(*f.AsOf, 10))
	values.Set(zoneName, when.ZoneName(q.zone))
	path := r.URL.EscapedPath()
	if r.PathValue("id") != "" {
		path = "/v1/agents/" + f.Agent.String() + "/audits"
	}
	return path + "?" + values.Encode()
}

// stream writes all that a filter selects, as it comes.
func (a *answer) stream(ctx context.Context, v *view.Viewer, f audit.Filter) error {
	out := show.NewRecords(a.Screen, a.form, v, nil)
	out.Labelled = !f.ByAdmission
	records := v.List(ctx, f)
	for raw, err := range records.Rows() {
		if err != nil {
			if a.leaveOut(err) {
				continue
			}
			return err
		}
		if err := out.Write(raw); err != nil {
			return err
		}
	}
	a.more = records.More()
	return out.End()
}

// recent answers GET /v1/recent.
func (s *Server) recent(w http.ResponseWriter, r *http.Request, q *question) error {
	q.limitOr(recentLimit)
	q.filter["desc"] = []string{"true"}
	return s.reading(w, r, q, func(ctx context.Context) error {
		f, err := s.filter(ctx, w, q)
		if err != nil {
			return err
		}
		if err := limitFrom1(&f); err != nil {
			return err
		}
		run := s.bounded
		if searches(&f) {
			run = s.expensive
		}
		return s.answered(w, r, q, run, func(ctx context.Context, v *view.Viewer, a *answer) error { return a.stream(ctx, v, f) })
	})
}

// agentAudits answers GET /v1/agents/{id}/audits, a list of one agent's records.
func (s *Server) agentAudits(w http.ResponseWriter, r *http.Request, q *question) error {
	q.filter["agent"] = []string{r.PathValue("id")}
	if err := ask.Check(q.filter, q.askOptions()); err != nil {
		return err
	}
	return s.listAudits(w, r, q)
}

// hasAgent answers HEAD /v1/agents/{id}: whether the agent has any record.
func (s *Server) hasAgent(w http.ResponseWriter, r *http.Request, _ *question) error {
	h, err := s.store.ResolveHash(r.Context(), r.PathValue("id"), audit.AgentHash)
	if err != nil {
		return err
	}
	has, err := s.store.HasAuditsForAgent(r.Context(), h)
	if err != nil {
		return err
	}
	if !has {
		return problem(kindNotFound, "the agent has no record")
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// The parameters of lists. The order of admission is that of auditsql export: importing such an NDJSON makes an equal store.
const (
	afterName = "after"
	orderName = "order"
)

// after reads the place after which a list goes on.
func (q *question) after() (*audit.Cursor, error) {
	if !q.values.Has(afterName) {
		return nil, nil
	}
	c, err := audit.ParseCursor(q.values.Get(afterName))
	if err != nil {
		return nil, problem(kindParameter, "%v", err).at(afterName)
	}
	return &c, nil
}
