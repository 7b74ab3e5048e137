package audit_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
)

var (
	kills    = flag.Int("kills", 24, "how often TestKilledWriters kills its writer")
	killSeed = flag.Uint64("kill-seed", uint64(time.Now().UnixNano()), "which moments it chooses")
)

// roles are what the test binary can be in place of a test, by the environment variable that says so with an argument.
var roles = map[string]func(arg string) error{writerEnv: beWriter, openerEnv: beOpener, catcherEnv: beCatcher}

func TestMain(m *testing.M) {
	for env, be := range roles {
		if arg := os.Getenv(env); arg != "" {
			if err := be(arg); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	os.Exit(m.Run())
}

// inRole is this binary in a role, and what it says on its standard error.
func inRole(env, arg string) (cmd *exec.Cmd, said *strings.Builder) {
	cmd, said = exec.Command(os.Args[0]), &strings.Builder{}
	cmd.Env, cmd.Stderr = append(os.Environ(), env+"="+arg), said
	return cmd, said
}

// writerEnv makes the test binary a writer: the store's folder and the number of the first record.
const writerEnv = "AUDITSQL_TEST_WRITER"

// beWriter puts records from 16 goroutines until it is killed, and prints the number of each that was
// acknowledged.
func beWriter(args string) error {
	first, dir, _ := strings.Cut(args, " ")
	from, err := strconv.Atoi(first)
	if err != nil {
		return err
	}
	db, err := audit.Open(dir, audit.WithSegmentBytes(256<<10), audit.WithRetention(1<<20), audit.WithReads(audit.Acknowledged))
	if err != nil {
		return err
	}
	const writers = 16
	failed := make(chan error, writers)
	var out sync.Mutex
	for w := range writers {
		go func() {
			for i := from + w; ; i += writers {
				q := sample(i)
				if _, err := db.PutAudit(context.Background(), &q); err != nil {
					failed <- err
					return
				}
				out.Lock()
				fmt.Println(i)
				out.Unlock()
			}
		}()
	}
	return <-failed
}

// TestKilledWriters kills a process with 16 writers at random instants, dozens of times on one store, and
// looks for everything that it had acknowledged.
func TestKilledWriters(t *testing.T) {
	t.Parallel()
	t.Logf("-kills=%d -kill-seed=%d", *kills, *killSeed)
	random := rand.New(rand.NewPCG(*killSeed, 0))
	rounds := *kills
	if testing.Short() {
		rounds = min(rounds, 4)
	}
	dir := filepath.Join(t.TempDir(), "store")
	every := max(6, rounds/10) // looking at everything costs more the longer it goes on
	acknowledged := map[int]bool{}
	from := 0
	for round := range rounds {
		for _, i := range killWriter(t, dir, from, random) {
			acknowledged[i] = true
			from = max(from, i+64)
		}
		if round%every != every-1 && round != rounds-1 {
			continue // the next writer opens what this one left
		}
		db := openDB(t, dir)
		for i := range acknowledged {
			wantBytes(t, db, sample(i), fmt.Sprintf("round %d: record %d, which was acknowledged", round, i))
		}
		wantSound(t, db)
		closeDB(t, db)
	}
	t.Logf("%d records acknowledged, none lost", len(acknowledged))
}

// wantBytes checks that a store has a record, to the byte.
func wantBytes(t *testing.T, db *audit.DB, q audit.QueryAudit, what string) {
	t.Helper()
	if raw, err := db.GetRaw(context.Background(), q.QueryID); err != nil || string(raw) != canonical(t, &q) {
		t.Fatalf("%s: %.2000s, %v", what, raw, err)
	}
}

// killWriter runs a writer until it has acknowledged a random number of records, and kills it some
// microseconds later. It returns what was acknowledged.
func killWriter(t *testing.T, dir string, from int, random *rand.Rand) (acknowledged []int) {
	t.Helper()
	writer, stderr := inRole(writerEnv, fmt.Sprint(from, " ", dir))
	out, err := writer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	enough := 1 + random.IntN(1+random.IntN(2000))
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		i, err := strconv.Atoi(lines.Text())
		if err != nil {
			break // cut by the kill
		}
		acknowledged = append(acknowledged, i)
		if len(acknowledged) == enough {
			// What it prints until it is dead was acknowledged as well.
			writer.Process.Kill()
		}
	}
	writer.Wait()
	if len(acknowledged) < enough {
		t.Fatalf("the writer ended by itself: %s", stderr.String())
	}
	return acknowledged
}
