package wal_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strconv"

	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// What to say of damaged files follows from the format's description alone, sentence by
// sentence. This file does so with whole files, tries every byte, and uses no code of package wal. The tests of damage
// compare Open, Reader and Verify with it.

// piece is one segment as its file is now.
type piece struct {
	base uint64
	b    []byte
}

// pieces are the segments of a journal, by base.
type pieces []piece

// piecesOf returns the segments among the files of a folder. Other names are not the journal's.
func piecesOf(content map[string][]byte) pieces {
	var all pieces
	for name, b := range content {
		if len(name) != len(walspec.Name(0)) {
			continue
		}
		if base, err := strconv.ParseUint(name[:16], 16, 64); err == nil && walspec.Name(base) == name {
			all = append(all, piece{base, b})
		}
	}
	slices.SortFunc(all, func(a, b piece) int { return cmp.Compare(a.base, b.base) })
	return all
}

// of returns the place of the segment in which an offset lies, or -1.
func (all pieces) of(off uint64) int {
	at := -1
	for i, p := range all {
		if p.base <= off {
			at = i
		}
	}
	return at
}

func (p piece) end() uint64 { return p.base + uint64(len(p.b)) }

func (p piece) from(off uint64) []byte {
	if off >= p.end() {
		return nil
	}
	return p.b[off-p.base:]
}

// record returns the payload of the record at an offset, if it is intact.
func (p piece) record(off uint64) (payload []byte, ok bool) {
	rest := p.from(off)
	if len(rest) <= 40 {
		return nil, false
	}
	// Nearly every place is told by the length, and walspec takes its time to say why.
	if n := binary.LittleEndian.Uint32(rest); n == 0 || uint64(n) > uint64(len(rest)-40) {
		return nil, false
	}
	payload, reason := walspec.Decode(off, rest)
	return payload, reason == ""
}

// ends reports whether there are only zeros from an offset on, or nothing.
func (p piece) ends(off uint64) bool { return len(bytes.Trim(p.from(off), "\x00")) == 0 }

// next returns the first intact record at or after an offset.
func (p piece) next(off uint64) (uint64, bool) {
	for ; off < p.end(); off++ {
		if _, ok := p.record(off); ok {
			return off, true
		}
	}
	return 0, false
}

// attested reports whether an intact mark after an offset says that it had been synced.
func (p piece) attested(off uint64) bool {
	for at := off + 1; at < p.end(); at++ {
		payload, ok := p.record(at)
		if ok && payload[0] == 0x01 && strange(p.base, at, payload) == "" && binary.LittleEndian.Uint64(payload[1:]) > off {
			return true
		}
	}
	return false
}

// kind is the kind that a payload's first byte says, which may be unknown.
func kind(payload []byte) walspec.Kind {
	switch first := payload[0]; {
	case first >= 0x20:
		return walspec.Payload
	case first == 0:
		return strangeKind
	default:
		return walspec.Kind(first)
	}
}

// strangeKind is the ending at an intact record that nobody may skip.
const strangeKind walspec.Kind = 0xff

// strange says why nobody may skip an intact record, in the segment that begins at base; it is empty when it may be
// skipped.
func strange(base, off uint64, payload []byte) string {
	switch {
	case payload[0] >= 0x20, payload[0] == 0x02:
		return ""
	case payload[0] == 0x03:
		if off != base || len(payload) < 2 || len(payload) > 65 {
			return "an identity that cannot be"
		}
		return ""
	case payload[0] != 0x01:
		return "unknown kind"
	case len(payload) != 9 || binary.LittleEndian.Uint64(payload[1:]) > off:
		return "a mark that cannot be"
	}
	return ""
}

// lies says how an offset lies in a segment: "inside" an intact record, "after" the end of its data, or
// neither. What is damaged is neither, and does not end the data.
func (p piece) lies(off uint64) string {
	for at := p.base; at < off; {
		payload, ok := p.record(at)
		switch next := at + 40 + uint64(len(payload)); {
		case ok && next > off:
			return "inside"
		case ok:
			at = next
		case p.ends(at):
			return "after"
		default:
			if at, ok = p.next(at + 1); !ok {
				return ""
			}
		}
	}
	return ""
}

// overlap reports whether a segment reaches into the next one.
func (all pieces) overlap() bool {
	for i := range all[:max(1, len(all))-1] {
		if all[i].end() > all[i+1].base {
			return true
		}
	}
	return false
}

// ending is how a walk over records ends.
type ending struct {
	kind string // "end", "torn", "ahead", "gap", "corrupt", "rewound" or "trimmed"
	at   uint64 // of "end", "torn" and "corrupt"
}

