package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// The variants of http that write. In process is the library, without a server.
const (
	httpOne           = "one a request"
	httpOneInProcess  = "one, in process"
	httpMany          = "100 a request"
	httpManyInProcess = "100, in process"
	httpOneBeside     = "one a request, beside 100 tails"
	httpOpen          = "1,000 a second"
	httpOpenInProcess = "1,000 a second, in process"
	httpOpenBeside    = "1,000 a second, beside 100 tails"
)

// The variants that read begin with the path. These words follow beside writers.
const besideWriters = ", beside 64 writers"

const (
	httpBatch       = 100
	httpRate        = 1000
	httpTails       = 100
	httpConnections = 64
)

// httpStores are measured by http. A put to PostgreSQL is a statement over its socket, and so a request.
var httpStores = []string{"auditsql", "postgres", "postgres-one"}

// httpVariants are the variants of a store that write.
func httpVariants(store string) []string {
	if store != "auditsql" {
		return []string{httpOne, httpMany, httpOpen}
	}
	return []string{httpOne, httpOneInProcess, httpMany, httpManyInProcess, httpOneBeside, httpOpen, httpOpenInProcess, httpOpenBeside}
}

// https measures a store over HTTP. The stores and variants take turns.
func (p *plan) https(ctx context.Context) error {
	if !p.wants("http") {
		return nil
	}
	for round := range p.rounds {
		for _, s := range p.turn(round) {
			if !slices.Contains(httpStores, s) {
				continue
			}
			for _, variant := range httpVariants(s) {
				if p.only != "" && p.only != variant {
					continue
				}
				connections := p.writers
				if !slices.Contains([]string{httpOne, httpOneInProcess, httpMany, httpManyInProcess}, variant) {
					connections = []int{httpConnections}
				}
				for _, n := range connections {
					if n > httpConnections {
						continue
					}
					j := p.job("http", s, p.size("put"))
					j.Variant, j.Writers = variant, n
					if err := p.fresh(ctx, j); err != nil {
						return err
					}
				}
			}
		}
	}
	return p.pages(ctx)
}

// pages measures each page and question of a store that is loaded once: alone, and then beside writers.
func (p *plan) pages(ctx context.Context) error {
	const store = "auditsql"
	_, wanted := pageOf(p.only)
	wanted = wanted || p.only == allPages
	if !slices.Contains(p.stores, store) || p.only != "" && !wanted {
		return nil
	}
	n := p.size("http")
	defer p.unload(store)
	if err := p.load(ctx, store, n); err != nil {
		return err
	}
	for _, writers := range []int{0, httpConnections} {
		if p.only != "" && p.only != allPages && strings.HasSuffix(p.only, besideWriters) != (writers > 0) {
			continue
		}
		for range p.rounds {
			j := p.job("pages", store, n)
			j.Dir, j.Writers, j.Seconds = p.loaded(store), writers, p.seconds/3
			if j.Only == allPages {
				j.Only = ""
			}
			if err := p.measure(ctx, j); err != nil {
				return err
			}
		}
	}
	return nil
}

// runHTTP measures one variant that writes.
func runHTTP(ctx context.Context, j job) ([]row, error) {
	s, err := j.overHTTP(ctx)
	if err != nil {
		return nil, err
	}
	w := writing{store: s, world: j.world(), writers: j.Writers, next: new(atomic.Int64)}
	switch j.Variant {
	case httpMany, httpManyInProcess:
		w.batch = httpBatch
	}
	var watchers *attached
	if strings.HasSuffix(j.Variant, "tails") {
		if watchers, err = startTails(ctx, j, s.(*httpStore).address, httpTails); err != nil {
			return nil, err
		}
	}
	var seen *tailing
	if h, ok := s.(*httpStore); ok && j.Variant == httpOpen {
		if seen, err = startTailing(ctx, h.address); err != nil {
			return nil, err
		}
	}
	open := strings.HasPrefix(j.Variant, httpOpen)
	run := func(ctx context.Context) (*outcome, error) {
		if open {
			return paced{w, httpRate, seen}.run(ctx)
		}
		return w.run(ctx)
	}
	w.until, w.stop = 1<<40, closedAfter(j.span()/warmUp)
	if _, err := run(ctx); err != nil {
		return nil, err
	}
	r := row{Store: j.Store, Workload: "http", Variant: j.Variant, Writers: j.Writers}
	p := begin(j.Dir, s)
	if seen != nil {
		seen.forget()
	}
	w.until, w.stop = w.next.Load()+int64(j.N), closedAfter(j.span())
	sum, err := run(ctx)
	if err != nil {
		return nil, err
	}
	took := time.Since(p.began)
	// A store in this process is given more records a second, and so SQLite lacks more of them at the end. What a put costs can only be
	// compared when SQLite has all.
	if d, ok := s.(drainer); ok && !open {
		if err := d.drain(ctx); err != nil {
			return nil, err
		}
	}
	p.end(&r, sum.n, sum.payload)
	r.Seconds = took.Seconds()
	r.rates()
	r.latencies(&sum.latencies)
	r.Records = int(w.next.Load())
	if seen != nil {
		if err := seen.end(&r); err != nil {
			return nil, err
		}
	}
	if watchers != nil {
		if err := endTails(watchers, &r); err != nil {
			return nil, err
		}
	}
	return closed(&r, j, s, p)
}

