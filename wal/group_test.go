package wal_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/auditsql/auditsql/wal"
)

func TestManyWritersAtEveryLevel(t *testing.T) {
	t.Parallel()
	for name, level := range map[string]wal.Durability{
		"each": wal.SyncEach, "group": wal.SyncGroup, "interval": wal.SyncInterval(time.Millisecond),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var synced atomic.Int64
			j, _ := open(t, dir, wal.Options{
				Durability: level, SegmentBytes: 20_000, Preallocate: 4096,
				OnSync: func(s wal.Synced) { synced.Add(int64(s.Records)) },
			})
			const writers, each = 16, 40
			var mu sync.Mutex
			at := map[wal.Offset]string{}
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for i := range each {
						p := fmt.Sprintf("{writer %d record %d}", w, i)
						off, err := j.Append(context.Background(), []byte(p))
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						at[off] = p
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if len(at) != writers*each || synced.Load() != writers*each {
				t.Fatalf("%d offsets, %d records synced", len(at), synced.Load())
			}
			rep, err := wal.VerifyContext(context.Background(), dir, wal.Options{}, func(r wal.Record) error {
				if at[r.Offset] != string(r.Payload) {
					return fmt.Errorf("at %d: %q, want %q", r.Offset, r.Payload, at[r.Offset])
				}
				return nil
			})
			if err != nil || rep.Records != writers*each || rep.Segments < 2 || len(rep.Damage) > 0 {
				t.Fatalf("%+v, %v", rep, err)
			}
		})
	}
}

// One sync serves all appends that came while the sync before it was under way.
func TestAppendsThatWaitShareASync(t *testing.T) {
	fsys := &faultFS{FS: wal.OS}
	var records []int
	j, _ := open(t, t.TempDir(), wal.Options{FS: fsys, OnSync: func(s wal.Synced) { records = append(records, s.Records) }})
	enter, leave := make(chan bool), make(chan bool)
	fsys.set(func(op, _ string) error {
		if op == "sync" {
			fsys.set(nil)
			enter <- true
			<-leave
		}
		return nil
	})
	ctx := context.Background()
	first, err := j.Start(ctx, [][]byte{[]byte("{1}")})
	if err != nil {
		t.Fatal(err)
	}
	<-enter
	var rest []*wal.Ticket
	for range 9 {
		ticket, err := j.Start(ctx, [][]byte{[]byte("{2}"), []byte("{3}")})
		if err != nil {
			t.Fatal(err)
		}
		rest = append(rest, ticket)
	}
	leave <- true
	for _, ticket := range append(rest, first) {
		if _, err := ticket.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	j.Close()
	if !slices.Equal(records, []int{1, 18}) {
		t.Fatalf("records a sync: %v", records)
	}
}

func TestBadPayloadsAreRefusedAndNothingOfTheirBatchIsStored(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{MaxPayload: 5000})
	for _, bad := range []string{"", "\x01mark", "\x02", "\x1f", strings.Repeat("x", 5001)} {
		_, err := j.AppendBatch(context.Background(), [][]byte{[]byte("{good}"), []byte(bad)})
		if !errors.Is(err, wal.ErrPayload) {
			t.Errorf("%.10q: %v", bad, err)
		}
	}
	appendOne(t, j, strings.Repeat(" ", 5000))
	if offs, err := j.AppendBatch(context.Background(), nil); err != nil || len(offs) != 0 {
		t.Errorf("empty batch: %v, %v", offs, err)
	}
	if got := readAll(t, dir, 0, wal.Options{}); len(got) != 1 {
		t.Fatalf("%d records", len(got))
	}
}

var errDisk = errors.New("disk on fire")

