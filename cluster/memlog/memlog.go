// Package memlog keeps a log in memory, with replicas that a test can damage. It is for tests: nothing of it outlives the process.
//
// Its replicas agree at once, unless a test says otherwise: a replica can lag, lack a message, have another one, or not answer. What
// is damaged is one replica's. The log itself is never wrong, except after Cut and Recreate.
package memlog

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/tree"
)

// Window is for how long the log remembers the ID of a message.
const Window = 2 * time.Minute

// MaxPayload is how many bytes a payload may have.
const MaxPayload = 17 << 20

// Fate is what happens to an append on its way.
type Fate struct {
	Delay   time.Duration // before it arrives
	Lost    bool          // it never arrives, and the caller gets an error
	AckLost bool          // it arrives, and the caller gets an error
	// Again says when the network delivers it once more, counted from its arrival.
	Again []time.Duration
}

// A Log is a log in memory.
type Log struct {
	// Fate, if set, says what happens to each message that is appended. It is called with the lock held. Set it before the first use.
	Fate func(m cluster.Message) Fate

	mu       sync.Mutex
	info     cluster.Info
	first    uint64           // the number of messages[0]
	messages []cluster.Stored // as a majority has them
	trimmed  []cluster.Stored // what Trim has removed
	seen     map[string]seen
	replicas []*replica
	seeming  *uint64 // what it says is its last message, see Seem
	trees    map[string]tree.TileReader
	late     sync.WaitGroup // messages that are delivered once more
	ctx      context.Context
	stop     context.CancelFunc
}

type seen struct {
	sequence uint64
	until    time.Time
}

// replica is the differences of one replica from the log.
type replica struct {
	name    string
	down    bool
	frozen  uint64 // it has nothing after this number, if stale
	stale   bool
	lacks   map[uint64]bool
	altered map[uint64]cluster.Message
}

// New returns an empty log with so many replicas, which are called r1, r2, and so on.
func New(replicas int) *Log {
	l := &Log{first: 1, seen: map[string]seen{}, trees: map[string]tree.TileReader{}}
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.info = cluster.Info{Name: "memory", StoreID: "00112233445566778899aabbccddeeff", Created: time.Now(), Unit: audit.Milliseconds, MaxPayload: MaxPayload}
	for i := range replicas {
		l.replicas = append(l.replicas, &replica{name: fmt.Sprint("r", i+1), lacks: map[uint64]bool{}, altered: map[uint64]cluster.Message{}})
	}
	return l
}

// NewSet returns empty logs that are the partitions of one set, in their order.
func NewSet(partitions, replicas int) []*Log {
	logs := make([]*Log, partitions)
	for i := range logs {
		l := New(replicas)
		l.info.Partition = cluster.Partition{Set: l.info.StoreID, Number: i, Of: partitions}
		l.info.Name, l.info.StoreID = fmt.Sprint("memory ", i), cluster.PartitionStoreID(l.info.Partition)
		logs[i] = l
	}
	return logs
}

// SetPartition changes which partition the log says it is.
func (l *Log) SetPartition(p cluster.Partition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.info.Partition, l.info.StoreID = p, cluster.PartitionStoreID(p)
}

// Close ends the deliveries that are still to come.
func (l *Log) Close() {
	l.stop()
	l.late.Wait()
}

func (l *Log) last() uint64 { return l.first + uint64(len(l.messages)) - 1 }

// Append implements cluster.Log.
func (l *Log) Append(ctx context.Context, ms []cluster.Message) []cluster.Appended {
	done := make([]cluster.Appended, len(ms))
	for i, m := range ms {
		done[i] = l.append(ctx, m)
	}
	return done
}

// errLost is what the caller of an append gets whose answer does not come.
var errLost = fmt.Errorf("no answer: %w", context.DeadlineExceeded)

