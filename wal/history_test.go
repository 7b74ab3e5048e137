package wal_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

var (
	howMany  = flag.Int("histories", 0, "how many random histories TestHistories runs; 0 is 2000, or 200 with -short")
	seedFlag = flag.Uint64("seed", 0, "the seed of the first of them; 0 draws one")
)

// TestHistories writes, crashes and recovers journals at random, and an oracle judges what is left.
//
// A history's seed decides its options, its steps, the call at which a fault comes or a process ends, and what a
// power cut leaves. One with a single goroutine repeats exactly. In one with several (a quarter of them) the seed
// decides what each of them does, but not how their calls interleave: run its seed some more times.
func TestHistories(t *testing.T) {
	n := *howMany
	if n == 0 {
		n = 2000
		if testing.Short() {
			n = 200
		}
	}
	first := *seedFlag
	if first == 0 {
		first = rand.Uint64N(1 << 40)
	}
	var next, crashes, faults, opened atomic.Int64
	start := time.Now()
	t.Run("all", func(t *testing.T) {
		for w := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(w), func(t *testing.T) {
				t.Parallel()
				for i := next.Add(1) - 1; i < int64(n) && !t.Failed(); i = next.Add(1) - 1 {
					h := play(t, first+uint64(i))
					crashes.Add(int64(h.crashes))
					faults.Add(int64(h.faults))
					opened.Add(int64(h.opened))
				}
			})
		}
	})
	if t.Failed() {
		t.Logf("after %d histories", next.Load())
	} else {
		// Not t.Log, which is silent when all is well.
		fmt.Printf("histories: %d from -seed %d: %d recoveries, %d crashes, %d faults, %v\n",
			n, first, opened.Load(), crashes.Load(), faults.Load(), time.Since(start).Round(time.Millisecond))
	}
}

// play plays one history.
func play(t *testing.T, seed uint64) (h *chronicle) {
	defer func() {
		if broken := recover(); broken != nil { // a bubble whose goroutines wait for ever
			t.Errorf("%v\nwhat came before:\n  %s", broken, strings.Join(h.trail, "\n  "))
		}
		if t.Failed() {
			t.Logf("again: go test ./wal -run 'TestHistories$' -histories 1 -seed %d", seed)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		h = newChronicle(t, seed)
		defer h.end()
		for range 1 + h.rng.IntN(6) {
			h.life()
		}
		h.epilogue()
	})
	return h
}

// chronicle is a rig whose choices are random.
type chronicle struct {
	*rig
	rng    *rand.Rand
	heavy  bool // records so long that marks are written
	shared bool // several goroutines use the journal
	count  int  // of payloads
	opened int
	reads  []*reading
	late   []lateTicket
	// identity is what the caller begins to give when the journal is there already.
	identity []byte
}

var anIdentity = slices.Repeat([]byte("identity"), wal.MaxIdentity/8)

