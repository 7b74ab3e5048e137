package jetstream

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The server that leads the stream answers every message. When it dies, hangs or is cut off, the others elect another one after 4 to 9
// seconds. What the old one had under way is never answered, and nobody says so. So the log asks who leads as soon as an answer is late,
// and until one comes. It publishes nothing for that: answers are late as well when the disks are slow.
//
// Only a server that leads answers the question, or believes that it leads: one that is cut off does for a while. Thus every server that
// can be reached is asked, and passes the question on to the leader that it reaches. Either the connected one learns of the new leader, and
// what was under way is given again. Or it does not, and another one is connected. What a server says of itself does not count for that.

const (
	// quietTime is how late an answer may be until it is asked who leads.
	quietTime = 300 * time.Millisecond
	// askAgain is the time between two questions. Each is answered when there is a leader, so this is a part of the time without answers.
	askAgain = 100 * time.Millisecond
	// leaderAnswers is how late the answer to such a question may be.
	leaderAnswers = 2 * time.Second
	// elsewhereAfter is for how long another server may tell of a leader that the connected one does not tell of. The time doubles with each
	// server that is connected, since a far one needs longer.
	elsewhereAfter = 300 * time.Millisecond
	// switchAfter is for how long nothing is answered until another server is connected in any case. It is longer than an election, since
	// it is for clients that reach no other server.
	switchAfter = 10 * time.Second
	// idleQuestions is how many questions are asked after the last call has ended that waits. A put may pause meanwhile.
	idleQuestions = 10
)

// leadership is a time during which one server leads.
type leadership struct {
	server string
	since  int64 // by that server's clock, so it is compared for equality alone
}

// leaderWatch is what a log knows about the leader. The log's mu guards it.
type leaderWatch struct {
	leader  leadership    // as the connected server told last; zero if it is not known
	changed chan struct{} // closed and replaced when leader changes
	absent  chan struct{} // not nil while the stream is known to have no leader; closed when it has one
	waiting int           // calls that wait for an answer of the leader
	answers uint64        // how many came
	asking  bool          // somebody asks who leads
	wanted  bool          // it was wanted again meanwhile
}

// waits notes that a call waits for the leader, until the function that it returns is called.
func (l *Log) waits() (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch.waiting++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.watch.waiting--
	}
}

// leaderChange returns what is closed when the leader changes.
func (l *Log) leaderChange() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.watch.changed
}

// answered notes that the leader has answered a message.
func (l *Log) answered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch.answers++
	l.present()
}

// leaderless notes that nobody takes messages. They would come back until there is a leader, so they are held back.
func (l *Log) leaderless() {
	l.mu.Lock()
	if l.watch.absent == nil {
		l.watch.absent = make(chan struct{})
	}
	l.mu.Unlock()
	l.askWhoLeads()
}

// present lets go on who waits for a leader. The lock is held.
func (l *Log) present() {
	if l.watch.absent != nil {
		close(l.watch.absent)
		l.watch.absent = nil
	}
}

// awaitLeader waits until the stream has a leader, if it is known to have none, but no longer than a request may take.
func (l *Log) awaitLeader(ctx context.Context) {
	l.mu.Lock()
	absent := l.watch.absent
	l.mu.Unlock()
	if absent == nil {
		return
	}
	l.askWhoLeads()
	t := time.NewTimer(l.opts.Timeout)
	defer t.Stop()
	select {
	case <-absent:
	case <-t.C:
	case <-ctx.Done():
	}
}

// told notes which leader the connected server tells of. What was published to another one may never be answered.
func (l *Log) told(now leadership) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if was := l.watch.leader; was != now {
		l.watch.leader = now
		if was != (leadership{}) {
			close(l.watch.changed)
			l.watch.changed = make(chan struct{})
		}
	}
	l.present()
}

// askWhoLeads begins to ask who leads, unless somebody does already.
func (l *Log) askWhoLeads() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch.wanted = true
	if l.watch.asking || l.closed {
		return
	}
	l.watch.asking = true
	l.running.Go(l.watchLeader)
}

// heard is what a server tells.
type heard struct {
	from   connection
	leader leadership
}