func (l *Log) append(ctx context.Context, m cluster.Message) cluster.Appended {
	if len(m.Payload) > MaxPayload {
		return cluster.Appended{Err: fmt.Errorf("%w: its payload has %d bytes, at most %d are taken", cluster.ErrRefused, len(m.Payload), MaxPayload)}
	}
	if err := ctx.Err(); err != nil {
		return cluster.Appended{Err: err}
	}
	m.Payload = bytes.Clone(m.Payload)
	var fate Fate
	l.mu.Lock()
	if l.Fate != nil {
		fate = l.Fate(m)
	}
	l.mu.Unlock()
	if fate.Delay > 0 {
		select {
		case <-time.After(fate.Delay):
		case <-ctx.Done():
			// It is on its way all the same.
			if !fate.Lost {
				l.deliver(m, fate.Delay)
			}
			return cluster.Appended{Err: ctx.Err()}
		}
	}
	if fate.Lost {
		return cluster.Appended{Err: errLost}
	}
	done := l.arrive(m)
	for _, after := range fate.Again {
		l.deliver(m, after)
	}
	if fate.AckLost {
		return cluster.Appended{Err: errLost}
	}
	return done
}

// deliver lets a message arrive later.
func (l *Log) deliver(m cluster.Message, after time.Duration) {
	if l.ctx.Err() != nil {
		return
	}
	l.late.Go(func() {
		select {
		case <-time.After(after):
			l.arrive(m)
		case <-l.ctx.Done():
		}
	})
}

func (l *Log) arrive(m cluster.Message) cluster.Appended {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if s, ok := l.seen[m.ID]; ok && m.ID != "" && now.Before(s.until) {
		return cluster.Appended{Sequence: s.sequence, Duplicate: true}
	}
	l.messages = append(l.messages, cluster.Stored{Sequence: l.last() + 1, Message: m})
	if m.ID != "" {
		l.seen[m.ID] = seen{l.last(), now.Add(Window)}
	}
	return cluster.Appended{Sequence: l.last()}
}

// Read implements cluster.Log.
func (l *Log) Read(ctx context.Context, name string, from uint64, most int) ([]cluster.Stored, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r, err := l.replica(name)
	if err != nil {
		return nil, err
	}
	if r.down {
		return nil, fmt.Errorf("replica %s does not answer", r.name)
	}
	var got []cluster.Stored
	for seq := max(from, l.first); seq <= l.last() && len(got) < most; seq++ {
		if m, ok := r.at(l, seq); ok {
			m.Payload = bytes.Clone(m.Payload)
			got = append(got, cluster.Stored{Sequence: seq, Message: m})
		}
	}
	return got, nil
}

// at returns a message as the replica has it. The log's lock is held.
func (r *replica) at(l *Log, seq uint64) (cluster.Message, bool) {
	if r.lacks[seq] || r.stale && seq > r.frozen || l.seeming != nil && seq > *l.seeming {
		return cluster.Message{}, false
	}
	if m, ok := r.altered[seq]; ok {
		return m, true
	}
	return l.messages[seq-l.first].Message, true
}

func (l *Log) replica(name string) (*replica, error) {
	for _, r := range l.replicas {
		if r.name == name || name == "" && !r.down {
			return r, nil
		}
	}
	return nil, fmt.Errorf("no replica %q answers", name)
}

