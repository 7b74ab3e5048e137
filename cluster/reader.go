package cluster

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// reader follows the log. It applies message n+1 after message n, after it has found that its publisher's hash fits its content, or
// it stops there.
//
// Each read begins with the message that was applied last. So a log that was cut and written again, or made again under its name,
// is noticed before anything of it is applied.
//
// A replica that lags, lacks a message or has another one is no reason to stop as long as another replica has it.
type reader struct {
	node *Node
	at   int     // the replica that is read, an index
	last *Stored // the last message, as it was applied; nil when it is not known

	// What is wrong, by the name of the replica, with what was read last from it, since something was applied. The list of replicas may
	// change meanwhile. altered says that one of them has another content of the message that comes next than its publisher.
	blamed  map[string]error
	altered bool
	silent  map[string]time.Time // replicas that did not answer, and until when they are asked only after all others were wrong
	empty   int                  // reads in a row that brought nothing new
	lacking time.Time            // since when they do not bring what was acknowledged; zero when nothing is missing
	short   doubt                // since when the log says that it ends before the node's last message

	// Questions may have no answer for as long as a read may take, and longer when the log does not look at the context. So they are counted
	// by replica, also those whose answer is not needed any more.
	asking   sync.WaitGroup
	mu       sync.Mutex
	asked    map[string]int // questions without an answer, by the name of the replica; guarded by mu
	answered chan struct{}  // holds a token when one has ended
	news     time.Time      // when the log had something new last, or was asked whether it may; for a mirror
}

const (
	readTimeout  = 10 * time.Second
	stalledPause = time.Second // while every replica is wrong about a message
	// A server that is stopped does not say so. So another replica is asked as well when one does not answer within this time, and the
	// first answer counts. The next questions wait for longer, since answers are late as well when there is much to do. But servers pass
	// questions on to one another, so each of them may come to the one that is stopped.
	readPatience = 250 * time.Millisecond
	mostPatience = 500 * time.Millisecond
	// For so long a replica that did not answer in time is asked after the others.
	silentPause = 5 * time.Second
	// A replica has so many questions without an answer at most. One is not enough: another server may answer the next one.
	mostQuestions = 3
	// After so long without anything new a mirror is asked what it copies before the next message is applied. A log that was made again must get
	// as many messages as the mirror has before the mirror copies any of them.
	mirrorSilence = 5 * time.Second
)

// same reports whether two messages say the same.
func (m *Message) same(other *Message) bool {
	return m.Kind == other.Kind && bytes.Equal(m.Payload, other.Payload)
}

func (r *reader) run() {
	n := r.node
	defer r.asking.Wait()
	for n.quit.Err() == nil && !n.isFatal() {
		r.pause(r.step())
	}
}

// pause waits before the next read. It waits for nothing when there is more to read.
func (r *reader) pause(wait time.Duration) {
	if wait <= 0 {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.node.kick:
		r.empty = 0
	case <-r.node.quit.Done():
	}
}

// replica is the one that is read: the next of those that were not wrong since something was applied. One that was silent lately comes
// last. It must come, though: a round ends when all replicas were wrong, and until then nothing waits. free is false if the replica, and each other
// one that was not wrong, has as many questions without an answer as it may have.
func (r *reader) replica() (name string, free bool) {
	r.node.mu.Lock()
	defer r.node.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.node.replicas)
	now := time.Now()
	for _, may := range []func(name string) bool{
		func(name string) bool { return r.asked[name] < mostQuestions && !now.Before(r.silent[name]) },
		func(name string) bool { return r.asked[name] < mostQuestions },
		func(string) bool { return true },
	} {
		for i := range n {
			at := (r.at + i) % n
			if name = r.node.replicas[at]; r.blamed[name] == nil && may(name) {
				r.at = at
				return name, r.asked[name] < mostQuestions
			}
		}
	}
	r.at %= n
	name = r.node.replicas[r.at]
	return name, r.asked[name] < mostQuestions
}

func (r *reader) count() int {
	r.node.mu.Lock()
	defer r.node.mu.Unlock()
	return len(r.node.replicas)
}

// allBlamed reports whether something is wrong with every replica.
func (r *reader) allBlamed() bool {
	r.node.mu.Lock()
	defer r.node.mu.Unlock()
	return !slices.ContainsFunc(r.node.replicas, func(name string) bool { return r.blamed[name] == nil })
}

