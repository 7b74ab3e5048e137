package cluster

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/zeebo/blake3"

	"github.com/auditsql/auditsql/audit"
)

// MaxPartitions is how many logs the records of one store may be divided among.
const MaxPartitions = 64

// A Partition says which records a log has: those of all ids, or of the ids that belong to one partition of several. Logs that
// belong together are a set. The number of partitions of a set never changes: an id would belong to another log then, and the first
// record under it would not be the first any more.
type Partition struct {
	Set    string // 32 hex digits, those of the whole store; "" for a log that has the records of all ids
	Number int    // from 0
	Of     int    // how many partitions the set has; 0 for a log that has the records of all ids
}

// Whole reports whether the log has the records of all ids.
func (p Partition) Whole() bool { return p == Partition{} }

// String describes the partition for messages.
func (p Partition) String() string {
	if p.Whole() {
		return "no partition"
	}
	return fmt.Sprintf("partition %d of %d of set %s", p.Number, p.Of, p.Set)
}

// has reports whether the records of an id belong to the log.
func (p Partition) has(id audit.QueryID) bool { return p.Whole() || PartitionOf(id, p.Of) == p.Number }

// foreign says why a message is not to be stored, if its id belongs to another partition: somebody has given it to the wrong log. A read by
// id asks the right one, and would not find it. Every node comes to the same verdict.
func (p Partition) foreign(m *Message) string {
	if p.Whole() || m.Kind != Record {
		return ""
	}
	if id, ok := audit.IDOf(m.Payload); ok && !p.has(id) {
		return fmt.Sprintf("its id belongs to partition %d", PartitionOf(id, p.Of))
	}
	return ""
}

// PartitionOf returns the number of the partition to which the records of an id belong, of so many partitions: the first 8 bytes of the
// BLAKE3 of the id's 32 bytes, as a big-endian number, modulo the number of partitions. The id itself is hashed once more since a
// publisher may choose it: ids that count up would be uneven.
//
// The function is fixed for good. It panics if of is less than 1.
func PartitionOf(id audit.QueryID, of int) int {
	if of < 1 {
		panic(fmt.Sprintf("cluster: %d partitions", of))
	}
	sum := blake3.Sum256(id[:])
	return int(binary.BigEndian.Uint64(sum[:8]) % uint64(of))
}

// PartitionStoreID returns the id of the store that has the records of one partition: the first 16 bytes, in hex, of the BLAKE3 of
// "auditsql partition NUMBER of OF of SET". So the folders of two partitions cannot be exchanged, and making a set again comes to the
// same ids.
func PartitionStoreID(p Partition) string {
	sum := blake3.Sum256([]byte("auditsql " + p.String()))
	return hex.EncodeToString(sum[:16])
}

// CheckSet returns an ErrMismatch unless the logs are all partitions of one set, in their order. One log that has the records of all ids
// is right as well. infos are what the logs say about themselves.
func CheckSet(infos []Info) error {
	if len(infos) == 0 {
		return fmt.Errorf("%w: there is no log", ErrMismatch)
	}
	first := infos[0].Partition
	if first.Whole() && len(infos) == 1 {
		return nil
	}
	for i, info := range infos {
		p := info.Partition
		switch {
		case p.Whole():
			return fmt.Errorf("%s: %w: it is no partition, and stands among partitions", info.Name, ErrMismatch)
		case p.Set != first.Set:
			return fmt.Errorf("%s: %w: it belongs to set %s, and %s to set %s", info.Name, ErrMismatch, p.Set, infos[0].Name, first.Set)
		case p.Of != first.Of:
			return fmt.Errorf("%s: %w: it is one of %d partitions, and %s is one of %d", info.Name, ErrMismatch, p.Of, infos[0].Name, first.Of)
		case p.Of != len(infos):
			return fmt.Errorf("%s: %w: it is one of %d partitions, and the number of logs that were given is %d", info.Name, ErrMismatch, p.Of, len(infos))
		case p.Number != i:
			return fmt.Errorf("%s: %w: it is partition %d, and stands in the place of partition %d", info.Name, ErrMismatch, p.Number, i)
		case info.StoreID != PartitionStoreID(p):
			return fmt.Errorf("%s: %w: it has the records of store %s, and %s would be those of store %s", info.Name, ErrMismatch, info.StoreID, p, PartitionStoreID(p))
		case info.Unit != infos[0].Unit:
			return fmt.Errorf("%s: %w: its time unit is %s, and that of %s is %s", info.Name, ErrMismatch, info.Unit, infos[0].Name, infos[0].Unit)
		}
	}
	return nil
}
