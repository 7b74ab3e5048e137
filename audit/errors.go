package audit

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/auditsql/auditsql/wal"
)

// The errors that callers distinguish with errors.Is. The error that a method returns wraps one of them and says what
// was being done.
var (
	// ErrNotFound says that no audit is stored under the id asked for.
	ErrNotFound = errors.New("no such record")

	// ErrConflict says that other bytes are stored under the same query id. The first record stands.
	ErrConflict = errors.New("another record is stored under this query id")

	// ErrInvalid says that a record or an argument is refused. Nothing of it is stored. The error of a record
	// is also a *FieldError, which names the field.
	ErrInvalid = errors.New("invalid audit")

	// ErrReadOnly says that the store was opened for reading.
	ErrReadOnly = errors.New("the store is open for reading only")

	// ErrFollows says that the store gets its records from a log on other machines, and takes none here. errors.As with
	// *FollowsError tells from which.
	ErrFollows = errors.New("the store follows a log")

	// ErrUndecided says that a put was given to the log that the store follows, and that it is not known what became of it. The same
	// record may be put again at any time.
	ErrUndecided = errors.New("not decided, and putting the record again is safe")

	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("the store is closed")

	// ErrBusy says that the context of a put ended while the put waited for room in the backlog. Nothing of it is stored. The
	// error also is that of the context.
	ErrBusy = errors.New("the store is busy, and nothing was stored")

	// ErrLocked says that another writer has the store. errors.As with *wal.LockedError says which.
	ErrLocked = wal.ErrLocked
)

// A FollowsError refuses to write to a store that gets its records from a log on other machines. It is an ErrFollows.
type FollowsError struct {
	Dir string // the store's folder
	Log string // what people call the log
}

// Error implements error.
func (e *FollowsError) Error() string {
	return fmt.Sprintf("%s follows %s: its records come from there, and it can only be read here", e.Dir, e.Log)
}

// Unwrap makes every FollowsError an ErrFollows.
func (e *FollowsError) Unwrap() error { return ErrFollows }

// An AsOfError says that a question asks for the state of the store at a moment that has not come: the store has fewer
// records.
type AsOfError struct {
	AsOf uint64 // how many records were asked for
	Have uint64 // how many there are
}

// Error implements error.
func (e *AsOfError) Error() string {
	return fmt.Sprintf("as of %d records: the store has %d", e.AsOf, e.Have)
}

// A TrimmedError says that the journal does not have the records from an offset on any more: they were trimmed, and SQLite
// has them. It is a wal.ErrTrimmed.
type TrimmedError struct {
	After Offset // from where on records were asked for
	First Offset // the first offset that is left
}

// Error implements error.
func (e *TrimmedError) Error() string {
	return fmt.Sprintf("the journal begins at offset %d now: what follows %d was trimmed", e.First, e.After)
}

// Unwrap makes every TrimmedError a wal.ErrTrimmed.
func (e *TrimmedError) Unwrap() error { return wal.ErrTrimmed }

// A FieldError names the field because of which a record is refused, or the argument because of which a call is. It is
// an ErrInvalid.
type FieldError struct {
	// Field is a dotted path with list indexes from 0, such as "params.lifecycle" or
	// "contributing_assertions[3].weight". It is empty when the whole record is refused. A name that
	// comes from the input is quoted unless it is plain, and cut when it is long.
	Field string

	// Reason says what is wrong. Its length is bounded, however long the input is.
	Reason string
}

// Error implements error.
func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Reason
	}
	return e.Field + ": " + e.Reason
}

// Unwrap makes every FieldError an ErrInvalid.
func (e *FieldError) Unwrap() error { return ErrInvalid }

// invalid makes a FieldError without a field. A caller that knows the field adds it with in.
func invalid(format string, args ...any) *FieldError {
	return &FieldError{Reason: fmt.Sprintf(format, args...)}
}

// in puts the path of the enclosing object or list before the field, and returns e. A nil e stays nil.
func (e *FieldError) in(parent string) *FieldError {
	switch {
	case e == nil:
	case e.Field == "":
		e.Field = parent
	case e.Field[0] == '[':
		e.Field = parent + e.Field
	default:
		e.Field = parent + "." + e.Field
	}
	return e
}

// orNil turns e into an error, so that a nil *FieldError does not become a non-nil error.
func (e *FieldError) orNil() error {
	if e == nil {
		return nil
	}
	return e
}

// maxExcerpt is how many bytes of its input an error repeats at most.
const maxExcerpt = 64

// excerpt quotes the beginning of a text for an error. The result is ASCII: errors go to terminals
// and logs, where escape sequences and bidirectional characters of a hostile record would do harm.
func excerpt[T string | []byte](text T) string {
	if len(text) <= maxExcerpt {
		return strconv.QuoteToASCII(string(text))
	}
	end := maxExcerpt
	for end > maxExcerpt-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return strconv.QuoteToASCII(string(text[:end])) + "…"
}

// pathElement returns a name from the input for a field's path: unchanged when it is short
// and plain, else quoted and cut.
func pathElement[T string | []byte](name T) string {
	if len(name) == 0 || len(name) > maxExcerpt {
		return excerpt(name)
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.', c == ':', c == '/':
		default:
			return excerpt(name)
		}
	}
	return string(name)
}