// watchLeader asks who leads, again and again, until answers come or nobody waits for one.
func (l *Log) watchLeader() {
	l.connectReplicas()
	tick := time.NewTicker(askAgain)
	defer tick.Stop()
	answers := make(chan heard)
	var questions sync.WaitGroup
	defer questions.Wait()
	ctx, cancel := context.WithCancel(l.quit)
	defer cancel()

	count := l.answers()
	progress := time.Now() // when the last answer came, or another server was connected
	idle := 0
	var here, there leadership // what the connected server told last, and what another one did
	var differ time.Time       // since when they differ; zero when they do not
	patience := elsewhereAfter
	for {
		for _, one := range l.connections() {
			questions.Go(func() {
				if leader, ok := l.whoLeads(ctx, one.conn); ok {
					select {
					case answers <- heard{one, leader}:
					case <-ctx.Done():
					}
				}
			})
		}
		for asked := true; asked; {
			select {
			case h := <-answers:
				switch {
				case h.from.server == "":
					here = h.leader
					l.told(here)
				case h.from.server != h.leader.server: // or it may be alone
					there = h.leader
				}
				switch {
				case there == (leadership{}) || !l.conn.IsConnected():
					differ = time.Time{}
				case here == there:
					differ, patience = time.Time{}, elsewhereAfter
				case differ.IsZero():
					differ = time.Now()
				}
			case <-tick.C:
				asked = false
			case <-ctx.Done():
				return
			}
		}
		var ended bool
		before := count
		if idle, count, ended = l.watchEnds(idle, before); ended {
			return
		}
		if count != before {
			progress = time.Now()
		}
		if !differ.IsZero() && time.Since(differ) >= patience || time.Since(progress) >= switchAfter {
			l.mu.Lock()
			l.watch.leader = leadership{} // what is under way fails with the connection
			l.mu.Unlock()
			l.conn.ForceReconnect() // an error says that it reconnects already, or was closed
			here, there, differ, progress = leadership{}, leadership{}, time.Time{}, time.Now()
			patience *= 2
		}
	}
}

// answers returns how many messages were answered.
func (l *Log) answers() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.watch.answers
}

// watchEnds reports whether nobody needs to know any more who leads, and notes then that nobody asks. before is how many messages were
// answered when it was called last, and idle how often nobody wanted to know since somebody did.
//
// An answer shows that somebody leads. But a message after it may have found nobody: what waits since then must not wait for a question that
// was thrown away. So both are looked at together, and whoever wants to know later finds that nobody asks.
func (l *Log) watchEnds(idle int, before uint64) (idleNow int, answers uint64, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &l.watch
	if idle++; w.wanted || w.waiting > 0 {
		idle = 0
	}
	w.wanted = false
	ended = w.answers != before && w.absent == nil || idle > idleQuestions || l.closed
	w.asking = !ended
	return idle, w.answers, ended
}

// connection is one to a server that is asked.
type connection struct {
	conn   *nats.Conn
	server string // its name; "" for the one to which messages are given
}

// connections are one to each server that is reached.
func (l *Log) connections() []connection {
	all := []connection{{l.conn, ""}}
	server := l.conn.ConnectedServerName()
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, conn := range l.replicas {
		if name != server && conn.IsConnected() {
			all = append(all, connection{conn, name})
		}
	}
	return all
}

// whoLeads asks a server, which passes the question on. Nobody answers when nobody leads.
func (l *Log) whoLeads(ctx context.Context, conn *nats.Conn) (leader leadership, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, leaderAnswers)
	defer cancel()
	msg, err := conn.RequestWithContext(ctx, "$JS.API.STREAM.INFO."+l.opts.Stream, nil)
	if err != nil {
		return leader, false
	}
	var info jetstream.StreamInfo
	if json.Unmarshal(msg.Data, &info) != nil {
		return leader, false
	}
	return leaderOf(&info)
}

// leaderOf returns who leads, if anybody does. A server that is in no cluster leads for good, and has no name. So does the server with the only
// replica, which does not say since when.
func leaderOf(info *jetstream.StreamInfo) (leader leadership, ok bool) {
	switch c := info.Cluster; {
	case c == nil || c.Name == "":
		return leader, info.Config.Name != "" // or it is an error
	case c.Leader != "" && c.LeaderSince == nil && info.Config.Replicas == 1:
		return leadership{c.Leader, 0}, true
	case c.Leader == "" || c.LeaderSince == nil:
		return leader, false
	default:
		return leadership{c.Leader, c.LeaderSince.UnixNano()}, true
	}
}