// Bounds implements cluster.Log.
func (l *Log) Bounds(ctx context.Context) (cluster.Bounds, error) {
	if err := ctx.Err(); err != nil {
		return cluster.Bounds{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := cluster.Bounds{First: l.first, Last: l.last()}
	if l.seeming != nil {
		b.Last = min(b.Last, *l.seeming)
	}
	return b, nil
}

// Info implements cluster.Log.
func (l *Log) Info(ctx context.Context) (cluster.Info, error) {
	if err := ctx.Err(); err != nil {
		return cluster.Info{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	info := l.info
	info.Unproven = append([]string(nil), l.info.Unproven...)
	for i, r := range l.replicas {
		about := cluster.Replica{Name: r.name, Answers: !r.down}
		if !r.down {
			about.Leader, about.Bounds = i == 0, cluster.Bounds{First: l.first, Last: l.last()}
			if r.stale {
				about.Last = min(about.Last, r.frozen)
			}
			for seq := range r.lacks {
				if about.First <= seq && seq <= about.Last {
					about.Missing++
				}
			}
		}
		info.Replicas = append(info.Replicas, about)
	}
	return info, nil
}

// ServeTree implements cluster.Exchange.
func (l *Log) ServeTree(node string, tiles tree.TileReader) (stop func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trees[node] = tiles
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.trees, node)
	}, nil
}

// TreeOf implements cluster.Exchange.
func (l *Log) TreeOf(ctx context.Context, node string) tree.TileReader {
	return remoteTree{ctx, l, node}
}

type remoteTree struct {
	ctx  context.Context
	log  *Log
	node string
}

func (r remoteTree) ReadTile(t tree.Tile) ([]byte, error) {
	r.log.mu.Lock()
	tiles := r.log.trees[r.node]
	r.log.mu.Unlock()
	if tiles == nil {
		return nil, fmt.Errorf("node %s does not answer", r.node)
	}
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	return tiles.ReadTile(t)
}

// All returns the messages that were ever added to the log and not cut from it, those that were trimmed included.
func (l *Log) All() []cluster.Stored {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Concat(l.trimmed, l.messages)
}

// on calls f with a replica, while nothing else uses the log.
func (l *Log) on(name string, f func(*replica)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, err := l.replica(name)
	if err != nil {
		panic(err)
	}
	f(r)
}

// SetDown says whether a replica answers.
func (l *Log) SetDown(name string, down bool) { l.on(name, func(r *replica) { r.down = down }) }

// Freeze says whether a replica gets new messages.
func (l *Log) Freeze(name string, stale bool) {
	l.on(name, func(r *replica) { r.stale, r.frozen = stale, l.last() })
}

// Seem makes the log and all replicas say that this is the last message, as servers do that were just started and have not heard from each
// other yet. With nil they say how it is again.
func (l *Log) Seem(last *uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seeming = last
}

// Lack takes a message from a replica.
func (l *Log) Lack(name string, seq uint64) { l.on(name, func(r *replica) { r.lacks[seq] = true }) }

// Alter changes a message on a replica.
func (l *Log) Alter(name string, seq uint64, change func(*cluster.Message)) {
	l.on(name, func(r *replica) {
		if seq < l.first || seq > l.last() {
			return
		}
		m := l.messages[seq-l.first].Message
		m.Payload = bytes.Clone(m.Payload)
		change(&m)
		r.altered[seq] = m
	})
}

// Heal makes a replica like the log.
func (l *Log) Heal(name string) {
	l.on(name, func(r *replica) {
		r.down, r.stale = false, false
		clear(r.lacks)
		clear(r.altered)
	})
}

// Trim removes the messages before a number.
func (l *Log) Trim(first uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first = min(first, l.last()+1); first > l.first {
		l.trimmed = append(l.trimmed, l.messages[:first-l.first]...)
		l.messages = l.messages[first-l.first:]
		l.first = first
	}
}

// Cut removes the messages after a number from the log and from all replicas, as a power cut does that takes back what was
// acknowledged.
func (l *Log) Cut(last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last < l.last() && last+1 >= l.first {
		l.messages = l.messages[:last+1-l.first]
	}
	clear(l.seen)
}

// Recreate makes the log again under its name: it is empty, and has another time of creation.
func (l *Log) Recreate() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first, l.messages, l.trimmed = 1, nil, nil
	clear(l.seen)
	l.info.Created = l.info.Created.Add(time.Since(l.info.Created)).Add(time.Nanosecond)
}

// Continued returns a log that was made as a mirror of this one, lacks its messages after a number, and has become a log itself.
func (l *Log) Continued(last uint64) *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := New(len(l.replicas))
	n.info = l.info
	n.info.Created, n.info.Continues, n.info.Copied = l.info.Created.Add(time.Second), cluster.LogID(l.info.Created), last
	n.first, n.messages, n.trimmed = l.first, slices.Clone(l.messages[:last+1-l.first]), slices.Clone(l.trimmed)
	return n
}

// SetUnproven sets the reasons why the log is not certain to keep what it acknowledges.
func (l *Log) SetUnproven(reasons ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.info.Unproven = reasons
}
