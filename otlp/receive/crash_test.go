package receive_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/otlp"
	"github.com/auditsql/auditsql/otlp/receive"
	"github.com/auditsql/auditsql/wal"
)

const (
	crashTraces = 24
	// Small segments, so that some are removed while others still have spans of the same traces.
	crashSegment = 3000
)

// However the process or the power ends, at each call that the inbox makes on its disk: each trace whose spans were answered with 200 has
// its record after settling, with the bytes that it has without a crash. A wrapper never becomes a record. What was not answered is
// sent again, as exporters do.
func TestTheProcessEndsAtAnyCall(t *testing.T) {
	t.Parallel()
	want, calls := playCrash(t, 0, crashfs.Pass)
	step := 3
	if testing.Short() {
		step = 29
	}
	points := 0
	for k := 1; k <= calls && !t.Failed(); k += step {
		for _, v := range []crashfs.Verdict{crashfs.KillIt, crashfs.CutPower, crashfs.IO, crashfs.Short} {
			points++
			if got, _ := playCrash(t, k, v); got != want {
				t.Fatalf("call %d meets verdict %d: got\n%s\nwant\n%s", k, v, got, want)
			}
		}
	}
	t.Logf("%d calls, %d fault points", calls, points)
}

func playCrash(t *testing.T, k int, v crashfs.Verdict) (records string, calls int) {
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New(uint64(k))
		makeStore(t, disk)
		base := newMemoryStore()
		base.segment = crashSegment
		made := 0
		disk.Hook(func(c crashfs.Call) crashfs.Verdict {
			if made++; made == k {
				return v
			}
			return crashfs.Pass
		})
		process := disk.Process()
		store := base.of(process, process.Dead)
		r := open(t, store, receive.Options{})
		crashed := func() {
			if !process.Dead() {
				return
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			process = disk.Process()
			store = base.of(process, process.Dead)
			r = open(t, store, receive.Options{})
		}
		give := func(steps ...step) {
			for try := 0; ; try++ {
				a, aborted := post(r, inProto(t, request(steps...)))
				if !aborted && a.Code == http.StatusOK {
					return
				}
				if try == 20 {
					t.Fatalf("call %d meets verdict %d: status %d: %q; %v", k, v, a.Code, a.Body, r.State().Err)
				}
				crashed()
				time.Sleep(time.Second) // not so long that a half of a trace would settle
				synctest.Wait()
			}
		}
		for trace := 1; trace <= crashTraces; trace++ {
			all := conversation(trace)
			give(all[1:3]...)
			if trace%3 == 0 {
				time.Sleep(3 * time.Second)
			}
			give(all[0], all[3])
			synctest.Wait()
			crashed()
		}
		for range 2 { // it may also die while they settle
			settle()
			crashed()
		}
		settle()
		if s := r.State(); s.Err != nil || s.Held > 0 {
			t.Errorf("call %d meets verdict %d: %+v", k, v, s)
		}
		calls = disk.Calls()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		records = base.all(t)
		if len(base.ids) != crashTraces {
			t.Errorf("call %d meets verdict %d: %d records", k, v, len(base.ids))
		}
	})
	return records, calls
}

const firstSegment = "/store/inbox/0000000000000000.wal"

// filled is an inbox with three traces, one request each, none of which has settled. Its process was killed, or it was closed.
func filled(t *testing.T, closed bool) (*crashfs.Disk, *memoryStore, []wal.Record) {
	disk := crashfs.New(1)
	makeStore(t, disk)
	base := newMemoryStore()
	base.segment = 1 << 20
	process := disk.Process()
	r := open(t, base.of(process, process.Dead), receive.Options{})
	for trace := 1; trace <= 3; trace++ {
		sent(t, r, conversation(trace)...)
	}
	reader, err := wal.OpenReader("/store/inbox", 0, wal.Options{FS: process})
	if err != nil {
		t.Fatal(err)
	}
	var all []wal.Record
	for range 12 {
		rec, err := reader.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rec)
	}
	reader.Close()
	if !closed {
		process.Kill()
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	process.Kill()
	return disk, base, all
}