// After a call on a file has failed nothing more is acknowledged, and opening again finds what was acknowledged.
func TestAFailurePoisons(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"write", "sync", "create", "syncdir"} {
		t.Run(op, func(t *testing.T) {
			dir := t.TempDir()
			fsys := &faultFS{FS: wal.OS}
			j, _ := open(t, dir, wal.Options{FS: fsys, SegmentBytes: 1000})
			want := payloads(3, 100)
			appendAll(t, j, want)
			fsys.set(func(o, name string) error {
				if o == op {
					fsys.set(nil) // it fails once: trying again would succeed, and must not be tried
					return errDisk
				}
				return nil
			})
			var err error
			for i := 0; err == nil && i < 100; i++ {
				p := fmt.Sprintf("{more %d%s}", i, strings.Repeat("y", 90))
				if _, err = j.Append(context.Background(), []byte(p)); err == nil {
					want = append(want, p)
				}
			}
			if !errors.Is(err, wal.ErrFailed) || !errors.Is(err, errDisk) {
				t.Fatalf("got %v", err)
			}
			if _, again := j.Append(context.Background(), []byte("{later}")); !errors.Is(again, errDisk) {
				t.Fatalf("a later append: %v", again)
			}
			if err := j.Err(); !errors.Is(err, wal.ErrFailed) {
				t.Fatalf("Err: %v", err)
			}
			if got := readAll(t, dir, 0, wal.Options{FS: fsys}); !slices.Equal(got, want) {
				t.Fatalf("a reader in this process sees %d records, %d were acknowledged", len(got), len(want))
			}
			if err := j.Close(); !errors.Is(err, wal.ErrFailed) {
				t.Fatalf("Close: %v", err)
			}
			j, _ = open(t, dir, wal.Options{SegmentBytes: 1000})
			appendOne(t, j, "{after}")
			got := readAll(t, dir, 0, wal.Options{})
			if len(got) < len(want)+1 || len(got) > len(want)+2 || !slices.Equal(got[:len(want)], want) {
				t.Fatalf("after reopening: %d records, %d were acknowledged", len(got), len(want))
			}
		})
	}
}

// Nobody can find what is written to a file that has lost its name.
func TestFilesTakenAwayPoison(t *testing.T) {
	for _, name := range []string{firstSegment, "LOCK"} {
		for how, do := range map[string]func(string) error{
			"deleted": os.Remove,
			"replaced": func(name string) error {
				return errors.Join(os.Rename(name, name+".old"), os.WriteFile(name, nil, 0o600))
			},
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				dir := t.TempDir()
				now := time.Unix(1000, 0)
				j, _ := open(t, dir, wal.Options{Now: func() time.Time { return now }})
				appendOne(t, j, "{}")
				if err := do(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
				appendOne(t, j, "{not looked at yet}")
				now = now.Add(time.Second)
				if _, err := j.Append(context.Background(), []byte("{}")); !errors.Is(err, wal.ErrFailed) || !strings.Contains(err.Error(), name) {
					t.Fatalf("got %v", err)
				}
			})
		}
	}
}

func TestOneWriterAtATime(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	_, _, err := wal.Open(dir, wal.Options{LockWait: time.Nanosecond})
	var locked *wal.LockedError
	if !errors.Is(err, wal.ErrLocked) || !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Fatalf("got %v", err)
	}
	if held, owner, err := wal.Holder(dir, wal.Options{}); !held || owner.PID != os.Getpid() || err != nil {
		t.Fatalf("holder: %v %v %v", held, owner, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if held, _, err := wal.Holder(dir, wal.Options{}); held || err != nil {
		t.Fatalf("holder after close: %v %v", held, err)
	}
	if _, err := j.Append(context.Background(), []byte("{}")); !errors.Is(err, wal.ErrClosed) {
		t.Fatalf("append after close: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatalf("second close: %v", err)
	}
	j, _ = open(t, dir, wal.Options{})
	j.Close()
}

func TestFoldersAndFilesAreTheOwnersAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "wal")
	j, rec := open(t, dir, wal.Options{})
	if !rec.Created {
		t.Fatalf("%+v", rec)
	}
	appendOne(t, j, "{}")
	for name, want := range map[string]fs.FileMode{"": 0o700, firstSegment: 0o600, "LOCK": 0o600} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil || st.Mode().Perm() != want {
			t.Errorf("%q: %v, %v", name, st.Mode(), err)
		}
	}
}

func TestIntervalIsSyncedSoonAndOnDemand(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{Durability: wal.SyncInterval(time.Hour)})
	appendOne(t, j, "{}")
	if j.Synced() != 0 || j.End() != 42 {
		t.Fatalf("synced %d, end %d", j.Synced(), j.End())
	}
	if got := readAll(t, dir, 0, wal.Options{}); len(got) != 0 {
		t.Fatalf("a reader in this process sees what is not synced: %q", got)
	}
	if err := j.Sync(context.Background()); err != nil || j.Synced() != 42 {
		t.Fatalf("synced %d, %v", j.Synced(), err)
	}
	appendOne(t, j, "{}")
	j.Close()
	soon, _ := open(t, t.TempDir(), wal.Options{Durability: wal.SyncInterval(time.Millisecond)})
	appendOne(t, soon, "{}")
	if err := soon.Wait(context.Background(), 42); err != nil {
		t.Fatal(err)
	}
}

