// Package jetstream keeps a log on NATS JetStream.
//
// The log is one stream. A message has the subject audit.N, where N is the partition (0 if there is one log), and these headers:
//
//	Nats-Msg-Id           the message's ID, which is the query id of its record
//	Nats-Expected-Stream  the stream
//	Audit-Blake3          the BLAKE3 of the payload, in hex
//	Audit-Kind            barrier, or nothing for a record
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
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/auditsql/auditsql/audit"
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
	// Timeout is how long one request may take; 5 s if 0.
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

	mu       sync.Mutex
	replicas map[string]*nats.Conn // by the name of the server
	inboxes  map[*nats.Conn]*inbox // of the connections that are read
	proven   map[string]bool       // servers that were found to sync each write, see prove
	failing  time.Time             // since when no request was answered; zero when the last one was
	closed   bool
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
	conn, err := nats.Connect(strings.Join(o.urls(), ","), append([]nats.Option{
		nats.Name("auditsql"), nats.MaxReconnects(-1), nats.ReconnectWait(200 * time.Millisecond), nats.Timeout(o.Timeout),
		// A server that is stopped keeps its connections. Another one is to be found within seconds.
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2),
	}, o.Connect...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", o.URL, err)
	}
	l := &Log{opts: o, conn: conn, replicas: map[string]*nats.Conn{}, inboxes: map[*nats.Conn]*inbox{}, proven: map[string]bool{}}
	// An append that gets no answer within this time is answered by the caller's context, or given again.
	l.js, err = jetstream.New(conn, jetstream.WithPublishAsyncTimeout(o.Timeout), jetstream.WithDefaultTimeout(o.Timeout))
	if err != nil {
		conn.Close()
		return nil, err
	}
	return l, nil
}

// Close ends all connections.
func (l *Log) Close() {
	l.mu.Lock()
	l.closed = true
	replicas := l.replicas
	l.replicas = map[string]*nats.Conn{}
	l.mu.Unlock()
	for _, c := range replicas {
		c.Close()
	}
	l.conn.Close()
}

func (l *Log) name() string { return "stream " + l.opts.Stream }

func (l *Log) streamInfo(ctx context.Context) (*jetstream.StreamInfo, error) {
	return l.infoOf(ctx, l.opts.Stream)
}

// infoOf asks for a stream, which may be another one than the log's.
func (l *Log) infoOf(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, l.opts.Timeout)
	defer cancel()
	s, err := l.js.Stream(ctx, name)
	l.answered(err == nil || errors.Is(err, jetstream.ErrStreamNotFound))
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	return s.CachedInfo(), nil
}

// Append implements cluster.Log.
func (l *Log) Append(ctx context.Context, ms []cluster.Message) []cluster.Appended {
	done := make([]cluster.Appended, len(ms))
	acks := make([]jetstream.PubAckFuture, len(ms))
	for i, m := range ms {
		if done[i].Err = ctx.Err(); done[i].Err == nil {
			acks[i], done[i].Err = l.publish(m)
		}
	}
	for i, ack := range acks {
		if ack == nil {
			continue
		}
		select {
		case a := <-ack.Ok():
			done[i] = cluster.Appended{Sequence: a.Sequence, Duplicate: a.Duplicate}
		case err := <-ack.Err():
			done[i].Err = fmt.Errorf("%s: %w", l.name(), err)
		case <-ctx.Done():
			done[i].Err = ctx.Err()
		}
		l.answered(done[i].Err == nil)
	}
	return done
}

// switchAfter is for how long nothing is answered before another server is asked.
const switchAfter = 5 * time.Second

// answered notes whether a request was answered. A server that is cut off from the others keeps its clients, and answers nothing that
// needs a majority. So another one is asked then.
func (l *Log) answered(ok bool) {
	l.mu.Lock()
	now := time.Now()
	elsewhere := false
	switch {
	case ok:
		l.failing = time.Time{}
	case l.failing.IsZero():
		l.failing = now
	case now.Sub(l.failing) >= switchAfter:
		l.failing, elsewhere = now, true
	}
	l.mu.Unlock()
	if elsewhere {
		l.conn.ForceReconnect() // an error says that it reconnects already, or was closed
	}
}

func (l *Log) publish(m cluster.Message) (jetstream.PubAckFuture, error) {
	if limit := l.maxPayload(); len(m.Payload) > limit {
		return nil, fmt.Errorf("%w: its payload has %d bytes, at most %d are taken", cluster.ErrRefused, len(m.Payload), limit)
	}
	msg := nats.NewMsg(subjectOf(l.partition.Number))
	msg.Data = bytes.Clone(m.Payload) // it may be sent once more, after the caller has its outcome
	msg.Header.Set(jetstream.ExpectedStreamHeader, l.opts.Stream)
	if m.ID != "" {
		msg.Header.Set(jetstream.MsgIDHeader, m.ID)
	}
	if m.Sum != "" {
		msg.Header.Set(sumHeader, m.Sum)
	}
	if m.Kind != cluster.Record {
		msg.Header.Set(kindHeader, string(m.Kind))
	}
	ack, err := l.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0))
	if errors.Is(err, nats.ErrMaxPayload) {
		err = fmt.Errorf("%w: %w", cluster.ErrRefused, err)
	}
	return ack, err
}

// headerRoom is how many bytes of a message's limit are left to its headers.
const headerRoom = 1 << 10

// maxPayload is how many bytes a payload may have.
func (l *Log) maxPayload() int {
	return int(min(max(l.conn.MaxPayload()-headerRoom, 0), audit.MaxEncoded))
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
	conn, err := l.replica(replica)
	if err != nil {
		return nil, err
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
		return nil, fmt.Errorf("read %s: %w", l.name(), err)
	}
	ctx, cancel := context.WithTimeout(ctx, l.opts.Timeout)
	defer cancel()
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

// replica returns a connection to the server of a replica.
func (l *Log) replica(name string) (*nats.Conn, error) {
	if name == "" {
		return l.conn, nil
	}
	l.mu.Lock()
	conn := l.replicas[name]
	l.mu.Unlock()
	if conn != nil && conn.IsConnected() {
		return conn, nil
	}
	l.connectReplicas()
	l.mu.Lock()
	defer l.mu.Unlock()
	if conn := l.replicas[name]; conn != nil && conn.IsConnected() {
		return conn, nil
	}
	return nil, fmt.Errorf("the server of replica %q does not answer", name)
}

// connectReplicas connects to each server that is known, and finds out its name.
func (l *Log) connectReplicas() {
	urls := append(l.opts.urls(), l.conn.DiscoveredServers()...)
	slices.Sort(urls)
	var all sync.WaitGroup
	for _, u := range slices.Compact(urls) {
		all.Go(func() {
			conn, err := nats.Connect(u, append([]nats.Option{
				nats.Name("auditsql reads a replica"), nats.NoReconnect(), nats.IgnoreDiscoveredServers(), nats.Timeout(l.opts.Timeout),
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
}

// Bounds implements cluster.Log.
func (l *Log) Bounds(ctx context.Context) (cluster.Bounds, error) {
	if err := ctx.Err(); err != nil {
		return cluster.Bounds{}, err
	}
	info, err := l.streamInfo(ctx)
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