// read asks a replica for messages, within a time of its own.
func (r *reader) read(replica string, from uint64, most int) ([]Stored, error) {
	ctx, cancel := context.WithTimeout(r.node.quit, readTimeout)
	defer cancel()
	return r.node.log.Read(ctx, replica, from, most)
}

// bounds asks the log for its ends, within a time of its own.
func (r *reader) bounds() (Bounds, error) {
	ctx, cancel := context.WithTimeout(r.node.quit, readTimeout)
	defer cancel()
	return r.node.log.Bounds(ctx)
}

// readAny asks a replica for messages, and others too when that one does not answer in time. It returns which one has answered first, and
// what. An error is one of the last that was asked, when none of those that were asked has an answer.
func (r *reader) readAny(from uint64, most int) (replica string, ms []Stored, err error) {
	type answer struct {
		replica string
		ms      []Stored
		err     error
	}
	ctx, cancel := context.WithTimeout(r.node.quit, readTimeout)
	defer cancel()
	answers := make(chan answer)
	asked := 0 // and not answered
	ask := func() {
		one, free := r.replica()
		if replica = one; !free {
			return
		}
		asked++
		r.begins(one)
		r.asking.Go(func() {
			ms, err := r.node.log.Read(ctx, one, from, most)
			r.ends(one)
			select {
			case answers <- answer{one, ms, err}:
			case <-ctx.Done():
			}
		})
	}
	ask()
	patience := readPatience
	t := time.NewTimer(patience)
	defer t.Stop()
	for {
		select {
		case a := <-answers:
			if asked--; a.err == nil || asked == 0 {
				return a.replica, a.ms, a.err
			}
		case <-r.answered:
			if asked == 0 { // only questions of reads before this one had no answer
				ask()
			}
		case <-t.C:
			r.isSilent(replica)
			r.at++
			ask()
			patience = min(2*patience, mostPatience)
			t.Reset(patience)
		case <-ctx.Done():
			return replica, nil, ctx.Err()
		}
	}
}

// begins notes that a replica is asked.
func (r *reader) begins(replica string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked == nil {
		r.asked = map[string]int{}
	}
	r.asked[replica]++
}

// ends notes that a question has ended.
func (r *reader) ends(replica string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked[replica]--; r.asked[replica] == 0 {
		delete(r.asked, replica) // the names of the replicas may change
	}
	select {
	case r.answered <- struct{}{}:
	default:
	}
}

// isSilent notes that a replica does not answer.
func (r *reader) isSilent(replica string) {
	if r.silent == nil {
		r.silent = map[string]time.Time{}
	}
	r.silent[replica] = time.Now().Add(silentPause)
}

// step reads once and applies what it can. It returns how long to wait before the next step.
func (r *reader) step() time.Duration {
	n := r.node
	cursor := n.copy.Cursor()
	replica, ms, err := r.readAny(max(cursor, 1), n.opts.Batch+1)
	if n.quit.Err() != nil {
		return 0
	}
	if err != nil {
		r.isSilent(replica)
		return r.blame(replica, cursor, fmt.Errorf("replica %s: %w", replica, err))
	}
	delete(r.silent, replica)
	if cursor > 0 {
		overlap, err := r.overlaps(replica, cursor, ms)
		if err != nil {
			n.stop(err)
			return 0
		}
		if overlap != nil {
			return r.blame(replica, cursor, overlap)
		}
		if len(ms) > 0 && ms[0].Sequence == cursor {
			ms = ms[1:]
		}
	}
	good := 0
	var wrong error
	for _, m := range ms {
		if wrong = r.wrong(replica, cursor+1+uint64(good), &m); wrong != nil {
			break
		}
		good++
	}
	if good > 0 {
		if wait := r.askMirror(); wait > 0 || n.isFatal() {
			return wait
		}
		if err := r.apply(ms[:good], ""); err != nil {
			return r.failed(err)
		}
		return 0 // the message that is wrong, if there is one, is read once more, and then from another replica
	}
	if wrong != nil {
		r.altered = r.altered || errors.Is(wrong, ErrAltered)
		return r.blame(replica, cursor, wrong)
	}
	r.nothingMissing(cursor)
	return r.nothing(cursor)
}

