package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
)

// Scanner walks over the records of one segment file. It stands at a position, from which Judge and Peek look, and
// which Skip and Seek change. It is used by one goroutine at a time.
//
// Methods that read take a context, and ask it before each read of the file: not for each record, since a read
// brings up to 256 KiB.
type Scanner struct {
	src  Source
	base uint64
	pos  int64 // of the next record

	size  int64 // the file's length when it was last asked, or limit
	limit int64 // look no further
	whole bool  // limit lies after the file's end, and the file will not grow any more

	settled bool // the bytes were read when it was known already that the segment is sealed; for Judge

	buf   []byte
	bufAt int64 // position in the file of buf[0]
	ahead int   // how much is read at a time; it doubles with each read up to readAhead

	// For Resync: checksums from the position where it was first needed, and where in them it looked last; nil until
	// then.
	sums       *prefixes
	front, end prefixEnd
}

const (
	// readAhead is how much a scanner reads at a time.
	readAhead = 256 << 10
	// shortAhead is the same where no more than a record or two are to be expected.
	shortAhead = 4 << 10
)

// NewScanner returns a scanner of the file that begins at base. It stands at the offset at, which is not before base.
func NewScanner(src Source, base, at uint64) (*Scanner, error) {
	s := &Scanner{src: src, base: base, pos: int64(at - base), limit: math.MaxInt64, ahead: readAhead}
	return s, s.Refresh()
}

// Base returns the offset of the file's first byte.
func (s *Scanner) Base() uint64 { return s.base }

// Offset returns where the scanner stands.
func (s *Scanner) Offset() uint64 { return s.base + uint64(s.pos) }

// Pos returns where the scanner stands, as a position in the file.
func (s *Scanner) Pos() int64 { return s.pos }

// Size returns the file's length when it was last asked, in bytes, or the limit of Extend.
func (s *Scanner) Size() int64 { return s.size }

// Skip goes past a record that Peek or Judge has found.
func (s *Scanner) Skip(rec Record) { s.pos = int64(rec.Next - s.base) }

// Seek goes to an offset, which is not before the file's base.
func (s *Scanner) Seek(off uint64) { s.pos = int64(off - s.base) }

// Refresh asks for the length again, and drops what was read ahead, of a file to which another goroutine or process
// may have written.
func (s *Scanner) Refresh() error {
	size, err := s.src.Size()
	s.size, s.sums = min(size, s.limit), nil
	s.forget(s.ahead)
	return err
}

// Extend lets the scanner look as far as the position limit and no further. What lies before the limit must not
// change any more, so what was read ahead stays valid.
func (s *Scanner) Extend(limit int64) error {
	s.limit = limit
	if s.size < limit && !s.whole {
		size, err := s.src.Size()
		if err != nil {
			return err
		}
		// If the log goes on after the file's end, it does so in a later file: this one has got its last byte.
		s.size, s.whole = size, size < limit
	}
	s.size = min(s.size, limit)
	return nil
}

// NoLimit takes the limit of Extend away. The length stays as it is until Refresh.
func (s *Scanner) NoLimit() { s.limit, s.whole = math.MaxInt64, false }

// Drop drops what was read ahead.
func (s *Scanner) Drop() { s.buf = s.buf[:0] }

// forget drops what was read ahead, and lets the next reads be shorter.
func (s *Scanner) forget(ahead int) { s.buf, s.ahead = s.buf[:0], ahead }

