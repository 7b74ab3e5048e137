package receive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/otlp"
	"github.com/auditsql/auditsql/wal"
)

// The inbox has two kinds of records. A span is an otlp.Reduced. A note says that traces have settled, and that their records are stored:
//
//	{"settled":[{"trace":"0102…","to":4711,"wrapped":[{"span":"0304…","digest":"0506…"},…]},…]}
//
// Spans of such a trace before the offset "to" must not be joined again. Without the notes that could happen: a segment is removed as
// soon as all its spans have settled, and a trace may have spans in the next one too. After a crash these would be joined alone, and a
// retrieval that is the wrapper of one in the removed segment would become a record.
//
// The retrievals that became no records are in "wrapped", since no record knows them when they come again after their trace has settled. A
// running receiver remembers the last ones of them. A restarted one knows those of the notes in the segments that are still there. Notes of
// earlier versions lack "wrapped".
//
// A note is appended after the records are stored, and before a segment is removed. If the process dies before the note, all spans of
// the trace are still there, and joining them again gives the same records.

// A settledTrace is a trace that has settled.
type settledTrace struct {
	Trace   otlp.TraceID   `json:"trace"`
	To      wal.Offset     `json:"to"`
	Wrapped []otlp.Wrapped `json:"wrapped,omitempty"`
}

// size is how many bytes it takes in a note, at most.
func (s *settledTrace) size() int { return 100 + 120*len(s.Wrapped) }

// maxNote is how large a note becomes. A trace is in one note as a whole, so that a crash between two notes forgets nothing: it has at most
// 65,536 wrapped retrievals, 7.5 MiB.
const maxNote = wal.MaxPayload / 2

// A note is the record of the inbox for traces that have settled.
type note struct {
	Settled []settledTrace `json:"settled"`
}

var notePrefix = []byte(`{"settled":`)

// settledBefore says for traces from where on their spans have to be joined.
type settledBefore map[otlp.TraceID]wal.Offset

// open opens the inbox. At the first time it also finds out where to begin to read, and what has settled.
func (r *Receiver) open(ctx context.Context) (*wal.Journal, error) {
	dir, o, err := r.store.Inbox()
	if err != nil {
		return nil, err
	}
	first := wal.Offset(0)
	o.Cursor = func() (wal.Offset, error) {
		segs, err := wal.Segments(dir, o)
		if err == nil && len(segs) > 0 {
			first = segs[0].Base // the oldest segment is the cursor: what was before it has settled
		}
		return first, err
	}
	// A span stands by itself. One that was written and not acknowledged is sent again, and joined once. So what is intact is read.
	o.MarkGroups, o.KeepTail = true, true
	j, report, err := wal.OpenContext(ctx, dir, o)
	if err != nil {
		return nil, asDamage(err)
	}
	r.tellTail(&report)
	if r.before == nil {
		before, end, err := readNotes(ctx, dir, first, o, r.joiner)
		if err != nil {
			return nil, errors.Join(asDamage(err), j.Close())
		}
		r.before, r.next, r.replay, r.opened = before, first, end, r.options.Now()
	}
	r.mu.Lock()
	r.journal, r.down = j, nil
	r.state.Replaying = r.next < r.replay
	r.mu.Unlock()
	r.noteInbox()
	return j, nil
}

// tellTail says what recovery has kept aside. A range was not acknowledged if a write that did not end explains it. Otherwise nobody knows
// whether it was, so it is reported as damage. This is only so in the newest group of an inbox that was not closed: everything before that
// is attested by marks, and damage there closes the inbox until somebody repairs it.
//
// If the process dies between the repair of the tail and this call, the next opening finds nothing to tell. Verify shows the gap.
func (r *Receiver) tellTail(report *wal.Recovery) {
	ranges := slices.Clone(report.Filled)
	if report.Torn != nil {
		ranges = append(ranges, *report.Torn)
	}
	for i := range ranges {
		t := &ranges[i]
		where := []any{"file", t.Segment, "offset", t.Offset, "bytes", t.Bytes, "why", t.Reason, "copy", t.Quarantine}
		if t.Interrupted {
			r.log.Info("a write to the inbox had not ended, so its spans were not acknowledged, and exporters send them again; intact spans after it are read", where...)
			continue
		}
		r.log.Error("the end of the inbox is damaged: spans that were acknowledged may be lost; intact spans after it are read. Check the disk, "+
			"and let the exporters send again what they have sent shortly before the server ended", where...)
		r.mu.Lock()
		r.state.Lost.Ranges++
		r.state.Lost.Bytes += t.Bytes
		r.mu.Unlock()
	}
}

