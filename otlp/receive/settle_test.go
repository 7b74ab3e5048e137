package receive_test

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/otlp"
	"github.com/auditsql/auditsql/otlp/receive"
	"github.com/auditsql/auditsql/wal"
)

// records are all records of a memory store.
func (m *memoryStore) all(t testing.TB) string {
	t.Helper()
	var all []string
	for id := range m.ids {
		q, err := m.records.GetAudit(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		text, err := q.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(text))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// However the spans of some traces are split into requests, in whatever order these come, and however often, also across a restart: the
// store is the same, when they come before the traces settle.
func TestEverySplitGivesTheSame(t *testing.T) {
	t.Parallel()
	var want string
	play := func(t *testing.T, parts [][]step, restart int) (got string) {
		synctest.Test(t, func(t *testing.T) {
			disk := crashfs.New(1)
			store := newMemoryStore().of(disk.Process(), immortal)
			makeStore(t, disk)
			r := open(t, store, receive.Options{})
			for i, part := range parts {
				if i == restart {
					if err := r.Close(); err != nil {
						t.Fatal(err)
					}
					r = open(t, store, receive.Options{})
				}
				sent(t, r, part...)
			}
			settle()
			if s := r.State(); s.Err != nil || s.Held > 0 {
				t.Errorf("%+v", s)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			got = store.all(t)
		})
		return got
	}
	all := slices.Concat(conversation(1), conversation(2), conversation(3))
	want = play(t, [][]step{all}, -1)
	if n := strings.Count(want, "\n") + 1; n != 3 {
		t.Fatalf("%d records:\n%s", n, want)
	}
	rapid.Check(t, func(rt *rapid.T) {
		spans := rapid.Permutation(slices.Concat(all, all[:rapid.IntRange(0, len(all)).Draw(rt, "twice")])).Draw(rt, "order")
		var parts [][]step
		for len(spans) > 0 {
			n := rapid.IntRange(1, len(spans)).Draw(rt, "part")
			parts, spans = append(parts, spans[:n]), spans[n:]
		}
		if got := play(t, parts, rapid.IntRange(-1, len(parts)-1).Draw(rt, "restart")); got != want {
			rt.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// A trace settles so long after its root, its last span or its first span, and not before.
func TestWhenATraceSettles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New(1)
		makeStore(t, disk)
		store := newMemoryStore().of(disk.Process(), immortal)
		r := open(t, store, receive.Options{})
		has := func(trace int) bool { synctest.Wait(); return store.has(idOf(trace)) }
		pass := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		rooted, rootless := conversation(1), conversation(2)
		sent(t, r, rooted...)
		sent(t, r, rootless[1:]...)
		if pass(6*time.Second - 1); has(1) {
			t.Error("it settled before its time after its root")
		}
		if pass(1); !has(1) || has(2) {
			t.Error("it did not settle after its root")
		}
		if pass(14*time.Second - 1); has(2) {
			t.Error("it settled before its time after its last span")
		}
		if pass(1); !has(2) {
			t.Error("it did not settle after its last span")
		}
		for i := range 5 * 60 / 10 {
			if i > 0 && has(3) {
				t.Errorf("it settled after %d spans", i)
			}
			sent(t, r, step{3, 10 + i, 0x77, "more", nil}, conversation(3)[2])
			pass(10 * time.Second)
		}
		if !has(3) {
			t.Error("it did not settle after its first span")
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// While the store keeps the receiver waiting, no trace settles without spans of it that have come in time.
func TestASlowStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := onDisk(t)
		store.hold = make(chan struct{})
		r := open(t, store, receive.Options{})
		sent(t, r, conversation(1)...)
		time.Sleep(5 * time.Second)
		slow := conversation(2)
		sent(t, r, slow[0], slow[2])
		time.Sleep(2 * time.Second) // the first trace is being stored
		sent(t, r, slow[1], slow[3])
		time.Sleep(time.Minute)
		close(store.hold)
		settle()
		if s := r.State(); s.Counts.Records != 2 || s.Counts.Wrapped != 2 || s.Late != 0 || s.Held != 0 {
			t.Errorf("%+v", s)
		}
		if n := strings.Count(store.all(t), `"answer_hash"`); n != 2 {
			t.Errorf("%d of 2 records have an answer", n)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A span that comes again with other content is a conflict: the first stays. With the same content it adds nothing, whatever is known of
// its trace by then.
func TestASpanThatWasChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := openStore(t, filepath.Join(t.TempDir(), "store"))
		r := open(t, db, receive.Options{})
		sent(t, r, conversation(1)...)
		settle()
		want := stored(t, db)
		sent(t, r, conversation(1)[2]) // without the agent above it
		settle()
		changed := conversation(1)[2]
		changed.attributes = append(changed.attributes, [2]string{"more", "of it"})
		sent(t, r, changed)
		settle()
		if s := r.State(); s.Inserted != 1 || s.Duplicate != 1 || s.Counts.Rejected != 1 || s.Counts.Records != 2 {
			t.Errorf("%+v", s)
		}
		if got := stored(t, db); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %s, want %s", got, want)
		}
		labels, err := db.Labels(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range labels.All() {
			if l.Label == "shop" {
				t.Error("the agent that no record has got a label")
			}
		}
		if err := errors.Join(r.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
}

// Segments go when all their spans have settled, and no spans are joined again that had settled when the receiver ended, although some
// of their trace are still there.
func TestTheInboxBecomesEmpty(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New(1)
		makeStore(t, disk)
		process := disk.Process()
		store := newMemoryStore().of(process, immortal)
		r := open(t, store, receive.Options{})
		for trace := 1; trace <= 40; trace++ {
			sent(t, r, conversation(trace)...)
			time.Sleep(time.Second)
		}
		settle()
		segs, err := wal.Segments("/store/inbox", wal.Options{FS: process})
		if err != nil || len(segs) != 1 || segs[0].Base == 0 {
			t.Errorf("%v, %v", segs, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		before := store.all(t)
		r = open(t, store, receive.Options{})
		settle()
		if s := r.State(); s.Counts.Read > 0 {
			t.Errorf("%+v", s)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if after := store.all(t); after != before || len(store.ids) != 40 {
			t.Errorf("%d records; got\n%s\nwant\n%s", len(store.ids), after, before)
		}
	})
}

// Spans that came after their trace had settled are no part of what a note is about: after a restart they are joined.
func TestSpansAfterTheNote(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := onDisk(t)
		r := open(t, store, receive.Options{})
		sent(t, r, conversation(1)...)
		settle()
		late := conversation(1)[2]
		late.id = 9
		sent(t, r, late)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		r = open(t, store, receive.Options{})
		settle()
		if s := r.State(); s.Counts.Read != 1 || len(store.ids) != 2 {
			t.Errorf("%+v, %d records", s, len(store.ids))
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// While spans of an earlier start wait to be read, the receiver says so, and takes others.
func TestSpansOfAnEarlierStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := onDisk(t)
		r := open(t, store, receive.Options{})
		for trace := 1; trace <= 300; trace++ {
			sent(t, r, conversation(trace)...)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		store.hold = make(chan struct{})
		r = open(t, store, receive.Options{Join: otlp.JoinOptions{MaxSpans: 8}})
		synctest.Wait()
		if s := r.State(); !s.Replaying || s.Err != nil {
			t.Errorf("while the store keeps it waiting: %+v", s)
		}
		sent(t, r, conversation(301)...)
		close(store.hold)
		settle()
		if s := r.State(); s.Replaying || s.Err != nil || len(store.ids) != 301 {
			t.Errorf("%d records, %+v", len(store.ids), s)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// When more is open than may be held, the oldest trace settles early and says so. Nothing is dropped.
func TestMoreThanMayBeHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New(1)
		makeStore(t, disk)
		store := newMemoryStore().of(disk.Process(), immortal)
		r := open(t, store, receive.Options{Join: otlp.JoinOptions{MaxSpans: 100}})
		const traces = 300
		for trace := 1; trace <= traces; trace++ {
			sent(t, r, conversation(trace)[1:]...) // without roots
		}
		synctest.Wait()
		s := r.State()
		if s.Held > 100 || s.Early == 0 {
			t.Errorf("%+v", s)
		}
		settle()
		if len(store.ids) != traces {
			t.Errorf("%d records", len(store.ids))
		}
		if n := strings.Count(store.all(t), `"joined":"early"`); uint64(n) != s.Early {
			t.Errorf("%d records say that they were joined early, and %d traces were", n, s.Early)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

var rootless = flag.Int("rootless", 4000, "how many traces TestTracesWithoutRoots sends")

// Traces that never have a root take a bounded memory, and each has its record in the store. The early ones say so.
//
//	go test -run TracesWithoutRoots -rootless 1000000 -timeout 60m -v
func TestTracesWithoutRoots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := openStore(t, filepath.Join(t.TempDir(), "store"))
		var join otlp.JoinOptions // for a million traces the usual bound
		if *rootless < 1_000_000 {
			join.MaxSpans = *rootless / 2
		}
		r := open(t, db, receive.Options{Join: join})
		var most, inbox uint64
		const together = 500
		for first := 1; first <= *rootless; first += together {
			var all []step
			for trace := first; trace < first+together && trace <= *rootless; trace++ {
				all = append(all, conversation(trace)[2:]...)
			}
			sent(t, r, all...)
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most, inbox = max(most, m.HeapAlloc), max(inbox, uint64(r.State().InboxBytes))
		}
		settle()
		s := r.State()
		if s.Err != nil || s.Held > 0 || s.Early == 0 || s.Inserted != uint64(*rootless) {
			t.Errorf("%+v", s)
		}
		stats, err := db.Stats(t.Context())
		if err != nil || stats.Audits != uint64(*rootless) {
			t.Errorf("%d records, %v", stats.Audits, err)
		}
		t.Logf("%d traces, %d of them early; the heap had at most %d MiB, and the inbox %d MiB", *rootless, s.Early, most>>20, inbox>>20)
		if err := errors.Join(r.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
}

// When the disk of the inbox is full, requests have 503. When there is room again, the receiver goes on by itself.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New(1)
		makeStore(t, disk)
		store := newMemoryStore().of(disk.Process(), immortal)
		r := open(t, store, receive.Options{})
		sent(t, r, conversation(1)...)
		disk.Hook(func(c crashfs.Call) crashfs.Verdict {
			if c.Op == crashfs.OpWrite || c.Op == crashfs.OpCreate {
				return crashfs.NoSpace
			}
			return crashfs.Pass
		})
		for range 3 {
			if a, aborted := post(r, inProto(t, request(conversation(2)...))); aborted || a.Code != http.StatusServiceUnavailable || a.Header().Get("Retry-After") == "" {
				t.Errorf("status %d: %q", a.Code, a.Body)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		if s := r.State(); s.Err == nil || errors.Is(s.Err, receive.ErrDamaged) {
			t.Errorf("%+v", s)
		}
		disk.Hook(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		sent(t, r, conversation(2)...)
		settle()
		if s := r.State(); s.Err != nil || !store.has(idOf(1)) || !store.has(idOf(2)) || len(store.ids) != 2 {
			t.Errorf("%+v, %v", s, store.ids)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A trace whose record the store did not take has not settled: after a restart it becomes one.
func TestAPutThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := onDisk(t)
		failing := true
		store.dead = func() bool { return failing }
		r := open(t, store, receive.Options{})
		sent(t, r, conversation(1)...)
		settle()
		if s := r.State(); s.Err == nil || len(store.ids) > 0 {
			t.Errorf("%+v", s)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		failing = false
		r = open(t, store, receive.Options{})
		settle()
		if s := r.State(); s.Err != nil || len(store.ids) != 1 {
			t.Errorf("%+v, %d records", s, len(store.ids))
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A store that takes no more records, and a receiver that ends, have 503 as well.
func TestClosing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New(1)
		makeStore(t, disk)
		store := newMemoryStore().of(disk.Process(), immortal)
		r := open(t, store, receive.Options{})
		body := inProto(t, request(conversation(1)...))
		unavailable := func(when string) {
			t.Helper()
			if a, aborted := post(r, body); aborted || a.Code != http.StatusServiceUnavailable || a.Header().Get("Retry-After") == "" {
				t.Errorf("%s: status %d: %q", when, a.Code, a.Body)
			}
		}
		store.failed = errors.New("the disk is broken")
		unavailable("the store has failed")
		store.failed = audit.ErrClosed
		unavailable("the store is closed")
		store.failed = nil
		sent(t, r, conversation(1)...)
		r.Drain()
		unavailable("draining")
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		unavailable("closed")
		if len(store.ids) != 0 {
			t.Error("a trace that had not settled became a record")
		}
		r = open(t, store, receive.Options{})
		settle()
		if err := r.Close(); err != nil || len(store.ids) != 1 {
			t.Errorf("%v, %d records", err, len(store.ids))
		}
		if _, err := receive.Open(&memoryStore{failed: audit.ErrReadOnly}, receive.Options{}); !errors.Is(err, audit.ErrReadOnly) {
			t.Errorf("got %v", err)
		}
	})
}
