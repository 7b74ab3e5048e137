package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"time"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/signing"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
)

// ProveOptions say what proofs lead to. The zero value is the newest checkpoint that the store's log has signed.
type ProveOptions struct {
	// Checkpoint is a signed checkpoint of the store's log; nil: the newest one.
	Checkpoint []byte
	// Policy says who must have signed it; nil: the store's log. If log.json names witnesses, and enough of them have signed
	// the checkpoint, they belong to it.
	Policy *evidence.Policy
	// Before is the number of records that ProveAll looks at: it leaves out those that were admitted after them. 0: all that
	// there are when the prover is made.
	Before uint64
}

// A ProvenRecord is a record with the proof that it is in the log.
type ProvenRecord struct {
	ID    QueryID
	Index uint64 // in the log, from 0
	Raw   []byte // canonical JSON, as it is stored
	Proof []byte // a text in the form c2sp.org/tlog-proof, which evidence.Verify reads
}

// A Prover makes evidence from a store. All its proofs lead to one signed checkpoint. It checks each of them against the root
// that was signed before it hands it out, so that a tile or a record that was changed gives an error and no false proof.
//
// Only one goroutine at a time may use a Prover. It works until the store is closed.
type Prover struct {
	db         *DB
	policy     *evidence.Policy
	log        *signing.Config // that the policy is from; nil: the caller's
	note       string
	signed     []byte
	checkpoint evidence.Checkpoint
	keys       []string // that have signed it, and the older checkpoint of Between
	before     uint64
	tiles      tree.TileReader
	tree       *tree.Prover
}

// Prover makes a prover. The error is ErrNoLog when the store has no log, ErrUncovered when nothing was signed yet, a
// *CheckpointError when the checkpoint is not signed as it must be, and a *TreeError when the store does not have what was
// signed. ctx also ends what the prover reads later.
func (db *DB) Prover(ctx context.Context, o ProveOptions) (*Prover, error) {
	p, err := db.prover(ctx, o)
	if err != nil {
		return nil, journalError(err)
	}
	return p, nil
}

func (db *DB) prover(ctx context.Context, o ProveOptions) (*Prover, error) {
	if err := db.readable(ctx); err != nil {
		return nil, err
	}
	p := &Prover{db: db}
	// The checkpoint first: the tree that is read after it covers it.
	if err := p.trust(o); err != nil {
		return nil, err
	}
	size, tiles, err := db.Tree(ctx)
	if err != nil {
		return nil, err
	}
	if p.before = size; o.Before > 0 {
		p.before = min(size, o.Before)
	}
	p.tiles = tiles
	if err := p.begins(p.checkpoint, size); err != nil {
		return nil, err
	}
	p.tree, err = tree.NewProver(tiles, p.checkpoint.Size)
	return p, err
}

// trust finds the checkpoint and the policy by which it counts.
func (p *Prover) trust(o ProveOptions) error {
	p.signed, p.policy = o.Checkpoint, o.Policy
	name := "the checkpoint"
	if p.signed == nil || p.policy == nil {
		log, err := logOf(p.db.dir)
		if err != nil {
			return err
		}
		if p.signed == nil {
			name = signing.CheckpointPath(p.db.dir)
			if p.signed, _, err = log.Newest(p.db.dir); err != nil {
				return err
			}
			if p.signed == nil {
				return &UncoveredError{}
			}
		}
		if p.policy == nil {
			p.log = log
			if p.policy, p.note, err = policyFor(log, p.signed); err != nil {
				return err
			}
		}
	}
	v := evidence.VerifyCheckpoint(p.signed, p.policy)
	if v.Outcome != evidence.Proven {
		return &CheckpointError{name, v}
	}
	p.checkpoint, p.keys = v.Checkpoint, []string{v.LogKey}
	return nil
}

// policyFor returns the policy of the log with its witnesses, if enough of them have signed the checkpoint, and without them
// otherwise: a witness that is away for a day must not keep anybody from getting evidence. The note says so then.
func policyFor(log *signing.Config, signed []byte) (policy *evidence.Policy, note string, err error) {
	witnessed, err := log.Witnessed()
	switch {
	case err != nil:
		note = err.Error()
	case witnessed != nil:
		v := evidence.VerifyCheckpoint(signed, witnessed)
		if v.Outcome == evidence.Proven {
			return witnessed, "", nil
		}
		note = v.Detail
	}
	if note != "" {
		note = noWitness + note
	}
	policy, err = log.Trusted()
	return policy, note, err
}

