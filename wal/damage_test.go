package wal_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

var damageRecords = flag.Int("damage", 0, "how many records more the journals of TestEveryDamage have in each segment")

// history is a small journal, and what was written to it.
type history struct {
	files   map[string][]byte
	bases   []uint64
	records []walspec.Record
	end     uint64
	// identity is given to those who open it; nil when none of its segments has one.
	identity []byte
}

// newHistory makes a journal from base on, one segment for each list: "mark" is a mark of the place where
// it lies, "older mark" a mark of the place where the record before it begins, "filler" a filler, "identity"
// an identity, and anything else a payload. Zeros follow the last segment's data.
func newHistory(base uint64, zeros int, segments ...[]string) history {
	h := history{files: map[string][]byte{}, end: base}
	before := base
	for i, segment := range segments {
		h.bases = append(h.bases, h.end)
		b := []byte{}
		for _, what := range segment {
			r := walspec.Record{Offset: h.end, Payload: []byte(what)}
			switch what {
			case "mark":
				r.Kind, r.Payload = walspec.Mark, walspec.MarkPayload(h.end)
			case "older mark":
				r.Kind, r.Payload = walspec.Mark, walspec.MarkPayload(before)
			case "filler":
				r.Kind, r.Payload = walspec.Filler, walspec.FillerPayload(50)
			case "identity":
				h.identity = []byte("mine")
				r.Kind, r.Payload = walspec.Identity, walspec.IdentityPayload(h.identity)
			}
			b = append(b, walspec.Encode(h.end, r.Payload)...)
			h.records = append(h.records, r)
			before, h.end = h.end, r.Next()
		}
		if i == len(segments)-1 {
			b = append(b, make([]byte, zeros)...)
		}
		h.files[walspec.Name(h.bases[i])] = b
	}
	return h
}

// histories are the journals that are damaged.
func histories() map[string]history {
	var more []string
	for i := range *damageRecords {
		more = append(more, fmt.Sprintf(`{"n":%d%*s}`, i, i*37%400, ""))
		if i%8 == 5 {
			more = append(more, "mark")
		}
	}
	grow := func(segment ...string) []string { return append(more, segment...) }
	if testing.Short() {
		return map[string]history{"short": newHistory(0, 5, []string{"{}"}, []string{"{}", "mark", "{}"})}
	}
	long := fmt.Sprintf("{%300s}", "")
	return map[string]history{
		"sealed and active": newHistory(0, 45,
			grow("{}", "mark", `{"a":1}`),
			grow(`{"b":2}`, "filler", "{}"),
			grow("{}", `{"c":3}`, "mark", `{"d":4}`, "older mark", "{}", `{"e":5}`)),
		"trimmed, closed and never marked": newHistory(0x123456789a, 0, grow("{}"), grow("{}", `{"a":1}`)),
		"one segment":                      newHistory(0, 20, grow("{}", "mark", "{}")),
		"with identities": newHistory(0, 20,
			grow("identity", "{}", "mark"),
			grow("identity", `{"a":1}`, "mark", "{}")),
		"an identity and nothing else": newHistory(0x50, 0, grow("{}"), []string{"identity"}),
		"begun, but empty":             newHistory(0, 0, grow("{}", "mark"), nil),
		longRecords:                    newHistory(0, 300, grow("{}"), grow(long, "mark", "{}", long)),
	}
}

// longRecords is the journal that has several sectors. Unless asked to, no test flips its bits: the other journals show the
// same.
const longRecords = "long records"

// cursors are offsets that a caller may have: 0, the end, the last segment's base, and places in the
// middle, in a sealed segment and in the active one.
func (h history) cursors() []uint64 {
	n := len(h.records)
	all := []uint64{0, h.records[n/3].Offset, h.bases[len(h.bases)-1], h.records[n-1-n/4].Offset, h.end}
	slices.Sort(all)
	return slices.Compact(all)
}

// defect is a journal with something wrong in it.
type defect struct {
	name  string
	files map[string][]byte
}

