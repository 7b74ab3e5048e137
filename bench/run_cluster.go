package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// The variants of cluster.
const (
	oneMachine   = "one machine"
	oneNode      = "three servers, one node"
	threeNodes   = "three servers, three nodes"
	withStandbys = "two standbys"
	newNode      = "a new node catches up"
	leaderKilled = "the leader is killed"
)

// clusterVariants are what is measured of each store. A put returns in all of them but the first one when its record is on the disks of
// a majority of three machines, which are one here.
var clusterVariants = map[string][]string{
	"cluster":      {oneNode, threeNodes, newNode, leaderKilled},
	"auditsql":     {oneMachine},
	"postgres":     {withStandbys},
	"postgres-one": {withStandbys},
}

// clusterWriters put while the leader is killed.
const clusterWriters = 64

// clusters measures a log on three servers. The stores and variants take turns.
func (p *plan) clusters(ctx context.Context) error {
	if !p.wants("cluster") {
		return nil
	}
	skip := slices.DeleteFunc(slices.Clone(p.stores), func(s string) bool { return clusterVariants[s] != nil })
	measure := func(round int, writers int, puts bool) error {
		for _, s := range p.turn(round, skip...) {
			for _, variant := range clusterVariants[s] {
				if p.only != "" && p.only != variant || puts == (variant == newNode || variant == leaderKilled) {
					continue
				}
				j := p.job("cluster", s, p.size("put"))
				j.Variant, j.Writers = variant, writers
				switch variant {
				case newNode:
					j.N, j.Writers = p.size("cluster"), 0
				case leaderKilled:
					j.N = defaults["put"] // puts must not end before it is killed
				}
				if err := p.fresh(ctx, j); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, writers := range p.writers {
		for round := range p.rounds {
			if err := measure(round, writers, true); err != nil {
				return err
			}
		}
	}
	for round := range p.rounds {
		if err := measure(round, clusterWriters, false); err != nil {
			return err
		}
	}
	return nil
}

// runCluster measures one variant.
func runCluster(ctx context.Context, j job) ([]row, error) {
	s, err := j.open()
	if err != nil {
		return nil, err
	}
	r := row{Store: j.Store, Workload: "cluster", Variant: j.Variant, Writers: j.Writers}
	if j.Variant != oneMachine {
		r.Note = fmt.Sprintf("all servers, nodes and writers share %d processors and one disk", runtime.NumCPU())
	}
	if c, ok := s.(*clusterStore); ok {
		switch j.Variant {
		case newNode:
			return c.catchUp(ctx, j, r)
		case threeNodes:
			for _, name := range []string{"n2", "n3"} {
				other, err := follow(ctx, job{Step: "follow", Store: name, Dir: filepath.Join(j.Dir, name), Input: c.nats.options().URL, Profile: j.Profile})
				if err != nil {
					return nil, errors.Join(err, s.close())
				}
				c.others = append(c.others, other)
			}
		}
	}
	return putOnCluster(ctx, j, s, r)
}

// putOnCluster measures puts, as put does.
func putOnCluster(ctx context.Context, j job, s store, r row) ([]row, error) {
	w := writing{store: s, world: j.world(), writers: j.Writers, next: new(atomic.Int64)}
	c, _ := s.(*clusterStore)
	var seen *following
	if c != nil && len(c.others) > 0 {
		seen = c.others[0]
		w.store = noting{c, seen}
	}
	w.until, w.stop = int64(j.N), closedAfter(j.span()/warmUp)
	if _, err := w.run(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	var acks silence
	if j.Variant == leaderKilled {
		w.each = func(_ int64, at time.Time) { acks.end(at) }
	}
	seen.forget()
	p := begin(j.Dir, s)
	w.until, w.stop = w.next.Load()+int64(j.N), closedAfter(j.span())
	killed := make(chan error, 1)
	if j.Variant == leaderKilled {
		time.AfterFunc(j.span()/4, func() {
			acks.begin(time.Now())
			killed <- c.killLeader(ctx)
		})
	} else {
		killed <- nil
	}
	sum, err := w.run(ctx)
	if err = errors.Join(err, <-killed); err != nil {
		return nil, errors.Join(err, s.close())
	}
	p.end(&r, sum.n, sum.payload)
	if j.Variant == leaderKilled {
		// What the killed server has used is not known any more.
		r.CPU, r.CPUPer, r.ServerCPUPer, r.RSS, r.Anon, r.Written, r.WrittenPer = 0, 0, 0, 0, 0, 0, 0
	}
	r.latencies(&sum.latencies)
	r.Records = int(w.next.Load())
	r.Silence = ms(acks.longest)
	if seen != nil {
		r.LagP50, r.LagP99, r.LagMax, err = seen.lags()
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	if c != nil {
		have, _, err := c.db.Root(ctx)
		if err == nil && have != uint64(r.Records) {
			err = fmt.Errorf("%d puts have returned, and the node has %d records", r.Records, have)
		}
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return closed(&r, j, s, p)
}

// killLeader kills the server that leads the stream.
func (c *clusterStore) killLeader(ctx context.Context) error {
	info, err := c.log.Info(ctx)
	if err != nil {
		return err
	}
	for _, replica := range info.Replicas {
		if replica.Leader {
			return c.nats.kill(replica.Name)
		}
	}
	return errors.New("no server leads")
}

// catchUp measures how fast a node reads a log from its first message. Nothing is put meanwhile.
func (c *clusterStore) catchUp(ctx context.Context, j job, r row) (_ []row, err error) {
	for from := 0; from < j.N; from += catchUpBatch {
		var qs []*audit.QueryAudit
		for no := from; no < min(from+catchUpBatch, j.N); no++ {
			qs = append(qs, j.world().record(no))
		}
		if err := c.load(ctx, qs); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	last := c.node.Cursor()
	if err := c.closeNode(); err != nil {
		return nil, errors.Join(err, c.close())
	}
	p := begin(j.Dir, c)
	if c.log, c.node, err = openNode(ctx, filepath.Join(j.Dir, "n2"), c.nats.options()); err == nil {
		err = c.node.WaitFor(ctx, last)
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	p.end(&r, j.N, int64(j.N)*j.world().averageSize())
	r.Records = j.N
	return closed(&r, j, c, p)
}

// catchUpBatch is how many records are put at a time before a node catches up.
const catchUpBatch = 1000

// silence is the longest time without an acknowledgement.
type silence struct {
	mu      sync.Mutex
	last    time.Time // zero: it does not count yet
	longest time.Duration
}

// begin begins to count.
func (s *silence) begin(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = at
}

// end ends a silence with an acknowledgement.
func (s *silence) end(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.IsZero() && at.After(s.last) {
		s.longest, s.last = max(s.longest, at.Sub(s.last)), at
	}
}

// noting is a node whose puts are noted, to find out when another node has them.
type noting struct {
	*clusterStore
	seen *following
}

func (n noting) put(ctx context.Context, q *audit.QueryAudit) error {
	err := n.clusterStore.put(ctx, q)
	if err == nil {
		n.seen.returned(n.node.Cursor(), time.Now())
	}
	return err
}

// following is a node in another process, and what it says of how far it has read.
type following struct {
	process *attached
	ended   chan error // the process has ended

	mu      sync.Mutex
	cursor  uint64 // what it has read
	pending []returned
	counted histogram
	changed chan struct{} // has an element when pending may have become empty
}

// returned is a put that has returned when this process's node had a message.
type returned struct {
	cursor uint64
	at     time.Time
}

// follow starts a node in another process.
func follow(ctx context.Context, j job) (*following, error) {
	process, err := attach(ctx, j)
	if err != nil {
		return nil, err
	}
	if err := process.isReady(); err != nil {
		return nil, fmt.Errorf("node %s: %w", j.Store, err)
	}
	f := &following{process: process, ended: make(chan error, 1), changed: make(chan struct{}, 1)}
	go func() {
		for {
			line, err := process.out.ReadString('\n')
			var cursor uint64
			var at int64
			if err == nil {
				_, err = fmt.Sscan(line, &cursor, &at)
			}
			if err != nil {
				break // its rows, or nothing
			}
			f.sees(cursor, time.Unix(0, at))
		}
		f.ended <- process.wait()
	}()
	return f, nil
}

// returned notes that a put has returned, when the node of this process had read up to cursor. That may be a little more than the
// message of the put.
func (f *following) returned(cursor uint64, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if cursor <= f.cursor {
		f.counted.add(0)
		return
	}
	f.pending = append(f.pending, returned{cursor, at})
}

// sees notes how far the other node has read.
func (f *following) sees(cursor uint64, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cursor = cursor
	f.pending = slices.DeleteFunc(f.pending, func(r returned) bool {
		if r.cursor <= cursor {
			f.counted.add(at.Sub(r.at))
		}
		return r.cursor <= cursor
	})
	if len(f.pending) == 0 {
		select {
		case f.changed <- struct{}{}:
		default:
		}
	}
}

// forget forgets what was measured up to now.
func (f *following) forget() {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counted = histogram{}
}

// lags waits until the other node has everything, and returns, in milliseconds, how long that took after each put had returned.
func (f *following) lags() (p50, p99, longest float64, err error) {
	limit := time.After(time.Minute)
	for {
		f.mu.Lock()
		left := len(f.pending)
		p50, p99, longest = f.counted.quantile(.5), f.counted.quantile(.99), ms(f.counted.max)
		f.mu.Unlock()
		if left == 0 {
			return p50, p99, longest, nil
		}
		select {
		case <-f.changed:
		case err := <-f.ended:
			f.ended <- err
			return 0, 0, 0, errors.Join(fmt.Errorf("a node has ended that lacks %d records", left), err)
		case <-limit:
			return 0, 0, 0, fmt.Errorf("a node still lacks %d records", left)
		}
	}
}

// end ends the node.
func (f *following) end() error {
	err := f.process.stop.Close()
	return errors.Join(err, <-f.ended)
}

// followLook is how often a node that follows looks how far it has read.
const followLook = time.Millisecond

// runFollow is a node that follows the log until standard input ends. It says on standard output, a line each time, how far it
// has read, and when.
func runFollow(ctx context.Context, j job) ([]row, error) {
	log, node, err := openNode(ctx, j.Dir, natsOptions(j.Input))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	told := untilTold()
	if _, err := fmt.Print(ready); err != nil {
		return nil, errors.Join(err, node.Close())
	}
	tick := time.NewTicker(followLook)
	defer tick.Stop()
	for cursor := uint64(0); ; {
		select {
		case <-told:
			return []row{}, node.Close()
		case <-tick.C:
			if err := node.Err(); err != nil {
				return nil, errors.Join(err, node.Close())
			}
			if at := node.Applied(); at != cursor {
				cursor = at
				if _, err := fmt.Println(cursor, time.Now().UnixNano()); err != nil {
					return nil, errors.Join(err, node.Close())
				}
			}
		}
	}
}
