package wal_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/auditsql/auditsql/wal"
)

// fullDisk fails calls of a kind on files in quarantine, and for a repair on the segment's replacement.
func fullDisk(op string) *faultFS {
	fsys := &faultFS{FS: unsyncedFS{wal.OS}}
	fsys.set(func(what, name string) error {
		if what == op && (strings.Contains(name, "quarantine") || strings.HasSuffix(name, ".part")) {
			return syscall.ENOSPC
		}
		return nil
	})
	return fsys
}

// Otherwise each try to open on a full disk would add a copy that is empty or cut.
func TestATornTailThatCannotBeQuarantinedLeavesNoCopy(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"create", "write", "sync", "syncdir"} {
		t.Run(op, func(t *testing.T) {
			m := makeJournal(t)
			edit(t, m.segment(2000), func(b []byte) []byte { return append(b, strings.Repeat("torn", 500)...) })
			for range 3 {
				_, _, err := wal.Open(m.dir, wal.Options{FS: fullDisk(op)})
				if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "quarantine the torn tail at 3000") {
					t.Fatalf("got %v", err)
				}
				if left := quarantined(t, m.dir); len(left) > 0 {
					t.Fatalf("left in quarantine: %q", left)
				}
			}
			_, rec := open(t, m.dir, wal.Options{FS: unsyncedFS{wal.OS}})
			if rec.Torn == nil || rec.Torn.Bytes != 2000 || len(quarantined(t, m.dir)) != 1 {
				t.Errorf("recovered %+v, in quarantine %q", rec, quarantined(t, m.dir))
			}
		})
	}
}

func TestARepairThatCannotBeWrittenLeavesNoCopy(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"create", "write", "sync", "syncdir"} {
		t.Run(op, func(t *testing.T) {
			m := makeJournal(t)
			edit(t, m.segment(0), func(b []byte) []byte { b[150] ^= 1; b[750] ^= 1; return b })
			before := everything(t, m.dir)
			o := m.options(3000)
			o.Apply = true
			for range 3 {
				o.FS = fullDisk(op)
				if _, err := wal.Repair(m.dir, o); !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("got %v", err)
				}
				if left := quarantined(t, m.dir); len(left) > 0 {
					t.Fatalf("left in quarantine: %q", left)
				}
			}
			if err := os.Remove(filepath.Join(m.dir, "quarantine")); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if got := everything(t, m.dir); got != before {
				t.Errorf("the folder was changed:\n%s\nto\n%s", before, got)
			}
			o.FS = nil
			wantRepaired(t, m, 3000, mustRepair(t, m.dir, o))
			if got := len(quarantined(t, m.dir)); got != 2 {
				t.Errorf("%d files in quarantine", got)
			}
		})
	}
}

// A copy or an archived segment that is not whole does not stay either.
func TestACopyThatFailsLeavesNoFile(t *testing.T) {
	for _, op := range []string{"write", "sync"} {
		m, dest := makeJournal(t), t.TempDir()
		fsys := &faultFS{FS: wal.OS}
		fsys.set(func(what, name string) error {
			if what == op && filepath.Dir(name) == dest {
				return syscall.ENOSPC
			}
			return nil
		})
		if _, err := wal.Copy(context.Background(), m.dir, dest, wal.Options{FS: fsys}); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: got %v", op, err)
		}
		if left := image(t, dest); len(left) > 0 {
			t.Errorf("%s: left %q", op, left)
		}
	}
}
