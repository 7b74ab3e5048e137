package backlog

import "github.com/auditsql/auditsql/wal"

// Record is what is kept of an acknowledged record that SQLite may not show yet: where the journal has it, and the values
// by which a read selects. That is some 180 bytes with its place in the index. The record's JSON is not kept, so a long
// backlog takes space on disk, but little memory.
type Record struct {
	ID        [32]byte
	Agent     [32]byte
	Leaf      [32]byte // its leaf hash, from the bytes that were put
	Timestamp uint64
	Offset    wal.Offset
	Size      int32 // of its JSON
	Anonymous bool  // it has no agent
}

// ledger is the acknowledged records in the order of acknowledgement, as a queue of chunks. Records are numbered from
// 0. head is the number of the first record that is left, tail that of the next one to come. The backlog's mu guards
// it.
type ledger struct {
	chunks     []*[chunkLen]Record
	head, tail uint64
	index      map[[32]byte]uint64 // number by id
}

const chunkLen = 1024

func (l *ledger) push(r Record) {
	at := l.tail - l.head/chunkLen*chunkLen // within the chunks that are left
	if at/chunkLen == uint64(len(l.chunks)) {
		l.chunks = append(l.chunks, new([chunkLen]Record))
	}
	l.chunks[at/chunkLen][at%chunkLen] = r
	l.index[r.ID] = l.tail
	l.tail++
}

func (l *ledger) at(number uint64) *Record {
	at := number - l.head/chunkLen*chunkLen
	return &l.chunks[at/chunkLen][at%chunkLen]
}

// removeBefore removes records from the front while their offsets are before applied, and returns how much that was.
func (l *ledger) removeBefore(applied wal.Offset) (removed amount) {
	for l.head < l.tail {
		r := l.at(l.head)
		if r.Offset >= applied {
			break
		}
		removed.records, removed.bytes = removed.records+1, removed.bytes+int64(r.Size)
		delete(l.index, r.ID)
		if l.head++; l.head%chunkLen == 0 {
			l.chunks = append([]*[chunkLen]Record(nil), l.chunks[1:]...) // snapshots keep the old array
		}
	}
	return removed
}

// find returns the record of an id, or nil.
func (l *ledger) find(id [32]byte) *Record {
	number, ok := l.index[id]
	if !ok {
		return nil
	}
	return l.at(number)
}

// Snapshot is the records of the ledger at one moment, in the order of acknowledgement.
type Snapshot struct {
	chunks      []*[chunkLen]Record
	first, size int // first is an index in the first chunk
}

func (l *ledger) snapshot() Snapshot {
	// A record never changes its place in a chunk, and removeBefore makes a new list.
	return Snapshot{l.chunks[:len(l.chunks):len(l.chunks)], int(l.head % chunkLen), int(l.tail - l.head)}
}

// Len returns how many records it has.
func (s Snapshot) Len() int { return s.size }

// Backward yields the records that All yields, the last first.
func (s Snapshot) Backward(yield func(*Record) bool) {
	for i := s.first + s.size - 1; i >= s.first; i-- {
		if !yield(&s.chunks[i/chunkLen][i%chunkLen]) {
			return
		}
	}
}

// All yields the records. They must not be changed.
func (s Snapshot) All(yield func(*Record) bool) {
	for i := s.first; i < s.first+s.size; i++ {
		if !yield(&s.chunks[i/chunkLen][i%chunkLen]) {
			return
		}
	}
}
