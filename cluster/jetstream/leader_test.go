package jetstream_test

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
)

var (
	leaderFaults  = flag.Int("leaderfaults", 0, "how often TestTheTimeWithoutAnswers takes the leader away, in each way")
	leaderWriters = flag.Int("leaderwriters", 16, "how many put meanwhile")
	leaderKinds   = flag.String("leaderkinds", "killed,paused,cut off,stopped", "in which ways")
)

// An outage is what happened after the leader was taken away, counted from then.
type outage struct {
	servers time.Duration // the other servers acknowledged a message
	first   time.Duration // a put returned, after the longest time without one
	last    time.Duration // each writer had a put that returned, after its longest time without one
}

// TestTheTimeWithoutAnswers measures for how long puts get no answer after the leader was killed, paused, cut off or stopped, and how much of
// that the servers need themselves. It asserts nothing.
func TestTheTimeWithoutAnswers(t *testing.T) {
	if *leaderFaults == 0 {
		t.Skip("-leaderfaults says how often")
	}
	w := &network{t: t}
	c := startServers(t, 3, w.join)
	c.initStream(jetstream.Spec{})
	log := c.open()
	n, err := openNamed(t, filepath.Join(t.TempDir(), "node"), c.open(), "node")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	stopped := fault{"is stopped", false,
		func(c *servers, _ *network, i int) { c.stop(i) },
		func(c *servers, _ *network, i int) { c.start(i) }}
	var serial atomic.Int64
	for _, f := range append(slices.Clone(faultKinds), stopped) {
		kind := strings.TrimPrefix(strings.TrimSuffix(f.name, " from the others"), "is ")
		if !slices.Contains(strings.Split(*leaderKinds, ","), kind) {
			continue
		}
		var servers, first, last, more []time.Duration
		for range *leaderFaults {
			leader := c.leader(log)
			o := measureOutage(t, n, &serial, func() { f.begin(c, w, leader) }, func(ctx context.Context) time.Time { return c.acknowledges(ctx, leader) })
			f.end(c, w, leader)
			c.settled(log)
			t.Logf("s%d led and is %s: the servers %.2f s, the first put %.2f s, the last writer %.2f s", leader+1, kind, o.servers.Seconds(), o.first.Seconds(), o.last.Seconds())
			servers, first, last = append(servers, o.servers), append(first, o.first), append(last, o.last)
			more = append(more, o.last-o.servers)
		}
		for _, of := range []struct {
			what string
			took []time.Duration
		}{{"the servers", servers}, {"the first put", first}, {"the last writer", last}, {"the last writer, after the servers", more}} {
			slices.Sort(of.took)
			t.Logf("%s %d times, %s: median %.2f s, worst %.2f s", kind, len(of.took), of.what, of.took[len(of.took)/2].Seconds(), of.took[len(of.took)-1].Seconds())
		}
	}
}

// measureOutage lets writers put until each of them has gone on after begin. acknowledged returns when the servers did.
func measureOutage(t *testing.T, n *cluster.Node, serial *atomic.Int64, begin func(), acknowledged func(context.Context) time.Time) (o outage) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var mu sync.Mutex
	returned := make([][]time.Time, *leaderWriters)
	changed := make(chan struct{}, 1)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for of := range returned {
		running.Go(func() {
			for {
				_, err := n.PutAudit(ctx, sample(int(serial.Add(1))))
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				returned[of] = append(returned[of], time.Now())
				mu.Unlock()
				select {
				case changed <- struct{}{}:
				default:
				}
			}
		})
	}
	// until waits until each writer fulfils a condition.
	until := func(is func(of []time.Time) bool) {
		for all := false; !all; {
			select {
			case <-changed:
			case <-ctx.Done():
				t.Fatal("puts do not return")
			}
			mu.Lock()
			all = !slices.ContainsFunc(returned, func(of []time.Time) bool { return !is(of) })
			mu.Unlock()
		}
	}
	until(func(of []time.Time) bool { return len(of) >= 20 })
	at := time.Now()
	begin()
	acked := acknowledged(ctx)
	until(func(of []time.Time) bool { return len(of) > 0 && of[len(of)-1].After(acked) })
	mu.Lock()
	defer mu.Unlock()
	all := slices.Concat(returned...)
	slices.SortFunc(all, time.Time.Compare)
	o.servers, o.first = acked.Sub(at), silentUntil(all, at)
	for _, of := range returned {
		o.last = max(o.last, silentUntil(of, at))
	}
	return o
}

