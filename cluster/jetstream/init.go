package jetstream

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
)

// window is for how long a stream remembers the ID of a message. Right answers do not depend on it.
const window = 2 * time.Minute

// Spec says what a stream shall be.
type Spec struct {
	Replicas int            // 3 if 0
	Unit     audit.TimeUnit // of timestamps, for good
	MaxBytes int64          // the stream takes no more messages then; 0: no limit but the disk's
	MaxAge   time.Duration  // messages are removed then; 0: never. Each node must have read them by then
	StoreID  string         // 32 hex digits; random if ""

	partition cluster.Partition // InitSet says which one
}

// A Difference is what a stream that exists has otherwise than it was asked for.
type Difference struct {
	What, Have, Want string
}

// Init makes the stream, or compares the one that exists with what is wanted, and changes nothing of it then: what it differs in is
// returned. A stream that was made by something else is an ErrMismatch.
func Init(ctx context.Context, o Options, s Spec) (created bool, differences []Difference, err error) {
	return initStream(ctx, o, s, true)
}

// initStream is Init. A stream that must not be made differs in that it is missing.
func initStream(ctx context.Context, o Options, s Spec, create bool) (created bool, differences []Difference, err error) {
	o = o.withDefaults()
	l, err := connect(ctx, o)
	if err != nil {
		return false, nil, err
	}
	defer l.Close()
	have, err := l.streamInfo(ctx)
	switch {
	case err == nil:
		differences, err = compare(&have.Config, s.config(o))
		return false, differences, err
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return false, nil, err
	case !create:
		return false, []Difference{{"stream", "missing", "there, once the others are as wanted"}}, nil
	}
	want := s.config(o)
	if want.Metadata[storeIDKey] == "" {
		var id [16]byte
		rand.Read(id[:])
		want.Metadata[storeIDKey] = hex.EncodeToString(id[:])
	}
	// If somebody else has made it meanwhile with another configuration, that is an error.
	if _, err := l.js.CreateStream(ctx, want); err != nil {
		return false, nil, fmt.Errorf("make %s: %w", l.name(), err)
	}
	return true, nil, nil
}

// config is what a stream of this kind is.
func (s Spec) config(o Options) jetstream.StreamConfig {
	if s.Replicas == 0 {
		s.Replicas = leastReplicas
	}
	if s.MaxBytes <= 0 {
		s.MaxBytes = -1
	}
	metadata := map[string]string{storeIDKey: s.StoreID, unitKey: s.Unit.String()}
	if p := s.partition; !p.Whole() {
		metadata[setKey], metadata[numberKey], metadata[ofKey] = p.Set, strconv.Itoa(p.Number), strconv.Itoa(p.Of)
	}
	return jetstream.StreamConfig{
		Name: o.Stream, Subjects: []string{subjectOf(s.partition.Number)}, Description: "records of auditsql",
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, Replicas: s.Replicas,
		MaxBytes: s.MaxBytes, MaxAge: s.MaxAge, MaxMsgs: -1, MaxMsgsPerSubject: -1, MaxConsumers: -1, MaxMsgSize: -1,
		Duplicates: shorter(window, s.MaxAge), DenyDelete: true, DenyPurge: true, AllowDirect: true,
		Metadata: metadata,
	}
}

// shorter is the window, which must not be longer than messages are kept.
func shorter(window, maxAge time.Duration) time.Duration {
	if maxAge > 0 {
		return min(window, maxAge)
	}
	return window
}

// compare returns what a stream has otherwise than it was asked for.
func compare(have *jetstream.StreamConfig, want jetstream.StreamConfig) (differences []Difference, err error) {
	id := have.Metadata[storeIDKey]
	if len(id) != 32 {
		return nil, fmt.Errorf("stream %s: %w: it is there already, and auditsql-cluster did not make it", have.Name, cluster.ErrMismatch)
	}
	if want.Metadata[storeIDKey] == "" {
		want.Metadata[storeIDKey] = id
	}
	differs := func(what string, have, want any) {
		if h, w := fmt.Sprint(have), fmt.Sprint(want); h != w {
			differences = append(differences, Difference{what, h, w})
		}
	}
	differs("store id", id, want.Metadata[storeIDKey])
	differs("set of partitions", have.Metadata[setKey], want.Metadata[setKey])
	differs("partition", have.Metadata[numberKey], want.Metadata[numberKey])
	differs("partitions", have.Metadata[ofKey], want.Metadata[ofKey])
	differs("time unit", have.Metadata[unitKey], want.Metadata[unitKey])
	differs("mirror", mirrorText(have), mirrorText(&want))
	differs("subjects", have.Subjects, want.Subjects)
	differs("replicas", have.Replicas, want.Replicas)
	differs("storage", have.Storage, want.Storage)
	differs("retention", have.Retention, want.Retention)
	differs("when it is full", have.Discard, want.Discard)
	differs("max_bytes", have.MaxBytes, want.MaxBytes)
	differs("max_age", have.MaxAge, want.MaxAge)
	differs("max_msgs", have.MaxMsgs, want.MaxMsgs)
	differs("max_msgs_per_subject", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
	if want.Mirror == nil { // the servers give a mirror one as they like
		differs("window for duplicates", have.Duplicates, want.Duplicates)
	} else {
		differs("what it continues", have.Metadata[continuesKey], want.Metadata[continuesKey])
	}
	differs("deny_delete", have.DenyDelete, want.DenyDelete)
	differs("deny_purge", have.DenyPurge, want.DenyPurge)
	differs("allow_direct", have.AllowDirect, want.AllowDirect)
	return differences, nil
}
