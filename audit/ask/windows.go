package ask

import (
	"errors"
	"fmt"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/when"
)

// ErrOverlap says that the two periods of a comparison have more than one instant in common.
var ErrOverlap = errors.New("the periods overlap")

// Windows reads the two windows of a comparison: the period of a filter, and the one from with to and. Without an end the period of the
// filter ends now. Without and, which is then "", the other window is as long as the filter's. They are returned in the
// order of time, whichever was named first. They may have one instant in common: see audit.CompareOptions.Counted. An *Error names
// from, with or and.
func Windows(f *audit.Filter, unit audit.TimeUnit, with, and string, o Options) (before, after audit.Window, notes []Note, err error) {
	r := reader{options: o, unit: unit}
	refuse := func(parameter string, err error) (audit.Window, audit.Window, []Note, error) {
		return before, after, r.notes, &Error{Parameter: parameter, Reason: err}
	}
	if f.From == nil {
		return refuse("from", errors.New("is missing: it says when the first period begins"))
	}
	if with == "" {
		return refuse("with", errors.New("is missing: it says when the second period begins"))
	}
	one := audit.Window{From: *f.From}
	switch now, ok := unit.Timestamp(o.Now); {
	case f.To != nil:
		one.To = *f.To
	case !ok || now < one.From:
		return refuse("from", errors.New("is later than now; without an end the period ends now"))
	default:
		one.To = now
	}
	r.parameter = "with"
	begin, err := r.clock().Parse(with)
	if err != nil {
		return refuse("with", err)
	}
	other := audit.Window{From: begin.First, To: begin.First + (one.To - one.From)}
	if and != "" {
		var end when.Span
		r.parameter = "and"
		if end, err = r.clock().Parse(and); err != nil {
			return refuse("and", err)
		}
		other.To = end.Last
	}
	c := r.clock()
	compared := audit.CompareOptions{Before: one, After: other}
	if other.From < one.From {
		compared.Before, compared.After = other, one
	}
	_, _, apart := compared.Counted()
	switch {
	case other.To < other.From:
		return refuse("and", errors.New(c.Format(other.To)+" is earlier than "+c.Format(other.From)+", where the second period begins"))
	case !apart:
		return refuse("with", fmt.Errorf("%w: %s to %s, and %s to %s", ErrOverlap, c.Format(one.From), c.Format(one.To), c.Format(other.From), c.Format(other.To)))
	}
	return compared.Before, compared.After, r.notes, nil
}