// with returns the journal with another content of one file.
func (h history) with(name string, b []byte, format string, args ...any) defect {
	files := maps.Clone(h.files)
	files[name] = b
	return defect{fmt.Sprintf(format, args...) + " of " + name, files}
}

func (h history) cuts(name string) iter.Seq[defect] {
	return func(yield func(defect) bool) {
		b := h.files[name]
		for n := range b {
			if !yield(h.with(name, b[:n], "the first %d bytes", n)) {
				return
			}
		}
	}
}

func (h history) flips(name string) iter.Seq[defect] {
	return func(yield func(defect) bool) {
		b := slices.Clone(h.files[name])
		for i := range b {
			for bit := range 8 {
				b[i] ^= 1 << bit
				if !yield(h.with(name, b, "bit %d of byte %d flipped", bit, i)) {
					return
				}
				b[i] ^= 1 << bit
			}
		}
	}
}

// zeroed replaces each sector of three sizes in turn with zeros, and everything from each byte on.
func (h history) zeroed(name string) iter.Seq[defect] {
	return func(yield func(defect) bool) {
		b := h.files[name]
		clearAt := func(from, to int) bool {
			zeros := slices.Clone(b)
			clear(zeros[from:to])
			return slices.Equal(zeros, b) || yield(h.with(name, zeros, "zeros from byte %d to %d", from, to))
		}
		for _, sector := range []int{512, 64, 8} {
			for at := 0; at < len(b); at += sector {
				if !clearAt(at, min(at+sector, len(b))) {
					return
				}
			}
		}
		for at := range b {
			if !clearAt(at, len(b)) {
				return
			}
		}
	}
}

// misplaced makes segments missing, doubled, renamed, swapped, longer, empty or another journal's, and adds
// names that are almost a segment's.
func (h history) misplaced(name string) iter.Seq[defect] {
	return func(yield func(defect) bool) {
		b := h.files[name]
		base := h.bases[slices.IndexFunc(h.bases, func(base uint64) bool { return walspec.Name(base) == name })]
		foreign := newHistory(0x777, 0, []string{"{}", `{"x":9}`, "mark", "{}"}).files[walspec.Name(0x777)]
		contents := map[string][]byte{
			"nothing": {}, "a record of another journal": foreign[:42], "another journal's segment": foreign,
			"text": []byte("this was never a journal\n"), "zeros": make([]byte, 600), "all ones": slices.Repeat([]byte{0xff}, 200),
		}
		for other, content := range h.files {
			if other != name {
				contents["the content of "+other] = content
			}
		}
		for what, content := range contents {
			if !yield(h.with(name, content, "%s instead", what)) || !yield(h.with(name, slices.Concat(b, content), "%s after the end", what)) {
				return
			}
		}
		missing := maps.Clone(h.files)
		delete(missing, name)
		if !yield(defect{name + " is missing", missing}) {
			return
		}
		places := append(slices.Clone(h.bases), 1, base+1, max(base, 1)-1, base+42, base+uint64(len(b))-1, h.end, h.end+1, h.end+1000, 1<<63-1)
		for _, place := range places {
			doubled := maps.Clone(h.files)
			doubled[walspec.Name(place)] = b
			if !yield(defect{fmt.Sprintf("%s doubled as %s", name, walspec.Name(place)), doubled}) {
				return
			}
			renamed := maps.Clone(doubled)
			if delete(renamed, name); place == base {
				continue
			}
			if !yield(defect{fmt.Sprintf("%s renamed to %s", name, walspec.Name(place)), renamed}) {
				return
			}
		}
		for other, content := range h.files {
			swapped := maps.Clone(h.files)
			swapped[name], swapped[other] = content, b
			if !yield(defect{fmt.Sprintf("%s and %s swapped", name, other), swapped}) {
				return
			}
		}
		for _, junk := range []string{
			"0.wal", "000000000000000.wal", "00000000000000000.wal", "000000000000000g.wal", "000000000000000A.wal",
			"-000000000000001.wal", "+000000000000001.wal", "0x00000000000001.wal", "0000000000000001.WAL", "0000000000000001.wal~",
			".0000000000000001.wal", "0000000000000001.wal.part", name + ".part", "0000000000000001", ".wal", "notes.txt",
		} {
			beside := maps.Clone(h.files)
			beside[junk] = b
			if !yield(defect{"beside it a file " + junk, beside}) {
				return
			}
		}
	}
}

