package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
)

// restored makes a store whose log was signed at n records and at n+m, and puts it back to its first n. lines are those of an
// export of all.
func restored(t testing.TB, n, m int) (dir string, lines []string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	key, _ := newKey(t)
	db := openDB(t, dir, audit.WithSigner(audit.LogOptions{Key: key}))
	putSamples(t, db, 0, n)
	closeDB(t, db)
	backup := killed(t, dir)
	db = openDB(t, dir)
	putSamples(t, db, n, n+m)
	for _, raw := range exported(t, db) {
		lines = append(lines, string(raw))
	}
	closeDB(t, db)
	if err := errors.Join(os.RemoveAll(dir), os.Rename(backup, dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(dir); !errors.Is(err, audit.ErrBehind) {
		t.Fatalf("a store that was put back is opened: %v", err)
	}
	return dir, lines
}

func textOf(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

func catchUp(t testing.TB, dir, text string) (audit.CatchUpReport, error) {
	t.Helper()
	return audit.CatchUp(context.Background(), dir, audit.CatchUpOptions{
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil },
	}, audit.WithBacklog(40, 0)) // small parts
}

// wantCaughtUp checks that a store has these records in this order, and can be opened.
func wantCaughtUp(t testing.TB, dir string, lines []string) {
	t.Helper()
	db := openDB(t, dir)
	got := []string{}
	for _, raw := range exported(t, db) {
		got = append(got, string(raw))
	}
	if !slices.Equal(got, lines) {
		t.Errorf("the store has %d records, want %d, in their order", len(got), len(lines))
	}
	wantExportedRoot(t, db)
	wantSound(t, db)
	closeDB(t, db)
}

// The missing records come back in their order, wherever the file begins.
func TestCatchUp(t *testing.T) {
	t.Parallel()
	const n, m = 300, 75
	for _, from := range []int{0, 1, n - 1, n} {
		t.Run(fmt.Sprint("from ", from), func(t *testing.T) {
			t.Parallel()
			dir, lines := restored(t, n, m)
			rep, err := catchUp(t, dir, textOf(lines[from:]))
			if err != nil || rep.Had != n || rep.Stored != m || rep.Signed.Size != n+m || rep.Beyond != 0 {
				t.Fatalf("%+v, %v", rep, err)
			}
			wantCaughtUp(t, dir, lines)
			if rep, err = catchUp(t, dir, textOf(lines[from:])); err != nil || rep.Had != n+m || rep.Stored != 0 {
				t.Errorf("again: %+v, %v", rep, err)
			}
		})
	}
}

// The records count, and not how their lines are written.
func TestCatchUpFromLinesOfAnotherProgram(t *testing.T) {
	t.Parallel()
	dir, lines := restored(t, 20, 30)
	other := strings.ReplaceAll(textOf(lines[10:]), `,"timestamp":`, `, "timestamp" : `)
	if rep, err := catchUp(t, dir, other); err != nil || rep.Stored != 30 {
		t.Fatalf("%+v, %v", rep, err)
	}
	wantCaughtUp(t, dir, lines)
}

// A backup of a store that had no records yet.
func TestCatchUpFromNothing(t *testing.T) {
	t.Parallel()
	dir, lines := restored(t, 0, 30)
	if rep, err := catchUp(t, dir, textOf(lines)); err != nil || rep.Stored != 30 {
		t.Fatalf("%+v, %v", rep, err)
	}
	wantCaughtUp(t, dir, lines)
}

// Records after the signed ones are left for an ordinary import: no signature says that they are right.
func TestCatchUpStopsAtWhatWasSigned(t *testing.T) {
	t.Parallel()
	dir, lines := restored(t, 20, 30)
	later := sample(1000)
	rep, err := catchUp(t, dir, textOf(append(slices.Clone(lines), canonical(t, &later), "what comes then is not read as a record")))
	if err != nil || rep.Stored != 30 || rep.Beyond != 2 {
		t.Fatalf("%+v, %v", rep, err)
	}
	wantCaughtUp(t, dir, lines)
}

// A file with anything but the signed records stores nothing, and the store stays refused.
func TestCatchUpWithAnotherFile(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	const n, m = 50, 60
	dir, lines := restored(t, n, m)
	var other []string
	for i := range n + m {
		q := sample(5000 + i)
		other = append(other, canonical(t, &q))
	}
	changed := sample(n + 20)
	changed.ResultConfidence = 0.5
	swapped := slices.Clone(lines)
	swapped[n+3], swapped[n+4] = swapped[n+4], swapped[n+3]
	at := func(i int, line ...string) []string { return slices.Concat(lines[:i], line, lines[i+1:]) }
	was := contents(t, dir)
	for name, text := range map[string]string{
		"nothing":                       "",
		"too few":                       textOf(lines[:n+m-1]),
		"what the store has":            textOf(lines[:n]),
		"a record changed":              textOf(at(n+20, canonical(t, &changed))),
		"a record dropped":              textOf(at(n + 20)),
		"a record dropped, one added":   textOf(append(at(n+20), other[0])),
		"a record doubled":              textOf(at(n+20, lines[n+20], lines[n+20])),
		"records swapped":               textOf(swapped),
		"a record that the store has":   textOf(at(n+20, lines[7], lines[n+20])),
		"another store's":               textOf(other),
		"another store's end":           textOf(slices.Concat(lines[:n], other[n:])),
		"a record of the store changed": textOf(slices.Concat(lines[:7], other[:1], lines[8:])),
		"a gap":                         textOf(lines[n+1:]),
		"cut":                           strings.TrimSuffix(textOf(lines), "\n"),
		"no record":                     textOf(at(n+20, "{}")),
		"no text":                       textOf(at(0, "nothing")),
		"an empty line":                 textOf(at(n+20, "", lines[n+20])),
		"a long line":                   textOf(at(n+20, strings.Repeat("x", audit.MaxEncoded+1))),
	} {
		rep, err := catchUp(t, dir, text)
		if !errors.Is(err, audit.ErrOtherRecords) || rep.Stored != 0 {
			t.Errorf("%s: %+v, %v", name, rep, err)
		}
		if _, err := audit.Open(dir); !errors.Is(err, audit.ErrBehind) {
			t.Errorf("%s: the store is opened: %v", name, err)
		}
	}
	for name, text := range contents(t, dir) {
		if strings.HasPrefix(name, "wal/") && text != was[name] {
			t.Errorf("%s was written", name)
		}
	}
	// The right file still helps.
	if rep, err := catchUp(t, dir, textOf(lines)); err != nil || rep.Stored != m {
		t.Errorf("%+v, %v", rep, err)
	}
	wantCaughtUp(t, dir, lines)
}

// A file that changes between the two readings stores nothing from the part on that has changed.
func TestCatchUpWithAFileThatChanges(t *testing.T) {
	t.Parallel()
	const n, m = 20, 60
	dir, lines := restored(t, n, m)
	changed := slices.Clone(lines)
	q := sample(n + 35)
	q.ResultConfidence = 0.5
	changed[n+35] = canonical(t, &q)
	readings := []string{textOf(lines), textOf(changed)}
	_, err := audit.CatchUp(t.Context(), dir, audit.CatchUpOptions{Open: func() (io.ReadCloser, error) {
		text := readings[0]
		readings = readings[1:]
		return io.NopCloser(strings.NewReader(text)), nil
	}}, audit.WithBacklog(40, 0))
	if !errors.Is(err, audit.ErrOtherRecords) || !strings.Contains(err.Error(), "has changed") {
		t.Fatal(err)
	}
	if rep, err := catchUp(t, dir, textOf(lines)); err != nil || rep.Had != n+30 || rep.Stored != m-30 {
		t.Errorf("%+v, %v", rep, err)
	}
	wantCaughtUp(t, dir, lines)
}

// catcherEnv makes the test binary a process that catches up, and dies when it has read so many lines of the file: their
// number, the store's folder and the file.
const catcherEnv = "AUDITSQL_TEST_CATCHER"

func beCatcher(args string) error {
	parts := strings.Split(args, "\n")
	dies, err := strconv.Atoi(parts[0])
	if err != nil {
		return err
	}
	text, err := os.ReadFile(parts[2])
	if err != nil {
		return err
	}
	_, err = audit.CatchUp(context.Background(), parts[1], audit.CatchUpOptions{Open: func() (io.ReadCloser, error) {
		return io.NopCloser(&mortal{bytes.SplitAfter(text, []byte("\n")), &dies}), nil
	}}, audit.WithBacklog(40, 0))
	return err
}

// mortal yields a line at a time. When it has yielded so many, the process dies, as one that is killed.
type mortal struct {
	lines [][]byte
	left  *int
}

func (m *mortal) Read(p []byte) (int, error) {
	if len(m.lines) == 0 {
		return 0, io.EOF
	}
	if *m.left--; *m.left < 0 {
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Kill()
		}
		if err == nil {
			select {} // until the signal arrives
		}
		return 0, err
	}
	n := copy(p, m.lines[0])
	if m.lines[0] = m.lines[0][n:]; len(m.lines[0]) == 0 {
		m.lines = m.lines[1:]
	}
	return n, nil
}

// However often a catch-up is killed, the next one goes on, and until the last record is there everybody else is refused.
func TestKilledCatchUp(t *testing.T) {
	t.Parallel()
	const n, m = 20, 60
	dir, lines := restored(t, n, m)
	file := filepath.Join(t.TempDir(), "export")
	if err := os.WriteFile(file, []byte(textOf(lines[n:])), 0o600); err != nil {
		t.Fatal(err)
	}
	// The first reading reads m lines. In the second, ten lines are stored at a time.
	for _, dies := range []int{0, 1, m - 1, m, m + 5, m + 10, m + 17, m + 31, m + m - 1} {
		catcher, said := inRole(catcherEnv, fmt.Sprintf("%d\n%s\n%s", dies, dir, file))
		if err := catcher.Run(); err == nil || said.Len() > 0 {
			t.Fatalf("killed after %d lines: %v, %s", dies, err, said)
		}
		if _, err := audit.Open(dir); !errors.Is(err, audit.ErrBehind) {
			t.Fatalf("killed after %d lines: the store is opened: %v", dies, err)
		}
		db := openDB(t, dir, audit.ReadOnly())
		if size, _, err := db.Root(t.Context()); err != nil || size < n || size >= n+m {
			t.Errorf("killed after %d lines: %d records, %v", dies, size, err)
		}
		closeDB(t, db)
	}
	rep, err := catchUp(t, dir, textOf(lines[n:]))
	if err != nil || rep.Had+rep.Stored != n+m || rep.Had <= n {
		t.Errorf("%+v, %v", rep, err)
	}
	wantCaughtUp(t, dir, lines)
}

// Without a log nothing says what is missing, and a store that has other records than were signed is not helped.
func TestCatchUpNeedsALogThatItsStoreBegins(t *testing.T) {
	t.Parallel()
	plain, _ := closedStore(t, 0, 5)
	if _, err := catchUp(t, plain, ""); !errors.Is(err, audit.ErrNoLog) {
		t.Errorf("no log: %v", err)
	}
	if _, err := catchUp(t, t.TempDir()+"/none", ""); !errors.Is(err, audit.ErrNoStore) {
		t.Errorf("no store: %v", err)
	}
	dir, lines := restored(t, 20, 30)
	// The journal and the database of another store's beginning, with this store's log.
	other := filepath.Join(t.TempDir(), "store")
	db := openDB(t, other)
	putSamples(t, db, 500, 520)
	closeDB(t, db)
	for _, name := range []string{"log.json", "checkpoint"} {
		if err := os.WriteFile(filepath.Join(other, name), must(os.ReadFile(filepath.Join(dir, name))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := catchUp(t, other, textOf(lines)); !errors.Is(err, audit.ErrForked) {
		t.Errorf("a store with other records: %v", err)
	}
	wantCatchUpRefused(t, other)
}

func wantCatchUpRefused(t *testing.T, dir string) {
	t.Helper()
	if _, err := audit.Open(dir); !errors.Is(err, audit.ErrForked) && !errors.Is(err, audit.ErrBehind) {
		t.Errorf("the store is opened: %v", err)
	}
}

// The journal and the database were put back, and log.json was not. It says that the journal was longer.
func TestCatchUpBesideANewerLog(t *testing.T) {
	t.Parallel()
	dir, lines := restored(t, 20, 30)
	newer := filepath.Join(t.TempDir(), "newer")
	copyDir(t, dir, newer)
	if _, err := catchUp(t, newer, textOf(lines)); err != nil {
		t.Fatal(err)
	}
	closeDB(t, openDB(t, newer)) // which brings log.json up to the memory
	for _, name := range []string{"log.json", "checkpoint"} {
		if err := os.WriteFile(filepath.Join(dir, name), must(os.ReadFile(filepath.Join(newer, name))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := audit.Open(dir); !errors.Is(err, audit.ErrBehind) {
		t.Fatal(err)
	}
	if rep, err := catchUp(t, dir, textOf(lines[20:])); err != nil || rep.Stored != 30 {
		t.Fatalf("%+v, %v", rep, err)
	}
	wantCaughtUp(t, dir, lines)
}
