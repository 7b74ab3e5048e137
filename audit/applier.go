package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// applier takes synced records from the journal, in order, and gives them to SQLite, many in one
// transaction together with the offset behind them. It is how a record gets into SQLite, in a running
// store and in a replay alike.
type applier struct {
	journal *wal.Journal
	reader  *wal.Reader
	sql     *sqlstore.DB
	pending *pending
	seen    *seen
	own     wal.Offset // where what this opening appends begins
	log     *slog.Logger
	metrics Metrics
	keep    Retention
	limit   int64 // walLimit
	dir     string
	now     func() time.Time

	// busy is held over a batch, a checkpoint, and by whoever must have SQLite's writer alone.
	busy sync.Mutex

	applied atomic.Uint64 // the offset up to which SQLite has everything
	// durable is the offset up to which SQLite has everything on disk, as far as is known; 0 is nothing. The
	// journal may be trimmed up to here and no further: what is applied can still vanish in a power cut.
	durable  atomic.Uint64
	unsynced int64 // bytes of records applied since the last checkpoint; guarded by busy
	// How long the last batch took, and how much of that it was in yield; the working goroutine's own.
	took, yielded time.Duration
	// waiting counts those who wait for what is not applied yet.
	waiting atomic.Int32
	// checkpointed is applied as of the last complete checkpoint; only written with busy held.
	checkpointed atomic.Uint64
	// copying is a checkpoint that runs beside the applier; its outcome comes once. nil: none. Guarded by busy.
	copying chan error

	// mu guards changed, which is closed and made anew when applied has moved or err was set, and err.
	mu      sync.Mutex
	changed chan struct{}
	err     error

	// file is store.json as it was written last. The applier's own from start to halt.
	file storeFile
	// last is the newest complete checkpoint, as it is noted in store.json; nil when none counts, since SQLite was in
	// doubt and none has come since. Guarded by busy.
	last *reached
	// looked is when SQLite's files were last seen in their places; guarded by busy.
	looked time.Time

	// held counts who needs the journal to keep what SQLite has on disk: backups.
	held atomic.Int64
	// replaying: the filter is filled from SQLite afterwards.
	replaying bool

	// closing ends when the store is about to be closed: from then on others are waited for with patience only.
	closing context.Context

	hurry chan struct{} // holds one token when somebody waits for what is not applied yet
	stop  context.CancelFunc
	done  chan struct{}

	replayed, rejected int
}

const (
	// A batch is committed when it holds this much, or when the journal has no more.
	batchRecords = 20_000
	batchBytes   = 32 << 20
	// gather is how long a batch that is smaller than batchRecords is left open for what comes next:
	// each transaction writes the pages it touches once more, so small ones cost much more a record. It is
	// how far other processes may lag behind on an idle machine; whoever waits in this one ends it.
	gather = 5 * time.Millisecond
	// checkpointEvery is how many bytes of records are applied between checkpoints. SQLite writes four to
	// five times as much into its -wal.
	checkpointEvery = 24 << 20
	// checkpointLatest is when one is begun although many are writing.
	checkpointLatest = 256 << 20
	// idle is how long nothing must have come for a checkpoint to be made of what there is.
	idle = 2 * time.Second
	// walLimit is the size of SQLite's -wal at which the applier waits for the reader that keeps it from being
	// emptied. Until then such a reader costs disk, from then on the backlog fills and puts wait.
	walLimit = 4 << 30
	// lookEvery is how often the applier makes sure that SQLite's files are still there.
	lookEvery = time.Second
	// busyPause is how long to wait when somebody else, a shell perhaps, has SQLite's write lock.
	busyPause = 50 * time.Millisecond
	// busyTries is how many such pauses an opening or a closing store waits for a reader of another process.
	busyTries = 40
)

// batch is what one transaction will hold.
type batch struct {
	rows     []sqlstore.Record
	rejected []sqlstore.Rejected
	bytes    int64
	began    time.Time
	cursor   wal.Offset // behind its last record, and what is the journal's own behind that
}

func (b *batch) len() int { return len(b.rows) + len(b.rejected) }

func (b *batch) full() bool { return b.len() >= batchRecords || b.bytes >= batchBytes }

