package wal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditsql/auditsql/wal/internal/segment"
)

// Journal is a log that is open for writing. Its methods may be called from any number of
// goroutines.
//
// One goroutine, the committer, does all writing and syncing of the active segment; appenders hand it
// groups of encoded records and wait for the group's outcome.
type Journal struct {
	dir  string
	opts Options
	fs   FS
	lock Lock

	// mu guards what appenders and the committer share.
	mu     sync.Mutex
	queue  []*group // waiting, in the order in which they get their offsets
	spare  []byte   // a buffer for the next group
	failed error    // why the journal takes no more appends; set once
	closed bool     // Close was called
	hurry  bool     // Sync was called: do not wait for the interval to pass

	closing error // what Close returned; guarded by trimMu

	wake  chan struct{} // holds one token when the committer has something to do
	ready chan struct{} // closed when Open has recovered the log, or failed to
	done  chan struct{} // closed when the committer has ended
	// recovered is whether Open has succeeded; set before ready is closed and not changed after. When Open has
	// failed, this is nobody's writer, though a reader may still find it for a moment.
	recovered bool

	// synced is the offset below which everything is durable. Only Open and the committer change it, after
	// a sync. Readers in this process see only what lies below it.
	synced atomic.Uint64
	// ended is the offset after the last record that was written, synced or not.
	ended atomic.Uint64

	// watch guards changed, which is closed and made again whenever synced has moved and when the journal
	// has failed or was closed.
	watch   sync.Mutex
	changed chan struct{}

	// segMu guards the list of segments. The last one is active. trimMu is held during a whole RemoveBefore,
	// so that two calls do not remove the same files.
	segMu  sync.Mutex
	segs   []Segment
	trimMu sync.Mutex
	// dirMu is held during a sync of the folder and the check that no earlier one has failed. Rotation
	// and trimming both sync it. A kernel reports a failure once, so without the lock the second sync would
	// succeed after the first has failed.
	dirMu sync.Mutex

	// Only the committer uses these (and Open, before the committer starts).
	active   File
	base     Offset
	pos      int64 // where the next record goes
	size     int64 // the file's length: pos and the zeros ahead of it
	written  writtenByte
	back     [1]byte // what checkWritten reads into
	lastMark Offset
	markEnd  Offset    // where a mark of all before it ends, or 0; only for MarkGroups
	checked  time.Time // when the files were last seen in their places
	unsynced int       // records written since the last sync
	firstAt  time.Time // when the oldest of them was written
}

// Open takes the lock of the journal in dir, making the folder and the first segment if need be,
// recovers it from the caller's cursor, and returns it with a report of what recovery found.
//
// It refuses, and changes nothing in the log, with ErrLocked when another writer has it, ErrForeign when a
// segment is another journal's, ErrGap or ErrAhead when the log and the cursor do not belong together, and
// *CorruptError when acknowledged data at or after the cursor is damaged.
func Open(dir string, o Options) (*Journal, Recovery, error) {
	return OpenContext(context.Background(), dir, o)
}

// OpenContext is Open that ends with the error of ctx when ctx ends first: while it waits for the lock, or between
// two reads of the disk. It releases the lock. It may stop in the middle of recovery, as a crash may, and then the
// next Open recovers again.
func OpenContext(ctx context.Context, dir string, o Options) (*Journal, Recovery, error) {
	if err := checkIdentityLength(o.Identity); err != nil {
		return nil, Recovery{}, fmt.Errorf("open journal: %w", err)
	}
	o = o.withDefaults()
	j := &Journal{
		dir: dir, opts: o, fs: o.FS,
		wake: make(chan struct{}, 1), ready: make(chan struct{}), done: make(chan struct{}),
		changed: make(chan struct{}),
	}
	report, err := j.open(ctx)
	if err != nil {
		return nil, report, fmt.Errorf("open journal: %w", err)
	}
	go j.commitLoop()
	return j, report, nil
}

func (j *Journal) open(ctx context.Context) (report Recovery, err error) {
	if err := ctx.Err(); err != nil {
		return report, err // before anything is made
	}
	if err := makeDir(j.fs, j.dir); err != nil {
		return report, err
	}
	if err := j.checkArchive(); err != nil {
		return report, err
	}
	if j.lock, err = takeLock(ctx, j.fs, filepath.Join(j.dir, lockName), j.opts.LockWait, j.opts.LockNote); err != nil {
		return report, err
	}
	// From here on readers in this process see only what is known to be synced: nothing, until recovery has
	// synced it.
	err = register(j)
	defer func() {
		j.recovered = err == nil
		close(j.ready)
		if err != nil {
			unregister(j)
			if j.active != nil {
				j.active.Close()
			}
			j.lock.Unlock()
		}
	}()
	if err != nil {
		return report, err
	}
	var cursor Offset
	if j.opts.Cursor != nil {
		if cursor, err = j.opts.Cursor(); err != nil {
			return report, fmt.Errorf("read the cursor: %w", err)
		}
	}
	if report, err = j.recover(ctx, cursor, j.opts.reached()); err != nil {
		return report, err
	}
	j.publish(j.base + Offset(j.pos))
	j.checked = j.opts.Now()
	return report, nil
}

// Synced returns the offset below which everything is durable.
func (j *Journal) Synced() Offset { return Offset(j.synced.Load()) }

// End returns the offset after the last record that was written. At SyncInterval it may lie after
// Synced; at the other levels it does so only while a group is being written.
func (j *Journal) End() Offset { return Offset(j.ended.Load()) }

// Dir returns the folder as it was given to Open.
func (j *Journal) Dir() string { return j.dir }

