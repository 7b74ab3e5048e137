// Package jetstream keeps a log on NATS JetStream.
//
// The log is one stream. A message has the subject audit.N, where N is the partition (0 if there is one log), and these headers:
//
//	Nats-Msg-Id           the message's ID; of a record its query id
//	Nats-Expected-Stream  the stream
//	Audit-Blake3          the BLAKE3 of the payload, in hex
//	Audit-Kind            barrier or head; left out for a record
//
// The stream is kept in files on three servers or more, refuses new messages when it is full, and can be trimmed by age alone.
// [Init] makes it. Its servers must sync each write: with their default, a power cut at all of them loses minutes of acknowledged
// messages. [Log.Info] asks each server, through the system account.
//
// A replica is read by a connection to its own server. But the server lets any replica answer a direct get, by chance (found with
// nats-server 2.15.3): what comes may be that of another replica. So a replica that lacks messages is named by what its server counts
// ([Log.Info]), and not by what was read.
package jetstream

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/auditsql/auditsql/cluster"
)

// The headers of a message beside those of NATS.
const (
	sumHeader  = "Audit-Blake3"
	kindHeader = "Audit-Kind"
)

// What a stream's metadata says.
const (
	storeIDKey = "audit-store-id"
	unitKey    = "audit-time-unit"

	// These are there if the records are divided among several streams.
	setKey    = "audit-set"        // 32 hex digits, equal for all streams of the set
	numberKey = "audit-partition"  // which one of them it is, from 0
	ofKey     = "audit-partitions" // how many there are
)

// Options say which stream it is and how to connect.
type Options struct {
	URL     string        // of one server of the cluster or of several, with commas between them
	Stream  string        // its name; AUDIT if ""
	Connect []nats.Option // TLS, credentials and the like
	// System are options for connections of a user of the system account, which may ask the servers about themselves. Without them it
	// is not proven that the log keeps what it acknowledges.
	System []nats.Option
	// Timeout is how long one request may take; 5 s if 0. What the stream is may be asked for three times as long, see election.
	Timeout time.Duration
}