// window returns up to n bytes of the file at pos, fewer only at its end. They are valid until the
// next call.
func (s *Scanner) window(ctx context.Context, pos int64, n int) ([]byte, error) {
	n = int(min(int64(n), s.size-pos))
	if n <= 0 {
		return nil, nil
	}
	if pos >= s.bufAt && pos+int64(n) <= s.bufAt+int64(len(s.buf)) {
		return s.buf[pos-s.bufAt:][:n], nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	want := int(min(int64(max(n, s.ahead)), s.size-pos))
	s.ahead = min(2*s.ahead, readAhead)
	if cap(s.buf) < want {
		s.buf = make([]byte, want)
	}
	s.buf = s.buf[:want]
	s.bufAt = pos
	got, err := s.src.ReadAt(s.buf, pos)
	if errors.Is(err, io.EOF) {
		err = nil // somebody has cut the file since its size was asked: what is left is judged as it is
	}
	s.buf = s.buf[:got]
	if err != nil {
		return nil, fmt.Errorf("read at offset %d: %w", s.base+uint64(pos), err)
	}
	return s.buf[:min(n, got)], nil
}

// Found is what a scanner finds at a position.
type Found int

const (
	FoundRecord  Found = iota // an intact record
	FoundEnd                  // nothing but zeros from here to the end of the file, or nothing
	FoundInvalid              // anything else
)

// Peek looks at what begins at the scanner's position. It says what the bytes are; Judge says what that means. The
// record's payload is the scanner's, and valid until the next call. The reason says what is wrong with an invalid one.
func (s *Scanner) Peek(ctx context.Context) (rec Record, found Found, reason string, err error) {
	b, err := s.window(ctx, s.pos, HeaderSize)
	if err != nil {
		return rec, 0, "", err
	}
	if allZero(b) {
		zeros, err := s.zerosFrom(ctx, s.pos+int64(len(b)))
		switch {
		case err != nil:
			return rec, 0, "", err
		case zeros:
			return rec, FoundEnd, "", nil
		}
		return rec, FoundInvalid, "zeros, and data after them", nil
	}
	// The length is compared with the file before anything is allocated by it.
	if h, ok := decodeHeader(b); ok && int64(h.length) <= s.size-s.pos-HeaderSize {
		if b, err = s.window(ctx, s.pos, HeaderSize+int(h.length)); err != nil {
			return rec, 0, "", err
		}
	}
	if rec, reason = decode(b, s.Offset()); reason != "" {
		return rec, FoundInvalid, reason, nil
	}
	return rec, FoundRecord, "", nil
}

func (s *Scanner) zerosFrom(ctx context.Context, pos int64) (bool, error) {
	for pos < s.size {
		b, err := s.window(ctx, pos, readAhead)
		if err != nil || !allZero(b) {
			return false, err
		}
		if len(b) == 0 {
			return true, nil
		}
		pos += int64(len(b))
	}
	return true, nil
}

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if b[0]|b[1]|b[2]|b[3]|b[4]|b[5]|b[6]|b[7] != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// StillZeros is a short look at the end of the data of a file to which somebody else writes, where Peek has found
// nothing but zeros. It reports whether the file's length is still size and the next header still reads as zeros.
// It costs a few bytes; Peek would read all the zeros that were written ahead.
//
// It is no proof: the bytes after a header that is still zeros may have been written already.
func (s *Scanner) StillZeros(size int64) (bool, error) {
	if !allZero(s.buffered(HeaderSize)) {
		return false, nil
	}
	now, err := s.src.Size()
	if err != nil || now != size || now <= s.pos {
		return false, err
	}
	head := make([]byte, min(HeaderSize, now-s.pos))
	if n, err := s.src.ReadAt(head, s.pos); n < len(head) && !errors.Is(err, io.EOF) {
		return false, err
	}
	if !allZero(head) {
		s.forget(shortAhead)
		return false, nil
	}
	return true, nil
}

// buffered returns up to n bytes at the scanner's position, as many of them as were read ahead.
func (s *Scanner) buffered(n int) []byte {
	at := s.pos - s.bufAt
	if at < 0 || at >= int64(len(s.buf)) {
		return nil
	}
	b := s.buf[at:]
	return b[:min(n, len(b))]
}

// ByteBefore returns the byte before the scanner's position; 0 at the beginning of the file.
func (s *Scanner) ByteBefore(ctx context.Context) (byte, error) {
	if s.pos == 0 {
		return 0, nil
	}
	b, err := s.window(ctx, s.pos-1, 1)
	if err != nil || len(b) == 0 {
		return 0, err
	}
	return b[0], nil
}

// DataEnd returns the position after the last byte that is not zero, from the scanner's position on.
func (s *Scanner) DataEnd(ctx context.Context) (int64, error) {
	end := s.pos
	for pos := s.pos; pos < s.size; {
		b, err := s.window(ctx, pos, readAhead)
		if err != nil {
			return 0, err
		}
		if len(b) == 0 {
			break
		}
		for i := len(b) - 1; i >= 0; i-- {
			if b[i] != 0 {
				end = pos + int64(i) + 1
				break
			}
		}
		pos += int64(len(b))
	}
	return end, nil
}
