package wal_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// cancelAt runs do with a context that is cancelled while the k-th call to the disk is under way, never for k = 0. It
// returns do's error and the calls that were made.
func cancelAt(t *testing.T, disk *crashfs.Disk, k int, do func(context.Context) error) (calls []crashfs.Call, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	disk.Hook(func(c crashfs.Call) crashfs.Verdict {
		if calls = append(calls, c); len(calls) == k {
			cancel()
		}
		return crashfs.Pass
	})
	err = do(ctx)
	disk.Hook(nil)
	return calls, err
}

// noParts fails when a file that was being written is left in a folder.
func noParts(t *testing.T, disk *crashfs.Disk, dir string, k int) {
	t.Helper()
	for _, name := range disk.List(dir) {
		if strings.HasSuffix(name, ".part") {
			t.Fatalf("cancelled at call %d: %s is left in %s", k, name, dir)
		}
	}
}

// A repair may be cancelled at any call. Each segment is then as it was or whole, what is whole stays so after a power
// cut, nothing half written is left, and the next repair ends where an undisturbed one does.
func TestARepairIsCancelledAtTheKthCall(t *testing.T) {
	t.Parallel()
	const dir = "/journal"
	var want map[string]string
	for k, calls := 0, 0; k <= calls; k++ {
		disk, held := damagedOnDisk(t, uint64(k), dir)
		damaged := segmentsOnDisk(disk, dir)
		o := wal.RepairOptions{
			FS: disk.Process(), Apply: true, Records: held,
			Cursor: func() (wal.Offset, error) { return 2600, nil },
		}
		var rep wal.RepairReport
		made, err := cancelAt(t, disk, k, func(ctx context.Context) (err error) {
			rep, err = wal.RepairContext(ctx, dir, o)
			return err
		})
		now := segmentsOnDisk(disk, dir)
		if k == 0 {
			if err != nil || len(rep.Damage) < 4 {
				t.Fatalf("%+v, %v", rep, err)
			}
			calls, want = len(made), now
			continue
		}
		if rep.Applied != (err == nil) || err != nil && !errors.Is(err, context.Canceled) {
			t.Fatalf("cancelled at call %d: applied %v, %v", k, rep.Applied, err)
		}
		for name := range maps.Keys(want) {
			if now[name] != want[name] && (err == nil || now[name] != damaged[name]) {
				t.Fatalf("cancelled at call %d: %s is neither as it was nor whole, or it was done and is not", k, name)
			}
		}
		noParts(t, disk, dir, k)
		for _, name := range disk.List(dir + "/quarantine") {
			replaced := func(d *wal.DamagedRange) bool { return path.Base(d.Quarantine) == name }
			if !slices.ContainsFunc(rep.Damage, replaced) {
				t.Fatalf("cancelled at call %d: %s is in quarantine, and its bytes are still in their place", k, name)
			}
		}
		disk.PowerCut()
		if !maps.Equal(segmentsOnDisk(disk, dir), now) {
			t.Fatalf("cancelled at call %d: a power cut has undone what was to be seen", k)
		}
		o.FS = disk.Process()
		if _, err := wal.Repair(dir, o); err != nil || !maps.Equal(segmentsOnDisk(disk, dir), want) {
			t.Fatalf("cancelled at call %d, and once more: %v, or it has ended otherwise", k, err)
		}
	}
}

// Opening may be cancelled at any call too: the lock is free again, and the next one recovers what an undisturbed
// one does, also after a power cut.
func TestOpeningIsCancelledAtTheKthCall(t *testing.T) {
	t.Parallel()
	const dir = "/journal"
	cancelled := 0
	for k, calls := 0, 0; k <= calls; k++ {
		disk := crashfs.New(uint64(k))
		o := wal.Options{FS: disk.Process(), SegmentBytes: 1000, Identity: []byte("mine")}
		j, _ := open(t, dir, o)
		want := payloads(25, 60)
		appendBatch(t, j, want)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		disk.PowerCut()
		names := disk.List(dir)
		last := path.Join(dir, names[slices.IndexFunc(names, func(n string) bool { return n == "LOCK" })-1])
		disk.Damage(last, func(b []byte) []byte { return append(append(b, 0, 8, 0, 0), strings.Repeat("torn", 400)...) })

		o.FS = disk.Process()
		j = nil
		made, err := cancelAt(t, disk, k, func(ctx context.Context) (err error) {
			j, _, err = wal.OpenContext(ctx, dir, o)
			return err
		})
		switch {
		case err == nil:
			j.Close()
		case errors.Is(err, context.Canceled) && k > 0:
			cancelled++
		default:
			t.Fatalf("cancelled at call %d: %v", k, err)
		}
		if k == 0 {
			calls = len(made)
		}
		if k%2 == 1 {
			disk.PowerCut()
		}
		o.FS = disk.Process()
		j, _, err = wal.Open(dir, o)
		if err != nil {
			t.Fatalf("cancelled at call %d, and then: %v", k, err)
		}
		if got := readAll(t, dir, 0, o); !slices.Equal(got, want) {
			t.Fatalf("cancelled at call %d: %d records are left of %d", k, len(got), len(want))
		}
		// A power cut may bring back a copy that was removed because it was not finished.
		if n := len(disk.List(dir + "/quarantine")); n < 1 || n > 1+k%2 {
			t.Fatalf("cancelled at call %d: %d files in quarantine", k, n)
		}
		j.Close()
	}
	if cancelled < 10 {
		t.Errorf("%d cancelled openings are too few", cancelled)
	}
}