// TestEveryDamage damages small journals in every way that one thing can go wrong with one file: cut at each
// byte, each bit flipped, each sector gone, files lost and mixed up. What is left is judged by the format's
// description, and Verify, readers and the writer, each from several cursors, must come to the same judgement:
// nothing is ever returned that was not written there; acknowledged records are not lost without an error, where the
// description says that the loss can be noticed; a refusal changes no byte; and what was opened can be appended to.
func TestEveryDamage(t *testing.T) {
	t.Parallel()
	var counts [4]atomic.Int64
	var opened, refused atomic.Int64
	start := time.Now()
	t.Cleanup(func() {
		t.Logf("%d cuts, %d flipped bits, %d stretches of zeros, %d misplaced files: opened %d times and refused %d times, in %v",
			counts[0].Load(), counts[1].Load(), counts[2].Load(), counts[3].Load(), opened.Load(), refused.Load(), time.Since(start).Round(time.Millisecond))
	})
	for title, h := range histories() {
		for name := range h.files {
			for i, all := range []iter.Seq[defect]{h.cuts(name), h.flips(name), h.zeroed(name), h.misplaced(name)} {
				if i == 1 && title == longRecords && *damageRecords == 0 {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%s", title, name, []string{"cuts", "flips", "zeros", "misplaced"}[i]), func(t *testing.T) {
					t.Parallel()
					live := h.live(t)
					for damage := range all {
						c := damaged{t: t, h: h, defect: damage, all: piecesOf(damage.files)}
						c.check()
						live.check(damage)
						counts[i].Add(1)
						opened.Add(c.opened)
						refused.Add(c.refused)
					}
				})
			}
		}
	}
}

// TestEveryCursor opens and reads whole journals at every offset up to their end and beyond.
func TestEveryCursor(t *testing.T) {
	t.Parallel()
	for title, h := range histories() {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			c := damaged{t: t, h: h, defect: defect{"nothing is wrong", h.files}, all: piecesOf(h.files)}
			for cursor := h.bases[0] - min(h.bases[0], 50); cursor < h.end+700; cursor++ {
				c.open(cursor)
			}
			if most := c.refused; most < int64(h.end-h.bases[0])/2 || c.opened < int64(len(h.records)) {
				t.Errorf("opened %d times and refused %d times", c.opened, c.refused)
			}
		})
	}
}

// damaged checks one damage.
type damaged struct {
	t               *testing.T
	h               history
	defect          defect
	all             pieces // of defect
	opened, refused int64
}

func (c *damaged) fatalf(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("%s: %s", c.defect.name, fmt.Sprintf(format, args...))
}

// noPanic turns a panic into an error that names the damage.
func (c *damaged) noPanic() {
	if r := recover(); r != nil {
		c.fatalf("panic: %v\n%s", r, debug.Stack())
	}
}

func (c *damaged) check() {
	defer c.noPanic()
	m := newMemoryFS(c.defect.files)
	before := m.content()
	c.verify(m)
	for _, from := range c.h.cursors() {
		c.read(m, from, false)
	}
	// While a writer elsewhere has it open, and waiting for more.
	m.held = true
	c.read(m, c.h.bases[0], false)
	c.read(m, c.h.end, true)
	m.held = false
	c.read(m, c.h.bases[0], true)
	if name := sameContent(m.content(), before); name != "" {
		c.fatalf("reading changed %s", name)
	}
	for _, cursor := range c.h.cursors() {
		c.open(cursor)
	}
}

