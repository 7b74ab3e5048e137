package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
)

var (
	kills    = flag.Int("kills", 2, "how often TestReadersBesideKilledWriters kills its writer")
	killSeed = flag.Uint64("kill-seed", uint64(time.Now().UnixNano()), "which moments it chooses")
)

// feed writes records from first on to an import - --ack until it dies, and sends each id that it answers with.
func feed(p *process, first int) <-chan string {
	go func() {
		for i := first; ; i++ {
			line, _ := record(i)
			if _, err := io.WriteString(p.in, line+"\n"); err != nil {
				return
			}
		}
	}()
	ids := make(chan string)
	go func() {
		defer close(ids)
		for line, err := p.answers.ReadString('\n'); err == nil; line, err = p.answers.ReadString('\n') {
			ids <- strings.TrimSpace(line)
		}
	}()
	return ids
}

// auditsql runs a command to its end.
func auditsql(args ...string) (out, said string, code int) {
	return auditsqlReading("", args...)
}

// auditsqlReading is auditsql with a standard input.
func auditsqlReading(in string, args ...string) (out, said string, code int) {
	var stdout, stderr strings.Builder
	cmd := exec.Command("auditsql", args...)
	if in != "" {
		cmd.Stdin = strings.NewReader(in)
	}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(os.Environ(), "GORACE="+withoutNap)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return "", err.Error(), -1
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

// wantAnswered checks that a store has every record that was answered with its id.
func wantAnswered(t *testing.T, store string, ids []string) {
	t.Helper()
	for len(ids) > 0 {
		some := ids[:min(500, len(ids))]
		ids = ids[len(some):]
		out, said, code := auditsql(append([]string{"-d", store, "get", "--raw"}, some...)...)
		if n := strings.Count(out, `{"query_id":`); code != exitDone || n != len(some) {
			t.Fatalf("of %d answered ids %d are there, exit code %d: %s", len(some), n, code, said)
		}
	}
}

// Commands that read beside a writer that is killed again and again get right answers, whatever they meet: a store
// that is being written to, one that has just died, one that another of them is recovering.
func TestReadersBesideKilledWriters(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an import cannot be killed there without its input being closed first")
	}
	rounds := *kills
	t.Logf("-kills=%d -kill-seed=%d", rounds, *killSeed)
	random := rand.New(rand.NewPCG(*killSeed, 0))
	store := filepath.Join(t.TempDir(), "store")
	if _, said, code := auditsql("-d", store, "init", "--segment-bytes", "64KiB", "--wal-retain", "256KiB"); code != exitDone {
		t.Fatal(said)
	}
	var mu sync.Mutex
	var answered []string
	newest := func() string { // one that was answered some time ago
		mu.Lock()
		defer mu.Unlock()
		if len(answered) == 0 {
			return ""
		}
		return answered[len(answered)-1]
	}
	next, asked := 1, 0
	for round := range rounds {
		p := start(t, "-d", store, "import", "-", "--ack")
		ids := feed(p, next)
		enough, got := 100+random.IntN(900), 0
		var readers sync.WaitGroup
		dead := make(chan bool)
		for _, args := range [][]string{
			{"recent", "5"}, {"get", "--raw", ""}, {"stats"}, {"tail", "-n", "3"}, {"sql", "SELECT count(*) FROM audits"}, {"verify", "--quick"},
		} {
			readers.Go(func() {
				for last := false; !last; {
					select {
					case <-dead:
						last = true // and once more, beside the others
					default:
					}
					args := append([]string{"-d", store}, args...)
					if args[len(args)-1] == "" {
						if args[len(args)-1] = newest(); args[len(args)-1] == "" {
							continue
						}
					}
					out, said, code := auditsql(args...)
					wrong := code != exitDone || out == "" && round > 0
					// The applier may not have applied what was answered. Then a record is not there yet; there is never another one in its place.
					// Once the writer is dead, whoever comes first recovers the store and the others wait for that.
					if args[2] == "get" && code == exitNotFound {
						wrong = last
					} else if args[2] == "get" && !strings.Contains(out, args[4]) {
						wrong = true
					}
					if wrong {
						t.Errorf("round %d: %q: exit code %d, %q: %s", round, args, code, out, said)
					}
					mu.Lock()
					asked++
					mu.Unlock()
				}
			})
		}
		for id := range ids {
			mu.Lock()
			answered = append(answered, id)
			mu.Unlock()
			if got++; got == enough {
				if err := p.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = p.Wait()
		close(dead)
		readers.Wait()
		if got < enough {
			t.Fatalf("round %d: %d answers only: %s", round, got, p.said)
		}
		next += got + 100_000 // after all that it may have stored
		if round == rounds-1 || round%20 == 19 {
			wantAnswered(t, store, answered)
			if out, said, code := auditsql("-d", store, "verify"); code != exitDone {
				t.Fatalf("round %d: verify: %s%s", round, out, said)
			}
		}
	}
	t.Logf("%d kills, %d records answered, none lost, %d commands beside them", rounds, len(answered), asked)
}

// A signal in the middle of the load ends a writer with everything that it had answered, and the store closed.
func TestSignalsUnderLoad(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent these signals there")
	}
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			store := filepath.Join(t.TempDir(), "store")
			p := start(t, "-d", store, "import", "-", "--ack")
			var answered []string
			for id := range feed(p, 1) {
				if answered = append(answered, id); len(answered) == 200 {
					if err := p.Process.Signal(sig); err != nil {
						t.Fatal(err)
					}
				}
			}
			_ = p.Wait()
			if code := p.ProcessState.ExitCode(); code != exitInterrupted {
				t.Errorf("exit code %d: %s", code, p.said)
			}
			if needs, err := audit.NeedsRecovery(t.Context(), store); err != nil || needs != "" {
				t.Errorf("the store was not closed: %v, %v", needs, err)
			}
			wantAnswered(t, store, answered)
			stats, _, _ := auditsql("-d", store, "sql", "SELECT count(*) FROM audits")
			// Records that were not answered may be there as well, but not more than one batch.
			var n int
			if _, err := fmt.Sscan(stats, &n); err != nil || n < len(answered) || n > len(answered)+ingest.BatchRecords {
				t.Errorf("%d answered, %s there", len(answered), stats)
			}
		})
	}
}