// lateTicket is one that nobody has waited for yet.
type lateTicket struct {
	g        []*given
	t        *wal.Ticket
	poisoned bool
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

func newChronicle(t *testing.T, seed uint64) *chronicle {
	rng := rand.New(rand.NewPCG(seed, 0x68697374))
	h := &chronicle{rng: rng, heavy: rng.IntN(8) == 0, shared: rng.IntN(4) == 0}
	o := wal.Options{
		SegmentBytes: pick[int64](rng, 300, 1000, 4096, 4096, 20000, 1<<20),
		Preallocate:  pick[int64](rng, -1, -1, 1, 600, 4096, 20000),
	}
	if rng.IntN(16) == 0 {
		o.SegmentBytes = 1
	}
	if h.heavy {
		o.SegmentBytes = pick[int64](rng, 100<<10, 1<<20)
	}
	soft := false
	switch rng.IntN(4) {
	case 0:
		if o.Durability = wal.SyncEach; !h.heavy {
			break
		}
		fallthrough // where marks are written, what is not synced matters most
	case 1:
		o.Durability = wal.SyncInterval(pick(rng, time.Millisecond, time.Second, time.Hour))
		soft = true
	}
	dir := pick(rng, "/journal", "/var/lib/audit/journal")
	if rng.IntN(2) == 0 {
		o.Archive = pick(rng, "/archive", "/mnt/old/archive")
	}
	switch rng.IntN(4) {
	case 0:
		h.identity = anIdentity[:1+rng.IntN(len(anIdentity))] // from the second life on
	case 1, 2:
		o.Identity = anIdentity[:1+rng.IntN(len(anIdentity))]
	}
	o.KeepTail, o.MarkGroups = rng.IntN(4) == 0, rng.IntN(4) == 0
	h.rig = newRig(t, seed, dir, o, soft)
	h.oracle.holes = o.KeepTail
	h.strict = !h.shared
	h.identified = len(o.Identity) > 0
	h.note("dir %s, options %+v, heavy %v, shared %v", dir, o, h.heavy, h.shared)
	return h
}

// payload is unlike any other. Its length is often one that lets records end where sectors or pages do.
func (h *chronicle) payload(rng *rand.Rand, n int) string {
	p := fmt.Sprintf(`{"n":%d}`, n)
	var size int
	switch rng.IntN(6) {
	case 0, 1:
		size = rng.IntN(60)
	case 2:
		size = rng.IntN(2000)
	case 3:
		size = 512*(1+rng.IntN(3)) - headerSize
	case 4:
		size = 4096 - headerSize
	}
	if h.heavy {
		size = rng.IntN(30000)
	}
	if len(p) >= size {
		return p
	}
	return p + strings.Repeat(pick(rng, "x", "\x00", "\xff", p), size)[:size-len(p)]
}

func (h *chronicle) payloads(n int) []string {
	var all []string
	for range n {
		h.count++
		all = append(all, h.payload(h.rng, h.count))
	}
	return all
}

// life is from one opening of the journal to the next.
func (h *chronicle) life() {
	h.plan = h.draw()
	if !h.open(h.cursor()) {
		h.afterlife()
		return
	}
	h.opened++
	if h.shared && h.rng.IntN(2) == 0 {
		h.together()
	} else {
		for range h.rng.IntN(25) {
			if h.writer.Dead() {
				break
			}
			h.step()
			synctest.Wait()
		}
	}
	h.collect()
	if h.identity != nil {
		h.opts.Identity = h.identity
	}
	if !h.writer.Dead() {
		switch h.rng.IntN(6) {
		case 0, 1, 2:
			h.close()
		case 3:
			h.note("kill")
			h.writer.Kill()
		default:
			h.note("power cut")
			h.disk.PowerCut()
		}
	}
	h.afterlife()
}

// afterlife is what may happen while no journal is open.
func (h *chronicle) afterlife() {
	if h.j != nil && h.j.Err() != nil && !h.writer.Dead() {
		h.close()
	}
	for h.writer.Dead() {
		h.crashed()
		// The power may go before anybody has synced what a dead process has left.
		switch h.rng.IntN(8) {
		case 0:
			h.note("then a power cut")
			h.disk.PowerCut()
		case 1:
			h.note("then a kill")
			h.writer.Kill()
		}
	}
	h.disk.Hook(nil)
	h.keepReaders()
	switch h.rng.IntN(12) {
	case 0, 1:
		if h.damage() {
			h.reads = nil // they may have read what the disk has lost since
		}
	case 2:
		h.repair(h.draw(), h.draw())
	}
}

// keepReaders drops those whose process is dead or has closed its journal.
func (h *chronicle) keepReaders() {
	var kept []*reading
	for _, read := range h.reads {
		if read.p.Dead() || read.same {
			read.Close()
			continue
		}
		kept = append(kept, read)
	}
	h.reads = kept
}

// draw makes a plan: at which of the writer's calls the end comes, and at which others a fault.
func (h *chronicle) draw() func(crashfs.Call) crashfs.Verdict {
	at := func() int { return 1 + h.rng.IntN(1<<h.rng.IntN(9)) }
	verdicts := map[int]crashfs.Verdict{}
	onSync := 0 // the sync that fails
	if h.rng.IntN(4) == 0 {
		for range 1 + h.rng.IntN(2) {
			verdicts[at()] = pick(h.rng, crashfs.IO, crashfs.NoSpace, crashfs.Short)
		}
	}
	if h.rng.IntN(5) == 0 {
		onSync = 1 + h.rng.IntN(1<<h.rng.IntN(6))
	}
	if h.rng.IntN(2) == 0 {
		verdicts[at()] = pick(h.rng, crashfs.KillIt, crashfs.CutPower)
	}
	n, syncs, quiet := 0, 0, 0
	return func(c crashfs.Call) crashfs.Verdict {
		n++
		v := verdicts[n]
		if c.Op == crashfs.OpSync || c.Op == crashfs.OpSyncDir {
			if syncs++; syncs == onSync && v == crashfs.Pass {
				v = crashfs.IO
			}
		}
		if n < quiet {
			return crashfs.Pass
		}
		if c.Op == crashfs.OpSyncDir && v != crashfs.Pass {
			// When a folder's sync has failed it is changed once more, so that the next one has to write. If that
			// fails as well, or dies, nothing is left to tell the next process.
			quiet = n + 4
		}
		return v
	}
}

// cursor is one that the caller may have, often one of the extremes.
func (h *chronicle) cursor() wal.Offset {
	legal := h.oracle.cursors()
	switch h.rng.IntN(3) {
	case 0:
		return legal[0]
	case 1:
		return legal[len(legal)-1]
	}
	return pick(h.rng, legal...)
}

func (h *chronicle) step() {
	ctx := context.Background()
	switch draw := h.rng.IntN(100); {
	case draw < 35:
		h.fatal(h.gave(h.append(ctx, 0, h.payloads(1))))
	case draw < 47:
		h.fatal(h.gave(h.append(ctx, 0, h.payloads(1+h.rng.IntN(6)))))
	case draw < 55:
		g, t, poisoned, err := h.start(ctx, 0, h.payloads(1+h.rng.IntN(3)))
		h.fatal(h.gave(err))
		if err == nil {
			h.late = append(h.late, lateTicket{g, t, poisoned})
		}
	case draw < 58:
		h.giveUp()
	case draw < 61:
		_, err := h.j.Append(ctx, pick(h.rng, nil, []byte{}, []byte("\x01x"), []byte("\x1f")))
		if !errors.Is(err, wal.ErrPayload) {
			h.fatalf("a payload that may not be: %v", err)
		}
	case draw < 66:
		end := h.j.End()
		err := h.j.Sync(ctx)
		h.note("sync: %v", err)
		if err == nil {
			h.oracle.promise(end)
		}
		h.fatal(h.answered(err))
	case draw < 70:
		h.pass(pick(h.rng, time.Millisecond, time.Second, 2*time.Hour))
	case draw < 78:
		h.remove()
	case draw < 81 && h.opts.Archive == "":
		// A reader in each process, from where a caller may be.
		h.addReader(true)
		h.addReader(false)
	case draw < 88:
		h.addReader(h.rng.IntN(2) == 0)
	default:
		h.read()
	}
}

// gave notes the result of an append.
func (h *chronicle) gave(err error) error {
	last := h.oracle.order[len(h.oracle.order)-1]
	h.note("append to %s: %v, end %d", brief(last.payload), err, h.j.End())
	if h.heavy && h.soft && !h.writer.Dead() {
		for _, s := range h.spots() {
			if synced := h.j.Synced(); s.Kind == walspec.Mark && wal.Offset(s.Covered()) > synced {
				h.fatalf("the mark at %d attests %d, and %d is what was synced", s.Offset, s.Covered(), synced)
			}
		}
	}
	return err
}

// giveUp cancels an append before it begins, or while it waits.
func (h *chronicle) giveUp() {
	ctx, cancel := context.WithCancel(context.Background())
	if h.rng.IntN(2) == 0 {
		cancel()
		if err := h.append(ctx, 0, h.payloads(1)); !errors.Is(err, context.Canceled) {
			h.fatalf("an append that was given up before it began: %v", err)
		}
		return
	}
	_, t, _, err := h.start(ctx, 0, h.payloads(1))
	cancel()
	h.fatal(h.gave(err))
	if err == nil {
		t.Wait(ctx)
	}
}

// pass lets time go by. After that, what was acknowledged at SyncInterval is durable.
func (h *chronicle) pass(d time.Duration) {
	end := h.j.End()
	time.Sleep(d)
	synctest.Wait()
	h.note("%v later synced %d, end %d, %v", d, h.j.Synced(), end, h.j.Err())
	if h.soft && d == 2*time.Hour && h.j.Err() == nil {
		h.oracle.promise(end)
		if h.j.Synced() < end {
			h.fatalf("%v after it was written, synced only to %d of %d", d, h.j.Synced(), end)
		}
	}
}

// remove trims up to an offset that a caller may be at.
func (h *chronicle) remove() {
	off := h.cursor()
	h.oracle.trimming(off)
	err := h.j.RemoveBefore(off)
	h.note("remove before %d: %v", off, err)
	if err != nil {
		if !h.planned(err) {
			h.fatalf("remove before %d: %v", off, err)
		}
		return
	}
	for _, seg := range h.j.Segments() {
		if seg.Sealed && seg.Base+wal.Offset(seg.Size) <= off {
			h.fatalf("remove before %d leaves %+v", off, seg)
		}
	}
}

func (h *chronicle) addReader(same bool) {
	read, err := h.reader(same, false, pick(h.rng, h.oracle.cursors()...))
	h.fatal(err)
	if err == nil {
		h.reads = append(h.reads, read)
	}
}

// read reads on with one of the readers, mostly to the end, where nothing may be missing.
func (h *chronicle) read() {
	if len(h.reads) == 0 {
		h.addReader(h.rng.IntN(2) == 0)
		return
	}
	read := pick(h.rng, h.reads...)
	for range 1 << h.rng.IntN(12) {
		err := h.next(context.Background(), read)
		h.fatal(err)
		if err == nil {
			continue
		}
		h.note("reader (same process: %v) at %d: %v", read.same, read.from, err)
		if errors.Is(err, wal.ErrTrimmed) {
			h.reads = nil
			return
		}
		to := h.j.Synced()
		if !read.same {
			to = h.j.End()
		}
		if g := h.oracle.missing(read.from, to); g != nil && !h.planned(err) {
			h.fatalf("a reader at %d (same process: %v) ends with %v, and %s lies at %d", read.from, read.same, err, brief(g.payload), g.off)
		}
		return
	}
}

// collect waits for the tickets that nobody has waited for.
func (h *chronicle) collect() {
	for _, late := range h.late {
		h.fatal(h.wait(context.Background(), late.g, late.t, late.poisoned))
	}
	h.late = nil
}

// together lets several goroutines use the journal until each is done, or the journal has failed or died.
func (h *chronicle) together() {
	var appenders, others sync.WaitGroup
	var bad atomic.Value
	keep := func(err error) bool {
		if u := (unexpected{}); errors.As(err, &u) {
			bad.CompareAndSwap(nil, u)
		}
		return err == nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	for by := range 2 + h.rng.IntN(4) {
		rng := rand.New(rand.NewPCG(h.rng.Uint64(), 1))
		var gifts [][]string
		for range 1 + rng.IntN(10) {
			gifts = append(gifts, h.payloads(1+rng.IntN(3)))
		}
		appenders.Go(func() {
			var tickets []lateTicket
			for _, gift := range gifts {
				switch rng.IntN(5) {
				case 0:
					g, t, poisoned, err := h.start(ctx, by, gift)
					if !keep(err) {
						break
					}
					tickets = append(tickets, lateTicket{g, t, poisoned})
				case 1:
					short, give := context.WithCancel(ctx)
					g, t, poisoned, err := h.start(short, by, gift)
					if keep(err) {
						go give()
						keep(h.wait(short, g, t, poisoned))
					}
					give()
				default:
					keep(h.append(ctx, by, gift))
				}
			}
			for _, late := range tickets {
				keep(h.wait(ctx, late.g, late.t, late.poisoned))
			}
		})
	}
	for _, same := range []bool{true, false} {
		read, err := h.reader(same, true, h.cursor())
		h.fatal(err)
		if err != nil {
			continue
		}
		others.Go(func() {
			defer read.Close()
			for keep(h.next(ctx, read)) {
			}
		})
	}
	if h.rng.IntN(2) == 0 {
		n := 1 + h.rng.IntN(4)
		rng := rand.New(rand.NewPCG(h.rng.Uint64(), 2))
		others.Go(func() {
			for range n {
				off := pick(rng, h.oracle.cursors()...)
				h.oracle.trimming(off)
				if err := h.j.RemoveBefore(off); err != nil && !h.planned(err) {
					keep(unexpected{fmt.Errorf("remove before %d: %w", off, err)})
				}
				time.Sleep(time.Microsecond)
			}
		})
	}
	appenders.Wait()
	if h.rng.IntN(2) == 0 {
		synctest.Wait() // readers come to the end
	}
	cancel()
	others.Wait()
	h.note("together up to %d, synced %d: %v", h.j.End(), h.j.Synced(), h.j.Err())
	if err := bad.Load(); err != nil {
		h.fatalf("%v", err)
	}
}

// epilogue lets the journal recover with nothing in its way, twice, with a power cut in between.
func (h *chronicle) epilogue() {
	h.plan = nil
	for range 2 {
		h.open(h.cursor())
		h.opened++
		h.disk.PowerCut()
		h.crashed()
	}
	h.keepReaders()
}