func (c *damaged) verify(m *memoryFS) {
	found, damage, torn, end := c.all.verify()
	var got []walspec.Record
	rep, err := wal.VerifyContext(context.Background(), memoryDir, wal.Options{FS: m, Identity: c.h.identity}, func(r wal.Record) error {
		got = append(got, walspec.Record{Offset: uint64(r.Offset), Payload: slices.Clone(r.Payload)})
		return nil
	})
	if err != nil {
		c.fatalf("Verify: %v", err)
	}
	c.wantTrue(got)
	c.wantSame("Verify", got, payloadsFrom(found, 0))
	want := wal.Report{Segments: len(c.all), End: wal.Offset(end), Records: len(got)}
	if len(c.all) > 0 {
		want.First = wal.Offset(c.all[0].base)
	}
	for _, r := range found {
		size := int64(r.Next() - r.Offset)
		want.Bytes += size
		switch {
		case r.Kind == strangeKind: // that is damage
		case r.Kind == walspec.Identity:
			want.Identities++
		case r.Kind == walspec.Mark:
			want.Marks++
		case r.Kind == walspec.Filler:
			want.Fillers++
			want.FillBytes += size
			if n := len(want.Gaps); n > 0 && uint64(want.Gaps[n-1].End) == r.Offset {
				want.Gaps[n-1].End = wal.Offset(r.Next())
			} else {
				want.Gaps = append(want.Gaps, wal.Gap{Offset: wal.Offset(r.Offset), End: wal.Offset(r.Next())})
			}
		}
	}
	var at []uint64
	for _, d := range rep.Damage {
		at = append(at, uint64(d.Offset))
	}
	if !slices.Equal(at, damage) || (rep.Torn == nil) != (torn == nil) || torn != nil && uint64(rep.Torn.Offset) != *torn {
		c.fatalf("Verify: %+v %v, torn %+v, want damage at %v, torn at %v", rep, rep.Damage, rep.Torn, damage, torn)
	}
	if rep.Torn, rep.Damage = nil, nil; fmt.Sprint(rep) != fmt.Sprint(want) {
		c.fatalf("Verify: %+v, want %+v", rep, want)
	}
}

// wantTrue checks that records are among those that were written, if it is known which were.
func (c *damaged) wantTrue(got []walspec.Record) {
	c.t.Helper()
	if c.h.files == nil {
		return
	}
	for _, r := range got {
		i, ok := slices.BinarySearchFunc(c.h.records, r.Offset, func(w walspec.Record, at uint64) int {
			return int(int64(w.Offset - at))
		})
		if !ok || string(c.h.records[i].Payload) != string(r.Payload) {
			c.fatalf("%q was never written at %d", r.Payload, r.Offset)
		}
	}
}

func (c *damaged) wantSame(who string, got, want []walspec.Record) {
	c.t.Helper()
	same := func(a, b walspec.Record) bool { return a.Offset == b.Offset && string(a.Payload) == string(b.Payload) }
	if !slices.EqualFunc(got, want, same) {
		c.fatalf("%s: %v, want %v", who, got, want)
	}
}

// untilIdle is a context that ends as soon as somebody waits for its end.
type untilIdle struct {
	context.Context
	ended atomic.Bool
}

func (u *untilIdle) Done() <-chan struct{} {
	u.ended.Store(true)
	done := make(chan struct{})
	close(done)
	return done
}

func (u *untilIdle) Err() error {
	if u.ended.Load() {
		return context.Canceled
	}
	return nil
}

func (c *damaged) read(m *memoryFS, from uint64, follow bool) {
	want, e := c.all.read(from, m.held)
	got, err := records(m, from, follow)
	who := fmt.Sprintf("read from %d, held %v, follow %v", from, m.held, follow)
	c.wantTrue(got)
	if c.all.overlap() && len(got) >= len(want) {
		// There it depends on where a reader begins, and begins anew, which of two files it reads; what it
		// returns is true all the same.
		return
	}
	c.wantSame(who, got, want)
	if !e.fits(err) {
		c.fatalf("%s: %v, want %+v", who, err, e)
	}
}

