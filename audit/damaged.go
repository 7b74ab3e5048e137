package audit

import (
	"errors"
	"fmt"
)

// A RecordError says that one record is damaged: what SQLite has under its id is not what was admitted. The record is not
// served. Everything else is. It is an ErrDamaged.
type RecordError struct {
	ID      QueryID
	Missing bool   // SQLite has nothing under the id; else its value does not match the leaf hash beside it
	Cure    string // what can be done
}

// Error implements error.
func (e *RecordError) Error() string {
	what := "is not what was stored: its value in kv does not match its leaf hash"
	if e.Missing {
		what = "is missing in kv"
	}
	return fmt.Sprintf("%v: record %s %s; %s", ErrDamaged, e.ID, what, e.Cure)
}

// Unwrap makes every RecordError an ErrDamaged.
func (e *RecordError) Unwrap() error { return ErrDamaged }

// ofRecord reports whether err is about one record, so that others can still be read.
func ofRecord(err error) bool {
	var damaged *RecordError
	return errors.As(err, &damaged)
}
