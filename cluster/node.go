package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/storedir"
)

// Options say how a node works. The zero value has the defaults.
type Options struct {
	Store  []audit.Option // for its copy
	Logger *slog.Logger   // nil: silent
	// Unproven lets the node go on although it is not certain that the log keeps what it acknowledges. The store notes that for good.
	Unproven bool
	// Poll is how long the node waits, at most, before it asks the log again for messages when there were none; 50 ms if 0. A put
	// of this node does not wait for that.
	Poll time.Duration
	// Check is how often the node asks whether the log is still the same one and still keeps what it acknowledges; 10 minutes if 0.
	Check time.Duration
	// Batch is how many messages it reads at a time; 1,000 if 0.
	Batch int
	// Doubt is for how long the log must say that it ends before the node's last message until the node believes it (ErrRewound);
	// 30 seconds if 0. A server that was just started says so until it has read what it has and has heard from the others, and so does
	// one that led, was paused or cut off, and does not know yet that another one leads.
	// Meanwhile the node applies nothing, and puts wait.
	Doubt time.Duration
	// Name is what the node calls itself in its heads. No two nodes have the same one. If it is "", it is the host with the folder.
	Name string
	// Heads is how often the node publishes its head, if it has new records; a minute if 0, never if less.
	Heads time.Duration

	partition Partition // which one the log must be: OpenPartitions says so
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Poll <= 0 {
		o.Poll = 50 * time.Millisecond
	}
	if o.Check <= 0 {
		o.Check = 10 * time.Minute
	}
	if o.Batch <= 0 {
		o.Batch = 1000
	}
	if o.Doubt <= 0 {
		o.Doubt = 30 * time.Second
	}
	if o.Heads == 0 {
		o.Heads = time.Minute
	}
	return o
}

// A Node is a store on a log, with a copy of its own in a folder. Its methods may be called from several goroutines.
//
// Puts are linearizable: each has its place in the log, after every put that had returned before it began. Reads are those of the
// copy, which is always a prefix of the log: they see every put of this node that has returned, for which they wait if need be, and those
// of other nodes a little later. WaitFor and Barrier wait for them. Another process that reads the folder sees a put a moment later too.
type Node struct {
	*audit.DB // its copy, for reading

	copy *audit.Follower
	log  Log
	opts Options
	info Info // as it was when the node was opened

	reader reader // belongs to the goroutine that follows the log

	mu       sync.Mutex
	cursor   uint64        // the number of the last message that the copy was given
	changed  chan struct{} // closed and replaced when cursor moves, or when trouble or unproven changes
	waiting  map[string][]*waiter
	acked    uint64 // the greatest number that an append of this node was given
	trouble  error  // why the copy goes no further, nil when it does
	fatal    bool   // trouble ends only with the node
	unproven error  // why puts are refused, nil when they are not
	mirror   bool   // the log was a mirror when it was asked last
	closed   bool
	replicas []string

	heads headBook

	kick    chan struct{} // holds one token when the node should read at once
	quit    context.Context
	quitNow context.CancelFunc
	running sync.WaitGroup
	puts    sync.WaitGroup
}

var _ audit.Store = (*Node)(nil)

// Open opens the copy in dir, makes it if there is none, and begins to follow the log.
//
// It refuses a log that is not certain to keep what it acknowledges (*UnprovenError), unless o.Unproven is set, and one that is not
// the log whose messages the copy has (ErrMismatch, ErrRewound, ErrTrimmed). A log that is a partition of several is an ErrMismatch too:
// OpenPartitions opens it together with the others.
func Open(ctx context.Context, dir string, log Log, o Options) (*Node, error) {
	n, err := open(ctx, dir, log, o.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("open node: %w", err)
	}
	return n, nil
}

