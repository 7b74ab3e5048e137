package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// A process is this program, running beside the test.
type process struct {
	*exec.Cmd
	in      io.WriteCloser
	out     io.ReadCloser
	answers *bufio.Reader    // of out
	said    *strings.Builder // standard error, once the process has ended
}

// start runs the program, which testscript.Main has put into the path.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	var err error
	p := &process{Cmd: exec.Command("auditsql", args...), said: new(strings.Builder)}
	p.Stderr = p.said
	p.Env = append(os.Environ(), "GORACE="+withoutNap)
	if p.in, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if p.out, err = p.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	p.answers = bufio.NewReader(p.out)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	return p
}

// write writes a line, and answer reads one.
func (p *process) write(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

func (p *process) answer(t *testing.T) string {
	t.Helper()
	line, err := p.answers.ReadString('\n')
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}

func record(i int) (line, id string) {
	id = fmt.Sprintf("%064x", i)
	return fmt.Sprintf(`{"query_id":%q,"timestamp":%d,"params":{},"result_confidence":1}`, id, i), id
}

// A program that writes a line and waits for its answer, again and again, always gets it.
func TestAckAnswersLineByLine(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	p := start(t, "-d", dir, "import", "-", "--ack")
	for i := 1; i <= 5; i++ {
		line, id := record(i)
		p.write(t, line)
		if got := p.answer(t); got != id {
			t.Fatalf("got %s, want %s", got, id)
		}
		p.write(t, "\n"+line+"\nnonsense")
		if got := p.answer(t); got != id {
			t.Fatalf("got %s for the duplicate, want %s", got, id)
		}
		if got := p.answer(t); !strings.HasPrefix(got, "!\t") {
			t.Fatalf("got %s for nonsense", got)
		}
	}
	p.in.Close()
	err := p.Wait()
	if code := p.ProcessState.ExitCode(); code != exitPartly {
		t.Errorf("exit code %d, %v\n%s", code, err, p.said)
	}
	if !strings.Contains(p.said.String(), "inserted\t5\nduplicate\t5\nrejected\t5\n") {
		t.Errorf("it said %s", p.said)
	}
}

// A signal ends a writer that waits for input: with its own exit code, and with the store closed.
func TestSignalsCloseTheStore(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent these signals there")
	}
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			p := start(t, "-d", dir, "import", "-", "--ack")
			line, id := record(1)
			p.write(t, line)
			if got := p.answer(t); got != id {
				t.Fatalf("got %s, want %s", got, id)
			}
			if err := p.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = p.Wait()
			if code := p.ProcessState.ExitCode(); code != exitInterrupted {
				t.Errorf("exit code %d\n%s", code, p.said)
			}
			if !strings.Contains(p.said.String(), "auditsql: import: interrupted\n") {
				t.Errorf("it said %s", p.said)
			}
			needs, err := audit.NeedsRecovery(context.Background(), dir)
			if err != nil || needs != "" {
				t.Errorf("the store was not closed: %v, %v", needs, err)
			}
		})
	}
}

// tail -f shows what another process writes, and ends with a signal.
func TestTailFollowsAWriter(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent these signals there")
	}
	dir := filepath.Join(t.TempDir(), "store")
	w := start(t, "-d", dir, "import", "-", "--ack")
	line, id := record(1)
	w.write(t, line)
	w.answer(t)

	p := start(t, "-d", dir, "tail", "-f")
	if got := p.answer(t); !strings.Contains(got, id) {
		t.Fatalf("got %s, want %s", got, id)
	}
	for i := 2; i <= 4; i++ {
		line, id := record(i)
		w.write(t, line)
		w.answer(t)
		if got := p.answer(t); !strings.Contains(got, id) {
			t.Fatalf("got %s, want %s", got, id)
		}
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()
	if code := p.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d\n%s", code, p.said)
	}
}

// A writer whose answers nobody reads any more stops, says so, and closes the store.
func TestAckWithoutAReader(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	p := start(t, "-d", dir, "import", "-", "--ack")
	line, _ := record(1)
	p.write(t, line)
	p.answer(t)
	p.out.Close()
	p.write(t, line)
	_ = p.Wait()
	if code := p.ProcessState.ExitCode(); code != exitPipe {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(p.said.String(), "auditsql: import: the reader of the answers has gone\n") {
		t.Errorf("it said %s", p.said)
	}
	if needs, err := audit.NeedsRecovery(context.Background(), dir); err != nil || needs != "" {
		t.Errorf("the store was not closed: %v, %v", needs, err)
	}
}

// Who stops reading, as head does, ends a command that reads without a word.
func TestAClosedOutputIsNoError(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	w := start(t, "-d", dir, "import", "-")
	for i := range 1500 {
		line, _ := record(i + 1)
		w.write(t, line)
	}
	w.in.Close()
	if _, err := io.Copy(io.Discard, w.answers); err != nil {
		t.Fatal(err)
	}
	if err := w.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, w.said)
	}
	p := start(t, "-d", dir, "export")
	p.answer(t)
	p.out.Close()
	_ = p.Wait()
	if code := p.ProcessState.ExitCode(); code != exitPipe {
		t.Errorf("exit code %d", code)
	}
	if p.said.Len() > 0 {
		t.Errorf("it said %s", p.said)
	}
}

// A query that would never end is ended by a signal, also while it prints.
func TestASignalEndsAQuery(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent these signals there")
	}
	dir := filepath.Join(t.TempDir(), "store")
	db, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	p := start(t, "-d", dir, "sql", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n", "--limit", "0", "--timeout", "0")
	if got := p.answer(t); got != "1" {
		t.Fatalf("got %q", got)
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, p.answers); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()
	if code := p.ProcessState.ExitCode(); code != exitInterrupted || p.said.String() != "auditsql: sql: interrupted\n" {
		t.Errorf("exit code %d\n%s", code, p.said)
	}
}
