package faults_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/faults/fusefs"
	"github.com/auditsql/auditsql/internal/crashfs"
)

var (
	rounds = flag.Int("rounds", 2, "how many rounds TestRandomFaultsUnderEverything runs")
	slow   = flag.Duration("slow", 20*time.Second, "how long a call may take in that test")
)

// A writer, readers in this process and in others, backups, reindexing and repair run at once while calls on files
// fail at random. Nothing acknowledged may be lost, nothing may be read that was never written, and no call may hang.
// The test uses the real clock.
func TestRandomFaultsUnderEverything(t *testing.T) {
	fs := mounted(t)
	first := firstSeed()
	longest := map[string]time.Duration{}
	defer func() {
		fmt.Printf("random faults: %d rounds from -seed %d; longest calls: %v\n", *rounds, first, longest)
	}()
	for i := range *rounds {
		t.Run(fmt.Sprint("round ", i), func(t *testing.T) {
			seed := first + uint64(i)
			t.Logf("-rounds 1 -seed %d", seed)
			s := newStore(fs, seed, nil)
			defer s.end()
			b := &beside{store: s, t: t, random: rand.New(rand.NewPCG(seed, 5)), longest: longest}
			b.round()
		})
	}
}

// beside is a round in which everything runs at once.
type beside struct {
	*store
	t       *testing.T
	random  *rand.Rand
	longest map[string]time.Duration // the longest time that each kind of call has taken; guarded by mu
}

// call runs f. If f takes too long, it ends the test with the stacks of all goroutines.
func (b *beside) call(what string, f func() error) error {
	watch := time.AfterFunc(*slow, func() {
		stacks := make([]byte, 8<<20)
		fmt.Fprintf(os.Stderr, "%s has not returned within %v\n%s\n", what, *slow, stacks[:runtime.Stack(stacks, true)])
		panic(what + " hangs")
	})
	start := time.Now()
	err := f()
	watch.Stop()
	took := time.Since(start)
	b.mu.Lock()
	defer b.mu.Unlock()
	if took > b.longest[what] {
		b.longest[what] = took
	}
	return err
}

func (b *beside) plan() []fusefs.Fault {
	var plan []fusefs.Fault
	if b.random.IntN(2) == 0 {
		plan = append(plan, fusefs.Fault{
			Verdict: pick(b.random, crashfs.IO, crashfs.NoSpace, crashfs.Short), Name: pick(b.random, "", "audit.db*", "audit.db-wal"),
			Times: -1, Odds: pick(b.random, 20, 100, 500),
		})
	}
	for range 1 + b.random.IntN(8) {
		f := fusefs.Fault{
			Verdict: pick(b.random, crashfs.IO, crashfs.IO, crashfs.NoSpace, crashfs.Short),
			Name:    pick(b.random, "", "audit.db*", "audit.db*", "audit.db-wal", "store.json*", "*.wal"),
			Skip:    b.random.IntN(3000),
			Times:   pick(b.random, 1, 1, 1, 1, 3, 20),
		}
		if b.random.IntN(3) == 0 {
			f.Ops, f.Skip = syncs, b.random.IntN(200)
		}
		plan = append(plan, f)
	}
	return plan
}

func (b *beside) round() {
	ctx := context.Background()
	var db *audit.DB
	if err := b.call("open", func() (err error) { db, err = b.open(); return err }); err != nil {
		b.t.Fatal(err)
	}
	b.m.Plan(b.plan()...)
	stop := make(chan bool)
	var others sync.WaitGroup
	beside := func(what string, f func(n int) error) {
		others.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					b.call(what, func() error { return f(n) })
				}
			}
		})
	}
	beside("list", func(int) error {
		for raw, err := range db.RawAudits(ctx, audit.Filter{ByAdmission: true}) {
			if err != nil {
				return err
			}
			q, err := audit.ParseAudit(raw)
			b.mu.Lock()
			if err != nil || b.given[q.QueryID] != string(raw) {
				b.t.Errorf("this record was never put: %s", raw)
			}
			b.mu.Unlock()
		}
		return nil
	})
	beside("read beside", func(int) error {
		reader, err := audit.Open(b.dir(), audit.ReadOnly())
		if err != nil {
			return err
		}
		_, err = reader.ListRecent(ctx, 50)
		_, failed := reader.Verify(ctx, audit.VerifyOptions{Quick: true})
		return errors.Join(err, failed, reader.Close())
	})
	beside("backup", func(n int) error {
		dest := filepath.Join(b.m.Dir(), "backup")
		_, err := db.Backup(ctx, dest)
		return errors.Join(err, os.RemoveAll(dest))
	})
	beside("reindex", func(int) error { return db.Reindex(ctx, nil) })
	beside("repair plan", func(int) error {
		_, err := audit.Repair(ctx, b.dir(), audit.RepairOptions{})
		return err
	})
	beside("label", func(n int) error {
		if n%2 == 0 {
			return db.PutLabels(ctx, []audit.Label{{Hash: audit.Hash{1}, Label: "one"}})
		}
		shell, err := must(another()).Open(b.file("audit.db"))
		if err != nil {
			return err
		}
		_, err = shell.Do(setLabel)
		return errors.Join(err, shell.Close())
	})
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for range 60 {
				if b.call("put", func() error { return b.put(db, 1+rand.IntN(5)) }) != nil {
					return
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	others.Wait()
	b.call("close", db.Close)
	if b.random.IntN(2) == 0 {
		b.m.PowerCut()
	} else {
		b.m.Kill()
	}
	b.call("repair", func() error {
		_, err := audit.Repair(ctx, b.dir(), audit.RepairOptions{Apply: true})
		return err
	})
	b.call("recover", func() error {
		_, err := audit.Recover(ctx, b.dir())
		return err
	})
	if err := b.call("open again", b.recovered); err != nil {
		b.t.Error(err)
	}
}
