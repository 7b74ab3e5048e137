package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
)

// A store that somebody has rewritten as a whole fits together again. So checkpoints from elsewhere are compared with the
// records alone: each leaf is hashed from the value in kv. The leaf hashes and the tiles of the store would be those that
// the same person has rewritten, or has forgotten.

// trust reads the checkpoints from elsewhere and checks who signed them.
func (v *verification) trust(dir string, o VerifyOptions) error {
	if len(o.Against) == 0 {
		return nil
	}
	if o.Quick {
		return invalid("a quick check reads too little to compare the store with checkpoints")
	}
	policy := o.Policy
	if policy == nil {
		log, err := logOf(dir)
		if err != nil {
			return err
		}
		if policy, err = log.Trusted(); err != nil {
			return err
		}
	}
	for _, a := range o.Against {
		found := evidence.VerifyCheckpoint(a.Signed, policy)
		if found.Outcome != evidence.Proven {
			return &CheckpointError{a.Name, found}
		}
		v.against = append(v.against, Compared{a.Name, found.Checkpoint.Origin, found.Checkpoint.Size, found.Checkpoint.Root, false})
	}
	slices.SortStableFunc(v.against, func(a, b Compared) int { return cmp.Compare(a.Size, b.Size) })
	return nil
}

// compareOutside computes the root at the size of each checkpoint from elsewhere, in one pass over the records.
func (v *verification) compareOutside(ctx context.Context) error {
	if len(v.against) == 0 {
		return nil
	}
	var records tree.Frontier
	rest := v.against
	compare := func() {
		for len(rest) > 0 && rest[0].Size == records.Size() {
			rest[0].Same = records.Root() == rest[0].Root
			rest = rest[1:]
		}
	}
	compare()
	whole := true // no record up to here is missing
	for e, err := range v.db.sql.Leaves(ctx, 0) {
		if len(rest) == 0 {
			break
		}
		if missing(err) || errors.As(err, new(*sqlstore.IncompleteError)) || err == nil && e.Index != uint64(records.Size()) {
			whole = false // which CheckDerived says: no larger tree can be that of a checkpoint
			break
		}
		if err != nil {
			return err
		}
		records.Append(e.Leaf)
		if records.Size()%4096 == 0 {
			v.progress("the records against checkpoints from elsewhere", uint64(records.Size()))
		}
		compare()
	}
	v.report.Against = v.against
	return v.reportOthers(ctx, records.Size(), whole)
}

// missing reports whether err says that kv does not have a record.
func missing(err error) bool {
	var damaged *sqlstore.RecordError
	return errors.As(err, &damaged)
}

// reportOthers adds a problem for each checkpoint that is not that of the records. The store has so many records, or lacks the
// one after them.
func (v *verification) reportOthers(ctx context.Context, have int64, whole bool) error {
	first := true
	for i, c := range v.against {
		if c.Same {
			continue
		}
		said := fmt.Sprintf("checkpoint %s: it is of %d records of %s", c.Name, c.Size, c.Origin)
		from := int64(0) // the records before this one are those of a smaller checkpoint
		for _, smaller := range v.against[:i] {
			if smaller.Same {
				from = smaller.Size
			}
		}
		after := slices.IndexFunc(v.against, func(o Compared) bool { return o.Same && o.Size >= c.Size })
		switch {
		case c.Size == 0:
			v.found.problem("%s, and its root is not that of a log without records", said)
		case c.Size > have && whole:
			more := ""
			if v.report.NotApplied > 0 {
				more = fmt.Sprintf(" (and the journal has %d more)", v.report.NotApplied)
			}
			v.found.problem("%s, and the store has only %d%s", said, have, more)
		case after >= 0:
			v.found.problem("%s, and not those of the store, which are those of checkpoint %s (%d): the two are of different histories", said, v.against[after].Name, v.against[after].Size)
		case c.Size > have:
			v.found.problem("%s, and the store lacks record %d", said, have)
		case first:
			v.found.problem("%s, and the store has other ones: the first difference is among records %d to %d", said, from, c.Size-1)
			if err := v.firstOther(ctx, c, from); err != nil {
				return err
			}
			first = false
		default:
			v.found.problem("%s, and the store has other ones", said)
		}
	}
	return nil
}

// firstOther names the first record, from one on, whose leaf is not that of the tiles from elsewhere.
func (v *verification) firstOther(ctx context.Context, c Compared, from int64) error {
	if v.tiles == nil {
		return nil
	}
	signed, err := tree.NewProver(v.tiles, c.Size)
	if err != nil {
		return err
	}
	unusable := func(why any) {
		v.found.note("which record is the first is not known: the tiles are not those of checkpoint %s: %v", c.Name, why)
	}
	root, err := signed.Root()
	switch {
	case err != nil:
		unusable(err)
		return nil
	case root != c.Root:
		unusable("their root is " + root.String())
		return nil
	}
	for e, err := range v.db.sql.Leaves(ctx, uint64(from)) {
		if err != nil {
			return err
		}
		if e.Index >= uint64(c.Size) {
			break
		}
		leaf, err := signed.Leaf(int64(e.Index))
		if err != nil {
			unusable(err)
			return nil
		}
		if leaf == e.Leaf {
			continue
		}
		// Only a leaf that leads to the signed root says what was signed.
		proof, err := signed.Inclusion(int64(e.Index))
		if err == nil {
			err = tree.VerifyInclusion(proof, int64(e.Index), c.Size, leaf, root)
		}
		if err != nil {
			unusable(err)
			return nil
		}
		v.found.problem("record %d (%s) is the first that is not what was signed: its leaf is %s, and %s was signed", e.Index, Hash(e.QueryID), e.Leaf, leaf)
		return nil
	}
	unusable("they have the leaves of the store")
	return nil
}