func open(ctx context.Context, dir string, log Log, o Options) (*Node, error) {
	info, err := log.Info(ctx)
	if err != nil {
		return nil, err
	}
	if len(info.Unproven) > 0 && !o.Unproven {
		return nil, &UnprovenError{Log: info.Name, Reasons: info.Unproven}
	}
	if info.Partition != o.partition {
		return nil, fmt.Errorf("%s: %w: it is %s, and %s was to be opened", info.Name, ErrMismatch, info.Partition, o.partition)
	}
	if err := notRemade(info); err != nil {
		return nil, err
	}
	if err := checkNoSet(dir, info); err != nil {
		return nil, err
	}
	if o.Name == "" {
		if o.Name, err = nameOf(dir); err != nil {
			return nil, err
		}
	}
	if err := checkName(o.Name); err != nil {
		return nil, err
	}
	if file, err := storedir.Recall(ctx, dir); err == nil && file.Follows != nil { // if not, the opening says what is wrong
		if err := notContinued(dir, file.Follows.ID, info); err != nil {
			return nil, err
		}
	}
	f, err := audit.OpenFollowerContext(ctx, dir, originOf(info), o.Store...)
	if err != nil {
		return nil, err
	}
	n := &Node{
		DB: f.DB, copy: f, log: log, opts: o, info: info, cursor: f.Cursor(), changed: make(chan struct{}),
		waiting: map[string][]*waiter{}, kick: make(chan struct{}, 1),
	}
	n.learn(info)
	n.reader = reader{node: n, answered: make(chan struct{}, 1), news: time.Now()}
	n.quit, n.quitNow = context.WithCancel(context.Background())
	if err := n.sameLog(ctx); err != nil {
		n.quitNow()
		return nil, errors.Join(err, f.Close())
	}
	n.running.Go(n.reader.run)
	n.running.Go(n.watch)
	n.running.Go(n.publishHeads)
	n.serveTree()
	n.showAnswered(ctx)
	return n, nil
}

// answeredWithin is how long an opening waits, at most, for what the node may have answered before.
const answeredWithin = 5 * time.Second

// showAnswered lets reads see from the beginning what this node had answered when it was killed. SQLite may have lacked the last of it. It
// is in the log right after what SQLite has. A node that was away for longer shows what it has read by the end of the wait, and goes on
// reading.
func (n *Node) showAnswered(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, answeredWithin)
	defer cancel()
	b, err := n.log.Bounds(ctx)
	if err == nil {
		err = n.awaitDecided(ctx, b.Last)
	}
	if err != nil {
		n.opts.Logger.Info("the node has not read the whole log yet", "error", err)
	}
	n.copy.Show(n.decided())
}

// originOf is a log as a store that follows it knows it.
func originOf(info Info) audit.Origin {
	return audit.Origin{Log: info.Name, ID: LogID(info.Created), StoreID: info.StoreID, Unit: info.Unit, Unproven: len(info.Unproven) > 0}
}

// learn notes what may change of what a log says about itself.
func (n *Node) learn(info Info) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.replicas, n.mirror = replicaNames(info), info.Mirror != nil
}

func (n *Node) isMirror() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mirror
}

// isFatal reports whether the copy goes no further for good.
func (n *Node) isFatal() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.fatal
}

// troubled reports whether the copy goes no further for now.
func (n *Node) troubled() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.trouble != nil && !n.fatal
}

// Close ends the node, after the puts that are under way have ended or their contexts have. Then it closes its copy.
func (n *Node) Close() error {
	n.mu.Lock()
	closed := n.closed
	n.closed = true
	n.mu.Unlock()
	if closed {
		return nil
	}
	n.quitNow()
	n.announce(func() {})
	n.puts.Wait()
	n.running.Wait()
	n.heads.serving.Wait()
	return n.copy.Close()
}

// Err returns why the node goes no further, or why it takes no puts, or nil. Records that its copy has can be read by their ids meanwhile.
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return audit.ErrClosed
	case n.trouble != nil:
		return n.trouble
	case n.unproven != nil:
		return n.unproven
	}
	return n.copy.Err() // its SQLite may fail after a message was decided, and no other one may come that shows it
}

// Applied returns the number of the last message that the SQLite of the node's copy has. A process that reads the folder sees it. It is
// Cursor, or a little less.
func (n *Node) Applied() uint64 { return n.copy.Applied() }

// Cursor returns the number of the last message that the node's copy has. Every question of this node that begins after it sees that
// message, for which it waits if need be.
func (n *Node) Cursor() uint64 {
	cursor := n.copy.Cursor() // the reader may not have told yet that it was decided, and a put has found a record of it
	n.copy.Show(cursor)
	return cursor
}

// decided returns the number of the last message that was read and decided.
func (n *Node) decided() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cursor
}

