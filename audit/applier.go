package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditsql/auditsql/internal/backlog"
	"github.com/auditsql/auditsql/internal/idfilter"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

// applier takes durable records from a source, in order, and commits them to SQLite, many in one
// transaction together with the offset after them. A record gets into SQLite no other way, in a running
// store as in a replay.
type applier struct {
	source  source
	journal *wal.Journal // that it trims; nil when the records come from elsewhere
	sql     *sqlstore.DB
	backlog *backlog.Backlog
	ids     *idfilter.Filter // nil during a replay: it is filled from SQLite afterwards
	log     *slog.Logger
	metrics Metrics
	keep    storedir.Retention
	limits  limits
	dir     string
	now     func() time.Time

	// busy is held while a batch is applied, during a checkpoint, and by a call that needs SQLite's writer for itself.
	busy mutex

	applied atomic.Uint64 // the offset up to which SQLite has everything
	records atomic.Uint64 // how many records SQLite has; set from start on
	// durable is what applied was at the last complete checkpoint: SQLite is known to have everything before it on disk. It
	// is 0 when nothing is known, and only written with busy held. A power cut can still undo what was applied after it.
	// Trimming goes only as far as last.Before.
	durable  atomic.Uint64
	unsynced int64 // bytes of records applied since the last checkpoint; guarded by busy
	// How long the last batch took, and how much of that time was spent in yield. Only the goroutine of work uses them.
	took, yielded time.Duration
	// waiting counts the calls that wait for what is not applied yet.
	waiting atomic.Int32
	// copying delivers, once, the outcome of the checkpoint that runs beside the applier. nil: none runs. Guarded by busy.
	copying chan error

	// mu guards changed and err. changed is closed and replaced when applied has moved or err was set.
	mu      sync.Mutex
	changed chan struct{}
	err     error

	// file is what store.json says, with the changes that the next write of it will make. From start to halt only the
	// applier uses it.
	file storedir.File
	// last is the newest complete checkpoint, as it is noted in store.json. It is nil when no checkpoint counts, as after
	// an opening that found SQLite suspect, until the next complete one. Guarded by busy.
	last *storedir.Reached
	// filesChecked is when SQLite's files were last found in their places. Guarded by busy.
	filesChecked time.Time

	// held counts the backups that need the whole journal: it is not trimmed meanwhile.
	held atomic.Int64
	// passed, if set, is called after each batch, when SQLite and the filter have it.
	passed func(applied wal.Offset)

	replaying bool
	// toldReplay, if set, is called during a replay after each batch with the offset up to which SQLite has everything.
	toldReplay func(applied wal.Offset)

	// closing ends when Close begins: from then on the applier waits for other processes only a limited time.
	closing context.Context

	stop context.CancelFunc
	done chan struct{}

	replayed, rejected int
}

const (
	// A batch is committed when it is this large, or when the journal has no more.
	batchRecords = 26_000
	batchBytes   = 24 << 20
	// The segments of a batch stay open until it is applied. A journal may have segments of one record each.
	batchSegments = 32
	// gather is the least time from the beginning of a batch to that of the next one, unless the next one is full. A transaction writes
	// each page that it touches, so small transactions cost much more per record: with 20 ms a process that puts 1,000 records a second
	// took a third more processor time. A record that comes after a pause is applied at once. Others are seen up to this much later by
	// other processes, and by questions that take what is applied. A call in this process that waits for a record, Close, and a put that
	// waits for room in the backlog end the rest.
	gather = 100 * time.Millisecond
	// checkpointEvery is how many bytes of records are applied between checkpoints. SQLite writes four to
	// five times as much into its -wal.
	checkpointEvery = 48 << 20
	// checkpointLatest is after how many bytes a checkpoint is started even though many puts are under way.
	checkpointLatest = 256 << 20
	// idle is how long no record must have come before a checkpoint is made although fewer bytes than checkpointEvery were
	// applied.
	idle = 2 * time.Second
	// checkFilesEvery is how often the applier checks that SQLite's files are still there.
	checkFilesEvery = time.Second
	// busyPause is the pause between two tries while another process has SQLite's write lock, or blocks a checkpoint.
	busyPause = 50 * time.Millisecond
)

// batch is what one transaction will hold.
type batch struct {
	rows []sqlstore.Record
	// If the payloads of rows are read from the journal again when SQLite gets them: from where, their sizes, how many segments had
	// been read from before the batch, and how many its records lie in.
	journal           *wal.Payloads
	sizes             []int32
	entered, segments int
	rejected          []sqlstore.Rejected
	bytes             int64
	began             time.Time
	hurried           bool       // a call waits for it
	cursor            wal.Offset // up to which SQLite has everything once the batch is applied
	// What becomes of each of rows, nil if nobody asks. It belongs to the applier until SQLite has the batch.
	outcomes []Outcome
	// What was said before to become of each of rows, nil if nothing was.
	want []Outcome
}

