package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
)

// Stats are figures about the store. None of them needs a scan of a table.
type Stats struct {
	Audits        uint64
	Agents        uint64 // without anonymous
	Contributions uint64
	Rejected      uint64
	Oldest        *int64 // timestamps; nil where there are no audits
	Newest        *int64
	Cursor        uint64
	FileBytes     int64 // of audit.db
	WALBytes      int64 // of audit.db-wal
	PageSize      int

	// The newest records, at most 1000, and the time from the first to the last of them: a rate.
	RecentAudits int
	RecentSpan   int64 // in the store's unit
}

// Stats returns the figures of one state of the database.
func (db *DB) Stats(ctx context.Context) (Stats, error) {
	const query = `SELECT
		(SELECT coalesce(max(idx) + 1, 0) FROM entry) AS audits,
		(SELECT max(id) FROM agent) AS agents,
		(SELECT value FROM store WHERE name = 'contributions') AS contributions,
		(SELECT value FROM store WHERE name = 'rejected') AS rejected,
		(SELECT value FROM store WHERE name = 'cursor') AS cursor,
		(SELECT min(timestamp) FROM audit) AS oldest,
		(SELECT max(timestamp) FROM audit) AS newest,
		recent, recent_first, recent_last, page_size
		FROM (SELECT count(*) AS recent, min(timestamp) AS recent_first, max(timestamp) AS recent_last
			FROM (SELECT timestamp FROM audit ORDER BY timestamp DESC LIMIT 1000)),
		pragma_page_size`
	var r struct {
		Audits, Agents, Contributions, Rejected, Cursor int64

		Oldest, Newest sql.NullInt64
		Recent         int
		RecentFirst    sql.NullInt64 `db:"recent_first"`
		RecentLast     sql.NullInt64 `db:"recent_last"`
		PageSize       int           `db:"page_size"`
	}
	if err := db.readers.GetContext(ctx, &r, query); err != nil {
		return Stats{}, db.fail("read stats", err)
	}
	s := Stats{
		Audits: uint64(r.Audits), Agents: uint64(r.Agents), Contributions: uint64(r.Contributions),
		Rejected: uint64(r.Rejected), Cursor: uint64(r.Cursor),
		WALBytes: db.WALBytes(), PageSize: r.PageSize,
		RecentAudits: r.Recent, RecentSpan: r.RecentLast.Int64 - r.RecentFirst.Int64,
	}
	if r.Oldest.Valid {
		s.Oldest, s.Newest = &r.Oldest.Int64, &r.Newest.Int64
	}
	var err error
	if s.FileBytes, err = fileSize(db.path); err != nil {
		return s, fmt.Errorf("read stats: %w", err)
	}
	return s, nil
}
