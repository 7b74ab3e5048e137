package storedir

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// Action is what an opening does with the database.
type Action int

const (
	Keep    Action = iota // use it as it is, or make it when there is none
	Examine               // only SQLite can find out whether it is sound: call Facts.Examine, then Decide again
	Check                 // check it, replay the journal from its first offset, and reindex
	Rebuild               // move it aside and rebuild it from the journal
)

// Plan is what Decide returns.
type Plan struct {
	Action Action
	Doubt  string // why SQLite's files cannot be what the store left there; "" when they can
	Refuse error  // why the store is not opened
	// DropWAL says to move the -wal aside first, because the database is whole without it.
	DropWAL bool
}

// NeedsBackup returns the error for the database at path if it is suspect, for the reason doubt, and cannot be rebuilt.
// found is what shows that it cannot be used as it is.
func NeedsBackup(path, doubt, found string) error {
	return fmt.Errorf("%s: %w: %s (%s): restore the store from a backup", path, ErrMismatch, doubt, found)
}

// A DamagedError says that SQLite cannot read all of its database, and that no journal can replace it, since the journal was
// trimmed. A reindex salvages it if the damage is in what can be made anew. It is a sqlstore.ErrMalformed.
type DamagedError struct {
	Path  string // of the database
	Doubt string // why the database was suspect before; "" when it was not
	Err   error  // what SQLite says
}

func (e *DamagedError) Error() string {
	what, doubt := e.Err.Error(), ""
	if !strings.Contains(what, e.Path) {
		what = e.Path + ": " + what
	}
	if e.Doubt != "" && !strings.Contains(what, e.Doubt) {
		doubt = " (" + e.Doubt + ")"
	}
	return fmt.Sprintf("%s%s; the journal was trimmed and cannot replace it: a reindex salvages it if no record is lost, else restore the store from a backup", what, doubt)
}

// Unwrap returns what SQLite says.
func (e *DamagedError) Unwrap() error { return e.Err }

// Damaged returns a *DamagedError for the database at path.
func Damaged(path, doubt string, err error) error { return &DamagedError{path, doubt, err} }

// Decide says what an opening does with the database. It is a function of the facts alone.
//
// A suspect database is rebuilt if the journal reaches back to the beginning, else it is kept and
// checked. What was trimmed from the journal is in SQLite alone. A database without a -wal has at least what it had on
// disk when the journal was trimmed, unless it is an older copy. A database with a -wal of another time can hold any mix
// of pages. The database of a store that follows a log is always rebuilt: the log has what it lacks, and a database that
// misses records would go on without them.
func Decide(f Facts) Plan {
	p := Plan{Doubt: doubt(f)}
	// A log is read again from its beginning. If it was trimmed, whoever reads it finds that out, and the old database lies aside.
	fromBeginning := f.File.Follows != nil || len(f.Segments) > 0 && f.Segments[0].Base == 0
	needsBackup := func(found string) Plan {
		p.Refuse = NeedsBackup(f.Path, p.Doubt, found)
		return p
	}
	switch {
	case !f.Exists:
		return Plan{} // lost, or not made yet
	case f.Unread != nil && !errors.Is(f.Unread, sqlstore.ErrMalformed):
		return Plan{Refuse: f.Unread} // it may be readable the next time
	case f.Unread != nil && fromBeginning:
		p.Action = Rebuild
		return p
	case f.Unread != nil && f.HasWAL && !f.Examined:
		p.Action = Examine
		return p
	case f.Unread != nil && standsAlone(f):
		p.Action, p.DropWAL = Check, true
		return p
	case f.Unread != nil:
		p.Refuse = Damaged(f.Path, "", f.Unread)
		return p
	}
	if p.Refuse = f.foreign(f.Both); p.Refuse != nil {
		return p
	}
	// SQLite reads pages from -wal before those of the database. So with this store's -wal beside it, the database of
	// another store looks like this store's. Therefore the store's id is also read without -wal.
	if f.Alone != nil && len(f.AloneProblems) == 0 {
		if p.Refuse = f.foreign(*f.Alone); p.Refuse != nil {
			if f.HasWAL && !f.Examined {
				p.Action, p.Doubt, p.Refuse = Examine, p.Refuse.Error(), nil
			}
			return p
		}
	}
	switch {
	case !f.Examined && (p.Doubt == tidied || p.Doubt != "" && p.Doubt == aloneDoubt(f)):
		p.Action = Examine
	case p.Doubt == "" && slices.Contains(f.Both.MissingTables(), "rejected"):
		// The journal has what was rejected, as far as it reaches back.
		p.Doubt, p.Action = "table rejected was dropped", Check
		if f.File.Follows != nil {
			p.Action = Rebuild
		}
	case p.Doubt == "":
	case fromBeginning:
		p.Action = Rebuild
	case len(f.Segments) == 0:
		p.Action = Check
	case (len(f.BothProblems) > 0 || aloneDoubt(f) != "" || bothDoubt(f) != "") && standsAlone(f):
		p.Action, p.DropWAL = Check, true
	case f.HasWAL && aloneDoubt(f) == "" && bothDoubt(f) == "" && len(f.BothProblems) > 0:
		p.Refuse = Damaged(f.Path, "", fmt.Errorf("%w: %s", sqlstore.ErrMalformed, p.Doubt))
	case f.HasWAL && (aloneDoubt(f) != "" || bothDoubt(f) != ""):
		return needsBackup("the -wal beside it is not its own; if you know which of the two is right, move the other one out of the folder")
	case wal.Offset(f.Both.Cursor) < f.Segments[0].Base:
		p.Refuse = fmt.Errorf("%s: %w: it ends at offset %d, and the journal that is left begins at %d: restore the store from a backup",
			f.Path, wal.ErrGap, f.Both.Cursor, f.Segments[0].Base)
	default:
		p.Action = Check
	}
	return p
}