// read adds what the journal has to a batch, until the batch is full or the journal has no more for now.
func (a *applier) read(ctx context.Context, b *batch) error {
	for !b.full() {
		rec, err := a.reader.Next(ctx)
		if errors.Is(err, io.EOF) {
			// Behind the last record there may be a mark, or a filler. Nobody would ever step over it, and the store
			// never be caught up.
			b.cursor = a.reader.Offset()
			if b.began.IsZero() {
				b.began = time.Now()
			}
			return nil
		}
		if err != nil {
			return err
		}
		if b.len() == 0 {
			b.began = time.Now()
		}
		b.bytes += int64(len(rec.Payload))
		b.cursor = rec.Next
		// What this opening has appended is canonical: it was encoded here.
		take := rowOf
		if rec.Offset >= a.own {
			take = rowOfOwn
		}
		row, err := take(rec.Payload)
		if err != nil {
			b.rejected = append(b.rejected, sqlstore.Rejected{
				Offset: uint64(rec.Offset), Reason: err.Error(), Payload: rec.Payload,
			})
			continue
		}
		row.Offset = uint64(rec.Offset)
		b.rows = append(b.rows, row)
	}
	return nil
}

// apply commits a batch and tells those who wait. cursor is the offset behind its last record.
func (a *applier) apply(ctx context.Context, b *batch) error {
	a.busy.Lock()
	defer a.busy.Unlock()
	cursor := uint64(b.cursor)
	start := time.Now()
	if start.Sub(a.looked) >= lookEvery {
		a.looked = start
		if err := a.sql.CheckFiles(); err != nil {
			return err
		}
	}
	if err := a.boundWAL(ctx); err != nil {
		return err
	}
	a.yielded = 0
	rows := &sqlstore.Batch{Records: b.rows, Rejected: b.rejected, Cursor: cursor, Yield: a.yield}
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
	if err != nil {
		if ctx.Err() == nil {
			a.sql.Fail(err)
		}
		return fmt.Errorf("apply to SQLite: %w", err)
	}
	// The filter knows the ids before pending forgets them, so that at no instant both are silent about a
	// record that exists.
	if !a.replaying {
		ids := make([]QueryID, len(b.rows))
		for i := range b.rows {
			ids[i] = b.rows[i].QueryID
		}
		a.seen.add(ids...)
	}
	a.took = time.Since(start)
	a.replayed += done.Inserted
	a.rejected += done.Rejected
	if done.Rejected > 0 {
		a.log.Error("journal records were rejected; see verify", "records", done.Rejected, "before_offset", cursor)
	}
	a.unsynced += b.bytes
	a.pending.advance(b.cursor, a.took) // before those who wait find that it is applied: it counts as backlog no more
	a.applied.Store(cursor)
	a.tell(nil)
	if a.metrics.Applied != nil {
		a.metrics.Applied(a.took, b.len(), time.Since(b.began))
	}
	if a.metrics.Backlog != nil {
		a.metrics.Backlog(a.pending.load())
	}
	return a.relieve(ctx)
}

// relieve begins a checkpoint when enough was applied for one, and ends it when most of it is done.
//
// Copying the pages takes a sixth of what applying them does, and waits for the disk: that is done beside the
// applier, and what has come meanwhile, which is little, in its turn. Only the latter says what is on disk. While
// many write, it waits: its syncs and theirs would share the disk.
func (a *applier) relieve(ctx context.Context) error {
	if a.unsynced < checkpointEvery {
		return nil
	}
	if a.copying == nil {
		if a.unsynced < checkpointLatest && a.pending.crowd() {
			return nil
		}
		outcome := make(chan error, 1)
		a.copying = outcome
		go func() { outcome <- a.sql.CheckpointBeside(ctx) }()
		return nil
	}
	if len(a.copying) == 0 && a.unsynced < 2*checkpointLatest {
		return nil
	}
	return a.checkpoint(ctx, false)
}

// awaitCopying waits for the checkpoint beside the applier, if there is one. The caller holds busy.
func (a *applier) awaitCopying() error {
	if a.copying == nil {
		return nil
	}
	err := <-a.copying
	a.copying = nil
	return err
}

// yield lets whoever waits for a processor have it. It is called after each half millisecond of applying.
func (a *applier) yield() {
	began := time.Now()
	runtime.Gosched()
	a.yielded += time.Since(began)
}

// makeWay lets writers go first, for as long as the backlog has room for what they bring: records in SQLite a little
// later are the smaller evil than puts that wait. It does so while many are writing and processors are what they
// lack, which shows in how long the last batch waited in yield; where they wait for a slow disk there is no reason
// to. The applier then works a seventeenth of the time, and more when the backlog fills up, until it only stands in
// line when that is nearly full. (Measured with 64 writers on two processors: 51,000 puts a second without this.)
//
// It is called between transactions: inside one, whoever else writes to SQLite, a label perhaps, would wait too. It
// ends when somebody waits for what is not applied.
func (a *applier) makeWay(ctx context.Context) {
	const share, step = 16, 5 * time.Millisecond
	if a.yielded < a.took/8 {
		return
	}
	for began := time.Now(); a.pending.crowd() && a.waiting.Load() == 0 && ctx.Err() == nil; time.Sleep(step) {
		// All of it up to two thirds of the way.
		free := min(1, 3*(1-a.pending.fill()/nearlyFull))
		if time.Since(began) >= time.Duration(share*free*float64(a.took)) {
			return
		}
	}
}