// The process dies, and the end of its inbox is cut at any byte: what is left becomes records, or the damage is told. The receiver always
// opens, and so does the store.
func TestTheInboxIsCutAtAnyByte(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	end := 0
	synctest.Test(t, func(t *testing.T) {
		_, _, all := filled(t, false)
		end = int(all[len(all)-1].Next)
	})
	step := 1
	if testing.Short() {
		step = 13
	}
	damaged := 0
	for cut := 0; cut <= end; cut += step {
		synctest.Test(t, func(t *testing.T) {
			disk, base, all := filled(t, false)
			if !disk.Damage(firstSegment, func(b []byte) []byte { return b[:cut] }) {
				t.Fatal("there is no such file")
			}
			process := disk.Process()
			r := open(t, base.of(process, process.Dead), receive.Options{})
			settle()
			s := r.State()
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if s.Err != nil {
				if damaged++; !errors.Is(s.Err, receive.ErrDamaged) {
					t.Errorf("cut at %d: %v", cut, s.Err)
				}
				if a, _ := post(r, nil); a.Code != http.StatusServiceUnavailable {
					t.Errorf("cut at %d: status %d", cut, a.Code)
				}
				return
			}
			for i, rec := range all {
				span, err := otlp.DecodeReduced(rec.Payload)
				if err != nil {
					t.Fatal(err)
				}
				if whole := int(rec.Next) <= cut; i%4 == 2 && base.ids[otlp.QueryID(span.Trace, span.Span)] != whole {
					t.Errorf("cut at %d: the retrieval at %d to %d has a record: %t", cut, rec.Offset, rec.Next, !whole)
				}
			}
		})
	}
	t.Logf("%d cuts, %d of them told as damage", end/step+1, damaged)
}

