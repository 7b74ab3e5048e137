// Package deliver brings signed checkpoints of a log to places outside of the store, where somebody who controls the store
// cannot change them any more.
//
//	                     ┌─► Publish    a folder that any web server serves: tiles, then the checkpoint
//	checkpoint, tiles ───┼─► Exec       a command that gets the checkpoint on its standard input
//	                     └─► Witnesses  others who check that the log only grew, and sign the checkpoint too
//
// Each place is independent of the others: one that fails or hangs delays none of them. A delivery that failed can be
// repeated, and a later checkpoint makes up for it. Nothing that was delivered is ever replaced by an older checkpoint.
//
// A place can show that the log has two histories. That is [ErrFork] for a folder, and a [ConflictError] for a witness:
// then no more checkpoints may be signed until a person has found out why.
//
// The package leaves to others when a checkpoint is signed, where failures are shown, and when a delivery is repeated. It
// checks no signature of the log: whoever calls it has signed the checkpoint just now, or has checked it.
package deliver

import (
	"context"
	"errors"
	"fmt"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/tree"
)

// ErrCorrupt means that the tree of the store does not have the root that was signed, or does not fit together. Nothing is
// delivered then.
var ErrCorrupt = errors.New("the stored tree is corrupt")

// Signed is a checkpoint that is on its way to places outside of the store.
type Signed struct {
	Checkpoint evidence.Checkpoint // what was signed
	Note       []byte              // the signed note: first the log's signature, then the cosignatures that it has so far
	Tiles      tree.TileReader     // of a tree of at least this size; several goroutines read it at once
}

// A Target is a place that gets each signed checkpoint.
type Target interface {
	// Name says what the place is, for logs, statistics and errors: "publish /srv/log", "exec git push".
	Name() string

	// Deliver brings the checkpoint to the place. It returns when it is there for good, or why it is not; the error does not
	// have the name of the place in it. To deliver the same checkpoint again does no harm. The calls of one Target wait for
	// each other.
	Deliver(ctx context.Context, s Signed) error
}

// check finds out whether the three parts of s are of one checkpoint.
func (s Signed) check() error {
	c, err := evidence.ReadUnverified(s.Note)
	if err != nil {
		return err
	}
	if c != s.Checkpoint {
		return errors.New("the note is of another checkpoint")
	}
	root, err := tree.Root(s.Tiles, c.Size)
	if err != nil {
		return fmt.Errorf("read the tree: %w", err)
	}
	if root != c.Root {
		return fmt.Errorf("the tree has the root %s at %d records, and the checkpoint has %s: %w", root, c.Size, c.Root, ErrCorrupt)
	}
	return nil
}
