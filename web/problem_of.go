package web

import (
	"context"
	"errors"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/audit/view"
)

// problemOf makes a problem of any error. What it does not know is kindInternal, without the text of the error: a client
// does not need the paths of the server, and the log has it.
func (s *Server) problemOf(err error) *Problem {
	var p *Problem
	var field *audit.FieldError
	var refused *ask.Error
	var unknown *audit.UnknownError
	var ambiguous *audit.AmbiguousError
	var ambiguousID *ask.AmbiguousIDError
	var notEvidence *view.NotEvidenceError
	var damaged *audit.RecordError
	var beyond *audit.AsOfError
	var divided *audit.DividedError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &ambiguous):
		p = problem(kindAmbiguous, "%s", ambiguous.Error()).at(parameterOf(err))
		for _, h := range ambiguous.Hashes {
			p.Candidates = append(p.Candidates, h.Hash.String())
		}
	case errors.As(err, &ambiguousID):
		p = problem(kindAmbiguous, "%s", ambiguousID.Error()).at(parameterOf(err))
		for _, id := range ambiguousID.IDs {
			p.Candidates = append(p.Candidates, id.String())
		}
	case errors.As(err, &unknown):
		p = problem(kindNotFound, "%s", unknown.Error()).at(parameterOf(err))
		p.Candidates = unknown.Near
	case errors.As(err, &refused):
		p = problem(kindParameter, "%s", refused.Text(parameterName)).at(parameterName(refused.Parameter))
	case errors.As(err, &beyond):
		p = problem(kindAsOf, "the store has %d records, and %s wants %d", beyond.Have, asOfName, beyond.AsOf).at(asOfName)
		p.Records = &beyond.Have
	case errors.As(err, &divided):
		p = problem(kindDivided, "%s", divided.Why)
	case errors.As(err, &notEvidence):
		p = problem(kindNotFound, "%s", notEvidence.Error())
	case errors.As(err, &damaged):
		p = problem(kindDamaged, "record %s is damaged", damaged.ID)
	case errors.Is(err, audit.ErrNotFound):
		p = problem(kindNotFound, "there is no such record")
	case errors.Is(err, audit.ErrConflict):
		p = problem(kindConflict, "another record is stored under this id").stored(storedNothing)
	case errors.As(err, &field):
		p = problem(kindInvalid, "%s", field.Reason).at(field.Field).stored(storedNothing)
	case errors.Is(err, audit.ErrInvalid):
		p = problem(kindParameter, "%s", err.Error())
	case errors.Is(err, audit.ErrReindexing):
		p = problem(kindReindexing, "the tables are being rebuilt")
	case errors.Is(err, audit.ErrClosed):
		p = problem(kindDraining, "the store is being closed")
	case errors.Is(err, audit.ErrReadOnly):
		p = problem(kindReadOnly, "the store is open for reading only")
	case errors.Is(err, audit.ErrFollows):
		p = problem(kindReadOnly, "the store follows a log; records are put through a node of that")
	case errors.Is(err, context.DeadlineExceeded):
		p = problem(kindOverBudget, "the question was ended after %s; ask about a shorter period, or with more filters", s.limits.Budget)
	case errors.Is(err, context.Canceled), errors.Is(err, errUnread):
		p = problem(kindGone, "the client has gone away")
	default:
		p = problem(kindInternal, "the server has failed; its log says why")
	}
	return p.because(err)
}

// parameterOf is the parameter that an error names, "" when it names none.
func parameterOf(err error) string {
	var refused *ask.Error
	if errors.As(err, &refused) {
		return parameterName(refused.Parameter)
	}
	return ""
}

// parameterName is a parameter of package ask as it stands in a URL.
func parameterName(name string) string {
	if name == "as-of" {
		return asOfName
	}
	return name
}
