package wal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
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
	failed error    // what poisoned the journal; set once
	closed bool     // Close was called
	hurry  bool     // Sync was called: do not wait for the interval to pass

	closing error // what Close returned; guarded by trimMu

	wake  chan struct{} // holds one token when the committer has something to look at
	ready chan struct{} // closed when Open has recovered the log, or failed to
	done  chan struct{} // closed when the committer has ended
	// recovered is whether Open has succeeded; set before ready is closed and not changed after. One that
	// has failed is nobody's writer, though it may be found for a moment still.
	recovered bool

	// synced is the offset below which everything is durable. Only Open and the committer move it, after
	// a sync; records are shown to readers in this process only below it.
	synced atomic.Uint64
	// ended is the offset behind the last record that was written, synced or not.
	ended atomic.Uint64

	// watch guards changed, which is closed and made anew whenever synced has moved and when the journal
	// has failed or was closed.
	watch   sync.Mutex
	changed chan struct{}

	// segMu guards the list of segments. The last one is active. trimMu is held over a whole trimming,
	// so that two do not remove the same files.
	segMu  sync.Mutex
	segs   []Segment
	trimMu sync.Mutex
	// dirMu is held over a sync of the folder and the look at whether an earlier one has failed. Both
	// rotation and trimming sync it, a kernel tells of a failure once, and the second to ask would be told
	// that all is well.
	dirMu sync.Mutex

	// The committer's own (and Open's, before it starts).
	active   File
	base     Offset
	pos      int64 // where the next record goes
	size     int64 // the file's length: pos and the zeros ahead of it
	written  writtenByte
	back     [1]byte // what intact reads into
	lastMark Offset
	looked   time.Time // when the files were last seen in their places
	unsynced int       // records written since the last sync
	firstAt  time.Time // when the oldest of them was written
}

// Open takes the lock of the journal in dir, making the folder and the first segment if need be,
// recovers it from the caller's cursor, and returns it with a report of what recovery found.
//
// It refuses, and changes nothing in the log, with ErrLocked when another writer has it, ErrForeign when a
// segment is another journal's, ErrGap or ErrAhead when the log and the cursor do not belong together, and
// *CorruptError when acknowledged data is hurt at or above the cursor.
func Open(dir string, o Options) (*Journal, Recovery, error) {
	return OpenContext(context.Background(), dir, o)
}

// OpenContext is Open that ends with the error of ctx when ctx ends first: while it waits for the lock, or between
// two reads of the disk. The lock is given back. Recovery may have been under way; it is stopped where a crash may
// stop it too, and the next Open does it again.
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
	// From here on readers in this process are shown only what is known to be synced: nothing, until
	// recovery has seen to it.
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
	var reached Offset
	if j.opts.Reached != nil {
		reached = j.opts.Reached()
	}
	if report, err = j.recover(ctx, cursor, reached); err != nil {
		return report, err
	}
	j.publish(j.base + Offset(j.pos))
	j.looked = j.opts.Now()
	return report, nil
}

// takeLock tries for a while, since readers hold the lock for the moment in which they look at it.
func takeLock(ctx context.Context, fsys FS, name string, wait time.Duration, note string) (Lock, error) {
	const pause = 5 * time.Millisecond
	owner := strconv.Itoa(os.Getpid()) + "\n"
	if note != "" {
		owner += note + "\n"
	}
	for start := time.Now(); ; {
		l, err := fsys.Lock(name, owner)
		if !errors.Is(err, ErrLocked) {
			return l, err
		}
		if time.Since(start) >= wait {
			return nil, &LockedError{Path: name, PID: lockOwner(fsys, name).PID}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s: %w", name, ctx.Err())
		}
	}
}

// Owner is who holds a journal's lock, as far as the file tells.
type Owner struct {
	PID  int    // 0 when it is not known
	Note string // its Options.LockNote
}

func lockOwner(fsys FS, name string) (o Owner) {
	f, err := fsys.Open(name)
	if err != nil {
		return o
	}
	defer f.Close()
	b := make([]byte, 24+maxLockNote)
	n, _ := f.ReadAt(b, 0)
	pid, note, _ := strings.Cut(string(b[:n]), "\n")
	o.PID, _ = strconv.Atoi(strings.TrimSpace(pid))
	o.Note = strings.TrimSuffix(note, "\n")
	return o
}

// Holder reports whether a writer has the journal in dir open, and who that is.
func Holder(dir string, o Options) (held bool, owner Owner, err error) {
	o = o.withDefaults()
	name := filepath.Join(dir, lockName)
	held, err = o.FS.Locked(name)
	if err != nil {
		return false, owner, fmt.Errorf("look at the lock: %w", err)
	}
	if held {
		owner = lockOwner(o.FS, name)
	}
	return held, owner, nil
}

// Synced returns the offset below which everything is durable.
func (j *Journal) Synced() Offset { return Offset(j.synced.Load()) }

// End returns the offset behind the last record that was written. At SyncInterval it may lie above
// Synced, at the other levels only while a group is on its way.
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

// refusal is Err for those who hold mu.
func (j *Journal) refusal() error {
	if j.failed == nil && j.closed {
		return ErrClosed
	}
	return j.failed
}

