package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// The variants of mixed.
const (
	putsAlone  = "puts alone"
	putsBeside = "puts beside readers"
	reads      = "gets beside writers"
)

// readerPause is the pause of a reader between two questions. Without it eight readers would measure how processors are
// shared, not how a store lets them read.
const readerPause = time.Millisecond

// runMixed measures puts at full rate, first alone and then beside readers. It also measures the readers: half of their
// gets ask for a record that was put a moment ago. Meanwhile another process checks how old the newest record is that it
// sees.
func runMixed(ctx context.Context, j job) ([]row, error) {
	s, err := j.open()
	if err != nil {
		return nil, err
	}
	in, ok := s.(reader)
	if !ok {
		return []row{}, s.close()
	}
	w := writing{store: s, world: j.world(), writers: j.Writers, next: new(atomic.Int64), until: 1 << 40}
	w.stamp = func(q *audit.QueryAudit) { q.Timestamp = uint64(time.Now().UnixMilli()) }
	w.next.Store(int64(j.N))
	w.stop = closedAfter(j.span() / warmUp)
	if _, err := w.run(ctx); err != nil {
		return nil, err
	}
	var p *probe
	phase := func(variant string, readers int) (row, *histogram, error) {
		r := row{Store: j.Store, Workload: "mixed", Variant: variant, Writers: j.Writers, Readers: readers, Records: j.N}
		w.at = newPlaces(j.Writers, w.next.Load())
		w.stop = closedAfter(j.span())
		type answer struct {
			h   *histogram
			err error
		}
		answers := make(chan answer, 1)
		go func() {
			a := asking{readers: readers, seed: j.Seed, pause: readerPause, ask: func(ctx context.Context, no int) error {
				high := w.at.below()
				pick := int64(no>>1) % high
				if no&1 == 1 {
					pick = high - 1 - int64(no>>1)%min(high, 1000)
				}
				raw, err := in.get(ctx, w.world.id(int(pick)))
				return decode(asRecord, [][]byte{raw}, err)
			}}
			if readers == 0 {
				answers <- answer{h: new(histogram)}
				return
			}
			h, err := a.run(ctx, w.stop)
			answers <- answer{h, err}
		}()
		p = begin(j.Dir, s)
		sum, err := w.run(ctx)
		got := <-answers
		if err := errors.Join(err, got.err); err != nil {
			return r, nil, err
		}
		p.end(&r, sum.n, sum.payload)
		r.latencies(&sum.latencies)
		return r, got.h, nil
	}
	alone, _, err := phase(putsAlone, 0)
	if err != nil {
		return nil, err
	}
	// The second phase must not begin with the backlog of the first one.
	if d, ok := s.(drainer); ok {
		if err := d.drain(ctx); err != nil {
			return nil, err
		}
	}
	var seen *attached // another process, which reads the store
	if _, ok := s.(shared); ok {
		observe := j
		observe.Step = "observe"
		if seen, err = attach(ctx, observe); err != nil {
			return nil, err
		}
	}
	beside, h, err := phase(putsBeside, j.Readers)
	if err != nil {
		return nil, err
	}
	asked := beside // the process is the same
	asked.Variant, asked.N = reads, int(h.n)
	asked.Payload, asked.Written, asked.WrittenPer, asked.Device, asked.DevicePer = 0, 0, 0, 0, 0
	asked.rates()
	asked.latencies(h)
	if seen == nil {
		asked.Note = "no other process can read it meanwhile"
	} else if err := endObserver(seen, &asked); err != nil {
		return nil, err
	}
	rows, err := closed(&beside, j, s, p)
	return append([]row{alone}, append(rows, asked)...), err
}

// endObserver stops the process that looks at the store, and sets what it saw.
func endObserver(o *attached, r *row) error {
	rows, err := o.end()
	if err == nil && len(rows) == 1 {
		r.LagP50, r.LagP99, r.LagMax = rows[0].P50, rows[0].P99, rows[0].Max
	}
	return err
}

// observeEvery is the time between two reads of the observer.
const observeEvery = 5 * time.Millisecond

// runObserve notes the age of the newest record again and again, until standard input ends.
func runObserve(ctx context.Context, j job) ([]row, error) {
	s, err := j.open()
	if err != nil {
		return nil, err
	}
	v, ok := s.(shared)
	if !ok {
		return nil, fmt.Errorf("%s cannot be read by another process", j.Store)
	}
	ended := untilTold()
	var ages histogram
	tick := time.NewTicker(observeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			r := row{Store: j.Store, Workload: "observe", N: int(ages.n)}
			r.latencies(&ages)
			return []row{r}, s.close()
		case <-tick.C:
			newest, err := v.newest(ctx)
			if err != nil {
				return nil, err
			}
			age := time.Since(time.UnixMilli(int64(newest)))
			if age < 0 || age > 10*time.Minute {
				return nil, fmt.Errorf("the newest record is from %s", strconv.FormatUint(newest, 10))
			}
			ages.add(age)
		}
	}
}
