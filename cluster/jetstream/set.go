package jetstream

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/auditsql/auditsql/cluster"
)

// The records of one store can be divided among several streams, by query id (cluster.PartitionOf). The stream of partition N of the set
// NAME is called NAME-N, has the subject audit.N, and says in its metadata of which set it is, which partition, and of how many. A set is
// made once. The number of its streams never changes.

// StreamOf returns the name of the stream of a partition of a set.
func StreamOf(set string, number int) string { return fmt.Sprintf("%s-%d", set, number) }

// partitionOf reads the metadata of a stream.
func partitionOf(stream *jetstream.StreamConfig) (p cluster.Partition, err error) {
	m := stream.Metadata
	if m[setKey] == "" && m[numberKey] == "" && m[ofKey] == "" {
		return p, nil
	}
	p.Set = m[setKey]
	var errs [2]error
	p.Number, errs[0] = strconv.Atoi(m[numberKey])
	p.Of, errs[1] = strconv.Atoi(m[ofKey])
	id, notHex := hex.DecodeString(p.Set)
	if errors.Join(errs[:]...) != nil || notHex != nil || len(id) != 16 || p.Of < 2 || p.Of > cluster.MaxPartitions || p.Number < 0 || p.Number >= p.Of {
		return p, fmt.Errorf("stream %s: %w: its metadata says that it is partition %q of %q of set %q", stream.Name, cluster.ErrMismatch, m[numberKey], m[ofKey], m[setKey])
	}
	return p, nil
}

// OpenSet connects to the stream with the name of o, or to all partitions of the set with this name, in their order. It returns an
// ErrMismatch if one of the partitions is missing. Whether they belong together is said by cluster.CheckSet.
func OpenSet(ctx context.Context, o Options) (logs []*Log, err error) {
	o = o.withDefaults()
	whole, err := Open(ctx, o)
	if err == nil {
		return []*Log{whole}, nil
	}
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, err
	}
	defer func() {
		if err != nil {
			for _, l := range logs {
				l.Close()
			}
			logs = nil
		}
	}()
	for number, of := 0, 1; number < of; number++ {
		part := o
		part.Stream = StreamOf(o.Stream, number)
		l, missing := Open(ctx, part)
		switch {
		case errors.Is(missing, jetstream.ErrStreamNotFound) && number == 0:
			return nil, fmt.Errorf("%w, and there is no stream %s either", err, part.Stream)
		case errors.Is(missing, jetstream.ErrStreamNotFound):
			return logs, fmt.Errorf("stream %s: %w: partition %d of %d is missing", part.Stream, cluster.ErrMismatch, number, of)
		case missing != nil:
			return logs, missing
		}
		logs = append(logs, l)
		if number > 0 {
			continue
		}
		if of = l.partition.Of; l.partition.Whole() {
			return logs, fmt.Errorf("%s: %w: it has the name of a partition, and is none", l.name(), cluster.ErrMismatch)
		}
	}
	return logs, nil
}

// Made is what InitSet did about one stream.
type Made struct {
	Stream      string
	Created     bool
	Differences []Difference // of a stream that was there
}

// InitSet makes the streams of a set of so many partitions, or compares those that exist with what is wanted, and changes nothing of
// them then. s.StoreID is the id of the set.
//
// If the process dies between two streams, InitSet goes on where it was: the set is the one that the streams which are there say. It makes
// no stream beside others that have messages: a stream of such a set was removed, and its records with it. Nor does it make one beside
// another one that differs from what is wanted: the two could not be followed together, as when another process makes a set of its own
// under this name at the same time.
func InitSet(ctx context.Context, o Options, s Spec, partitions int) ([]Made, error) {
	o = o.withDefaults()
	if partitions < 2 || partitions > cluster.MaxPartitions {
		return nil, fmt.Errorf("%d partitions: want 2 to %d, or one stream", partitions, cluster.MaxPartitions)
	}
	set, err := plan(ctx, o, partitions)
	switch {
	case err != nil:
		return nil, err
	case set == "":
		set = s.StoreID
	case s.StoreID != "" && s.StoreID != set:
		return nil, fmt.Errorf("stream %s: %w: it belongs to set %s, and %s is wanted", StreamOf(o.Stream, 0), cluster.ErrMismatch, set, s.StoreID)
	}
	if set == "" {
		var id [16]byte
		rand.Read(id[:])
		set = hex.EncodeToString(id[:])
	}
	made := make([]Made, partitions)
	differs := false
	for i := range made {
		part, spec := o, s
		part.Stream = StreamOf(o.Stream, i)
		spec.partition = cluster.Partition{Set: set, Number: i, Of: partitions}
		spec.StoreID = cluster.PartitionStoreID(spec.partition)
		made[i].Stream = part.Stream
		if made[i].Created, made[i].Differences, err = initStream(ctx, part, spec, !differs); err != nil {
			return nil, err
		}
		differs = differs || len(made[i].Differences) > 0
	}
	return made, nil
}

// plan looks which streams of a set there are. It returns the id of the set, "" if there is none, and an error if the ones that are
// missing must not be made.
func plan(ctx context.Context, o Options, partitions int) (set string, err error) {
	l, err := connect(ctx, o)
	if err != nil {
		return "", err
	}
	defer l.Close()
	// A set has another name for each of its streams. Beside them a stream with the plain name would be followed in their place.
	if _, err := l.streamInfo(ctx); err == nil {
		return "", fmt.Errorf("%s: %w: it is there, and has all records; to divide them among %d streams, make these under another name, with servers or an account of their own, and import its export", l.name(), cluster.ErrMismatch, partitions)
	} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return "", err
	}
	missing, filled := "", ""
	for i := range partitions {
		name := StreamOf(o.Stream, i)
		stream, err := l.infoOf(ctx, name, l.opts.Timeout, false)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			missing = name
			continue
		}
		if err != nil {
			return "", err
		}
		p, err := partitionOf(&stream.Config)
		switch {
		case err != nil:
			return "", err
		case p.Whole() || p.Number != i || p.Of != partitions || set != "" && p.Set != set:
			return "", fmt.Errorf("stream %s: %w: it is there, and is %s", name, cluster.ErrMismatch, p)
		}
		if set = p.Set; stream.State.LastSeq > 0 {
			filled = name
		}
	}
	if missing != "" && filled != "" {
		return "", fmt.Errorf("stream %s: %w: it is missing, and %s of its set has messages: it was removed, with its records; begin with a new set", missing, cluster.ErrMismatch, filled)
	}
	return set, nil
}
