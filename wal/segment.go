package wal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	segmentSuffix = ".wal"
	partSuffix    = ".part" // behind a segment's name, while its content is being written
	lockName      = "LOCK"
	quarantineDir = "quarantine"
)

// Segment is a file of the journal.
type Segment struct {
	Base   Offset // global offset of its first byte, which its name tells
	Size   int64  // the file's length in bytes; the last one's may include zeros written ahead
	Path   string
	Sealed bool // a later segment exists: it holds records to its last byte and never changes again
}

// Segments lists the segments of the journal in dir, oldest first, without reading them.
func Segments(dir string, o Options) ([]Segment, error) {
	segs, err := sizedSegments(o.withDefaults().FS, dir, 0)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	return segs, nil
}

// sizedSegments lists the segments in dir. The files of those that lie wholly below an offset are not
// touched: their sizes are taken from the names.
//
// A writer that trims may take segments away meanwhile, the oldest first. So the newest is looked at first, and what
// is left when one is missing is the list.
func sizedSegments(fsys FS, dir string, from Offset) ([]Segment, error) {
	segs, err := listSegments(fsys, dir)
	if err != nil {
		return nil, err
	}
	for i := len(segs) - 1; i >= 0; i-- {
		if segs[i].Sealed && segs[i+1].Base <= from {
			segs[i].Size = int64(segs[i+1].Base - segs[i].Base)
			continue
		}
		segs[i].Size, err = fileSize(fsys, segs[i].Path)
		switch {
		case err == nil:
		case !trimmed(fsys, dir, segs[i], err):
			return nil, err
		case i == len(segs)-1:
			return sizedSegments(fsys, dir, from) // all that were listed are gone
		default:
			return segs[i+1:], nil
		}
	}
	return segs, nil
}

func fileSize(fsys FS, name string) (int64, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Size()
}

// trimmed reports whether a segment that was listed could not be opened since the log now begins above it.
func trimmed(fsys FS, dir string, seg Segment, err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	segs, err := listSegments(fsys, dir)
	return err == nil && len(segs) > 0 && segs[0].Base > seg.Base
}

func segmentName(base Offset) string {
	return fmt.Sprintf("%016x%s", uint64(base), segmentSuffix)
}

// parseSegmentName accepts just what segmentName makes, so that no two names mean one base.
func parseSegmentName(name string) (Offset, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 16 || strings.ToLower(digits) != digits {
		return 0, false
	}
	base, err := strconv.ParseUint(digits, 16, 64)
	return Offset(base), err == nil
}

// listSegments returns the segments in dir by their bases, without their sizes.
func listSegments(fsys FS, dir string) ([]Segment, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	var segs []Segment
	for _, name := range names {
		if base, ok := parseSegmentName(name); ok {
			segs = append(segs, Segment{Base: base, Path: filepath.Join(dir, name)})
		}
	}
	slices.SortFunc(segs, func(a, b Segment) int { return cmp.Compare(a.Base, b.Base) })
	for i := range len(segs) - 1 {
		segs[i].Sealed = true
	}
	return segs, nil
}

// segmentOf returns the index of the segment that off lies in, or would lie in if it were there: the
// last one whose base is not above it. It is -1 when all begin above it.
func segmentOf(segs []Segment, off Offset) int {
	i, found := slices.BinarySearchFunc(segs, off, func(s Segment, off Offset) int { return cmp.Compare(s.Base, off) })
	if found {
		return i
	}
	return i - 1
}

// scanner walks over the records of one segment file.
type scanner struct {
	f    File
	base Offset
	size int64 // look no further: the file's length when it was last asked
	pos  int64 // of the next record

	buf   []byte
	bufAt int64 // position in the file of buf[0]
	ahead int   // how much is read at a time; it doubles with each read up to readAhead

	// For resync, from where it was first needed, and where in it was looked last; nil until then.
	sums       *prefixes
	front, end prefixEnd
}

// scanned is what a scanner found at a position.
type scanned int

const (
	foundRecord  scanned = iota
	foundEnd             // nothing but zeros from here to the end of the file, or nothing
	foundInvalid         // something that is no record
)

const (
	// readAhead is how much a scanner reads at a time.
	readAhead = 256 << 10
	// shortAhead is the same where no more than a record or two are to be expected.
	shortAhead = 4 << 10
)