// again notes what became of a row whose id was there already.
func (b *batch) again(row int, other bool) {
	b.outcomes[row] = Duplicate
	if other {
		b.outcomes[row] = Conflict
	}
}

// asForeseen compares what has become of the rows with what was said before.
func (b *batch) asForeseen() error {
	if b.want == nil {
		return nil
	}
	for i, want := range b.want {
		if b.outcomes[i] != want {
			return fmt.Errorf("%w: message %d was found to be %s, and SQLite takes it as %s: run verify", ErrDamaged, b.rows[i].Offset, want, b.outcomes[i])
		}
	}
	return nil
}

// payload appends the payload of a row. It reads it from the journal, a second time. A batch does not keep the payloads: under load
// two batches of them were a quarter of the memory of a writer.
//
// The bytes must have the leaf hash of those from which the row was made. Otherwise SQLite would get a row and a record that differ,
// and the tree a leaf of which there is no record.
//
// They come from the files that were open when the records were read first. So somebody who takes a segment away meanwhile does not take
// from SQLite what it lacks.
func (b *batch) payload(row int, into []byte) ([]byte, error) {
	r := &b.rows[row]
	longer, err := b.journal.Append(into, wal.Offset(r.Offset), int(b.sizes[row]))
	if err != nil {
		return into, err
	}
	if tree.LeafHash(longer[len(into):]) != r.Leaf {
		return into, fmt.Errorf("%w: the journal was read twice at offset %d, and has given other bytes of record %s the second time; nothing more is applied: check the memory and the disk of this machine, then run verify",
			ErrDamaged, r.Offset, Hash(r.QueryID))
	}
	return longer, nil
}

func (b *batch) len() int { return len(b.rows) + len(b.rejected) }

func (b *batch) full() bool {
	return b.len() >= batchRecords || b.bytes >= batchBytes || b.segments >= batchSegments
}

// apply commits a batch and wakes the calls that wait for it.
func (a *applier) apply(ctx context.Context, b *batch) error {
	a.busy.Lock()
	defer a.busy.Unlock()
	cursor := uint64(b.cursor)
	start := time.Now()
	if start.Sub(a.filesChecked) >= checkFilesEvery {
		a.filesChecked = start
		if err := a.sql.CheckFiles(); err != nil {
			return err
		}
	}
	if err := a.boundWAL(ctx); err != nil {
		return err
	}
	a.yielded = 0
	rows := &sqlstore.Batch{Records: b.rows, Rejected: b.rejected, Cursor: cursor, Yield: a.yield}
	var unread error // why the journal did not give a payload again
	if b.journal != nil {
		rows.Payload = func(row int, into []byte) (_ []byte, err error) {
			into, err = b.payload(row, into)
			unread = cmp.Or(unread, err)
			return into, err
		}
	}
	if b.outcomes != nil {
		rows.Again = b.again
	}
	done, err := a.sql.Apply(ctx, rows)
	for errors.Is(err, sqlstore.ErrBusy) && ctx.Err() == nil {
		if a.closing.Err() != nil {
			return &heldUpError{"somebody else holds SQLite's write lock"}
		}
		a.log.Warn("somebody else is writing to SQLite; trying again", "error", err)
		select {
		case <-time.After(busyPause):
		case <-ctx.Done():
		}
		done, err = a.sql.Apply(ctx, rows)
	}
	if unread != nil {
		return unread // SQLite has not failed, and has rolled back
	}
	if err != nil {
		if ctx.Err() == nil {
			a.sql.Fail(err)
		}
		return fmt.Errorf("apply to SQLite: %w", err)
	}
	if err := b.asForeseen(); err != nil {
		a.sql.Fail(err)
		return err
	}
	if b.journal != nil {
		if err := b.journal.Release(b.cursor); err != nil {
			a.log.Warn("a segment that was read from could not be closed", "error", err)
		}
	}
	// The filter gets the ids before the backlog loses them. So at each instant one of the two knows a record that exists.
	if !a.replaying {
		ids := make([][32]byte, len(b.rows))
		for i := range b.rows {
			ids[i] = b.rows[i].QueryID
		}
		a.ids.Add(ids...)
	}
	a.took = time.Since(start)
	a.replayed += done.Inserted
	a.rejected += done.Rejected
	if done.Rejected > 0 {
		a.log.Error("journal records were rejected; see verify", "records", done.Rejected, "before_offset", cursor)
	}
	a.unsynced += b.bytes
	a.backlog.Advance(b.cursor, a.took)  // before anybody is woken: a waiting call must not find it in the backlog
	a.records.Add(uint64(done.Inserted)) // before anybody is woken as well
	a.applied.Store(cursor)
	if a.passed != nil {
		a.passed(b.cursor)
	}
	a.wake(nil)
	if a.replaying && a.toldReplay != nil {
		a.toldReplay(b.cursor)
	}
	if a.metrics.Applied != nil {
		a.metrics.Applied(a.took, b.len(), time.Since(b.began))
	}
	if a.metrics.Backlog != nil {
		a.metrics.Backlog(a.backlog.Load())
	}
	return a.checkpointIfDue(ctx)
}

