package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// writing puts records with many writers at once. Each writer waits for its put before it begins the next one.
type writing struct {
	store   store
	world   world
	writers int
	batch   int                            // records that are put at a time; 0: one
	next    *atomic.Int64                  // number of the next record
	until   int64                          // writing ends before this record,
	stop    <-chan struct{}                // or when stop is closed; each writer puts at least once
	stamp   func(q *audit.QueryAudit)      // may be nil
	each    func(done int64, at time.Time) // may be nil; called after each put, by any writer
	at      *places                        // may be nil
}

// places are the numbers of the records that the writers are putting now, one for each writer.
type places []atomic.Int64

func newPlaces(writers int, first int64) *places {
	p := make(places, writers)
	for i := range p {
		p[i].Store(first)
	}
	return &p
}

// below returns the number below which every record was acknowledged. One writer may wait a long time for one record
// while the others go on.
func (p *places) below() int64 {
	low := (*p)[0].Load()
	for i := range *p {
		low = min(low, (*p)[i].Load())
	}
	return low
}

type outcome struct {
	latencies histogram
	n         int
	payload   int64
}

// run returns after every writer has ended.
func (w writing) run(ctx context.Context) (*outcome, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make([]outcome, w.writers)
	var done atomic.Int64
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			r := &results[i]
			batch := int64(max(1, w.batch))
			qs := make([]*audit.QueryAudit, batch)
			for more := true; more && ctx.Err() == nil; more = !isClosed(w.stop) { // at least once
				no := w.next.Add(batch) - batch
				if no >= w.until {
					w.next.Add(-batch)
					return
				}
				if w.at != nil {
					(*w.at)[i].Store(no)
				}
				for k := range qs {
					qs[k] = w.world.record(int(no) + k)
					if w.stamp != nil {
						w.stamp(qs[k])
					}
				}
				began := time.Now()
				if err := w.give(ctx, qs); err != nil {
					cancel(err)
					return
				}
				now := time.Now()
				r.latencies.add(now.Sub(began))
				r.n += int(batch)
				if w.each != nil {
					w.each(done.Add(batch), now)
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return w.total(results), nil
}

// total adds up what the writers have done.
func (w writing) total(results []outcome) *outcome {
	sum := &results[0]
	for i := range results[1:] {
		sum.latencies.merge(&results[i+1].latencies)
		sum.n += results[i+1].n
	}
	sum.payload = int64(sum.n) * w.world.averageSize()
	return sum
}

// give puts one record, or loads a batch.
func (w writing) give(ctx context.Context, qs []*audit.QueryAudit) error {
	if w.batch == 0 {
		return w.store.put(ctx, qs[0])
	}
	return w.store.load(ctx, qs)
}

// averageSize returns the average length of the first thousand records in canonical JSON.
func (w world) averageSize() int64 {
	total := 0
	const some = 1000
	var raw []byte
	for i := range some {
		raw, _ = w.record(i).AppendCanonical(raw[:0])
		total += len(raw)
	}
	return int64(total / some)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// closedAfter returns a channel that is closed after a time.
func closedAfter(d time.Duration) <-chan struct{} {
	c := make(chan struct{})
	time.AfterFunc(d, func() { close(c) })
	return c
}

// warmUp is the length of the warm-up, as a share of the measurement. It is not counted.
const warmUp = 10

// runPut measures durable puts for a time, or N of them.
func runPut(ctx context.Context, j job) ([]row, error) {
	s, err := j.open()
	if err != nil {
		return nil, err
	}
	w := writing{store: s, world: j.world(), writers: j.Writers, next: new(atomic.Int64)}
	w.until, w.stop = int64(j.N/warmUp), closedAfter(j.span()/warmUp)
	if _, err := w.run(ctx); err != nil {
		return nil, err
	}
	r := row{Store: j.Store, Workload: "put", Writers: j.Writers}
	p := begin(j.Dir, s)
	w.until, w.stop = w.next.Load()+int64(j.N), closedAfter(j.span())
	sum, err := w.run(ctx)
	if err != nil {
		return nil, err
	}
	p.end(&r, sum.n, sum.payload)
	r.latencies(&sum.latencies)
	r.Records = int(w.next.Load())
	return closed(&r, j, s, p)
}

// closed closes a store, and notes how long that took and how large the store is then.
func closed(r *row, j job, s store, p *probe) ([]row, error) {
	began := time.Now()
	if err := s.close(); err != nil {
		return nil, err
	}
	r.CloseSeconds = time.Since(began).Seconds()
	p.disk(r)
	r.Disk = diskMB(j.Dir)
	return []row{*r}, nil
}

// windowPuts is the number of puts for which sustained reports one rate.
const windowPuts = 200_000

// runSustained measures N durable puts until every question finds all of them.
func runSustained(ctx context.Context, j job) ([]row, error) {
	s, err := j.open()
	if err != nil {
		return nil, err
	}
	r := row{Store: j.Store, Workload: "sustained", Writers: j.Writers, Window: min(windowPuts, max(1, j.N/5))}
	window := int64(r.Window)
	acked, applied := newMarks(window), newMarks(window)
	w := writing{store: s, world: j.world(), writers: j.Writers, next: new(atomic.Int64),
		until: int64(j.N), stop: closedAfter(j.span())}
	w.each = func(done int64, _ time.Time) {
		if done%window == 0 {
			acked.reach(done)
		}
	}
	p := begin(j.Dir, s)
	drained := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() { applied.watch(s, acked, drained) })
	sum, err := w.run(ctx)
	if err != nil {
		return nil, err
	}
	acknowledged := time.Now()
	if d, ok := s.(drainer); ok {
		if err := d.drain(ctx); err != nil {
			return nil, err
		}
	}
	p.end(&r, sum.n, sum.payload)
	// A store may release waiting callers a moment before it counts their records.
	for b, ok := s.(applies); ok && b.applied() < int64(sum.n) && ctx.Err() == nil; {
		time.Sleep(time.Millisecond)
	}
	close(drained)
	looking.Wait()
	r.latencies(&sum.latencies)
	r.Records = sum.n
	r.DrainSeconds = time.Since(acknowledged).Seconds()
	if sum.n < j.N {
		r.Note = "stopped by the limit of time"
	}
	r.WindowRates, r.WindowAcked = applied.rates(p.began), acked.rates(p.began)
	r.WindowRSS, r.WindowAnon = applied.rss, applied.anon
	return closed(&r, j, s, p)
}

// marks are the times at which each window ended, and the memory at those times.
type marks struct {
	window int64
	mu     sync.Mutex
	at     []time.Time
	rss    []float64
	anon   []float64
}

func newMarks(window int64) *marks { return &marks{window: window} }

// reach notes that so many records have been counted.
func (m *marks) reach(done int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for int64(len(m.at)+1)*m.window <= done {
		m.at = append(m.at, time.Now())
		m.rss = append(m.rss, status("VmRSS"))
		m.anon = append(m.anon, status("RssAnon"))
	}
}

// watch follows how many records a store has applied, until it has applied all. If a store applies before it acknowledges,
// watch follows the acknowledgements.
func (m *marks) watch(s store, acked *marks, drained <-chan struct{}) {
	look := func() {
		if b, ok := s.(applies); ok {
			m.reach(b.applied())
			return
		}
		acked.mu.Lock()
		n := int64(len(acked.at)) * acked.window
		acked.mu.Unlock()
		m.reach(n)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			look()
		case <-drained:
			look()
			return
		}
	}
}

// rates returns the records a second of each window.
func (m *marks) rates(from time.Time) (rates []float64) {
	for _, at := range m.at {
		rates = append(rates, float64(m.window)/at.Sub(from).Seconds())
		from = at
	}
	return rates
}

// batchRecords is the number of records that are loaded or imported at a time.
const batchRecords = 5_000

// runLoad fills a store with N records before a measurement.
func runLoad(ctx context.Context, j job) ([]row, error) {
	s, err := j.open()
	if err != nil {
		return nil, err
	}
	w := j.world()
	r := row{Store: j.Store, Workload: "load", Records: j.N}
	p := begin(j.Dir, s)
	for from := 0; from < j.N; from += batchRecords {
		qs := make([]*audit.QueryAudit, 0, batchRecords)
		for no := from; no < min(from+batchRecords, j.N); no++ {
			qs = append(qs, w.record(no))
		}
		if err := s.load(ctx, qs); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	if d, ok := s.(drainer); ok {
		if err := d.drain(ctx); err != nil {
			return nil, err
		}
	}
	p.end(&r, j.N, int64(j.N)*w.averageSize())
	return closed(&r, j, s, p)
}

// runVictim puts at full rate until the store's backlog is full, or for a fixed time if the store has no backlog. Then it
// tells the parent, and goes on until it is killed.
func runVictim(ctx context.Context, j job) ([]row, error) {
	s, err := j.open()
	if err != nil {
		return nil, err
	}
	var next atomic.Int64
	next.Store(int64(j.N))
	failed := make(chan error, 1)
	for range j.Writers {
		go func() {
			for {
				qs := make([]*audit.QueryAudit, 100)
				first := next.Add(int64(len(qs))) - int64(len(qs))
				for i := range qs {
					qs[i] = j.world().record(int(first) + i)
				}
				if err := s.load(ctx, qs); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	ahead, isAhead := s.(backlogged)
	limit := time.After(j.span())
	if isAhead {
		limit = time.After(20 * j.span()) // it ends before that, where the disk is not slower than SQLite
	}
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for {
		select {
		case err := <-failed:
			return nil, err
		case <-limit:
			return nil, say(ready)
		case <-look.C:
			if !isAhead {
				continue
			}
			if n, bound := ahead.backlog(); n >= bound*9/10 {
				return nil, say(ready)
			}
		}
	}
}