const noWitness = "the evidence asks for no witness: "

// logOf reads the configuration of the log of the store in dir.
func logOf(dir string) (*signing.Config, error) {
	c, err := signing.ReadConfig(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoLog)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLogFile, err)
	}
	return c, nil
}

// begins checks that the tree of the store, which has so many records, begins with that of a signed checkpoint.
func (p *Prover) begins(c evidence.Checkpoint, size uint64) error {
	if uint64(c.Size) > size {
		return &TreeError{Checkpoint: c, Err: fmt.Errorf("%w: it has %d", ErrBehind, size)}
	}
	root, err := tree.Root(p.tiles, c.Size)
	if err != nil {
		return treeError(c, err)
	}
	if root != c.Root {
		return &TreeError{Checkpoint: c, Err: fmt.Errorf("the stored tree has the root %s at this size", root)}
	}
	return nil
}

// treeError makes a *TreeError of the error of a tile that is missing or cut, and returns others unchanged.
func treeError(c evidence.Checkpoint, err error) error {
	if errors.Is(err, sqlstore.ErrMalformed) {
		return &TreeError{Checkpoint: c, Err: err}
	}
	return err
}

// Checkpoint returns the checkpoint that the proofs lead to.
func (p *Prover) Checkpoint() evidence.Checkpoint { return p.checkpoint }

// Policy returns the policy by which the checkpoint counts, for the receiver of the evidence.
func (p *Prover) Policy() *evidence.Policy { return p.policy }

// Keys returns the verifier keys of the log that the receiver of the evidence needs. There are two after Between, when the key
// of the log was changed between the two checkpoints.
func (p *Prover) Keys() []string { return slices.Clone(p.keys) }

// Note returns what a person should know about the policy, or "": the log has witnesses, and too few of them have signed.
func (p *Prover) Note() string { return p.note }

// Prove returns a record with its proof. The error is ErrNotFound when there is no such record, an *UncoveredError when the
// checkpoint does not cover it, and ErrDamaged when the store does not have what was signed: a *RecordError or a *TreeError.
func (p *Prover) Prove(ctx context.Context, id QueryID) (ProvenRecord, error) {
	rec, err := p.prove(ctx, id)
	if err != nil {
		return ProvenRecord{}, journalError(err)
	}
	return rec, nil
}

func (p *Prover) prove(ctx context.Context, id QueryID) (ProvenRecord, error) {
	if err := p.db.awaitRecord(ctx, id); err != nil {
		return ProvenRecord{}, err
	}
	if err := p.db.whole(ctx); err != nil {
		return ProvenRecord{}, err
	}
	index, err := p.db.sql.IndexOf(ctx, id)
	if err != nil {
		return ProvenRecord{}, err
	}
	raw, err := p.db.sql.Record(ctx, id)
	switch {
	case errors.Is(err, sqlstore.ErrNotFound) && index >= 0:
		err = &RecordError{ID: id, Missing: true, Cure: p.db.recordAdvice()}
	case errors.Is(err, sqlstore.ErrNotFound):
		err = fmt.Errorf("%s: %w", id, ErrNotFound)
	case err == nil && index < 0:
		err = cmp.Or(p.db.whole(ctx), fmt.Errorf("%w: table audit does not have the record %s; a reindex makes the table again", ErrDamaged, id))
	}
	if err != nil {
		return ProvenRecord{}, p.db.lost(err)
	}
	return p.proven(id, uint64(index), raw)
}

// proven makes the proof of a record, and checks it.
func (p *Prover) proven(id QueryID, index uint64, raw []byte) (ProvenRecord, error) {
	c := p.checkpoint
	if index >= uint64(c.Size) {
		return ProvenRecord{}, &UncoveredError{ID: id, Index: index, Signed: uint64(c.Size)}
	}
	// Otherwise somebody who exchanges records in the database gets evidence that has the id of another record.
	if own, _ := idOf(raw); own != id {
		return ProvenRecord{}, &TreeError{Checkpoint: c, Err: fmt.Errorf("under the id %s there is the record %s", id, own)}
	}
	hashes, err := p.tree.Inclusion(int64(index))
	if err != nil {
		return ProvenRecord{}, treeError(c, err)
	}
	if err := tree.VerifyInclusion(hashes, int64(index), c.Size, tree.LeafHash(raw), c.Root); err != nil {
		return ProvenRecord{}, &TreeError{Checkpoint: c, Err: fmt.Errorf("record %s is not at index %d of the stored tree, or a hash of the tree was changed", id, index)}
	}
	proof := evidence.Proof{Index: int64(index), Hashes: hashes, Checkpoint: p.signed}
	return ProvenRecord{ID: id, Index: index, Raw: raw, Proof: proof.Text()}, nil
}