func (o Options) withDefaults() Options {
	if o.Stream == "" {
		o.Stream = "AUDIT"
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	return o
}

// dialTimeout is how long it may take to connect to a server. A machine that is off does not answer at all, and meanwhile no other server
// is tried.
func (o Options) dialTimeout() time.Duration { return min(o.Timeout, 2*time.Second) }

func (o Options) urls() (urls []string) {
	for u := range strings.SplitSeq(o.URL, ",") {
		if u = strings.TrimSpace(u); u != "" {
			urls = append(urls, u)
		}
	}
	return urls
}

// A Log is a stream of NATS JetStream. It implements cluster.Log.
type Log struct {
	opts Options
	conn *nats.Conn
	js   jetstream.JetStream

	partition cluster.Partition // as it was when the stream was opened
	mirror    atomic.Bool       // the stream takes no messages, as far as it is known; it may have been promoted meanwhile

	mu       sync.Mutex
	replicas map[string]*nats.Conn // by the name of the server
	inboxes  map[*nats.Conn]*inbox // of the connections that are read
	proven   map[string]bool       // servers that were found to sync each write, see prove
	asked    time.Time             // when the servers could be asked for that last
	watch    leaderWatch
	dialing  chan struct{} // not nil while servers are being connected; closed then
	came     chan struct{} // closed and replaced when a server was connected
	closed   bool

	underWay budget // of all appends

	quit    context.Context
	quitNow context.CancelFunc
	running sync.WaitGroup
}

var _ cluster.Log = (*Log)(nil)

// Open connects to the stream. The stream must exist.
func Open(ctx context.Context, o Options) (*Log, error) {
	o = o.withDefaults()
	l, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	stream, err := l.streamInfo(ctx)
	if err == nil {
		l.partition, err = partitionOf(&stream.Config)
		l.mirror.Store(stream.Config.Mirror != nil)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// subjectOf is the subject of the messages of a partition.
func subjectOf(number int) string { return fmt.Sprintf("audit.%d", number) }

// connect connects to the cluster, whether or not the stream exists.
func connect(ctx context.Context, o Options) (*Log, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, err := dial(o.urls(), append([]nats.Option{
		nats.Name("auditsql"), nats.MaxReconnects(-1), nats.ReconnectWait(200 * time.Millisecond), nats.Timeout(o.dialTimeout()),
		// A server that is stopped keeps its connections. Another one is to be found within seconds.
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2),
	}, o.Connect...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", o.URL, err)
	}
	l := &Log{opts: o, conn: conn, replicas: map[string]*nats.Conn{}, inboxes: map[*nats.Conn]*inbox{}, proven: map[string]bool{}}
	l.watch.changed, l.came = make(chan struct{}), make(chan struct{})
	l.quit, l.quitNow = context.WithCancel(context.Background())
	// A message without an answer within this time is open. How many may be under way is the business of Append: over a limit of its own
	// the library would refuse one message and take the next one.
	l.js, err = jetstream.New(conn, jetstream.WithPublishAsyncTimeout(o.Timeout), jetstream.WithDefaultTimeout(o.Timeout),
		jetstream.WithPublishAsyncMaxPending(math.MaxInt))
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Close ends all connections.
func (l *Log) Close() {
	l.mu.Lock()
	l.closed = true
	l.quitNow()
	replicas := l.replicas
	l.replicas = map[string]*nats.Conn{}
	l.mu.Unlock()
	for _, c := range replicas {
		c.Close()
	}
	l.conn.Close()
	l.running.Wait()
}

// election is how long whoever opens a log waits for a leader. The servers need four to nine seconds to elect one after the death of the
// last, and a node that is started meanwhile need not be started again for that.
func (o Options) election() time.Duration { return 3 * o.Timeout }

func (l *Log) name() string { return "stream " + l.opts.Stream }

func (l *Log) streamInfo(ctx context.Context) (*jetstream.StreamInfo, error) {
	return l.infoOf(ctx, l.opts.Stream, l.opts.election(), false)
}

// ledInfo is streamInfo, as the leader tells it. A replica that has lost its leader for a while answers for itself, and may lack messages
// that were acknowledged.
func (l *Log) ledInfo(ctx context.Context) (*jetstream.StreamInfo, error) {
	return l.infoOf(ctx, l.opts.Stream, l.opts.Timeout, true)
}

// errNoLeader says that nobody can tell what a majority of the replicas has.
var errNoLeader = errors.New("no server leads it")

// infoOf asks for a stream, which may be another one than the log's. The leader answers. A question that came when there was none is never
// answered, so it is asked again and again, for so long. If led is true, nothing else is believed.
func (l *Log) infoOf(ctx context.Context, name string, within time.Duration, led bool) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	defer l.waits()()
	type answer struct {
		info *jetstream.StreamInfo
		err  error
	}
	answers := make(chan answer)
	ask := func() {
		var a answer
		s, err := l.js.Stream(ctx, name)
		if a.err = err; err == nil {
			a.info = s.CachedInfo()
		}
		select {
		case answers <- a:
		case <-ctx.Done():
		}
	}
	tick := time.NewTicker(quietTime)
	defer tick.Stop()
	var questions sync.WaitGroup
	defer questions.Wait()
	defer cancel()
	questions.Go(ask)
	var failed error
	for {
		select {
		case a := <-answers:
			leader, has := leadership{}, false
			if a.err == nil {
				leader, has = leaderOf(a.info)
			}
			switch {
			case a.err == nil && led && !has:
				a.err = errNoLeader
			case a.err == nil:
				if has && name == l.opts.Stream {
					l.told(leader)
				}
				return a.info, nil
			case errors.Is(a.err, jetstream.ErrStreamNotFound) || errors.Is(a.err, nats.ErrConnectionClosed):
				return nil, fmt.Errorf("stream %s: %w", name, a.err)
			}
			failed = unconnected(a.err) // the next question may have an answer
		case <-tick.C:
			questions.Go(ask)
			if name == l.opts.Stream {
				l.askWhoLeads()
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("stream %s: %w", name, cmp.Or(failed, ctx.Err()))
		}
	}
}

// directGet is a request for messages of one replica, from a number on. (API of NATS: ADR-31, batch.)
type directGet struct {
	Seq      uint64 `json:"seq"`
	Batch    int    `json:"batch"`
	MaxBytes int    `json:"max_bytes"`
}

// readBytes is how many bytes one read brings, except for the last message.
const readBytes = 4 << 20

// Read implements cluster.Log.
func (l *Log) Read(ctx context.Context, replica string, from uint64, most int) ([]cluster.Stored, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.opts.Timeout)
	defer cancel()
	conn, err := l.replica(ctx, replica)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", l.name(), err)
	}
	request, err := json.Marshal(directGet{Seq: max(from, 1), Batch: most, MaxBytes: readBytes})
	if err != nil {
		return nil, err
	}
	in, err := l.inbox(conn)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", l.name(), err)
	}
	answers, reply, done := in.expect(most + 1) // and the end
	defer done()
	if err := conn.PublishRequest("$JS.API.DIRECT.GET."+l.opts.Stream, reply, request); err != nil {
		return nil, fmt.Errorf("read %s: %w", l.name(), unconnected(err))
	}
	var got []cluster.Stored
	for {
		var msg *nats.Msg
		select {
		case msg = <-answers:
		case <-ctx.Done():
			return nil, fmt.Errorf("read %s: %w", l.name(), ctx.Err())
		}
		switch status := msg.Header.Get("Status"); {
		case len(msg.Data) == 0 && (status == "204" || status == "404"):
			return got, nil
		case len(msg.Data) == 0 && status != "":
			return nil, fmt.Errorf("read %s: %s %s", l.name(), status, msg.Header.Get("Description"))
		}
		stored, err := storedOf(msg)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", l.name(), err)
		}
		if got = append(got, stored); len(got) > most {
			return nil, fmt.Errorf("read %s: more than %d messages came", l.name(), most)
		}
	}
}