// Every call that reads a journal stops before its next read or the one after it, and leaves nothing half done.
func TestReadingIsCancelledAtTheKthCall(t *testing.T) {
	t.Parallel()
	const dir, copied, archive = "/journal", "/copy", "/archive"
	for name, do := range map[string]func(ctx context.Context, p *crashfs.Process, j *wal.Journal) error{
		"verify": func(ctx context.Context, p *crashfs.Process, _ *wal.Journal) error {
			_, err := wal.VerifyContext(ctx, dir, wal.Options{FS: p}, nil)
			return err
		},
		"repair, looking": func(ctx context.Context, p *crashfs.Process, _ *wal.Journal) error {
			_, err := wal.RepairContext(ctx, dir, wal.RepairOptions{FS: p})
			return err
		},
		"copy": func(ctx context.Context, p *crashfs.Process, _ *wal.Journal) error {
			_, err := wal.Copy(ctx, dir, copied, wal.Options{FS: p})
			return err
		},
		"next": func(ctx context.Context, p *crashfs.Process, _ *wal.Journal) error {
			r, err := wal.OpenReader(dir, 0, wal.Options{FS: p})
			if err != nil {
				return err
			}
			defer r.Close()
			for err == nil {
				_, err = r.Next(ctx)
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		},
		"remove": func(ctx context.Context, _ *crashfs.Process, j *wal.Journal) error {
			return j.RemoveBeforeContext(ctx, j.End())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var undisturbed []crashfs.Call
			for k := 0; k <= len(undisturbed); k++ {
				disk := crashfs.New(uint64(k))
				writer, other := disk.Process(), disk.Process()
				j, _ := open(t, dir, wal.Options{FS: writer, SegmentBytes: 1000, Archive: archive})
				all := payloads(35, 60)
				appendBatch(t, j, all)
				if err := other.Mkdir(copied); err != nil {
					t.Fatal(err)
				}
				made, err := cancelAt(t, disk, k, func(ctx context.Context) error { return do(ctx, other, j) })
				if k == 0 {
					undisturbed = made
				}
				// What a run reads depends on journals that other tests open in this process, so the calls of this
				// very run are counted.
				after := 0
				for _, c := range made[min(k, len(made)):] {
					if k > 0 && c.Op == crashfs.OpRead {
						after++
					}
				}
				if after > 1 || err != nil && (k == 0 || !errors.Is(err, context.Canceled)) {
					t.Fatalf("cancelled at call %d: %d more reads, %v", k, after, err)
				}
				noParts(t, disk, archive, k)
				whole := segmentsOnDisk(disk, dir)
				maps.Copy(whole, segmentsOnDisk(disk, archive))
				for name, b := range segmentsOnDisk(disk, copied) {
					if !strings.HasPrefix(whole[name], b) || len(b) < 1000 && name != walspec.Name(3000) {
						t.Fatalf("cancelled at call %d: the copy of %s is not whole", k, name)
					}
				}
				appendOne(t, j, `{"after":1}`)
				if err := j.RemoveBefore(j.End()); err != nil || len(j.Segments()) != 1 {
					t.Fatalf("cancelled at call %d, and then: %+v, %v", k, j.Segments(), err)
				}
				if got := readAll(t, archive, 0, wal.Options{FS: other}); !slices.Equal(got, all[:30]) {
					t.Fatalf("cancelled at call %d: %d records are in the archive", k, len(got))
				}
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A call that waits for the lock, or for another goroutine's Open, waits no longer than its context lasts.
func TestWaitingEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const dir = "/journal"
		disk := crashfs.New(1)
		p := disk.Process()
		opening := make(chan bool)
		held := make(chan bool)
		go func() {
			j, _, err := wal.Open(dir, wal.Options{FS: p, Cursor: func() (wal.Offset, error) {
				close(opening)
				<-held
				return 0, nil
			}})
			if err != nil {
				t.Error(err)
				return
			}
			j.Close()
		}()
		<-opening
		for name, do := range map[string]func(context.Context) error{
			"open": func(ctx context.Context) error {
				_, _, err := wal.OpenContext(ctx, dir, wal.Options{FS: disk.Process(), LockWait: time.Hour})
				return err
			},
			"repair": func(ctx context.Context) error {
				_, err := wal.RepairContext(ctx, dir, wal.RepairOptions{FS: disk.Process(), LockWait: time.Hour, Apply: true})
				return err
			},
			"verify": func(ctx context.Context) error {
				_, err := wal.VerifyContext(ctx, dir, wal.Options{FS: p}, nil)
				return err
			},
			"copy": func(ctx context.Context) error {
				_, err := wal.Copy(ctx, dir, "/copy", wal.Options{FS: p})
				return err
			},
		} {
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			err := do(ctx)
			cancel()
			if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 3*time.Second {
				t.Errorf("%s: %v after %v", name, err, took)
			}
		}
		close(held)
		synctest.Wait()
	})
}

// An opening that was cancelled before it began makes nothing, not even the folder.
func TestACancelledOpenMakesNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	disk := crashfs.New(1)
	if _, _, err := wal.OpenContext(ctx, "/journal", wal.Options{FS: disk.Process()}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if names := disk.List("/"); len(names) > 0 {
		t.Errorf("%q were made", names)
	}
}