// silentUntil returns when the longest time without an event after at ended, counted from at.
func silentUntil(events []time.Time, at time.Time) (end time.Duration) {
	longest, before := time.Duration(0), at
	for _, e := range events {
		if e.After(at) {
			if d := e.Sub(before); d > longest {
				longest, end = d, e.Sub(at)
			}
			before = e
		}
	}
	return end
}

// What the leader had under way when it died is never answered. An append ends as soon as another server leads, and not when its time is
// up. It gave the leader no more than a window, and gives the next one nothing of what follows: all get their places in order when they are
// given again.
func TestWhatADeadLeaderHadUnderWay(t *testing.T) {
	c := startServers(t, 3, nil)
	c.initStream(jetstream.Spec{})
	leader := c.leader(c.open())
	o := c.options()
	urls := strings.Split(o.URL, ",")
	// The append is given to another server than the one that dies, so its connection stays.
	o.URL, o.Connect = strings.Join(append(urls[leader+1:], urls[:leader+1]...), ","), []nats.Option{nats.DontRandomize()}
	o.Timeout = time.Hour
	l, err := jetstream.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := nats.Connect(urls[(leader+1)%3])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	published, err := conn.SubscribeSync("audit.0")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const window = 1000
	var ms []cluster.Message
	for i := range window + 500 {
		raw, _ := sample(i).Canonical()
		ms = append(ms, cluster.NewRecord(sample(i).QueryID, raw))
	}
	c.pause(leader) // so that it cannot give the messages to the others
	ended := make(chan []cluster.Appended)
	go func() { ended <- l.Append(ctx, ms) }()
	for range window {
		if _, err := published.NextMsgWithContext(ctx); err != nil {
			t.Fatal(err)
		}
	}
	c.kill(leader)
	for i, done := range <-ended {
		if done.Err == nil || ctx.Err() != nil {
			t.Fatalf("message %d, which the dead server had: %+v", i, done)
		}
	}
	if n, _, err := published.Pending(); n > 0 || err != nil {
		t.Errorf("%d messages more were under way, %v", n, err)
	}
	for open := true; open; {
		last := uint64(0)
		open = false
		for i, done := range l.Append(ctx, ms) {
			switch {
			case ctx.Err() != nil:
				t.Fatal(done.Err)
			case done.Err != nil:
				open = true
			case done.Sequence <= last:
				t.Fatalf("message %d has number %d, after %d", i, done.Sequence, last)
			default:
				last = done.Sequence
			}
		}
	}
}

