package audit_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

var (
	histories   = flag.Int("histories", 2, "how many stores TestHistoriesOfBothLayers lives through")
	historySeed = flag.Uint64("history-seed", uint64(time.Now().UnixNano()), "which")
)

// A history is a store that is written to, closed, killed, and cut off from power, again and again. Its journal
// lies on a disk that forgets what was not synced, SQLite's files on a real one: of these, a power cut leaves the
// database and any beginning of -wal that holds what a checkpoint has begun to copy.
type history struct {
	*testing.T
	random  *rand.Rand
	disk    *crashfs.Disk
	dir     string // of the life to come
	next    int    // the first record that was not given yet
	endings map[string]int

	mu    sync.Mutex
	given map[audit.QueryID]string // whatever was put: it may be there
	there map[audit.QueryID]string // what was acknowledged, or was there once: it must be
	heads map[int64]tree.Hash      // roots of the tree that were seen, by size: the store must always have them
}

func TestHistoriesOfBothLayers(t *testing.T) {
	t.Parallel()
	n, lives := *histories, 5
	if testing.Short() {
		n, lives = 1, 3
	}
	for i := range n {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			seed := *historySeed + uint64(i)
			t.Logf("-histories=1 -history-seed=%d", seed)
			h := &history{
				T: t, random: rand.New(rand.NewPCG(seed, 0)), disk: crashfs.New(seed),
				dir: filepath.Join(t.TempDir(), "store"), endings: map[string]int{},
				given: map[audit.QueryID]string{}, there: map[audit.QueryID]string{}, heads: map[int64]tree.Hash{},
			}
			for range lives {
				h.live()
			}
			h.check(h.open())
			t.Logf("%d records, %v", len(h.there), h.endings)
		})
	}
}

// open opens the store, at times only after the power was cut in the middle of it.
func (h *history) open() (*audit.DB, *crashfs.Process) {
	h.Helper()
	retention := audit.RetainNone
	if h.random.IntN(3) == 0 {
		retention = audit.Retention(h.random.IntN(20_000))
	}
	for {
		process := h.disk.Process()
		if h.random.IntN(3) == 0 {
			last := h.disk.Calls() + h.random.IntN(60)
			verdict := []crashfs.Verdict{crashfs.CutPower, crashfs.KillIt}[h.random.IntN(2)]
			h.disk.Hook(func(c crashfs.Call) crashfs.Verdict {
				if c.N > last {
					return verdict
				}
				return crashfs.Pass
			})
		}
		db, err := audit.Open(h.dir, audit.WithJournalFS(process), audit.WithJournalDir("/journal"),
			audit.WithSegmentBytes(int64(1000+h.random.IntN(8000))), audit.WithRetention(retention), audit.WithReads(audit.Acknowledged))
		h.disk.Hook(nil)
		if err == nil {
			h.Cleanup(func() { db.Close() })
			return db, process
		}
		if !process.Dead() {
			h.Fatal(err)
		}
		h.endings["opening"]++
	}
}

// check holds a store that was just opened against what must be there. What is there now must stay.
func (h *history) check(db *audit.DB, process *crashfs.Process) {
	h.Helper()
	if process.Dead() { // the power went when the opening was all but done
		return
	}
	if rec := db.Recovery(); rec.Rebuilt || rec.Checked || rec.Rejected > 0 {
		h.Fatalf("nobody has been at the files: %+v", rec)
	}
	for id, line := range h.there {
		if raw, err := db.GetRaw(context.Background(), id); err != nil || string(raw) != line {
			h.Fatalf("record %s was acknowledged: %s, %v", id, raw, err)
		}
	}
	n := 0
	var records tree.Frontier
	for raw, err := range db.RawAudits(context.Background(), audit.Filter{ByAdmission: true}) {
		if err != nil {
			h.Fatal(err)
		}
		records.Append(tree.LeafHash(raw))
		if want, seen := h.heads[records.Size()]; seen && records.Root() != want {
			h.Fatalf("the first %d records had the root %s, and have %s now", records.Size(), want, records.Root())
		}
		q := parse(h, string(raw))
		if h.given[q.QueryID] != string(raw) {
			h.Fatalf("nobody has put %s", raw)
		}
		h.there[q.QueryID] = string(raw)
		n++
	}
	if n != len(h.there) {
		h.Fatalf("%d records are there, want %d", n, len(h.there))
	}
	h.heads[records.Size()] = records.Root()
	wantSound(h, db)
}

