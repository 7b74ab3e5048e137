package storedir

import (
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// Reached is a state that SQLite had on disk when store.json was written. SQLite never has less after that. So if the
// database file, SQLite's two files together, or the journal show less, somebody has replaced them. Offsets are never
// used twice, so this stays true however often SQLite is rebuilt.
type Reached struct {
	Cursor wal.Offset `json:"cursor"`
	Newest *Milestone `json:"newest,omitempty"` // the newest record before the cursor; nil when there was none
	// Before is the cursor of the complete checkpoint before this one, 0 when there was none. The journal is trimmed up
	// to here and no further: if the newest checkpoint is lost, the journal still reaches back to the one before.
	Before wal.Offset `json:"before,omitempty"`
}

// Milestone is where a record lies in the journal. The journal of another store has another record there, or none.
type Milestone struct {
	Offset  wal.Offset `json:"offset"`
	QueryID ID         `json:"query_id"`
}

// Then returns what to note after the next complete checkpoint. r is nil when no earlier one counts. If the next
// checkpoint found nothing new, Before stays as it was.
func (r *Reached) Then(done sqlstore.Checkpoint) *Reached {
	next := &Reached{Cursor: wal.Offset(done.Applied)}
	switch {
	case r == nil:
	case r.Cursor < next.Cursor:
		next.Before = r.Cursor
	default:
		next.Before = r.Before
	}
	if newest := done.Newest; newest != nil {
		next.Newest = &Milestone{wal.Offset(newest.JournalOffset), newest.QueryID}
	}
	return next
}