// A replica without a leader answers for itself, and may lack what was acknowledged. Nobody believes that the log ends there.
func TestTheEndOfALogWithoutALeader(t *testing.T) {
	c := startServers(t, 3, nil)
	c.initStream(jetstream.Spec{})
	o := c.options()
	o.URL = strings.Split(o.URL, ",")[0]
	o.Timeout = time.Second
	l, err := jetstream.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.Bounds(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.kill(1)
	c.kill(2)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for alone := false; !alone; {
		info, err := l.Info(ctx)
		alone = err == nil && !slices.ContainsFunc(info.Replicas, func(r cluster.Replica) bool { return r.Leader })
		if ctx.Err() != nil {
			t.Fatal("the replica does not answer for itself")
		}
	}
	if b, err := l.Bounds(ctx); err == nil {
		t.Errorf("nobody leads, and the log is said to be %+v", b)
	}
}

// A node is started while the servers elect a leader. It waits for the leader.
func TestANodeIsOpenedWhileThereIsNoLeader(t *testing.T) {
	c := startServers(t, 3, nil)
	c.initStream(jetstream.Spec{})
	info, err := c.open().Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leader := slices.IndexFunc(info.Replicas, func(r cluster.Replica) bool { return r.Leader })
	i := slices.IndexFunc(c.specs, func(s serverSpec) bool { return s.Name == info.Replicas[leader].Name })
	c.kill(i)
	n, err := cluster.Open(t.Context(), filepath.Join(t.TempDir(), "node"), c.open(), cluster.Options{Name: "late"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := n.PutAudit(t.Context(), sample(0)); err != nil {
		t.Error(err)
	}
}

// More messages than the library takes at a time, while the server hangs for a moment: each is taken, in its order.
func TestMoreMessagesThanAreTakenAtATime(t *testing.T) {
	c := startServers(t, 1, func(s *serverSpec) { s.Default = true })
	c.initStream(jetstream.Spec{Replicas: 1})
	l := c.open()
	var ms []cluster.Message
	for i := range 10_000 {
		raw, _ := sample(i).Canonical()
		ms = append(ms, cluster.NewRecord(sample(i).QueryID, raw))
	}
	c.pause(0)
	time.AfterFunc(time.Second, func() { c.resume(0) }) // how long a disk may hang
	for i, done := range l.Append(t.Context(), ms) {
		if done.Err != nil || done.Duplicate || done.Sequence != uint64(i+1) {
			t.Fatalf("message %d: %+v", i, done)
		}
	}
}

// leader returns which server leads the stream.
func (c *servers) leader(log *jetstream.Log) int {
	c.t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; c.pauseFor(context.Background(), 50*time.Millisecond) {
		info, err := log.Info(context.Background())
		if err != nil {
			continue
		}
		for _, r := range info.Replicas {
			for i, s := range c.specs {
				if r.Leader && r.Name == s.Name {
					return i
				}
			}
		}
	}
	c.t.Fatal("no server leads")
	return 0
}

// settled waits until all replicas have the same.
func (c *servers) settled(log *jetstream.Log) {
	c.t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; c.pauseFor(context.Background(), 100*time.Millisecond) {
		info, err := log.Info(context.Background())
		if err != nil || len(info.Replicas) < 3 {
			continue
		}
		same := true
		for _, r := range info.Replicas {
			same = same && r.Answers && r.Last == info.Replicas[0].Last
		}
		if same {
			return
		}
	}
	c.t.Fatal("the replicas do not come to the same")
}

// acknowledges publishes to the other servers than this one until a message is acknowledged, and returns when that was.
func (c *servers) acknowledges(ctx context.Context, but int) time.Time {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	acked := make(chan time.Time, 1000)
	var serial atomic.Int64
	for i, s := range c.specs {
		if i == but {
			continue
		}
		conn, err := nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", s.Client))
		if err != nil {
			c.t.Fatal(err)
		}
		defer conn.Close()
		go func() {
			for ctx.Err() == nil {
				reply := nats.NewInbox()
				sub, err := conn.Subscribe(reply, func(m *nats.Msg) {
					if strings.Contains(string(m.Data), `"seq"`) {
						select {
						case acked <- time.Now():
						default:
						}
					}
				})
				if err != nil {
					return
				}
				sub.AutoUnsubscribe(1)
				m := nats.NewMsg("audit.0")
				m.Reply = reply
				m.Header.Set("Audit-Kind", "barrier")
				m.Header.Set("Audit-Blake3", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")
				m.Header.Set("Nats-Msg-Id", fmt.Sprint("probe-", time.Now().UnixNano(), "-", serial.Add(1)))
				conn.PublishMsg(m)
				c.pauseFor(ctx, 50*time.Millisecond)
			}
		}()
	}
	select {
	case at := <-acked:
		return at
	case <-ctx.Done():
		c.t.Fatal("no server acknowledges anything")
		return time.Time{}
	}
}
