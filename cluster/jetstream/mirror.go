package jetstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/auditsql/auditsql/cluster"
)

// A mirror is a stream in the servers of another region. It copies the stream of the first region, with the same numbers, and takes no
// messages itself. When the first region is lost, Promote makes it the stream.
//
//	region R1, JetStream domain R1        region R2, JetStream domain R2
//	AUDIT: 1 2 3 4 5 6 7 8 ──leaf node──► AUDIT (mirror): 1 2 3 4 5 6
//
// The servers of each region are a cluster of their own, with a domain of their own. In one cluster over both regions the loss of one
// region would take the majority that is needed to change any stream.
//
// A mirror lags: what was acknowledged in the last moments of the first region may be missing. So it is another log than the first one,
// for good. Its time of creation is its own. Its metadata says in whose place it is (cluster.Info.Continues).

// continuesKey is the key in the metadata of a mirror with the time when the stream was made that it copies. It stays after Promote.
const continuesKey = "audit-continues"

// copiedKey is the key in the metadata of a stream that was a mirror with the number of a message: those up to it were copied.
const copiedKey = "audit-copied"

// apiOf is the prefix of the subjects on which the servers of a domain answer.
func apiOf(domain string) string { return "$JS." + domain + ".API" }

// originConfig is how a mirror of a stream in another domain names it.
func originConfig(domain, stream string) *jetstream.StreamSource {
	return &jetstream.StreamSource{Name: stream, External: &jetstream.ExternalStream{APIPrefix: apiOf(domain)}}
}

// originName is what a person calls the stream that a mirror copies.
func originName(m *jetstream.StreamSource) string {
	if m.External == nil {
		return "stream " + m.Name
	}
	return fmt.Sprintf("stream %s at %s", m.Name, m.External.APIPrefix)
}

// InitMirror makes a mirror of the stream with the name of o in another domain, or of each stream of the set with this name. It has
// the same name. What exists is compared with what is wanted, and is not changed. Of s it uses Replicas, MaxBytes and MaxAge. A mirror has the
// limits of the stream that it copies where they are 0.
func InitMirror(ctx context.Context, o Options, domain string, s Spec) ([]Made, error) {
	o = o.withDefaults()
	l, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	origins, err := l.originsIn(ctx, domain)
	if err != nil {
		return nil, err
	}
	var made []Made
	for _, origin := range origins {
		want, err := mirrorOf(origin, domain, s)
		if err != nil {
			return nil, err
		}
		m := Made{Stream: want.Name}
		have, err := l.infoOf(ctx, want.Name, l.opts.Timeout, false)
		switch {
		case err == nil:
			if m.Differences, err = compare(&have.Config, want); err != nil {
				return nil, err
			}
		case !errors.Is(err, jetstream.ErrStreamNotFound):
			return nil, err
		default:
			if _, err := l.js.CreateStream(ctx, want); err != nil {
				return nil, fmt.Errorf("make mirror %s: %w", want.Name, err)
			}
			m.Created = true
		}
		made = append(made, m)
	}
	return made, nil
}

// originsIn finds the stream with the log's name in another domain, or the streams of the set.
func (l *Log) originsIn(ctx context.Context, domain string) ([]*jetstream.StreamInfo, error) {
	whole, err := l.origin(ctx, apiOf(domain), l.opts.Stream)
	if err == nil {
		return []*jetstream.StreamInfo{whole}, nil
	}
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, err
	}
	var origins []*jetstream.StreamInfo
	for number, of := 0, 1; number < of; number++ {
		part, missing := l.origin(ctx, apiOf(domain), StreamOf(l.opts.Stream, number))
		if missing != nil {
			return nil, errors.Join(err, missing)
		}
		p, bad := partitionOf(&part.Config)
		if bad != nil {
			return nil, bad
		}
		origins, of = append(origins, part), p.Of
	}
	return origins, nil
}

// origin asks for a stream of other servers, whose API has this prefix.
func (l *Log) origin(ctx context.Context, api, stream string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, l.opts.Timeout)
	defer cancel()
	js, err := jetstream.NewWithAPIPrefix(l.conn, api)
	if err != nil {
		return nil, err
	}
	s, err := js.Stream(ctx, stream)
	if err != nil {
		// The server refuses a subject without an answer to the request. Silence for that reason says nothing about the other stream.
		if refused := l.conn.LastError(); errors.Is(refused, nats.ErrPermissionViolation) {
			err = errors.Join(err, refused)
		}
		return nil, fmt.Errorf("stream %s at %s: %w", stream, api, unconnected(err))
	}
	return s.CachedInfo(), nil
}

// originQuestion is how long promote waits for the answer to one question.
const originQuestion = 2 * time.Second

