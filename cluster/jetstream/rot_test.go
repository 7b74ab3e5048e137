package jetstream_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
)

// command runs auditsql-cluster as a person does.
type command struct {
	t      *testing.T
	binary string
	c      *servers
	user   string // of the stream's account; its password is its name. "": none
}

func buildCommand(t *testing.T, c *servers) command {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "auditsql-cluster")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/auditsql-cluster").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return command{t, binary, c, ""}
}

// run returns what the command prints, and its exit code.
func (r command) run(args ...string) (string, int) {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), r.binary, append(args, "--nats", r.c.options().URL)...)
	cmd.Env = append(os.Environ(), "AUDITSQL_NATS_SYSTEM=sys:sys")
	if r.user != "" {
		cmd.Env = append(cmd.Env, "AUDITSQL_NATS_USER="+r.user+":"+r.user)
	}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func (r command) want(code int, texts []string, args ...string) {
	r.t.Helper()
	out, got := r.run(args...)
	if got != code {
		r.t.Fatalf("%v ends with %d, want %d:\n%s", args, got, code, out)
	}
	for _, text := range texts {
		if !strings.Contains(out, text) {
			r.t.Errorf("%v does not say %q:\n%s", args, text, out)
		}
	}
}

// awaitCheck checks until what is found fits. A server that was started takes some seconds to say what it has.
func awaitCheck(t *testing.T, l cluster.Log, what string, fits func(cluster.Report) bool) cluster.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := cluster.Check(ctx, l)
		if err == nil && fits(r) {
			return r
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %+v, %v", what, r, err)
		}
	}
}

// large makes the i-th of a row of different records of some 16 KB.
func large(i int) cluster.Message {
	q := sample(i)
	q.Attributes["text"] = strings.Repeat("x", 16<<10)
	raw, _ := q.Canonical()
	return cluster.NewRecord(q.QueryID, raw)
}

// appendAll gives messages to the stream, and gives those again that got no answer.
func appendAll(t *testing.T, l cluster.Log, ms []cluster.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for len(ms) > 0 {
		var again []cluster.Message
		for i, done := range l.Append(ctx, ms) {
			if done.Err != nil {
				again = append(again, ms[i])
			}
		}
		if ms = again; ctx.Err() != nil {
			t.Fatal("the stream takes no messages")
		}
	}
}

// streamDir is the folder of the stream in the storage of a server.
func streamDir(s serverSpec) string {
	return filepath.Join(s.Dir, "jetstream", "AUDIT", "streams", "AUDIT")
}

