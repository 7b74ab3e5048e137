package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/auditsql/auditsql/wal/internal/segment"
)

// MaxIdentity is the longest identity, in bytes, that the format allows.
const MaxIdentity = 64

// ForeignError says which segment belongs to another journal. It wraps ErrForeign.
type ForeignError struct {
	Segment string // the file's path
	Have    []byte // the identity in it
	Want    []byte // the caller's
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s: %v: its identity is %x, not %x", e.Segment, ErrForeign, e.Have, e.Want)
}

func (e *ForeignError) Unwrap() error { return ErrForeign }

// Identity returns the identity of the journal in dir: the one of its oldest segment that begins with an intact
// identity. It is for a caller that has lost everything else. It takes no lock, and reads no more than the first
// record of each segment. found is false when no segment has an identity.
func Identity(dir string, o Options) (identity []byte, found bool, err error) {
	o = o.withDefaults()
	segs, err := listSegments(o.FS, dir)
	if err != nil {
		return nil, false, fmt.Errorf("read the journal's identity: %w", err)
	}
	for _, seg := range segs {
		identity, err := identityOf(o.FS, seg)
		if errors.Is(err, fs.ErrNotExist) {
			continue // trimmed since it was listed
		}
		if err != nil {
			return nil, false, fmt.Errorf("read the journal's identity: %w", err)
		}
		if identity != nil {
			return identity, true, nil
		}
	}
	return nil, false, nil
}

// identityOf returns the identity that a segment begins with, or nil when it begins with something else.
func identityOf(fsys FS, seg Segment) ([]byte, error) {
	f, err := fsys.Open(seg.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return segment.ReadIdentity(f, uint64(seg.Base))
}

// checkIdentity refuses a segment of another journal. A segment without an identity may belong to any journal.
// Without want, every segment is accepted.
func checkIdentity(path string, have, want []byte) error {
	if len(have) == 0 || len(want) == 0 || bytes.Equal(have, want) {
		return nil
	}
	return &ForeignError{path, bytes.Clone(have), bytes.Clone(want)}
}

// checkSegments is checkIdentity for each of some segments.
func checkSegments(ctx context.Context, fsys FS, segs []Segment, want []byte) error {
	if len(want) == 0 {
		return nil
	}
	for _, seg := range segs {
		if err := ctx.Err(); err != nil {
			return err
		}
		have, err := identityOf(fsys, seg)
		if err != nil {
			return err
		}
		if err := checkIdentity(seg.Path, have, want); err != nil {
			return err
		}
	}
	return nil
}

// checkIdentityLength says whether an identity can be stored.
func checkIdentityLength(identity []byte) error {
	if len(identity) > MaxIdentity {
		return fmt.Errorf("an identity of %d bytes: the limit is %d", len(identity), MaxIdentity)
	}
	return nil
}
