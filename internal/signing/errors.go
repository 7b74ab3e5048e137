package signing

import (
	"errors"
	"fmt"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/tree"
)

var (
	// ErrBehind says that the store has fewer records than were signed: a backup was restored, or a machine was rolled back.
	ErrBehind = errors.New("the store has fewer records than were signed")
	// ErrForked says that the store has other records than were signed.
	ErrForked = errors.New("the store has other records than were signed")
	// ErrNoMemory says that the memory beside the key is missing, although something was signed with the key.
	ErrNoMemory = errors.New("the memory of what was signed is missing")
	// ErrNoKey says that the private key cannot be read, or is not the key of the log.
	ErrNoKey = errors.New("the key of the log cannot be used")
	// ErrStopped says that a witness has seen another history of the log.
	ErrStopped = errors.New("a witness has seen another history of the log")
	// ErrConfig says that DIR/log.json is not what this version writes.
	ErrConfig = errors.New("it is not the configuration of a log")
	// ErrCheckpoint says that a file has no checkpoint that the log has signed.
	ErrCheckpoint = errors.New("it is not a checkpoint that this log has signed")

	errClosed = errors.New("the store is closed")
)

// A MismatchError says that the tree of a store does not extend a checkpoint that was signed. It is an ErrBehind or an
// ErrForked.
type MismatchError struct {
	Source string              // the file that has the checkpoint
	Signed evidence.Checkpoint // what was signed
	Size   int64               // of the tree
	Root   tree.Hash           // of the tree, at the size that was signed; of an ErrForked alone
}

func (e *MismatchError) Error() string {
	if e.Size < e.Signed.Size {
		return fmt.Sprintf("%v: it has %d, and %s has a checkpoint of %d", ErrBehind, e.Size, e.Source, e.Signed.Size)
	}
	return fmt.Sprintf("%v: the root of the first %d is %s, and %s has a checkpoint with the root %s", ErrForked, e.Signed.Size, e.Root, e.Source, e.Signed.Root)
}

// Is makes it an ErrBehind or an ErrForked.
func (e *MismatchError) Is(target error) bool {
	if e.Size < e.Signed.Size {
		return target == ErrBehind
	}
	return target == ErrForked
}
