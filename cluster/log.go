package cluster

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"github.com/zeebo/blake3"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/tree"
)

// A Log is an ordered list of messages on several replicas. Its methods may be called from several goroutines.
//
// Messages are numbered from 1 without gaps. A message that was acknowledged stays as it is, under its number, until the log's
// limits remove the oldest messages. A replica may lag, and it may be damaged: a Log returns what a replica has, and the node
// checks it.
type Log interface {
	// Append adds messages to the log, in their order, and returns an outcome for each, in the same order. An outcome without an
	// error says that a majority of the replicas has the message on disk.
	//
	// An outcome with an error says that the message may have been added or not, unless the error is [ErrRefused]: then it was not
	// and never will be. A message that was given before may be added once more. It may also be left out, when the log remembers
	// its ID: then the outcome is a duplicate. After an error the messages that follow it may stand before it.
	Append(ctx context.Context, ms []Message) []Appended

	// Read returns messages of one replica from the number from on, ascending, at most most of them, and fewer when they are large
	// or when the replica has no more. It does not wait for messages that are to come: then it returns none.
	//
	// The first message that it returns may have a greater number than from, and numbers may be left out: then the replica does not
	// have the others. The payloads belong to the caller. The replica is a name of [Info], or "" for any.
	Read(ctx context.Context, replica string, from uint64, most int) ([]Stored, error)

	// Bounds returns the numbers of the oldest and the newest message, as a majority of the replicas has them.
	Bounds(ctx context.Context) (Bounds, error)

	// Info returns what the log says about itself and its replicas.
	Info(ctx context.Context) (Info, error)
}

// An Exchange is a Log over which nodes read each other's trees. So a node whose head differs from another one's can find the first
// record that differs. A Log need not be one.
type Exchange interface {
	// ServeTree answers those who read the tree of the node with this name, until stop is called.
	ServeTree(node string, tiles tree.TileReader) (stop func(), err error)

	// TreeOf returns the tree of a node, as that node answers. Its ReadTile fails when ctx ends, or when nobody answers.
	TreeOf(ctx context.Context, node string) tree.TileReader
}

// ErrRefused says that a log does not take a message: it is too large, or the log is full. Nothing of it is stored. It may be when the message was given
// before, and got no answer then.
var ErrRefused = errors.New("the log refuses the message")

// ErrMirror says that a log is a mirror of another one, and takes no messages itself. It is an ErrRefused, and an [audit.ErrFollows]: records are
// put through a node of the other log.
var ErrMirror error = mirrorError{}

type mirrorError struct{}

func (mirrorError) Error() string { return "the log is a mirror of another one, and takes no messages" }

func (mirrorError) Is(target error) bool { return target == ErrRefused || target == audit.ErrFollows }

// Kind is what a message is.
type Kind string

const (
	// Record is the kind of a message whose payload is the canonical JSON of a record.
	Record Kind = ""
	// Barrier is the kind of a message that takes a number in the log and is no record.
	Barrier Kind = "barrier"
	// HeadKind is the kind of a message with a [Head]. It takes a number in the log and is no record.
	HeadKind Kind = "head"
)

// A Message is what a node gives to the log.
type Message struct {
	ID      string // the log may leave out a message whose ID it has seen a short time ago; "" has no such effect
	Kind    Kind
	Payload []byte
	Sum     string // the BLAKE3 of the payload, in hex, as its publisher has computed it
}

// NewRecord returns the message for a record. raw is its canonical JSON. The message keeps it.
func NewRecord(id audit.QueryID, raw []byte) Message {
	return Message{ID: id.String(), Kind: Record, Payload: raw, Sum: sumOf(raw)}
}

// NewBarrier returns a barrier. id must differ from that of every other message.
func NewBarrier(id string) Message { return Message{ID: id, Kind: Barrier, Sum: sumOf(nil)} }

// Intact reports whether the message is as its publisher made it, as far as it shows that itself. The hash is that of the payload. The
// kind is not hashed: but only a barrier has no payload, and only a head begins like one.
func (m *Message) Intact() bool {
	switch {
	case m.Kind != Record && m.Kind != Barrier && m.Kind != HeadKind, (m.Kind == Barrier) != (len(m.Payload) == 0):
		return false
	case (m.Kind == HeadKind) != isHead(m.Payload):
		return false
	}
	return m.Sum == sumOf(m.Payload)
}

func sumOf(payload []byte) string {
	sum := blake3.Sum256(payload)
	return hex.EncodeToString(sum[:])
}

// Stored is a message with its number.
type Stored struct {
	Sequence uint64
	Message
}

// Appended is what became of a message that was given to the log.
type Appended struct {
	Sequence uint64 // its number; for a duplicate that of the message that the log has
	// Duplicate says that the log has a message with this ID and did not add this one. The log compares nothing else: the payload
	// of the message that it has may be another one.
	Duplicate bool
	Err       error
}

// Bounds are the numbers of the oldest and of the newest message of a log. When it has none, First is Last + 1.
type Bounds struct{ First, Last uint64 }

// Info is what a log says about itself.
type Info struct {
	Name    string    // what a person calls the log
	StoreID string    // 32 hex digits: the store whose records it has
	Created time.Time // a log that was made again under its name has another time
	Unit    audit.TimeUnit
	// Mirror says what the log copies, if it is a mirror of another log: then it takes no messages. nil: it is none.
	Mirror *Mirror
	// Continues is the LogID of the log whose messages this one has at its beginning. It is "" if there is none.
	// This one was made as a mirror of that log, and stays another one. A mirror lags. So when it takes messages itself, the other log may
	// have had others under the same numbers.
	Continues string
	// Copied is the number of a message: those up to it were copied from the log that this one continues, so that they are the same in both. 0: that is
	// not known.
	Copied uint64
	// Partition says which records the log has.
	Partition Partition
	// MaxPayload is how many bytes the payload of a message may have.
	MaxPayload int
	Replicas   []Replica
	// Unproven says, a reason each, why it is not certain that an acknowledged message survives: a server that syncs too late, too
	// few replicas, a server that did not answer. It is empty when it is certain.
	Unproven []string
}

// LogID tells a log from one that was made again under its name: it is when it was created, as time.RFC3339Nano in UTC.
func LogID(created time.Time) string { return created.UTC().Format(time.RFC3339Nano) }

// A Mirror says what a log copies from another one.
type Mirror struct {
	Of     string        // what a person calls the other log
	Lacks  uint64        // how many messages the other one has that it does not have, as far as it knows
	Silent time.Duration // since when nothing has come from the other one; less than 0: nothing has ever come
	Error  string        // why it cannot copy, "" if it can
	// Remade says that the other log was made again, so that the mirror may have messages of two logs, "" if nothing is known of that.
	Remade string
}

// A Replica is one of the copies of a log. Fields other than its name are zero when it did not answer.
type Replica struct {
	Name    string
	Answers bool
	Leader  bool
	Bounds
	Missing uint64 // messages between its bounds that it does not have
}
