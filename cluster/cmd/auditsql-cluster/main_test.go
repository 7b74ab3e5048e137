package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/keyfile"
	"github.com/auditsql/auditsql/internal/socket"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"auditsql-cluster": main})
}

// patient is how long a test waits for what must come.
const patient = 2 * time.Minute

// TestScripts runs what a person could have typed. Besides testscript's own commands there are
//
//	exits CODE COMMAND…   run a command that must end with this exit code
//	served DIR            wait until a server has the folder
//	connect FILE          take the environment of the file env of dev
//	keys                  make log.key, witness.key and a policy; LOGKEY is the verifier key, WITNESS a free address
//	cosigned DIR          sign the log of the folder's server, and check the signatures with the policy
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"AUDITSQL_NATS_URL", "AUDITSQL_NATS_USER", "AUDITSQL_NATS_SYSTEM"} {
				e.Setenv(name, "")
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "served": served, "connect": connect, "keys": keys, "cosigned": cosigned},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func served(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: served DIR")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	ts.Check(awaitServer(ctx, ts.MkAbs(args[0])))
}

// awaitServer waits until a server has a folder. It lets the other processes go on between two tries.
func awaitServer(ctx context.Context, dir string) error {
	for {
		c, err := socket.Dial(ctx, dir)
		if err == nil {
			return c.Close()
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("no server has %s: %w", dir, err)
		}
	}
}

func connect(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: connect FILE")
	}
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		ts.Setenv(name, value)
	}
}

func keys(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: keys")
	}
	logKey, err := keyfile.Create(ts.MkAbs("log.key"), "example.org/log")
	ts.Check(err)
	witnessKey, err := keyfile.CreateWitness(ts.MkAbs("witness.key"), "example.org/witness")
	ts.Check(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Check(l.Close())
	ts.Setenv("LOGKEY", logKey)
	ts.Setenv("WITNESS", l.Addr().String())
	policy := fmt.Sprintf("log %s\nwitness other %s http://%s/\nquorum other\n", logKey, witnessKey, l.Addr())
	ts.Check(os.WriteFile(ts.MkAbs("policy"), []byte(policy), 0o600))
}

func cosigned(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: cosigned DIR")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	c, err := socket.Dial(ctx, ts.MkAbs(args[0]))
	ts.Check(err)
	defer c.Close()
	policy, err := evidence.ParsePolicy([]byte(ts.ReadFile("policy")))
	ts.Check(err)
	for {
		s, err := c.Sign(ctx)
		ts.Check(err)
		var v evidence.Verdict
		if s.Size > 0 {
			v = evidence.VerifyCheckpoint([]byte(ts.ReadFile(args[0]+"/checkpoint")), policy)
		}
		if v.Outcome == evidence.Proven && s.Size > 0 && uint64(v.Checkpoint.Size) == s.Size {
			return
		}
		select { // the witness may not have come so far
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			ts.Fatalf("%+v: %+v", s, v)
		}
	}
}

// A dev is auditsql-cluster dev as somebody has started it.
type dev struct {
	t     *testing.T
	dir   string // of the shell in which it was started
	cmd   *exec.Cmd
	typed []string // what its screen says to type
	pages []string // links to the pages of the nodes
	out   io.ReadCloser
	errs  bytes.Buffer
}

func startDev(t *testing.T, dir string, flags ...string) *dev {
	t.Helper()
	d := &dev{t: t, dir: dir, cmd: exec.Command("auditsql-cluster", append([]string{"dev", "-d", "three", "--restart-after", "1s"}, flags...)...)}
	d.cmd.Dir, d.cmd.Stderr = dir, &d.errs
	var err error
	if d.out, err = d.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.cmd.Process.Kill() })
	lines := bufio.NewScanner(d.out)
	for lines.Scan() {
		line := lines.Text()
		if typed, is := strings.CutPrefix(line, "  "); is {
			d.typed = append(d.typed, typed)
		}
		if strings.HasPrefix(line, "node ") {
			words := strings.Fields(line)
			d.pages = append(d.pages, words[len(words)-1])
		}
		if strings.HasPrefix(line, "Ctrl-C") {
			return d
		}
	}
	d.cmd.Wait()
	t.Fatalf("dev has ended: %s", d.errs.String())
	return nil
}

// end types Ctrl-C.
func (d *dev) end() {
	d.t.Helper()
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		d.t.Fatal(err)
	}
	io.Copy(io.Discard, d.out)
	if err := d.cmd.Wait(); err != nil {
		d.t.Fatalf("dev ended with %v: %s", err, d.errs.String())
	}
}

// shell is a line that somebody types in another terminal.
func (d *dev) shell(line string) *exec.Cmd {
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = d.dir
	return cmd
}