// One bit of a synced inbox changes. No span that was acknowledged is lost in silence: either the inbox is damaged and requests have 503, or the
// change is in the newest request, is told with its place, and all other spans become records.
func TestABitOfTheInboxIsFlipped(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	for _, closed := range []bool{false, true} {
		end := 0
		synctest.Test(t, func(t *testing.T) {
			disk, _, _ := filled(t, closed)
			b, _ := disk.Read(firstSegment)
			end = len(bytes.TrimRight(b, "\x00"))
		})
		step := 11 // package wal flips a bit of each byte
		if testing.Short() {
			step = 37
		}
		refused, told := 0, 0
		for at := 0; at < end; at += step {
			synctest.Test(t, func(t *testing.T) {
				disk, base, all := filled(t, closed)
				if !disk.Damage(firstSegment, func(b []byte) []byte { b[at] ^= 1 << (at % 8); return b }) {
					t.Fatal("there is no such file")
				}
				var said bytes.Buffer
				process := disk.Process()
				store := base.of(process, process.Dead)
				r := open(t, store, receive.Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
				settle()
				s := r.State()
				defer r.Close()
				store.mu.Lock()
				defer store.mu.Unlock()
				if s.Lost.Bytes != store.lost || (s.Err != nil) != (store.damage != "") || strings.Contains(store.damage, receive.ErrDamaged.Error()) {
					t.Errorf("byte %d: the store is told %q, %d: %+v", at, store.damage, store.lost, s)
				}
				if s.Err != nil {
					if refused++; !errors.Is(s.Err, receive.ErrDamaged) || s.Lost.Ranges > 0 {
						t.Errorf("byte %d: %+v", at, s)
					}
					return
				}
				if told++; s.Lost.Ranges != 1 || s.Lost.Bytes == 0 {
					t.Errorf("byte %d: %+v", at, s)
				}
				kept := disk.List("/store/inbox/quarantine")
				if len(kept) != 1 || !strings.Contains(said.String(), "spans that were acknowledged may be lost") || !strings.Contains(said.String(), kept[0]) ||
					strings.Contains(said.String(), "not acknowledged") {
					t.Errorf("byte %d: %q is kept: %s", at, kept, &said)
				}
				for i, rec := range all {
					span, err := otlp.DecodeReduced(rec.Payload)
					if err != nil {
						t.Fatal(err)
					}
					hit := int(rec.Offset) <= at && at < int(rec.Next)
					if i%4 == 2 && base.ids[otlp.QueryID(span.Trace, span.Span)] == hit {
						t.Errorf("byte %d: the retrieval at %d to %d has a record: %t", at, rec.Offset, rec.Next, !hit)
					}
				}
			})
		}
		t.Logf("closed %t: %d bytes, %d times the inbox is refused, %d times it is told that spans may be lost", closed, end, refused, told)
		if refused == 0 || told == 0 {
			t.Errorf("closed %t: %d times the inbox is refused, %d times it is told that spans may be lost", closed, refused, told)
		}
	}
}

// Damage in the middle of the inbox is told: requests have 503, and the store opens, is verified with this problem, and says so in its
// statistics. A repair makes the rest readable.
func TestADamagedInbox(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openStore(t, dir)
	r := open(t, db, receive.Options{})
	for first := 1; first <= 200; first += 20 {
		var all []step
		for trace := first; trace < first+20; trace++ {
			all = append(all, conversation(trace)...)
		}
		sent(t, r, all...)
	}
	if err := errors.Join(r.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(audit.InboxDir(dir), "0000000000000000.wal")
	damage(t, name, 5000)

	db = openStore(t, dir)
	r = open(t, db, receive.Options{})
	if s := r.State(); !errors.Is(s.Err, receive.ErrDamaged) {
		t.Errorf("%+v", s)
	}
	if a, _ := post(r, inProto(t, request(conversation(1)...))); a.Code != http.StatusServiceUnavailable || a.Header().Get("Retry-After") == "" {
		t.Errorf("status %d: %q", a.Code, a.Body)
	}
	for range 2 {
		stats, err := db.Stats(t.Context())
		if err != nil || stats.Inbox == nil || stats.Inbox.Open || stats.Inbox.Damage == "" {
			t.Errorf("%+v, %v", stats.Inbox, err)
		}
	}
	report, err := db.Verify(t.Context(), audit.VerifyOptions{})
	if err != nil || report.Total != 1 || len(report.Problems) != 1 || report.Problems[0][:6] != "inbox:" {
		t.Errorf("%q, %v", report.Problems, err)
	}
	if err := errors.Join(r.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	for _, apply := range []bool{false, true} {
		repaired, err := audit.RepairInbox(t.Context(), dir, audit.RepairOptions{Apply: apply})
		if err != nil || len(repaired.Journal.Damage) != 1 || repaired.Journal.Applied != apply {
			t.Fatalf("%+v, %v", repaired.Journal, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		db := openStore(t, dir)
		r := open(t, db, receive.Options{})
		settle()
		s := r.State()
		if s.Err != nil || s.Counts.Read < 790 || s.Counts.Read >= 800 {
			t.Errorf("%+v", s)
		}
		stats, err := db.Stats(t.Context())
		if err != nil || stats.Inbox == nil || !stats.Inbox.Open || stats.Inbox.Damage != "" {
			t.Errorf("%+v, %v", stats.Inbox, err)
		}
		copied, err := db.Backup(t.Context(), filepath.Join(t.TempDir(), "copy"))
		if err != nil || !copied.InboxLeft {
			t.Errorf("%+v, %v", copied, err)
		}
		if _, err := readFile(filepath.Join(audit.InboxDir(copied.Dir), "LOCK")); err == nil {
			t.Error("the copy has an inbox")
		}
		if err := errors.Join(r.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
}

// damage changes a byte of a file.
func damage(t testing.TB, name string, at int) {
	t.Helper()
	b, err := readFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1
	if err := writeFile(name, b); err != nil {
		t.Fatal(fmt.Errorf("damage %s: %w", name, err))
	}
}
