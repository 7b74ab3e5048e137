package wal

import (
	"errors"
	"fmt"
	"sync"

	"github.com/auditsql/auditsql/wal/internal/segment"
)

// Payloads reads payloads again that a [Reader] has returned, in any order. For that it keeps open the segments that the reader has
// read from, until they are released. So a record can be read again although its segment has been removed since, or has lost its
// name to another file.
//
// Its methods may be called from several goroutines, also while the reader reads on.
type Payloads struct {
	mu   sync.Mutex
	open []openSegment // in the order of the journal; the reader reads from the last
}

type openSegment struct {
	base Offset // the records from here on are in the file, up to the base of the next
	file File
}

// Payloads returns what reads the payloads again of the records that the reader returns from now on. Close of the reader closes its
// files.
func (r *Reader) Payloads() *Payloads {
	if r.kept == nil {
		r.kept = &Payloads{}
		if r.s != nil {
			r.kept.keep(Offset(r.s.Base()), r.file)
		}
	}
	return r.kept
}

// Entered returns how many segments the reader has begun to read. Between two calls of Release so many files may be open.
func (r *Reader) Entered() int { return r.entered }

// Append appends to b the payload of the record at off, which has size bytes, and returns the longer slice. It does not verify the
// record: the caller knows a hash of the bytes, and compares it. The error is that of the file system.
func (p *Payloads) Append(b []byte, off Offset, size int) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.open) - 1; i >= 0; i-- {
		s := &p.open[i]
		if s.base > off {
			continue
		}
		from := len(b)
		b = append(b, make([]byte, size)...)
		if _, err := s.file.ReadAt(b[from:], int64(off-s.base)+segment.HeaderSize); err != nil {
			return b, fmt.Errorf("read journal at %d again: %w", off, err)
		}
		return b, nil
	}
	return b, fmt.Errorf("read journal at %d again: its segment is not open any more", off)
}

// Release says that no record before off will be read again. It closes the files of which that is all, but not the one that the reader
// reads from.
func (p *Payloads) Release(off Offset) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n+1 < len(p.open) && p.open[n+1].base <= off {
		n++
	}
	return p.closeFirst(n)
}

// keep takes over the file of a segment that the reader reads from.
func (p *Payloads) keep(base Offset, file File) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, openSegment{base, file})
}

// close closes all files.
func (p *Payloads) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closeFirst(len(p.open))
}

// closeFirst closes the first n files. The caller holds mu.
func (p *Payloads) closeFirst(n int) error {
	var errs []error
	for _, s := range p.open[:n] {
		errs = append(errs, s.file.Close())
	}
	p.open = append(p.open[:0], p.open[n:]...)
	return errors.Join(errs...)
}