// holdSync makes the next sync of a file wait. entered gets a value when the sync is under way, and closing leave lets
// it go on.
func holdSync(fsys *faultFS) (entered chan bool, leave chan bool) {
	entered, leave = make(chan bool), make(chan bool)
	fsys.set(func(op, _ string) error {
		if op == "sync" {
			fsys.set(nil)
			entered <- true
			<-leave
		}
		return nil
	})
	return entered, leave
}

// Trimming syncs the same folder as rotation, and the kernel reports a failure once: here to trimming. After that
// nothing may be acknowledged that lies in a segment whose name the failed sync should have made durable.
func TestNothingIsAcknowledgedAfterTrimmingFailedToSyncTheFolder(t *testing.T) {
	for _, full := range []bool{false, true} {
		t.Run(fmt.Sprint("the segment is full: ", full), func(t *testing.T) {
			fsys := &faultFS{FS: wal.OS}
			j, _ := open(t, t.TempDir(), wal.Options{FS: fsys, SegmentBytes: 500})
			appendAll(t, j, payloads(12, 85)) // 125 bytes each, so that the third segment is full to the byte
			if !full {
				appendOne(t, j, "{}")
			}
			segs := j.Segments()
			active := segs[len(segs)-1].Path
			entered, leave := make(chan bool, 1), make(chan bool)
			fsys.set(func(op, name string) error {
				// The committer is held at the group's sync, or at that of the segment which it has made.
				if op == "sync" && (name == active) != full {
					fsys.set(func(op, _ string) error {
						if op != "syncdir" {
							return nil
						}
						fsys.set(nil) // it fails once
						return errDisk
					})
					entered <- true
					<-leave
				}
				return nil
			})
			ticket, err := j.Start(t.Context(), [][]byte{[]byte("{in flight}")})
			if err != nil {
				t.Fatal(err)
			}
			<-entered
			if err := j.RemoveBefore(segs[1].Base); !errors.Is(err, errDisk) || !errors.Is(err, wal.ErrFailed) {
				t.Fatalf("RemoveBefore: %v", err)
			}
			if err := j.Err(); !errors.Is(err, wal.ErrFailed) {
				t.Fatalf("Err: %v", err)
			}
			close(leave)
			if _, err := ticket.Wait(t.Context()); !errors.Is(err, wal.ErrFailed) {
				t.Fatalf("the append on its way: %v", err)
			}
		})
	}
}

// A writer that was idle for long must check its files before it writes: the files of these names may be another
// writer's by now, which has acknowledged what is in them.
func TestAWriterWhoseFilesWereReplacedWhileItWasIdleWritesNothing(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(1000, 0)
	fsys := &faultFS{FS: wal.OS}
	one, _ := open(t, dir, wal.Options{FS: fsys, Now: func() time.Time { return now }})
	appendOne(t, one, "{}")
	if err := os.Remove(filepath.Join(dir, "LOCK")); err != nil {
		t.Fatal(err)
	}
	two, _ := open(t, dir, other(false))
	off := appendOne(t, two, "{acknowledged by two}")
	now = now.Add(time.Hour)
	fsys.set(func(op, name string) error {
		t.Errorf("%s %s", op, name)
		return nil
	})
	if _, err := one.Append(t.Context(), []byte("{written by one     }")); !errors.Is(err, wal.ErrFailed) || !strings.Contains(err.Error(), "LOCK") {
		t.Errorf("one: %v", err)
	}
	if got := readAll(t, dir, off, other(false)); !slices.Equal(got, []string{"{acknowledged by two}"}) {
		t.Errorf("two's records are now %q", got)
	}
}

