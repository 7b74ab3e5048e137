package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/auditsql/auditsql/internal/tui"
)

// goesOn returns the offset with which the next run of tail goes on.
func goesOn(t *testing.T, said string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^note: the next run goes on with --after ([0-9]+)`).FindStringSubmatch(said)
	if m == nil {
		t.Fatalf("it does not say where the next run goes on: %s", said)
	}
	return m[1]
}

// A tail that a signal ends says where the next one goes on, and that one shows what came meanwhile and nothing else.
func TestATailThatASignalEndsCanGoOn(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent these signals there")
	}
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "store")
			w := start(t, "-d", dir, "import", "-", "--ack")
			line, id := record(1)
			w.write(t, line)
			w.answer(t)
			p := start(t, "-d", dir, "tail", "-f", "--state", filepath.Join(t.TempDir(), "state"), "-n", "5")
			if got := p.answer(t); !strings.Contains(got, id) {
				t.Fatalf("got %s", got)
			}
			if err := p.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = p.Wait()
			if code := p.ProcessState.ExitCode(); code != exitInterrupted {
				t.Errorf("exit code %d\n%s", code, p.said)
			}
			line, id = record(2)
			w.write(t, line)
			w.answer(t)
			out, said, code := ran(t, "-d", dir, "tail", "--after", goesOn(t, p.said.String()))
			if code != exitDone || strings.Count(out, "\n") != 1 || !strings.Contains(out, id) {
				t.Errorf("exit code %d: %s%s", code, out, said)
			}
		})
	}
}

// A tail that is killed begins again with what its file of --state says: it misses nothing.
func TestATailThatIsKilledMissesNothing(t *testing.T) {
	t.Parallel()
	dir, state := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "state")
	w := start(t, "-d", dir, "import", "-", "--ack")
	put := func(i int) {
		line, _ := record(i)
		w.write(t, line)
		w.answer(t)
	}
	put(1)
	seen := map[string]bool{}
	for i := 2; i <= 12; i += 2 {
		p := start(t, "-d", dir, "tail", "-f", "--state", state, "-n", "1", "--exec", "echo $AUDITSQL_QUERY_ID")
		if i == 2 {
			seen[p.answer(t)] = true // the newest when the first one began
		}
		put(i)
		put(i + 1)
		for range 2 {
			seen[p.answer(t)] = true
		}
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		// One that begins with a record a second time may be killed when it has handed over more than two.
		more, err := io.ReadAll(p.answers)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(more)) {
			seen[strings.TrimSpace(line)] = true
		}
		_ = p.Wait()
	}
	rest, said, code := ran(t, "-d", dir, "tail", "--state", state, "--exec", "echo $AUDITSQL_QUERY_ID")
	if code != exitDone {
		t.Fatalf("exit code %d: %s", code, said)
	}
	for line := range strings.Lines(rest) {
		seen[strings.TrimSpace(line)] = true
	}
	for i := 1; i <= 13; i++ {
		if _, id := record(i); !seen[id] {
			t.Errorf("record %d was missed", i)
		}
	}
}

// An interruption lets the command end that runs, and its record counts as seen.
func TestAnInterruptedTailLetsItsCommandEnd(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent these signals there")
	}
	dir := filepath.Join(t.TempDir(), "store")
	fifo := filepath.Join(t.TempDir(), "fifo")
	if out, err := exec.Command("mkfifo", fifo).CombinedOutput(); err != nil {
		t.Skipf("%v: %s", err, out)
	}
	line, id := record(1)
	w := start(t, "-d", dir, "import", "-", "--ack")
	w.write(t, line)
	w.answer(t)
	p := start(t, "-d", dir, "tail", "-f", "-n", "1", "--exec", fmt.Sprintf("echo begun; cat '%s'; echo $AUDITSQL_QUERY_ID", fifo))
	if got := p.answer(t); got != "begun" {
		t.Fatalf("got %s", got)
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if got := p.answer(t); got != id {
		t.Fatalf("got %s", got)
	}
	_ = p.Wait()
	if code := p.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d\n%s", code, p.said)
	}
	if out, said, code := ran(t, "-d", dir, "tail", "--after", goesOn(t, p.said.String())); code != exitDone || out != "" {
		t.Errorf("exit code %d: %s%s", code, out, said)
	}
}

// A command that does not end after an interruption is killed, and its record comes again.
func TestATailKillsACommandThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	if _, said, code := ran(t, "-d", dir, "put", "--subject", "x"); code != exitDone {
		t.Fatal(said)
	}
	ctx, interrupt := context.WithCancelCause(t.Context())
	var out, said bytes.Buffer
	s := testStreams()
	s.err, s.commandWait = &said, 1
	s.out = watchedWriter{&out, func() { interrupt(errInterrupted) }}
	if code := run(ctx, []string{"-d", dir, "tail", "--after", "0", "--exec", "echo begun; exec sleep 1000"}, s); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(said.String(), "it was killed") {
		t.Errorf("it says %s", &said)
	}
	again, _, code := ran(t, "-d", dir, "tail", "--after", goesOn(t, said.String()))
	if code != exitDone || strings.Count(again, "\n") != 1 {
		t.Errorf("exit code %d: %q", code, again)
	}
}

// What was printed into a pipe that nobody reads any more was not seen: the next run begins with it.
func TestATailWithoutAReaderHasNotShownIt(t *testing.T) {
	t.Parallel()
	dir, state := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "state")
	if _, said, code := ran(t, "-d", dir, "put", "--subject", "x"); code != exitDone {
		t.Fatal(said)
	}
	if err := os.WriteFile(state, []byte("0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	s := testStreams()
	s.out, s.err = brokenPipe{}, &said
	if code := run(t.Context(), []string{"-d", dir, "tail", "--state", state}, s); code != exitPipe || said.Len() > 0 {
		t.Errorf("exit code %d: %s", code, &said)
	}
	if out, _, code := ran(t, "-d", dir, "tail", "--state", state); code != exitDone || strings.Count(out, "\n") != 1 {
		t.Errorf("exit code %d: %q", code, out)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// A reader of the output that has gone ends a command without a word, and with the code that a shell has for it.
func TestAReaderThatHasGoneEndsACommandQuietly(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	if _, said, code := ran(t, "-d", dir, "put", "--subject", "x"); code != exitDone {
		t.Fatal(said)
	}
	for _, args := range [][]string{
		{"help"}, {"list", "--help"}, {"version"}, {"import", "--show-map"}, {"sql", "--list"},
		{"list"}, {"list", "-o", "json"}, {"export"}, {"tail"}, {"top", "--by", "subject"}, {"stats"}, {"timeline"}, {"agents"}, {"sql", "recent"}, {"trace", "--from", "0"},
	} {
		var said bytes.Buffer
		s := testStreams()
		s.out, s.err = brokenPipe{}, &said
		if code := run(t.Context(), append([]string{"-d", dir}, args...), s); code != exitPipe || said.Len() > 0 {
			t.Errorf("%q: exit code %d: %s", args, code, &said)
		}
	}
}

// On a terminal a tail is a table with one head, and each record has one line that fits.
func TestATailOnATerminalIsATable(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	for i := range 5 {
		if _, said, code := ran(t, "-d", dir, "put", "--subject", strings.Repeat("Northwind ", 1+9*i), "--timestamp", fmt.Sprint(i)); code != exitDone {
			t.Fatal(said)
		}
	}
	var out, said bytes.Buffer
	s := testStreams()
	s.out, s.err, s.outTerm = &out, &said, tui.Terminal{Is: true, Width: 80}
	ctx, interrupt := context.WithCancelCause(t.Context())
	lines := 0
	s.out = watchedWriter{&out, func() {
		if lines++; lines == 5 {
			interrupt(errInterrupted)
		}
	}}
	if code := run(ctx, []string{"-d", dir, "tail", "-f", "-n", "5"}, s); code != exitInterrupted {
		t.Errorf("exit code %d: %s", code, &said)
	}
	got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(got) != 7 || !strings.HasPrefix(got[0], "time ") || strings.Trim(got[1], "-") != "" {
		t.Errorf("got\n%s", &out)
	}
	for _, line := range got {
		if n := tui.DisplayWidth(line); n > 80 {
			t.Errorf("%d columns: %q", n, line)
		}
	}
}
