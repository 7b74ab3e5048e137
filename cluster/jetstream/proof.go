package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/mod/semver"

	"github.com/auditsql/auditsql/cluster"
)

// What a log needs, so that it keeps what it acknowledges.
const (
	leastReplicas   = 3
	leastVersion    = "v2.15.3"
	leastMaxPayload = 17 << 20 // a record may have 16 MiB, and the headers need room
)

// proofHolds is for how long what was found counts while the servers cannot be asked. A node asks every 10 minutes, so one time may fail. But a
// server may be started again with other settings, and only these questions show it.
const proofHolds = 15 * time.Minute

// Info implements cluster.Log. It asks each server of the stream about itself, and waits for those that do not answer for as long as
// a request may take.
func (l *Log) Info(ctx context.Context) (cluster.Info, error) {
	if err := ctx.Err(); err != nil {
		return cluster.Info{}, err
	}
	stream, err := l.streamInfo(ctx)
	if err != nil {
		return cluster.Info{}, err
	}
	info := cluster.Info{
		Name: l.name(), StoreID: stream.Config.Metadata[storeIDKey], Created: stream.Created, MaxPayload: l.maxPayload(),
	}
	if len(info.StoreID) != 32 {
		return info, fmt.Errorf("%s: %w: its metadata has no %s, so auditsql-cluster init did not make it", l.name(), cluster.ErrMismatch, storeIDKey)
	}
	if err := info.Unit.UnmarshalText([]byte(stream.Config.Metadata[unitKey])); err != nil {
		return info, fmt.Errorf("%s: %w: its %s: %w", l.name(), cluster.ErrMismatch, unitKey, err)
	}
	if info.Partition, err = partitionOf(&stream.Config); err != nil {
		return info, err
	}
	if info.Continues, info.Copied, err = continued(stream); err != nil {
		return info, err
	}
	info.Mirror = l.mirrorState(ctx, stream)
	names, leader := l.peers(stream)
	for _, name := range names {
		info.Replicas = append(info.Replicas, cluster.Replica{Name: name, Leader: name == leader})
	}
	info.Unproven = configProblems(&stream.Config)
	if l.opts.System == nil {
		info.Unproven = append(info.Unproven, "no user of the system account is given, so the servers cannot be asked whether they sync each write")
		l.lookAtReplicas(ctx, info.Replicas)
		return info, nil
	}
	unproven, err := l.prove(ctx, info.Replicas)
	if err != nil && !l.provenLately(info.Replicas) {
		unproven = append(unproven, fmt.Sprintf("the servers cannot be asked whether they sync each write: %v", err))
	}
	info.Unproven = append(info.Unproven, unproven...)
	return info, nil
}