// standsAlone reports whether the database can be used without its -wal: it is whole, it has what it had on disk at the last
// complete checkpoint that was noted, and the journal has all that came after it.
//
// A -wal that does not fit the database can come from a shell with synchronous=OFF. After a complete checkpoint it begins
// -wal anew, and a power cut leaves any of the bytes that it wrote. SQLite then reads old pages from what is left of the
// former content, and takes them for newer ones than those of the database. The writer syncs -wal before anything is copied
// out of it, so in the middle of a checkpoint of its own the two fit together, and this is not asked.
func standsAlone(f Facts) bool {
	was := f.File.Reached
	return f.HasWAL && f.Examined && f.Alone != nil && len(f.AloneProblems) == 0 && f.foreign(*f.Alone) == nil &&
		was != nil && f.File.Rebuilding == "" && wal.Offset(f.Alone.Reach) >= was.Cursor &&
		len(f.Segments) > 0 && wal.Offset(f.Alone.Cursor) >= f.Segments[0].Base
}

// foreign returns a *ForeignError for a database of another store.
func (f Facts) foreign(m sqlstore.Meta) error {
	if err := f.File.CheckStore(f.Path, m, f.Journal); err != nil {
		return err
	}
	return f.File.CheckUnit(f.Path, m, f.Journal)
}

// tidied is the doubt about a database whose -wal SQLite itself may have removed: it does so when a reader ends that
// has outlived the writer.
const tidied = "its -wal is gone, which the last reader to close may have removed"

// doubt says why SQLite's files cannot be what the store left, or "" when they can.
//
// From the first write until the note that all is on disk there is a -wal that is not empty: a writer gives it its
// header when it opens, and shortens it only after the note. Without it the database may be a mix of two states, with a
// cursor ahead of its rows, and SQLite would not notice.
func doubt(f Facts) string {
	switch {
	case !f.Exists:
		return "" // it is lost
	case errors.Is(f.Unread, sqlstore.ErrMalformed):
		return f.Unread.Error()
	case !f.File.Used:
		return ""
	}
	if why := aloneDoubt(f); why != "" {
		return why
	}
	if why := bothDoubt(f); why != "" {
		return why
	}
	switch {
	case len(f.BothProblems) > 0:
		return "SQLite finds: " + f.BothProblems[0]
	case f.File.Clean:
		return ""
	case f.File.Doubted && f.File.Lost != "":
		return f.File.Lost + ", and with it what was known of SQLite's files"
	case f.File.Doubted:
		return cmp.Or(f.File.Doubt, "an opening found it suspect") + ", and since then it was not checked to the end"
	case f.HasWAL:
		return ""
	case f.File.Left == nil || f.Alone == nil || wal.Offset(f.Alone.Cursor) != *f.File.Left || len(f.AloneProblems) > 0:
	case !f.Examined:
		return tidied
	default:
		return ""
	}
	return "its -wal is missing"
}

// aloneDoubt says why the database without its -wal cannot be what the store left. SQLite reads any -wal together with any
// database, and the mix can have one record under the id of another.
//
// In the middle of a checkpoint the database alone is neither old nor new, and may say anything. So with a -wal beside
// it, what it says counts only when SQLite finds nothing wrong with it (Facts.AloneProblems).
//
// It does not notice a database that was replaced by another copy of itself, if no checkpoint was noted between the two
// copies.
func aloneDoubt(f Facts) string {
	was := f.File.Reached
	if f.File.Rebuilding != "" {
		was = nil
	}
	switch {
	case f.Alone == nil || len(f.AloneProblems) > 0:
		return ""
	case f.Both.Exists && f.Alone.Reach > f.Both.Reach:
		// A checkpoint has copied pages from -wal that -wal has no longer. A disk may lose the end of a file that was never
		// synced. What is left of such a -wal hides newer pages of the database with older ones.
		return fmt.Sprintf("with its -wal it ends at offset %d, and at %d without: that -wal is older", f.Both.Reach, f.Alone.Reach)
	case was != nil && wal.Offset(f.Alone.Reach) < was.Cursor:
		return fmt.Sprintf("it ends at offset %d, and had everything up to %d", f.Alone.Reach, was.Cursor)
	}
	return ""
}

// bothDoubt says why the database and its -wal together cannot be what the store left.
func bothDoubt(f Facts) string {
	was := f.File.Reached
	if was == nil || !f.Both.Exists || f.File.Rebuilding != "" {
		return "" // nothing was noted, or the database cannot be read
	}
	if both := wal.Offset(f.Both.Reach); both < was.Cursor || f.File.Clean && both != was.Cursor {
		return fmt.Sprintf("with its -wal it ends at offset %d, and had everything up to %d", both, was.Cursor)
	}
	return ""
}
