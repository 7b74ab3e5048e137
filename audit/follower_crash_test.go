package audit_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
)

var followerSeed = flag.Uint64("follower-seed", uint64(time.Now().UnixNano()), "which instants the crash tests of followers choose")

// followerEnv makes the test binary a follower in a folder.
const followerEnv = "AUDITSQL_TEST_FOLLOWER"

func init() { roles[followerEnv] = beFollower }

// logMessage is message number seq of an endless log in which every seventh message repeats an earlier one, every eleventh
// conflicts with one, and every thirteenth is no record.
func logMessage(seq uint64) audit.Message {
	q := sample(int(seq))
	m := audit.Message{Sequence: seq}
	switch {
	case seq%13 == 0:
		m.Payload = fmt.Appendf(nil, "poison %d", seq)
		return m
	case seq%7 == 0:
		q = sample(int(seq / 2))
	case seq%11 == 0:
		q = sample(int(seq - 1))
		q.ResultConfidence = 0.125
	}
	m.Payload, _ = q.Canonical()
	return m
}

func logMessages(from uint64, n int) (ms []audit.Message) {
	for i := range n {
		ms = append(ms, logMessage(from+uint64(i)))
	}
	return ms
}

// beFollower applies the endless log until it is killed, and prints the cursor after each batch.
func beFollower(dir string) error {
	f, err := audit.OpenFollower(dir, origin)
	if err != nil {
		return err
	}
	for size := 1; ; size = size%97 + 1 {
		if _, err := f.Apply(context.Background(), logMessages(f.Cursor()+1, size)); err != nil {
			return err
		}
		fmt.Println(f.Cursor())
	}
}

// wantPrefix checks that a follower has exactly what the first messages of the endless log say: the same root, and the same
// outcome of every message that comes after.
func wantPrefix(t testing.TB, f *audit.Follower) {
	t.Helper()
	cursor := f.Cursor()
	want := openFollower(t, t.TempDir())
	if cursor > 0 {
		applyAll(t, want, logMessages(1, int(cursor))...)
	}
	wantSize, wantRoot, err := want.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	size, root, err := f.Root(t.Context())
	if err != nil || size != wantSize || root != wantRoot {
		t.Fatalf("at message %d it has %d records, root %v, %v; want %d, %v", cursor, size, root, err, wantSize, wantRoot)
	}
	wantStats, stats := must(want.Stats(t.Context())), must(f.Stats(t.Context()))
	if stats.Rejected != wantStats.Rejected {
		t.Fatalf("at message %d, %d messages were rejected, want %d", cursor, stats.Rejected, wantStats.Rejected)
	}
	if report := must(f.Verify(t.Context(), audit.VerifyOptions{})); !report.OK() {
		t.Fatalf("at message %d: %v", cursor, report.Problems)
	}
}

// A follower that is killed goes on exactly where its SQLite ends: no message is applied twice, and none is left out.
func TestKilledFollowers(t *testing.T) {
	t.Parallel()
	t.Logf("-follower-seed=%d", *followerSeed)
	random := rand.New(rand.NewPCG(*followerSeed, 0))
	dir := filepath.Join(t.TempDir(), "store")
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	reached := uint64(0)
	for round := range rounds {
		follower, said := inRole(followerEnv, dir)
		out, err := follower.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := follower.Start(); err != nil {
			t.Fatal(err)
		}
		enough := 1 + random.IntN(60)
		for lines := bufio.NewScanner(out); enough > 0 && lines.Scan(); enough-- {
			if reached, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		follower.Process.Kill()
		if follower.Wait(); said.Len() > 0 {
			t.Fatal(said)
		}
		f := openFollower(t, dir)
		// The process died, not the machine: what SQLite had committed is there.
		if f.Cursor() < reached || f.Recovery().Aside != "" {
			t.Fatalf("round %d: the cursor is %d, and was %d; %+v", round, f.Cursor(), reached, f.Recovery())
		}
		if round == rounds-1 || random.IntN(3) == 0 {
			wantPrefix(t, f)
		}
		closeDB(t, f.DB)
	}
}

// A power cut can take any part of SQLite's -wal that was not synced. Then the follower has a shorter prefix of the log, and goes on
// from there.
func TestAPowerCutTakesAFollowerBackToAPrefix(t *testing.T) {
	t.Parallel()
	t.Logf("-follower-seed=%d", *followerSeed)
	random := rand.New(rand.NewPCG(*followerSeed, 1))
	dir := t.TempDir()
	f := openFollower(t, dir)
	for size := 1; f.Cursor() < 600; size = size%37 + 1 {
		applyAll(t, f, logMessages(f.Cursor()+1, size)...)
	}
	var left string
	audit.AtRest(f.DB, func() { left = killed(t, dir) })
	log := must(os.ReadFile(filepath.Join(left, "audit.db-wal")))
	synced := walOnDisk(t, left)
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	shorter := 0
	for range rounds {
		cut := killed(t, left)
		at := synced + random.IntN(len(log)-synced)
		torn := append([]byte(nil), log...)
		if torn[at] ^= 0x10; random.IntN(2) == 0 {
			torn = torn[:at]
		}
		if err := os.WriteFile(filepath.Join(cut, "audit.db-wal"), torn, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(cut, "audit.db-shm")); err != nil {
			t.Fatal(err)
		}
		again := openFollower(t, cut)
		if again.Cursor() < f.Cursor() {
			shorter++
		}
		wantPrefix(t, again)
		applyAll(t, again, logMessages(again.Cursor()+1, 50)...)
		wantPrefix(t, again)
		closeDB(t, again.DB)
	}
	if shorter == 0 {
		t.Error("no cut took anything back")
	}
}

// A database that may be a mixture of two states is not gone on with, since messages could be missing in it for good. It is moved
// aside, and the log is applied from its beginning.
func TestASuspectFollowerBeginsAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := openFollower(t, dir)
	applyAll(t, f, logMessages(1, 300)...)
	if err := f.PutLabels(t.Context(), []audit.Label{{Hash: fill(1), Label: "kept"}}); err != nil {
		t.Fatal(err)
	}
	var left string
	audit.AtRest(f.DB, func() { left = killed(t, dir) })
	checkpointPart(t, left, func(i, n int) bool { return i%2 == 0 })
	for _, name := range []string{"audit.db-wal", "audit.db-shm"} {
		if err := os.Remove(filepath.Join(left, name)); err != nil {
			t.Fatal(err)
		}
	}
	again := openFollower(t, left)
	if again.Cursor() != 0 || again.Recovery().Aside == "" || !again.Recovery().Rebuilt {
		t.Fatalf("cursor %d, %+v", again.Cursor(), again.Recovery())
	}
	if _, err := os.Stat(filepath.Join(again.Recovery().Aside, "audit.db")); err != nil {
		t.Error(err)
	}
	applyAll(t, again, logMessages(1, 300)...)
	wantPrefix(t, again)
	closeDB(t, again.DB)
	third := openFollower(t, left)
	if third.Cursor() != 300 || third.Recovery().Aside != "" {
		t.Fatalf("cursor %d, %+v", third.Cursor(), third.Recovery())
	}
}