// Segments returns the journal's segments, oldest first. The size of the active one is that of its
// data.
func (j *Journal) Segments() []Segment {
	j.segMu.Lock()
	defer j.segMu.Unlock()
	segs := append([]Segment(nil), j.segs...)
	last := &segs[len(segs)-1]
	last.Size = int64(j.End() - last.Base)
	return segs
}

// Err returns why the journal takes no more appends, or nil.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.refusal()
}

// refusal is Err for a caller that holds mu.
func (j *Journal) refusal() error {
	if j.failed == nil && j.closed {
		return ErrClosed
	}
	return j.failed
}

// Wait returns when everything before off is durable, when ctx ends, or when the journal fails or is
// closed before that.
func (j *Journal) Wait(ctx context.Context, off Offset) error {
	for {
		j.watch.Lock()
		changed := j.changed
		j.watch.Unlock()
		over := j.over() // asked before Synced, so that no sync comes in between
		if j.Synced() >= off {
			return nil
		}
		if over != nil {
			return over
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// over returns why nothing more will become durable, or nil while something may. Only the end of the committer decides
// that. A journal that is being closed still finishes the appends that it has accepted. And a journal that has failed in
// another goroutine, such as one that trims, may still be in the middle of a sync, whose records it acknowledges.
func (j *Journal) over() error {
	select {
	case <-j.done:
		return j.Err()
	default:
		return nil
	}
}

// Sync returns when everything that was appended before the call is durable. At SyncGroup and SyncEach that is
// at once.
func (j *Journal) Sync(ctx context.Context) error {
	end := j.End()
	j.Hurry()
	return j.Wait(ctx, end)
}

// Hurry is Sync that does not wait: at SyncInterval the next sync begins now.
func (j *Journal) Hurry() {
	j.mu.Lock()
	j.hurry = true
	j.mu.Unlock()
	j.nudge()
}

// publish shows readers what a sync has made durable.
func (j *Journal) publish(end Offset) {
	j.ended.Store(uint64(end))
	j.synced.Store(uint64(end))
	j.notify()
}

// notify wakes those who wait for a change of synced, of failed or of the end.
func (j *Journal) notify() {
	j.watch.Lock()
	close(j.changed)
	j.changed = make(chan struct{})
	j.watch.Unlock()
}

// poison ends a journal whose write or sync has failed: it accepts no more appends, and those that wait get the
// error.
//
// The state of the file is unknown from here on. Another try could succeed without writing anything, since after a
// failed sync a kernel may forget which pages were dirty. So the file is left alone: what was acknowledged is on
// disk, and the next Open finds out about the rest.
func (j *Journal) poison(cause error) error {
	err := fmt.Errorf("%w: %w", ErrFailed, cause)
	j.mu.Lock()
	if j.failed == nil {
		j.failed = err
	}
	err = j.failed
	waiting := j.queue
	j.queue = nil
	j.mu.Unlock()
	for _, g := range waiting {
		g.finish(err)
	}
	j.nudge() // the committer ends, and then wakes those who wait for the end
	return err
}

// Close waits for the appends that are under way, syncs, truncates the active segment to its data and
// releases the lock. From the moment of the call appends fail with ErrClosed. A journal that has
// failed is left as it is, and Close returns why it failed. A second Close returns what the first one did.
func (j *Journal) Close() error {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	j.nudge()
	<-j.done

	j.trimMu.Lock()
	defer j.trimMu.Unlock()
	if j.lock == nil {
		return j.closing
	}
	j.mu.Lock()
	err := j.failed
	j.mu.Unlock()
	if err == nil {
		if err = j.seal(); err != nil {
			err = j.poison(err)
		}
	}
	unregister(j)
	j.notify()
	err = errors.Join(err, j.active.Close(), j.lock.Unlock())
	j.lock = nil
	if err != nil {
		j.closing = fmt.Errorf("close journal: %w", err)
	}
	return j.closing
}

// syncDir makes the names in the journal's folder durable. A failure poisons the journal.
func (j *Journal) syncDir() error {
	j.dirMu.Lock()
	defer j.dirMu.Unlock()
	j.mu.Lock()
	err := j.failed
	j.mu.Unlock()
	if err != nil {
		return err
	}
	if err := syncFolder(j.fs, j.dir); err != nil {
		return j.poison(fmt.Errorf("sync the journal's folder: %w", err))
	}
	return nil
}

// seal truncates the active segment to its data, so that everybody sees the end of the file as the end of the log.
func (j *Journal) seal() error {
	if err := j.checkWritten(); err != nil {
		return err
	}
	if end := j.base + Offset(j.pos); j.opts.MarkGroups && j.unsynced == 0 && j.Synced() == end && end > j.markEnd && j.pos > 0 {
		// If this mark is torn by a crash, nothing is lost: it is no record of the caller's.
		var mark [segment.MarkSize]byte
		segment.PutMark(mark[:], uint64(end), uint64(end))
		if err := j.put(mark[:]); err != nil {
			return err
		}
		j.markEnd = j.base + Offset(j.pos)
		if err := j.active.Sync(); err != nil {
			return fmt.Errorf("sync %s: %w", segmentName(j.base), err)
		}
		j.publish(j.markEnd)
	}
	if j.size > j.pos {
		if err := j.active.Truncate(j.pos); err != nil {
			return fmt.Errorf("truncate %s: %w", segmentName(j.base), err)
		}
		j.size = j.pos
	} else if j.unsynced == 0 {
		return nil
	}
	if err := j.active.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", segmentName(j.base), err)
	}
	return nil
}