// live opens the store, holds it against what must be there, writes to it, and ends it in one way or another.
func (h *history) live() {
	h.Helper()
	db, process := h.open()
	h.check(db, process)

	const hands, room = 4, 1000 // each hand gives at most so many records
	acknowledged := make(chan int)
	stop := make(chan bool)
	var writers sync.WaitGroup
	for hand := range hands {
		random := rand.New(rand.NewPCG(h.random.Uint64(), 0))
		from := h.next + hand*room
		writers.Go(func() {
			for i := from; i < from+room-40; {
				qs := samples(i, i+1+random.IntN(1+random.IntN(30)))
				i += len(qs)
				h.put(db, qs)
				select {
				case acknowledged <- len(qs):
				case <-stop:
					return
				}
			}
		})
	}
	h.next += hands * room
	// How much was acknowledged chooses the moment, and when SQLite is brought to disk.
	for left := h.random.IntN(200); left > 0; {
		left -= <-acknowledged
		if h.random.IntN(20) == 0 {
			if err := audit.Checkpoint(db); err != nil && !process.Dead() {
				h.Fatal(err)
			}
		}
	}
	switch ending := h.random.IntN(5); ending {
	case 0:
		close(stop)
		writers.Wait()
		if err := db.Close(); err != nil && !process.Dead() {
			h.Fatal(err)
		}
		h.endings["closed"]++
		return
	case 1, 2:
		h.endings["killed"]++
		left := h.leave(db, process.Kill)
		close(stop)
		writers.Wait()
		db.Close() // fails, and touches nothing but the files that are left after
		h.dir = left
	default:
		h.endings["power"]++
		left := h.leave(db, h.disk.PowerCut)
		close(stop)
		writers.Wait()
		db.Close()
		h.cutWAL(left)
		h.dir = left
	}
}

func (h *history) put(db *audit.DB, qs []*audit.QueryAudit) {
	lines := make([]string, len(qs))
	h.mu.Lock()
	for i, q := range qs {
		lines[i] = canonical(h, q)
		h.given[q.QueryID] = lines[i]
	}
	h.mu.Unlock()
	if _, err := db.PutAudits(context.Background(), qs); err != nil {
		if !errors.Is(err, wal.ErrFailed) {
			h.Errorf("put: %v", err)
		}
		return
	}
	h.mu.Lock()
	for i, q := range qs {
		h.there[q.QueryID] = lines[i]
	}
	h.mu.Unlock()
}

// leave ends a store's process and returns a copy of SQLite's files as they were at that instant.
func (h *history) leave(db *audit.DB, end func()) (left string) {
	h.Helper()
	audit.AtRest(db, func() {
		left = killed(h, h.dir)
		end()
	})
	return left
}

// cutWAL leaves a beginning of -wal, with or without garbage after it.
func (h *history) cutWAL(dir string) {
	h.Helper()
	name := filepath.Join(dir, "audit.db-wal")
	log := must(os.ReadFile(name))
	synced := walOnDisk(h, dir)
	at := synced + h.random.IntN(len(log)-synced+1)
	if h.random.IntN(2) == 0 && at < len(log) {
		log[at] ^= 1 << h.random.IntN(8)
		at = len(log)
	}
	if err := os.WriteFile(name, log[:at], 0o600); err != nil {
		h.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "audit.db-shm")); err != nil && !errors.Is(err, os.ErrNotExist) {
		h.Fatal(err) // it is not synced, and is made again from -wal
	}
}
