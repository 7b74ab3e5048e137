package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Resync returns the offset of the first intact record at or after from and before limit.
//
// A record may begin at every byte, and what is no record claims lengths up to 16 MiB. So a candidate's
// checksum is not computed from its bytes, which would read each byte of the file a thousand times and more,
// but from the checksums of the file's beginnings (prefixes). Only a candidate whose checksum fits is read as a whole.
// 16 MiB of random bytes take 0.2 s. The worst case takes 8 s: 16-bit numbers in 32 bits, where every other
// byte begins a candidate.
//
// Beside a live writer this judges the file as it was when its bytes were first read.
func (s *Scanner) Resync(ctx context.Context, from, limit uint64) (off uint64, ok bool, err error) {
	var whole []byte
	end := min(s.size-HeaderSize, int64(min(limit-s.base, MaxOffset)))
	for pos := int64(from - s.base); pos < end; pos++ {
		b, err := s.window(ctx, pos, HeaderSize)
		if err != nil {
			return 0, false, err
		}
		if len(b) == HeaderSize && b[3] > MaxPayload>>24 { // most bytes end here
			continue
		}
		h, ok := decodeHeader(b)
		if !ok || int64(h.length) > s.size-pos-HeaderSize {
			continue
		}
		fits, err := s.checksumFits(ctx, h, pos)
		if err == nil && fits {
			// Read beside the window, which stays where the search goes on.
			whole = slices.Grow(whole[:0], HeaderSize+int(h.length))[:HeaderSize+int(h.length)]
			_, err = s.src.ReadAt(whole, pos)
		}
		switch {
		case errors.Is(err, io.EOF): // somebody has cut the file since its size was asked
			continue
		case err != nil:
			return 0, false, fmt.Errorf("look for a record at offset %d: %w", s.base+uint64(pos), err)
		case !fits:
			continue
		}
		if _, reason := verify(whole, s.base+uint64(pos)); reason == "" {
			return s.base + uint64(pos), true, nil
		}
	}
	return 0, false, nil
}

// checksumFits reports whether the bytes after a header at pos, as many as it says, have its checksum.
func (s *Scanner) checksumFits(ctx context.Context, h header, pos int64) (bool, error) {
	const crcEnd = 8 // after len and crc, where the bytes begin that crc is of
	if s.sums == nil || pos < s.sums.from {
		s.sums, s.front.start, s.end.start = newPrefixes(s.src, pos), -1, -1
	}
	front, err := s.sums.at(ctx, pos+crcEnd, &s.front)
	if err != nil {
		return false, err
	}
	end, err := s.sums.at(ctx, pos+HeaderSize+int64(h.length), &s.end)
	if err != nil {
		return false, err
	}
	seed := checksum(s.base+uint64(pos), h.length, nil)
	return h.crc == exchangeCRC(end, front, seed, HeaderSize-crcEnd+h.length), nil
}
