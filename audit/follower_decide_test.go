package audit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// A message is decided before SQLite has it, also when an earlier one that SQLite does not have either is the reason. Questions show it
// when they must, and wait for that.
func TestWhatIsDecidedBeforeSQLiteHasIt(t *testing.T) {
	t.Parallel()
	ms, want := mixed(t)
	last := ms[len(ms)-1].Sequence
	for _, size := range []int{1, 3, len(ms)} {
		dir := t.TempDir()
		f := openFollower(t, dir, audit.WithReads(audit.Applied))
		s := openShell(t, dir)
		s.do("BEGIN IMMEDIATE") // nothing can be applied
		var got []audit.Outcome
		for part := range slices.Chunk(ms, size) {
			outcomes, err := f.Decide(t.Context(), part)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, outcomes...)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("outcomes are %v, want %v", got, want)
		}
		if f.Cursor() != last || f.Applied() != 0 {
			t.Errorf("the cursor is %d, and SQLite has message %d", f.Cursor(), f.Applied())
		}
		id := sample(1).QueryID
		if raw, err := f.Stored(t.Context(), id); err != nil || string(raw) != string(ms[0].Payload) {
			t.Errorf("stored is %s, %v", raw, err)
		}
		if _, err := f.GetRaw(t.Context(), id); !errors.Is(err, audit.ErrNotFound) {
			t.Errorf("a question before it must show the record: %v", err)
		}
		f.Show(2)
		f.Show(1) // takes nothing back
		for _, i := range []int{1, 2} {
			ctx, cancel := context.WithCancel(t.Context())
			if _, err := f.GetRaw(&endsWhenItIsAwaited{ctx, cancel}, sample(i).QueryID); !errors.Is(err, context.Canceled) {
				t.Errorf("a question that must show record %d: %v", i, err)
			}
		}
		s.do("ROLLBACK")
		wantBytes(t, f.DB, sample(1), "what must be shown")
		wantBytes(t, f.DB, sample(2), "what must be shown")
		if err := f.Await(t.Context(), last); err != nil || f.Applied() != last {
			t.Errorf("SQLite has message %d, %v", f.Applied(), err)
		}
		s.exit()
		closeDB(t, f.DB)
		again := openFollower(t, dir)
		if n, _, err := again.Root(t.Context()); err != nil || n != 3 || again.Cursor() != last {
			t.Errorf("%d records up to message %d, %v", n, again.Cursor(), err)
		}
		wantSound(t, again.DB)
	}
}

// A store that was given nothing has nothing to wait for.
func TestAFollowerThatWasGivenNothing(t *testing.T) {
	t.Parallel()
	f := openFollower(t, t.TempDir())
	f.Show(f.Cursor())
	if err := f.Await(t.Context(), f.Cursor()); err != nil {
		t.Error(err)
	}
	if _, err := f.GetRaw(t.Context(), sample(1).QueryID); !errors.Is(err, audit.ErrNotFound) {
		t.Error(err)
	}
	if n, _, err := f.Root(t.Context()); n != 0 || err != nil {
		t.Errorf("%d records, %v", n, err)
	}
}

// What was decided when a store is closed is in SQLite then.
func TestCloseAppliesWhatIsDecided(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := openFollower(t, dir)
	if _, err := f.Decide(t.Context(), messages(t, 1, 0, 500)); err != nil {
		t.Fatal(err)
	}
	closeDB(t, f.DB)
	if again := openFollower(t, dir); again.Applied() != 500 {
		t.Errorf("SQLite has message %d", again.Applied())
	}
}

// SQLite that takes a message otherwise than it was decided is damaged: somebody else wrote there.
func TestSQLiteThatDecidesOtherwise(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := openFollower(t, dir)
	s := openShell(t, dir)
	s.do("BEGIN IMMEDIATE")
	m := messages(t, 1, 1, 2)
	if outcomes, err := f.Decide(t.Context(), m); err != nil || outcomes[0] != audit.New {
		t.Fatalf("%v, %v", outcomes, err)
	}
	s.do("INSERT INTO store VALUES ('applying', 'x')",
		fmt.Sprintf("INSERT INTO kv (key, value) VALUES (x'004155443a%s', x'7b7d')", sample(1).QueryID),
		"DELETE FROM store WHERE name = 'applying'", "COMMIT")
	if err := f.Await(t.Context(), 1); !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("await: %v", err)
	}
	if _, err := f.Decide(t.Context(), messages(t, 2, 2, 3)); !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("the next message: %v", err)
	}
	if err := f.Err(); !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("the store: %v", err)
	}
}