// records returns what a reader returns, and the error with which it ends: io.EOF when it would wait.
func records(m *memoryFS, from uint64, follow bool) (got []walspec.Record, err error) {
	r, err := wal.OpenReader(memoryDir, wal.Offset(from), wal.Options{FS: m, Follow: follow})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	ctx := context.Background()
	if follow {
		ctx = &untilIdle{Context: ctx}
	}
	for {
		rec, err := r.Next(ctx)
		if follow && errors.Is(err, context.Canceled) {
			err = io.EOF
		}
		if err != nil {
			return got, err
		}
		got = append(got, walspec.Record{Offset: uint64(rec.Offset), Payload: rec.Payload})
		if uint64(rec.Next) != got[len(got)-1].Next() {
			return got, fmt.Errorf("the record at %d ends at %d", rec.Offset, rec.Next)
		}
	}
}

// nanoseconds is the time at which journals are opened here; it is in the names of quarantined files.
const nanoseconds = 77

// open opens the journal at a cursor. It must be refused and stay as it is, or go on where the log ends.
func (c *damaged) open(cursor uint64) {
	c.t.Helper()
	m := newMemoryFS(c.defect.files)
	before := m.content()
	found, endings := c.all.open(cursor)
	e := endings[0]
	j, rec, err := wal.Open(memoryDir, wal.Options{
		FS: m, Preallocate: 100, LockWait: 1, Identity: c.h.identity,
		Cursor: func() (wal.Offset, error) { return wal.Offset(cursor), nil },
		Now:    func() time.Time { return time.Unix(0, nanoseconds) },
	})
	if e.kind != "end" && e.kind != "torn" {
		c.refused++
		if err == nil {
			j.Close()
		}
		if !slices.ContainsFunc(endings, func(e ending) bool { return e.fits(err) }) {
			c.fatalf("Open at %d: %+v, %v, want %+v", cursor, rec, err, endings)
		}
		if name := sameContent(m.content(), before); name != "" {
			c.fatalf("Open at %d refused (%v) and changed %s", cursor, err, name)
		}
		return
	}
	c.opened++
	if err != nil {
		c.fatalf("Open at %d: %v, want %+v", cursor, err, e)
	}
	defer j.Close()
	if uint64(rec.End) != e.at || uint64(rec.Cursor) != cursor || rec.Records != len(payloadsFrom(found, 0)) || (rec.Torn != nil) != (e.kind == "torn") {
		c.fatalf("Open at %d: %+v, want %d records and %+v", cursor, rec, len(payloadsFrom(found, 0)), e)
	}
	off, err := j.Append(context.Background(), []byte("{after}"))
	if err == nil {
		err = j.Close()
	}
	var last piece
	if len(c.all) > 0 {
		last = c.all[len(c.all)-1]
	}
	// A segment of which nothing is left begins with the identity once more.
	begins := e.at
	var identity []byte
	if e.at == last.base && c.h.identity != nil {
		identity = walspec.Encode(e.at, walspec.IdentityPayload(c.h.identity))
		begins += uint64(len(identity))
	}
	if err != nil || uint64(off) != begins && uint64(off) != begins+49 {
		c.fatalf("Open at %d, and an append at %d: %v, want it at %d", cursor, off, err, begins)
	}

	// Nothing else has changed: the last segment ends where it should and the new record stands there, after a
	// mark if one was due, and what was cut is in quarantine.
	want := maps.Clone(before)
	name := walspec.Name(last.base)
	kept := last.b[:e.at-last.base]
	if e.kind == "torn" {
		cut := strings.TrimRight(string(last.b[len(kept):]), "\x00")
		want["quarantine/"] = nil
		want[fmt.Sprintf("quarantine/%016x-%d.bin", e.at, nanoseconds)] = []byte(cut)
		if rec.Torn.Bytes != int64(len(cut)) || uint64(rec.Torn.Offset) != e.at || filepath.Base(rec.Torn.Segment) != name {
			c.fatalf("Open at %d: torn %+v", cursor, rec.Torn)
		}
	}
	for name := range want { // what was to become a segment, when somebody died
		if segment, ok := strings.CutSuffix(name, ".part"); ok && len(piecesOf(map[string][]byte{segment: nil})) > 0 {
			delete(want, name)
		}
	}
	got := m.content()
	kept = slices.Concat(kept, identity)
	want[name] = slices.Concat(kept, walspec.Encode(begins, []byte("{after}")))
	if uint64(off) != begins {
		mark := got[name][len(kept):][:49]
		if payload, reason := walspec.Decode(begins, mark); reason != "" || payload[0] != 0x01 || strange(last.base, begins, payload) != "" {
			c.fatalf("Open at %d: in front of the first record there is %x: %s", cursor, mark, reason)
		}
		want[name] = slices.Concat(kept, mark, walspec.Encode(uint64(off), []byte("{after}")))
	}
	if name := sameContent(got, want); name != "" {
		c.fatalf("Open at %d, and an append: %s is\n%x\nwant\n%x", cursor, name, got[name], want[name])
	}

	after := walspec.Record{Offset: uint64(off), Payload: []byte("{after}")}
	from := max(cursor, piecesOf(want)[0].base)
	again, err := records(m, from, false)
	c.wantSame(fmt.Sprintf("read from %d after going on", from), again, append(payloadsFrom(found, from), after))
	if !errors.Is(err, io.EOF) {
		c.fatalf("read from %d after going on: %v", from, err)
	}
}

