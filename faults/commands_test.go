package faults_test

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

var commandRounds = flag.Int("command-rounds", 1, "how many rounds TestRandomFaultsUnderCommands runs")

// program builds the auditsql command once and returns its path.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "auditsql-faults-")
	if err != nil {
		return "", err
	}
	programDir = dir
	name := filepath.Join(dir, "auditsql")
	build := exec.Command("go", "build", "-o", name, "./cmd/auditsql")
	build.Dir = ".." // the command is in another module
	out, err := build.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build: %w\n%s", err, out)
	}
	return name, err
})

// programDir is the folder of program, to be removed at the end; "" if program was not built.
var programDir string

// Commands write, read, back up, reindex and repair one store at once, each in a process of its own, while calls on
// files fail at random. No command may hang, panic or end by a signal, and nothing acknowledged may be lost.
func TestRandomFaultsUnderCommands(t *testing.T) {
	fs := mounted(t)
	must(program())
	first := firstSeed()
	for i := range *commandRounds {
		t.Run(fmt.Sprint("round ", i), func(t *testing.T) {
			seed := first + uint64(i)
			t.Logf("-command-rounds 1 -seed %d", seed)
			s := newStore(fs, seed, nil)
			defer s.end()
			c := &commands{beside{store: s, t: t, random: rand.New(rand.NewPCG(seed, 7))}}
			c.round()
		})
	}
}

type commands struct{ beside }

// command prepares a command. The buffer receives its standard error.
func (c *commands) command(args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(must(program()), args...)
	cmd.Env = append(os.Environ(), "AUDITSQL_DIR="+c.dir(), "GOTRACEBACK=all")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	return cmd, &stderr
}

// wait waits for a command. If the command takes too long, wait makes it print its stacks and end.
func (c *commands) wait(cmd *exec.Cmd, stderr *bytes.Buffer) {
	watch := time.AfterFunc(*slow, func() { cmd.Process.Signal(syscall.SIGQUIT) })
	start := time.Now()
	err := cmd.Wait()
	if !watch.Stop() {
		c.t.Errorf("%v has not ended within %v\n%s", cmd.Args[1:], time.Since(start).Round(time.Second), stderr)
	}
	var ended *exec.ExitError
	if errors.As(err, &ended) && (ended.ExitCode() < 0 || bytes.Contains(stderr.Bytes(), []byte("panic:"))) {
		c.t.Errorf("%v: %v\n%s", cmd.Args[1:], err, stderr)
	}
}

func (c *commands) run(args ...string) {
	cmd, stderr := c.command(args...)
	if err := cmd.Start(); err != nil {
		c.t.Error(err)
		return
	}
	c.wait(cmd, stderr)
}

// write starts one process that imports, and gives it n records, one after the other.
func (c *commands) write(n int) {
	cmd, stderr := c.command("import", "-", "--ack", "--lock-wait", "5s")
	in, out := must(cmd.StdinPipe()), must(cmd.StdoutPipe())
	ok(cmd.Start())
	answers := bufio.NewScanner(out)
	for range n {
		q := record(c.next)
		c.next++
		q.QueryID = must(q.ID())
		line := string(must(q.Canonical()))
		c.mu.Lock()
		c.given[q.QueryID] = line
		c.mu.Unlock()
		if _, err := io.WriteString(in, line+"\n"); err != nil || !answers.Scan() {
			break
		}
		if answer := answers.Text(); answer == q.QueryID.String() {
			c.mu.Lock()
			c.there[q.QueryID] = line
			c.mu.Unlock()
		}
	}
	in.Close()
	io.Copy(io.Discard, out)
	c.wait(cmd, stderr)
}

func (c *commands) round() {
	c.run("init", "--wal-retain", pick(c.random, "none", "none", "20KiB"), "--segment-bytes", "4096")
	c.write(30)
	c.m.Plan(c.plan()...)
	stop := make(chan bool)
	var others sync.WaitGroup
	agent := record(1).AgentID.String()
	for i, args := range [][]string{
		{"recent"}, {"verify"}, {"backup", filepath.Join(c.m.Dir(), "backup")}, {"reindex"}, {"name", agent, "one"}, {"wal", "repair"}, {"top", "agents"},
	} {
		others.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				c.run(args...)
				if args[0] == "backup" {
					os.RemoveAll(args[1])
				}
				if n%3 == i%3 {
					c.run("stats")
				}
			}
		})
	}
	for range 2 + c.random.IntN(4) {
		c.write(20 + c.random.IntN(100))
	}
	close(stop)
	others.Wait()
	switch c.random.IntN(3) {
	case 0:
		c.m.PowerCut()
	case 1:
		c.m.Kill()
	default:
		c.m.Plan()
	}
	c.run("wal", "repair", "--apply")
	c.run("recent")
	if err := c.recovered(); err != nil {
		c.t.Error(err)
	}
}
