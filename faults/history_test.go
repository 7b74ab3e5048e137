package faults_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/faults/foreign"
	"github.com/auditsql/auditsql/faults/fusefs"
	"github.com/auditsql/auditsql/internal/crashfs"
)

var histories = flag.Int("histories", 60, "how many random histories TestHistories runs")

// TestHistories opens, uses, crashes and recovers stores at random while calls fail, and compares what comes back with
// an oracle.
//
// A history's seed decides what each of its goroutines does, which calls fail, and what a power cut leaves. It does not
// decide how the calls of several goroutines interleave, so run a seed several times.
func TestHistories(t *testing.T) {
	t.Parallel()
	fs := mounted(t)
	n := *histories
	if testing.Short() && n == 60 {
		n = 20
	}
	first := firstSeed()
	var next, wrong atomic.Int64
	var counts tally
	start := time.Now()
	fmt.Printf("histories: -histories %d -seed %d\n", n, first)
	t.Run("all", func(t *testing.T) {
		for w := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(w), func(t *testing.T) {
				t.Parallel()
				for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
					seed := first + uint64(i)
					random := rand.New(rand.NewPCG(seed, 4))
					var files fusefs.Files
					var began store
					if random.IntN(10) > 0 {
						files, began.given, began.there, began.next = aged()
					}
					err := alone(t, fs, seed, files, func(s *store) error {
						if files != nil {
							s.begin(&began)
						}
						h := &history{store: s, random: random, tally: &counts}
						return h.run()
					})
					if err != nil && wrong.Add(1) <= 5 {
						t.Errorf("-histories 1 -seed %d: %v", seed, err)
					}
				}
			})
		}
	})
	fmt.Printf("histories: %d wrong: %v, %v\n", wrong.Load(), &counts, time.Since(start).Round(time.Millisecond))
}

// aged returns the files of a store that has been used for a while, and its records.
func aged() (fusefs.Files, map[audit.QueryID]string, map[audit.QueryID]string, int) {
	a := agedStore()
	return a.files, a.given, a.there, a.next
}

type agedFiles struct {
	store
	files fusefs.Files
}

var agedStore = sync.OnceValue(func() *agedFiles {
	fs := must(mount())
	s := newStore(fs, 1, nil)
	defer s.end()
	db := must(s.open())
	for range 6 {
		ok(s.put(db, 5))
	}
	ok(db.Close())
	return &agedFiles{store: store{given: s.given, there: s.there, next: s.next}, files: s.m.Files()}
})

// tally counts events over all histories.
type tally struct {
	lives, opened, failedOpenings, faults, closed, killed, cut, cutByPlan, reckless atomic.Int64
}

func (c *tally) String() string {
	return fmt.Sprintf("%d lives, %d opened, %d openings failed, %d lives with faults; %d closed, %d killed, %d power cuts, %d in a call; %d refused for what a shell has done",
		c.lives.Load(), c.opened.Load(), c.failedOpenings.Load(), c.faults.Load(), c.closed.Load(), c.killed.Load(), c.cut.Load(), c.cutByPlan.Load(), c.reckless.Load())
}

// history is a store that is opened, used and ended at random. The time from an opening to its end is a life.
type history struct {
	*store
	*tally
	random *rand.Rand
	shell  *foreign.Conn // a shell that was opened in this life, or nil
	faulty bool          // a call has failed during the opening of this life
	// copies: the shell copies from -wal into the database at each commit. off: it syncs nothing. unsynced: it has copied
	// without a sync, or after a fault. After a power cut nobody can know then what the database contains, and the
	// store may be refused.
	copies, off, unsynced bool
}

// errReckless means that a store was refused after a power cut, because a shell had copied without a sync.
var errReckless = errors.New("a shell has left the database unsynced")

func pick[T any](random *rand.Rand, of ...T) T { return of[random.IntN(len(of))] }

