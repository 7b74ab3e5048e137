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

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// madeJournal is a closed journal: 30 records of 100 bytes, ten to a segment.
type madeJournal struct {
	dir      string
	offs     []wal.Offset
	payloads []string
	lost     bool // by the caller as well
}

func makeJournal(t testing.TB) madeJournal {
	t.Helper()
	m := madeJournal{dir: t.TempDir(), payloads: payloads(30, 60)}
	j, _ := open(t, m.dir, wal.Options{SegmentBytes: 1000, FS: unsyncedFS{wal.OS}})
	m.offs = appendBatch(t, j, m.payloads)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m madeJournal) segment(base int) string {
	return filepath.Join(m.dir, walspec.Name(uint64(base)))
}

// has is a caller that has the records below an offset.
func (m madeJournal) has(below wal.Offset) func(from, to wal.Offset) iter.Seq2[wal.Record, error] {
	return func(from, to wal.Offset) iter.Seq2[wal.Record, error] {
		return func(yield func(wal.Record, error) bool) {
			for i, off := range m.offs {
				if off >= from && off < min(to, below) && !m.lost && !yield(wal.Record{Offset: off, Payload: []byte(m.payloads[i])}, nil) {
					return
				}
			}
		}
	}
}

// options are a dry run's of a caller who has everything below the cursor.
func (m madeJournal) options(cursor wal.Offset) wal.RepairOptions {
	return wal.RepairOptions{
		Cursor:  func() (wal.Offset, error) { return cursor, nil },
		Records: m.has(cursor),
	}
}

// image is a folder's segments by name.
func image(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	names, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		files[filepath.Base(name)] = string(readFile(t, name))
	}
	return files
}

// everything is a folder with all that is below it; the lock's file aside.
func everything(t testing.TB, dir string) string {
	t.Helper()
	return folder(t, dir) + fmt.Sprint(quarantined(t, dir))
}

