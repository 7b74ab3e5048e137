package audit_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

var origin = audit.Origin{Log: "stream AUDIT", ID: "2026-11-23T10:00:00Z", StoreID: strings.Repeat("5a", 16), Unit: audit.Milliseconds}

func openFollower(t testing.TB, dir string, opts ...audit.Option) *audit.Follower {
	t.Helper()
	f, err := audit.OpenFollower(dir, origin, append([]audit.Option{audit.WithReads(audit.Acknowledged)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// messages are samples from to to, the first with the number seq.
func messages(t testing.TB, seq uint64, from, to int) (ms []audit.Message) {
	t.Helper()
	for i := from; i < to; i++ {
		q := sample(i)
		ms = append(ms, audit.Message{Sequence: seq, Payload: []byte(canonical(t, &q))})
		seq++
	}
	return ms
}

func applyAll(t testing.TB, f *audit.Follower, ms ...audit.Message) []audit.Outcome {
	t.Helper()
	outcomes, err := f.Apply(t.Context(), ms)
	if err != nil || len(outcomes) != len(ms) {
		t.Fatalf("%d messages have %d outcomes, %v", len(ms), len(outcomes), err)
	}
	if last := ms[len(ms)-1].Sequence; f.Cursor() != last {
		t.Fatalf("the cursor is %d after message %d", f.Cursor(), last)
	}
	return outcomes
}

// mixed is a row of messages of every kind, with their outcomes.
func mixed(t testing.TB) (ms []audit.Message, want []audit.Outcome) {
	other := sample(1)
	other.ResultConfidence = 0.25
	refused := messages(t, 0, 9, 10)[0]
	refused.Refuse = "nobody knows what was published"
	for i, m := range []struct {
		audit.Message
		want audit.Outcome
	}{
		{messages(t, 0, 1, 2)[0], audit.New},
		{messages(t, 0, 2, 3)[0], audit.New},
		{messages(t, 0, 1, 2)[0], audit.Duplicate},
		{audit.Message{Payload: []byte(canonical(t, &other))}, audit.Conflict},
		{audit.Message{Payload: []byte(`{"query_id":"no"}`)}, audit.Poison},
		{audit.Message{Barrier: true}, audit.Passed},
		{audit.Message{}, audit.Poison},
		{refused, audit.Poison},
		{audit.Message{Payload: append([]byte(" "), messages(t, 0, 3, 4)[0].Payload...)}, audit.Poison},
		{messages(t, 0, 3, 4)[0], audit.New},
		{audit.Message{Payload: slices.Repeat([]byte(" "), audit.MaxEncoded+1)}, audit.Poison},
	} {
		m.Sequence = uint64(i + 1)
		ms, want = append(ms, m.Message), append(want, m.want)
	}
	return ms, want
}

// What becomes of a message does not depend on how the messages are given.
func TestEachMessageHasAnOutcome(t *testing.T) {
	t.Parallel()
	ms, want := mixed(t)
	var roots []tree.Hash
	for _, size := range []int{1, 2, 3, len(ms)} {
		dir := filepath.Join(t.TempDir(), "store")
		f := openFollower(t, dir)
		if f.Cursor() != 0 || !f.Recovery().Created {
			t.Fatalf("cursor %d, %+v", f.Cursor(), f.Recovery())
		}
		var got []audit.Outcome
		for part := range slices.Chunk(ms, size) {
			got = append(got, applyAll(t, f, part...)...)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("outcomes are %v, want %v", got, want)
		}
		n, root, err := f.Root(t.Context())
		if err != nil || n != 3 {
			t.Fatalf("%d records, %v", n, err)
		}
		roots = append(roots, root)
		wantBytes(t, f.DB, sample(1), "the first record")
		stats, err := f.Stats(t.Context())
		if err != nil || stats.Rejected != 6 || stats.Follows != origin.Log || uint64(stats.Applied) != ms[len(ms)-1].Sequence || !stats.Writing {
			t.Fatalf("stats: %+v, %v", stats, err)
		}
		if report := must(f.Verify(t.Context(), audit.VerifyOptions{})); !report.OK() || report.Follows != origin.Log || report.Rejected != 6 {
			t.Fatalf("%+v", report)
		}
		seq, raw, ok, err := f.Newest(t.Context())
		if err != nil || !ok || seq != 10 || string(raw) != string(ms[9].Payload) {
			t.Fatalf("the newest is %d, %s, %v", seq, raw, err)
		}
	}
	for _, root := range roots {
		if root != roots[0] {
			t.Errorf("the roots differ: %v", roots)
		}
	}
}

// The copy of a log has the same tree as a store that was given the same records.
func TestAFollowerHasTheRootOfAStoreWithTheSameRecords(t *testing.T) {
	t.Parallel()
	f := openFollower(t, t.TempDir())
	applyAll(t, f, messages(t, 1, 0, 500)...)
	db := openDB(t, t.TempDir())
	lines := putSamples(t, db, 0, 500)
	_, want, err := db.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n, root, err := f.Root(t.Context()); err != nil || n != 500 || root != want {
		t.Errorf("%d records have root %v, %v; want %v", n, root, err, want)
	}
	wantAll(t, f.DB, lines)
}

func TestOnlyTheMessageThatComesNextIsApplied(t *testing.T) {
	t.Parallel()
	f := openFollower(t, t.TempDir())
	applyAll(t, f, messages(t, 1, 0, 3)...)
	for _, ms := range [][]audit.Message{
		messages(t, 3, 2, 5), // one again
		messages(t, 5, 4, 6), // one is missing before them
		append(messages(t, 4, 3, 4), messages(t, 6, 5, 6)...), // one is missing between them
	} {
		var wrong *audit.SequenceError
		if _, err := f.Apply(t.Context(), ms); !errors.As(err, &wrong) || !errors.Is(err, wal.ErrGap) {
			t.Errorf("messages from %d on: %v", ms[0].Sequence, err)
		}
		if f.Cursor() != 3 {
			t.Fatalf("the cursor is %d", f.Cursor())
		}
	}
	applyAll(t, f, messages(t, 4, 3, 5)...)
	wantSound(t, f.DB)
}

func TestAFollowerTakesNoPuts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := openFollower(t, dir)
	applyAll(t, f, messages(t, 1, 0, 3)...)
	q := sample(7)
	_, put := f.PutAudit(t.Context(), &q)
	_, until := f.PutUntilRefused(t.Context(), []*audit.QueryAudit{&q})
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, opened := audit.Open(dir)
	_, recovered := audit.Recover(t.Context(), dir)
	_, made := audit.Init(t.Context(), dir)
	_, repaired := audit.Repair(t.Context(), dir, audit.RepairOptions{})
	_, records := audit.RepairRecords(t.Context(), dir, audit.RepairOptions{Apply: true})
	for what, err := range map[string]error{"put": put, "put until refused": until, "open": opened, "recover": recovered, "init": made, "repair": repaired, "repair records": records} {
		var follows *audit.FollowsError
		if !errors.Is(err, audit.ErrFollows) || !errors.As(err, &follows) || follows.Log != origin.Log || !strings.Contains(err.Error(), origin.Log) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if why, err := audit.NeedsRecovery(t.Context(), dir); why != "" || err != nil {
		t.Errorf("it needs recovery: %s, %v", why, err)
	}
	reader := openDB(t, dir, audit.ReadOnly())
	wantBytes(t, reader, sample(2), "read alone")
	if lag, err := reader.Lag(t.Context()); err != nil || lag.Records != 0 {
		t.Errorf("lag: %+v, %v", lag, err)
	}
	if o := reader.Follows(); o == nil || *o != origin {
		t.Errorf("it follows %+v", o)
	}
}

func TestAFollowerFollowsOneLogForGood(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := openFollower(t, dir)
	applyAll(t, f, messages(t, 1, 0, 3)...)
	if _, err := audit.OpenFollower(dir, origin); !errors.Is(err, audit.ErrLocked) {
		t.Errorf("a second writer: %v", err)
	}
	closeDB(t, f.DB)
	for what, change := range map[string]func(*audit.Origin){
		"another store":     func(o *audit.Origin) { o.StoreID = strings.Repeat("6b", 16) },
		"a log made again":  func(o *audit.Origin) { o.ID = "2026-11-24T10:00:00Z" },
		"another time unit": func(o *audit.Origin) { o.Unit = audit.Nanoseconds },
	} {
		o := origin
		change(&o)
		if _, err := audit.OpenFollower(dir, o); !errors.Is(err, audit.ErrMismatch) {
			t.Errorf("%s: %v", what, err)
		}
	}
	own := t.TempDir()
	closeDB(t, openDB(t, own))
	if _, err := audit.OpenFollower(own, origin); !errors.Is(err, audit.ErrMismatch) {
		t.Errorf("a store with a journal: %v", err)
	}
	renamed := origin
	renamed.Log = "stream AUDIT at another address"
	again, err := audit.OpenFollower(dir, renamed)
	if err != nil {
		t.Fatal(err)
	}
	if again.Cursor() != 3 || again.Follows().Log != renamed.Log {
		t.Errorf("cursor %d, %+v", again.Cursor(), again.Follows())
	}
	closeDB(t, again.DB)
}

// That a log was not proven to keep what it acknowledges stays known when it is proven later.
func TestAnUnprovenLogStaysNoted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	unproven := origin
	unproven.Unproven = true
	f, err := audit.OpenFollower(dir, unproven)
	if err != nil {
		t.Fatal(err)
	}
	closeDB(t, f.DB)
	again := openFollower(t, dir)
	closeDB(t, again.DB)
	db := openDB(t, dir, audit.ReadOnly())
	if stats := must(db.Stats(t.Context())); !db.Follows().Unproven || !strings.Contains(stats.Follows, "not proven") {
		t.Errorf("stats: %q", stats.Follows)
	}
}

// An older version of this program does not know stores that follow a log, and must not write there.
func TestAStoreThatFollowsALogHasAFormatOfItsOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	closeDB(t, openFollower(t, dir).DB)
	name := filepath.Join(dir, "store.json")
	text := string(must(os.ReadFile(name)))
	if !strings.Contains(text, `"format": 3`) {
		t.Fatal(text)
	}
	for what, change := range map[string]string{"the old format": `"format": 2`, "a newer one": `"format": 4`} {
		if err := os.WriteFile(name, []byte(strings.Replace(text, `"format": 3`, change, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		// A store.json that cannot be read is derived from the database, which says what the store follows.
		if db, err := audit.Open(dir); err == nil {
			db.Close()
			t.Errorf("%s: it was opened", what)
		}
	}
	own := t.TempDir()
	closeDB(t, openDB(t, own))
	if text := string(must(os.ReadFile(filepath.Join(own, "store.json")))); !strings.Contains(text, `"format": 2`) || strings.Contains(text, "follows") {
		t.Errorf("a store on one machine has another file: %s", text)
	}
}

func TestAFollowerThatHasLostStoreJSON(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := openFollower(t, dir)
	applyAll(t, f, messages(t, 1, 0, 3)...)
	closeDB(t, f.DB)
	if err := os.Remove(filepath.Join(dir, "store.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(dir); !errors.Is(err, audit.ErrFollows) {
		t.Fatalf("open: %v", err)
	}
	again := openFollower(t, dir)
	if again.Cursor() != 0 || again.Recovery().Aside == "" {
		t.Fatalf("cursor %d, %+v", again.Cursor(), again.Recovery())
	}
	applyAll(t, again, messages(t, 1, 0, 5)...)
	wantSound(t, again.DB)
}

func TestTailOfAFollower(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := openFollower(t, dir)
	ms, _ := mixed(t)
	applyAll(t, f, ms...)
	reader := openDB(t, dir, audit.ReadOnly())
	for name, db := range map[string]*audit.DB{"the writer": f.DB, "a reader": reader} {
		var got []string
		for raw, err := range db.Tail(t.Context(), 2, false) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(raw))
		}
		if want := []string{string(ms[1].Payload), string(ms[9].Payload)}; !slices.Equal(got, want) {
			t.Errorf("%s: the last two are %s", name, got)
		}
		if _, end, err := db.TailRange(t.Context()); err != nil || end != 12 {
			t.Errorf("%s: the range ends at %d, %v", name, end, err)
		}
		for _, err := range db.TailAfter(t.Context(), 13) {
			if !errors.Is(err, wal.ErrRewound) {
				t.Errorf("%s: after the end: %v", name, err)
			}
		}
	}
	// Each tail goes on with what comes.
	for name, db := range map[string]*audit.DB{"the writer": f.DB, "a reader": reader} {
		ctx, cancel := context.WithCancel(t.Context())
		next := audit.Offset(2)
		var seen []audit.Offset
		for rec, err := range db.TailAfter(ctx, next) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if seen = append(seen, rec.Offset); rec.Next != rec.Offset+1 {
				t.Errorf("%s: after %d comes %d", name, rec.Offset, rec.Next)
			}
			if len(seen) == 2 {
				cursor := f.Cursor()
				applyAll(t, f, messages(t, cursor+1, int(cursor)+100, int(cursor)+101)...)
			}
			if len(seen) >= 3 && uint64(rec.Offset) == f.Cursor() {
				cancel()
			}
		}
		if !slices.IsSorted(seen) || len(seen) < 3 || seen[0] != 2 || seen[1] != 10 {
			t.Errorf("%s: it yields %v", name, seen)
		}
		cancel()
	}
}

func TestACopyOfAFollowerGoesOn(t *testing.T) {
	t.Parallel()
	dir, dest := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	f := openFollower(t, dir)
	applyAll(t, f, messages(t, 1, 0, 50)...)
	if report, err := f.Backup(t.Context(), dest); err != nil || report.Audits != 50 || report.Applied != 50 {
		t.Fatalf("%+v, %v", report, err)
	}
	applyAll(t, f, messages(t, 51, 50, 60)...)
	copied := openFollower(t, dest)
	if copied.Cursor() != 50 || copied.Recovery().Aside != "" {
		t.Fatalf("cursor %d, %+v", copied.Cursor(), copied.Recovery())
	}
	applyAll(t, copied, messages(t, 51, 50, 60)...)
	_, want, err := f.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n, root, err := copied.Root(t.Context()); err != nil || n != 60 || root != want {
		t.Errorf("%d records, %v, %v", n, root, err)
	}
	wantSound(t, copied.DB)
}

// An Apply that its caller did not wait for is waited for by the next one.
func TestAnApplyThatWasInterrupted(t *testing.T) {
	t.Parallel()
	f := openFollower(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Apply(ctx, messages(t, 1, 0, 10)); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	// It was given to the applier, or not.
	for f.Cursor() < 20 {
		from := f.Cursor()
		_, err := f.Apply(t.Context(), messages(t, from+1, int(from), 20))
		if err != nil && !errors.Is(err, wal.ErrGap) {
			t.Fatal(err)
		}
	}
	if n, _, err := f.Root(t.Context()); err != nil || n != 20 {
		t.Errorf("%d records, %v", n, err)
	}
	wantSound(t, f.DB)
}

// The last records of a store that follows a log are what there is: it does not wait for more.
func TestLastRecordsOfAFollower(t *testing.T) {
	t.Parallel()
	f := openFollower(t, filepath.Join(t.TempDir(), "store"))
	ms := messages(t, 1, 0, 5)
	applyAll(t, f, ms...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	newest, err := f.LastRecords(ctx, 3, audit.Filter{})
	if err != nil || len(newest.Records) != 3 {
		t.Fatalf("%+v, %v", newest, err)
	}
	for i, rec := range newest.Records {
		if string(rec.Raw) != string(ms[2+i].Payload) {
			t.Errorf("record %d is %s", i, rec.Raw)
		}
	}
	for rec, err := range f.Follow(ctx, newest.Next, false) {
		t.Errorf("after the last one comes %s, %v", rec.Raw, err)
	}
}
