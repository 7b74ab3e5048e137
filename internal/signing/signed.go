package signing

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/tree"
)

// AllSigned returns everything that is known to be signed under the log's name, the largest checkpoint last: what FILE.signed,
// DIR/checkpoint, log.json and the memories of the other keys of the log say. Two of them may be the same.
func (c *Config) AllSigned(dir string) ([]Copy, error) {
	known, err := c.Known(dir)
	if err != nil {
		return nil, err
	}
	all := c.signed(dir, known)
	slices.SortStableFunc(all, func(a, b Copy) int { return cmp.Compare(a.Size, b.Size) })
	return all, nil
}

func (c *Config) signed(dir string, known Known) (all []Copy) {
	for _, k := range slices.Concat([]Copy{known.Memory, known.Store}, known.Next, known.Before) {
		if k.Note != nil {
			all = append(all, k)
		}
	}
	// log.json last: it has no signature, so what the others say counts more.
	if s := c.Signed; s != nil {
		all = append(all, Copy{Path: Path(dir), alone: known.Memory.Note != nil, Checkpoint: evidence.Checkpoint{Origin: c.Origin, Size: s.Size, Root: s.Root}})
	}
	return all
}

// ExtendedBy returns a *MismatchError when a tree of the size does not extend a checkpoint that was signed.
func (s Copy) ExtendedBy(size int64, tiles tree.TileReader) error {
	mismatch := &MismatchError{Source: s.Path, OnlyConfig: s.alone, Signed: s.Checkpoint, Size: size}
	if size < s.Size {
		return mismatch
	}
	root, err := tree.Root(tiles, s.Size)
	if err != nil {
		return fmt.Errorf("compare with %s: %w", s.Path, err)
	}
	if root != s.Root {
		mismatch.Root = root
		return mismatch
	}
	return nil
}
