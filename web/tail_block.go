package web

import (
	"cmp"
	"slices"
	"strconv"
	"sync"

	"github.com/auditsql/auditsql/audit"
)

// A block is records that follow each other. Tails send it whole, with one write. Each form of it is made once, for all tails.
// A block that a tail can see does not change.
type block struct {
	records []audit.TailRecord
	bytes   int // of the records
	asEvent blockText
	asLine  blockText
}

// How much is gathered in a block. With what stands around the records it is less than takenAtOnce, and so one write. A single record may
// be larger.
const (
	blockRecords = 256
	blockBytes   = 48 << 10
)

// A blockText is what a block looks like on the wire.
type blockText struct {
	once   sync.Once
	text   []byte
	starts []int // of the records in text
}

func (b *block) full() bool { return len(b.records) >= blockRecords || b.bytes >= blockBytes }

func (b *block) add(rec audit.TailRecord) {
	b.records, b.bytes = append(b.records, rec), b.bytes+len(rec.Raw)
}

func (b *block) last() *audit.TailRecord { return &b.records[len(b.records)-1] }

// from is the number of the first record that is not before an offset.
func (b *block) from(at audit.Offset) int {
	i, _ := slices.BinarySearchFunc(b.records, at, func(rec audit.TailRecord, at audit.Offset) int { return cmp.Compare(rec.Offset, at) })
	return i
}

// text is the block as server-sent events, or as NDJSON, from a record on. It belongs to all tails.
func (b *block) text(events bool, first int) []byte {
	t, appended := &b.asLine, appendLine
	if events {
		t, appended = &b.asEvent, appendRecordEvent
	}
	t.once.Do(func() {
		t.text, t.starts = make([]byte, 0, b.bytes+len(b.records)*eventRoom), make([]int, len(b.records))
		for i := range b.records {
			t.starts[i] = len(t.text)
			t.text = appended(t.text, &b.records[i])
		}
	})
	return t.text[t.starts[first]:]
}

// eventRoom is what stands around a record at most.
const eventRoom = 64

func appendRecordEvent(text []byte, rec *audit.TailRecord) []byte {
	return appendEvent(text, rec.Next, "audit", rec.Raw)
}

// appendEvent appends a server-sent event. Canonical JSON is one line, as events want it.
func appendEvent(text []byte, id audit.Offset, event string, data []byte) []byte {
	text = strconv.AppendUint(append(text, "id: "...), uint64(id), 10)
	text = append(append(text, "\nevent: "...), event...)
	text = append(append(text, "\ndata: "...), data...)
	return append(text, "\n\n"...)
}

// appendLine appends a line of NDJSON.
func appendLine(text []byte, rec *audit.TailRecord) []byte {
	text = strconv.AppendUint(append(text, `{"id":"`...), uint64(rec.Next), 10)
	text = append(append(text, `","audit":`...), rec.Raw...)
	return append(text, "}\n"...)
}
