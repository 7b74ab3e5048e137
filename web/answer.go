package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/tui"
)

// heldBack is how much of an answer is held back until it is complete.
const heldBack = 256 << 10

// An answer is the body of a response while a handler writes it.
//
// The beginning is held back. So a question that fails has a problem document for an answer, and what is known only at the
// end (that a limit has cut the rows, that a damaged record was left out) stands in the header of a short answer. A long answer
// begins to be sent, and says it in the trailer. When one fails after that, the connection is broken: the client cannot take
// the part for the whole.
type answer struct {
	*tui.Screen // where it is written

	server *Server
	w      http.ResponseWriter
	r      *http.Request
	form   tui.Form
	turn   *turn // that the question has
	found  int64 // bytes that the question keeps until its end, beside what every long answer keeps
	held   []byte
	sent   bool
	more   bool     // the limit has cut the rows
	left   []string // ids of damaged records that were left out
	leftN  int
}

// The headers, or trailers, that say that an answer is not all.
const (
	moreHeader    = "Auditsql-More"     // true: the limit has cut the rows
	leftOutHeader = "Auditsql-Left-Out" // the number of damaged records that are missing, and the ids of the first
	noteHeader    = "Auditsql-Note"     // what may have been meant instead of a parameter
	lagHeader     = "Auditsql-Lag-Bytes"
	budgetHeader  = "Auditsql-Budget" // in seconds
)

// newAnswer begins an answer in the form that a question asks for.
func (s *Server) newAnswer(w http.ResponseWriter, r *http.Request, q *question) *answer {
	a := &answer{server: s, w: w, r: r, form: q.form}
	a.Screen = &tui.Screen{Out: a, Err: io.Discard, CSVSafe: q.csvSafe}
	w.Header().Set("Content-Type", contentType(q.form))
	return a
}

// rowsOf begins the rows of an answer.
func rowsOf[T any](a *answer) *tui.Listing[T] { return tui.NewListing[T](a.Screen, a.form, nil) }

// Write implements io.Writer.
func (a *answer) Write(p []byte) (int, error) {
	if !a.sent && len(a.held)+len(p) <= heldBack {
		a.held = append(a.held, p...)
		return len(p), nil
	}
	if !a.sent {
		if !a.r.ProtoAtLeast(1, 1) {
			// Its answers end where the connection ends. One that was broken off, and one that is whole, look the same.
			return 0, problem(kindOldHTTP, "an answer of more than %d bytes needs HTTP/1.1", heldBack)
		}
		if err := a.keep(); err != nil {
			return 0, err
		}
		a.w.Header().Set("Trailer", moreHeader+", "+leftOutHeader)
		if err := a.send(); err != nil {
			return 0, err
		}
	}
	if err := a.r.Context().Err(); err != nil {
		return 0, err
	}
	a.turn.pause()
	n, err := a.w.Write(p)
	if err == nil {
		err = a.turn.resume(a.r.Context())
	}
	return n, err
}

// keep makes room for what a long answer keeps while the client reads it.
func (a *answer) keep() error {
	if !a.turn.keep(longAnswer + a.found) {
		return problem(kindBusy, "the long answers that clients are reading may keep %d bytes together, and there is no room for another one", a.server.limits.AnswerBytes)
	}
	return nil
}

// send sends what is held back. After that the turn is paused.
func (a *answer) send() error {
	a.sent = true
	about(a.r).begun = true
	a.turn.pause()
	_, err := a.w.Write(a.held)
	a.held = nil
	return err
}

// end sends what is held back, and says what is missing.
func (a *answer) end() error {
	h := a.w.Header()
	if a.more {
		h.Set(moreHeader, "true")
	}
	if a.leftN > 0 {
		text := strconv.Itoa(a.leftN)
		for _, id := range a.left {
			text += " " + id
		}
		h.Set(leftOutHeader, text)
	}
	if a.sent {
		return nil
	}
	if len(a.held) > heldBack {
		if err := a.keep(); err != nil {
			return err
		}
	}
	return a.send()
}

