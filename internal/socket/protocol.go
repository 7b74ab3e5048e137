package socket

import (
	"errors"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

// The routes. A change that an older client or server would not understand gets another number.
const (
	root         = "/local/1"
	aboutPath    = root + "/about"
	putPath      = root + "/put"
	settlePath   = root + "/settle"
	checkPath    = root + "/check"
	labelsPath   = root + "/labels"
	signPath     = root + "/sign"
	logPath      = root + "/log"
	loginPath    = root + "/login"
	recordPath   = root + "/record"
	untilParam   = "until-refused" // of putPath
	unnamedParam = "unnamed"       // of labelsPath: only hashes that have no label get one
	idParam      = "id"            // of recordPath
)

// mostBytes is how long the records of one request may be: a batch of package ingest, or one record of the greatest length.
const mostBytes = 4 * audit.MaxEncoded

// About is what a server says about itself.
type About struct {
	PID      int            `json:"pid"`
	Version  string         `json:"version"` // of the program
	TimeUnit audit.TimeUnit `json:"time_unit"`
	URL      string         `json:"url"` // where it serves
}

// putAnswer answers a put: a result for each record, or why there are none.
type putAnswer struct {
	Results []resultJSON `json:"results"`
	Error   *errorJSON   `json:"error,omitempty"`
}

type resultJSON struct {
	ID        audit.QueryID `json:"id"`
	Duplicate bool          `json:"duplicate,omitempty"`
	Error     *errorJSON    `json:"error,omitempty"`
}

type labelJSON struct {
	Hash  audit.Hash `json:"hash"`
	Label string     `json:"label"`
}

type signAnswer struct {
	Origin string            `json:"origin"`
	Size   uint64            `json:"size"`
	Root   tree.Hash         `json:"root"`
	Note   []byte            `json:"note"`
	New    bool              `json:"new"`
	Failed map[string]string `json:"failed,omitempty"` // places, and why they do not have it
}

// errorJSON is an error on its way to a client: its text, and what it is.
type errorJSON struct {
	Kind   string             `json:"kind,omitempty"`
	Text   string             `json:"text"`
	Field  string             `json:"field,omitempty"`  // of an audit.FieldError
	Reason string             `json:"reason,omitempty"` // of an audit.FieldError
	Record *audit.RecordError `json:"record,omitempty"`
}

// kinds are the errors that a command distinguishes. The first that fits is sent.
var kinds = []struct {
	name string
	err  error
}{
	{"not-found", audit.ErrNotFound},
	{"conflict", audit.ErrConflict},
	{"invalid", audit.ErrInvalid},
	{"no-log", audit.ErrNoLog},
	{"behind", audit.ErrBehind},
	{"forked", audit.ErrForked},
	{"no-memory", audit.ErrNoMemory},
	{"stopped", audit.ErrStopped},
	{"no-key", audit.ErrNoKey},
	{"log-file", audit.ErrLogFile},
	{"busy", sqlstore.ErrBusy},
	{"malformed", sqlstore.ErrMalformed},
	{"mismatch", audit.ErrMismatch},
	{"damaged", audit.ErrDamaged},
	{"closed", audit.ErrClosed},
	{"failed", wal.ErrFailed},
}

// A remoteError is an error of the server: with its text, and as what it is there.
type remoteError struct {
	text string
	is   error // nil: nothing that a command distinguishes
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.is }

func encodeError(err error) *errorJSON {
	if err == nil {
		return nil
	}
	e := &errorJSON{Text: err.Error()}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			e.Kind = k.name
			break
		}
	}
	var field *audit.FieldError
	if errors.As(err, &field) {
		e.Field, e.Reason = field.Field, field.Reason
	}
	errors.As(err, &e.Record)
	return e
}

func (e *errorJSON) decode() error {
	switch {
	case e == nil:
		return nil
	case e.Record != nil:
		return &remoteError{e.Text, e.Record}
	case e.Kind == "invalid" && e.Reason != "":
		return &remoteError{e.Text, &audit.FieldError{Field: e.Field, Reason: e.Reason}}
	}
	for _, k := range kinds {
		if e.Kind == k.name {
			return &remoteError{e.Text, k.err}
		}
	}
	return &remoteError{text: e.Text}
}
