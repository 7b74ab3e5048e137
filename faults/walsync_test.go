package faults_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/faults/fusefs"
	"github.com/auditsql/auditsql/internal/crashfs"
)

var (
	seeds = flag.Int("seeds", 12, "with how many seeds the tests of single faults run each case")
	seed  = flag.Uint64("seed", 0, "the first seed, of the histories too; 0: a random one")
	hang  = flag.Duration("hang", 2*time.Minute, "after which time a store counts as hanging")
	calls = flag.Int("calls", 30, "how many of the last calls on files a failure shows")
)

func firstSeed() uint64 {
	if *seed != 0 {
		return *seed
	}
	return rand.Uint64N(1 << 40)
}

// eachSeed runs a case with several seeds, each in a bubble (testing/synctest), whose clock advances when all goroutines wait.
func eachSeed(t *testing.T, name string, f func(s *store, random *rand.Rand) error) {
	fs := mounted(t)
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		n := *seeds
		if testing.Short() {
			n = 3
		}
		first, wrong := firstSeed(), 0
		for i := range uint64(n) {
			err := alone(t, fs, first+i, nil, func(s *store) error { return f(s, rand.New(rand.NewPCG(first+i, 1))) })
			if err == nil {
				continue
			}
			if wrong++; wrong <= 2 {
				t.Errorf("-seeds 1 -seed %d: %v", first+i, err)
			}
		}
		if wrong > 0 {
			t.Errorf("wrong with %d of %d seeds", wrong, n)
		}
	})
}

// alone runs f with a store that has a bubble and a machine of its own. It returns the error of f, with the last calls on
// files.
//
// The clock of a bubble stands still while a goroutine waits for a mutex or a system call. So a timer inside of it
// cannot find a store that hangs: the real clock does.
func alone(t *testing.T, fs *fusefs.FS, seed uint64, files fusefs.Files, f func(s *store) error) (err error) {
	var s *store
	watch := time.AfterFunc(*hang, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("-seed %d has not ended within %v", seed, *hang))
	})
	defer watch.Stop()
	defer func() {
		// A deadlock: all goroutines of the bubble wait, or some are left at its end. Those of a store that must leave connections
		// open may be.
		if broken := recover(); broken != nil && (s == nil || !s.left || !strings.Contains(fmt.Sprint(broken), "main bubble goroutine has exited")) {
			stacks := make([]byte, 1<<20)
			err = errors.Join(err, fmt.Errorf("%v\n%s", broken, stacks[:runtime.Stack(stacks, true)]))
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		s = newStore(fs, seed, files)
		defer s.end()
		defer func() {
			if broken := recover(); broken != nil {
				err = fmt.Errorf("%v\n%s", broken, debug.Stack())
			}
			if err != nil && *calls > 0 {
				log := s.m.State().Log
				err = fmt.Errorf("%w\nthe last calls:\n  %s", err, strings.Join(log[max(0, len(log)-*calls):], "\n  "))
			}
		}()
		err = f(s)
	})
	return err
}