// maxLeftOut is how many of the damaged records that are left out are named.
const maxLeftOut = 20

// leaveOut reports whether an error is about one damaged record, without which the answer goes on.
func (a *answer) leaveOut(err error) bool {
	var damaged *audit.RecordError
	if !errors.As(err, &damaged) {
		return false
	}
	a.leftN++
	if len(a.left) < maxLeftOut {
		a.left = append(a.left, damaged.ID.String())
		a.server.log.ErrorContext(a.r.Context(), "a damaged record is left out of an answer", "request_id", requestID(a.r), "query_id", damaged.ID.String())
	}
	return true
}

// notes puts into the header what may have been meant instead of a parameter.
func notes(w http.ResponseWriter, list []ask.Note) {
	const most = 300
	for _, n := range list {
		text := parameterName(n.Parameter) + ": " + n.Text
		if n.Pattern != "" {
			text += "; subject=" + n.Pattern + " finds both"
		}
		text = strconv.QuoteToASCII(text)
		if text = text[1 : len(text)-1]; len(text) > most {
			text = text[:most]
		}
		w.Header().Add(noteHeader, text)
	}
}

// slots bound how many of something run at the same time.
type slots chan struct{}

func newSlots(n int) slots { return make(slots, n) }

// take waits for a slot, for so long at most. The caller gives it back with release.
func (s slots) take(ctx context.Context, wait time.Duration, what string) (release func(), err error) {
	release = func() { <-s }
	select {
	case s <- struct{}{}:
		return release, nil
	default:
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case s <- struct{}{}:
		return release, nil
	case <-timer.C:
		return nil, problem(kindBusy, "%d %s run at the same time, and no more may", cap(s), what)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// expensive runs a question that may take long: a few of them at a time, and each no longer than the budget, which the header
// announces.
func (s *Server) expensive(w http.ResponseWriter, r *http.Request, question func(ctx context.Context) error) error {
	if _, err := s.questions.take(r.Context(), s.limits.ReadWait, "expensive questions"); err != nil {
		return err
	}
	return s.withBudget(w, r, s.questions, question)
}

// bounded runs a question no longer than the budget, which the header announces.
func (s *Server) bounded(w http.ResponseWriter, r *http.Request, question func(ctx context.Context) error) error {
	return s.withBudget(w, r, nil, question)
}

func (s *Server) withBudget(w http.ResponseWriter, r *http.Request, slots slots, question func(ctx context.Context) error) error {
	w.Header().Set(budgetHeader, strconv.FormatFloat(s.limits.Budget.Seconds(), 'g', -1, 64))
	return s.inTurn(r.Context(), slots, s.limits.Budget, question)
}

// export runs a question whose answer may be the whole store. It takes as long as the client takes to read it, and a few of them read
// from the store at the same time.
func (s *Server) export(_ http.ResponseWriter, r *http.Request, question func(ctx context.Context) error) error {
	if _, err := s.exports.take(r.Context(), s.limits.ReadWait, "exports"); err != nil {
		return err
	}
	return s.inTurn(r.Context(), s.exports, 0, question)
}

// A runner runs a question within bounds: expensive, bounded, or export.
type runner func(w http.ResponseWriter, r *http.Request, question func(ctx context.Context) error) error

// answered runs a question that a viewer answers, and sends what write has written when that returns no error.
func (s *Server) answered(w http.ResponseWriter, r *http.Request, q *question, run runner, write func(ctx context.Context, v *view.Viewer, a *answer) error) error {
	return run(w, r, func(ctx context.Context) error {
		v, err := s.viewer(ctx, q)
		if err != nil {
			return err
		}
		a := s.newAnswer(w, r, q)
		a.turn = turnOf(ctx)
		if err := write(ctx, v, a); err != nil {
			return err
		}
		return a.end()
	})
}