func newScanner(f File, base Offset, at Offset) (*scanner, error) {
	s := &scanner{f: f, base: base, pos: int64(at - base), ahead: readAhead}
	return s, s.refresh()
}

// refresh looks anew at a file that another goroutine or process may have written to.
func (s *scanner) refresh() error {
	size, err := s.f.Size()
	s.size, s.sums = size, nil
	s.forget(s.ahead)
	return err
}

// forget drops what was read ahead, and reads less of it from now on, for a while.
func (s *scanner) forget(ahead int) { s.buf, s.ahead = s.buf[:0], ahead }

func (s *scanner) offset() Offset { return s.base + Offset(s.pos) }

// window returns up to n bytes of the file at pos, fewer only at its end. They are valid until the
// next call. It looks at ctx only when it has to read.
func (s *scanner) window(ctx context.Context, pos int64, n int) ([]byte, error) {
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
	got, err := s.f.ReadAt(s.buf, pos)
	if errors.Is(err, io.EOF) {
		err = nil // cut by somebody since its size was asked: what is left is judged as it is
	}
	s.buf = s.buf[:got]
	if err != nil {
		return nil, fmt.Errorf("read at offset %d: %w", s.base+Offset(pos), err)
	}
	return s.buf[:min(n, got)], nil
}

// buffered returns up to n bytes at the scanner's position, as many of them as were read ahead.
func (s *scanner) buffered(n int) []byte {
	at := s.pos - s.bufAt
	if at < 0 || at >= int64(len(s.buf)) {
		return nil
	}
	b := s.buf[at:]
	return b[:min(n, len(b))]
}

// peek looks at what begins at the scanner's position. The record's payload is valid until the next
// call, and is the scanner's.
func (s *scanner) peek(ctx context.Context) (rec Record, found scanned, reason string, err error) {
	b, err := s.window(ctx, s.pos, headerSize)
	if err != nil {
		return rec, 0, "", err
	}
	if allZero(b) {
		zeros, err := s.zerosFrom(ctx, s.pos+int64(len(b)))
		switch {
		case err != nil:
			return rec, 0, "", err
		case zeros:
			return rec, foundEnd, "", nil
		}
		return rec, foundInvalid, "zeros with data behind them", nil
	}
	// The length is held against the file before anything is allocated by it.
	if h, ok := decodeHeader(b); ok && int64(h.length) <= s.size-s.pos-headerSize {
		if b, err = s.window(ctx, s.pos, headerSize+int(h.length)); err != nil {
			return rec, 0, "", err
		}
	}
	size, reason := verifyRecord(b, s.offset())
	if reason != "" {
		return rec, foundInvalid, reason, nil
	}
	rec = Record{Offset: s.offset(), Next: s.offset() + Offset(size), Payload: b[headerSize:size]}
	copy(rec.Hash[:], b[8:])
	return rec, foundRecord, "", nil
}

// skip goes past a record that peek found.
func (s *scanner) skip(rec Record) { s.pos = int64(rec.Next - s.base) }

