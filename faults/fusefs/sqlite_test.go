package fusefs_test

import (
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/auditsql/auditsql/faults/foreign"
	"github.com/auditsql/auditsql/faults/fusefs"
	"github.com/auditsql/auditsql/internal/crashfs"
)

var cuts = flag.Int("cuts", 60, "how many power cuts TestSQLiteKeepsWhatItCommitted makes")

func start(t testing.TB) *foreign.Process {
	t.Helper()
	p, err := foreign.Start()
	must(err)
	t.Cleanup(func() { p.Close() })
	return p
}

func TestLocksExcludeEachOther(t *testing.T) {
	t.Parallel()
	m := machine(t, 1)
	f := durable(m.Dir(), "LOCK", "")
	must(syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	g, err := os.Open(f.Name())
	must(err)
	if err := syscall.Flock(int(g.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("a second lock: %v", err)
	}
	must(f.Close())
	must(syscall.Flock(int(g.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
}

// Several connections in two processes write and read one database in WAL mode, and share its index.
func TestSQLiteBetweenProcesses(t *testing.T) {
	t.Parallel()
	m := machine(t, 1)
	name := filepath.Join(m.Dir(), "a.db")
	var conns []*foreign.Conn
	for range 2 {
		p := start(t)
		for range 2 {
			c, err := p.Open(name)
			must(err)
			conns = append(conns, c)
			for _, text := range []string{"PRAGMA busy_timeout=0", "PRAGMA journal_mode=WAL"} {
				_, err = c.Do(text)
				must(err)
			}
		}
	}
	do := func(c *foreign.Conn, text string) [][]string {
		t.Helper()
		rows, err := c.Do(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return rows
	}
	do(conns[0], "CREATE TABLE t (n)")
	for i := range 200 {
		c := conns[i%4]
		do(c, "BEGIN IMMEDIATE")
		do(c, fmt.Sprintf("INSERT INTO t VALUES (%d)", i))
		if _, err := conns[(i+2)%4].Do("BEGIN IMMEDIATE"); err == nil || !strings.Contains(err.Error(), "locked") {
			t.Fatalf("another process writes as well: %v", err)
		}
		do(c, "COMMIT")
		if got := do(conns[(i+3)%4], "SELECT count(*), max(n) FROM t")[0]; got[0] != fmt.Sprint(i+1) || got[1] != fmt.Sprint(i) {
			t.Fatalf("after %d rows another process reads %v", i+1, got)
		}
	}
	if got := do(conns[2], "PRAGMA integrity_check")[0][0]; got != "ok" {
		t.Fatal(got)
	}
}

// SQLite with synchronous=FULL keeps what it has committed. If it did not here, the file system would be wrong.
func TestSQLiteKeepsWhatItCommitted(t *testing.T) {
	t.Parallel()
	n := *cuts
	if testing.Short() {
		n = 20
	}
	const lives = 30 // for each database, which grows
	for done := 0; done < n; done += lives {
		cutPower(t, rand.Uint64(), min(lives, n-done))
	}
}

// cutPower takes one database through n power cuts.
func cutPower(t *testing.T, seed uint64, n int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	m := machine(t, seed)
	defer m.Drop()
	committed, begun := 0, 0
	lost := func(format string, args ...any) {
		t.Helper()
		t.Fatalf("seed %d: "+format+"\n%s", append(append([]any{seed}, args...), strings.Join(m.State().Log, "\n"))...)
	}
	for cut := range n {
		db, err := sql.Open("sqlite", filepath.Join(m.Dir(), "a.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(5)&_txlock=immediate")
		must(err)
		db.SetMaxOpenConns(1)
		if _, err := db.Exec("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, filler)"); err != nil {
			lost("cut %d: open: %v", cut, err)
		}
		var there, most int
		if err := db.QueryRow("SELECT count(*), ifnull(max(n), 0) FROM t").Scan(&there, &most); err != nil {
			lost("cut %d: %v", cut, err)
		}
		if there != most || most < committed || most > begun {
			lost("cut %d: %d rows up to %d; %d were committed, %d begun", cut, there, most, committed, begun)
		}
		var sound string
		if err := db.QueryRow("PRAGMA integrity_check").Scan(&sound); err != nil || sound != "ok" {
			lost("cut %d: %s, %v", cut, sound, err)
		}
		committed, begun = most, most
		m.Plan(fusefs.Fault{Skip: random.IntN(200), Verdict: crashfs.CutPower})
		for err == nil {
			begun = committed + 1
			if _, err = db.Exec("INSERT INTO t VALUES (?, ?)", begun, strings.Repeat("x", random.IntN(3000))); err == nil {
				committed = begun
			}
			if random.IntN(100) == 0 {
				break
			}
		}
		if err != nil && !m.State().Dead {
			lost("cut %d: %v", cut, err)
		}
		if random.IntN(2) == 0 {
			m.PowerCut()
			db.Close()
		} else {
			db.Close()
			m.PowerCut()
		}
	}
	if committed < n {
		t.Errorf("only %d rows were committed in %d lives", committed, n)
	}
}
