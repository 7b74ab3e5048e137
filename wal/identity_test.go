package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

var mine = []byte("mine")

// firsts are the kinds of the first records of the segments, in order.
func firsts(t testing.TB, dir string) (kinds []walspec.Kind) {
	t.Helper()
	j := specRead(t, dir)
	for _, s := range j.Segments {
		for _, r := range j.Records {
			if r.Offset == s.Base {
				kinds = append(kinds, r.Kind)
			}
		}
	}
	return kinds
}

func TestEachNewSegmentBeginsWithTheIdentity(t *testing.T) {
	t.Parallel()
	for _, segmentBytes := range []int64{1, 45, 300, 1 << 20} {
		for _, identity := range [][]byte{{0}, mine, bytes.Repeat([]byte{0xff}, wal.MaxIdentity)} {
			t.Run(fmt.Sprintf("%d bytes, segments of %d", len(identity), segmentBytes), func(t *testing.T) {
				dir := t.TempDir()
				o := wal.Options{SegmentBytes: segmentBytes, Identity: identity, FS: unsyncedFS{wal.OS}}
				want := payloads(12, 60)
				j, _ := open(t, dir, o)
				offs := appendAll(t, j, want[:4])
				closeJournal(t, j)
				if first := wal.Offset(headerSize + 1 + len(identity)); offs[0] != first {
					t.Errorf("the first record is at %d, want %d", offs[0], first)
				}
				j, rec := open(t, dir, o)
				if rec.Records != 4 {
					t.Errorf("recovered %+v", rec)
				}
				appendBatch(t, j, want[4:])
				segments := len(j.Segments())
				closeJournal(t, j)

				kinds := firsts(t, dir)
				if len(kinds) != segments || slices.ContainsFunc(kinds, func(k walspec.Kind) bool { return k != walspec.Identity }) {
					t.Errorf("%d segments begin with %v", segments, kinds)
				}
				rep, err := wal.Verify(dir, o)
				if err != nil || rep.Identities != segments || rep.Records != len(want) || len(rep.Damage) > 0 {
					t.Errorf("Verify: %+v, %v, with %d segments", rep, err, segments)
				}
				// None holds an identity and nothing else.
				if rep.Segments > len(want) {
					t.Errorf("%d segments hold %d records", rep.Segments, len(want))
				}
				if got := readAll(t, dir, 0, o); !slices.Equal(got, want) {
					t.Errorf("read %q", got)
				}
				if got := readAll(t, dir, 0, wal.Options{}); !slices.Equal(got, want) {
					t.Errorf("read without an identity: %q", got)
				}
				have, found, err := wal.Identity(dir, wal.Options{})
				if err != nil || !found || !bytes.Equal(have, identity) {
					t.Errorf("Identity: %x, %v, %v", have, found, err)
				}
			})
		}
	}
	if _, _, err := wal.Open(t.TempDir(), wal.Options{Identity: make([]byte, wal.MaxIdentity+1)}); err == nil {
		t.Error("an identity that is too long was taken")
	}
}

// The identity comes with the group that follows it.
func TestTheIdentityCostsNoSync(t *testing.T) {
	count := func(o wal.Options) (syncs int) {
		fsys := &faultFS{FS: unsyncedFS{wal.OS}}
		o.FS, o.SegmentBytes = fsys, 300
		j, _ := open(t, t.TempDir(), o)
		fsys.set(func(op, _ string) error {
			if op == "sync" {
				syncs++
			}
			return nil
		})
		for len(j.Segments()) < 4 {
			appendOne(t, j, strings.Repeat("x", 300))
		}
		return syncs
	}
	if with, without := count(wal.Options{Identity: mine}), count(wal.Options{}); with != without {
		t.Errorf("%d syncs with an identity, %d without", with, without)
	}
}

// A journal that is older than the identity goes on, and its next segment has it.
func TestSegmentsWithoutAnIdentityAreAccepted(t *testing.T) {
	m := makeJournal(t)
	if have, found, err := wal.Identity(m.dir, wal.Options{}); err != nil || found {
		t.Fatalf("Identity: %x, %v, %v", have, found, err)
	}
	o := at(3000)
	o.Identity, o.SegmentBytes = mine, 1000
	j, _ := open(t, m.dir, o)
	appendOne(t, j, "{more}")
	closeJournal(t, j)
	if got, want := firsts(t, m.dir), []walspec.Kind{walspec.Payload, walspec.Payload, walspec.Payload, walspec.Identity}; !slices.Equal(got, want) {
		t.Errorf("the segments begin with %v, want %v", got, want)
	}
	if got := readAll(t, m.dir, 0, o); len(got) != 31 {
		t.Errorf("read %d records", len(got))
	}
}