// live is a journal that this process has open while its files are damaged.
type live struct {
	h history
	m *memoryFS
	c damaged
}

func (h history) live(t *testing.T) *live {
	t.Helper()
	m := newMemoryFS(h.files)
	j, _, err := wal.Open(memoryDir, wal.Options{FS: m, Preallocate: -1, Cursor: func() (wal.Offset, error) { return wal.Offset(h.bases[0]), nil }})
	if err != nil {
		t.Fatal(err)
	}
	if end := j.Synced(); uint64(end) != h.end {
		t.Fatalf("the whole journal is synced up to %d, want %d", end, h.end)
	}
	t.Cleanup(func() { j.Close() })
	return &live{h: h, m: m, c: damaged{t: t, h: h}}
}

// check damages the files under the writer. All that was synced must be read, or its loss must be reported.
func (l *live) check(damage defect) {
	c := &l.c
	c.defect = damage
	c.defect.name += ", under a writer"
	defer c.noPanic()
	for name, b := range damage.files {
		l.m.set(name, b)
	}
	for name := range l.h.files {
		if _, ok := damage.files[name]; !ok {
			l.m.set(name, nil)
		}
	}
	whole := true
	for _, from := range l.h.cursors() {
		if from < l.h.bases[0] {
			continue
		}
		got, err := records(l.m, from, false)
		c.wantTrue(got)
		want := payloadsFrom(l.h.records, from)
		var corrupt *wal.CorruptError
		if told := errors.As(err, &corrupt) || errors.Is(err, wal.ErrTrimmed); len(got) < len(want) && !told {
			c.fatalf("read from %d: %d of %d records, and then %v", from, len(got), len(want), err)
		}
		c.wantSame(fmt.Sprintf("read from %d", from), got, want[:min(len(got), len(want))])
		whole = whole && len(got) == len(want)
	}
	visited := 0
	rep, err := wal.VerifyContext(context.Background(), memoryDir, wal.Options{FS: l.m}, func(r wal.Record) error {
		visited++
		c.wantTrue([]walspec.Record{{Offset: uint64(r.Offset), Payload: r.Payload}})
		return nil
	})
	// A beginning that is missing cannot be told from one that was trimmed.
	trimmed := uint64(rep.First) > l.h.bases[0]
	if missed := visited < len(payloadsFrom(l.h.records, 0)); err != nil || rep.Torn != nil || (missed || !whole) && !trimmed && len(rep.Damage) == 0 {
		c.fatalf("Verify: %+v, %v", rep, err)
	}
	for name := range damage.files {
		if _, ok := l.h.files[name]; !ok {
			l.m.set(name, nil)
		}
	}
	for name, b := range l.h.files {
		l.m.set(name, b)
	}
}