func (h *history) run() error {
	retention := audit.RetainNone
	if h.random.IntN(4) == 0 {
		retention = audit.Retention(h.random.IntN(20_000))
	}
	h.opts = []audit.Option{
		audit.WithRetention(retention), audit.WithSegmentBytes(pick[int64](h.random, 1000, 4096, 4096, 20_000)), audit.WithCacheBytes(1 << 20),
	}
	for i := range 1 + h.random.IntN(4) {
		if err := h.live(); errors.Is(err, errReckless) {
			return nil
		} else if err != nil {
			return fmt.Errorf("life %d: %w", i+1, err)
		}
	}
	if err := h.tolerate(h.recovered()); !errors.Is(err, errReckless) {
		return err
	}
	return nil
}

// tolerate accepts a refusal that was caused by a shell.
func (h *history) tolerate(err error) error {
	if err != nil && h.unsynced && !errors.Is(err, errLost) && refusal(err) != "no refusal" {
		h.reckless.Add(1)
		return errReckless
	}
	return err
}

// faults returns the faults of a life: some calls that fail, and perhaps a call at which the power fails or the process
// is killed.
func (h *history) faults(within int) []fusefs.Fault {
	var plan []fusefs.Fault
	for range pick(h.random, 0, 0, 1, 1, 2) {
		f := fusefs.Fault{
			Verdict: pick(h.random, crashfs.IO, crashfs.IO, crashfs.NoSpace, crashfs.Short),
			Name:    pick(h.random, "", "audit.db*", "audit.db*", "audit.db", "audit.db-wal", "store.json*", "*.wal"),
			Skip:    h.random.IntN(within),
			Times:   pick(h.random, 1, 1, 1, 1, 3, -1),
		}
		if h.random.IntN(2) == 0 {
			f.Ops, f.Skip = syncs, h.random.IntN(1+within/20)
		}
		plan = append(plan, f)
	}
	if h.random.IntN(3) == 0 {
		f := fusefs.Fault{Verdict: pick(h.random, crashfs.CutPower, crashfs.CutPower, crashfs.KillIt), Skip: h.random.IntN(4 * within)}
		if len(plan) > 0 && h.random.IntN(2) == 0 {
			f.After, f.Skip = 1, h.random.IntN(within)
		}
		if h.random.IntN(2) == 0 {
			f.Name, f.Skip = "audit.db*", f.Skip/2
		}
		plan = append(plan, f)
	}
	return plan
}

func (h *history) plan(within int) {
	faults := h.faults(within)
	for _, f := range faults {
		h.m.Remark("planned: %+v", f)
	}
	h.m.Plan(faults...)
}

// live opens the store, checks that all acknowledged records are there, uses it, and ends it in some way.
func (h *history) live() error {
	h.lives.Add(1)
	h.shell, h.faulty = nil, false
	if h.random.IntN(3) == 0 {
		h.plan(60)
	} else {
		h.m.Plan()
	}
	var db *audit.DB
	err := h.within("opening", func() (err error) {
		db, err = h.open()
		return err
	})
	switch {
	case err != nil && !failed(h.m):
		return h.tolerate(fmt.Errorf("the store cannot be opened any more (%s): %w", refusal(err), err))
	case err != nil:
		h.failedOpenings.Add(1)
	default:
		h.opened.Add(1)
		// The store still reads in the background: a call that fails after the opening counts as well.
		if h.m.Plan() {
			h.faulty = true
		} else {
			if err := h.have(db); err != nil {
				return err
			}
			h.unsynced = false
		}
		if h.random.IntN(2) == 0 {
			h.plan(150)
		}
		for range h.random.IntN(8) {
			if err := h.step(db); err != nil {
				return err
			}
		}
	}
	return h.finish(db)
}

// have checks that all acknowledged records are there. The last opening of the history checks everything else.
func (h *history) have(db *audit.DB) error {
	for id, line := range h.there {
		if raw, err := db.GetRaw(context.Background(), id); err != nil || string(raw) != line {
			return fmt.Errorf("%w: record %s was acknowledged: %.40s, %w", errLost, id, raw, err)
		}
	}
	return h.checkHeads(db)
}

