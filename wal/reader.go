package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/auditsql/auditsql/wal/internal/segment"
)

// Reader reads a journal's records in order. A writer may have the journal open meanwhile, in the same process
// or in another. A Reader never changes a byte on disk. It is used by one goroutine at a time.
//
// In the writer's process it returns only records that are synced. In another process it may return a record shortly
// before the writer has synced and acknowledged it.
type Reader struct {
	dir, canonical string
	opts           Options
	pos            Offset // of the next record
	reached        Offset // what Options.Reached says, or 0

	// The segment that pos lies in; both are nil when none is open.
	file File
	s    *segment.Scanner
	// zeroTailSize is the file's size at the last scan that found only zeros after pos, or 0 before such a scan. While the
	// size is the same and the bytes at pos are zeros, there is probably nothing new. shortLooks is how many more such
	// short looks are allowed before all the zeros are scanned again.
	zeroTailSize int64
	shortLooks   int
	// last is the record before pos, without its payload, or zero before the first one. While the file still holds it,
	// nobody has cut the log before pos.
	last Record

	kept    *Payloads // who owns the files, or nil: the reader closes them when it leaves them
	entered int       // how many segments it has opened

	placed  bool     // mayWait has found that pos does not lie after the end of the data
	writer  *Journal // the writer in this process, or nil
	gone    *Journal // the first writer that the reader followed and that is no longer open; see ended
	version uint64   // what writers.version was when writer was looked up
	closed  bool
}

// OpenReader returns a reader that begins at from. That must be 0, or the offset or the Next of a record. The folder must
// exist; the records need not exist yet. With Options.Identity a segment of another journal is refused with ErrForeign,
// here or by Next.
func OpenReader(dir string, from Offset, o Options) (*Reader, error) {
	r := &Reader{dir: dir, opts: o.withDefaults(), pos: from, reached: o.reached()}
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
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // trimmed since the listing: Next will report that
			return nil, fmt.Errorf("open journal to read: %w", err)
		}
	}
	r.findWriter()
	return r, nil
}

// Offset returns where the next record begins, if there is one.
func (r *Reader) Offset() Offset { return r.pos }

// Close closes the reader's file, and those of its Payloads.
func (r *Reader) Close() error {
	r.closed = true
	err := r.leave()
	if r.kept != nil {
		err = errors.Join(err, r.kept.close())
	}
	return err
}

// Rest closes the reader's file until the next record is asked for. The reader keeps its place and what it knows of it: nothing that was
// read is read again.
func (r *Reader) Rest() error { return r.leave() }

func (r *Reader) leave() (err error) {
	if r.s == nil {
		return nil
	}
	if r.kept == nil {
		err = r.file.Close()
	}
	r.file, r.s, r.zeroTailSize = nil, nil, 0
	return err
}

// Next returns the next record. It skips control records.
//
// At the end of the data it returns io.EOF, and can be called again later. With Options.Follow it waits
// until there is more or ctx ends, or until the writer that it follows in this process is closed. Then it returns
// ErrClosed after that writer's last record, also when another writer has opened the journal since.
//
// The error is *TrimmedError when RemoveBefore has removed the record, ErrRewound when the reader's offset lies after the
// end of a log that no writer has open, and *CorruptError when acknowledged bytes are damaged. When the writer in this
// process has failed, Next first returns all records that it had synced, and then the writer's error.
func (r *Reader) Next(ctx context.Context) (Record, error) {
	pause := pollLeast
	for {
		if r.closed {
			return Record{}, ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return Record{}, err
		}
		r.findWriter()
		var changed <-chan struct{}
		if r.writer != nil {
			// Until its recovery has ended, nobody knows which records are synced and which ones it will cut.
			select {
			case <-r.writer.ready:
			case <-ctx.Done():
				return Record{}, ctx.Err()
			}
			if r.writer.recovered {
				// Take the channel before the read: a sync after the read then still closes it.
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
			// A writer in this process has opened the journal during the read. What was read may not be synced.
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
		// A writer in another process cannot notify this one, so poll.
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
	// mostShortLooks is the number of short looks at the end after which all the zeros are scanned again.
	mostShortLooks = 50
)

// findWriter finds the journal that this process has open in the folder, if any.
func (r *Reader) findWriter() {
	if v := writers.version.Load(); v != r.version {
		w := writerOf(r.opts.FS, r.canonical)
		// A writer that is no longer registered has ended its recovery, so recovered does not change any more. If it is
		// false, the opening failed, and no reader followed that writer.
		if r.writer != nil && r.writer != w && r.writer.recovered && r.gone == nil {
			r.gone = r.writer
		}
		r.writer, r.version = w, v
		// The bytes that were read ahead may be older than the writer's recovery, which may have cut them.
		if r.s != nil {
			r.s.Drop()
			r.s.NoLimit()
		}
	}
}

// ended returns why the writer that the reader follows in this process will have no more records for it, or nil. Without
// this check the reader would wait for ever: it would take the closed journal for one that another process has open.
func (r *Reader) ended() error {
	w := r.writer
	if r.gone != nil {
		w = r.gone
	}
	if !r.opts.Follow || w == nil {
		return nil
	}
	over := w.over() // before Synced: a sync between the two calls is then not missed
	if over == nil || r.pos < w.Synced() {
		return nil
	}
	return over
}
