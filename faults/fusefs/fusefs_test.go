package fusefs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/auditsql/auditsql/faults/fusefs"
	"github.com/auditsql/auditsql/internal/crashfs"
)

// durable writes a file that survives every power cut.
func durable(dir, name, text string) *os.File {
	f, err := os.Create(filepath.Join(dir, name))
	must(err)
	_, err = f.WriteString(text)
	must(err)
	must(f.Sync())
	syncDir(dir)
	return f
}

func syncDir(dir string) {
	d, err := os.Open(dir)
	must(err)
	defer d.Close()
	must(d.Sync())
}

func read(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "(none)"
	}
	must(err)
	return string(b)
}

// outcomes runs something on many machines and collects what a power cut leaves.
func outcomes(t *testing.T, do func(m *fusefs.Machine, dir string), look func(dir string) string) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for seed := range uint64(60) {
		m := machine(t, seed)
		do(m, m.Dir())
		m.PowerCut()
		seen[look(m.Dir())]++
		must(m.Drop())
	}
	return seen
}

func wantOutcomes(t *testing.T, seen map[string]int, want ...string) {
	t.Helper()
	if len(seen) != len(want) {
		t.Errorf("power cuts left %v, want %q", seen, want)
	}
	for _, w := range want {
		if seen[w] == 0 {
			t.Errorf("no power cut left %q: %v", w, seen)
		}
	}
}

func TestWhatWasSyncedSurvives(t *testing.T) {
	t.Parallel()
	wantOutcomes(t, outcomes(t, func(_ *fusefs.Machine, dir string) {
		durable(dir, "a", "synced")
	}, func(dir string) string { return read(dir, "a") }), "synced")
}

func TestWhatWasNotSyncedMayVanish(t *testing.T) {
	t.Parallel()
	wantOutcomes(t, outcomes(t, func(_ *fusefs.Machine, dir string) {
		f := durable(dir, "a", "x")
		_, err := f.WriteAt([]byte("y"), 0)
		must(err)
		must(os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b")))
	}, func(dir string) string { return read(dir, "a") + " " + read(dir, "b") }),
		"x (none)", "y (none)", "(none) x", "(none) y")
}

func TestRenameIntoAnotherFolderIsOneStep(t *testing.T) {
	t.Parallel()
	wantOutcomes(t, outcomes(t, func(_ *fusefs.Machine, dir string) {
		durable(dir, "a", "x")
		must(os.Mkdir(filepath.Join(dir, "d"), 0o700))
		syncDir(dir)
		must(os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "d", "a")))
	}, func(dir string) string { return read(dir, "a") + " " + read(dir, "d/a") }), "x (none)", "(none) x")
}

func TestRemovedFilesCanBeReadByWhoHasThemOpen(t *testing.T) {
	t.Parallel()
	m := machine(t, 1)
	f := durable(m.Dir(), "a", "x")
	before, err := f.Stat()
	must(err)
	must(os.Remove(f.Name()))
	_, err = f.WriteAt([]byte("yz"), 0)
	must(err)
	after, err := f.Stat()
	must(err)
	if !os.SameFile(before, after) || after.Size() != 2 || after.Sys().(*syscall.Stat_t).Nlink != 0 {
		t.Errorf("an open file that was removed: %d bytes, %+v", after.Size(), after.Sys())
	}
	other := durable(m.Dir(), "a", "other")
	named, err := other.Stat()
	must(err)
	if os.SameFile(named, after) {
		t.Error("a new file under the name is the old one")
	}
	b := make([]byte, 2)
	if _, err := f.ReadAt(b, 0); err != nil || string(b) != "yz" {
		t.Errorf("%q, %v", b, err)
	}
}

