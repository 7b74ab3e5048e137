package wal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"
)

// Reader reads a journal's records in order, beside a writer or without one, in the writer's process
// or in another. It never changes a byte on disk. It is used by one goroutine at a time.
//
// In the writer's process it returns what is synced and nothing else. In another process it may return
// a record just before the sync that acknowledges it ends.
type Reader struct {
	dir, canonical string
	opts           Options
	pos            Offset // of the next record

	// The segment that pos lies in; s is nil when none is open.
	s *scanner
	// whole: s sees all that its file will ever have.
	whole bool
	// quiet is the length that the file had when there was nothing but zeros from pos to its end: while it
	// stays and zeros stand at pos, nothing has come. 0 is not known. looks is 0 when that was seen at this
	// very pos; else records came since, and it counts down to the next time that all of it is looked at.
	quiet int64
	looks int
	// last is the record returned last, without its payload, and where it lies: while it is still there,
	// the log has not been cut below pos.
	last Record

	placed  bool // pos was held against the log's end once, for ErrRewound
	writer  *Journal
	gone    *Journal // a writer that this process had and that is no longer open; see ended
	version uint64   // of writers, when writer was looked up
	closed  bool
}

// OpenReader returns a reader that begins at from, which must be 0 or an offset that the journal gave
// as an offset or as a Next. The folder must exist; the records need not, yet. With Options.Identity a segment of
// another journal is refused with ErrForeign, here or by Next.
func OpenReader(dir string, from Offset, o Options) (*Reader, error) {
	r := &Reader{dir: dir, opts: o.withDefaults(), pos: from}
	var err error
	if r.canonical, err = r.opts.FS.Canonical(dir); err != nil {
		return nil, fmt.Errorf("open journal to read: %w", err)
	}
	segs, err := listSegments(r.opts.FS, dir)
	if err != nil {
		return nil, fmt.Errorf("open journal to read: %w", err)
	}
	if from > maxOffset {
		return nil, fmt.Errorf("open journal to read: %w %d", ErrRewound, from)
	}
	if len(segs) > 0 && from < segs[0].Base {
		return nil, fmt.Errorf("open journal to read: %w", &TrimmedError{Wanted: from, First: segs[0].Base})
	}
	if at := segmentOf(segs, from); at >= 0 {
		err := checkSegments(context.Background(), r.opts.FS, segs[at:at+1], r.opts.Identity)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // trimmed since it was listed: Next tells
			return nil, fmt.Errorf("open journal to read: %w", err)
		}
	}
	r.lookUpWriter()
	return r, nil
}

// Offset returns where the next record begins, if there is one.
func (r *Reader) Offset() Offset { return r.pos }

// Close gives up the reader's file.
func (r *Reader) Close() error {
	r.closed = true
	return r.leave()
}

func (r *Reader) leave() error {
	if r.s == nil {
		return nil
	}
	err := r.s.f.Close()
	r.s, r.whole, r.quiet = nil, false, 0
	return err
}