// One bit flips in a file of one replica. The replica loses messages and says that it is healthy. Check finds it and says how to heal it.
// A node that reads that replica gets what it lacks from another one. After the steps that check prints all is well.
func TestBitRot(t *testing.T) {
	c := startServers(t, 3, nil)
	c.initStream(jetstream.Spec{})
	l := c.open()
	const records = 1200 // more than one file of the stream
	var ms []cluster.Message
	for i := range records {
		if ms = append(ms, large(i)); len(ms) == 200 {
			appendAll(t, l, ms)
			ms = nil
		}
	}
	whole := func(r cluster.Report) bool {
		for _, x := range r.Info.Replicas {
			if !x.Answers || x.Missing > 0 || x.Last != r.Info.Replicas[0].Last {
				return false
			}
		}
		return len(r.Info.Replicas) == 3
	}
	awaitCheck(t, l, "the replicas do not agree", whole)
	// The first replica by its name is the one that a new node reads first. It does not lead after its death.
	const rotten = 0
	c.stop(rotten)
	blocks, err := filepath.Glob(filepath.Join(streamDir(c.specs[rotten]), "msgs", "*.blk"))
	if err != nil || len(blocks) < 2 {
		t.Fatal(blocks, err)
	}
	for _, block := range blocks {
		content, err := os.ReadFile(block)
		if err != nil {
			t.Fatal(err)
		}
		content[len(content)/2] ^= 4
		if err := os.WriteFile(block, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.start(rotten)
	awaitCheck(t, l, "the server does not come back", func(r cluster.Report) bool {
		return len(r.Info.Replicas) == 3 && r.Info.Replicas[rotten].Answers && r.Info.Replicas[rotten].Last == records
	})
	cli := buildCommand(t, c)
	// A new node takes from another replica what this one lacks.
	dir := filepath.Join(t.TempDir(), "node")
	cli.want(0, nil, "follow", "--once", "-d", dir)
	db, err := audit.Open(dir, audit.ReadOnly())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if size, _, err := db.Root(t.Context()); err != nil || size != records {
		t.Fatalf("the copy has %d records, %v", size, err)
	}
	// A server notices what is wrong with a file when it reads it. Verify reads each message of each replica.
	// It may take several runs, since any replica may answer.
	for began := time.Now(); ; {
		out, code := cli.run("verify", "-d", dir)
		if strings.Contains(out, "server s2") || strings.Contains(out, "server s3") {
			t.Errorf("another replica is to be healed:\n%s", out)
		}
		if code == 5 && strings.Contains(out, "problem: replica s1 lacks") {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("verify ends with %d:\n%s", code, out)
		}
	}
	r := awaitCheck(t, l, "the damage is not seen", func(r cluster.Report) bool { return len(r.Damaged) > 0 })
	if len(r.Damaged) != 1 || r.Damaged[0].Name != "s1" {
		t.Fatalf("%+v", r.Damaged)
	}
	t.Logf("one bit cost s1 %d of %d messages", r.Damaged[0].Missing, records)
	cli.want(5, []string{"replica s1", "Stop server s1, which lacks", "Move the folder of the stream", "Start s1 again", "Replace no other server before"}, "check")

	// The steps, as they were printed.
	c.kill(rotten)
	if err := os.Rename(streamDir(c.specs[rotten]), filepath.Join(t.TempDir(), "aside")); err != nil {
		t.Fatal(err)
	}
	c.start(rotten)
	awaitCheck(t, l, "the replica is not healed", whole)
	cli.want(0, []string{"each replica that answers is whole"}, "check")
	for began := time.Now(); ; {
		out, code := cli.run("verify", "-d", dir)
		if code == 0 && strings.Contains(out, "the copy, each replica and the heads of all nodes agree") {
			break
		}
		if code == 5 || time.Since(began) > time.Minute {
			t.Fatalf("after the healing verify ends with %d:\n%s", code, out)
		}
	}
}

// A bootstrap that is killed at any instant leaves no folder, or a whole one. The next one completes it.
func TestBootstrapIsKilled(t *testing.T) {
	c := startServers(t, 1, nil)
	c.initStream(jetstream.Spec{Replicas: 1})
	l := c.open()
	var ms []cluster.Message
	for i := range 200 {
		ms = append(ms, large(i))
	}
	appendAll(t, l, ms)
	home := t.TempDir()
	from, dir := filepath.Join(home, "from"), filepath.Join(home, "new")
	n, err := cluster.Open(t.Context(), from, l, cluster.Options{Unproven: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.WaitFor(t.Context(), 200); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	part := func() int64 {
		var size int64
		parts, _ := filepath.Glob(filepath.Join(home, ".new.part-*"))
		for _, p := range parts {
			filepath.WalkDir(p, func(_ string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					if st, err := d.Info(); err == nil {
						size += st.Size()
					}
				}
				return nil // it may be gone by now
			})
		}
		return size
	}
	interrupted := 0
	for _, at := range []int64{1, 100 << 10, 1 << 20, 2 << 20, 3 << 20} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), bootstrapEnv+"="+c.options().URL+"\n"+from+"\n"+dir)
		var said bytes.Buffer
		cmd.Stderr = &said
		before := part()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		for ended := false; !ended; runtime.Gosched() {
			select {
			case <-done:
				ended = true
			default:
				if part()-before >= at {
					cmd.Process.Kill()
					<-done
					ended = true
				}
			}
		}
		if _, err := os.Stat(dir); err == nil {
			t.Logf("killed at %d bytes: it had ended: %s", at, said.String())
			break
		}
		interrupted++
	}
	left, err := cluster.Unfinished(dir)
	if err != nil || interrupted == 0 || len(left) == 0 {
		t.Fatalf("%d were interrupted, and %v are left, %v", interrupted, left, err)
	}
	if _, err := os.Stat(dir); err != nil {
		if _, err := cluster.Bootstrap(t.Context(), l, from, dir, cluster.BootstrapOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	db, err := audit.Open(dir, audit.ReadOnly())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if r, err := db.Verify(t.Context(), audit.VerifyOptions{}); err != nil || !r.OK() || r.Audits != 200 {
		t.Fatalf("%v, %v", r.Problems, err)
	}
	cli := buildCommand(t, c)
	other := filepath.Join(home, "other")
	cli.want(0, []string{"copied 200 records, up to message 200", "has the messages up to 200"}, "bootstrap", "-d", other, "--from", from, "--unproven-durability")
	cli.want(1, []string{"is left of a bootstrap that did not end", "not empty"}, "bootstrap", "-d", dir, "--from", from, "--unproven-durability")
	cli.want(1, []string{"unproven: "}, "verify", "-d", other)
	removeStream(t, c, "AUDIT")
	c.initStream(jetstream.Spec{Replicas: 1})
	cli.want(5, []string{"do not belong together"}, "bootstrap", "-d", filepath.Join(home, "third"), "--from", from, "--unproven-durability")
}

// bootstrapEnv makes the test binary bootstrap a node: the servers, the backup and the folder.
const bootstrapEnv = "AUDITSQL_TEST_BOOTSTRAP"

func beBootstrap(arg string) error {
	url, rest, _ := strings.Cut(arg, "\n")
	from, dir, _ := strings.Cut(rest, "\n")
	l, err := jetstream.Open(context.Background(), jetstream.Options{URL: url})
	if err != nil {
		return err
	}
	defer l.Close()
	_, err = cluster.Bootstrap(context.Background(), l, from, dir, cluster.BootstrapOptions{})
	return err
}