// quarantined are the contents of what is in quarantine, by the offset in the name.
func quarantined(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	names, err := filepath.Glob(filepath.Join(dir, "quarantine", "*.bin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		offset, _, _ := strings.Cut(filepath.Base(name), "-")
		files[offset] += string(readFile(t, name))
	}
	return files
}

func mustRepair(t testing.TB, dir string, o wal.RepairOptions) wal.RepairReport {
	t.Helper()
	rep, err := wal.Repair(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// ranges puts what was found into words.
func ranges(rep wal.RepairReport) []string {
	all := []string{}
	for _, d := range rep.Damage {
		s := fmt.Sprintf("%s [%d,%d)", strings.TrimLeft(strings.TrimSuffix(filepath.Base(d.Segment), ".wal"), "0"), d.Offset, d.End)
		if d.Missing {
			s += " made"
		}
		all = append(all, fmt.Sprintf("%s stored %d cut %d, restored %d, fillers %d of %d, refused %d",
			s, d.Stored, d.Cut, d.Restored, d.Fillers, d.FillBytes, len(d.Refused)))
	}
	return all
}

// Segments begin at 0, 0x3e8 and 0x7d0; a record's number is the hundreds of its offset.
func TestRepairGoesPastEachKindOfDamage(t *testing.T) {
	const end = 3000
	cut := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }
	zero := func(from, to int) func([]byte) []byte {
		return func(b []byte) []byte { clear(b[from:to]); return b }
	}
	add := func(s string) func([]byte) []byte { return func(b []byte) []byte { return append(b, s...) } }
	damage := func(base int, change func([]byte) []byte) func(testing.TB, madeJournal) {
		return func(t testing.TB, m madeJournal) { edit(t, m.segment(base), change) }
	}
	remove := func(bases ...int) func(testing.TB, madeJournal) {
		return func(t testing.TB, m madeJournal) {
			for _, base := range bases {
				if err := os.Remove(m.segment(base)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	const lost = "a cursor inside a range, and the caller has lost what is below it"
	for _, tc := range []struct {
		name   string
		damage func(testing.TB, madeJournal)
		cursor wal.Offset
		want   []string
	}{
		{"nothing", func(testing.TB, madeJournal) {}, end, []string{}},
		{"a bit, and the caller has the record", damage(1000, flip(350)), end,
			[]string{"3e8 [1300,1400) stored 100 cut 0, restored 1, fillers 0 of 0, refused 0"}},
		{"a bit, and the caller has nothing", damage(1000, flip(350)), 0,
			[]string{"3e8 [1300,1400) stored 100 cut 0, restored 0, fillers 1 of 100, refused 0"}},
		{"a length", damage(1000, flip(300)), end,
			[]string{"3e8 [1300,1400) stored 100 cut 0, restored 1, fillers 0 of 0, refused 0"}},
		{"the first record", damage(0, flip(0)), 0, []string{" [0,100) stored 100 cut 0, restored 0, fillers 1 of 100, refused 0"}},
		{"the last record of a segment", damage(0, flip(950)), 0, []string{" [900,1000) stored 100 cut 0, restored 0, fillers 1 of 100, refused 0"}},
		{"several ranges", func(t testing.TB, m madeJournal) {
			edit(t, m.segment(0), flip(150))
			edit(t, m.segment(0), flip(350))
			edit(t, m.segment(1000), zero(400, 650))
		}, 1500, []string{
			" [100,200) stored 100 cut 0, restored 1, fillers 0 of 0, refused 0",
			" [300,400) stored 100 cut 0, restored 1, fillers 0 of 0, refused 0",
			"3e8 [1400,1700) stored 300 cut 0, restored 1, fillers 1 of 200, refused 0",
		}},
		{"a cursor inside a range stays where a record begins", damage(1000, zero(100, 900)), 1500,
			[]string{"3e8 [1100,1900) stored 800 cut 0, restored 4, fillers 1 of 400, refused 0"}},
		{lost, damage(1000, zero(100, 900)), 1500, []string{"3e8 [1100,1900) stored 800 cut 0, restored 0, fillers 2 of 800, refused 0"}},
		{"zeros to the end of a sealed segment", damage(0, zero(700, 1000)), 0,
			[]string{" [700,1000) stored 300 cut 0, restored 0, fillers 1 of 300, refused 0"}},
		{"cut inside a record", damage(1000, cut(730)), 1800,
			[]string{"3e8 [1700,2000) stored 30 cut 0, restored 1, fillers 1 of 200, refused 0"}},
		{"cut inside a record to less than a header of zeros", damage(1000, func(b []byte) []byte { clear(b[700:]); return b[:710] }), 0,
			[]string{"3e8 [1700,2000) stored 10 cut 0, restored 0, fillers 1 of 300, refused 0"}},
		{"cut between records", damage(1000, cut(700)), end,
			[]string{"6a4 [1700,2000) made stored 0 cut 0, restored 3, fillers 0 of 0, refused 0"}},
		{"emptied", damage(1000, cut(0)), end,
			[]string{"3e8 [1000,2000) stored 0 cut 0, restored 10, fillers 0 of 0, refused 0"}},
		{"too long", damage(0, add("more than there should be")), 0,
			[]string{" [1000,1000) stored 0 cut 25, restored 0, fillers 0 of 0, refused 0"}},
		{"too long by zeros", damage(0, add("\x00\x00\x00")), 0,
			[]string{" [1000,1000) stored 0 cut 3, restored 0, fillers 0 of 0, refused 0"}},
		{"damaged at its end and too long", damage(0, func(b []byte) []byte { b[960] ^= 1; return append(b, "more"...) }), 0,
			[]string{" [900,1000) stored 100 cut 4, restored 0, fillers 1 of 100, refused 0"}},
		{"an intact record after the end", damage(0, add(string(walspec.Encode(1000, []byte("never acknowledged"))))), end,
			[]string{" [1000,1000) stored 0 cut 58, restored 0, fillers 0 of 0, refused 0"}},
		{"an intact record over the end", damage(0, func(b []byte) []byte {
			return append(b[:900], walspec.Encode(900, make([]byte, 100))...)
		}), end, []string{" [900,1000) stored 100 cut 40, restored 1, fillers 0 of 0, refused 0"}},
		{"the first segment, below the cursor", remove(0), end, []string{}},
		{"a missing segment", remove(1000), 1200,
			[]string{"3e8 [1000,2000) made stored 0 cut 0, restored 2, fillers 1 of 800, refused 0"}},
		{"a missing segment after one that was cut", func(t testing.TB, m madeJournal) {
			edit(t, m.segment(0), cut(850))
			remove(1000)(t, m)
		}, 0, []string{" [800,2000) stored 50 cut 0, restored 0, fillers 1 of 1200, refused 0"}},
		{"the last segment, below the cursor", remove(2000), end,
			[]string{"3e8 [2000,3000) stored 0 cut 0, restored 10, fillers 0 of 0, refused 0"}},
		{"the last segment, cut below the cursor", damage(2000, cut(500)), 2800,
			[]string{"7d0 [2500,2800) stored 0 cut 0, restored 3, fillers 0 of 0, refused 0"}},
		{"the last segment, cut in a record below the cursor", damage(2000, cut(550)), 2800,
			[]string{"7d0 [2500,2800) stored 50 cut 0, restored 3, fillers 0 of 0, refused 0"}},
		{"zeros ahead, and the data ends below the cursor", damage(2000, zero(500, 1000)), 2800,
			[]string{"7d0 [2500,2800) stored 300 cut 0, restored 3, fillers 0 of 0, refused 0"}},
		{"a bit in the last segment, below the cursor", damage(2000, flip(350)), 2500,
			[]string{"7d0 [2300,2400) stored 100 cut 0, restored 1, fillers 0 of 0, refused 0"}},
		{"no segment left", remove(0, 1000, 2000), 2500,
			[]string{"9c4 [2500,2500) made stored 0 cut 0, restored 0, fillers 0 of 0, refused 0"}},
		{"no segment and nothing known of one", remove(0, 1000, 2000), 0, []string{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := makeJournal(t)
			m.lost = tc.name == lost
			whole := image(t, m.dir)
			tc.damage(t, m)
			damaged, before := image(t, m.dir), everything(t, m.dir)
			o := m.options(tc.cursor)
			planned := mustRepair(t, m.dir, o)
			if got := ranges(planned); !slices.Equal(got, tc.want) {
				t.Fatalf("planned\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
			if got := everything(t, m.dir); got != before || planned.Applied {
				t.Fatalf("the plan has changed the folder from\n%sto\n%s", before, got)
			}
			o.Apply, o.FS = true, unsyncedFS{wal.OS}
			applied := mustRepair(t, m.dir, o)
			if got := ranges(applied); !slices.Equal(got, tc.want) || !applied.Applied {
				t.Fatalf("applied %q, want %q", got, tc.want)
			}
			kept := map[string]string{}
			for _, d := range applied.Damage {
				from := d.Offset - d.Base
				if bytes := damaged[filepath.Base(d.Segment)]; d.Stored+d.Cut > 0 {
					kept[fmt.Sprintf("%016x", uint64(d.Offset))] = bytes[from : int64(from)+d.Stored+d.Cut]
				}
			}
			if got := quarantined(t, m.dir); fmt.Sprint(got) != fmt.Sprint(kept) {
				t.Errorf("in quarantine: %q, want %q", got, kept)
			}
			if applied.Lost() == 0 && len(tc.want) > 0 && !applied.Damage[0].Missing && tc.cursor == end && len(damaged) == 3 {
				if got := image(t, m.dir); fmt.Sprint(got) != fmt.Sprint(whole) {
					t.Error("everything was handed back, and the segments are not what they were")
				}
			}
			wantRepaired(t, m, tc.cursor, applied)
		})
	}
}

// wantRepaired checks a repaired journal: the format's second reading takes it, all records are there but
// those of the damage, which are when they were handed back, another repair finds nothing, and it can be
// written to.
func wantRepaired(t testing.TB, m madeJournal, cursor wal.Offset, rep wal.RepairReport) {
	t.Helper()
	j, err := walspec.Read(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	have := map[uint64]string{}
	for _, r := range j.Records {
		if r.Kind == walspec.Payload {
			have[r.Offset] = string(r.Payload)
		}
	}
	for i, off := range m.offs {
		in := func(d *wal.DamagedRange) bool { return d.Offset <= off && off < d.End }
		lost := slices.ContainsFunc(rep.Damage, in) && (off >= cursor || m.lost) || uint64(off) < j.First || uint64(off) >= j.End
		if got := have[uint64(off)]; !lost && got != m.payloads[i] {
			t.Errorf("record %d at %d is %q", i, off, got)
		}
	}
	o := m.options(cursor)
	o.Apply = true
	before := everything(t, m.dir)
	if again := mustRepair(t, m.dir, o); len(again.Damage) > 0 || again.End != rep.End || everything(t, m.dir) != before {
		t.Errorf("a second repair: %q, the log ends at %d, then %d", ranges(again), rep.End, again.End)
	}
	verified, err := wal.Verify(m.dir, wal.Options{})
	if err != nil || len(verified.Damage) > 0 || verified.FillBytes != rep.Lost() {
		t.Errorf("Verify: %+v, %v, want %d bytes of fillers", verified, err, rep.Lost())
	}
	opened, recovery := open(t, m.dir, at(cursor))
	defer opened.Close()
	if recovery.End != rep.End || recovery.Torn != nil {
		t.Errorf("recovery: %+v, want the end at %d", recovery, rep.End)
	}
	if off := appendOne(t, opened, "{}"); off != rep.End {
		t.Errorf("the next record is at %d, not at %d", off, rep.End)
	}
}

func TestRepairRefusesWhatNoFillerCanMend(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func(t testing.TB, m madeJournal) error
		cursor wal.Offset
		want   error // nil is a *CorruptError
		says   string
	}{
		{"a beginning that is gone", func(_ testing.TB, m madeJournal) error { return os.Remove(m.segment(0)) }, 500, wal.ErrGap, "backup"},
		{"a cursor inside a record", func(testing.TB, madeJournal) error { return nil }, 1550, nil, "inside an intact record"},
		{"a cursor just after the end", func(testing.TB, madeJournal) error { return nil }, 3040, nil, "does not belong"},
		{"a cursor just after a record's beginning", func(t testing.TB, m madeJournal) error {
			edit(t, m.segment(1000), flip(550))
			return nil
		}, 1540, nil, "does not belong"},
		{"a segment that does not belong here", func(t testing.TB, m madeJournal) error {
			return os.WriteFile(m.segment(1550), nil, 0o600)
		}, 3000, nil, "move it out"},
		{"one where another record ends", func(t testing.TB, m madeJournal) error {
			return os.WriteFile(m.segment(1500), []byte("not a record"), 0o600)
		}, 3000, nil, "move it out"},
		{"one where a damaged record begins", func(t testing.TB, m madeJournal) error {
			edit(t, m.segment(1000), flip(550))
			return os.WriteFile(m.segment(1500), nil, 0o600)
		}, 3000, nil, "move it out"},
		{"one inside a damaged record", func(t testing.TB, m madeJournal) error {
			edit(t, m.segment(1000), flip(550))
			return os.WriteFile(m.segment(1550), nil, 0o600)
		}, 3000, nil, "move it out"},
		{"one after the end of all journals", func(t testing.TB, m madeJournal) error {
			return os.WriteFile(filepath.Join(m.dir, "ffffffffffffff00.wal"), nil, 0o600)
		}, 3000, nil, "no journal reaches that far"},
		{"one so near to the end that nothing fits between", func(t testing.TB, m madeJournal) error {
			return os.WriteFile(m.segment(3040), nil, 0o600)
		}, 3000, nil, "does not belong"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := makeJournal(t)
			if err := tc.damage(t, m); err != nil {
				t.Fatal(err)
			}
			before := everything(t, m.dir)
			for _, apply := range []bool{false, true} {
				o := m.options(tc.cursor)
				o.Apply = apply
				_, err := wal.Repair(m.dir, o)
				var corrupt *wal.CorruptError
				if tc.want != nil && !errors.Is(err, tc.want) || tc.want == nil && !errors.As(err, &corrupt) || !strings.Contains(fmt.Sprint(err), tc.says) {
					t.Fatalf("got %v, want it to say %q", err, tc.says)
				}
				if everything(t, m.dir) != before {
					t.Fatal("what was refused was changed")
				}
			}
		})
	}
}

func TestATornTailIsLeftToRecovery(t *testing.T) {
	m := makeJournal(t)
	edit(t, m.segment(2000), flip(850)) // two records of that group are after it
	edit(t, m.segment(0), flip(150))
	o := m.options(2500)
	o.Apply = true
	rep := mustRepair(t, m.dir, o)
	if len(rep.Damage) != 1 || rep.Torn == nil || rep.Torn.Offset != 2800 || rep.Torn.Bytes != 200 || rep.End != 2800 {
		t.Fatalf("%+v, %+v", rep, rep.Torn)
	}
	j, rec := open(t, m.dir, at(2500))
	defer j.Close()
	if rec.Torn == nil || rec.Torn.Offset != 2800 || rec.Torn.Bytes != 200 {
		t.Fatalf("recovery: %+v", rec)
	}
}

func TestAnUnknownKindIsNoDamage(t *testing.T) {
	m := makeJournal(t)
	unknown := append([]byte{0x07}, make([]byte, 59)...)
	edit(t, m.segment(1000), func(b []byte) []byte { copy(b[500:], walspec.Encode(1500, unknown)); return b })
	edit(t, m.segment(1000), flip(150))
	o := m.options(0)
	o.Apply = true
	rep := mustRepair(t, m.dir, o)
	if len(rep.Damage) != 1 || rep.Damage[0].Offset != 1100 || len(rep.Unknown) != 1 || rep.Unknown[0].Offset != 1500 {
		t.Fatalf("%+v", rep)
	}
	if b := readFile(t, m.segment(1000)); !bytes.Equal(b[500:600], walspec.Encode(1500, unknown)) {
		t.Fatal("it is not there any more")
	}
}

// Where a mark attests a record, a flipped bit is damage. The mark also says where a record began in what is lost.
func TestRepairInAnActiveSegmentWithMarks(t *testing.T) {
	dir := t.TempDir()
	w, err := walspec.NewWriter(dir, walspec.Options{Zeros: 5000})
	if err != nil {
		t.Fatal(err)
	}
	m := madeJournal{dir: dir}
	mark := wal.Offset(0)
	for i, p := range payloads(30, 60) {
		if i == 20 {
			if _, err := w.Mark(uint64(mark)); err != nil {
				t.Fatal(err)
			}
		}
		off, err := w.Append([]byte(p))
		if err != nil {
			t.Fatal(err)
		}
		m.offs, m.payloads = append(m.offs, wal.Offset(off)), append(m.payloads, p)
		if i == 15 {
			mark = wal.Offset(off)
		}
	}
	end := wal.Offset(w.End())
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, m.segment(0), func(b []byte) []byte {
		clear(b[1450:1850])                  // the mark stands for what is below 1500
		copy(b[m.offs[25]:], "never synced") // nothing stands for this
		return b
	})
	o := m.options(0)
	o.Apply = true
	rep := mustRepair(t, dir, o)
	want := []string{" [1400,1900) stored 500 cut 0, restored 0, fillers 2 of 500, refused 0"}
	if got := ranges(rep); !slices.Equal(got, want) || rep.Torn == nil || rep.Torn.Offset != m.offs[25] || rep.End != m.offs[25] {
		t.Fatalf("%q, %+v", got, rep)
	}
	j, rec := open(t, dir, wal.Options{})
	if rec.Torn == nil || rec.End != m.offs[25] || rec.Torn.Bytes != int64(end-m.offs[25]) {
		t.Fatalf("recovery: %+v", rec)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := walspec.Read(dir); err != nil { // it takes no mark that names the middle of a record
		t.Fatal(err)
	}
	if n := len(readAll(t, dir, 0, wal.Options{})); n != 20 {
		t.Fatalf("%d records", n)
	}
}

func TestFillersLeaveRoomForEachOther(t *testing.T) {
	const most = 40 + 16<<20
	gaps := []int64{41, 42, 81, 82, most, most + 1, most + 40, most + 41, 2*most + 1}
	if testing.Short() {
		gaps = gaps[:6] // checksums of so many bytes take long under the race detector
	}
	for _, gap := range gaps {
		t.Run(fmt.Sprint(gap), func(t *testing.T) {
			dir := t.TempDir()
			first := walspec.Encode(0, []byte("{}"))
			next := uint64(len(first)) + uint64(gap)
			for base, content := range map[uint64][]byte{0: first, next: walspec.Encode(next, []byte("{}"))} {
				if err := os.WriteFile(filepath.Join(dir, walspec.Name(base)), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			rep := mustRepair(t, dir, wal.RepairOptions{Apply: true, FS: unsyncedFS{wal.OS}})
			j, err := walspec.Read(dir)
			if err != nil {
				t.Fatal(err)
			}
			if want := int((gap + most - 1) / most); len(j.Records) != want+2 || rep.Damage[0].Fillers != want || rep.Lost() != gap {
				t.Fatalf("%d fillers, reported %d of %d, want %d", len(j.Records)-2, rep.Damage[0].Fillers, rep.Lost(), want)
			}
			if again := mustRepair(t, dir, wal.RepairOptions{}); len(again.Damage) > 0 {
				t.Fatalf("%q", ranges(again))
			}
		})
	}
}

func TestWhatIsHandedBackMustFit(t *testing.T) {
	type held struct {
		at      wal.Offset
		payload string
	}
	long := strings.Repeat("x", 60)
	// The range is [1300, 1600): three records of 100 bytes.
	for _, tc := range []struct {
		name    string
		held    []held
		want    []wal.Offset // written back
		refused []wal.Offset
	}{
		{"all", []held{{1300, long}, {1400, long}, {1500, long}}, []wal.Offset{1300, 1400, 1500}, nil},
		{"the one in the middle", []held{{1400, long}}, []wal.Offset{1400}, nil},
		{"one that leaves room for something else", []held{{1300, long[:30]}, {1400, long}}, []wal.Offset{1400}, []wal.Offset{1300}},
		{"one with a mark after it", []held{{1300, long[:11]}, {1400, long}}, []wal.Offset{1300, 1400}, nil},
		{"too long for the next", []held{{1300, long + "x"}, {1400, long}}, []wal.Offset{1400}, []wal.Offset{1300}},
		{"too long for the range", []held{{1500, long + "x"}}, nil, []wal.Offset{1500}},
		{"too short at the end", []held{{1500, long[:59]}}, nil, []wal.Offset{1500}},
		{"too near to the beginning", []held{{1340, long}}, nil, []wal.Offset{1340}},
		{"before the range", []held{{1200, long}, {1300, long}}, []wal.Offset{1300}, []wal.Offset{1200}},
		{"after the range", []held{{1500, long}, {1600, long}}, []wal.Offset{1500}, []wal.Offset{1600}},
		{"twice", []held{{1400, long}, {1400, long}}, []wal.Offset{1400}, []wal.Offset{1400}},
		{"in the wrong order", []held{{1500, long}, {1300, long}}, []wal.Offset{1500}, []wal.Offset{1300}},
		{"empty", []held{{1300, ""}}, nil, []wal.Offset{1300}},
		{"the journal's own", []held{{1300, "\x01" + long[1:]}}, nil, []wal.Offset{1300}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := makeJournal(t)
			edit(t, m.segment(1000), func(b []byte) []byte { clear(b[310:550]); return b })
			o := m.options(3000)
			o.Apply = true
			o.Records = func(from, to wal.Offset) iter.Seq2[wal.Record, error] {
				if from != 1300 || to != 1600 {
					t.Errorf("asked for [%d, %d)", from, to)
				}
				return func(yield func(wal.Record, error) bool) {
					for _, h := range tc.held {
						if !yield(wal.Record{Offset: h.at, Payload: []byte(h.payload)}, nil) {
							return
						}
					}
				}
			}
			rep := mustRepair(t, m.dir, o)
			var refused []wal.Offset
			for _, r := range rep.Damage[0].Refused {
				refused = append(refused, r.Offset)
			}
			if !slices.Equal(refused, tc.refused) || rep.Damage[0].Restored != len(tc.want) {
				t.Errorf("refused %d (%+v), restored %d", refused, rep.Damage[0].Refused, rep.Damage[0].Restored)
			}
			j, err := walspec.Read(m.dir)
			if err != nil {
				t.Fatal(err)
			}
			var got []wal.Offset
			for _, r := range j.Records {
				if r.Kind == walspec.Payload && r.Offset >= 1300 && r.Offset < 1600 {
					got = append(got, wal.Offset(r.Offset))
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("written back at %d, want %d", got, tc.want)
			}
		})
	}
}

func TestOnlyApplyingARepairNeedsTheLock(t *testing.T) {
	m := makeJournal(t)
	edit(t, m.segment(0), flip(150))
	j, _ := open(t, m.dir, at(3000))
	defer j.Close()
	o := m.options(3000)
	if rep := mustRepair(t, m.dir, o); len(rep.Damage) != 1 {
		t.Fatalf("beside a writer: %q", ranges(rep))
	}
	o.Apply = true
	o.Cursor = func() (wal.Offset, error) { t.Error("asked for the cursor without the lock"); return 0, nil }
	_, err := wal.Repair(m.dir, o)
	var locked *wal.LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() || !errors.Is(err, wal.ErrLocked) {
		t.Fatalf("got %v", err)
	}
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	o.Cursor = nil
	if _, err := wal.Repair(nowhere, o); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(nowhere); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("it was made")
	}
}

func TestARepairedSegmentKeepsItsMode(t *testing.T) {
	m := makeJournal(t)
	edit(t, m.segment(0), flip(150))
	if err := os.Chmod(m.segment(0), 0o640); err != nil {
		t.Fatal(err)
	}
	o := m.options(3000)
	o.Apply = true
	mustRepair(t, m.dir, o)
	if st, err := os.Stat(m.segment(0)); err != nil || st.Mode().Perm() != 0o640 {
		t.Fatalf("%v, %v", st.Mode(), err)
	}
}

func TestErrorsOfTheCallerEndARepair(t *testing.T) {
	mine := errors.New("mine")
	for name, change := range map[string]func(*wal.RepairOptions){
		"Cursor": func(o *wal.RepairOptions) { o.Cursor = func() (wal.Offset, error) { return 0, mine } },
		"Visit":  func(o *wal.RepairOptions) { o.Visit = func(wal.Record) error { return mine } },
		"Confirm": func(o *wal.RepairOptions) {
			o.Confirm = func(rep wal.RepairReport) error {
				if len(rep.Damage) != 1 || rep.Damage[0].Restored != 1 || rep.Applied {
					t.Errorf("asked to confirm %+v", rep)
				}
				return mine
			}
		},
		"Records": func(o *wal.RepairOptions) {
			o.Records = func(_, _ wal.Offset) iter.Seq2[wal.Record, error] {
				return func(yield func(wal.Record, error) bool) { yield(wal.Record{}, mine) }
			}
		},
		"Records, the second time": func(o *wal.RepairOptions) {
			first, asked := o.Records, 0
			o.Records = func(from, to wal.Offset) iter.Seq2[wal.Record, error] {
				if asked++; asked == 1 {
					return first(from, to)
				}
				return func(yield func(wal.Record, error) bool) { yield(wal.Record{}, mine) }
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := makeJournal(t)
			edit(t, m.segment(0), flip(150))
			before := image(t, m.dir)
			o := m.options(3000)
			o.Apply = true
			change(&o)
			if _, err := wal.Repair(m.dir, o); !errors.Is(err, mine) {
				t.Fatalf("got %v", err)
			}
			if fmt.Sprint(image(t, m.dir)) != fmt.Sprint(before) {
				t.Fatal("the segments were changed")
			}
			o = m.options(3000)
			o.Apply = true
			wantRepaired(t, m, 3000, mustRepair(t, m.dir, o))
		})
	}
}

// damageAll damages a journal in every way at once.
func damageAll(t testing.TB, m madeJournal) {
	t.Helper()
	edit(t, m.segment(0), func(b []byte) []byte { b[150] ^= 1; b[750] ^= 1; return append(b, "more"...) })
	if err := os.Remove(m.segment(1000)); err != nil {
		t.Fatal(err)
	}
	edit(t, m.segment(2000), func(b []byte) []byte { b[250] ^= 1; return b[:450] })
}

var errDied = errors.New("died")

func TestARepairThatDiesAnywhereIsTakenUpAgain(t *testing.T) {
	const cursor = 2600
	m := makeJournal(t)
	damageAll(t, m)
	damaged := image(t, m.dir)
	whole := madeJournal{dir: crash(t, m.dir), offs: m.offs, payloads: m.payloads}
	o := whole.options(cursor)
	o.Apply = true
	mustRepair(t, whole.dir, o)
	want := image(t, whole.dir)
	refused := func(dir string) string {
		j, _, err := wal.Open(dir, at(0))
		if err == nil {
			j.Close()
			t.Fatal("a journal that is damaged was opened")
		}
		_, why, _ := strings.Cut(err.Error(), ".wal: ")
		return why
	}
	for step, done := 0, false; !done; step++ {
		left := madeJournal{dir: crash(t, m.dir), offs: m.offs, payloads: m.payloads}
		calls := 0
		fsys := &faultFS{FS: unsyncedFS{wal.OS}}
		fsys.set(func(op, _ string) error {
			if calls++; calls > step {
				return fmt.Errorf("%s: %w", op, errDied)
			}
			return nil
		})
		o := left.options(cursor)
		o.Apply, o.FS = true, fsys
		_, err := wal.Repair(left.dir, o)
		if err != nil && !errors.Is(err, errDied) {
			t.Fatal(err)
		}
		done = err == nil
		got := image(t, left.dir)
		for name, content := range got {
			if before, was := damaged[name]; content != want[name] && (!was || content != before) {
				t.Fatalf("step %d: %s is neither as it was nor as it will be", step, name)
			}
		}
		if fmt.Sprint(got) == fmt.Sprint(damaged) {
			if a, b := refused(left.dir), refused(m.dir); a != b {
				t.Fatalf("step %d: refused with %q, at first with %q", step, a, b)
			}
		}
		o.FS = unsyncedFS{wal.OS}
		rep := mustRepair(t, left.dir, o)
		if got := image(t, left.dir); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("step %d (%v): taken up again, it ends otherwise", step, err)
		}
		if step%7 == 0 || done {
			wantRepaired(t, left, cursor, rep)
		}
		if names, err := filepath.Glob(filepath.Join(left.dir, "*.part")); err != nil || len(names) > 0 {
			t.Fatalf("step %d: left over: %q, %v", step, names, err)
		}
		if done && step < 40 {
			t.Fatalf("only %d steps", step)
		}
	}
}

// When a repair has died and is not run again, opening the journal removes the files that it has left.
func TestOpeningRemovesWhatARepairHasLeft(t *testing.T) {
	m := makeJournal(t)
	for _, name := range []string{m.segment(0) + ".part", filepath.Join(m.dir, "mine.part")} {
		if err := os.WriteFile(name, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j, _ := open(t, m.dir, wal.Options{})
	defer j.Close()
	names, err := filepath.Glob(filepath.Join(m.dir, "*.part"))
	if err != nil || len(names) != 1 || filepath.Base(names[0]) != "mine.part" {
		t.Fatalf("%q, %v", names, err)
	}
}

func TestRepairFindsItsWayWhateverIsHurt(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := makeJournal(t)
		defer os.RemoveAll(m.dir)
		damages := rapid.IntRange(1, 6).Draw(rt, "damages")
		for range damages {
			base := rapid.SampledFrom([]int{0, 1000, 2000}).Draw(rt, "segment")
			name := m.segment(base)
			b, err := os.ReadFile(name)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			from := rapid.IntRange(0, len(b)).Draw(rt, "from")
			to := min(len(b), from+rapid.SampledFrom([]int{1, 40, 99, 100, 300, 1000}).Draw(rt, "bytes"))
			switch rapid.SampledFrom([]string{"flip", "flip", "zeros", "random", "cut", "longer", "gone"}).Draw(rt, "damaged") {
			case "flip":
				if from < len(b) {
					b[from] ^= byte(rapid.IntRange(1, 255).Draw(rt, "bits"))
				}
			case "zeros":
				clear(b[from:to])
			case "random":
				copy(b[from:to], rapid.SliceOfN(rapid.Byte(), to-from, to-from).Draw(rt, "junk"))
			case "cut":
				b = b[:from]
			case "longer":
				b = append(b, rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(rt, "junk")...)
			case "gone":
				if base > 0 {
					if err := os.Remove(name); err != nil {
						rt.Fatal(err)
					}
					continue
				}
			}
			if err := os.WriteFile(name, b, 0o600); err != nil {
				rt.Fatal(err)
			}
		}
		cursor := wal.Offset(100 * rapid.IntRange(0, 30).Draw(rt, "cursor"))
		intact := map[wal.Offset]string{} // by a look at each place where a record was
		for i, off := range m.offs {
			base := int(off) / 1000 * 1000
			b, err := os.ReadFile(m.segment(base))
			if err == nil && int(off)-base+100 <= len(b) && string(b[int(off)-base:][:100]) == string(walspec.Encode(uint64(off), []byte(m.payloads[i]))) {
				intact[off] = m.payloads[i]
			}
		}
		o := m.options(cursor)
		o.Apply, o.FS = true, unsyncedFS{wal.OS}
		rep := mustRepair(t, m.dir, o)
		for _, d := range rep.Damage {
			if len(d.Refused) > 0 {
				rt.Fatalf("refused: %+v", d.Refused)
			}
		}
		j, err := walspec.Read(m.dir)
		if err != nil && rep.Torn == nil {
			rt.Fatal(err)
		}
		have := map[wal.Offset]string{}
		for _, r := range j.Records {
			if r.Kind == walspec.Payload {
				have[wal.Offset(r.Offset)] = string(r.Payload)
			}
		}
		for i, off := range m.offs {
			if payload, ok := intact[off]; ok && off < rep.End && have[off] != payload {
				rt.Fatalf("record %d at %d was intact, and is %q", i, off, have[off])
			}
			if off < cursor && have[off] != m.payloads[i] {
				rt.Fatalf("record %d at %d was handed back, and is %q", i, off, have[off])
			}
			if _, is := have[off]; is && off >= cursor && intact[off] == "" {
				rt.Fatalf("record %d at %d came from nowhere", i, off)
			}
		}
		if again := mustRepair(t, m.dir, o); len(again.Damage) > 0 || (again.Torn == nil) != (rep.Torn == nil) {
			rt.Fatalf("a second repair: %q", ranges(again))
		}
		opened, recovery, err := wal.Open(m.dir, wal.Options{FS: unsyncedFS{wal.OS}, Cursor: o.Cursor})
		if err != nil || recovery.End != rep.End {
			rt.Fatalf("%+v, %v, want the end at %d", recovery, err, rep.End)
		}
		opened.Close()
	})
}

// Opening a pipe waits for a process that writes to it.
func TestALockThatIsNoFileHoldsNobodyUp(t *testing.T) {
	for what, put := range notFiles {
		if what == "a broken link" {
			continue // to open it makes the file
		}
		t.Run(what, func(t *testing.T) {
			m := makeJournal(t)
			name := filepath.Join(m.dir, "LOCK")
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			if err := put(name); err != nil {
				t.Fatal(err)
			}
			o := m.options(0)
			o.Apply = true
			_, _, opened := wal.Open(m.dir, wal.Options{})
			_, _, looked := wal.Holder(m.dir, wal.Options{})
			_, repaired := wal.Repair(m.dir, o)
			for _, err := range []error{opened, looked, repaired} {
				if err == nil || !strings.Contains(err.Error(), "LOCK") {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

// A repair that fails removes what it has written: a full disk would stay full.
func TestARepairThatFailsLeavesNoHalfSegment(t *testing.T) {
	for _, op := range []string{"write", "sync"} {
		m := makeJournal(t)
		edit(t, m.segment(0), flip(150))
		fsys := &faultFS{FS: unsyncedFS{wal.OS}}
		failed := false
		fsys.set(func(what, name string) error {
			if what == op && strings.HasSuffix(name, ".part") {
				failed = true
				return errDied
			}
			return nil
		})
		o := m.options(3000)
		o.Apply, o.FS = true, fsys
		if _, err := wal.Repair(m.dir, o); !errors.Is(err, errDied) || !failed {
			t.Fatalf("%s: got %v", op, err)
		}
		if names, err := filepath.Glob(filepath.Join(m.dir, "*.part")); err != nil || len(names) > 0 {
			t.Fatalf("%s: left over: %q, %v", op, names, err)
		}
	}
}

// The name of an empty file may say that any amount of log is missing. The plan names the file before that amount of
// fillers is written.
func TestThePlanNamesTheFileThatAloneSaysHowMuchIsMissing(t *testing.T) {
	m := makeJournal(t)
	stray := m.segment(1 << 44)
	if err := os.WriteFile(stray, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rep := mustRepair(t, m.dir, m.options(3000))
	if len(rep.Damage) != 1 || !strings.Contains(rep.Damage[0].Reason, filepath.Base(stray)+" does not belong") {
		t.Fatalf("%+v", rep.Damage)
	}
}
