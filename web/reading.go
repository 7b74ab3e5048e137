package web

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
)

// reading runs a question about what SQLite has. The header says how much of the journal SQLite lacks. With
// consistency=acknowledged the question first waits until SQLite has everything that was acknowledged before it.
func (s *Server) reading(w http.ResponseWriter, r *http.Request, q *question, question func(ctx context.Context) error) error {
	if q.acknowledged {
		if err := s.await(r.Context()); err != nil {
			return err
		}
	}
	// What is asked may be as of the number of records that Moment says.
	if err := s.store.AwaitShown(r.Context()); err != nil {
		return err
	}
	if q.asOf != nil && *q.asOf > s.store.Moment() {
		if err := s.reach(r.Context(), *q.asOf); err != nil {
			return err
		}
	}
	s.setLag(w)
	return question(r.Context())
}

// reach waits until SQLite has so many records, for as long as a question may wait for what was acknowledged. Nobody waits for a number
// that the store does not have.
func (s *Server) reach(ctx context.Context, n uint64) error {
	coming := s.store.Progress() // before what is there: a record that is applied in between counts twice, and none is forgotten
	have := s.store.Moment()
	// Nobody here counts the records that another process puts, nor those of a log.
	elsewhere := s.following != nil || errors.Is(s.store.Err(), audit.ErrReadOnly)
	if elsewhere || n-min(n, have) <= uint64(coming.LagRecords) {
		if err := s.await(ctx); err != nil && !errors.Is(err, audit.ErrEndUnknown) {
			return err
		}
		have = s.store.Moment()
	}
	if have < n {
		return &audit.AsOfError{AsOf: n, Have: have}
	}
	return nil
}

func (s *Server) setLag(w http.ResponseWriter) {
	if p := s.store.Progress(); !p.Unknown {
		w.Header().Set(lagHeader, strconv.FormatUint(p.LagBytes, 10))
	}
}

// await waits until SQLite has what was acknowledged, for as long as a question may wait for that.
func (s *Server) await(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, s.limits.ReadWait)
	defer cancel()
	err := s.store.AwaitApplied(waiting)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return problem(kindBehind, "SQLite did not get all records in %s", s.limits.ReadWait).because(err)
	}
	if errors.Is(err, audit.ErrEndUnknown) {
		return problem(kindBehind, "this server only reads, and cannot know what was acknowledged: it has no journal that it can read").because(err)
	}
	return err
}

// awaitBriefly waits a moment for what was acknowledged, for a question that nobody wants to wait. As a rule that is enough for whoever
// asks for what they have just put. Behind a long backlog the answer is what SQLite has, and its header says what that lacks.
func (s *Server) awaitBriefly(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, s.limits.ReadWait/50)
	defer cancel()
	err := s.store.AwaitApplied(waiting)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
}

// viewer returns what builds the answers to a question.
func (s *Server) viewer(ctx context.Context, q *question) (*view.Viewer, error) {
	labels, err := s.store.Labels(ctx)
	if err != nil {
		return nil, err
	}
	v := view.New(s.store, labels, q.zone)
	v.Now, _ = s.store.TimeUnit().Timestamp(q.now)     // 0 where it does not fit into the unit
	v.Budget = audit.Budget{Time: s.limits.Budget / 2} // so that an answer that says that it was cut comes before the deadline
	if lag := s.store.Progress().LagRecords; lag > 0 && !q.acknowledged {
		v.Lag = &audit.Lag{Records: lag}
	}
	return v, nil
}
