package receive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/otlp"
	"github.com/auditsql/auditsql/wal"
)

// So many spans and bytes are read from the inbox before they are joined. What is more stays on disk: the inbox is the queue.
const (
	readAhead      = 512
	readAheadBytes = 2 * wal.MaxPayload
)

// stillWait is how long a trace waits that would have settled if the clock did not stand still, see arrivals.
const stillWait = 10 * time.Millisecond

// A span of the inbox, or why there is no next one.
type read struct {
	rec wal.Record
	err error
}

// session reads the inbox and joins what is in it, until ctx ends, the inbox fails or the store does.
func (r *Receiver) session(ctx context.Context, j *wal.Journal) (err error) {
	defer func() {
		// A trace that makes joining panic would end the whole server, and do so again after each start.
		if thrown := recover(); thrown != nil {
			r.log.Error("joining has panicked", "panic", fmt.Sprint(thrown), "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: %v", errFailed, thrown)
		}
	}()
	dir, o, err := r.store.Inbox()
	if err != nil {
		return err
	}
	o.Follow = true
	segment := wal.Offset(cmp.Or(o.SegmentBytes, 8<<20))
	reader, err := wal.OpenReader(dir, r.next, o)
	if err != nil {
		return asDamage(err)
	}
	reading, stop := context.WithCancel(ctx)
	came := make(chan read, readAhead)
	room := semaphore.NewWeighted(readAheadBytes)
	go func() {
		defer close(came)
		defer reader.Close()
		for {
			rec, err := reader.Next(reading)
			if room.Acquire(reading, int64(len(rec.Payload))) != nil {
				return
			}
			select {
			case came <- read{rec, err}:
			case <-reading.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	defer func() {
		stop()
		for range came { // until it has ended
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case c, ok := <-came:
			if !ok {
				return nil // ctx has ended
			}
			if c.err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return asDamage(c.err)
			}
			room.Release(int64(len(c.rec.Payload)))
			if err := r.add(&c.rec); err != nil {
				return err
			}
			if len(r.before) > 0 && r.next >= r.replay { // the notes are about spans before it
				r.before = settledBefore{}
			}
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		// What has settled comes first. If the store is slower than the spans, they stay on disk, and not in memory.
		for more := true; more && ctx.Err() == nil; {
			for more = true; more && !r.batchIsFull(); {
				var s otlp.Settled
				if s, more = r.joiner.NextDue(r.clock()); more {
					r.take(s)
				}
			}
			// When spans never stop to come, what is not needed any more is removed all the same.
			if len(came) == 0 || r.batchIsFull() || r.next-r.flushed >= segment {
				if err := r.flush(ctx, j); err != nil {
					if ctx.Err() != nil {
						return nil // what was not noted is joined again after the next opening
					}
					return err
				}
			}
		}
		if at, ok := r.joiner.Next(); ok {
			wait := at.Sub(r.options.Now())
			if wait <= 0 {
				wait = stillWait
			}
			timer.Reset(wait)
		}
	}
}

func (r *Receiver) batchIsFull() bool {
	return len(r.batch) >= ingest.BatchRecords || r.bytes >= ingest.BatchBytes
}

// clock is the time up to which traces may settle, see arrivals.
func (r *Receiver) clock() time.Time {
	now := r.arrivals.clock(r.next, r.options.Now())
	if r.next < r.replay {
		return r.opened
	}
	return now
}

// add gives a record of the inbox to the joiner.
func (r *Receiver) add(rec *wal.Record) error {
	came := r.clock() // before the offset moves on
	r.next = rec.Next
	if bytes.HasPrefix(rec.Payload, notePrefix) {
		return nil
	}
	span, err := otlp.DecodeReduced(rec.Payload)
	if err != nil {
		return unreadable(rec, err)
	}
	if rec.Offset < r.before[span.Trace] {
		return nil
	}
	r.take(r.joiner.Add(span, uint64(rec.Offset), came)...)
	return nil
}

// take takes traces that have settled.
func (r *Receiver) take(all ...otlp.Settled) {
	for i := range all {
		s := &all[i]
		if s.Early {
			r.tellEarly()
		}
		retrieves := false
		for k := range s.Outcomes {
			o := &s.Outcomes[k]
			retrieves = retrieves || o.Span.Class == otlp.Retrieval
			if o.Became == otlp.BecameRejected {
				r.rejected(o, o.Err)
			}
			if o.Record != nil {
				r.tellSilent(o.Record)
				r.batch = append(r.batch, *o)
				r.bytes += 256 + 160*len(o.Record.Audit.ContributingAssertions)
			}
		}
		if retrieves { // others give the same, nothing, however often they are joined
			r.settled = append(r.settled, settledTrace{s.Trace, r.next, s.Wrapped})
		}
		r.mu.Lock()
		r.state.Counts.Add(s.Counts())
		r.mu.Unlock()
	}
}

// tellEarly says that traces are joined early, once a minute: there may be many.
func (r *Receiver) tellEarly() {
	if now := r.options.Now(); now.Sub(r.toldEarly) >= time.Minute {
		r.toldEarly = now
		r.log.Warn("traces are joined early, since more spans are open than are held; the attribute joined says so in their records", "traces", r.joiner.Early())
	}
}

// maxSilent is how many emitters are remembered of which it was said that they record no documents.
const maxSilent = 1000

// tellSilent says once of each emitter that its retrievals contain no documents, and what most often changes that.
func (r *Receiver) tellSilent(record *otlp.Record) {
	if emitter := record.Emitter; record.NotTold && !r.silent[emitter] && len(r.silent) < maxSilent {
		r.silent[emitter] = true
		r.log.Warn("retrieval spans contain no documents: usually the capture of content is off", "emitter", emitter, "switch", otlp.CaptureSwitch(emitter))
	}
}

func (r *Receiver) rejected(o *otlp.Outcome, why error) {
	r.log.Warn("a span was rejected", "trace", o.Span.Trace.String(), "span", o.Span.Span.String(), "why", why.Error())
}

// flush stores what has settled, notes that, and removes what is not needed any more. The order matters: see note.
func (r *Receiver) flush(ctx context.Context, j *wal.Journal) error {
	var inserted, duplicate, rejected uint64
	if len(r.batch) > 0 {
		results, err := r.putter.Put(ctx, r.batch)
		if err == nil {
			err = r.addLabels(ctx)
		}
		if err == nil {
			err = r.store.Sync(ctx) // at wal.SyncInterval a put returns before that
		}
		switch {
		case err == nil:
		case r.store.Err() == nil:
			return fmt.Errorf("store what has settled: %w", err) // the batch is put again
		default:
			return fmt.Errorf("%w: %w", errStore, err)
		}
		for i, result := range results {
			switch {
			case result.Err != nil:
				rejected++
				r.rejected(&r.batch[i], result.Err)
			case result.Duplicate:
				duplicate++
			default:
				inserted++
			}
		}
		clear(r.batch)
		r.batch, r.bytes = r.batch[:0], 0
	}
	if len(r.settled) > 0 {
		if err := r.noteSettled(context.WithoutCancel(ctx), j); err != nil {
			return err
		}
	}
	if err := r.trim(j); err != nil && !errors.Is(err, wal.ErrClosed) {
		return fmt.Errorf("remove what has settled from the inbox: %w", err)
	}
	r.flushed = r.next
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.state
	s.Replaying = r.next < r.replay
	s.Held, s.Early, s.Late = r.joiner.Spans(), r.joiner.Early(), r.joiner.Late()
	s.Inserted, s.Duplicate = s.Inserted+inserted, s.Duplicate+duplicate
	s.Counts.Records, s.Counts.Rejected = s.Counts.Records-rejected, s.Counts.Rejected+rejected
	return nil
}

// addLabels adds the labels of a batch, whose records are stored. As long as it cannot, it tries again, since AddLabels needs SQLite's
// write lock, which somebody else may have for a while. Meanwhile spans are taken, and wait in the inbox. State says so, because the reason may
// be one that does not pass: table label is damaged.
func (r *Receiver) addLabels(ctx context.Context) error {
	wait := func(why error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.state.Waiting = why
	}
	defer wait(nil)
	for {
		err := r.putter.AddLabels(ctx)
		if err == nil || r.store.Err() != nil || ctx.Err() != nil {
			return err
		}
		wait(fmt.Errorf("labels cannot be added: %w", err))
		r.log.Warn("labels cannot be added now; trying again", "why", err.Error())
		select {
		case <-time.After(r.options.Limits.Retry):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