// askMirror asks a log that is a mirror what it copies, if it had nothing new for a while, before something new of it is applied. It returns how
// long to wait if the log did not say. If the log that it copies was made again, the node stops.
func (r *reader) askMirror() (wait time.Duration) {
	n := r.node
	silent := time.Since(r.news) >= mirrorSilence
	r.news = time.Now()
	if !silent || !n.isMirror() {
		return 0
	}
	if err := n.check(); err != nil && !errors.Is(err, ErrUnproven) {
		r.news = time.Time{} // ask again
		return n.opts.Poll
	}
	return 0
}

// nothingMissing lets the node go on when the log ends with the message that was applied last: then no replica lacks the one that comes next. The
// trouble was that some replicas did not answer for a while, and another one has altered the last message. Nothing new may come that would
// show that all is well again.
func (r *reader) nothingMissing(cursor uint64) {
	if !r.node.troubled() {
		return
	}
	if b, err := r.bounds(); err == nil && b.Last == cursor {
		r.resume()
	}
}

// overlaps compares the first message of a read with the one that was applied last. problem is what is wrong with this replica, err
// why the log is not the same any more.
func (r *reader) overlaps(replica string, cursor uint64, ms []Stored) (problem, err error) {
	n := r.node
	switch {
	case len(ms) == 0:
		// It has nothing from there on: it lags, or the log ends earlier.
		return nil, r.checkBounds()
	case ms[0].Sequence > cursor:
		b, err := r.bounds()
		if err != nil {
			return err, nil
		}
		if b.First <= cursor {
			return fmt.Errorf("%w: replica %s lacks message %d", ErrGap, replica, cursor), nil
		}
		return nil, r.believed(n.within(b)) // it was trimmed
	case r.last == nil:
		if !ms[0].Intact() {
			return nil, nil // it was judged when it was applied
		}
		r.last = &ms[0]
	case r.last.same(&ms[0].Message):
	case ms[0].Intact():
		return nil, fmt.Errorf("%s: %w: message %d is another one than this node has applied", n.info.Name, ErrRewound, cursor)
	default:
		return fmt.Errorf("%w: replica %s has another content of message %d than its publisher", ErrAltered, replica, cursor), nil
	}
	return nil, nil
}

func (r *reader) checkBounds() error {
	b, err := r.bounds()
	if err != nil {
		return nil // it says so at the next read
	}
	return r.believed(r.node.within(b))
}

// believed returns what is wrong with the bounds of the log, or nil while that is in doubt.
func (r *reader) believed(err error) error {
	if err == nil {
		r.short = doubt{}
		return nil
	}
	known := !r.short.since.IsZero()
	if r.short.believes(err, r.node.opts.Doubt) {
		return err
	}
	if !known {
		// Mostly a server that leads since a moment ago. The error is reported once it is believed.
		r.node.opts.Logger.Info("the log says that it ends before the last message of this node, as servers may while they elect a leader; the node asks again",
			"for", r.node.opts.Doubt)
	}
	return nil
}

// wrong says why a message must not be applied as message next, or nil.
func (r *reader) wrong(replica string, next uint64, m *Stored) error {
	switch {
	case m.Sequence != next:
		return fmt.Errorf("%w: replica %s has %d after %d", ErrGap, replica, m.Sequence, next-1)
	case !m.Intact():
		return fmt.Errorf("%w: replica %s has another content of message %d than its publisher", ErrAltered, replica, next)
	}
	return nil
}

// apply hands messages to the copy and tells the puts that wait. The copy decides them, and its SQLite gets them later.
// refuse, if not "", is why the only one of them is not to be stored.
func (r *reader) apply(ms []Stored, refuse string) error {
	n := r.node
	batch := make([]audit.Message, len(ms))
	for i, m := range ms {
		batch[i] = audit.Message{Sequence: m.Sequence, Payload: m.Payload, Barrier: m.Kind != Record, Refuse: cmp.Or(refuse, n.info.Partition.foreign(&m.Message))}
	}
	// It may take longer than a read when SQLite lacks many messages, because it checkpoints, or waits for a shell.
	outcomes, err := n.copy.Decide(n.quit, batch)
	ms = ms[:len(outcomes)]
	if len(ms) > 0 {
		last := ms[len(ms)-1]
		r.last = &last
		r.blamed, r.altered, r.empty, r.lacking, r.short = nil, false, 0, time.Time{}, doubt{}
		if err := n.compareHeads(ms, outcomes); err != nil { // before anybody who waits for a head is told that it was read
			return err
		}
		n.foundAll(ms, outcomes)
		r.resume()
	}
	return err
}

