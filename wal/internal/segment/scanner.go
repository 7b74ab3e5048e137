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
// Methods that read take a context, and check it before each read of the file. They do not check it for each record, since
// one read may hold thousands of records.
type Scanner struct {
	src  Source
	base uint64
	pos  int64 // of the next record

	size  int64 // the file's length at the last call of Source.Size, or limit if that is less
	limit int64 // the position up to which the scanner may look
	whole bool  // limit lies after the file's end, so the file does not grow any more

	settled bool // Judge has read the file again since it is sealed, so the bytes in buf are final

	buf   []byte
	bufAt int64 // position in the file of buf[0]
	ahead int   // how much is read at a time; it doubles with each read up to readAhead

	// For Resync: checksums of prefixes from the first candidate on, nil before that, and the blocks in which the last
	// candidate began and ended.
	sums       *prefixes
	front, end prefixEnd
}

const (
	// readAhead is how much a scanner reads at a time.
	readAhead = 256 << 10
	// shortAhead is how much it reads where probably only one or two records have come.
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

// Size returns the file's length in bytes, as it was when the scanner last asked for it, or the limit of Extend if that is
// less.
func (s *Scanner) Size() int64 { return s.size }

// Skip goes past a record that Peek or Judge has found.
func (s *Scanner) Skip(rec Record) { s.pos = int64(rec.Next - s.base) }

// Seek goes to an offset, which is not before the file's base.
func (s *Scanner) Seek(off uint64) { s.pos = int64(off - s.base) }

// Refresh asks for the file's length again, and drops what was read ahead. It is for a file to which another goroutine or
// process may have written.
func (s *Scanner) Refresh() error {
	size, err := s.src.Size()
	s.size, s.sums = min(size, s.limit), nil
	s.forget(s.ahead)
	return err
}

// Extend lets the scanner look up to the position limit and no further. The caller knows that the bytes before the limit
// do not change any more, so what was read ahead stays valid.
func (s *Scanner) Extend(limit int64) error {
	s.limit = limit
	if s.size < limit && !s.whole {
		size, err := s.src.Size()
		if err != nil {
			return err
		}
		// If the limit lies after the file's end, the log goes on in a later file, and this one does not grow any more.
		s.size, s.whole = size, size < limit
	}
	s.size = min(s.size, limit)
	return nil
}

// NoLimit takes the limit of Extend away. The length stays as it is until Refresh.
func (s *Scanner) NoLimit() { s.limit, s.whole = math.MaxInt64, false }

// Drop drops what was read ahead.
func (s *Scanner) Drop() { s.buf = s.buf[:0] }

// forget drops what was read ahead, and sets how much the next read takes.
func (s *Scanner) forget(ahead int) { s.buf, s.ahead = s.buf[:0], ahead }

// window returns n bytes of the file at pos, or fewer if the file ends before that. They are valid until the next call.
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
		err = nil // somebody has cut the file since its size was asked: go on with what is left
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
	FoundEnd                  // only zeros up to the end of the file, or the file ends here
	FoundInvalid              // anything else
)

// Peek says what the bytes at the scanner's position are. Judge says what that means for the log. The record's payload
// belongs to the scanner, and is valid until the next call. The reason says what is wrong with FoundInvalid.
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
	// Compare the length with the file before any memory is allocated for it.
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

// zerosAtEnd is how many zeros b ends with.
func zerosAtEnd(b []byte) int {
	n := 0
	for n < len(b) && b[len(b)-1-n] == 0 {
		n++
	}
	return n
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

// StillZeros is for the end of the data of a file to which somebody else writes, where Peek has found only zeros. It
// reports whether the file's length is still size and the next header is still zeros. It reads a few bytes; Peek would
// read all the zeros that were written ahead.
//
// The answer true does not prove that nothing was written: there may be data after a header of zeros.
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

// buffered returns up to n bytes at the scanner's position, as far as they have been read ahead.
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

// DataEnd returns the position after the last byte that is not zero, or the scanner's position when only zeros follow it.
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
		next := pos + int64(len(b))
		if zeros := zerosAtEnd(b); zeros < len(b) {
			end = next - int64(zeros)
		}
		pos = next
	}
	return end, nil
}