// identified is a closed journal of three segments, of five records each.
func identified(t testing.TB, identity []byte) (m madeJournal, bases []wal.Offset) {
	t.Helper()
	m = madeJournal{dir: t.TempDir(), payloads: payloads(15, 60)}
	j, _ := open(t, m.dir, wal.Options{SegmentBytes: 500, Identity: identity, FS: unsyncedFS{wal.OS}})
	m.offs = appendBatch(t, j, m.payloads)
	for _, s := range j.Segments() {
		bases = append(bases, s.Base)
	}
	closeJournal(t, j)
	if len(bases) != 3 {
		t.Fatalf("segments at %d", bases)
	}
	return m, bases
}

func TestASegmentOfAnotherJournalIsRefused(t *testing.T) {
	t.Parallel()
	// Identities of one length, so that the segments have the same names.
	yours := []byte("your")
	for i := range 3 {
		t.Run(fmt.Sprint("segment ", i), func(t *testing.T) {
			m, bases := identified(t, mine)
			other, _ := identified(t, yours)
			stranger := m.segment(int(bases[i]))
			writeFile(t, stranger, readFile(t, other.segment(int(bases[i]))))
			before := everything(t, m.dir)
			refused := func(who string, err error) {
				t.Helper()
				var foreign *wal.ForeignError
				if !errors.As(err, &foreign) || !errors.Is(err, wal.ErrForeign) || foreign.Segment != stranger ||
					!bytes.Equal(foreign.Have, yours) || !bytes.Equal(foreign.Want, mine) {
					t.Errorf("%s: %v", who, err)
				} else if s := err.Error(); !strings.Contains(s, fmt.Sprintf("%x", mine)) || !strings.Contains(s, fmt.Sprintf("%x", yours)) {
					t.Errorf("%s does not tell both identities: %v", who, err)
				}
			}
			for _, cursor := range []wal.Offset{0, m.offs[5*i], m.offs[5*i+2]} {
				o := at(cursor)
				o.Identity = mine
				_, _, err := wal.Open(m.dir, o)
				refused(fmt.Sprint("Open at ", cursor), err)
			}
			r, err := wal.OpenReader(m.dir, 0, wal.Options{Identity: mine})
			n := 0
			for ; err == nil; n++ {
				_, err = r.Next(t.Context())
			}
			refused("Next", err)
			if want := max(0, 5*i+1); i > 0 && n != want {
				t.Errorf("read %d records, want %d", n, want)
			}
			_, err = wal.OpenReader(m.dir, m.offs[5*i+2], wal.Options{Identity: mine})
			refused("OpenReader", err)
			for _, apply := range []bool{false, true} {
				o := m.options(0)
				o.Apply, o.Identity = apply, mine
				_, err = wal.Repair(m.dir, o)
				refused("Repair", err)
			}
			rep, err := wal.Verify(m.dir, wal.Options{Identity: mine})
			if err != nil || len(rep.Damage) != 1 || rep.Damage[0].Segment != stranger || rep.Damage[0].Offset != bases[i] ||
				!strings.Contains(rep.Damage[0].Reason, "another journal") || rep.Records != 10 || rep.Identities != 2 {
				t.Errorf("Verify: %+v, %v", rep, err)
			}
			if got := everything(t, m.dir); got != before {
				t.Errorf("the folder was changed:\n%s\nto\n%s", before, got)
			}
			// Who names none gets what is there.
			if rep, err := wal.Verify(m.dir, wal.Options{}); err != nil || len(rep.Damage) > 0 || rep.Records != 15 {
				t.Errorf("Verify without an identity: %+v, %v", rep, err)
			}
		})
	}
	// What lies before the cursor's segment is not looked at.
	m, bases := identified(t, mine)
	other, _ := identified(t, yours)
	writeFile(t, m.segment(0), readFile(t, other.segment(0)))
	o := at(bases[1])
	o.Identity = mine
	open(t, m.dir, o)
}