// Of many processes that want to write at once, one does, and the others get its pid.
func TestOneOfManyWritersGetsTheLock(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	if _, said, code := auditsql("-d", store, "init"); code != exitDone {
		t.Fatal(said)
	}
	const n = 5
	var all []*process
	for range n {
		all = append(all, start(t, "-d", store, "import", "-", "--ack"))
	}
	line, id := record(1)
	type outcome struct {
		p      *process
		answer string
	}
	outcomes := make(chan outcome)
	for _, p := range all {
		go func() {
			_, _ = io.WriteString(p.in, line+"\n") // a loser may be gone already
			answer, _ := p.answers.ReadString('\n')
			outcomes <- outcome{p, strings.TrimSpace(answer)}
		}()
	}
	var winner *process
	var losers []*process
	for range all {
		switch o := <-outcomes; {
		case o.answer == id && winner == nil:
			winner = o.p
		case o.answer == "":
			losers = append(losers, o.p)
		default:
			t.Fatalf("another one got the answer %s", o.answer)
		}
	}
	if winner == nil {
		t.Fatal("nobody writes")
	}
	for _, p := range losers {
		_ = p.Wait()
		if code, want := p.ProcessState.ExitCode(), fmt.Sprintf("pid %d", winner.Process.Pid); code != exitLocked || !strings.Contains(p.said.String(), want) {
			t.Errorf("exit code %d, want %s named: %s", code, want, p.said)
		}
	}
	winner.in.Close()
	if err := winner.Wait(); err != nil {
		t.Errorf("%v: %s", err, winner.said)
	}
}

// A tail that nobody reads for a while still prints every record, although the journal was trimmed meanwhile: what is not in the
// journal any more comes from SQLite.
func TestTailMissesNothingThatWasTrimmed(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	if _, said, code := auditsql("-d", store, "init", "--segment-bytes", "16KiB", "--wal-retain", "none"); code != exitDone {
		t.Fatal(said)
	}
	w := start(t, "-d", store, "import", "-", "--ack")
	line, first := record(1)
	w.write(t, line)
	w.answer(t)
	p := start(t, "-d", store, "tail", "-f", "-n", "100")
	want, printed := []string{first}, []string{p.answer(t)} // it follows, and from here on nobody reads what it says
	for i := 2; i < 1500; i++ {
		line, id := record(i)
		want = append(want, id)
		w.write(t, line)
		w.answer(t)
	}
	w.in.Close() // brings SQLite to disk
	if err := w.Wait(); err != nil {
		t.Fatal(w.said)
	}
	// The next close trims up to what this one has brought there.
	if _, said, code := auditsql("-d", store, "put", "--subject", "after", "--confidence", "1"); code != exitDone {
		t.Fatal(said)
	}
	for range len(want) {
		printed = append(printed, p.answer(t))
	}
	for i, id := range want {
		if !strings.Contains(printed[i], id) {
			t.Fatalf("record %d is %s, not %s", i, printed[i], id)
		}
	}
	if last := printed[len(want)]; !strings.Contains(last, `"after"`) {
		t.Errorf("the last record is %s", last)
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()
	if code := p.ProcessState.ExitCode(); code != exitInterrupted || !strings.Contains(p.said.String(), "--after") {
		t.Errorf("exit code %d: %s", code, p.said)
	}
}

// A process that has run out of file descriptors says so, and loses nothing.
func TestTooFewFileDescriptors(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no such limit there")
	}
	store := filepath.Join(t.TempDir(), "store")
	if _, said, code := auditsql("-d", store, "init", "--segment-bytes", "4KiB"); code != exitDone {
		t.Fatal(said)
	}
	var answered []string
	failed, first := 0, 1
	for limit := 8; limit <= 32; limit += 3 {
		cmd := exec.Command("sh", "-c", fmt.Sprintf(`ulimit -n %d && exec auditsql -d "$0" import - --ack`, limit), store)
		cmd.Env = append(os.Environ(), "GORACE="+withoutNap)
		var in, stderr strings.Builder
		for range 40 {
			line, _ := record(first)
			first++
			in.WriteString(line + "\n")
		}
		cmd.Stdin, cmd.Stderr = strings.NewReader(in.String()), &stderr
		out, err := cmd.Output()
		for id := range strings.Lines(string(out)) {
			answered = append(answered, strings.TrimSpace(id))
		}
		if err == nil {
			continue
		}
		failed++
		if code, said := cmd.ProcessState.ExitCode(), stderr.String(); code != exitFailed || !strings.Contains(said, "too many open files") && !strings.Contains(said, "unable to open database file") {
			t.Errorf("limit %d: exit code %d: %s", limit, code, said)
		}
	}
	if failed == 0 || len(answered) == 0 {
		t.Fatalf("%d failed, %d answered", failed, len(answered))
	}
	wantAnswered(t, store, answered)
	if out, said, code := auditsql("-d", store, "verify"); code != exitDone {
		t.Fatalf("verify: %s%s", out, said)
	}
}