// Next returns the next record of the caller's; control records are stepped over.
//
// At the end of the data it returns io.EOF, and can be called again later; with Options.Follow it waits
// until there is more or ctx ends, or until the writer that it follows in this process is closed: then it returns
// ErrClosed after that writer's last record, also when another one has opened the journal since. The errors are *TrimmedError when RemoveBefore was faster,
// ErrRewound when the reader stands behind the end of a log that no writer has open, *CorruptError when
// acknowledged bytes are hurt, and what the writer in this process failed with, behind its last synced
// record.
func (r *Reader) Next(ctx context.Context) (Record, error) {
	pause := pollLeast
	for {
		if r.closed {
			return Record{}, ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return Record{}, err
		}
		r.lookUpWriter()
		var changed <-chan struct{}
		if r.writer != nil {
			// While it is being opened nothing is known to be synced, nor that there is nothing.
			select {
			case <-r.writer.ready:
			case <-ctx.Done():
				return Record{}, ctx.Err()
			}
			if r.writer.recovered {
				// Taken before the look, so that a sync in between is not missed.
				r.writer.watch.Lock()
				changed = r.writer.changed
				r.writer.watch.Unlock()
			} else {
				r.writer = nil
			}
		}
		if err := r.ended(); err != nil {
			return Record{}, fmt.Errorf("read journal at %d: %w", r.pos, err)
		}
		from, last := r.pos, r.last
		rec, err := r.read(ctx)
		if r.writer == nil && writers.version.Load() != r.version {
			// A writer has come to this process meanwhile, and what was just read may not be synced.
			r.pos, r.last = from, last
			if err := r.leave(); err != nil {
				return Record{}, fmt.Errorf("read journal at %d: %w", r.pos, err)
			}
			continue
		}
		if err == nil {
			return rec, nil
		}
		if !errors.Is(err, io.EOF) {
			return Record{}, fmt.Errorf("read journal at %d: %w", r.pos, err)
		}
		if !r.opts.Follow {
			return Record{}, io.EOF
		}
		if r.writer != nil {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		// Another process gives no sign, so it is looked for.
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, pollMost)
	}
}

const (
	pollLeast = 2 * time.Millisecond
	pollMost  = 100 * time.Millisecond
	// shortLooks is how often a short look at the end is good enough before the long one.
	shortLooks = 50
)

// lookUpWriter finds the journal that this process has open in the folder, if any.
func (r *Reader) lookUpWriter() {
	if v := writers.version.Load(); v != r.version {
		w := writerOf(r.opts.FS, r.canonical)
		// One that is registered no more has been ready, or has failed to open and was nobody's writer.
		if r.writer != nil && r.writer != w && r.writer.recovered && r.gone == nil {
			r.gone = r.writer
		}
		r.writer, r.version = w, v
		// What was read ahead while nobody had the log open may have been cut since, by recovery.
		if r.s != nil {
			r.s.buf = r.s.buf[:0]
		}
	}
}

// ended returns why a reader that follows a writer in this process will never get another record of it, or nil.
// Without this it would take a journal that was closed for that of another process, and wait for ever.
func (r *Reader) ended() error {
	w := r.writer
	if r.gone != nil {
		w = r.gone
	}
	if !r.opts.Follow || w == nil {
		return nil
	}
	over := w.over() // asked before Synced, so that nothing comes in between
	if over == nil || r.pos < w.Synced() {
		return nil
	}
	return over
}

// extend lets the scanner see what the writer in this process has synced since, and no more: what it
// reads ahead then never changes, so its buffer need not be dropped.
func (r *Reader) extend() error {
	if r.writer == nil {
		return nil
	}
	visible := int64(r.writer.Synced() - r.s.base)
	if r.s.size < visible && !r.whole {
		size, err := r.s.f.Size()
		if err != nil {
			return err
		}
		r.s.size = size
		// What is synced goes on in a later file, so this one has got its last byte.
		r.whole = size < visible
	}
	r.s.size = min(r.s.size, visible)
	return nil
}

// refresh looks anew at the file, within what may be seen of it.
func (r *Reader) refresh() error {
	if err := r.s.refresh(); err != nil {
		return err
	}
	return r.extend()
}

// read returns the record at pos, or io.EOF when it is not there yet.
func (r *Reader) read(ctx context.Context) (Record, error) {
	for {
		if r.writer != nil && r.pos >= r.writer.Synced() {
			return Record{}, io.EOF
		}
		if r.s == nil {
			if err := r.enter(ctx); err != nil {
				return Record{}, err
			}
		}
		if still, err := r.stillQuiet(ctx); err != nil || still {
			return Record{}, cmp.Or(err, io.EOF)
		}
		if err := r.extend(); err != nil {
			return Record{}, err
		}
		rec, what, _, err := r.s.peek(ctx)
		if err != nil {
			return Record{}, err
		}
		if what != foundRecord {
			// What was buffered may be older than the file.
			if err := r.refresh(); err != nil {
				return Record{}, err
			}
			if rec, what, _, err = r.s.peek(ctx); err != nil {
				return Record{}, err
			}
		}
		if what != foundRecord {
			moved, err := r.atEnd(ctx, what)
			if err != nil {
				return Record{}, err
			}
			if !moved {
				return Record{}, io.EOF
			}
			continue
		}
		if r.writer != nil && rec.Next > r.writer.Synced() {
			return Record{}, io.EOF
		}
		control, err := r.take(rec)
		if err != nil {
			return Record{}, err
		}
		if control {
			continue
		}
		rec.Payload = bytes.Clone(rec.Payload)
		return rec, nil
	}
}