// WaitFor waits until the node's copy has the message with this number, and so shows what it says. Another node's Put, or its Cursor
// after that, tells the number.
func (n *Node) WaitFor(ctx context.Context, sequence uint64) error {
	if err := n.awaitDecided(ctx, sequence); err != nil {
		return err
	}
	err := n.copy.Await(ctx, sequence)
	if err != nil && ctx.Err() == nil && n.quit.Err() != nil {
		err = audit.ErrClosed
	}
	return err
}

// awaitDecided waits until the reader has come to the message with this number.
func (n *Node) awaitDecided(ctx context.Context, sequence uint64) error {
	if sequence > n.decided() {
		n.wantUpTo(sequence)
	}
	for {
		n.mu.Lock()
		cursor, changed, trouble := n.cursor, n.changed, n.trouble
		n.mu.Unlock()
		switch {
		case cursor >= sequence:
			return nil
		case n.quit.Err() != nil:
			return audit.ErrClosed
		case trouble != nil:
			return trouble
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Barrier waits until the node's copy has everything that was put on any node before the call. It gives the log a message of its own,
// and returns the number of that.
func (n *Node) Barrier(ctx context.Context) (sequence uint64, err error) {
	m := NewBarrier("barrier-" + rand.Text())
	for pause := firstPause; ; {
		done := n.log.Append(ctx, []Message{m})[0]
		if done.Err == nil {
			return done.Sequence, n.WaitFor(ctx, done.Sequence)
		}
		if errors.Is(done.Err, ErrRefused) {
			return 0, fmt.Errorf("barrier: %w", done.Err)
		}
		if err := n.sleep(ctx, &pause); err != nil {
			return 0, fmt.Errorf("barrier: %w", errors.Join(err, done.Err))
		}
	}
}

// Pauses between two tries of an append whose outcome is not known. A log that has no leader holds an append back itself. So the longest
// pause is a part of the time without answers only when the log has answered at once, for long, that it cannot take the message.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// sleep pauses, and makes the next pause longer.
func (n *Node) sleep(ctx context.Context, pause *time.Duration) error {
	t := time.NewTimer(*pause)
	defer t.Stop()
	*pause = min(2**pause, lastPause)
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-n.quit.Done():
		return audit.ErrClosed
	}
}

// announce changes what calls wait for, and wakes them.
func (n *Node) announce(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
	close(n.changed)
	n.changed = make(chan struct{})
}

// wantUpTo makes the reader read at once, and on until it has the message with this number.
func (n *Node) wantUpTo(sequence uint64) {
	n.mu.Lock()
	n.acked = max(n.acked, sequence)
	n.mu.Unlock()
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// recheck is how long the node waits, at most, until it asks again a log that did not say, or while it refuses puts. A server that is just
// restarted needs seconds.
const recheck = 5 * time.Second

// watch asks now and then whether the log is still the same one and still keeps what it acknowledges.
func (n *Node) watch() {
	tells := true
	for wait := n.opts.Check; ; {
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-n.quit.Done():
			t.Stop()
			return
		}
		err := n.check()
		told := err == nil || errors.Is(err, ErrUnproven)
		if !told && tells && n.quit.Err() == nil {
			n.opts.Logger.Warn("the log did not say anything about itself; the node asks again", "error", err)
		}
		if wait, tells = n.opts.Check, told; err != nil {
			wait = min(wait, recheck)
		}
	}
}

// check asks the log about itself. It returns why it is not certain that all is well.
func (n *Node) check() error {
	ctx, cancel := context.WithTimeout(n.quit, 30*time.Second)
	defer cancel()
	info, err := n.log.Info(ctx)
	if err != nil {
		return err
	}
	n.learn(info)
	if err := n.sameInfo(info); err != nil {
		n.stop(err)
		return nil
	}
	var unproven error
	if len(info.Unproven) > 0 && !n.opts.Unproven {
		unproven = &UnprovenError{Log: info.Name, Reasons: info.Unproven}
	}
	n.mu.Lock()
	before := n.unproven
	n.mu.Unlock()
	switch {
	case unproven != nil && before == nil:
		n.opts.Logger.Error("puts are refused", "error", unproven)
	case unproven == nil && before != nil:
		n.opts.Logger.Info("puts are taken again")
	}
	n.announce(func() { n.unproven = unproven })
	return unproven
}

// stop notes why the copy goes no further for good. The first reason stays.
func (n *Node) stop(err error) {
	n.opts.Logger.Error("the node goes no further", "error", err)
	n.announce(func() {
		if !n.fatal {
			n.trouble, n.fatal = err, true
		}
	})
}

// sameInfo returns an ErrMismatch if the log is not the one that the copy follows.
func (n *Node) sameInfo(info Info) error {
	if info.Partition != n.info.Partition {
		return fmt.Errorf("%s: %w: it is %s, and this node follows %s", info.Name, ErrMismatch, info.Partition, n.info.Partition)
	}
	if info.StoreID != n.info.StoreID || LogID(info.Created) != LogID(n.info.Created) {
		return fmt.Errorf("%s: %w: it was made on %s for store %s, and this node follows the one that was made on %s for store %s",
			info.Name, ErrMismatch, LogID(info.Created), info.StoreID, LogID(n.info.Created), n.info.StoreID)
	}
	return notRemade(info)
}

// notRemade returns an ErrMismatch if the log is a mirror of a log that was made again: it may have messages of both.
func notRemade(info Info) error {
	if info.Mirror == nil || info.Mirror.Remade == "" {
		return nil
	}
	return fmt.Errorf("%s: %w: it is a mirror of %s, which was made again (%s), and may have messages of both; remove the mirror and its nodes, and make it again: auditsql-cluster init --mirror",
		info.Name, ErrMismatch, info.Mirror.Of, info.Mirror.Remade)
}

// sameLog finds out, when the node is opened, whether the log has what the copy has from it.
func (n *Node) sameLog(ctx context.Context) error {
	var b Bounds
	for d, pause := (doubt{}), firstPause; ; {
		var err error
		if b, err = n.log.Bounds(ctx); err != nil {
			return err
		}
		if err = n.within(b); err == nil {
			break
		}
		if d.believes(err, n.opts.Doubt) {
			return err
		}
		if slept := n.sleep(ctx, &pause); slept != nil {
			return errors.Join(slept, err)
		}
	}
	at, raw, ok, err := n.copy.Newest(ctx)
	if err != nil || !ok || at < b.First {
		return err
	}
	return sameMessage(ctx, n.log, n.info, n.replicas, at, raw)
}

// sameMessage returns an ErrRewound if the log has another message under a number than the record that a copy has of it. A replica that
// lacks the message or has altered it says nothing.
func sameMessage(ctx context.Context, log Log, info Info, replicas []string, at uint64, raw []byte) error {
	for _, replica := range replicas {
		got, err := log.Read(ctx, replica, at, 1)
		if err != nil || len(got) == 0 || got[0].Sequence != at || !got[0].Intact() {
			continue // the reader says so, if no other replica has it
		}
		if string(got[0].Payload) != string(raw) {
			return fmt.Errorf("%s: %w: message %d is another one than the newest record of this node", info.Name, ErrRewound, at)
		}
		return nil
	}
	return nil
}

// doubt holds back an ErrRewound that the log may take back.
type doubt struct{ since time.Time }

// believes reports whether err is to be believed: anything but ErrRewound at once, ErrRewound when it was all that was said for a while.
func (d *doubt) believes(err error, while time.Duration) bool {
	if !errors.Is(err, ErrRewound) {
		return true
	}
	if d.since.IsZero() {
		d.since = time.Now()
	}
	return time.Since(d.since) >= while
}

func replicaNames(info Info) (names []string) {
	for _, r := range info.Replicas {
		names = append(names, r.Name)
	}
	if len(names) == 0 {
		names = []string{""}
	}
	return names
}

func (n *Node) within(b Bounds) error { return within(n.info.Name, n.copy.Cursor(), b) }

// within returns ErrRewound or ErrTrimmed if a copy with this cursor cannot go on in a log with these bounds.
func within(log string, cursor uint64, b Bounds) error {
	switch {
	case b.Last < cursor:
		return fmt.Errorf("%s: %w: it ends with message %d, and this node has it up to %d", log, ErrRewound, b.Last, cursor)
	case b.First > cursor+1:
		return fmt.Errorf("%s: %w: it begins with message %d, and this node has it up to %d; give the node a copy of another node's store", log, ErrTrimmed, b.First, cursor)
	}
	return nil
}