// After a failed sync of -wal there are frames that can be read and will never be on disk, although the next sync reports
// success. If a process then copies them into the database, and the power fails in the middle, a mix of two states is left.
// The writer must not do that. Nobody can stop a shell from doing it, so a store in which a shell has done it may be refused.
func TestAFailedSyncOfSQLitesWAL(t *testing.T) {
	t.Parallel()
	failedSync := fusefs.Fault{Ops: syncs, Name: "audit.db-wal", Verdict: crashfs.IO}
	cut := func(random *rand.Rand) fusefs.Fault {
		return fusefs.Fault{Ops: writes, Name: "audit.db", Skip: random.IntN(12), After: 1, Verdict: crashfs.CutPower}
	}
	// begin makes a store whose journal was trimmed, and that has further records in -wal.
	begin := func(s *store, random *rand.Rand) *audit.DB {
		db := must(s.open())
		s.fillAndTrim(db)
		s.backUp(db)
		s.fill(db, 20+random.IntN(60))
		return db
	}
	eachSeed(t, "cut while it closes", func(s *store, random *rand.Rand) error {
		db := begin(s, random)
		s.m.Plan(failedSync, cut(random))
		settle()
		s.fillAsFarAsItGoes(db, random.IntN(20))
		db.Close()
		s.m.PowerCut()
		return s.recovered()
	})
	eachSeed(t, "cut after it has closed", func(s *store, random *rand.Rand) error {
		db := begin(s, random)
		s.m.Plan(failedSync)
		settle()
		s.fillAsFarAsItGoes(db, random.IntN(20))
		db.Close()
		s.m.PowerCut()
		return s.recovered()
	})
	for _, killed := range []string{"killed", "closed"} {
		eachSeed(t, killed+", and cut in the next opening", func(s *store, random *rand.Rand) error {
			db := begin(s, random)
			if killed == "killed" { // before the store can note the failure
				s.m.Plan(failedSync, fusefs.Fault{After: 1, Verdict: crashfs.KillIt})
			} else {
				s.m.Plan(failedSync, fusefs.Fault{Ops: writes, Name: "audit.db", After: 1, Verdict: crashfs.KillIt})
			}
			settle()
			db.Close()
			s.m.Kill()
			s.m.Plan(fusefs.Fault{Ops: writes, Name: "audit.db", Skip: random.IntN(12), Verdict: crashfs.CutPower})
			if db, err := s.open(); err == nil {
				db.Close()
			}
			s.m.PowerCut()
			return s.recovered()
		})
	}
	eachSeed(t, "a foreign checkpoint, cut in the middle", func(s *store, random *rand.Rand) error {
		db := begin(s, random)
		shell := s.foreign()
		defer shell.Close()
		s.m.Plan(failedSync, cut(random))
		settle()
		shell.Do("PRAGMA wal_checkpoint(PASSIVE)")
		db.Close()
		s.m.PowerCut()
		return s.recoveredOr(s.restoreDatabase)
	})
	eachSeed(t, "a foreign checkpoint, then killed, and cut in the next opening", func(s *store, random *rand.Rand) error {
		db := begin(s, random)
		shell := s.foreign()
		defer shell.Close()
		s.m.Plan(failedSync, fusefs.Fault{Ops: writes, Name: "audit.db", Skip: random.IntN(12), After: 1, Verdict: crashfs.KillIt})
		settle()
		shell.Do("PRAGMA wal_checkpoint(PASSIVE)")
		db.Close()
		s.m.Kill()
		s.m.Plan(fusefs.Fault{Ops: writes, Name: "audit.db", Skip: random.IntN(12), Verdict: crashfs.CutPower})
		if db, err := s.open(); err == nil {
			db.Close()
		}
		s.m.PowerCut()
		return s.recoveredOr(s.restoreDatabase)
	})
	// Then SQLite's own sync of -wal succeeds, and SQLite would copy pages that are not durable there.
	eachSeed(t, "reported to the caller alone, cut while it closes", func(s *store, random *rand.Rand) error {
		db := begin(s, random)
		s.m.TellCallerAlone()
		s.m.Plan(failedSync, cut(random))
		settle()
		s.fillAsFarAsItGoes(db, random.IntN(20))
		if err := db.Close(); err == nil {
			return fmt.Errorf("closing does not report the failed sync")
		}
		s.m.PowerCut()
		return s.recovered()
	})
	eachSeed(t, "and nothing else", func(s *store, random *rand.Rand) error {
		db := begin(s, random)
		s.m.Plan(failedSync)
		settle()
		if !failed(s.m) {
			return fmt.Errorf("there was no checkpoint")
		}
		if err := db.Close(); err == nil {
			return fmt.Errorf("closing does not report the failed sync")
		}
		return s.recovered()
	})
}