// asDamage adds ErrDamaged to an error that says that an inbox is not what was written.
func asDamage(err error) error {
	var corrupt *wal.CorruptError
	for _, is := range []error{wal.ErrGap, wal.ErrAhead, wal.ErrForeign, wal.ErrRewound, wal.ErrTrimmed} {
		if errors.Is(err, is) {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	if errors.As(err, &corrupt) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// readNotes reads all notes, and tells the joiner what they say about wrapped retrievals. It also returns where the last record ends.
func readNotes(ctx context.Context, dir string, from wal.Offset, o wal.Options, joiner *otlp.Joiner) (before settledBefore, end wal.Offset, err error) {
	before, end = settledBefore{}, from
	reader, err := wal.OpenReader(dir, from, o)
	if err != nil {
		return nil, 0, err
	}
	defer reader.Close()
	for {
		rec, err := reader.Next(ctx)
		if errors.Is(err, io.EOF) {
			return before, end, nil
		}
		if err != nil {
			return nil, 0, err
		}
		end = rec.Next
		if !bytes.HasPrefix(rec.Payload, notePrefix) {
			continue
		}
		var n note
		if err := json.Unmarshal(rec.Payload, &n); err != nil {
			return nil, 0, unreadable(&rec, err)
		}
		for _, s := range n.Settled {
			before[s.Trace] = max(before[s.Trace], s.To)
			joiner.Remember(s.Trace, s.Wrapped)
		}
	}
}

// unreadable is the error of a record that is whole, and that this version cannot read. A newer one may have written it.
func unreadable(rec *wal.Record, err error) error {
	return fmt.Errorf("%w: its record at offset %d cannot be read: %w", ErrDamaged, rec.Offset, err)
}

// recovers reports whether trying again later may help.
func recovers(err error) bool {
	return !errors.Is(err, ErrDamaged) && !errors.Is(err, errFailed) && !errors.Is(err, audit.ErrClosed) && !errors.Is(err, audit.ErrReadOnly) &&
		!errors.Is(err, errStore)
}

// errStore says that the store takes no more records.
var errStore = errors.New("the store has failed")

// run reads the inbox and joins what is in it until ctx ends. When the inbox fails, as when the disk is full, it is opened again. j is
// the inbox, or err says why it could not be opened.
func (r *Receiver) run(ctx context.Context, j *wal.Journal, err error) {
	defer close(r.done)
	for {
		if err == nil {
			err = r.session(ctx, j)
			err = errors.Join(err, r.shut(j, err))
		}
		if ctx.Err() != nil {
			return
		}
		r.fail(err)
		again := recovers(err)
		r.log.Error("no spans are taken", "why", err.Error(), "again", again)
		if !again {
			<-ctx.Done()
			return
		}
		select {
		case <-time.After(r.options.Limits.Retry):
			j, err = r.open(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// fail notes why there is no inbox.
func (r *Receiver) fail(err error) {
	r.mu.Lock()
	r.down = err
	r.mu.Unlock()
	r.noteInbox()
}

// noteInbox tells the store how the inbox is.
func (r *Receiver) noteInbox() {
	r.mu.Lock()
	damage, lost := "", r.state.Lost.Bytes
	if errors.Is(r.down, ErrDamaged) {
		damage = strings.TrimPrefix(r.down.Error(), ErrDamaged.Error()+": ")
	}
	r.mu.Unlock()
	r.store.NoteInbox(damage, lost)
}

// shut closes a journal, after which no request writes to it.
func (r *Receiver) shut(j *wal.Journal, why error) error {
	r.mu.Lock()
	r.journal = nil
	if r.down = why; why == nil {
		r.down = audit.ErrClosed
	}
	r.mu.Unlock()
	return j.Close()
}

// trim removes the segments of the inbox whose spans have all settled. All records of these are stored, and noted.
func (r *Receiver) trim(j *wal.Journal) error {
	to := r.next
	if held, ok := r.joiner.Held(); ok {
		to = wal.Offset(held)
	}
	return j.RemoveBefore(to)
}

// noteSettled notes that the records of traces are stored.
func (r *Receiver) noteSettled(ctx context.Context, j *wal.Journal) error {
	for len(r.settled) > 0 {
		n, size := 1, r.settled[0].size()
		for n < len(r.settled) && size+r.settled[n].size() <= maxNote {
			size += r.settled[n].size()
			n++
		}
		text, err := json.Marshal(note{r.settled[:n]})
		if err != nil {
			return err
		}
		if _, err := j.Append(ctx, text); err != nil {
			return err
		}
		r.settled = r.settled[n:]
	}
	r.settled = nil
	return nil
}
