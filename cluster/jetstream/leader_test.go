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

	"github.com/nats-io/nats-server/v2/server"
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
	c.kill(c.leader(c.open()))
	// Nobody has asked the dead server yet whether it syncs each write.
	n, err := cluster.Open(t.Context(), filepath.Join(t.TempDir(), "node"), c.open(), cluster.Options{Name: "late", Unproven: true})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := n.PutAudit(t.Context(), sample(0)); err != nil {
		t.Error(err)
	}
}

// script plays the servers of stream AUDIT as a test wants it, on a server without JetStream.
type script struct {
	t    *testing.T
	conn *nats.Conn
	url  string
}

func newScript(t *testing.T) *script {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.WaitForShutdown)
	t.Cleanup(s.Shutdown)
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	conn, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return &script{t, conn, s.ClientURL()}
}

// on does something with each message to a subject, one after the other.
func (s *script) on(subject string, do func(*nats.Msg)) {
	s.t.Helper()
	if _, err := s.conn.Subscribe(subject, do); err != nil {
		s.t.Fatal(err)
	}
	if err := s.conn.Flush(); err != nil {
		s.t.Fatal(err)
	}
}

// answer answers a message.
func (s *script) answer(m *nats.Msg, format string, args ...any) {
	if err := m.Respond(fmt.Appendf(nil, format, args...)); err != nil {
		s.t.Error(err)
	}
}

// info answers the question for the stream. leader is "" when it has none.
func (s *script) info(m *nats.Msg, leader string) {
	led := ""
	if leader != "" {
		led = fmt.Sprintf(`, "leader": %q, "leader_since": "2026-01-01T00:00:00Z"`, leader)
	}
	s.answer(m, `{"config": {"name": "AUDIT", "num_replicas": 3}, "created": "2026-01-01T00:00:00Z", "state": {}, "cluster": {"name": "C"%s}}`, led)
}

// noResponders answers as the server does when nobody takes a message.
func (s *script) noResponders(m *nats.Msg) {
	a := nats.NewMsg(m.Reply)
	a.Header.Set("Status", "503")
	if err := s.conn.PublishMsg(a); err != nil {
		s.t.Error(err)
	}
}

// A message is answered while it is asked who leads, and the next one finds nobody who takes it. The question stays: whoever waits for a leader learns
// that there is one.
func TestAQuestionWhoLeadsIsNotLost(t *testing.T) {
	s := newScript(t)
	var mu sync.Mutex
	var given []*nats.Msg
	opened, led := false, false
	s.on("$JS.API.STREAM.INFO.AUDIT", func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case !opened:
			opened = true
			s.info(m, "s1")
		case led:
			s.info(m, "s2")
		case len(given) == 2: // somebody asks who leads, because both are late
			s.info(m, "")
			s.answer(given[0], `{"stream": "AUDIT", "seq": 1}`)
			s.noResponders(given[1])
			led = true
		}
	})
	s.on("audit.0", func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if given = append(given, m); led {
			s.answer(m, `{"stream": "AUDIT", "seq": 2}`)
		}
	})
	l, err := jetstream.Open(t.Context(), jetstream.Options{URL: s.url, Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ms := []cluster.Message{cluster.NewBarrier("one"), cluster.NewBarrier("two")}
	if done := l.Append(ctx, ms); done[0].Err != nil || done[1].Err == nil || ctx.Err() != nil {
		t.Fatalf("%+v", done)
	}
	if done := l.Append(ctx, ms[1:]); done[0].Err != nil {
		t.Errorf("there is a leader, and the message was not given to it: %v", done[0].Err)
	}
}

// A message finds nobody who takes it, or was given to a server that leads no more. What follows it in the call is not given: it would stand before
// it.
func TestAMessageThatMayBeLostIsNotOvertaken(t *testing.T) {
	for name, lost := range map[string]func(s *script, m *nats.Msg, leads *atomic.Value){
		"nobody takes it":      func(s *script, m *nats.Msg, _ *atomic.Value) { s.noResponders(m) },
		"another server leads": func(_ *script, _ *nats.Msg, leads *atomic.Value) { leads.Store("s2") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			var leads atomic.Value
			leads.Store("s1")
			s.on("$JS.API.STREAM.INFO.AUDIT", func(m *nats.Msg) { s.info(m, leads.Load().(string)) })
			var given atomic.Int64
			first := make(chan bool)
			s.on("audit.0", func(m *nats.Msg) {
				if given.Add(1) > 1 {
					s.answer(m, `{"stream": "AUDIT", "seq": %d}`, given.Load())
					return
				}
				lost(s, m, &leads)
				if err := s.conn.Flush(); err != nil {
					t.Error(err)
				}
				close(first)
			})
			conns := make(chan *nats.Conn, 10)
			l, err := jetstream.Open(t.Context(), jetstream.Options{URL: s.url, Connect: []nats.Option{nats.ConnectHandler(func(c *nats.Conn) { conns <- c })}})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			conn := <-conns
			ctx := &between{Context: t.Context(), at: 2, do: func() { // when the second message is to be given
				<-first
				seen := make(chan bool)
				if err := errors.Join(conn.Flush(), conn.Barrier(func() { close(seen) })); err != nil { // the answer has come, if there is one
					t.Error(err)
					return
				}
				<-seen
				if _, err := l.Bounds(t.Context()); err != nil { // the log learns who leads
					t.Error(err)
				}
			}}
			done := l.Append(ctx, []cluster.Message{cluster.NewBarrier("one"), cluster.NewBarrier("two"), cluster.NewBarrier("three")})
			for i := range done {
				if done[i].Err == nil {
					t.Errorf("message %d was stored before the first one: %+v", i, done[i])
				}
			}
			if n := given.Load(); n != 1 {
				t.Errorf("%d messages were given", n)
			}
		})
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
