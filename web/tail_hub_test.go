package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// A hub that has dropped records says so to a tail that has not seen them, and has everything after that.
func TestAHubKnowsWhatItHasDropped(t *testing.T) {
	h := &hub{ready: true, changed: make(chan struct{})}
	const n = hubRecords + 3*blockRecords
	for i := range n {
		h.add(numbered(i))
	}
	h.wake()
	dropped := 0
	for i := range n {
		at := audit.Offset(10 * i)
		b, first, _, err := h.from(at)
		switch {
		case errors.Is(err, errCatchUp) && dropped == i && !h.has(at):
			dropped++
		case err != nil || !h.has(at) || b.records[first].Offset != at:
			t.Fatalf("record %d of %d: %v, and has it: %v", i, n, err, h.has(at))
		}
	}
	if held := n - dropped; held > hubRecords || held < hubRecords-blockRecords {
		t.Errorf("%d records are held", held)
	}
	large := audit.TailRecord{Offset: 10 * n, Next: 10*n + 10, Raw: make([]byte, hubBytes+1)}
	h.add(large)
	h.wake()
	if b, _, _, err := h.from(large.Offset); err != nil || len(b.records) != 1 || len(h.blocks) != 1 {
		t.Errorf("%d blocks, %v", len(h.blocks), err)
	}
}

// numbered is a record that begins at ten times its number.
func numbered(i int) audit.TailRecord {
	return audit.TailRecord{Offset: audit.Offset(10 * i), Next: audit.Offset(10*i + 10), Raw: fmt.Append(nil, i)}
}

// A block is sent from each of its records on as if it began there, in both forms.
func TestABlockFromTheMiddle(t *testing.T) {
	b := new(block)
	for i := range 5 {
		b.add(numbered(i))
	}
	for i := range b.records {
		var events, lines bytes.Buffer
		for _, rec := range b.records[i:] {
			fmt.Fprintf(&events, "id: %d\nevent: audit\ndata: %s\n\n", rec.Next, rec.Raw)
			fmt.Fprintf(&lines, `{"id":"%d","audit":%s}`+"\n", rec.Next, rec.Raw)
		}
		for at := max(0, 10*i-9); at <= 10*i; at++ { // within the record before, and at this one
			if first := b.from(audit.Offset(at)); first != i {
				t.Errorf("offset %d: record %d, want %d", at, first, i)
			}
		}
		if got := b.text(true, i); !bytes.Equal(got, events.Bytes()) {
			t.Errorf("events from record %d: %q", i, got)
		}
		if got := b.text(false, i); !bytes.Equal(got, lines.Bytes()) {
			t.Errorf("lines from record %d: %q", i, got)
		}
	}
}

// A feed is a journal whose records come when a test says so.
type feed struct {
	Tailer
	records chan audit.TailRecord // closed: the store is closed
}

func (f feed) TailRange(context.Context) (first, end audit.Offset, err error) { return 0, 0, nil }

func (f feed) TailAfter(ctx context.Context, _ audit.Offset) iter.Seq2[audit.TailRecord, error] {
	return func(yield func(audit.TailRecord, error) bool) {
		for {
			select {
			case rec, ok := <-f.records:
				if !ok {
					yield(rec, audit.ErrClosed)
					return
				}
				if !yield(rec, nil) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func uncontained(read func()) error {
	read()
	return nil
}

// The first record is shown at once, those after it a moment later and together, and the last ones before the end.
func TestAHubGathersForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hub
		f := feed{records: make(chan audit.TailRecord)}
		defer h.join(f, uncontained)()
		synctest.Wait()
		seen := 0
		shown := func(want int) {
			t.Helper()
			synctest.Wait()
			b, first, _, err := h.from(audit.Offset(10 * seen))
			n := 0
			if b != nil {
				n = len(b.records) - first
			}
			if err != nil || n != want {
				t.Fatalf("after %d records %d are shown, want %d; %v", seen, n, want, err)
			}
			seen += n
		}
		next := 0
		put := func(n int) {
			for range n {
				f.records <- numbered(next)
				next++
			}
		}
		time.Sleep(h.pause())
		put(1)
		shown(1)
		put(20)
		shown(0)
		time.Sleep(h.pause())
		shown(20)
		put(3)
		shown(0)
		time.Sleep(h.pause())
		shown(3)
		time.Sleep(time.Hour)
		put(2)
		shown(1)
		close(f.records)
		shown(1)
		if _, _, _, err := h.from(audit.Offset(10 * seen)); !errors.Is(err, audit.ErrClosed) {
			t.Errorf("at the end: %v", err)
		}
	})
}

// A reader that all tails have left, and that ends late, does not change what the next tails see.
func TestTheReaderThatWasLeftChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hub
		h.join(feed{records: make(chan audit.TailRecord)}, uncontained)()
		late := h.run
		f := feed{records: make(chan audit.TailRecord)}
		defer h.join(f, uncontained)()
		synctest.Wait()
		h.change(late, func() { h.fail(audit.ErrClosed) })
		f.records <- numbered(0)
		time.Sleep(h.pause())
		synctest.Wait()
		if b, _, _, err := h.from(0); err != nil || b == nil {
			t.Errorf("%v, %v", b, err)
		}
		if _, _, _, err := h.from(10); err != nil {
			t.Errorf("after the record: %v", err)
		}
	})
}
