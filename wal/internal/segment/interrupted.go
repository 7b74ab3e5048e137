package segment

import (
	"context"
	"fmt"

	"github.com/zeebo/blake3"
)

const (
	// sectorSize is the smallest piece that a disk writes as a whole, in bytes.
	sectorSize = 512
	// leastHole is how many zeros at the end of a sector show that the sector was not written. An intact log has no such run: a payload
	// of the caller's begins with no byte below 0x20, a mark has at most 7 zeros in a row, and 16 zeros in a hash have a chance of 2^-128.
	// (A payload with a run of zeros must not be judged so, see Interrupted.)
	leastHole = 16
)

// Interrupted reports whether the bytes from the scanner's position up to the position end are what a write leaves that did not end.
// Nothing of such a write was acknowledged. If the answer is false, a write may have ended here, and the bytes may have changed since
// then. end is where the next intact record begins, or where the data ends.
//
// What was there before a write are zeros: the log ends where only zeros follow, and recovery cuts everything else. A crash leaves any
// of the sectors of an unsynced write unwritten. So one of these must be found:
//
//   - a hole: zeros up to the end of a sector, inside of the record that begins here;
//   - the end of the data before a payload begins;
//   - the end of the data before the end of that record, as its header has it. A header whose length has changed could say so too. Then
//     the payload is complete, so the content hash is compared.
//
// They are wrong only if the disk has replaced synced sectors by zeros, or has changed a record both in its length and elsewhere.
//
// Payloads must not contain leastHole zeros in a row. The canonical JSON of the audit store has none.
func (s *Scanner) Interrupted(ctx context.Context, end int64) (bool, error) {
	pos := s.pos
	b, err := s.window(ctx, pos, HeaderSize)
	if err != nil {
		return false, err
	}
	h, plausible := decodeHeader(b)
	claimed := pos + HeaderSize // where the record ends, as far as its header can be believed
	if plausible {
		claimed += int64(h.length)
	}
	if hole, err := s.hole(ctx, pos, min(claimed, end)); hole || err != nil {
		return hole, err
	}
	if n := end - pos; n > HeaderSize && n <= MarkSize {
		// A mark ends in zeros, so the end of the data says nothing of it.
		if b, err = s.window(ctx, pos, int(n)); err != nil || h.length == markPayload || b[HeaderSize] == KindMark {
			return false, err
		}
	}
	short := end-pos <= HeaderSize // there is no payload
	if !short && (!plausible || claimed <= end) {
		return false, nil
	}
	if last, err := s.DataEnd(ctx); last != end || err != nil || short {
		return last == end && err == nil, err // if records follow, the write has not ended here
	}
	payload := make([]byte, end-pos-HeaderSize)
	if _, err := s.src.ReadAt(payload, pos+HeaderSize); err != nil {
		return false, fmt.Errorf("read at offset %d: %w", s.base+uint64(pos), err)
	}
	return blake3.Sum256(payload) != h.hash, nil
}

// hole reports whether a run of zeros that ends at the end of a sector begins in [from, to).
func (s *Scanner) hole(ctx context.Context, from, to int64) (bool, error) {
	for at := from; at < to; {
		next := at - at%sectorSize + sectorSize
		b, err := s.window(ctx, at, int(next-at))
		if err != nil || int64(len(b)) < next-at { // the file ends in this sector
			return false, err
		}
		zeros := zerosAtEnd(b)
		switch begins := next - int64(zeros); {
		case begins >= to:
		case zeros >= leastHole:
			return true, nil
		case begins == from && zeros >= 4: // a header begins with its length, which is not 0
			return true, nil
		}
		at = next
	}
	return false, nil
}
