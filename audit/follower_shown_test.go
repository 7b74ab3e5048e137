package audit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
)

// A list that has begun does not wait for what must be shown since then: while puts go on there is always more.
func TestAListThatHasBegunWaitsForNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := openFollower(t, dir, audit.WithReads(audit.Applied))
	applyAll(t, f, messages(t, 1, 1, 4)...)
	s := openShell(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for name, list := range map[string]func(func()) (int, error){
		"Audits": func(between func()) (n int, err error) {
			for _, err := range f.Audits(ctx, audit.Filter{}) {
				if err != nil {
					return n, err
				}
				if n++; n == 1 {
					between()
				}
			}
			return n, nil
		},
		"Follow": func(between func()) (n int, err error) {
			for _, err := range f.Follow(ctx, 0, false) {
				if err != nil {
					return n, err
				}
				if n++; n == 1 {
					between()
				}
			}
			return n, nil
		},
	} {
		var have int
		n, err := list(func() {
			s.do("BEGIN IMMEDIATE") // nothing can be applied
			have = int(f.Cursor())
			if _, err := f.Decide(ctx, messages(t, uint64(have)+1, have+1, have+2)); err != nil {
				t.Fatal(err)
			}
			f.Show(f.Cursor())
		})
		if err != nil || n != have {
			t.Errorf("%s: %d records of %d, %v", name, n, have, err)
		}
		s.do("ROLLBACK")
		if err := f.AwaitShown(t.Context()); err != nil || f.Progress().Records != uint64(have)+1 {
			t.Errorf("SQLite has %d records, %v", f.Progress().Records, err)
		}
	}
}

// A record that Stored returns is not after Cursor. While SQLite lacks so many messages that Decide waits, the record that it waits with is no
// such record.
func TestWhatIsStoredIsNotAfterCursor(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	dir := t.TempDir()
	f := openFollower(t, dir, audit.WithReads(audit.Applied))
	s := openShell(t, dir)
	s.do("BEGIN IMMEDIATE") // nothing can be applied
	var ms []audit.Message
	for i := range 6 {
		q := sample(i)
		q.Attributes = map[string]any{"text": strings.Repeat("x", 10<<20)}
		ms = append(ms, audit.Message{Sequence: uint64(i + 1), Payload: []byte(canonical(t, &q))}) // two are a batch
	}
	decided := make(chan error)
	go func() {
		_, err := f.Decide(t.Context(), ms)
		decided <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	raw, err := []byte(nil), error(nil)
	for raw == nil && err == nil {
		raw, err = f.Stored(ctx, sample(5).QueryID)
	}
	if have := f.Cursor(); raw != nil && have < 6 {
		t.Errorf("message 6 is stored, and the cursor is %d", have)
	}
	s.do("ROLLBACK")
	if err := <-decided; err != nil {
		t.Error(err)
	}
	if raw, err := f.Stored(t.Context(), sample(5).QueryID); err != nil || string(raw) != string(ms[5].Payload) || f.Cursor() != 6 {
		t.Errorf("the cursor is %d, %v", f.Cursor(), err)
	}
}

// A call that ends while it waits for what only SQLite can tell leaves nothing undecided to the next one.
func TestDecideAfterACallThatDidNotWait(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := openFollower(t, dir)
	applyAll(t, f, messages(t, 1, 1, 2)...)
	s := openShell(t, dir)
	s.unguarded(fmt.Sprintf("UPDATE kv SET value = x'7b7d' WHERE key = x'004155443a%s'", sample(1).QueryID))
	s.do("BEGIN IMMEDIATE") // nothing can be applied
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := f.Decide(ctx, append(messages(t, 2, 1, 2), messages(t, 3, 2, 3)...)); !errors.Is(err, context.DeadlineExceeded) || f.Cursor() != 3 {
		t.Fatalf("the cursor is %d, %v", f.Cursor(), err)
	}
	time.AfterFunc(300*time.Millisecond, func() { s.do("ROLLBACK") })
	outcomes, err := f.Decide(t.Context(), append(messages(t, 4, 2, 3), messages(t, 5, 3, 4)...))
	if err != nil || !slices.Equal(outcomes, []audit.Outcome{audit.Duplicate, audit.New}) {
		t.Errorf("%v, %v", outcomes, err)
	}
	if err := f.Await(t.Context(), 5); err != nil {
		t.Error(err)
	}
}
