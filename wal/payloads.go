package wal

import (
	"fmt"

	"github.com/auditsql/auditsql/wal/internal/segment"
)

// Payloads reads payloads again that were read or appended before, in any order. It keeps the segments open that it has read from,
// so that a read costs little more than the copy. One goroutine at a time may use it.
type Payloads struct {
	j    *Journal
	open []openSegment
}

type openSegment struct {
	base, end Offset // the records from base up to end are in the file
	file      File
}

// Payloads returns a Payloads without open files.
func (j *Journal) Payloads() *Payloads { return &Payloads{j: j} }

// Append appends to b the payload of the record at off, which has size bytes, and returns the longer slice. It does not verify the
// record: the caller knows a hash of the bytes, and compares it.
//
// The error is *TrimmedError when RemoveBefore has removed the record, and otherwise that of the file system.
func (p *Payloads) Append(b []byte, off Offset, size int) ([]byte, error) {
	s, err := p.segment(off)
	if err == nil {
		from := len(b)
		b = append(b, make([]byte, size)...)
		_, err = s.file.ReadAt(b[from:], int64(off-s.base)+segment.HeaderSize)
	}
	if err != nil {
		return b, fmt.Errorf("read journal at %d: %w", off, err)
	}
	return b, nil
}

// segment returns the segment that off lies in.
func (p *Payloads) segment(off Offset) (openSegment, error) {
	for _, s := range p.open {
		if off >= s.base && off < s.end {
			return s, nil
		}
	}
	end := p.j.End() // before Segments: when the last of these has become full since, the records up to here are in it or before it
	if off >= end {
		return openSegment{}, fmt.Errorf("the journal ends at %d", end)
	}
	segs := p.j.Segments()
	i := segmentOf(segs, off)
	if i < 0 {
		return openSegment{}, &TrimmedError{Wanted: off, First: segs[0].Base}
	}
	file, err := p.j.fs.Open(segs[i].Path)
	if err != nil {
		return openSegment{}, err
	}
	s := openSegment{segs[i].Base, end, file}
	if i+1 < len(segs) {
		s.end = segs[i+1].Base
	}
	p.open = append(p.open, s)
	return s, nil
}

// Close closes the files.
func (p *Payloads) Close() {
	for _, s := range p.open {
		s.file.Close() // it was only read
	}
	p.open = nil
}