// stillQuiet is a short look at the end of the data in another process's journal, so that waiting there
// costs a few bytes and not each time the zeros that are written ahead. A rotation would have cut those.
//
// Only the long look tells zeros in the place of a record from the end: it comes as soon as the file's
// length changes, or nothing has for a while.
func (r *Reader) stillQuiet(ctx context.Context) (bool, error) {
	if r.quiet == 0 || r.writer != nil || !allZero(r.s.buffered(headerSize)) {
		return false, nil
	}
	size, err := r.s.f.Size()
	if err != nil {
		return false, err
	}
	if r.looks--; r.looks == 0 || size != r.quiet || size <= r.s.pos {
		r.quiet = 0
		return false, nil
	}
	head := make([]byte, min(headerSize, size-r.s.pos))
	if n, err := r.s.f.ReadAt(head, r.s.pos); n < len(head) && !errors.Is(err, io.EOF) {
		return false, err
	}
	if !allZero(head) {
		r.s.forget(shortAhead)
		return false, nil
	}
	return true, r.behind(ctx, r.s.base+Offset(size))
}

// take moves past a record, and reports whether it is a control record.
func (r *Reader) take(rec Record) (isControl bool, err error) {
	if isControl = rec.Payload[0] < kindLimit; isControl {
		c, err := decodeControl(rec.Payload, rec.Offset, r.s.base)
		if err != nil {
			return true, &CorruptError{r.path(), rec.Offset, err.Error()}
		}
		if err := checkIdentity(r.path(), c.identity, r.opts.Identity); err != nil {
			return true, err
		}
	}
	r.s.skip(rec)
	r.pos, r.looks = rec.Next, shortLooks
	r.last = Record{Offset: rec.Offset, Next: rec.Next, Hash: rec.Hash}
	return isControl, nil
}

func (r *Reader) path() string { return filepath.Join(r.dir, segmentName(r.s.base)) }

// enter opens the segment that pos lies in; io.EOF means that there is none yet.
func (r *Reader) enter(ctx context.Context) error {
	for try := 0; ; try++ {
		segs, err := listSegments(r.opts.FS, r.dir)
		if err != nil {
			return err
		}
		switch {
		case len(segs) == 0 && r.writer != nil: // and pos lies below what it has synced
			return &CorruptError{r.dir, r.pos, "no segment is left, and the writer has synced more"}
		case len(segs) == 0:
			return cmp.Or(r.behind(ctx, 0), io.EOF)
		}
		at := segmentOf(segs, r.pos)
		if at < 0 {
			return &TrimmedError{Wanted: r.pos, First: segs[0].Base}
		}
		f, err := r.opts.FS.Open(segs[at].Path)
		if errors.Is(err, fs.ErrNotExist) && try < 10 {
			continue // trimmed since it was listed
		}
		if err != nil {
			return err
		}
		if r.s, err = newScanner(f, segs[at].Base, r.pos); err != nil {
			r.leave()
		}
		return err
	}
}

