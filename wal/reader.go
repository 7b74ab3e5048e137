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
// In the writer's process it returns what is synced and nothing else. In another process it may return
// a record just before the sync that acknowledges it ends.
type Reader struct {
	dir, canonical string
	opts           Options
	pos            Offset // of the next record

	// The segment that pos lies in; both are nil when none is open.
	file File
	s    *segment.Scanner
	// zeroTailSize is the file's size at the last scan that found only zeros after pos; 0 is not known. While the
	// size stays and zeros stand at pos, there is nothing new. shortLooks counts down to the next scan of all the
	// zeros, if records came since the last one; 0 if none did.
	zeroTailSize int64
	shortLooks   int
	// last is the record returned last, without its payload. While it is still in its place, the log has not been cut
	// before pos.
	last Record

	placed  bool // pos was compared with the end of the log once, for ErrRewound
	writer  *Journal
	gone    *Journal // a writer that this process had and that is no longer open; see ended
	version uint64   // of writers, when writer was found
	closed  bool
}

// OpenReader returns a reader that begins at from, which must be 0 or an offset that the journal returned
// as an offset or as a Next. The folder must exist; the records need not exist yet. With Options.Identity a segment of
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
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // trimmed since it was listed: Next says so
			return nil, fmt.Errorf("open journal to read: %w", err)
		}
	}
	r.findWriter()
	return r, nil
}

// Offset returns where the next record begins, if there is one.
func (r *Reader) Offset() Offset { return r.pos }

// Close closes the reader's file.
func (r *Reader) Close() error {
	r.closed = true
	return r.leave()
}

func (r *Reader) leave() error {
	if r.s == nil {
		return nil
	}
	err := r.file.Close()
	r.file, r.s, r.zeroTailSize = nil, nil, 0
	return err
}

// Next returns the next record of the caller's and skips control records.
//
// At the end of the data it returns io.EOF, and can be called again later. With Options.Follow it waits
// until there is more or ctx ends, or until the writer that it follows in this process is closed. Then it returns
// ErrClosed after that writer's last record, also when another writer has opened the journal since.
//
// The errors are *TrimmedError when RemoveBefore was faster, ErrRewound when the reader's offset lies after the end of
// a log that no writer has open, *CorruptError when acknowledged bytes are damaged, and, after its last synced
// record, the error with which the writer in this process failed.
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
			// While it is being opened, nothing is known to be synced, and nothing is known to be missing.
			select {
			case <-r.writer.ready:
			case <-ctx.Done():
				return Record{}, ctx.Err()
			}
			if r.writer.recovered {
				// Before the read, so that a sync in between is not missed.
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
			// A writer in this process has opened the journal meanwhile, and what was just read may not be synced.
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
		// A writer in another process gives no sign, so poll.
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
	// mostShortLooks is how often a short look at the end is good enough before all the zeros are scanned again.
	mostShortLooks = 50
)

// findWriter finds the journal that this process has open in the folder, if any.
func (r *Reader) findWriter() {
	if v := writers.version.Load(); v != r.version {
		w := writerOf(r.opts.FS, r.canonical)
		// A writer that is no longer registered was ready, or has failed to open and was nobody's writer.
		if r.writer != nil && r.writer != w && r.writer.recovered && r.gone == nil {
			r.gone = r.writer
		}
		r.writer, r.version = w, v
		// What was read ahead while nobody had the log open may have been cut by recovery since.
		if r.s != nil {
			r.s.Drop()
			r.s.NoLimit()
		}
	}
}

// ended returns why a reader that follows a writer in this process will never get another record of it, or nil.
// Without this it would take a closed journal for one that another process has open, and wait for ever.
func (r *Reader) ended() error {
	w := r.writer
	if r.gone != nil {
		w = r.gone
	}
	if !r.opts.Follow || w == nil {
		return nil
	}
	over := w.over() // asked before Synced, so that no sync comes in between
	if over == nil || r.pos < w.Synced() {
		return nil
	}
	return over
}
