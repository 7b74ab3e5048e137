package wal_test

import (
	"bytes"
	"errors"
	"maps"
	"path/filepath"
	"slices"

	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// damage flips a bit in a record and holds the journal to what its format says of that: where a mark or a later
// segment attests the record, it is refused, skipped by nobody and left as it is; elsewhere nothing
// tells it from a torn tail, and it is lost.
func (h *chronicle) damage() (lost bool) {
	var damaged []spot
	for _, s := range h.spots() {
		if wal.Offset(s.Offset) >= h.oracle.trim {
			damaged = append(damaged, s)
		}
	}
	if len(damaged) == 0 {
		return false
	}
	s := pick(h.rng, damaged...)
	if h.rng.IntN(2) == 0 {
		s = damaged[0] // the one that is most likely to be attested
	}
	at, bit := s.at+h.rng.IntN(headerSize+len(s.Payload)), byte(1)<<h.rng.IntN(8)
	flip := func(b []byte) []byte { b[at] ^= bit; return b }
	h.disk.Damage(s.file, flip)
	off := wal.Offset(s.Offset)
	attested := s.sealed || h.markAfter(s)
	h.note("damage at %d in the record at %d of %s, attested: %v", at, off, s.file, attested)
	if !attested {
		h.oracle.damaged(off)
		return true
	}
	var legal []wal.Offset
	for _, c := range h.oracle.cursors() {
		if c <= off {
			legal = append(legal, c)
		}
	}
	before := h.files()
	for _, cursor := range legal[max(0, len(legal)-2):] {
		o := h.as(h.writer)
		o.Cursor = func() (wal.Offset, error) { return cursor, nil }
		_, _, err := wal.Open(h.dir, o)
		corrupt := new(wal.CorruptError)
		if !errors.As(err, &corrupt) || corrupt.Offset != off {
			h.fatalf("open at %d of a log that is damaged at %d: %v", cursor, off, err)
		}
		if !maps.EqualFunc(before, h.files(), bytes.Equal) {
			h.fatalf("a refused log was changed")
		}
	}
	v, err := wal.Verify(h.dir, h.as(h.other))
	h.check(err)
	if len(v.Damage) == 0 || v.Damage[0].Offset != off {
		h.fatalf("a log is damaged at %d, and verify finds %v", off, v.Damage)
	}
	h.disk.Damage(s.file, flip)
	return false
}

// markAfter reports whether an intact mark after a record attests it.
func (h *chronicle) markAfter(s spot) bool {
	b, _ := h.disk.Read(s.file)
	for at := s.at + 1; at < len(b); at++ {
		next := bytes.Index(b[at:], []byte{9, 0, 0, 0})
		if next < 0 {
			return false
		}
		at += next
		off := s.Offset + uint64(at-s.at)
		payload, reason := walspec.Decode(off, b[at:])
		if reason == "" && payload[0] == 1 {
			mark := walspec.Record{Offset: off, Kind: walspec.Mark, Payload: payload}
			if mark.Covered() > s.Offset {
				return true
			}
		}
	}
	return false
}

// files are the segments and what lies in quarantine.
func (h *chronicle) files() map[string][]byte {
	all := map[string][]byte{}
	for _, dir := range []string{h.dir, h.dir + "/quarantine"} {
		for _, name := range h.disk.List(dir) {
			if b, isFile := h.disk.Read(dir + "/" + name); isFile && filepath.Base(name) != "LOCK" {
				all[dir+"/"+name] = slices.Clone(b)
			}
		}
	}
	return all
}