// yield lets other goroutines have the processor. It is called after each half millisecond of applying.
func (a *applier) yield() {
	began := time.Now()
	runtime.Gosched()
	a.yielded += time.Since(began)
}

// makeWay lets puts go first while processors are scarce. They are scarce if the last batch spent much of its time in
// yield. Puts that wait for a slow disk would gain nothing from a pause here.
//
// It is called between transactions. A pause within one would also hold up another writer of SQLite, a label perhaps.
func (a *applier) makeWay(ctx context.Context) {
	if a.yielded >= a.took/8 {
		a.backlog.MakeWay(ctx, a.took, func() bool { return a.waiting.Load() > 0 })
	}
}

// heldUpError says what another process did to keep a store that is being closed from bringing everything to SQLite.
// Nothing is lost: the journal has the rest.
type heldUpError struct{ why string }

func (e *heldUpError) Error() string { return e.why }

// replay applies all that the source has now.
func (a *applier) replay(ctx context.Context) error {
	a.replaying = true
	defer func() { a.replaying = false }()
	return a.work(ctx, true)
}

// start runs the applier until halt, or until it fails.
func (a *applier) start() {
	ctx, cancel := context.WithCancel(context.Background())
	a.stop, a.done = cancel, make(chan struct{})
	go func() {
		defer close(a.done)
		err := a.work(ctx, false)
		var heldUp *heldUpError
		switch {
		case ctx.Err() != nil:
		case errors.As(err, &heldUp):
			// Blocked puts fail: nothing more will be applied.
			err = fmt.Errorf("%w: %w", ErrClosed, err)
			a.wake(err)
			a.backlog.Fail(err)
		default:
			a.log.Error("the applier has stopped", "error", err)
			if !errors.Is(err, wal.ErrFailed) {
				err = a.failed(err)
			}
			a.wake(err)
			a.backlog.Fail(err)
			a.noteFailure() // last: no call should wait for a disk that fails
		}
	}()
}

// failedError is wal.ErrFailed for a store whose applier has stopped.
type failedError struct {
	cause  error
	advice string // what to do, or ""
}

func (e *failedError) Error() string {
	return "the store takes no more records: " + e.cause.Error() + e.advice
}

// failed says that the applier stops because of err. Only if writing SQLite has failed, nothing else, is it said that another start helps.
// This process may have the last descriptor of a file that was deleted. And what the journal does not have as it was put would be taken for
// good by the next one.
func (a *applier) failed(err error) error {
	switch {
	case errors.Is(err, sqlstore.ErrMoved):
		pid := os.Getpid()
		return &failedError{err, fmt.Sprintf("; process %d still has the file open: save it (Linux has it in /proc/%d/fd) before you end the process that writes the store, and start it again",
			pid, pid)}
	case a.sql.Failed() != nil && !errors.Is(err, ErrDamaged):
		return &failedError{err, "; what was acknowledged is safe: end the process that writes the store, and start it again"}
	}
	return &failedError{cause: err}
}

// Unwrap makes it a wal.ErrFailed.
func (e *failedError) Unwrap() []error { return []error{wal.ErrFailed, e.cause} }

// halt stops the applier and waits for its end.
func (a *applier) halt() {
	a.stop()
	<-a.done
	a.busy.Lock()
	defer a.busy.Unlock()
	if err := a.awaitCopying(); err != nil && !errors.Is(err, context.Canceled) {
		a.wake(err)
	}
}

// work applies batch after batch. The next one is read and parsed meanwhile. It ends with an error:
// ctx's, or why nothing more can be applied. With toEnd it also ends, without an error, at the end of the source.
//
// While no records come it checkpoints what was applied last, so that a quiet store is on disk and its journal
// can be trimmed.
func (a *applier) work(ctx context.Context, toEnd bool) error {
	reading, stop := context.WithCancel(ctx)
	batches := make(chan *batch)
	var ended error // why there are no more batches; set before the channel is closed
	var feeding sync.WaitGroup
	feeding.Go(func() {
		defer close(batches)
		ended = a.source.feed(reading, batches, toEnd)
	})
	defer feeding.Wait()
	defer stop()
	quiet := time.NewTimer(idle)
	defer quiet.Stop()
	for {
		a.makeWay(ctx)
		select {
		case b, more := <-batches:
			// When the source has failed the feed ends, after it has handed over all that was synced.
			if !more {
				return ended
			}
			if err := a.apply(ctx, b); err != nil {
				return err
			}
		case <-quiet.C:
			if err := a.checkpointRest(ctx); err != nil {
				return err
			}
		}
		quiet.Reset(idle)
	}
}