// originOrSilence asks for the stream that a mirror copies. It returns nil if nobody has answered for longer than an election takes: between the
// death of a leader and the election of another one nobody answers, though the other region is there. Every answer counts, also one that is
// an error.
func (l *Log) originOrSilence(ctx context.Context, of *jetstream.StreamSource) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*l.opts.election())
	defer cancel()
	for silent := time.Now(); ; {
		one, cancelOne := context.WithTimeout(ctx, min(originQuestion, l.opts.Timeout))
		connection := l.conn.Stats().Reconnects
		info, err := l.origin(one, of.External.APIPrefix, of.Name)
		ended := one.Err() != nil
		cancelOne()
		var said *jetstream.APIError
		switch {
		case err == nil:
			return info, nil
		case errors.As(err, &said), errors.Is(err, nats.ErrPermissionViolation):
			return nil, err
		case ctx.Err() != nil:
			return nil, err
		case !l.conn.IsConnected() || l.conn.Stats().Reconnects != connection || !ended && !errors.Is(err, nats.ErrNoResponders):
			silent = time.Now() // the question may not have left this side, so it counts for nothing
			pause(ctx, askAgain)
		case !ended:
			pause(ctx, askAgain)
		}
		if time.Since(silent) >= l.opts.election() {
			return nil, nil
		}
	}
}

// pause waits for a while, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// continued returns what a stream continues: the LogID of the stream that it was a mirror of, and up to which message it has what that one has.
func continued(stream *jetstream.StreamInfo) (id string, copied uint64, err error) {
	c := &stream.Config
	switch id = c.Metadata[continuesKey]; {
	case id == "":
		return "", 0, nil
	case c.Mirror != nil:
		return id, stream.State.LastSeq, nil
	case c.Metadata[copiedKey] == "": // nobody knows
		return id, 0, nil
	}
	copied, err = strconv.ParseUint(c.Metadata[copiedKey], 10, 64)
	if err != nil {
		err = fmt.Errorf("stream %s: %w: its %s: %w", c.Name, cluster.ErrMismatch, copiedKey, err)
	}
	return id, copied, err
}

// mirrorOf is what a mirror of a stream is.
func mirrorOf(origin *jetstream.StreamInfo, domain string, s Spec) (c jetstream.StreamConfig, err error) {
	have := origin.Config
	switch {
	case len(have.Metadata[storeIDKey]) != 32:
		return c, fmt.Errorf("stream %s in domain %s: %w: its metadata has no %s, so auditsql-cluster init did not make it", have.Name, domain, cluster.ErrMismatch, storeIDKey)
	case have.Mirror != nil:
		return c, fmt.Errorf("stream %s in domain %s: %w: it is a mirror itself, of %s", have.Name, domain, cluster.ErrMismatch, originName(have.Mirror))
	}
	if s.MaxBytes == 0 {
		s.MaxBytes = have.MaxBytes
	}
	if s.MaxAge == 0 {
		s.MaxAge = have.MaxAge
	}
	if err := s.Unit.UnmarshalText([]byte(have.Metadata[unitKey])); err != nil {
		return c, fmt.Errorf("stream %s in domain %s: %w: its %s: %w", have.Name, domain, cluster.ErrMismatch, unitKey, err)
	}
	s.StoreID = have.Metadata[storeIDKey]
	if s.partition, err = partitionOf(&have); err != nil {
		return c, err
	}
	c = s.config(Options{Stream: have.Name})
	c.Metadata[continuesKey] = cluster.LogID(origin.Created)
	c.Mirror, c.Subjects, c.Duplicates = originConfig(domain, have.Name), nil, 0
	return c, nil
}

// mirrorState is what a mirror's servers say about how far it is.
func (l *Log) mirrorState(ctx context.Context, stream *jetstream.StreamInfo) *cluster.Mirror {
	of := stream.Config.Mirror
	if of == nil {
		return nil
	}
	m := &cluster.Mirror{Of: originName(of), Silent: -1}
	if s := stream.Mirror; s != nil {
		m.Lacks, m.Silent = s.Lag, s.Active
		if s.Error != nil {
			m.Error = s.Error.Description
		}
	}
	// A mirror goes on by the number of its last message alone. Of a stream that was made again it would copy what comes after that number.
	if of.External == nil {
		return m
	}
	origin, err := l.origin(ctx, of.External.APIPrefix, of.Name)
	if err != nil {
		return m
	}
	if made := cluster.LogID(origin.Created); made != stream.Config.Metadata[continuesKey] {
		m.Remade = fmt.Sprintf("it was made on %s, and the mirror copies the one that was made on %s", made, stream.Config.Metadata[continuesKey])
	}
	return m
}

// A Promotion says what became of a stream.
type Promotion struct {
	Stream string
	Last   uint64 // the number of its last message by then
	Done   bool   // it was a mirror until now
}

// ErrAnswers says that the stream which a mirror copies still answers, so that the mirror must not take its place.
var ErrAnswers = errors.New("the stream that the mirror copies still answers")

