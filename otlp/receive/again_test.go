package receive_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/otlp"
	"github.com/auditsql/auditsql/otlp/receive"
	"github.com/auditsql/auditsql/wal"
)

// A hinderedStore fails without having failed for good: Err is nil.
type hinderedStore struct {
	*memoryStore
	puts, labels func() error
}

func (h *hinderedStore) PutAudits(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error) {
	if h.puts != nil {
		if err := h.puts(); err != nil {
			return nil, err
		}
	}
	return h.memoryStore.PutAudits(ctx, records)
}

func (h *hinderedStore) AddLabels(ctx context.Context, labels []audit.Label) error {
	if h.labels != nil {
		if err := h.labels(); err != nil {
			return err
		}
	}
	return h.memoryStore.AddLabels(ctx, labels)
}

// twice returns a function that fails two times.
func twice() func() error {
	left := 2
	return func() error {
		if left--; left >= 0 {
			return errors.New("somebody else is writing")
		}
		return nil
	}
}

// While somebody else has SQLite's write lock, labels cannot be added. Spans are taken all the same, and afterwards all is as if nothing had
// been.
func TestLabelsThatWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &hinderedStore{memoryStore: onDisk(t), labels: twice()}
		r := open(t, store, receive.Options{})
		sent(t, r, conversation(1)...)
		time.Sleep(7 * time.Second) // the record is stored, and its labels are not
		synctest.Wait()
		if s := r.State(); !store.has(idOf(1)) || len(store.memoryStore.labels) > 0 || s.Waiting == nil {
			t.Errorf("%d records, %v, %+v", len(store.ids), store.memoryStore.labels, s)
		}
		sent(t, r, conversation(2)...)
		settle()
		if s := r.State(); s.Err != nil || s.Waiting != nil || s.Inserted != 2 || s.Duplicate != 0 || len(store.memoryStore.labels) == 0 {
			t.Errorf("%+v, %v", s, store.memoryStore.labels)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A receiver ends also while labels wait. Its trace has not settled then, and the labels come after the next opening.
func TestAnEndWhileLabelsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &hinderedStore{memoryStore: onDisk(t), labels: func() error { return errors.New("somebody else is writing") }}
		r := open(t, store, receive.Options{})
		sent(t, r, conversation(1)...)
		settle()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		store.labels = nil
		r = open(t, store, receive.Options{})
		settle()
		if s := r.State(); s.Err != nil || s.Duplicate != 1 || len(store.memoryStore.labels) == 0 {
			t.Errorf("%+v, %v", s, store.memoryStore.labels)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A put that fails although the store has not failed is made again.
func TestAPutThatFailsForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &hinderedStore{memoryStore: onDisk(t), puts: twice()}
		r := open(t, store, receive.Options{})
		sent(t, r, conversation(1)...)
		time.Sleep(7 * time.Second)
		synctest.Wait()
		if a, _ := post(r, inProto(t, request(conversation(2)...))); a.Code != http.StatusServiceUnavailable || r.State().Err == nil {
			t.Errorf("while the store takes nothing: status %d: %q", a.Code, a.Body)
		}
		time.Sleep(time.Minute)
		sent(t, r, conversation(2)...)
		settle()
		if s := r.State(); s.Err != nil || s.Inserted != 2 || s.Duplicate != 0 {
			t.Errorf("%+v", s)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A receiver ends also while the store keeps a put waiting. What was not stored is in the inbox.
func TestAnEndWhileAPutWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := onDisk(t)
		store.hold = make(chan struct{})
		r := open(t, store, receive.Options{})
		sent(t, r, conversation(1)...)
		settle()
		if err := r.Close(); err != nil || len(store.ids) > 0 {
			t.Errorf("%v, %d records", err, len(store.ids))
		}
		store.hold = nil
		r = open(t, store, receive.Options{})
		settle()
		if s := r.State(); s.Err != nil || !store.has(idOf(1)) || len(store.ids) != 1 {
			t.Errorf("%+v, %d records", s, len(store.ids))
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A note of the inbox is synced. So the records must be before it, also if puts of the store return earlier.
func TestRecordsAreSyncedBeforeTheNote(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, err := audit.Open(filepath.Join(t.TempDir(), "store"), audit.WithDurability(wal.SyncInterval(1000*time.Hour)))
		if err != nil {
			t.Fatal(err)
		}
		before, err := db.SyncedOffset(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r := open(t, db, receive.Options{})
		sent(t, r, conversation(1)...)
		settle()
		if s := r.State(); s.Inserted != 1 || s.Err != nil {
			t.Errorf("%+v", s)
		}
		if after, err := db.SyncedOffset(t.Context()); err != nil || after <= before {
			t.Errorf("the record is noted as stored, and the store's journal is synced up to %d, as before (%v)", after, err)
		}
		if err := errors.Join(r.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
}

// What is sent twice is stored once: also the wrapper of a retrieval, which has become no record, and also after a restart.
func TestAWrapperThatComesAgain(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			store := onDisk(t)
			r := open(t, store, receive.Options{})
			sent(t, r, conversation(1)...)
			settle()
			if restart {
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
				r = open(t, store, receive.Options{})
			}
			before := r.State().Counts.Wrapped
			sent(t, r, conversation(1)[1]) // its sender had no answer
			settle()
			if s := r.State(); len(store.ids) != 1 || s.Counts.Wrapped != before+1 || s.Counts.Rejected > 0 {
				t.Errorf("restart %t: %d records, %+v", restart, len(store.ids), s)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A note that does not say what was wrapped, as those of earlier versions, says what has settled.
func TestANoteWithoutWrappers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := onDisk(t)
		r := open(t, store, receive.Options{})
		sent(t, r, conversation(1)...)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		dir, o, err := store.Inbox()
		if err != nil {
			t.Fatal(err)
		}
		o.MarkGroups = true
		j, _, err := wal.Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = j.Append(t.Context(), fmt.Appendf(nil, `{"settled":[{"trace":"00000000000000000000000000000001","to":%d}]}`, j.End()))
		if err := errors.Join(err, j.Close()); err != nil {
			t.Fatal(err)
		}
		r = open(t, store, receive.Options{})
		settle()
		if s := r.State(); s.Err != nil || s.Counts.Read > 0 || len(store.ids) > 0 {
			t.Errorf("%+v, %d records", s, len(store.ids))
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// However many retrievals are wrapped in traces that settle at the same time, the notes about them can be written and read.
func TestNotesOfManyWrappers(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sends 165,000 spans")
	}
	synctest.Test(t, func(t *testing.T) {
		store := onDisk(t)
		store.segment = 64 << 20
		r := open(t, store, receive.Options{})
		const traces, each, together = 3, 55_000, 5_000 // one note would be larger than a record of a journal may be
		span := func(trace, n int) step {
			s := conversation(trace)[1]
			s.id, s.parent = n, 3
			return s
		}
		for trace := 1; trace <= traces; trace++ {
			sent(t, r, conversation(trace)[2])
			for n := 10; n < 10+each; n += together {
				var all []step
				for i := n; i < n+together; i++ {
					all = append(all, span(trace, i))
				}
				sent(t, r, all...)
			}
		}
		settle()
		if s := r.State(); s.Err != nil || s.Counts.Wrapped != traces*each || s.Counts.Records != traces {
			t.Errorf("%+v", s)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		r = open(t, store, receive.Options{})
		sent(t, r, span(traces, 10+each-1))
		settle()
		if s := r.State(); s.Err != nil || s.Counts.Wrapped != 1 || s.Counts.Records != 0 {
			t.Errorf("%+v", s)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// While spans come faster than they are joined, segments whose traces have settled are removed all the same.
func TestSpansThatNeverStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := onDisk(t)
		slow := func() time.Time { time.Sleep(10 * time.Millisecond); return time.Now() } // joining asks for the time
		r := open(t, store, receive.Options{Now: slow, Join: otlp.JoinOptions{AfterRoot: time.Second}})
		one := int64(0)
		for trace := 1; trace <= 100; trace++ {
			var all []step
			for n := range 50 { // none of them retrieves
				all = append(all, step{trace, n + 1, n, "work", nil})
			}
			sent(t, r, all...)
			if trace == 1 {
				one = r.State().InboxBytes
			}
			time.Sleep(400 * time.Millisecond) // joining them takes longer
		}
		for r.State().Counts.Read < 3000 {
			time.Sleep(time.Second)
		}
		if s := r.State(); s.InboxBytes > 60*one {
			t.Errorf("%d of 5000 spans have settled, and of %d bytes the inbox has %d", s.Counts.Read, 100*one, s.InboxBytes)
		}
		settle()
		if s := r.State(); s.Err != nil || s.Counts.Read != 5000 {
			t.Errorf("%+v", s)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}