// Wait returns when everything below off is durable, when ctx ends, or when the journal fails or is
// closed before that.
func (j *Journal) Wait(ctx context.Context, off Offset) error {
	for {
		j.watch.Lock()
		changed := j.changed
		j.watch.Unlock()
		over := j.over() // asked before synced is looked at, so that nothing comes in between
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

// over returns why nothing will become durable any more, or nil while something may: a journal that is being
// closed still finishes what it had taken.
func (j *Journal) over() error {
	select {
	case <-j.done:
		return j.Err()
	default:
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed
}

// Sync returns when everything that was appended before it is durable; at the levels that acknowledge
// only what is, that is at once.
func (j *Journal) Sync(ctx context.Context) error {
	end := j.End()
	j.Hurry()
	return j.Wait(ctx, end)
}

// Hurry is Sync without the waiting: at SyncInterval the next sync begins now.
func (j *Journal) Hurry() {
	j.mu.Lock()
	j.hurry = true
	j.mu.Unlock()
	j.nudge()
}

// publish shows what a sync has made durable.
func (j *Journal) publish(end Offset) {
	j.ended.Store(uint64(end))
	j.synced.Store(uint64(end))
	j.tell()
}

func (j *Journal) tell() {
	j.watch.Lock()
	close(j.changed)
	j.changed = make(chan struct{})
	j.watch.Unlock()
}

// poison is what a failed write or sync does: nothing is taken any more, and all who wait are told.
//
// The state of the file is unknown from here on, and trying again could succeed without writing
// anything (after a failed sync a kernel may forget which pages were dirty), so nothing more is done
// with it: what is acknowledged is on disk, and the next Open finds out about the rest.
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
	j.tell()
	return err
}

// Close waits for the appends that are under way, syncs, truncates the active segment to its data and
// gives the lock back. Appends fail with ErrClosed from the moment it is called. A journal that has
// failed is left as it is; Close then returns why. Closing again returns what the first call did.
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
	j.tell()
	err = errors.Join(err, j.active.Close(), j.lock.Unlock())
	j.lock = nil
	if err != nil {
		j.closing = fmt.Errorf("close journal: %w", err)
	}
	return j.closing
}

// syncDir makes the names in the journal's folder durable. A failure poisons, whoever asked.
func (j *Journal) syncDir() error {
	j.dirMu.Lock()
	defer j.dirMu.Unlock()
	j.mu.Lock()
	err := j.failed
	j.mu.Unlock()
	if err != nil {
		return err
	}
	if err := j.fs.SyncDir(j.dir); err != nil {
		return j.poison(fmt.Errorf("sync the journal's folder: %w", err))
	}
	return nil
}

// seal cuts the active segment to its data, so that its end is the log's end to whoever sees the file.
func (j *Journal) seal() error {
	if err := j.intact(); err != nil {
		return err
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

// makeDir makes a folder and those above it, each open to its owner alone and synced in its parent. One
// that is there stays as it is.
func makeDir(fsys FS, dir string) error {
	err := fsys.Mkdir(dir)
	switch {
	case errors.Is(err, os.ErrExist):
		return nil
	case errors.Is(err, os.ErrNotExist):
		up := parents(dir)
		if len(up) == 0 {
			return err
		}
		if err := makeDir(fsys, up[0]); err != nil {
			return err
		}
		if err := fsys.Mkdir(dir); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	case err != nil:
		return err
	}
	return syncFolder(fsys, filepath.Dir(filepath.Clean(dir)))
}

// syncFolder makes durable which names a folder holds. When that fails it changes the folder once more: the
// names are read back from then on as if all were well, whoever tries next will rely on a sync of his own, and
// one of a folder that has not changed since may write nothing.
func syncFolder(fsys FS, dir string) error {
	err := fsys.SyncDir(dir)
	if err != nil {
		name := filepath.Join(dir, ".unsynced")
		if f, err := fsys.Create(name); err == nil {
			f.Close()
		}
		fsys.Remove(name)
	}
	return err
}

// writers are the journals that this process has open.
var writers = struct {
	sync.RWMutex
	open map[writerKey]*Journal
	// version moves with every change, so that a reader may keep what it found.
	version atomic.Uint64
}{open: map[writerKey]*Journal{}}

type writerKey struct {
	fs  FS
	dir string
}

func register(j *Journal) error {
	dir, err := j.fs.Canonical(j.dir)
	if err != nil {
		return err
	}
	writers.Lock()
	defer writers.Unlock()
	writers.open[writerKey{j.fs, dir}] = j
	writers.version.Add(1)
	return nil
}

func unregister(j *Journal) {
	writers.Lock()
	defer writers.Unlock()
	for key, open := range writers.open {
		if open == j {
			delete(writers.open, key)
			writers.version.Add(1)
		}
	}
}

// syncedIn returns up to where the journal that this process has open in dir, if any, has synced. One that
// is being opened is waited for.
func syncedIn(ctx context.Context, fsys FS, dir string) (synced Offset, open bool, err error) {
	canonical, err := fsys.Canonical(dir)
	if err != nil {
		return 0, false, err
	}
	w := writerOf(fsys, canonical)
	if w == nil {
		return 0, false, nil
	}
	select {
	case <-w.ready:
	case <-ctx.Done():
		return 0, false, ctx.Err()
	}
	return w.Synced(), w.recovered, nil
}

// writerOf returns the journal that this process has open in dir, or nil.
func writerOf(fsys FS, canonical string) *Journal {
	writers.RLock()
	defer writers.RUnlock()
	return writers.open[writerKey{fsys, canonical}]
}