// ProveAll yields the records that a filter selects, with their proofs, in the order of the filter. It ends with the first
// error: an *UncoveredError when the checkpoint does not cover a record, so that nothing is left out in silence, or one of
// those of Prove.
func (p *Prover) ProveAll(ctx context.Context, f Filter) iter.Seq2[ProvenRecord, error] {
	return func(yield func(ProvenRecord, error) bool) {
		rows := selected(ctx, p.db, f, p.db.sql.SelectNumbered)
		for v, err := range whileOpen(ctx, p.db, rows) {
			if err == nil && v.Index >= p.before {
				continue
			}
			var rec ProvenRecord
			if err == nil {
				rec, err = p.proven(v.QueryID, v.Index, v.Value)
			}
			if err != nil {
				yield(ProvenRecord{}, journalError(err))
				return
			}
			if !yield(rec, nil) {
				return
			}
		}
	}
}

// signedPause is how often AwaitSigned looks for a new checkpoint.
const signedPause = 200 * time.Millisecond

// AwaitSigned waits until the store's log has signed a checkpoint of at least so many records, or ctx ends. It signs nothing: the
// writer of the store does, perhaps in another process.
func (db *DB) AwaitSigned(ctx context.Context, size uint64) error {
	for {
		log, err := logOf(db.dir)
		if err != nil {
			return fmt.Errorf("wait for a checkpoint: %w", err)
		}
		note, c, err := log.Newest(db.dir)
		switch {
		case err != nil:
			return fmt.Errorf("wait for a checkpoint: %w", err)
		case note != nil && uint64(c.Size) >= size:
			return nil
		}
		select {
		case <-time.After(signedPause):
		case <-ctx.Done():
			return fmt.Errorf("wait for a checkpoint: %w", context.Cause(ctx))
		}
	}
}

// Prove returns a record with its proof, see [Prover.Prove]. To prove many, make a [Prover].
func (db *DB) Prove(ctx context.Context, id QueryID, o ProveOptions) (ProvenRecord, error) {
	p, err := db.Prover(ctx, o)
	if err != nil {
		return ProvenRecord{}, err
	}
	return p.Prove(ctx, id)
}

// ProveAll yields the records that a filter selects, with their proofs, see [Prover.ProveAll].
func (db *DB) ProveAll(ctx context.Context, f Filter, o ProveOptions) iter.Seq2[ProvenRecord, error] {
	return func(yield func(ProvenRecord, error) bool) {
		p, err := db.Prover(ctx, o)
		if err != nil {
			yield(ProvenRecord{}, err)
			return
		}
		p.ProveAll(ctx, f)(yield)
	}
}

// Consistency returns the proof that the first old records are the beginning of the first size records: RFC 6962, section
// 2.1.2. It fits the roots that the store's tree has at both sizes. Whoever has signed roots checks it against these
// (tree.VerifyConsistency).
func (db *DB) Consistency(ctx context.Context, old, size uint64) ([]tree.Hash, error) {
	proof, err := db.consistency(ctx, old, size)
	if err != nil {
		return nil, fmt.Errorf("prove that %d records continue %d: %w", size, old, journalError(err))
	}
	return proof, nil
}

func (db *DB) consistency(ctx context.Context, old, size uint64) ([]tree.Hash, error) {
	have, tiles, err := db.Tree(ctx)
	if err != nil {
		return nil, err
	}
	if old > size || size > have {
		return nil, invalid("want the smaller size first, and both up to the %d records of the store", have)
	}
	proof, err := tree.Consistency(tiles, int64(old), int64(size))
	if err != nil {
		return nil, err
	}
	older, err := tree.Root(tiles, int64(old))
	if err != nil {
		return nil, err
	}
	newer, err := tree.Root(tiles, int64(size))
	if err != nil {
		return nil, err
	}
	if err := tree.VerifyConsistency(proof, int64(old), int64(size), older, newer); err != nil {
		return nil, &TreeError{Checkpoint: evidence.Checkpoint{Size: int64(size), Root: newer}, Err: err}
	}
	return proof, nil
}
