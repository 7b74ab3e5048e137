package audit_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/wal"
)

// An opening whose context ends leaves a store that the next opening completes, wherever it ends: while it replays,
// while it rebuilds SQLite, while it checks and reindexes a suspect database.
func TestOpeningEndsWithItsContext(t *testing.T) {
	t.Parallel()
	unapplied := func(t *testing.T) (string, map[audit.QueryID]string) {
		dir, lines := closedStore(t, 0, 40)
		s := openShell(t, dir)
		db := openDB(t, dir, audit.WithSegmentBytes(4000))
		s.do("BEGIN IMMEDIATE") // keeps the records from SQLite
		maps.Copy(lines, putSamples(t, db, 40, 80))
		left := killed(t, dir)
		s.do("ROLLBACK")
		return left, lines
	}
	for name, c := range map[string]struct {
		store func(t *testing.T) (dir string, lines map[audit.QueryID]string)
	}{
		"records to replay": {unapplied},
		"SQLite is missing": {func(t *testing.T) (string, map[audit.QueryID]string) {
			dir, lines := closedStore(t, 0, 60)
			removeSQLite(t, dir)
			return dir, lines
		}},
		"suspect, to be rebuilt": {func(t *testing.T) (string, map[audit.QueryID]string) {
			dir, lines := closedStore(t, 0, 60)
			uncleanEnd(t, dir)
			return dir, lines
		}},
		"suspect, to be checked": {trimmedWithoutWAL},
		"a new store": {func(t *testing.T) (string, map[audit.QueryID]string) {
			return filepath.Join(t.TempDir(), "store"), nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, lines := c.store(t)
			ended := 0
			for look := 0; ; look += 1 + look/2 {
				dir := from
				if _, err := os.Stat(from); err == nil {
					dir = killed(t, from)
				}
				db, err := audit.OpenContext(endAtLook(look), dir)
				if err == nil {
					closeDB(t, db)
					break
				}
				if !errors.Is(err, context.Canceled) {
					t.Fatalf("at look %d: %v", look, err)
				}
				ended++
				db = openDB(t, dir)
				wantAll(t, db, lines)
				closeDB(t, db)
				if dir == from {
					if err := os.RemoveAll(dir); err != nil {
						t.Fatal(err)
					}
				}
			}
			if ended < 5 {
				t.Errorf("the opening ended at %d places only", ended)
			}
		})
	}
}

// The context of an opening has no effect on the store once that is open.
func TestAnOpenStoreOutlivesTheContextOfItsOpening(t *testing.T) {
	t.Parallel()
	dir, lines := closedStore(t, 0, 40)
	removeSQLite(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	db, err := audit.OpenContext(ctx, dir, audit.WithReads(audit.Acknowledged))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cancel()
	maps.Copy(lines, putSamples(t, db, 40, 80))
	if err := audit.Checkpoint(db); err != nil {
		t.Error(err)
	}
	wantAll(t, db, lines)
	reader, err := audit.OpenContext(ctx, dir, audit.ReadOnly())
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a reader: %v", err)
		reader.Close()
	}
	closeDB(t, db)
}

// A reindex that has to wait for the applier waits no longer than its context.
func TestReindexEndsWithItsContext(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "store"))
	putSamples(t, db, 0, 10)
	wantRoom(t, db)
	audit.AtRest(db, func() { // which keeps the applier waiting as well
		ctx := &endsWhenItIsWaitedFor{Context: t.Context(), ended: make(chan struct{})}
		if err := db.Reindex(ctx, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	if err := db.Reindex(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	wantSound(t, db)
}

// endsWhenItIsWaitedFor is a context that has not ended when it is asked, and ends as soon as a call waits for its end.
type endsWhenItIsWaitedFor struct {
	context.Context
	once  sync.Once
	ended chan struct{}
}

func (c *endsWhenItIsWaitedFor) Done() <-chan struct{} {
	c.once.Do(func() { close(c.ended) })
	return c.ended
}

func (c *endsWhenItIsWaitedFor) Err() error {
	select {
	case <-c.ended:
		return context.Canceled
	default:
		return nil
	}
}

// lockTries is the real file system. It calls do at the second try for the lock.
type lockTries struct {
	wal.FS
	n  int
	do func()
}

func (f *lockTries) Lock(name, owner string) (wal.Lock, error) {
	if f.n++; f.n == 2 {
		f.do()
	}
	return f.FS.Lock(name, owner)
}

// Whoever waits for the lock, for writing, for recovery or for a repair, waits no longer than the context.
func TestWaitingForTheLockEndsWithItsContext(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 10)
	openDB(t, dir)
	for name, do := range map[string]func(context.Context, ...audit.Option) error{
		"open": func(ctx context.Context, opts ...audit.Option) error {
			_, err := audit.OpenContext(ctx, dir, opts...)
			return err
		},
		"init": func(ctx context.Context, opts ...audit.Option) error {
			_, err := audit.Init(ctx, dir, opts...)
			return err
		},
		"recover": func(ctx context.Context, opts ...audit.Option) error {
			_, err := audit.Recover(ctx, dir, opts...)
			return err
		},
		"repair": func(ctx context.Context, opts ...audit.Option) error {
			_, err := audit.Repair(ctx, dir, audit.RepairOptions{Apply: true}, opts...)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			fs := &lockTries{FS: wal.OS, do: cancel}
			err := do(ctx, audit.WithLockWait(20*time.Second), audit.WithJournalFS(fs))
			if !errors.Is(err, context.Canceled) || errors.Is(err, audit.ErrLocked) {
				t.Errorf("after %d tries: %v", fs.n, err)
			}
		})
	}
}
