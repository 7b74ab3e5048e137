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
// A record may begin at every byte, and bytes that are no header can claim any length up to 16 MiB. To compute each
// candidate's checksum from its bytes would read each byte of the file more than a thousand times. So the checksum is
// computed from those of the file's prefixes (prefixes, in crc.go). Only a candidate whose checksum matches is read as a
// whole. 16 MiB of random bytes take 0.2 s. The worst case takes 8 s: 16-bit numbers stored in 32 bits, where every other
// byte begins a candidate.
//
// While a writer is at work, the result is for the bytes as they were when Resync first read them.
func (s *Scanner) Resync(ctx context.Context, from, limit uint64) (off uint64, ok bool, err error) {
	var whole []byte
	end := min(s.size-HeaderSize, int64(min(limit-s.base, MaxOffset)))
	for pos := int64(from - s.base); pos < end; pos++ {
		b, err := s.window(ctx, pos, HeaderSize)
		if err != nil {
			return 0, false, err
		}
		if len(b) == HeaderSize && b[3] > MaxPayload>>24 { // the length is too large; nearly every candidate fails here
			continue
		}
		h, ok := decodeHeader(b)
		if !ok || int64(h.length) > s.size-pos-HeaderSize {
			continue
		}
		fits, err := s.checksumFits(ctx, h, pos)
		if err == nil && fits {
			// Read into a buffer of its own: the search goes on with the bytes in the window.
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

// checksumFits reports whether the checksum in the header at pos matches the bytes that follow, as many as the header says.
func (s *Scanner) checksumFits(ctx context.Context, h header, pos int64) (bool, error) {
	const crcEnd = 8 // the length of len and crc: the checksum covers the bytes after them
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