// fits reports whether an error is the one that belongs to the ending, for "end" and "torn" io.EOF. Where a
// file is missing or short, the description allows two errors.
func (e ending) fits(err error) bool {
	var corrupt *wal.CorruptError
	switch e.kind {
	case "end", "torn":
		return errors.Is(err, io.EOF)
	case "ahead":
		return errors.Is(err, wal.ErrAhead)
	case "gap":
		return errors.Is(err, wal.ErrGap) || errors.As(err, &corrupt)
	case "corrupt":
		return errors.As(err, &corrupt) && uint64(corrupt.Offset) == e.at
	case "rewound":
		return errors.Is(err, wal.ErrRewound)
	case "trimmed":
		return errors.Is(err, wal.ErrTrimmed)
	}
	return false
}

// walk returns the records from an offset on, control records too, and how they end.
func (all pieces) walk(from uint64) ([]walspec.Record, ending) {
	var found []walspec.Record
	i := all.of(from)
	for at := max(from, all[i].base); ; {
		p, sealed := all[i], i < len(all)-1
		payload, ok := p.record(at)
		switch {
		case ok && strange(p.base, at, payload) != "":
			return found, ending{"corrupt", at}
		case ok:
			r := walspec.Record{Offset: at, Kind: kind(payload), Payload: payload}
			if sealed && r.Next() > all[i+1].base {
				return found, ending{"corrupt", at} // they overlap
			}
			found = append(found, r)
			at = r.Next()
		case sealed && at >= p.end() && at < all[i+1].base:
			return found, ending{"gap", at}
		case sealed && at == p.end() && at == all[i+1].base:
			i++
		case sealed:
			return found, ending{"corrupt", at}
		case p.ends(at):
			return found, ending{"end", at}
		case p.attested(at):
			return found, ending{"corrupt", at}
		default:
			return found, ending{"torn", at}
		}
	}
}

// open returns what Open must find from a cursor on, and the endings that it may report. When the first of
// them is "end" or "torn", it must open.
func (all pieces) open(cursor uint64) ([]walspec.Record, []ending) {
	if len(all) == 0 {
		if cursor > 0 {
			return nil, []ending{{kind: "ahead"}}
		}
		return nil, []ending{{"end", 0}}
	}
	i, last := all.of(cursor), len(all)-1
	if i < 0 {
		return nil, []ending{{kind: "gap"}}
	}
	if cursor > all[last].end() {
		return nil, []ending{{kind: "ahead"}}
	}
	var refused []ending
	switch all[i].lies(cursor) {
	case "inside":
		refused = append(refused, ending{"corrupt", cursor})
	case "after":
		if i == last {
			refused = append(refused, ending{kind: "ahead"})
		}
	}
	found, e := all.walk(cursor)
	if len(refused) > 0 && (e.kind == "end" || e.kind == "torn") {
		return nil, refused
	}
	return found, append(refused, e)
}

// read returns what a reader must return from an offset on, and how it ends. When the journal is held, a
// writer in another process has it open.
func (all pieces) read(from uint64, held bool) ([]walspec.Record, ending) {
	past := ending{kind: "rewound"}
	if held {
		past = ending{"end", from}
	}
	if len(all) == 0 {
		if from > 0 {
			return nil, past
		}
		return nil, ending{"end", 0}
	}
	i := all.of(from)
	if i < 0 {
		return nil, ending{kind: "trimmed"}
	}
	if i == len(all)-1 && (from > all[i].end() || all[i].lies(from) == "after") {
		return nil, past
	}
	found, e := all.walk(from)
	return payloadsFrom(found, from), e
}

// verify returns what Verify must find: every intact record, the places of damage in order, and the torn tail.
func (all pieces) verify() (found []walspec.Record, damage []uint64, torn *uint64, end uint64) {
	for i, p := range all {
		sealed := i < len(all)-1
		switch {
		case i > 0 && p.base > end:
			damage = append(damage, end)
		case i > 0 && p.base < end:
			damage = append(damage, p.base)
		}
		end = max(end, p.base)
		for at := p.base; ; {
			payload, ok := p.record(at)
			if ok {
				r := walspec.Record{Offset: at, Kind: kind(payload), Payload: payload}
				if strange(p.base, at, payload) != "" {
					r.Kind = strangeKind
					damage = append(damage, at)
				}
				found = append(found, r)
				at = r.Next()
				end = max(end, at)
				continue
			}
			if p.ends(at) {
				if sealed && at < p.end() {
					damage = append(damage, at)
				}
				break
			}
			if !sealed && !p.attested(at) {
				torn = &at
				break
			}
			damage = append(damage, at)
			if at, ok = p.next(at + 1); !ok {
				if sealed {
					end = max(end, p.end())
				}
				break
			}
		}
	}
	return found, damage, torn, end
}
