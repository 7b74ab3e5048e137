// Package advice has errors that say what to try. Each command prints the advice in its own way.
package advice

import "fmt"

// An Error is an error with what to try about it.
type Error struct {
	Err   error
	Try   string // "": nothing in particular
	Usage bool   // the command line is wrong, whatever is stored
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error without the advice.
func (e *Error) Unwrap() error { return e.Err }

// Usage says that the command line is wrong, and what to write in its place.
func Usage(try, format string, args ...any) error {
	return &Error{Err: fmt.Errorf(format, args...), Try: try, Usage: true}
}
