package audit

import "context"

// A Store keeps audits for ever: a record that was stored once is never changed and never removed.
//
// The methods may be called from several goroutines. What a put acknowledged is seen by every read that
// starts after it in the same process. Records handed out belong to the caller.
type Store interface {
	// PutAudit stores q and returns the id it is stored under: q.QueryID, or the derived one when that is
	// zero. It never writes to q, and keeps no reference to it.
	//
	// Storing the same record again succeeds and changes nothing. Another record under the same id fails
	// with ErrConflict, a record that breaks a rule with ErrInvalid.
	PutAudit(ctx context.Context, q *QueryAudit) (QueryID, error)

	// GetAudit returns the record, or ErrNotFound.
	GetAudit(ctx context.Context, id QueryID) (*QueryAudit, error)

	// AuditsForAgent returns an agent's records from the timestamp from to the timestamp to, both
	// inclusive, ascending by (timestamp, query id), and at most limit. When to is Unbounded there is no upper
	// end. The list may be empty and is never nil. A limit of 0 or less is ErrInvalid.
	AuditsForAgent(ctx context.Context, agent AgentID, from, to uint64, limit int) ([]QueryAudit, error)

	// ListRecent returns the newest records of all agents, the anonymous ones included, descending by (timestamp, query
	// id), and at most limit. The list may be empty and is never nil. A limit of 0 or less is ErrInvalid.
	ListRecent(ctx context.Context, limit int) ([]QueryAudit, error)

	// HasAuditsForAgent reports whether the agent has any record. It costs one seek.
	HasAuditsForAgent(ctx context.Context, agent AgentID) (bool, error)
}

// checkLimit refuses a limit of 0 or less.
func checkLimit(limit int) *FieldError {
	if limit <= 0 {
		return invalid("must be at least 1, not %d", limit).in("limit")
	}
	return nil
}
