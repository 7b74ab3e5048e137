package audit

import (
	"errors"
	"fmt"

	"github.com/auditsql/auditsql/evidence"
)

// ErrUncovered says that the checkpoint was signed before a record was admitted, so that no proof leads to it yet.
var ErrUncovered = errors.New("it is not covered by a signed checkpoint yet")

// An UncoveredError names a record that the checkpoint does not cover. It is an ErrUncovered.
type UncoveredError struct {
	ID     QueryID
	Index  uint64 // in the log, from 0
	Signed uint64 // how many records the checkpoint has; 0: nothing was signed, or an empty log
}

// Error implements error.
func (e *UncoveredError) Error() string {
	if e.Signed == 0 {
		return "nothing was signed yet"
	}
	return fmt.Sprintf("record %s: %v: it is record %d, counted from 0, and the checkpoint covers the first %d", e.ID, ErrUncovered, e.Index, e.Signed)
}

// Unwrap makes every UncoveredError an ErrUncovered.
func (e *UncoveredError) Unwrap() error { return ErrUncovered }

// A TreeError says that the store does not have what was signed, and so cannot prove it. The stored tree was changed, or the
// records were, or the store is shorter than when it was signed, which is an ErrBehind as well. It is an ErrDamaged.
type TreeError struct {
	Checkpoint evidence.Checkpoint // that was signed; without an origin: one of the store itself
	Err        error               // what was found
}

// Error implements error.
func (e *TreeError) Error() string {
	c := e.Checkpoint
	if c.Origin == "" {
		return fmt.Sprintf("%v: its tree does not fit together: %v", ErrDamaged, e.Err)
	}
	return fmt.Sprintf("%v: it does not have the %d records that %s signed with the root %s: %v", ErrDamaged, c.Size, c.Origin, c.Root, e.Err)
}

// Unwrap makes every TreeError an ErrDamaged.
func (e *TreeError) Unwrap() []error { return []error{ErrDamaged, e.Err} }

// A CheckpointError says that a checkpoint counts for nothing: it cannot be read, or somebody who must have signed it has
// not. That says nothing about the store.
type CheckpointError struct {
	Name    string // where it is from
	Verdict evidence.Verdict
}

// Error implements error.
func (e *CheckpointError) Error() string { return e.Name + ": " + e.Verdict.Detail }