func (s *scanner) zerosFrom(ctx context.Context, pos int64) (bool, error) {
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

// dataEnd returns the position behind the last byte from pos on that is not zero.
func (s *scanner) dataEnd(ctx context.Context, pos int64) (int64, error) {
	end := pos
	for pos < s.size {
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

// markHead is how a mark begins: its length as u32 LE.
var markHead = []byte{markPayload, 0, 0, 0}

// vouched reports whether an intact mark behind pos says that pos had been synced.
func (s *scanner) vouched(ctx context.Context, pos int64) (found bool, err error) {
	at := s.base + Offset(pos)
	err = s.marks(ctx, pos+1, func(mark Offset) bool {
		found = mark > at
		return !found
	})
	return found, err
}

// marks calls visit with what each intact mark from pos on vouches for, until it says no. It looks at
// every byte, since behind damage nothing tells where records begin.
//
// A payload could hold the bytes of a mark, for the very offset it lies at; canonical JSON cannot, as
// it has no bytes below 0x20.
func (s *scanner) marks(ctx context.Context, pos int64, visit func(Offset) bool) error {
	for from := pos; s.size-from >= markSize; {
		b, err := s.window(ctx, from, readAhead)
		if err != nil {
			return err
		}
		if len(b) < markSize {
			return nil
		}
		for i := 0; ; i++ {
			next := bytes.Index(b[i:], markHead)
			if next < 0 || i+next+markSize > len(b) {
				break
			}
			if i += next; b[i+headerSize] != kindMark {
				continue
			}
			off := s.base + Offset(from) + Offset(i)
			if _, reason := verifyRecord(b[i:i+markSize], off); reason != "" {
				continue
			}
			if c, err := decodeControl(b[i+headerSize:i+markSize], off, s.base); err == nil && !visit(c.mark) {
				return nil
			}
		}
		from += int64(len(b) - markSize + 1)
	}
	return nil
}

// resync returns the position of the first intact record at or behind pos and below limit.
//
// Every byte may be where one begins, and what is no record claims lengths up to 16 MiB. So a candidate's
// checksum is not taken from its bytes, which would read each byte of the file a thousand times and more,
// but from those of the file's beginnings (prefixes), and only a candidate that it fits is read as a whole.
// 16 MiB of random bytes take 0.2 s; the worst there is, 16-bit numbers in 32 bits, of which every other
// byte begins a candidate, 8 s.
// Beside a live writer this judges the file as it was when its bytes were first read.
func (s *scanner) resync(ctx context.Context, pos, limit int64) (int64, bool, error) {
	var whole []byte
	for ; pos < limit && s.size-pos > headerSize; pos++ {
		b, err := s.window(ctx, pos, headerSize)
		if err != nil {
			return 0, false, err
		}
		if len(b) == headerSize && b[3] > MaxPayload>>24 { // most bytes end here
			continue
		}
		h, ok := decodeHeader(b)
		if !ok || int64(h.length) > s.size-pos-headerSize {
			continue
		}
		fits, err := s.checksumFits(ctx, h, pos)
		if err == nil && fits {
			// Read beside the window, which stays where the search goes on.
			whole = slices.Grow(whole[:0], headerSize+int(h.length))[:headerSize+int(h.length)]
			_, err = s.f.ReadAt(whole, pos)
		}
		switch {
		case errors.Is(err, io.EOF): // cut by somebody since its size was asked
			continue
		case err != nil:
			return 0, false, fmt.Errorf("look for a record at offset %d: %w", s.base+Offset(pos), err)
		case !fits:
			continue
		}
		if _, reason := verifyRecord(whole, s.base+Offset(pos)); reason == "" {
			return pos, true, nil
		}
	}
	return 0, false, nil
}

// checksumFits reports whether the bytes behind a header at pos, as many as it says, have its checksum.
func (s *scanner) checksumFits(ctx context.Context, h header, pos int64) (bool, error) {
	const crcEnd = 8 // behind len and crc, where the bytes begin that crc is of
	if s.sums == nil || pos < s.sums.from {
		s.sums, s.front.start, s.end.start = newPrefixes(s.f, pos), -1, -1
	}
	front, err := s.sums.at(ctx, pos+crcEnd, &s.front)
	if err != nil {
		return false, err
	}
	end, err := s.sums.at(ctx, pos+headerSize+int64(h.length), &s.end)
	if err != nil {
		return false, err
	}
	seed := checksum(s.base+Offset(pos), h.length, nil)
	return h.crc == exchangeCRC(end, front, seed, headerSize-crcEnd+h.length), nil
}

// place is how an offset lies in a segment.
type place int

const (
	placeOpen   place = iota // nothing says otherwise: it may be where a record begins
	placeInside              // inside an intact record
	placeBehind              // behind the end of the data
)

// placeOf walks over a segment from its beginning to tell how off, which its file reaches, lies in it.
// What is damaged below off is not judged, only stepped over.
func placeOf(ctx context.Context, f File, base, off Offset) (place, error) {
	s, err := newScanner(f, base, base)
	if err != nil {
		return 0, err
	}
	target := int64(off - base)
	for s.pos < target {
		rec, found, _, err := s.peek(ctx)
		if err != nil {
			return 0, err
		}
		switch found {
		case foundRecord:
			if rec.Offset < off && off < rec.Next {
				return placeInside, nil
			}
			s.skip(rec)
		case foundEnd:
			return placeBehind, nil
		case foundInvalid:
			next, ok, err := s.resync(ctx, s.pos+1, target)
			if err != nil {
				return 0, err
			}
			if !ok {
				return placeOpen, nil
			}
			s.pos = next
		}
	}
	return placeOpen, nil
}
