package audit

import (
	"context"
	"iter"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/tree"
)

// What a Union does not answer: a tail would need one order of all records, and a proof one tree.
var (
	errTail = &DividedError{Why: "its partitions have no common order of admission, so there is no place after which a tail could go on; list by time, or tail each partition"}
	errTree = &DividedError{Why: "each partition has a tree of its own; ask the store of the partition"}
)

// TailAfter is refused with a *DividedError.
func (u *Union) TailAfter(context.Context, Offset) iter.Seq2[TailRecord, error] {
	return func(yield func(TailRecord, error) bool) { yield(TailRecord{}, errTail) }
}

// TailRange is refused with a *DividedError.
func (u *Union) TailRange(context.Context) (first, end Offset, err error) { return 0, 0, errTail }

// Prove is refused with a *DividedError.
func (u *Union) Prove(context.Context, QueryID, ProveOptions) (ProvenRecord, error) {
	return ProvenRecord{}, errTree
}

// NewestCheckpoint is refused with a *DividedError.
func (u *Union) NewestCheckpoint(context.Context) ([]byte, evidence.Checkpoint, error) {
	return nil, evidence.Checkpoint{}, errTree
}

// Tree is refused with a *DividedError.
func (u *Union) Tree(context.Context) (uint64, tree.TileReader, error) { return 0, nil, errTree }

// Log returns ErrNoLog: a union signs nothing. Its parts may have logs of their own.
func (u *Union) Log(context.Context) (*LogState, error) { return nil, ErrNoLog }

// Sign is refused with a *DividedError.
func (u *Union) Sign(context.Context) (Signature, error) { return Signature{}, errTree }
