package wal

import (
	"fmt"

	"github.com/auditsql/auditsql/wal/internal/segment"
)

// Offset is a record's address: the number of bytes of log before it, over all segments.
type Offset uint64

// Record is one record of the log.
type Record struct {
	Offset Offset   // where it begins
	Next   Offset   // where the next one begins: the cursor of a caller that has applied this one
	Hash   [32]byte // BLAKE3-256 of Payload
	// Payload belongs to whoever got the record.
	Payload []byte
}

// MaxPayload is the longest payload, in bytes, that the format allows.
const MaxPayload = 16 << 20

// The limits of the format are written out here for the sake of go doc; they do not compile when they differ.
var _ = [1]int{}[(MaxPayload-segment.MaxPayload)|(MaxIdentity-segment.MaxIdentity)]

const (
	headerSize = segment.HeaderSize
	minRecord  = segment.MinRecord
	// maxOffset bounds offsets: a caller may store them as signed integers.
	maxOffset = Offset(segment.MaxOffset)
)

func recordOf(r segment.Record) Record {
	return Record{Offset(r.Offset), Offset(r.Next), r.Hash, r.Payload}
}

// checkPayload says whether a caller's payload may be appended.
func checkPayload(p []byte, limit int) error {
	switch {
	case len(p) == 0:
		return fmt.Errorf("%w: it is empty", ErrPayload)
	case len(p) > limit:
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrPayload, len(p), limit)
	case p[0] < segment.KindLimit:
		return fmt.Errorf("%w: it begins with 0x%02x, and first bytes below 0x20 are for control records", ErrPayload, p[0])
	}
	return nil
}