// overHTTP opens a store as a variant wants it: over HTTP, or in this process.
func (j job) overHTTP(ctx context.Context) (store, error) {
	if j.Store != "auditsql" || strings.HasSuffix(j.Variant, "in process") {
		return j.open()
	}
	s, err := startServer(ctx, j)
	if err != nil {
		return nil, err
	}
	return dialHTTP(s, j.Writers)
}

// paced puts records at a rate that does not depend on how long they take. The latency of a put counts from the instant
// at which it was due, so a put that had to wait for another one counts in full.
type paced struct {
	writing
	rate int // a second
	seen *tailing
}

func (p paced) run(ctx context.Context) (*outcome, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make([]outcome, p.writers)
	began, first := time.Now(), p.next.Load()
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			r := &results[i]
			for more := true; more && ctx.Err() == nil; more = !isClosed(p.stop) {
				no := p.next.Add(1) - 1
				if no >= p.until {
					p.next.Add(-1)
					return
				}
				q := p.world.record(int(no))
				due := began.Add(time.Duration(no-first) * time.Second / time.Duration(p.rate))
				time.Sleep(time.Until(due))
				if err := p.store.put(ctx, q); err != nil {
					cancel(err)
					return
				}
				now := time.Now()
				r.latencies.add(now.Sub(due))
				r.n++
				if p.seen != nil {
					p.seen.acknowledged(q.QueryID, now)
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return p.total(results), nil
}

// tailing follows the tail of a server and notes how long after its acknowledgement each record is seen.
type tailing struct {
	stop  context.CancelFunc
	ended chan error

	mu      sync.Mutex
	acked   map[audit.QueryID]time.Time // and not yet seen
	early   map[audit.QueryID]bool      // seen, and not yet acknowledged
	lags    histogram
	changed chan struct{} // has an element when acked may have become empty
}

func startTailing(ctx context.Context, address string) (*tailing, error) {
	ctx, stop := context.WithCancel(ctx)
	lines, err := openTail(ctx, address)
	if err != nil {
		stop()
		return nil, err
	}
	t := &tailing{stop: stop, ended: make(chan error, 1), acked: map[audit.QueryID]time.Time{}, early: map[audit.QueryID]bool{}, changed: make(chan struct{}, 1)}
	go func() {
		err := lines.each(func(line []byte) error {
			now := time.Now()
			q, err := audit.ParseAudit(line)
			if err == nil {
				t.sees(q.QueryID, now)
			}
			return err
		})
		if ctx.Err() != nil {
			err = nil
		}
		t.ended <- err
	}()
	return t, nil
}

func (t *tailing) acknowledged(id audit.QueryID, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.early[id] {
		delete(t.early, id)
		t.lags.add(0)
		return
	}
	t.acked[id] = now
}

func (t *tailing) sees(id audit.QueryID, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.acked[id]
	if !ok {
		t.early[id] = true
		return
	}
	delete(t.acked, id)
	t.lags.add(now.Sub(at))
	if len(t.acked) == 0 {
		select {
		case t.changed <- struct{}{}:
		default:
		}
	}
}

// forget forgets what was measured up to now.
func (t *tailing) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lags = histogram{}
}

// end waits until every record was seen, and sets the figures of a row.
func (t *tailing) end(r *row) error {
	defer t.stop()
	limit := time.After(30 * time.Second)
	for {
		t.mu.Lock()
		left := len(t.acked)
		r.LagP50, r.LagP99, r.LagMax = t.lags.quantile(.5), t.lags.quantile(.99), ms(t.lags.max)
		t.mu.Unlock()
		if left == 0 {
			t.stop()
			return <-t.ended
		}
		select {
		case <-t.changed:
		case err := <-t.ended:
			return errors.Join(fmt.Errorf("%w: the tail has ended, and %d records were not seen", errAnswer, left), err)
		case <-limit:
			return fmt.Errorf("%w: %d records were acknowledged and not seen by the tail", errAnswer, left)
		}
	}
}

// startTails starts another process that follows the tail many times over.
func startTails(ctx context.Context, j job, address string, n int) (*attached, error) {
	tails, err := attach(ctx, job{Step: "tails", Store: j.Store, Input: address, Readers: n})
	if err != nil {
		return nil, err
	}
	if err := tails.isReady(); err != nil {
		return nil, fmt.Errorf("%d tails: %w", n, err)
	}
	return tails, nil
}

// endTails ends them, and notes what they saw.
func endTails(tails *attached, r *row) error {
	rows, err := tails.end()
	if err == nil && len(rows) == 1 {
		r.Note = fmt.Sprintf("%d records sent to %d tails; %d were too slow", rows[0].N, rows[0].Readers, rows[0].Records)
	}
	return err
}

// runTails opens tails and reads what they send. Its row has the records that all tails have seen as N, and the tails that were
// cut off as Records.
func runTails(ctx context.Context, j job) ([]row, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var seen, cut atomic.Int64
	var wg sync.WaitGroup
	for range j.Readers {
		t, err := openTail(ctx, j.Input)
		if err != nil {
			return nil, err
		}
		wg.Go(func() {
			if err := t.count(&seen); errors.Is(err, errGap) {
				cut.Add(1)
			}
		})
	}
	told := untilTold()
	if _, err := fmt.Print(ready); err != nil {
		return nil, err
	}
	<-told
	stop()
	wg.Wait()
	return []row{{Store: j.Store, Workload: "tails", Readers: j.Readers, N: int(seen.Load()), Records: int(cut.Load())}}, nil
}
