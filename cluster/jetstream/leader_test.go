package jetstream_test

import (
	"context"
	"errors"
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

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
)

var (
	leaderFaults  = flag.Int("leaderfaults", 0, "how often TestTheTimeWithoutAnswers takes the leader away, in each way")
	leaderWriters = flag.Int("leaderwriters", 16, "how many put meanwhile")
	leaderKinds   = flag.String("leaderkinds", "killed,paused,cut off", "in which ways")
)

// An outage is what happened after the leader was taken away, counted from then.
type outage struct {
	engine time.Duration // the servers acknowledged a message that was published to one of the others
	again  time.Duration // the first put returned after the longest time without one
	reader time.Duration // the node read a message after the longest time without one
	all    time.Duration // each writer that puts had an answer after the servers acknowledged something
}

// TestTheTimeWithoutAnswers measures for how long puts get no answer after the leader was killed, paused or cut off, and how much of that
// the servers need themselves. It asserts nothing.
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
	var serial atomic.Int64
	for _, f := range faultKinds {
		kind := strings.TrimPrefix(strings.TrimSuffix(f.name, " from the others"), "is ")
		if !slices.Contains(strings.Split(*leaderKinds, ","), kind) {
			continue
		}
		var outages []outage
		for range *leaderFaults {
			leader := c.leader(log)
			var o outage
			var mu sync.Mutex
			var returned []time.Time
			last := make([]time.Time, *leaderWriters)
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			for of := range *leaderWriters {
				running.Go(func() {
					for i := 0; ctx.Err() == nil; i++ {
						if _, err := n.PutAudits(ctx, []*audit.QueryAudit{sample(int(serial.Add(1)))}); err != nil {
							if ctx.Err() == nil {
								t.Error(err)
							}
							return
						}
						mu.Lock()
						returned = append(returned, time.Now())
						last[of] = time.Now()
						mu.Unlock()
					}
				})
			}
			var read []time.Time
			running.Go(func() {
				for ctx.Err() == nil {
					if n.WaitFor(ctx, n.Cursor()+1) == nil {
						mu.Lock()
						read = append(read, time.Now())
						mu.Unlock()
					}
				}
			})
			time.Sleep(2 * time.Second)
			at := time.Now()
			f.begin(c, w, leader)
			acked := c.acknowledges(ctx, leader)
			o.engine = acked.Sub(at)
			for done := false; !done; time.Sleep(5 * time.Millisecond) {
				mu.Lock()
				done = true
				for _, l := range last {
					done = done && l.After(acked)
					if l.After(acked) {
						o.all = max(o.all, l.Sub(at))
					}
				}
				if !done {
					o.all = 0
				}
				mu.Unlock()
				if time.Since(at) > time.Minute {
					t.Fatal("no answer")
				}
			}
			time.Sleep(2 * time.Second)
			cancel()
			running.Wait()
			o.again, o.reader = gap(returned, at), gap(read, at)
			// The first answer of each writer, not the last one.
			f.end(c, w, leader)
			c.settled(log)
			outages = append(outages, o)
			t.Logf("the leader s%d is %s: engine %.2f s, put %.2f s, reader %.2f s, all %.2f s", leader+1, kind, o.engine.Seconds(), o.again.Seconds(), o.reader.Seconds(), o.all.Seconds())
		}
		for name, of := range map[string]func(outage) time.Duration{
			"engine":           func(o outage) time.Duration { return o.engine },
			"put":              func(o outage) time.Duration { return o.again },
			"all":              func(o outage) time.Duration { return o.all },
			"all after engine": func(o outage) time.Duration { return o.all - o.engine },
		} {
			var ds []time.Duration
			for _, o := range outages {
				ds = append(ds, of(o))
			}
			slices.Sort(ds)
			t.Logf("%s, %d times, %s: median %.2f s, worst %.2f s", kind, len(ds), name, ds[len(ds)/2].Seconds(), ds[len(ds)-1].Seconds())
		}
	}
}

// What the leader had under way when it died is never answered. An append ends as soon as another server leads, and not when its time is up.
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
	raw, _ := sample(1).Canonical()
	ms := []cluster.Message{cluster.NewRecord(sample(1).QueryID, raw)}
	c.pause(leader) // so that it cannot give the message to the others
	ended := make(chan error)
	go func() { ended <- l.Append(ctx, ms)[0].Err }()
	if _, err := published.NextMsgWithContext(ctx); err != nil {
		t.Fatal(err)
	}
	c.kill(leader)
	if err := <-ended; err == nil || ctx.Err() != nil {
		t.Fatalf("the append of what the dead server had: %v", err)
	}
	for {
		done := l.Append(ctx, ms)[0]
		if done.Err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(done.Err)
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

// gap returns when the longest time without an event ended that ended after at, counted from then.
func gap(events []time.Time, at time.Time) time.Duration {
	var longest, end time.Duration
	before := at
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
		c.t.Fatal(errors.New("no server acknowledges anything"))
		return time.Time{}
	}
}