func (d *dev) types(line string) string {
	d.t.Helper()
	out, err := d.shell(line).CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// survivesAKill types a dev load and, when it has stored something, what kills the server that leads. Nothing that was acknowledged may be
// missing at its end.
func (d *dev) survivesAKill(line string) {
	t := d.t
	t.Helper()
	load := d.shell(line)
	out, err := load.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	load.Stderr = os.Stderr
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	lines, killed, last := bufio.NewScanner(out), false, ""
	for lines.Scan() {
		last = lines.Text()
		t.Log(last)
		if !killed && strings.Contains(last, " acknowledged, ") && !strings.HasPrefix(last, "0 ") {
			killed = true
			d.types(d.typed[1])
		}
	}
	if err := load.Wait(); err != nil || !killed || !strings.HasSuffix(last, " acknowledged, 0 missing") || strings.HasPrefix(last, "0 ") {
		t.Fatalf("%v, killed: %v, the last line is %q; dev says %s", err, killed, last, d.errs.String())
	}
}

// awaitCheck types the check of the screen until it ends well and says what is wanted.
func (d *dev) awaitCheck(wanted func(said string) bool) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patient)
	defer cancel()
	for {
		said, err := d.shell(d.typed[2]).CombinedOutput()
		if err == nil && wanted(string(said)) {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			d.t.Fatalf("check: %v, %s", err, said)
		}
	}
}

