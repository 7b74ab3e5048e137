package audit

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/auditsql/auditsql/wal"
)

// Stats returns what is known without a scan.
func (db *DB) Stats(ctx context.Context) (Stats, error) {
	s, err := db.stats(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("stats: %w", err)
	}
	return s, nil
}

func (db *DB) stats(ctx context.Context) (Stats, error) {
	if err := db.readable(ctx); err != nil {
		return Stats{}, err
	}
	rows, err := db.sql.Stats(ctx)
	if err != nil {
		return Stats{}, db.wholeSince(ctx, err)
	}
	s := Stats{
		Dir: db.dir, StoreID: db.file.StoreID, TimeUnit: db.TimeUnit(),
		JournalDir: db.journalDir, Retention: Retention(db.file.Retention),
		Audits: rows.Audits, Agents: rows.Agents, Contributions: rows.Contributions, Rejected: rows.Rejected,
		Oldest: unsigned(rows.Oldest), Newest: unsigned(rows.Newest),
		Applied:     wal.Offset(rows.Cursor),
		SQLiteBytes: rows.FileBytes, SQLiteWAL: rows.WALBytes,
	}
	if rows.RecentSpan > 0 {
		s.RecentPerSecond = float64(rows.RecentAudits-1) / float64(rows.RecentSpan) * float64(db.TimeUnit().PerSecond())
	}
	if s.Log, err = db.Log(ctx); errors.Is(err, ErrLogFile) {
		s.Log = &LogState{Problem: err}
	} else if err != nil && !errors.Is(err, ErrNoLog) {
		return Stats{}, err
	}
	if s.Inbox, err = db.inboxState(ctx); err != nil {
		return Stats{}, err
	}
	if o := db.file.Follows; o != nil {
		s.Follows, s.Applied = o.Name(), wal.Offset(lastBefore(s.Applied))
	}
	if away := db.journalAway(); away != nil {
		s.JournalAway = away.Error()
		return s, nil
	}
	segs, err := db.segments()
	if err != nil {
		return Stats{}, err
	}
	s.Segments = len(segs)
	for _, seg := range segs {
		s.JournalBytes += seg.Size
	}
	if n := len(segs); n > 0 {
		s.JournalFirst = segs[0].Base
		s.JournalEnd = segs[n-1].Base + wal.Offset(segs[n-1].Size)
	}
	if db.applier != nil {
		s.Writing, s.Writer = true, os.Getpid()
		s.Backlog, s.BacklogBytes = db.backlog.Load()
		if d := wal.Offset(db.applier.durable.Load()); d > 0 {
			s.Durable = &d
		}
	} else if err := db.statsBeside(ctx, &s); err != nil {
		return Stats{}, err
	}
	if s.JournalEnd > s.Applied {
		s.LagBytes = uint64(s.JournalEnd - s.Applied)
	}
	return s, nil
}

// statsBeside adds what can be seen of a writer in another process. It reads the journal after the cursor, which is at
// most the writer's backlog. Zeros that were written ahead are no data.
func (db *DB) statsBeside(ctx context.Context, s *Stats) (err error) {
	var owner wal.Owner
	if s.Writing, owner, err = wal.Holder(db.journalDir, db.opts.journal()); err != nil {
		return err
	}
	s.Writer = owner.PID
	if db.file.Follows != nil {
		return nil
	}
	end, err := db.readJournal(ctx, s.Applied, func(rec wal.Record) (more bool, err error) {
		s.Backlog++
		s.BacklogBytes += int64(len(rec.Payload))
		return true, nil
	})
	if err == nil {
		s.JournalEnd = end
	}
	// verify reports damage. Here it only means that the end is not known better than by the sizes of the files.
	return ctx.Err()
}

func (db *DB) segments() ([]wal.Segment, error) {
	switch {
	case db.journal != nil:
		return db.journal.Segments(), nil
	case db.file.Follows != nil:
		return nil, nil
	}
	return wal.Segments(db.journalDir, db.opts.journal())
}

func unsigned(t *int64) *uint64 {
	if t == nil {
		return nil
	}
	u := uint64(*t)
	return &u
}
