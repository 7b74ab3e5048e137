package walspec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Options configure a Writer.
type Options struct {
	SegmentBytes int64  // the next record goes into a new segment once the last one has this many; 64 MiB if 0
	Base         uint64 // of the first segment: above 0 for a journal whose beginning was trimmed
	Identity     []byte // what each segment begins with; none if empty
	Zeros        int64  // how many Close writes after the data, as preallocation would
}

// Writer writes records to the segments of a new journal. It adds no marks, refuses no payload, and syncs nothing.
type Writer struct {
	dir     string
	o       Options
	segment *os.File
	base    uint64 // of segment
	end     uint64
}

// NewWriter makes the folder, if it is missing, and the first segment in it. If that segment exists, it is an
// error.
func NewWriter(dir string, o Options) (*Writer, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 64 << 20
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	w := &Writer{dir: dir, o: o, end: o.Base}
	return w, w.begin()
}

// Name returns the file name of the segment with this base.
func Name(base uint64) string {
	return fmt.Sprintf("%016x.wal", base)
}

// begin makes the segment that starts at the end of the data.
func (w *Writer) begin() (err error) {
	w.base = w.end
	w.segment, err = os.OpenFile(filepath.Join(w.dir, Name(w.base)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	return err
}

// Append writes a record and returns its offset.
func (w *Writer) Append(payload []byte) (uint64, error) {
	if w.end-w.base >= uint64(w.o.SegmentBytes) {
		if err := w.segment.Close(); err != nil {
			return 0, err
		}
		if err := w.begin(); err != nil {
			return 0, err
		}
	}
	if w.end == w.base && len(w.o.Identity) > 0 {
		if _, err := w.write(IdentityPayload(w.o.Identity)); err != nil {
			return 0, err
		}
	}
	return w.write(payload)
}

func (w *Writer) write(payload []byte) (offset uint64, err error) {
	offset = w.end
	n, err := w.segment.Write(Encode(offset, payload))
	w.end += uint64(n)
	return offset, err
}

// Mark writes a mark, which says that everything below covered is durable.
func (w *Writer) Mark(covered uint64) (uint64, error) {
	return w.Append(MarkPayload(covered))
}

// Fill writes a filler record of this many bytes, header included: 41 at least.
func (w *Writer) Fill(recordSize int) (uint64, error) {
	return w.Append(FillerPayload(recordSize))
}

// End returns the offset at which the next record will stand.
func (w *Writer) End() uint64 {
	return w.end
}

// Close writes the zeros after the data and closes the last segment.
func (w *Writer) Close() error {
	err := w.segment.Truncate(int64(w.end-w.base) + w.o.Zeros)
	return errors.Join(err, w.segment.Close())
}
