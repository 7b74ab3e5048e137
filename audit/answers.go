package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
)

// Answer is one of the answers to a question, compared with the one before it.
type Answer struct {
	Audit QueryAudit

	// Before is what changed since the answer before it in time, nil when it is the first.
	Before *Difference

	// Flipped: the result is another one than before. Causes say why, as far as the records show.
	Flipped bool
	Causes  []Cause
}

// Answers yields the answers to one question, a subject and a predicate, by (timestamp, query id), descending if
// the filter says so, and at most its limit. The filter says which answers count (those to one agent,
// with one lens, with some confidence). From, To and After say only which of them are yielded: the first one is compared
// with the last one before it. In place of an answer that is damaged it yields a *RecordError, and goes on: the next one is
// compared with the last one that is not damaged. The filter's Subject, SubjectGlob, Predicate and ByAdmission have no
// effect.
func (db *DB) Answers(ctx context.Context, subject, predicate string, f Filter) iter.Seq2[Answer, error] {
	return answers(ctx, db, subject, predicate, f)
}

// listed is what lists are read from: a DB or a Union.
type listed interface {
	Audits(ctx context.Context, f Filter) iter.Seq2[QueryAudit, error]
	one(ctx context.Context, f Filter, wanted func(*QueryAudit) bool) (found *QueryAudit, damaged []*RecordError, err error)
}

func answers(ctx context.Context, in listed, subject, predicate string, f Filter) iter.Seq2[Answer, error] {
	f.Subject, f.SubjectGlob, f.Predicate, f.ByAdmission = &subject, nil, &predicate, false
	walk := answersUp
	if f.Descending {
		walk = answersDown
	}
	return func(yield func(Answer, error) bool) {
		if err := walk(ctx, in, f, func(a Answer, err error) bool {
			if err != nil {
				err = fmt.Errorf("answers: %w", err)
			}
			return yield(a, err)
		}); err != nil {
			yield(Answer{}, fmt.Errorf("answers: %w", err))
		}
	}
}

func answersUp(ctx context.Context, in listed, f Filter, yield func(Answer, error) bool) error {
	var before *QueryAudit
	if g, passed, ok := f.passed(); ok {
		found, damaged, err := in.one(ctx, g, passed)
		if err != nil {
			return err
		}
		for _, d := range damaged {
			if !yield(Answer{}, d) {
				return nil
			}
		}
		before = found
	}
	for q, err := range in.Audits(ctx, f) {
		if ofRecord(err) {
			if !yield(Answer{}, err) {
				return nil
			}
			continue
		}
		if err != nil {
			return err
		}
		if !yield(answerAfter(before, q), nil) {
			return nil
		}
		before = &q
	}
	return nil
}

// passed returns a filter for the answers before those that an ascending filter yields, newest first, and which of these do
// not belong there, nil for none. It reports false when there can be none before.
func (f Filter) passed() (g Filter, wanted func(*QueryAudit) bool, ok bool) {
	g = f
	g.From, g.After, g.Descending = nil, nil, true
	switch {
	case f.After != nil && (f.From == nil || f.After.Timestamp >= *f.From):
		at := *f.After
		g.To = &at.Timestamp
		return g, func(q *QueryAudit) bool { return q.Timestamp < at.Timestamp || q.QueryID.Compare(at.ID) <= 0 }, true
	case f.From != nil && *f.From > 0:
		to := *f.From - 1
		g.To = &to
		return g, nil, true
	}
	return g, nil, false
}

// answersDown yields each record after it has read the next one, which is the one before in time.
func answersDown(ctx context.Context, in listed, f Filter, yield func(Answer, error) bool) error {
	limit := f.Limit
	if limit > 0 {
		f.Limit++
	}
	n, read := 0, 0
	var last *QueryAudit
	said := map[QueryID]bool{} // damaged records
	for q, err := range in.Audits(ctx, f) {
		read++
		var damaged *RecordError
		if errors.As(err, &damaged) {
			said[damaged.ID] = true
			if !yield(Answer{}, err) {
				return nil
			}
			continue
		}
		if err != nil {
			return err
		}
		if last != nil {
			n++
			if !yield(answerAfter(&q, *last), nil) || n == limit {
				return nil
			}
		}
		last = &q
	}
	if last == nil {
		return nil
	}
	var before *QueryAudit
	// Damaged records count for the limit too. Then the limit has cut the one before the last.
	if cut := limit > 0 && read == f.Limit; cut || f.From != nil && *f.From > 0 {
		g := f
		g.From, g.To, g.After = nil, &last.Timestamp, nil
		found, damaged, err := in.one(ctx, g, func(q *QueryAudit) bool {
			return cmp.Or(cmp.Compare(q.Timestamp, last.Timestamp), q.QueryID.Compare(last.QueryID)) < 0
		})
		if err != nil {
			return err
		}
		for _, d := range damaged {
			if !said[d.ID] && !yield(Answer{}, d) {
				return nil
			}
		}
		before = found
	}
	yield(answerAfter(before, *last), nil)
	return nil
}

func answerAfter(before *QueryAudit, q QueryAudit) Answer {
	a := Answer{Audit: q, Causes: []Cause{}}
	if before == nil {
		return a
	}
	d := Compare(*before, q)
	a.Before = &d
	if a.Flipped = d.Flipped(); a.Flipped {
		a.Causes = d.Causes()
	}
	return a
}