// Promote makes a mirror take messages in the place of the stream that it copies, for good: the stream with the name of o, or each
// stream of the set with this name. A stream that is no mirror any more stays as it is, so it may be called again after an error.
//
// It refuses (ErrAnswers), and changes nothing, if a stream that is copied answers. Two streams would take messages then. One that is
// sealed, and of which the mirror has everything, may answer, if a server leads it: another replica may lack messages. Promote asks for
// longer than an election takes, 15 seconds with the default timeout. Silence does not show that the other stream takes no messages any
// more: the caller has made sure of it.
func Promote(ctx context.Context, o Options) ([]Promotion, error) {
	logs, err := OpenSet(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, l := range logs {
			l.Close()
		}
	}()
	streams, errs := make([]*jetstream.StreamInfo, len(logs)), make([]error, len(logs))
	var all sync.WaitGroup
	for i, l := range logs { // at once, since each waits for an answer that mostly does not come
		all.Go(func() { streams[i], errs[i] = l.promotable(ctx) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var done []Promotion
	for i, l := range logs {
		p := Promotion{Stream: l.opts.Stream, Last: streams[i].State.LastSeq, Done: streams[i].Config.Mirror != nil}
		if p.Done {
			c := streams[i].Config
			c.Metadata = maps.Clone(c.Metadata)
			c.Metadata[copiedKey] = strconv.FormatUint(p.Last, 10)
			c.Mirror, c.Subjects, c.Duplicates = nil, []string{subjectOf(l.partition.Number)}, shorter(window, c.MaxAge)
			now, err := l.js.UpdateStream(ctx, c)
			if err != nil {
				return done, fmt.Errorf("promote %s: %w", l.name(), err)
			}
			p.Last = now.CachedInfo().State.LastSeq
		}
		done = append(done, p)
	}
	return done, nil
}

// promotable returns what the log's stream is, unless it must not be promoted.
func (l *Log) promotable(ctx context.Context) (*jetstream.StreamInfo, error) {
	stream, err := l.ledInfo(ctx)
	if err != nil {
		return nil, err
	}
	of := stream.Config.Mirror
	switch {
	case stream.Config.Metadata[continuesKey] == "":
		return nil, fmt.Errorf("promote %s: %w: init --mirror did not make it", l.name(), cluster.ErrMismatch)
	case of == nil:
		return stream, nil // it was promoted
	case of.External == nil:
		return nil, fmt.Errorf("promote %s: %w: it copies a stream of its own servers", l.name(), cluster.ErrMismatch)
	}
	origin, err := l.originOrSilence(ctx, of)
	if err == nil && origin == nil {
		return stream, nil
	}
	var said *jetstream.APIError
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		return nil, fmt.Errorf("promote %s: it cannot be asked whether the stream that it copies answers: %w", l.name(), err)
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return stream, nil
	case errors.As(err, &said):
		return nil, fmt.Errorf("promote %s: %w: its servers say: %w; when its region is lost, cut the connection", l.name(), ErrAnswers, err)
	case err != nil:
		return nil, fmt.Errorf("promote %s: the stream that it copies cannot be asked: %w", l.name(), err)
	case !origin.Config.Sealed:
		return nil, fmt.Errorf("promote %s: %w: %s; when its region is lost, cut the connection, and when it is to be left, seal it first", l.name(), ErrAnswers, originName(of))
	case cluster.LogID(origin.Created) != stream.Config.Metadata[continuesKey]:
		return nil, fmt.Errorf("promote %s: %w: %s was made again, and the mirror may have messages of both", l.name(), cluster.ErrMismatch, originName(of))
	case !hasLeader(origin):
		return nil, fmt.Errorf("promote %s: %w: %s has no leader, and only a leader says what its last message is; start its servers and try again", l.name(), ErrAnswers, originName(of))
	case stream.State.LastSeq < origin.State.LastSeq:
		return nil, fmt.Errorf("promote %s: %w: %s has messages up to %d, and the mirror up to %d; wait until it has them", l.name(), ErrAnswers, originName(of), origin.State.LastSeq, stream.State.LastSeq)
	}
	return stream, nil
}

func hasLeader(stream *jetstream.StreamInfo) bool {
	_, ok := leaderOf(stream)
	return ok
}

// takesNone returns why a log that is a mirror takes no messages, and nil when it was promoted meanwhile. A message for a mirror must not be
// published: over the leaf node it would come to the stream that is copied.
func (l *Log) takesNone(ctx context.Context) error {
	if !l.mirror.Load() {
		return nil
	}
	stream, err := l.streamInfo(ctx)
	if err != nil {
		return err
	}
	of := stream.Config.Mirror
	if of == nil {
		l.mirror.Store(false)
		return nil
	}
	return fmt.Errorf("%s: %w: it copies %s; put through a node of that one, or, if it is lost: auditsql-cluster promote", l.name(), cluster.ErrMirror, originName(of))
}

// mirrorText says what a stream copies.
func mirrorText(c *jetstream.StreamConfig) string {
	if c.Mirror == nil {
		return "none"
	}
	return originName(c.Mirror)
}