// atEnd is what to do where no record begins: go on in the next segment (moved), or wait (not moved), or
// tell that something is wrong.
func (r *Reader) atEnd(ctx context.Context, what scanned) (moved bool, err error) {
	if r.s.size == 0 {
		// An empty segment is replaced by the next writer that opens the journal (remake), and what it
		// writes then is not in this file.
		if current, err := r.s.f.Current(); err != nil || !current {
			return err == nil, errors.Join(err, r.leave())
		}
	}
	segs, err := listSegments(r.opts.FS, r.dir)
	if err != nil {
		return false, err
	}
	// A later segment is made when this one has its last byte, so what follows is read from a file that
	// no longer changes.
	next := segmentOf(segs, r.s.base) + 1
	sealed := next < len(segs)
	synced := r.writer != nil // and pos lies below what it has synced, or read would not be here
	if !sealed && what == foundEnd && !synced {
		if r.s.size > r.s.pos {
			r.quiet, r.looks = r.s.size, 0
		}
		return false, r.behind(ctx, r.s.base+Offset(r.s.size))
	}
	if err := r.refresh(); err != nil {
		return false, err
	}
	_, what, reason, err := r.s.peek(ctx)
	switch {
	case err != nil:
		return false, err
	case what == foundRecord:
		return true, nil
	case sealed && r.s.pos == r.s.size && (segs[next].Base == r.pos || next == 0):
		// With next 0 this segment has been trimmed: entering tells whether the next one was as well.
		return true, r.leave()
	case what == foundEnd:
		reason = "the data ends here"
	}
	if sealed {
		return false, &CorruptError{r.path(), r.pos, fmt.Sprintf("%s, and the next segment begins at %d", reason, segs[next].Base)}
	}
	if synced {
		return false, &CorruptError{r.path(), r.pos, reason + ", and the writer has synced it"}
	}
	vouched, err := r.s.vouched(ctx, r.s.pos)
	if err != nil || !vouched {
		return false, err
	}
	// The record may have been completed between the look at it and the look for the mark.
	if err := r.refresh(); err != nil {
		return false, err
	}
	if _, what, reason, err = r.s.peek(ctx); err != nil || what == foundRecord {
		return true, err
	}
	return false, &CorruptError{r.path(), r.pos, reason + ", and a later mark says that it was synced"}
}

// behind tells whether a reader at the end of a log has a reason to wait there: nil is yes.
//
// A log that no writer has open ends where it ends. A reader behind that has read what was never
// acknowledged, before recovery cut it, or was given an offset of another log.
func (r *Reader) behind(ctx context.Context, end Offset) error {
	rewound := fmt.Errorf("%w %d", ErrRewound, r.pos)
	if r.s != nil {
		gone, err := r.lastGone()
		if err != nil {
			return err
		}
		if gone {
			return rewound
		}
	}
	if r.pos <= end && (r.placed || r.s == nil) {
		return nil
	}
	held, err := r.opts.FS.Locked(filepath.Join(r.dir, lockName))
	if err != nil || held {
		return err
	}
	if r.pos > end {
		if r.s == nil {
			return rewound
		}
		// The writer may have gone only after it wrote what lies here.
		if err := r.refresh(); err != nil {
			return err
		}
		if r.pos > r.s.base+Offset(r.s.size) {
			return rewound
		}
		return nil
	}
	// Zeros behind pos, or nothing: the same as the end of the data, unless that lies before pos. To walk
	// there takes a while, so it is done once; later lastGone answers.
	if r.pos != r.s.base && r.last.Next != r.pos {
		where, err := placeOf(ctx, r.s.f, r.s.base, r.pos)
		if err != nil {
			return err
		}
		if where == placeBehind {
			return rewound // and again, if asked again
		}
	}
	r.placed = true
	return nil
}

// lastGone reports whether the record returned last is no longer where it was read.
func (r *Reader) lastGone() (bool, error) {
	if r.last.Next == 0 || r.last.Offset < r.s.base {
		return false, nil
	}
	b := make([]byte, headerSize)
	n, err := r.s.f.ReadAt(b, int64(r.last.Offset-r.s.base))
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	h, ok := decodeHeader(b[:n])
	return !ok || h.hash != r.last.Hash, nil
}
