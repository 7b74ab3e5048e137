package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
)

// Between returns all records that were admitted between an older signed checkpoint and that of the prover: the right edge of
// the older tree, and the records, one a line. Both are what a bundle.Range has. Without an older checkpoint (nil) they are all
// records from the first one on, and the edge is empty. Close the records. Ask for the policy afterwards: it has no witnesses when
// too few of them have signed the older checkpoint.
//
// The records are read while they are asked for, and memory is bounded. So that they are the ones that were signed is known
// only at their end: the last Read returns io.EOF if they are, and otherwise a *TreeError or *RecordError.
//
// The error is a *CheckpointError when the older checkpoint is not signed as it must be, or is of another log.
func (p *Prover) Between(ctx context.Context, older []byte) (edge *tree.Frontier, records io.ReadCloser, err error) {
	if edge, err = p.edge(older); err != nil {
		return nil, nil, journalError(err)
	}
	grown, err := tree.NewFrontier(edge.Size(), edge.Hashes())
	if err != nil {
		return nil, nil, err
	}
	r := &rangeReader{p: p, tree: grown}
	r.next, r.stop = iter.Pull2(whileOpen(ctx, p.db, lostOnes(p.db, p.db.sql.Values(ctx, uint64(edge.Size())))))
	return edge, r, nil
}

// edge returns the right edge of the tree of an older checkpoint, once that counts and the store has what it says.
func (p *Prover) edge(older []byte) (*tree.Frontier, error) {
	if older == nil {
		return &tree.Frontier{}, nil
	}
	v := evidence.VerifyCheckpoint(older, p.policy)
	if v.Reason == evidence.NoQuorum && p.log != nil { // as in policyFor
		var err error
		p.note = noWitness + "the older checkpoint: " + v.Detail
		if p.policy, err = p.log.Trusted(); err != nil {
			return nil, err
		}
		v = evidence.VerifyCheckpoint(older, p.policy)
	}
	switch {
	case v.Outcome != evidence.Proven:
		return nil, &CheckpointError{"the older checkpoint", v}
	case v.Checkpoint.Origin != p.checkpoint.Origin:
		v.Outcome, v.Reason = evidence.Undecided, evidence.OtherLog
		v.Detail = fmt.Sprintf("it is of another log, %s", v.Checkpoint.Origin)
		return nil, &CheckpointError{"the older checkpoint", v}
	case v.Checkpoint.Size > p.checkpoint.Size:
		return nil, invalid("the older checkpoint has %d records, and the newer one %d", v.Checkpoint.Size, p.checkpoint.Size)
	}
	if err := p.begins(v.Checkpoint, uint64(p.checkpoint.Size)); err != nil {
		return nil, err
	}
	edge, err := tree.ReadFrontier(p.tiles, v.Checkpoint.Size)
	if err != nil {
		return nil, treeError(v.Checkpoint, err)
	}
	if !slices.Contains(p.keys, v.LogKey) {
		p.keys = append(p.keys, v.LogKey)
	}
	return edge, nil
}

// lostOnes replaces errors of SQLite about one record.
func lostOnes[T any](db *DB, rows iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for v, err := range rows {
			if !yield(v, db.lost(err)) {
				return
			}
		}
	}
}

// rangeReader reads the records of a range. It adds their leaves to the tree of the older checkpoint: the root at the end
// shows whether they are those that were signed.
type rangeReader struct {
	p    *Prover
	tree *tree.Frontier
	next func() (sqlstore.EntryValue, error, bool)
	stop func()
	line []byte
	rest []byte // of line
	err  error
}

// Read implements [io.Reader].
func (r *rangeReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(r.rest) == 0 && r.err == nil {
			r.err = r.read()
		}
		if len(r.rest) == 0 {
			break
		}
		more := copy(p[n:], r.rest)
		n, r.rest = n+more, r.rest[more:]
	}
	if n == 0 && len(p) > 0 {
		return 0, r.err
	}
	return n, nil
}

// read reads the next record.
func (r *rangeReader) read() error {
	c := r.p.checkpoint
	if r.tree.Size() == c.Size {
		if r.tree.Root() != c.Root {
			return &TreeError{Checkpoint: c, Err: errors.New("the stored records have another root")}
		}
		return io.EOF
	}
	v, err, more := r.next()
	switch {
	case err != nil:
		return err
	case !more || v.Index != uint64(r.tree.Size()):
		return &TreeError{Checkpoint: c, Err: fmt.Errorf("record %d is missing", r.tree.Size())}
	}
	r.tree.Append(tree.LeafHash(v.Value))
	r.line = append(append(r.line[:0], v.Value...), '\n')
	r.rest = r.line
	return nil
}

// Close ends the reading.
func (r *rangeReader) Close() error {
	r.stop()
	return nil
}