// peers returns the names of the servers that have a replica, and of the one that leads.
func (l *Log) peers(stream *jetstream.StreamInfo) (names []string, leader string) {
	if stream.Cluster == nil || stream.Cluster.Name == "" {
		name := l.conn.ConnectedServerName() // a server that is in no cluster
		return []string{name}, name
	}
	leader = stream.Cluster.Leader
	if leader != "" {
		names = append(names, leader)
	}
	for _, p := range stream.Cluster.Replicas {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return names, leader
}

// configProblems says what is wrong with the configuration of a stream.
func configProblems(c *jetstream.StreamConfig) (problems []string) {
	wrong := func(is bool, format string, args ...any) {
		if is {
			problems = append(problems, fmt.Sprintf(format, args...))
		}
	}
	wrong(c.Replicas < leastReplicas, "the stream has %d replicas, and needs %d", c.Replicas, leastReplicas)
	wrong(c.Storage != jetstream.FileStorage, "the stream is in memory")
	wrong(c.PersistMode != jetstream.DefaultPersistMode, "the stream's persist mode acknowledges before it writes")
	wrong(c.Retention != jetstream.LimitsPolicy, "the stream removes messages that a consumer has read")
	wrong(c.Discard != jetstream.DiscardNew, "the stream removes old messages when it is full")
	wrong(c.MaxMsgs > 0 || c.MaxMsgsPerSubject > 0, "the stream removes messages by their number")
	wrong(!c.DenyDelete || !c.DenyPurge, "messages of the stream can be deleted")
	wrong(c.AllowRollup || c.AllowMsgTTL, "a publisher can remove messages of the stream")
	wrong(!c.AllowDirect, "the replicas of the stream cannot be read")
	return problems
}

// serverAnswer is the answer of a server to a request of the system account.
type serverAnswer[T any] struct {
	Server struct {
		Name string `json:"name"`
		ID   string `json:"id"`
		Ver  string `json:"ver"`
	} `json:"server"`
	Data  T `json:"data"`
	Error *struct {
		Description string `json:"description"`
	} `json:"error"`
}

// varz is what a server says about itself, as far as it is needed.
type varz struct {
	MaxPayload int `json:"max_payload"`
	JetStream  struct {
		Config *struct {
			SyncAlways   bool          `json:"sync_always"`
			SyncInterval time.Duration `json:"sync_interval"`
		} `json:"config"`
	} `json:"jetstream"`
}

// jsz is what a server says about its streams.
type jsz struct {
	Accounts []struct {
		Name    string `json:"name"`
		Streams []struct {
			Name  string `json:"name"`
			State struct {
				Messages   uint64 `json:"messages"`
				First      uint64 `json:"first_seq"`
				Last       uint64 `json:"last_seq"`
				NumDeleted uint64 `json:"num_deleted"`
			} `json:"state"`
		} `json:"stream_detail"`
	} `json:"account_details"`
}

// prove asks each server whether it syncs each write, and what its replica has. It fills in what is known of the replicas.
//
// A server that was found to be right, and does not answer now, counts as right until it answers otherwise: one that is down must
// not keep the others from taking puts. An error says that nobody could be asked, see provenLately.
func (l *Log) prove(ctx context.Context, replicas []cluster.Replica) (unproven []string, err error) {
	conn, err := dial(l.opts.urls(), append([]nats.Option{
		nats.Name("auditsql asks the servers"), nats.Timeout(l.opts.Timeout), nats.NoReconnect(),
	}, l.opts.System...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to the system account: %w", err)
	}
	defer conn.Close()
	about, err := ask[varz](ctx, l.opts.Timeout, conn, "VARZ", struct{}{}, replicas)
	if err != nil {
		return nil, err
	}
	unproven = l.judge(about, replicas) // also if the next questions fail
	account, err := l.account(ctx)
	if err != nil {
		return unproven, err
	}
	streams, err := ask[jsz](ctx, l.opts.Timeout, conn, "JSZ", map[string]any{"account": account, "streams": true}, replicas)
	if err != nil {
		return unproven, err
	}
	for i := range replicas {
		if s, ok := streams[replicas[i].Name]; ok {
			look(&replicas[i], &s.Data, account, l.opts.Stream)
		}
	}
	return unproven, nil
}

// judge says why it is not certain that the servers of these replicas sync each write, from what they have answered.
func (l *Log) judge(about map[string]serverAnswer[varz], replicas []cluster.Replica) (unproven []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(about) > 0 {
		l.asked = time.Now()
	}
	for _, r := range replicas {
		a, answers := about[r.Name]
		if answers {
			problems := serverProblems(a.Server.Ver, &a.Data)
			for _, p := range problems {
				unproven = append(unproven, fmt.Sprintf("server %s %s", r.Name, p))
			}
			l.proven[r.Name] = len(problems) == 0
		} else if !l.proven[r.Name] {
			unproven = append(unproven, fmt.Sprintf("server %s did not say whether it syncs each write", r.Name))
		}
	}
	return unproven
}

// provenLately reports whether each server of these replicas was found to be right, and whether the servers could be asked a short time ago. Then a
// failure to ask is no reason to refuse puts: mostly the server was just restarted to which the user of the system account was connected.
func (l *Log) provenLately(replicas []cluster.Replica) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.asked) <= proofHolds && !slices.ContainsFunc(replicas, func(r cluster.Replica) bool { return !l.proven[r.Name] })
}