// storedOf reads the answer of a direct get. The server adds its headers after those of the publisher, who may have used their names.
func storedOf(msg *nats.Msg) (s cluster.Stored, err error) {
	last := func(name string) string {
		values := msg.Header.Values(name)
		if len(values) == 0 {
			return ""
		}
		return values[len(values)-1]
	}
	if s.Sequence, err = strconv.ParseUint(last(jetstream.SequenceHeader), 10, 64); err != nil || s.Sequence == 0 {
		return s, errors.New("an answer has no number")
	}
	s.ID, s.Kind, s.Sum = msg.Header.Get(jetstream.MsgIDHeader), cluster.Kind(msg.Header.Get(kindHeader)), msg.Header.Get(sumHeader)
	s.Payload = msg.Data
	return s, nil
}

// replica returns a connection to the server of a replica. It waits while servers are being connected.
func (l *Log) replica(ctx context.Context, name string) (*nats.Conn, error) {
	if name == "" {
		return l.conn, nil
	}
	var ended <-chan struct{}
	for over := false; ; {
		l.mu.Lock()
		conn, came := l.replicas[name], l.came
		l.mu.Unlock()
		switch {
		case conn != nil && conn.IsConnected():
			return conn, nil
		case over:
			return nil, fmt.Errorf("the server of replica %q does not answer", name)
		case ended == nil:
			ended = l.connectReplicas()
		}
		select {
		case <-came:
		case <-ended:
			over = true
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// connectReplicas begins to connect to each server that is known and not connected, and returns what is closed when that has ended. It is
// done by one goroutine, however many calls want it: a machine that is off takes dialTimeout, and who reads its replica asks again and again.
func (l *Log) connectReplicas() (ended <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dialing != nil {
		return l.dialing
	}
	dialing := make(chan struct{})
	if l.closed {
		close(dialing)
		return dialing
	}
	l.dialing = dialing
	l.running.Go(func() {
		l.dialReplicas()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.dialing = nil
		close(dialing)
	})
	return dialing
}

// dialReplicas connects to the servers, and finds out their names.
func (l *Log) dialReplicas() {
	urls := append(l.opts.urls(), l.conn.DiscoveredServers()...)
	slices.Sort(urls)
	urls = slices.Compact(urls)
	l.mu.Lock()
	for _, conn := range l.replicas { // the URL of one that has ended is ""
		if at, found := slices.BinarySearch(urls, conn.ConnectedUrl()); found {
			urls = slices.Delete(urls, at, at+1)
		}
	}
	l.mu.Unlock()
	var all sync.WaitGroup
	for _, u := range urls {
		all.Go(func() {
			conn, err := dial([]string{u}, append([]nats.Option{
				nats.Name("auditsql reads a replica"), nats.NoReconnect(), nats.IgnoreDiscoveredServers(), nats.Timeout(l.opts.dialTimeout()),
				nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2),
			}, l.opts.Connect...)...)
			if err != nil {
				return // the replica does not answer
			}
			l.keep(conn)
		})
	}
	all.Wait()
}

// keep notes a connection under the name of its server.
func (l *Log) keep(conn *nats.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := conn.ConnectedServerName()
	if have := l.replicas[name]; l.closed || have != nil && have.IsConnected() {
		conn.Close()
		return
	}
	if have := l.replicas[name]; have != nil {
		delete(l.inboxes, have) // it has ended
	}
	l.replicas[name] = conn
	close(l.came)
	l.came = make(chan struct{})
}

// Bounds implements cluster.Log.
func (l *Log) Bounds(ctx context.Context) (cluster.Bounds, error) {
	if err := ctx.Err(); err != nil {
		return cluster.Bounds{}, err
	}
	info, err := l.ledInfo(ctx)
	if err != nil {
		return cluster.Bounds{}, err
	}
	return boundsOf(info.State.FirstSeq, info.State.LastSeq, info.State.Msgs), nil
}

func boundsOf(first, last, n uint64) cluster.Bounds {
	if n == 0 {
		first = last + 1
	}
	return cluster.Bounds{First: first, Last: last}
}