// A failed sync forgets what was dirty: the bytes can be read, the next sync succeeds, and a power cut loses them.
func TestASyncThatFailedIsForgotten(t *testing.T) {
	t.Parallel()
	wantOutcomes(t, outcomes(t, func(m *fusefs.Machine, dir string) {
		f := durable(dir, "a", "x")
		_, err := f.WriteAt([]byte("y"), 0)
		must(err)
		m.Plan(fusefs.Fault{Ops: []crashfs.Op{crashfs.OpSync}, Name: "a", Verdict: crashfs.IO})
		g, err := os.Open(f.Name())
		must(err)
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("the sync that was to fail: %v", err)
		}
		must(f.Sync())
		if err := g.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("the first sync of somebody else who has the file open: %v", err)
		}
		must(g.Sync())
		if got := read(dir, "a"); got != "y" {
			t.Fatalf("after the sync %q is read", got)
		}
	}, func(dir string) string { return read(dir, "a") }), "x", "y")
	wantOutcomes(t, outcomes(t, func(m *fusefs.Machine, dir string) {
		f := durable(dir, "a", "x")
		_, err := f.WriteAt([]byte("y"), 0)
		must(err)
		m.TellCallerAlone()
		m.Plan(fusefs.Fault{Ops: []crashfs.Op{crashfs.OpSync}, Name: "a", Verdict: crashfs.IO})
		g, err := os.Open(f.Name())
		must(err)
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("the sync that was to fail: %v", err)
		}
		must(g.Sync())
	}, func(dir string) string { return read(dir, "a") }), "x", "y")
	wantOutcomes(t, outcomes(t, func(m *fusefs.Machine, dir string) {
		f := durable(dir, "a", "x")
		_, err := f.WriteAt([]byte("y"), 0)
		must(err)
		m.Plan(fusefs.Fault{Ops: []crashfs.Op{crashfs.OpSync}, Name: "a", Verdict: crashfs.IO})
		if f.Sync() == nil {
			t.Fatal("the sync did not fail")
		}
		_, err = f.WriteAt([]byte("y"), 0)
		must(err)
		must(f.Sync())
	}, func(dir string) string { return read(dir, "a") }), "y")
}

func TestPlannedFaults(t *testing.T) {
	t.Parallel()
	m := machine(t, 1)
	f := durable(m.Dir(), "a.db", strings.Repeat("x", 100))
	write := []crashfs.Op{crashfs.OpWrite}
	m.Plan(fusefs.Fault{Ops: write, Name: "a.*", Skip: 1, Verdict: crashfs.NoSpace},
		fusefs.Fault{Ops: []crashfs.Op{crashfs.OpRead}, Verdict: crashfs.IO})
	_, err := f.WriteAt([]byte("y"), 0)
	must(err)
	if _, err := f.WriteAt([]byte("z"), 0); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the second write: %v", err)
	}
	if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("the first read: %v", err)
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, 0); err != nil || string(b) != "y" {
		t.Errorf("the second read: %q, %v", b, err)
	}
	if s := m.State(); s.Struck[0] != 1 || s.Struck[1] != 1 || s.Met[0] != 2 || s.Met[1] != 2 {
		t.Errorf("%+v", s)
	}
	m.Plan(fusefs.Fault{Ops: write, Verdict: crashfs.Short})
	n, err := syscall.Pwrite(int(f.Fd()), []byte(strings.Repeat("s", 100)), 0)
	if err != nil || n >= 100 {
		t.Errorf("a short write: %d, %v", n, err)
	}
	m.Plan(fusefs.Fault{Ops: write, Verdict: crashfs.CutPower})
	if _, err := f.WriteAt([]byte("z"), 0); !errors.Is(err, syscall.EIO) || !m.State().Dead {
		t.Errorf("the write at which the power was cut: %v", err)
	}
	old := m.Dir()
	m.PowerCut()
	if _, err := os.Stat(filepath.Join(old, "a.db")); err == nil {
		t.Error("the life before is still there")
	}
	if _, err := f.WriteAt([]byte("z"), 0); err == nil {
		t.Error("the life before can write")
	}
	if got := read(m.Dir(), "a.db"); len(got) != 100 {
		t.Errorf("after the power cut: %q", got)
	}
}

func TestAKilledLifeLeavesWhatItWrote(t *testing.T) {
	t.Parallel()
	m := machine(t, 1)
	f := durable(m.Dir(), "a", "x")
	must(os.WriteFile(filepath.Join(m.Dir(), "b"), []byte("b"), 0o640))
	m.Kill()
	if got := read(m.Dir(), "a") + read(m.Dir(), "b"); got != "xb" {
		t.Errorf("%q is left", got)
	}
	if _, err := f.WriteAt([]byte("z"), 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("the life before: %v", err)
	}
	from := m.Files()
	other, err := files.fs.Machine(2, from)
	must(err)
	defer other.Drop()
	if got := read(other.Dir(), "a") + read(other.Dir(), "b"); got != "xb" {
		t.Errorf("%q in the copy", got)
	}
}