// serverProblems says why a server may lose what it has acknowledged.
func serverProblems(version string, v *varz) (problems []string) {
	if semver.Compare("v"+strings.TrimPrefix(version, "v"), leastVersion) < 0 {
		problems = append(problems, fmt.Sprintf("has version %s, and needs %s", version, leastVersion[1:]))
	}
	if v.JetStream.Config == nil || !v.JetStream.Config.SyncAlways {
		problems = append(problems, "does not sync each write: set sync_interval: always in its jetstream section")
	}
	if v.MaxPayload < leastMaxPayload {
		problems = append(problems, fmt.Sprintf("takes messages of %d bytes, and needs max_payload: %dMB", v.MaxPayload, leastMaxPayload>>20))
	}
	return problems
}

// look fills in what a server says about its replica.
func look(r *cluster.Replica, j *jsz, account, stream string) {
	for _, a := range j.Accounts {
		if a.Name != account {
			continue
		}
		for _, s := range a.Streams {
			if s.Name == stream {
				r.Answers, r.Bounds, r.Missing = true, boundsOf(s.State.First, s.State.Last, s.State.Messages), s.State.NumDeleted
			}
		}
	}
}

// ask asks all servers of the cluster, and returns their answers by their names when those of the replicas have come, or after the
// timeout. Each question has a timeout of its own: one server that does not answer must not keep the others from being heard.
func ask[T any](ctx context.Context, timeout time.Duration, conn *nats.Conn, what string, options any, replicas []cluster.Replica) (map[string]serverAnswer[T], error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	inbox := nats.NewInbox()
	sub, err := conn.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer sub.Unsubscribe()
	if err := conn.PublishRequest("$SYS.REQ.SERVER.PING."+what, inbox, request); err != nil {
		return nil, err
	}
	answers := map[string]serverAnswer[T]{}
	missing := func(r cluster.Replica) bool { _, ok := answers[r.Name]; return !ok }
	for slices.ContainsFunc(replicas, missing) {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil && ctx.Err() != nil {
			break // the others do not answer
		}
		if err != nil {
			return nil, err
		}
		if msg.Header.Get("Status") != "" && len(msg.Data) == 0 {
			return nil, fmt.Errorf("no server answers: the user is not one of the system account")
		}
		var a serverAnswer[T]
		if err := json.Unmarshal(msg.Data, &a); err != nil {
			return nil, fmt.Errorf("an answer to %s: %w", what, err)
		}
		if a.Error == nil {
			answers[a.Server.Name] = a
		}
	}
	return answers, nil
}

// account returns the name of the account that has the stream.
func (l *Log) account(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, l.opts.Timeout)
	defer cancel()
	msg, err := l.conn.RequestWithContext(ctx, "$SYS.REQ.USER.INFO", nil)
	if err != nil {
		return "", fmt.Errorf("ask for the account: %w", unconnected(err))
	}
	var answer serverAnswer[struct {
		Account string `json:"account"`
	}]
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return "", fmt.Errorf("ask for the account: %w", err)
	}
	return answer.Data.Account, nil
}

// lookAtReplicas finds out, without the system account, which replicas answer. They do not say what they lack.
func (l *Log) lookAtReplicas(ctx context.Context, replicas []cluster.Replica) {
	for i := range replicas {
		r := &replicas[i]
		first, err := l.Read(ctx, r.Name, 1, 1)
		if r.Answers = err == nil; !r.Answers {
			continue
		}
		b, err := l.Bounds(ctx)
		if err != nil {
			continue
		}
		if r.Bounds = b; len(first) > 0 {
			r.First = first[0].Sequence
		}
	}
}