// get is what a browser gets.
func get(t *testing.T, url string) string {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Jar: jar, Timeout: patient}
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What dev's screen says is typed: records are put, meanwhile a server is killed, and nothing that was acknowledged is missing. Dev ends
// in order, and starts again with everything that it had.
func TestWhatDevSays(t *testing.T) {
	dir := t.TempDir()
	d := startDev(t, dir)
	if len(d.typed) != 4 || len(d.pages) != devMembers {
		t.Fatalf("the screen says %q, and links to %q", d.typed, d.pages)
	}
	for _, page := range d.pages {
		if said := get(t, page); !strings.Contains(said, "<h1") {
			t.Errorf("%s: %s", page, said)
		}
		base, _, _ := strings.Cut(page, "/login")
		if said := get(t, base+"/readyz"); said != `{"ready":true,"writes":true,"behind":0}`+"\n" {
			t.Errorf("%s is ready: %s", base, said)
		}
	}
	d.survivesAKill(d.typed[0])
	// The server that was killed runs again after a second, and says that it lacks nothing when it has caught up.
	d.awaitCheck(func(said string) bool { return strings.Count(said, ", 0 missing") == devMembers })
	id := d.types(d.typed[3])
	if len(strings.TrimSpace(id)) != 64 {
		t.Fatalf("put printed %q", id)
	}
	nobodyMayChangeTheStream(t, filepath.Join(dir, "three"))
	d.end()
	for _, name := range []string{"n1/serve.sock", "n2/serve.sock", "n3/serve.sock"} {
		if _, err := os.Lstat(filepath.Join(dir, "three", name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}

	d = startDev(t, dir)
	if again := d.types(strings.Replace(d.typed[0], "dev load", "dev load --for 1s", 1)); !strings.Contains(again, " acknowledged, 0 missing") {
		t.Errorf("after the new start: %s", again)
	}
	d.end()
}

// The records of dev --partitions are divided among the streams. A server is killed under load and nothing is missing; questions are
// answered from all partitions, and what needs one order is refused with words.
func TestADividedDev(t *testing.T) {
	dir := t.TempDir()
	d := startDev(t, dir, "--partitions", "2")
	d.survivesAKill(strings.Replace(d.typed[0], "dev load", "dev load --for 5s", 1))
	d.awaitCheck(func(said string) bool {
		return strings.Count(said, ", 0 missing") == 2*devMembers && strings.Contains(said, "partition 1 of 2 of set ")
	})
	id := strings.TrimSpace(d.types(d.typed[3]))
	if len(id) != 64 {
		t.Fatalf("put printed %q", id)
	}
	page := d.pages[0]
	base, _, _ := strings.Cut(page, "/login")
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := http.Client{Jar: jar, Timeout: patient}
	for _, c := range []struct {
		url    string
		status int
		want   string
	}{
		{page, http.StatusOK, "<h1"}, // it logs in, and shows what is now
		{base + "/readyz", http.StatusOK, `"writes":true`},
		{base + "/list", http.StatusOK, "Tesla"},
		{base + "/top?by=subject", http.StatusOK, "Tesla"},
		{base + "/timeline", http.StatusOK, "<h1"},
		{base + "/agents", http.StatusOK, "<h1"},
		{base + "/health", http.StatusOK, "<h1"},
		{base + "/v1/audits/" + id, http.StatusOK, `"query_id":"` + id},
		{base + "/v1/audits/" + id + "/trace", http.StatusOK, id},
		{base + "/v1/audits?subject=Tesla&limit=1", http.StatusOK, id},
		{base + "/v1/stats", http.StatusOK, "stream AUDIT-0, stream AUDIT-1"},
		{base + "/v1/audits?order=admission", http.StatusNotImplemented, "/problems/divided"},
		{base + "/v1/audits?as_of=1", http.StatusNotImplemented, "only the moments are known that this process has shown"},
		{base + "/v1/tail", http.StatusNotImplemented, "no common order of admission"},
		{base + "/tail", http.StatusNotImplemented, "no common order of admission"},
		{base + "/v1/audits/" + id + "/proof", http.StatusNotImplemented, "each partition has a tree of its own"},
	} {
		answer, err := browser.Get(c.url)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != c.status || !strings.Contains(string(text), c.want) {
			t.Errorf("%s: %d, want %d with %s: %.600s, %v", c.url, answer.StatusCode, c.status, c.want, text, err)
		}
	}
	verify := d.shell(". ./three/env && auditsql-cluster verify -d three/n2")
	if said, err := verify.CombinedOutput(); err != nil || strings.Count(string(said), "the copy, each replica and the heads of all nodes agree") != 2 {
		t.Errorf("verify: %v, %s", err, said)
	}
	for line, want := range map[string]string{
		"auditsql-cluster init --partitions 3":                                     "partition 0 of 2",
		"auditsql-cluster serve --stream AUDIT-0 -d three/n9 --listen 127.0.0.1:0": "it is one of 2 partitions",
		"auditsql-cluster serve -d three/n9 --listen 127.0.0.1:0 --key log.key":    "--key works with one stream",
	} {
		said, err := d.shell(". ./three/env && " + line).CombinedOutput()
		if err == nil || !strings.Contains(string(said), want) {
			t.Errorf("%s: %v, %s", line, err, said)
		}
	}
	// A node that is made from one that runs has all partitions, and the same records.
	if said := d.types(". ./three/env && auditsql-cluster bootstrap -d three/n9 --from three/n1"); !strings.Contains(said, "partition 1: copied ") || !strings.Contains(said, "three/n9/partition-1 has the messages up to") {
		t.Errorf("bootstrap: %s", said)
	}
	if said := d.types(". ./three/env && auditsql-cluster verify -d three/n9"); strings.Count(said, "the copy, each replica and the heads of all nodes agree") != 2 {
		t.Errorf("verify of the new node: %s", said)
	}
	d.end()
	// It starts again as it was, whatever it is told now.
	d = startDev(t, dir)
	if again := d.types(strings.Replace(d.typed[0], "dev load", "dev load --for 1s", 1)); !strings.Contains(again, " acknowledged, 0 missing") {
		t.Errorf("after the new start: %s", again)
	}
	d.end()
	followed := d.shell("ls three/n3 && cat three/n3/partitions.json")
	if said, err := followed.CombinedOutput(); err != nil || !strings.Contains(string(said), "partition-1") || !strings.Contains(string(said), `"partitions":2`) {
		t.Errorf("%v, %s", err, said)
	}
}

// The user of the nodes can neither change the stream nor remove anything from it: the servers have the users of init --acl.
func nobodyMayChangeTheStream(t *testing.T, dir string) {
	t.Helper()
	state, err := readDevState(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	connect := func(user, password string) (*nats.Conn, error) {
		return nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", state.Clients[0]), nats.UserInfo(user, password),
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	}
	if _, err := connect("", ""); err == nil {
		t.Error("somebody without a name was let in")
	}
	for user, password := range map[string]string{"node": state.Secrets.Node, "reader": state.Secrets.Reader} {
		forbidden := []string{"$JS.API.STREAM.UPDATE.AUDIT", "$JS.API.STREAM.PURGE.AUDIT", "$JS.API.STREAM.DELETE.AUDIT", "$JS.API.STREAM.MSG.DELETE.AUDIT", "$JS.API.STREAM.CREATE.OTHER"}
		if user == "reader" {
			forbidden = append(forbidden, "audit.0")
		}
		for _, subject := range forbidden {
			conn, err := connect(user, password)
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Publish(subject, []byte("{}")); err != nil {
				t.Fatal(err)
			}
			// The server refuses it before it answers to the flush.
			if err := conn.Flush(); err != nil {
				t.Fatal(err)
			}
			if err := conn.LastError(); !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s may use %s: %v", user, subject, err)
			}
			conn.Close()
		}
	}
}
