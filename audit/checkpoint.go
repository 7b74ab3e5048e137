package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/wal"
)

// checkpointIfDue starts a checkpoint when enough was applied for one, and completes it when most of it is done.
//
// Copying the pages takes a sixth of the time of applying them, and waits for the disk. So most of it is done beside
// the applier. The pages that were written meanwhile, which are few, are copied by a second checkpoint in the applier,
// and only that one says what is on disk. While many puts are under way the checkpoint is put off, because its syncs would
// slow down theirs.
func (a *applier) checkpointIfDue(ctx context.Context) error {
	if a.unsynced < checkpointEvery {
		return nil
	}
	if a.copying == nil {
		if a.unsynced < checkpointLatest && a.backlog.Busy() {
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

// boundWAL bounds SQLite's -wal: at its limit, it tries checkpoints until one completes, and nothing is applied meanwhile.
// A store that is being closed tries only for some seconds: the reader that blocks it may be a shell that somebody has left
// open.
func (a *applier) boundWAL(ctx context.Context) error {
	for logged, tries := false, 0; a.sql.WALBytes() > a.limits.walBytes; {
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
		if !logged {
			a.log.Error("SQLite's -wal is at its limit, since somebody reads in one long transaction; waiting for the end of it", "wal_bytes", done.WALBytes)
			logged = true
		}
		if a.closing.Err() != nil {
			if tries++; tries > a.limits.tries {
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

// checkpointRest checkpoints what was applied since the last checkpoint, if anything was.
func (a *applier) checkpointRest(ctx context.Context) error {
	a.busy.Lock()
	defer a.busy.Unlock()
	if a.durable.Load() == a.applied.Load() {
		return nil
	}
	return a.checkpoint(ctx, false)
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
	a.durable.Store(done.Applied)
	if a.replaying {
		// Nothing is noted yet, because SQLite may still be suspect. When it is sound, toDisk makes another checkpoint.
		return nil
	}
	next := a.last.Then(done)
	if a.last == nil || a.last.Cursor != next.Cursor || a.file.Doubted || a.file.Failed != nil || a.file.Rebuilding != "" {
		if err := a.note(next); err != nil {
			// The previous note stays valid, and the journal is kept for it.
			a.log.Warn("what SQLite has on disk could not be noted", "error", err)
			return nil
		}
	}
	a.trim(ctx, a.last.Before)
	return nil
}

// note writes to store.json what SQLite has on disk, and that the database is sound: checked, reindexed and replayed
// where that was due. It also says how much the journal had synced. The caller holds busy.
func (a *applier) note(on *storedir.Reached) error {
	before := a.file
	a.file.Trust()
	a.file.Reached, a.file.Failed, a.file.Rebuilding = on, nil, ""
	a.noteSynced()
	if a.file.Synced <= on.Cursor {
		a.file.Synced = 0 // Reached says as much
	}
	if err := storedir.Write(a.dir, a.file); err != nil {
		a.file = before
		return err
	}
	a.last = on
	return nil
}

// noteFailure writes to store.json, for the next opening, that the applier has stopped with an error, and how much the
// journal had synced. The error need not be the journal's own: the reader may be the first to notice that a segment was
// cut. If this write fails, perhaps on the same disk, that is only logged: the next opening sees in any case that the end
// was not clean.
func (a *applier) noteFailure() {
	a.busy.Lock()
	defer a.busy.Unlock()
	if cause := a.sql.Failed(); cause != nil {
		a.file.Fail(a.now(), cause)
	}
	a.noteSynced()
	if err := storedir.Write(a.dir, a.file); err != nil {
		a.log.Error("the failure could not be noted", "error", err)
	}
}

// noteSynced makes the next write of store.json say how much the journal had synced. A segment that was cut, or whose end reads as
// zeros, looks like one that a crash has left half written, and so does a journal whose newest segment is gone. Without this note, the
// next opening would take what is missing for an append that never ended. With it that can be what came since the last checkpoint
// at most.
//
// Of a log on other machines this says nothing.
func (a *applier) noteSynced() {
	if a.journal != nil {
		a.file.Synced = a.journal.Synced()
	}
}

// trim removes the journal before the offset until, except for the newest bytes that the retention keeps. SQLite had
// everything before until on disk at the complete checkpoint before the newest one. An error (the archive is full, say) is
// only logged: the segments stay, and the next checkpoint tries again. A journal that has failed meanwhile reports that
// itself.
func (a *applier) trim(ctx context.Context, until wal.Offset) {
	if a.journal == nil || a.keep < 0 || a.held.Load() > 0 {
		return
	}
	end := a.journal.Synced()
	if uint64(end) <= uint64(a.keep) {
		return
	}
	if err := a.journal.RemoveBeforeContext(ctx, min(until, end-wal.Offset(a.keep))); err != nil && ctx.Err() == nil {
		a.log.Error("old journal segments could not be removed", "error", err)
	}
}
