package cluster

import (
	"errors"
	"fmt"
	"strings"

	"github.com/auditsql/auditsql/audit"
)

// The errors that callers distinguish with errors.Is. Err of a node returns the one because of which it goes no further.
var (
	// ErrMismatch says that the log is another one than the node's store follows. It is audit's.
	ErrMismatch = audit.ErrMismatch

	// ErrRewound says that the log does not have any more what the node has from it: it ends earlier, or has another message
	// under the same number. Acknowledged records are lost or were replaced. The node goes no further.
	ErrRewound = errors.New("the log lost or replaced messages that it had")

	// ErrTrimmed says that the log begins after the message that comes next. The node needs a copy of a store that has it.
	ErrTrimmed = errors.New("the log was trimmed before this node had read it")

	// ErrGap says that no replica that answers has the message that comes next, although the log has later ones. The node goes on
	// as soon as one has it.
	ErrGap = errors.New("a message is missing on every replica")

	// ErrAltered says that no replica that answers has the message that comes next as its publisher has hashed it, and that they
	// differ, so that nobody knows what was published. The node goes on as soon as one has it intact.
	ErrAltered = errors.New("a message was altered on every replica")

	// ErrUnproven says that it is not certain that the log keeps what it acknowledges.
	ErrUnproven = errors.New("it is not proven that the log keeps what it acknowledges")

	// ErrUndecided says that a put was given to the log, and that this node cannot say what became of it. The same record may be
	// put again at any time. It is audit's.
	ErrUndecided = audit.ErrUndecided
)

// An UnprovenError says why it is not certain that the log keeps what it acknowledges. It is an ErrUnproven.
type UnprovenError struct {
	Log     string
	Reasons []string
}

// Error implements error.
func (e *UnprovenError) Error() string {
	return fmt.Sprintf("%s: %v: %s", e.Log, ErrUnproven, strings.Join(e.Reasons, "; "))
}

// Unwrap makes every UnprovenError an ErrUnproven.
func (e *UnprovenError) Unwrap() error { return ErrUnproven }