// heldUpError says who of another process kept a store that is being closed from bringing everything to SQLite. The
// journal has it.
type heldUpError struct{ why string }

func (e *heldUpError) Error() string { return e.why }

// boundWAL waits, while SQLite's -wal is at its limit, for a checkpoint to get through. A store that is being closed
// waits for a moment only: the reader may be a shell that somebody has left open.
func (a *applier) boundWAL(ctx context.Context) error {
	for told, tries := false, 0; a.sql.WALBytes() > a.limit; {
		if err := a.awaitCopying(); err != nil {
			return fmt.Errorf("checkpoint SQLite: %w", err)
		}
		done, err := a.sql.Checkpoint(ctx, false)
		if err != nil {
			return fmt.Errorf("checkpoint SQLite: %w", err)
		}
		if done.Complete {
			return nil
		}
		if !told {
			a.log.Error("SQLite's -wal is at its limit, since somebody reads in one long transaction; waiting for the end of it", "wal_bytes", done.WALBytes)
			told = true
		}
		if a.closing.Err() != nil {
			if tries++; tries > busyTries {
				return &heldUpError{"a reader of SQLite keeps its -wal at its limit"}
			}
		}
		select {
		case <-time.After(busyPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// replay applies all that the journal holds now.
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
			// Puts that wait for room get none any more.
			err = fmt.Errorf("%w: %w", ErrClosed, err)
			a.tell(err)
			a.pending.fail(err)
		default:
			a.log.Error("the applier has stopped", "error", err)
			if !errors.Is(err, wal.ErrFailed) {
				err = &failedError{err}
			}
			a.tell(err)
			a.pending.fail(err)
			a.noteFailure() // last: nobody should wait for a disk that fails
		}
	}()
}

// failedError is wal.ErrFailed for a store whose journal is well and whose SQLite side is not.
type failedError struct{ cause error }

func (e *failedError) Error() string   { return "the store takes no more records: " + e.cause.Error() }
func (e *failedError) Unwrap() []error { return []error{wal.ErrFailed, e.cause} }

func (a *applier) halt() {
	a.stop()
	<-a.done
	a.busy.Lock()
	defer a.busy.Unlock()
	if err := a.awaitCopying(); err != nil && !errors.Is(err, context.Canceled) {
		a.tell(err)
	}
}

// work applies batch after batch, while the next one is being read and taken apart. It ends with an error:
// ctx's, or why nothing more can be applied; with toEnd also, without one, at the end of the journal.
//
// While nothing comes it checkpoints what was applied last, so that a quiet store is on disk and its journal
// can be trimmed.
func (a *applier) work(ctx context.Context, toEnd bool) error {
	reading, stop := context.WithCancel(ctx)
	batches := make(chan *batch)
	var ended error // why there are no more batches; set before the channel is closed
	var feeding sync.WaitGroup
	feeding.Go(func() {
		defer close(batches)
		ended = a.feed(reading, batches, toEnd)
	})
	defer feeding.Wait()
	defer stop()
	quiet := time.NewTimer(idle)
	defer quiet.Stop()
	for {
		a.makeWay(ctx)
		select {
		case b, more := <-batches:
			// A journal that has failed ends the feed, and what it had synced is applied all the same.
			if !more {
				return ended
			}
			if err := a.apply(ctx, b); err != nil {
				return err
			}
		case <-quiet.C:
			if err := a.settle(ctx); err != nil {
				return err
			}
		}
		quiet.Reset(idle)
	}
}

// settle checkpoints what was applied since the last checkpoint, if anything was.
func (a *applier) settle(ctx context.Context) error {
	a.busy.Lock()
	defer a.busy.Unlock()
	if a.checkpointed.Load() == a.applied.Load() {
		return nil
	}
	return a.checkpoint(ctx, false)
}

// feed reads batches from the journal and hands them over.
func (a *applier) feed(ctx context.Context, out chan<- *batch, toEnd bool) error {
	moment := time.NewTimer(gather)
	defer moment.Stop()
	handedOver := a.reader.Offset()
	for {
		if !toEnd {
			if err := a.journal.Wait(ctx, a.reader.Offset()+1); err != nil {
				return err
			}
		}
		b := &batch{}
		if err := a.read(ctx, b); err != nil {
			return err
		}
		if b.cursor == handedOver && toEnd {
			return nil
		}
		moment.Reset(gather)
		for handed := b.cursor == handedOver; !handed; {
			// Left open for a moment, unless somebody waits for it, and for as long as the one before it is
			// being applied.
			room := out
			if !b.full() && !toEnd && time.Since(b.began) < gather {
				room = nil
			}
			select {
			case room <- b:
				handed, handedOver = true, b.cursor
				continue
			case <-moment.C:
			case <-a.hurry:
				b.began = b.began.Add(-gather)
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := a.read(ctx, b); err != nil {
				return err
			}
			moment.Reset(gather)
		}
	}
}

// checkpoint brings what is applied to disk, as far as readers let it, and then trims the journal. The
// caller holds busy.
func (a *applier) checkpoint(ctx context.Context, truncate bool) error {
	if err := a.awaitCopying(); err != nil {
		return fmt.Errorf("checkpoint SQLite: %w", err)
	}
	done, err := a.sql.Checkpoint(ctx, truncate)
	if err != nil {
		return fmt.Errorf("checkpoint SQLite: %w", err)
	}
	a.unsynced = 0
	if !done.Complete {
		a.log.Info("a reader keeps SQLite's -wal from being emptied", "wal_bytes", done.WALBytes)
		return nil
	}
	a.checkpointed.Store(done.Applied)
	a.durable.Store(done.Applied)
	if a.replaying {
		// SQLite may be in doubt still. When it is not any more, toDisk makes a checkpoint of its own.
		return nil
	}
	next := a.last.then(done)
	if a.last == nil || a.last.Cursor != next.Cursor || a.file.Doubted || a.file.Failed != nil || a.file.Rebuilding != "" {
		if err := a.note(next); err != nil {
			// What was noted before stays true, and the journal is kept for it.
			a.log.Warn("what SQLite has on disk could not be noted", "error", err)
			return nil
		}
	}
	a.trim(a.last.Before)
	return nil
}

// note writes down what SQLite has on disk, and that it is a database like any other: checked, reindexed and replayed
// where that was due. The caller holds busy.
func (a *applier) note(on *reached) error {
	file := a.file
	file.Reached, file.Doubted, file.Failed, file.Rebuilding = on, false, nil, ""
	if err := writeStoreFile(a.dir, file); err != nil {
		return err
	}
	a.file, a.last = file, on
	return nil
}

// noteFailure writes down, for the next opening, that the applier has stopped with an error, and how much the journal had
// synced. The error need not be the journal's own: a segment that was cut may be noticed first by who reads it. The
// write may fail too, since the disk is perhaps the one that has failed: then an end that was not clean tells as much.
func (a *applier) noteFailure() {
	a.busy.Lock()
	defer a.busy.Unlock()
	if cause := a.sql.Failed(); cause != nil {
		a.file.fail(a.now(), cause)
	}
	a.noteSynced()
	if err := writeStoreFile(a.dir, a.file); err != nil {
		a.log.Error("the failure could not be noted", "error", err)
	}
}

// noteSynced has the next write of store.json say how much the journal had synced. A segment that was cut reads like one
// that a crash has left half written: without this, the next opening would cut off what was acknowledged.
func (a *applier) noteSynced() { a.file.Synced = a.journal.Synced() }

// trim removes journal that SQLite had on disk at the complete checkpoint before the newest, and that is older than the
// retention. A failure (an archive that is full, say) is logged and nothing more: the segments stay, and the next
// checkpoint tries again. A journal that has failed meanwhile says so itself.
func (a *applier) trim(durable wal.Offset) {
	if a.keep < 0 || a.held.Load() > 0 {
		return
	}
	end := a.journal.Synced()
	if uint64(end) <= uint64(a.keep) {
		return
	}
	if err := a.journal.RemoveBefore(min(durable, end-wal.Offset(a.keep))); err != nil {
		a.log.Error("old journal segments could not be removed", "error", err)
	}
}

// tell wakes those who wait for records to be applied.
func (a *applier) tell(err error) {
	a.mu.Lock()
	if a.err == nil {
		a.err = err
	}
	close(a.changed)
	a.changed = make(chan struct{})
	a.mu.Unlock()
}

// press ends the wait for more records.
func (a *applier) press() {
	select {
	case a.hurry <- struct{}{}:
	default:
	}
}

// failure returns why the applier has stopped, or why it will with the next batch, or nil.
func (a *applier) failure() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		if err := a.sql.Failed(); err != nil {
			return &failedError{err}
		}
	}
	return a.err
}

// wait returns when everything below off is applied.
func (a *applier) wait(ctx context.Context, off wal.Offset) error {
	a.waiting.Add(1)
	defer a.waiting.Add(-1)
	for {
		a.mu.Lock()
		changed, err := a.changed, a.err
		a.mu.Unlock()
		if wal.Offset(a.applied.Load()) >= off {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wait for the applier: %w", err)
		}
		a.press()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
