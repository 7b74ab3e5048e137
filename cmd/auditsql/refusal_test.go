package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/wal"
)

// testStreams are those of a run in this process, at noon, that waits for nobody.
func testStreams() streams {
	return streams{in: strings.NewReader(""), out: io.Discard, err: io.Discard, now: func() time.Time { return noon }}
}

// ran runs a command line in this process.
func ran(t *testing.T, args ...string) (out, said string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	s := testStreams()
	s.out, s.err = &stdout, &stderr
	code = run(t.Context(), args, s)
	return stdout.String(), stderr.String(), code
}

// lagging is a store whose journal has a record that its SQLite lacks.
func lagging(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	put := func(i int) {
		line, _ := record(i)
		s := testStreams()
		s.in = strings.NewReader(line)
		var stderr bytes.Buffer
		s.err = &stderr
		if code := run(t.Context(), []string{"-d", dir, "put"}, s); code != exitDone {
			t.Fatal(stderr.String())
		}
	}
	put(1)
	before := filepath.Join(t.TempDir(), "before")
	if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	put(2)
	journal := filepath.Join(before, "wal")
	if err := os.RemoveAll(journal); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(journal, os.DirFS(filepath.Join(dir, "wal"))); err != nil {
		t.Fatal(err)
	}
	return before
}

// Another process has the lock and has not brought SQLite up to date yet: what SQLite has by now is shown, with a note.
func TestARecoveryInAnotherProcessIsNotWaitedForWithoutEnd(t *testing.T) {
	t.Parallel()
	dir := lagging(t)
	identity, err := audit.JournalIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	j, _, err := wal.Open(filepath.Join(dir, "wal"), wal.Options{Identity: identity, LockNote: "recovering"})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	out, said, code := ran(t, "-d", dir, "list")
	if code != exitDone || strings.Count(out, "\n") != 1 {
		t.Errorf("exit code %d: %s", code, out)
	}
	for _, want := range []string{"note: another process recovers the store; recovering first\n", "note: another process recovers the store still; showing what SQLite has by now\n"} {
		if !strings.Contains(said, want) {
			t.Errorf("it said %q, and not %q", said, want)
		}
	}
}

// A writer that fails makes each step fail: the reason is said once.
func TestAReasonIsSaidOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "demo")
	if err := makeDemo(t.Context(), dir, &demoStory{records: demoRecords()}); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	s := testStreams()
	s.out, s.err = brokenWriter{}, &stderr
	code := run(t.Context(), []string{"-d", dir, "trace", "--subject", "*", "--limit", "0"}, s)
	if n := strings.Count(stderr.String(), "the printer is on fire"); code != exitFailed || n != 1 {
		t.Errorf("exit code %d, said %d times: %s", code, n, &stderr)
	}
	for err, want := range map[error]string{
		errors.Join(errors.New("a: b"), errors.New("b"), errors.New("c")): "a: b; c",
		errors.New("a"): "a",
	} {
		if got := oneLine(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("the printer is on fire") }

// A journal whose folder is gone: each command says what it can do itself, and names no flag that it does not have. The
// way out that wal repair names leads out.
func TestAJournalThatIsGone(t *testing.T) {
	t.Parallel()
	dir := lagging(t)
	if err := os.RemoveAll(filepath.Join(dir, "wal")); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]string{
		"list":       "; --read-only shows what SQLite has\n",
		"wal repair": fmt.Sprintf("; auditsql -d %[1]s list --read-only shows what SQLite has; if the journal is lost for good, mkdir %[1]s/wal, and then wal repair shows what can be done without it\n", dir),
		"reindex":    fmt.Sprintf("; auditsql -d %s list --read-only shows what SQLite has\n", dir),
	} {
		_, said, code := ran(t, append([]string{"-d", dir}, strings.Fields(command)...)...)
		if code != exitDamage || !strings.HasSuffix(said, want) {
			t.Errorf("%s: exit code %d: %s", command, code, said)
		}
	}
	if out, said, code := ran(t, "-d", dir, "list", "--read-only"); code != exitDone || strings.Count(out, "\n") != 1 {
		t.Errorf("exit code %d: %s", code, said)
	}
	if err := os.Mkdir(filepath.Join(dir, "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"wal repair --apply", "verify", "list"} {
		if _, said, code := ran(t, append([]string{"-d", dir}, strings.Fields(command)...)...); code != exitDone {
			t.Errorf("%s: exit code %d: %s", command, code, said)
		}
	}
}