// resume notes that the copy goes on.
func (r *reader) resume() {
	n := r.node
	if n.troubled() {
		n.opts.Logger.Info("the node goes on", "cursor", n.copy.Cursor())
		n.announce(func() {
			if !n.fatal {
				n.trouble = nil
			}
		})
	}
}

// failed ends the node when its copy takes nothing more.
func (r *reader) failed(err error) time.Duration {
	if r.node.quit.Err() == nil {
		r.node.stop(err)
	}
	return 0
}

// nothing is a read that brought nothing new. The replica may lag, so the next read is of another one.
func (r *reader) nothing(cursor uint64) time.Duration {
	n := r.node
	clear(r.blamed) // a replica that was wrong may have the message by now
	r.at++
	r.empty++
	n.mu.Lock()
	wanted := n.acked > cursor
	n.mu.Unlock()
	switch now := time.Now(); {
	case !wanted:
		r.lacking = time.Time{}
	case r.lacking.IsZero():
		r.lacking = now
	case now.Sub(r.lacking) >= readPatience:
		// A server that is cut off answers at once, and has nothing new. The others may have been silent for a moment only.
		clear(r.silent)
		r.lacking = time.Time{}
	}
	if wanted && r.empty <= r.count() {
		return 0
	}
	const shortest = 2 * time.Millisecond
	return min(shortest<<min(max(r.empty-r.count(), 0), 16), n.opts.Poll)
}

// blame is a read of a replica that brought nothing because something is wrong there. The next read is of another replica. When all
// were read, the node stops, or takes the message as it was published.
func (r *reader) blame(replica string, cursor uint64, err error) time.Duration {
	n := r.node
	n.opts.Logger.Debug("a replica was not read", "error", err)
	if r.blamed == nil {
		r.blamed = map[string]error{}
	}
	r.blamed[replica] = err
	r.at++
	if !r.allBlamed() {
		return 0
	}
	blamed, altered := errors.Join(slices.Collect(maps.Values(r.blamed))...), r.altered
	r.blamed, r.altered = nil, false
	if altered {
		if m, ok := r.published(cursor + 1); ok {
			if err := r.apply([]Stored{m}, "its content does not fit the hash of its publisher"); err != nil {
				return r.failed(err)
			}
			return 0
		}
	}
	if !errors.Is(blamed, ErrGap) && !errors.Is(blamed, ErrAltered) {
		return n.opts.Poll // nobody answers; puts wait as long as they may
	}
	if err := r.checkBounds(); err != nil {
		n.stop(err)
		return 0
	}
	r.stall(fmt.Errorf("%s: message %d: %w", n.info.Name, cursor+1, blamed))
	return stalledPause
}

// stall notes why the copy goes no further for now.
func (r *reader) stall(why error) {
	n := r.node
	n.mu.Lock()
	known := n.trouble != nil
	n.mu.Unlock()
	if known {
		return
	}
	n.opts.Logger.Error("the node goes no further until a replica has the message that comes next", "error", why)
	n.announce(func() {
		if !n.fatal {
			n.trouble = why
		}
	})
}

// published returns a message whose content does not fit its publisher's hash, if that is how it was published. Then a majority
// of the replicas has the same bytes: damage would have to hit each of them in the same way. Every node comes to the same
// verdict, whichever replica it reads.
func (r *reader) published(seq uint64) (Stored, bool) {
	n := r.node
	n.mu.Lock()
	replicas := append([]string(nil), n.replicas...)
	n.mu.Unlock()
	votes := map[string]int{}
	for _, replica := range replicas {
		ms, err := r.read(replica, seq, 1)
		if err != nil || len(ms) == 0 || ms[0].Sequence != seq {
			continue
		}
		if ms[0].Intact() {
			return Stored{}, false // the next read finds it
		}
		key := ms[0].ID + "\n" + ms[0].Sum + "\n" + string(ms[0].Kind) + "\n" + string(ms[0].Payload)
		if votes[key]++; votes[key] > len(replicas)/2 {
			return ms[0], true
		}
	}
	return Stored{}, false
}
