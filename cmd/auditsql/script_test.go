package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"auditsql": atTestTime})
}

// testTime names the time at which a process of a test runs, in RFC 3339; without it the process runs now. It is what
// keeps tests with times in them from depending on when they run.
const testTime = "AUDITSQL_TEST_TIME"

// noon is when tests with times in them take place: a Monday.
var noon = time.Date(2026, 11, 23, 12, 30, 15, 250e6, time.UTC)

// atTestTime is main, at the time of the test.
func atTestTime() {
	s := systemStreams()
	if at, err := time.Parse(time.RFC3339, os.Getenv(testTime)); err == nil {
		s.now = func() time.Time { return at }
	}
	s.completionTime = time.Minute // however busy the machine is
	execute(s)
}

// TestScripts runs what a person could have typed. Besides testscript's own commands there are
//
//	exits CODE COMMAND…   run a command that must end with this exit code
//	hold DIR              be the writer of a store until the script ends, or until
//	release DIR           be it no longer
//	damage FILE OFFSET    change one byte of a file
//	journal DIR FILE      make a journal without an identity, which holds the lines of a file
//	forge DIR OLD NEW     change a text in a record of a journal, with checksums that fit the new record
//
// With -short, which is how the race detector runs them, only scripts in which processes or requests meet are run.
func TestScripts(t *testing.T) {
	golden := goldenEvidence(t)
	dir, files := "testdata/script", []string(nil)
	if testing.Short() {
		dir, files = "", scriptsThatMeet(t, dir)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		Files:               files,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			// The test's own environment must not decide what is printed.
			for _, name := range []string{"AUDITSQL_DIR", "AUDITSQL_TZ", "AUDITSQL_OUTPUT", "AUDITSQL_PAGER", "PAGER", "LESS", "NO_COLOR", "COLUMNS", "LINES"} {
				e.Setenv(name, "")
			}
			e.Setenv("TERM", "xterm")
			e.Setenv(testTime, noon.Format(time.RFC3339Nano))
			e.Setenv("GORACE", withoutNap)
			e.Values["held"] = heldStores{}
			e.Setenv("pid", strconv.Itoa(os.Getpid()))
			// Evidence that is there for every script, and the key of the log that it is from.
			key, err := os.ReadFile(filepath.Join(golden, "log", "key"))
			if err != nil {
				return err
			}
			e.Setenv("evidence", golden)
			e.Setenv("key", strings.TrimSpace(string(key)))
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Getuid() == 0, nil
			}
			return false, errors.New("unknown condition")
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exits,
			"hold":    hold,
			"release": release,
			"damage":  damage,
			"journal": journal,
			"forge":   forge,
		},
	})
}

// withoutNap keeps a program that was built with the race detector from sleeping for a second before it
// ends.
const withoutNap = "atexit_sleep_ms=0"

// goldenEvidence is the folder with evidence that left a log long ago.
func goldenEvidence(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", "evidence", "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// meets is in scripts that hold a store, run a program beside another one, or write while something else goes on.
var meets = regexp.MustCompile(`(?m)^hold |^(exec|exits|!) .* &(\w+&)?$|--ack|--every|--otlp|--follow|tail -f`)

func scriptsThatMeet(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	some := slices.DeleteFunc(slices.Clone(all), func(name string) bool {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return !meets.Match(text)
	})
	if len(some) == 0 {
		t.Fatalf("no script of %d has anything that meets", len(all))
	}
	return some
}

// heldStores are the stores that scripts hold, by their folders; scripts run in parallel, each in its own folder.
type heldStores map[string]*audit.DB

func storesOf(ts *testscript.TestScript) heldStores {
	return ts.Value("held").(heldStores)
}

func hold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hold DIR")
	}
	db, err := audit.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { db.Close() })
	storesOf(ts)[args[0]] = db
}

func release(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: release DIR")
	}
	ts.Check(storesOf(ts)[args[0]].Close())
}

func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: damage FILE OFFSET")
	}
	offset, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, offset)
	ts.Check(err)
	b[0] ^= 0x20
	_, err = f.WriteAt(b, offset)
	ts.Check(err)
}

func forge(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 || len(args[1]) != len(args[2]) {
		ts.Fatalf("usage: forge DIR OLD NEW, two texts of the same length")
	}
	dir := ts.MkAbs(args[0])
	j, err := walspec.Read(dir)
	ts.Check(err)
	for _, r := range j.Records {
		forged := bytes.Replace(r.Payload, []byte(args[1]), []byte(args[2]), 1)
		if r.Kind != walspec.Payload || bytes.Equal(forged, r.Payload) {
			continue
		}
		segment := j.Segments[0]
		for _, s := range j.Segments {
			if s.Base <= r.Offset {
				segment = s
			}
		}
		f, err := os.OpenFile(filepath.Join(dir, segment.Name), os.O_RDWR, 0)
		ts.Check(err)
		_, err = f.WriteAt(walspec.Encode(r.Offset, forged), int64(r.Offset-segment.Base))
		ts.Check(errors.Join(err, f.Close()))
		return
	}
	ts.Fatalf("no record of %s has the text", args[0])
}

func journal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: journal DIR FILE")
	}
	j, _, err := wal.Open(ts.MkAbs(args[0]), wal.Options{})
	ts.Check(err)
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		_, err := j.Append(context.Background(), []byte(strings.TrimSuffix(line, "\n")))
		ts.Check(err)
	}
	ts.Check(j.Close())
}