// If nothing in the last segment was acknowledged, recovery cuts it to nothing, and it begins like a new one.
func TestALastSegmentThatIsCutToNothingGetsTheIdentityAgain(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(b []byte) []byte{
		"empty":               func([]byte) []byte { return nil },
		"zeros":               func(b []byte) []byte { return make([]byte, len(b)) },
		"half an identity":    func(b []byte) []byte { return b[:30] },
		"a corrupt identity":  flip(42),
		"an identity alone":   func(b []byte) []byte { return b[:headerSize+1+len(mine)] },
		"half a record after": func(b []byte) []byte { return b[:headerSize+1+len(mine)+50] },
	} {
		t.Run(name, func(t *testing.T) {
			m, bases := identified(t, mine)
			edit(t, m.segment(int(bases[2])), change)
			o := at(0)
			o.Identity = mine
			j, rec := open(t, m.dir, o)
			if rec.Records != 10 {
				t.Errorf("recovered %+v", rec)
			}
			off := appendOne(t, j, "{after}")
			closeJournal(t, j)
			if want := bases[2] + wal.Offset(headerSize+1+len(mine)); off != want {
				t.Errorf("appended at %d, want %d", off, want)
			}
			if kinds := firsts(t, m.dir); len(kinds) != 3 || kinds[2] != walspec.Identity {
				t.Errorf("the segments begin with %v", kinds)
			}
			if got := readAll(t, m.dir, 0, o); len(got) != 11 || got[10] != "{after}" {
				t.Errorf("read %q", got)
			}
		})
	}
}

func TestRepairWritesTheIdentityBack(t *testing.T) {
	t.Parallel()
	head := headerSize + 1 + len(mine)
	for _, tc := range []struct {
		name   string
		damage func(t *testing.T, segment string)
		cursor int // a record's number: the caller has those before it
		lost   int64
	}{
		{"the identity alone", func(t *testing.T, s string) { edit(t, s, flip(42)) }, 0, 0},
		{"and the record after it", func(t *testing.T, s string) {
			edit(t, s, func(b []byte) []byte { b[42] ^= 1; b[head+60] ^= 1; return b })
		}, 0, 100},
		{"and the record after it, which the caller has", func(t *testing.T, s string) {
			edit(t, s, func(b []byte) []byte { b[42] ^= 1; b[head+60] ^= 1; return b })
		}, 8, 0},
		{"the whole segment", func(t *testing.T, s string) {
			if err := os.Remove(s); err != nil {
				t.Fatal(err)
			}
		}, 15, 0},
		{"the whole segment, lost to the caller", func(t *testing.T, s string) { edit(t, s, func([]byte) []byte { return nil }) }, 0, 500},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, bases := identified(t, mine)
			tc.damage(t, m.segment(int(bases[1])))
			cursor := wal.Offset(0)
			if tc.cursor > 0 {
				cursor = m.offs[tc.cursor-1] + 100
			}
			if _, _, err := wal.Open(m.dir, wal.Options{Identity: mine}); err == nil {
				t.Fatal("a damaged journal was opened")
			}
			o := m.options(cursor)
			o.Apply, o.Identity = true, mine
			rep := mustRepair(t, m.dir, o)
			if len(rep.Damage) != 1 || !rep.Damage[0].Identity || rep.Lost() != tc.lost || len(rep.Damage[0].Refused) > 0 {
				t.Errorf("%q, %+v", ranges(rep), rep.Damage[0])
			}
			if kinds := firsts(t, m.dir); len(kinds) != 3 || kinds[1] != walspec.Identity {
				t.Errorf("the segments begin with %v", kinds)
			}
			if again := mustRepair(t, m.dir, o); len(again.Damage) > 0 {
				t.Errorf("a second repair: %q", ranges(again))
			}
			if got, want := len(readAll(t, m.dir, 0, wal.Options{Identity: mine})), 15-int(tc.lost/100); got != want {
				t.Errorf("%d records are left, want %d", got, want)
			}
		})
	}
}

