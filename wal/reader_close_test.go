package wal_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/wal"
)

// following is a reader that follows a journal with three records, of which it has read so many.
func following(t *testing.T, fsys wal.FS, dir string, read int) (*wal.Journal, *wal.Reader) {
	t.Helper()
	j, _ := open(t, dir, wal.Options{FS: fsys, SegmentBytes: 150, Identity: mine})
	appendAll(t, j, payloads(3, 60))
	r, err := wal.OpenReader(dir, 0, wal.Options{FS: fsys, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	for range read {
		if _, err := r.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return j, r
}

// wantEnd reads to the end, which must be that the writer is closed, and returns what was read.
func wantEnd(t *testing.T, r *wal.Reader) (got []string) {
	t.Helper()
	for {
		rec, err := r.Next(t.Context())
		if err == nil {
			got = append(got, string(rec.Payload))
			continue
		}
		if !errors.Is(err, wal.ErrClosed) {
			t.Fatalf("a reader whose writer is closed gets %v", err)
		}
		if _, again := r.Next(t.Context()); !errors.Is(again, wal.ErrClosed) {
			t.Fatalf("asked again: %v", again)
		}
		return got
	}
}

// A reader that follows ends when its writer is closed, whether it waits then or comes later, and has got every
// record before.
func TestAReaderThatFollowsEndsWithItsWriter(t *testing.T) {
	t.Parallel()
	for _, read := range []int{0, 2, 3} {
		for _, waits := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d read, waits %v", read, waits), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					j, r := following(t, crashfs.New(1).Process(), "/journal", read)
					if !waits {
						closeJournal(t, j)
						if got := wantEnd(t, r); !slices.Equal(got, payloads(3, 60)[read:]) {
							t.Errorf("read %q", got)
						}
						return
					}
					done := make(chan []string)
					go func() { done <- wantEnd(t, r) }()
					synctest.Wait()
					closeJournal(t, j)
					if got := <-done; !slices.Equal(got, payloads(3, 60)[read:]) {
						t.Errorf("read %q", got)
					}
				})
			})
		}
	}
}

// What the next writer appends is not the closed one's.
func TestAReaderThatFollowsEndsAlsoWhenTheJournalWasOpenedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := crashfs.New(1).Process()
		j, r := following(t, p, "/journal", 1)
		closeJournal(t, j)
		// Nobody can open this one: it is no writer that a reader follows.
		if _, _, err := wal.Open("/journal", wal.Options{FS: p, Identity: []byte("another")}); !errors.Is(err, wal.ErrForeign) {
			t.Fatal(err)
		}
		j, _ = open(t, "/journal", wal.Options{FS: p})
		appendOne(t, j, "{later}")
		if got := wantEnd(t, r); !slices.Equal(got, payloads(3, 60)[1:]) {
			t.Errorf("read %q", got)
		}
		closeJournal(t, j)
	})
}

// Without Follow the end is the end, and in another process there is no sign of a writer that has closed.
func TestOtherReadersDoNotEndWithTheWriter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New(1)
		p, elsewhere := disk.Process(), disk.Process()
		j, _ := following(t, p, "/journal", 0)
		for _, o := range []wal.Options{{FS: p}, {FS: elsewhere, Follow: true}} {
			r, err := wal.OpenReader("/journal", 0, o)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			for range 3 {
				if _, err := r.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			closeJournal(t, j)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() {
				_, err := r.Next(ctx)
				done <- err
			}()
			synctest.Wait()
			cancel()
			if err := <-done; errors.Is(err, wal.ErrClosed) || err == nil {
				t.Errorf("follow %v: %v", o.Follow, err)
			}
		}
	})
}

// Trimming may fail in the middle of a rotation, whose sync then still makes records durable. A follower gets them before it
// gets the failure.
func TestAFollowerGetsWhatIsSyncedAfterTrimmingHasFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fsys := &faultFS{FS: crashfs.New(1).Process()}
		j, _ := open(t, "/journal", wal.Options{FS: fsys, SegmentBytes: 150})
		appendAll(t, j, payloads(3, 60)) // the second segment has room for one more
		before := j.Synced()
		r, err := wal.OpenReader("/journal", before, wal.Options{FS: fsys, Follow: true})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		entered, leave := holdSync(fsys)
		ticket, err := j.Start(t.Context(), [][]byte{[]byte(payloads(1, 60)[0]), []byte("{in the next segment}")})
		if err != nil {
			t.Fatal(err)
		}
		<-entered
		fsys.set(func(op, _ string) error {
			if op == "syncdir" {
				return errDisk
			}
			return nil
		})
		if err := j.RemoveBefore(before); !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
		next, waited := make(chan string, 1), make(chan error, 1)
		go func() {
			rec, err := r.Next(t.Context())
			next <- fmt.Sprintf("%s, %v", rec.Payload, err)
		}()
		go func() { waited <- j.Wait(t.Context(), before+1) }()
		synctest.Wait()
		close(leave)
		if got, want := <-next, payloads(1, 60)[0]+", <nil>"; got != want {
			t.Errorf("the follower gets %s", got)
		}
		if err := <-waited; err != nil {
			t.Errorf("Wait: %v", err)
		}
		if _, err := r.Next(t.Context()); !errors.Is(err, errDisk) {
			t.Errorf("after the last record the follower gets %v", err)
		}
		if _, err := ticket.Wait(t.Context()); !errors.Is(err, errDisk) {
			t.Errorf("the append: %v", err)
		}
	})
}

// Without an append the committer sleeps. A failure of trimming still ends those who wait.
func TestAFollowerOfAnIdleJournalEndsWhenTrimmingFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fsys := &faultFS{FS: crashfs.New(1).Process()}
		j, r := following(t, fsys, "/journal", 3)
		next := make(chan error, 1)
		go func() {
			_, err := r.Next(t.Context())
			next <- err
		}()
		synctest.Wait()
		fsys.set(func(op, _ string) error {
			if op == "syncdir" {
				return errDisk
			}
			return nil
		})
		if err := j.RemoveBefore(j.Synced()); !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
		if err := <-next; !errors.Is(err, errDisk) {
			t.Errorf("got %v", err)
		}
	})
}
