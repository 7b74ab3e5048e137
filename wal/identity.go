package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/zeebo/blake3"
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

// Identity returns the identity of the journal in dir: that of its oldest segment that begins with an intact
// one. It is for a caller that has lost everything else. It takes no lock, and reads no more than the first
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
	return readIdentity(f, seg.Base)
}

// readIdentity is identityOf for an open file.
func readIdentity(f File, base Offset) ([]byte, error) {
	b := make([]byte, headerSize+1+MaxIdentity)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	size, reason := verifyRecord(b[:n], base)
	if reason != "" || b[headerSize] != kindIdentity {
		return nil, nil
	}
	c, err := decodeControl(b[headerSize:size], base, base)
	if err != nil {
		return nil, nil // whoever walks over it says so
	}
	return c.identity, nil
}

// checkIdentity refuses a segment of another journal. A segment without an identity belongs to any, and
// without want nothing is compared.
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

// identitySize is the length of an identity's record.
func identitySize(identity []byte) int64 { return headerSize + 1 + int64(len(identity)) }

// identityRecord makes the record that a segment of that base begins with.
func identityRecord(identity []byte, base Offset) []byte {
	payload := append([]byte{kindIdentity}, identity...)
	hash := blake3.Sum256(payload)
	b := appendRecord(make([]byte, 0, identitySize(identity)), &hash, payload)
	sealRecord(b, base)
	return b
}

// checkIdentityLength says whether an identity can be stored.
func checkIdentityLength(identity []byte) error {
	if len(identity) > MaxIdentity {
		return fmt.Errorf("an identity of %d bytes: the limit is %d", len(identity), MaxIdentity)
	}
	return nil
}