// When records are due they are synced before the next group is written, however long that takes.
func TestAtAnIntervalTheOldestUnsyncedRecordSetsTheTime(t *testing.T) {
	const d = time.Hour // so that no real clock has a part in it
	var mu sync.Mutex
	now := time.Unix(1000, 0)
	pass := func(by time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(by)
	}
	fsys := &faultFS{FS: wal.OS}
	j, _ := open(t, t.TempDir(), wal.Options{FS: fsys, Preallocate: -1, Durability: wal.SyncInterval(d), Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	var calls []string
	fsys.set(func(op, _ string) error {
		if op == "write" || op == "sync" {
			calls = append(calls, op)
		}
		return nil
	})
	for _, after := range []time.Duration{0, d / 4, d / 5, d / 4, d / 4} {
		pass(after)
		appendOne(t, j, "{}")
	}
	pass(d / 4)
	appendOne(t, j, "{}")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	// Half of d is what remains for the sync itself: it is begun in front of the first write after that.
	want := []string{"write", "write", "write", "sync", "write", "write", "sync", "write", "sync"}
	if !slices.Equal(calls, want) {
		t.Fatalf("got  %v\nwant %v", calls, want)
	}
}

// When an overdue sync fails, the group that was to be written after it gets the error.
func TestAnOverdueSyncThatFailsTellsWhoComesBehindIt(t *testing.T) {
	var passed atomic.Int64
	fsys := &faultFS{FS: wal.OS}
	j, _ := open(t, t.TempDir(), wal.Options{FS: fsys, Durability: wal.SyncInterval(time.Hour), Now: func() time.Time {
		return time.Unix(1000, 0).Add(time.Duration(passed.Load()))
	}})
	appendOne(t, j, "{}")
	fsys.set(func(op, _ string) error {
		if op == "sync" {
			return errDisk
		}
		return nil
	})
	passed.Store(int64(time.Hour))
	if _, err := j.Append(t.Context(), []byte("{}")); !errors.Is(err, errDisk) || !errors.Is(err, wal.ErrFailed) {
		t.Fatalf("got %v", err)
	}
}

func TestOnSyncTellsOfRecordsOnly(t *testing.T) {
	var mu sync.Mutex
	var records, bytes int64
	j, _ := open(t, t.TempDir(), wal.Options{SegmentBytes: 500, OnSync: func(s wal.Synced) {
		mu.Lock()
		defer mu.Unlock()
		if s.Records == 0 {
			t.Errorf("%+v", s)
		}
		records, bytes = records+int64(s.Records), bytes+s.Bytes
	}})
	appendAll(t, j, payloads(40, 60))
	end := j.End()
	j.Close()
	if records != 40 || bytes != int64(end) {
		t.Errorf("told of %d records and %d of %d bytes", records, bytes, end)
	}
}

func TestClosingAgainReturnsTheSame(t *testing.T) {
	fsys := &faultFS{FS: wal.OS}
	j, _ := open(t, t.TempDir(), wal.Options{FS: fsys})
	fsys.set(func(string, string) error { return errDisk })
	if _, err := j.Append(t.Context(), []byte("{}")); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	first, second := j.Close(), j.Close()
	if !errors.Is(first, errDisk) || first != second {
		t.Fatalf("first %v, then %v", first, second)
	}
}

func TestOffsetsEndWhereSignedIntegersDo(t *testing.T) {
	t.Parallel()
	for _, base := range []uint64{1<<63 - 150, 1<<63 - 1, 1 << 63, 1<<64 - 60} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%016x.wal", base)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		j, _ := open(t, dir, at(wal.Offset(base)))
		var err error
		for range 4 {
			var off wal.Offset
			if off, err = j.Append(t.Context(), []byte("{}")); err == nil && uint64(off) > 1<<63-1 {
				t.Errorf("base %d: appended at %d", base, off)
			}
		}
		if !errors.Is(err, wal.ErrFailed) || !strings.Contains(err.Error(), "full") {
			t.Errorf("base %d: %v", base, err)
		}
	}
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{Preallocate: math.MaxInt64}) // as much as is allowed
	appendOne(t, j, "{}")
	if st, err := os.Stat(filepath.Join(dir, firstSegment)); err != nil || st.Size() > 128<<20 {
		t.Errorf("%d bytes written ahead, %v", st.Size(), err)
	}
	j.Close()
	for _, off := range []wal.Offset{1 << 62, 1<<63 - 1, 1 << 63, math.MaxUint64} {
		r, err := wal.OpenReader(dir, off, wal.Options{})
		if err == nil {
			_, err = r.Next(t.Context())
			r.Close()
		}
		if !errors.Is(err, wal.ErrRewound) {
			t.Errorf("a reader from %d: %v", off, err)
		}
	}
}