// The caller's record stood where a segment without an identity begins.
func TestRepairPutsNoIdentityInTheWayOfARecord(t *testing.T) {
	m := makeJournal(t)
	edit(t, m.segment(1000), func(b []byte) []byte { clear(b[:150]); return b })
	o := m.options(3000)
	o.Apply, o.Identity = true, mine
	rep := mustRepair(t, m.dir, o)
	if len(rep.Damage) != 1 || rep.Damage[0].Identity || rep.Restored() != 2 || rep.Lost() != 0 {
		t.Fatalf("%q, %+v", ranges(rep), rep.Damage[0])
	}
	wantRepaired(t, m, 3000, rep)
}

// Where no identity fits before the next record, a filler is written.
func TestRepairLeavesOutAnIdentityThatDoesNotFit(t *testing.T) {
	m := makeJournal(t)
	edit(t, m.segment(1000), flip(50))
	o := m.options(0)
	o.Apply, o.Identity = true, bytes.Repeat([]byte{7}, 30) // 71 bytes of 100, and no record fits in 29
	o.Records = func(_, _ wal.Offset) iter.Seq2[wal.Record, error] { return func(func(wal.Record, error) bool) {} }
	rep := mustRepair(t, m.dir, o)
	if len(rep.Damage) != 1 || rep.Damage[0].Identity || rep.Lost() != 100 {
		t.Fatalf("%q, %+v", ranges(rep), rep.Damage[0])
	}
	specRead(t, m.dir)
}

func TestIdentityIsThatOfTheFirstIntactOne(t *testing.T) {
	t.Parallel()
	m, bases := identified(t, mine)
	for i := range bases {
		have, found, err := wal.Identity(m.dir, wal.Options{})
		if err != nil || !found || !bytes.Equal(have, mine) {
			t.Errorf("%d are corrupt: %x, %v, %v", i, have, found, err)
		}
		edit(t, m.segment(int(bases[i])), flip(10))
	}
	if have, found, err := wal.Identity(m.dir, wal.Options{}); err != nil || found {
		t.Errorf("all are corrupt: %x, %v, %v", have, found, err)
	}
	if _, _, err := wal.Identity(filepath.Join(m.dir, "nowhere"), wal.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// No more than the first record of each segment is read.
func TestIdentityReadsLittle(t *testing.T) {
	dir := t.TempDir()
	fsys := &faultFS{FS: unsyncedFS{wal.OS}}
	j, _ := open(t, dir, wal.Options{FS: fsys, SegmentBytes: 1 << 20})
	for range 3 {
		appendOne(t, j, strings.Repeat("x", 1<<20))
	}
	before := fsys.read.Load()
	if _, found, err := wal.Identity(dir, wal.Options{FS: fsys}); err != nil || found {
		t.Fatal(found, err)
	}
	if n := fsys.read.Load() - before; n > 3*200 {
		t.Errorf("read %d bytes of three segments", n)
	}
}

// Nobody may skip a control record that cannot be true, or that only a later version knows.
func TestIdentitiesThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]struct {
		before  string
		payload []byte
	}{
		"of no bytes":     {"", []byte{3}},
		"of 65 bytes":     {"", append([]byte{3}, make([]byte, 65)...)},
		"in the middle":   {"{}", append([]byte{3}, mine...)},
		"an unknown kind": {"", []byte{4, 1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w := specWriter(t, dir, walspec.Options{})
			off := uint64(0)
			if at.before != "" {
				w.append(at.before)
				off = w.End()
			}
			w.done(w.Append(at.payload))
			w.append("{after}")
			w.close()
			told := func(who string, err error) {
				t.Helper()
				var corrupt *wal.CorruptError
				if !errors.As(err, &corrupt) || uint64(corrupt.Offset) != off {
					t.Errorf("%s: %v", who, err)
				}
			}
			_, _, err := wal.Open(dir, wal.Options{})
			told("Open", err)
			r, err := wal.OpenReader(dir, wal.Offset(off), wal.Options{})
			if err == nil {
				_, err = r.Next(t.Context())
			}
			told("Next", err)
			rep, err := wal.Verify(dir, wal.Options{})
			if err != nil || len(rep.Damage) != 1 {
				t.Fatalf("Verify: %+v, %v", rep, err)
			}
			told("Verify", rep.Damage[0])
			if _, err := walspec.Read(dir); err == nil {
				t.Error("the second reading is content")
			}
		})
	}
}