func (h *history) step(db *audit.DB) error {
	ctx := context.Background()
	switch h.random.IntN(16) {
	case 0, 1, 2, 3, 4, 5:
		return h.within("puts", func() error {
			var hands sync.WaitGroup
			for range 1 + h.random.IntN(3) {
				sizes := make([]int, 1+h.random.IntN(3))
				for i := range sizes {
					sizes[i] = 1 + h.random.IntN(4)
				}
				hands.Go(func() {
					for _, n := range sizes {
						if h.put(db, n) != nil {
							return
						}
					}
				})
			}
			hands.Wait()
			return nil
		})
	case 6, 7, 8:
		h.m.Remark("rest")
		settle()
	case 9:
		time.Sleep(20 * time.Millisecond) // until the puts are applied
	case 10:
		return h.within("a label", func() error {
			db.PutLabels(ctx, []audit.Label{{Hash: audit.Hash{byte(h.random.IntN(5))}, Label: "one"}})
			return nil
		})
	case 11, 12:
		h.foreigner(setLabel)
	case 13:
		h.foreigner(pick(h.random, "PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(RESTART)", "PRAGMA wal_checkpoint(TRUNCATE)"))
	case 14:
		return h.within("a listing", func() error {
			for range db.RawAudits(ctx, audit.Filter{ByAdmission: true}) {
			}
			return nil
		})
	case 15:
		switch h.random.IntN(6) {
		case 0:
			return h.within("reindex", func() error { db.Reindex(ctx, nil); return nil })
		case 1:
			dest := filepath.Join(h.m.Dir(), fmt.Sprint("backup", h.random.Uint32()))
			return h.within("backup", func() error { db.Backup(ctx, dest); return nil })
		}
	}
	return nil
}

// foreigner executes a statement in another process.
func (h *history) foreigner(text string) {
	if h.shell == nil {
		shell, err := must(another()).Open(h.file("audit.db"))
		if err != nil {
			return // the disk has failed
		}
		h.shell = shell
		frames := pick(h.random, 0, 1, 1000)
		synchronous := pick(h.random, "OFF", "OFF", "NORMAL", "FULL")
		shell.Do(fmt.Sprint("PRAGMA wal_autocheckpoint=", frames))
		shell.Do("PRAGMA synchronous=" + synchronous)
		h.copies = frames == 1
		h.off = synchronous == "OFF"
		h.m.Remark("a shell, synchronous=%s, wal_autocheckpoint=%d", synchronous, frames)
	}
	if h.copies || text != setLabel {
		h.unsynced = h.unsynced || h.off || h.faulty || failed(h.m)
	}
	_, err := h.shell.Do(text)
	h.m.Remark("shell: %s: %v", text, err)
}

// finish ends a life.
func (h *history) finish(db *audit.DB) (err error) {
	faulty := h.faulty || failed(h.m)
	closeShell := func() {
		if h.shell != nil {
			h.shell.Close()
		}
	}
	if h.random.IntN(2) == 0 {
		closeShell()
		defer func() { h.shell = nil }()
	} else {
		defer closeShell()
	}
	ending := h.random.IntN(6)
	if db == nil {
		ending = 2 + h.random.IntN(3)
	}
	var closing error
	if ending < 3 && db != nil {
		err = h.within("closing", func() error { closing = db.Close(); return nil })
	}
	state := h.m.State()
	faulty = faulty || failed(h.m)
	if faulty {
		h.tally.faults.Add(1)
	}
	switch {
	case state.Dead:
		h.cutByPlan.Add(1)
		h.m.PowerCut()
	case ending == 0 && db != nil:
		h.closed.Add(1)
		if closing != nil && !faulty {
			err = errors.Join(err, fmt.Errorf("nothing has failed, and closing did: %w", closing))
		}
		if closing != nil {
			h.m.Kill() // the next life opens the store again
		}
	case ending == 1 && db != nil, ending == 2, ending == 3:
		h.cut.Add(1)
		h.m.PowerCut()
	default:
		h.killed.Add(1)
		h.m.Kill()
	}
	if db != nil {
		err = errors.Join(err, h.within("closing what has ended", func() error { db.Close(); return nil }))
	}
	return err
}

// longest is the longest time that a call may take, on a clock that runs only while all goroutines wait.
const longest = 20 * time.Second

// within calls f, and returns an error if f takes too long.
func (h *history) within(what string, f func() error) error {
	h.m.Remark("%s", what)
	start := time.Now()
	err := f()
	if took := time.Since(start); took > longest {
		err = errors.Join(err, fmt.Errorf("%s has taken %v", what, took))
	}
	return err
}
