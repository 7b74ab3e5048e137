package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// facts is what is found of SQLite and of the journal before either is opened for writing.
type facts struct {
	path string // of the database
	file storeFile
	segs []wal.Segment

	there  bool          // something that is not empty has the database's name
	both   sqlstore.Meta // what the database and its -wal say together; zero when unread is set
	unread error         // why they cannot be read
	// alone is what the database says without its -wal, when that can be told: in the middle of a checkpoint it may
	// be unreadable, and this process may have it open.
	alone  *sqlstore.Meta
	hasWAL bool // -wal is there, and not empty
	// What SQLite finds wrong with the database without its -wal, and with it, when they were looked at from end to end.
	looked            bool
	aloneHas, bothHas []string
}

// lookAround reads what there is, and changes nothing. What it reads of SQLite is of one moment only while the caller
// has the lock, or nobody writes.
func lookAround(ctx context.Context, dir string, file storeFile, segs []wal.Segment) (f facts, err error) {
	f = facts{path: sqlitePath(dir), file: file, segs: segs}
	if f.both, f.unread = sqlstore.ReadCursor(ctx, f.path); f.unread != nil {
		f.both = sqlstore.Meta{}
	}
	if ctx.Err() != nil {
		return f, context.Cause(ctx)
	}
	f.there = f.both.Exists || f.unread != nil
	if !f.there {
		return f, nil
	}
	if alone, ok, err := sqlstore.ReadAlone(ctx, f.path); ok && err == nil {
		f.alone = &alone
	}
	st, err := os.Stat(f.path + "-wal")
	if err == nil {
		f.hasWAL = st.Size() > 0
	} else if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if !f.hasWAL && f.unread == nil {
		f.alone = &f.both // there is nothing else
	}
	return f, err
}

// action is what opening does with the database.
type action int

const (
	asItIs  action = iota
	lookAt         // nobody can tell from outside whether it is whole: it is looked at, and decided upon once more
	check          // it is checked, replayed from the first offset that the journal has, and reindexed
	rebuild        // it is moved aside and built anew from the journal
)

// plan is what is decided on facts.
type plan struct {
	action action
	doubt  string // why SQLite's files are not what the store left; "" when they may be
	refuse error  // why the store is not opened
}

// decide says what becomes of the database. It only looks at the facts.
//
// One that is not to be believed is built anew if the journal reaches back to the beginning, else it is kept and
// checked. What was trimmed from the journal is in SQLite alone: without a -wal the database has what it had on disk
// when the journal was trimmed, unless it is older than that. Together with a -wal of another time it can have anything.
func decide(f facts) plan {
	p := plan{doubt: doubt(f)}
	fromBeginning := len(f.segs) > 0 && f.segs[0].Base == 0
	needsBackup := func(found string) plan {
		p.refuse = fmt.Errorf("%s: %w: %s (%s): restore the store from a backup", f.path, ErrMismatch, p.doubt, found)
		return p
	}
	switch {
	case !f.there:
		return plan{} // lost, or not made yet
	case f.unread != nil && !errors.Is(f.unread, sqlstore.ErrMalformed):
		return plan{refuse: f.unread} // it may be read the next time
	case f.unread != nil && fromBeginning:
		p.action = rebuild
		return p
	case f.unread != nil:
		return needsBackup(f.unread.Error())
	}
	if p.refuse = f.foreign(f.both); p.refuse != nil {
		return p
	}
	// A -wal of ours over another store's database says of itself that it is ours, so the database is asked alone as well.
	if f.alone != nil && len(f.aloneHas) == 0 {
		if p.refuse = f.foreign(*f.alone); p.refuse != nil {
			if f.hasWAL && !f.looked {
				p.action, p.doubt, p.refuse = lookAt, p.refuse.Error(), nil
			}
			return p
		}
	}
	switch {
	case !f.looked && (p.doubt == tidied || p.doubt != "" && p.doubt == aloneSays(f)):
		p.action = lookAt
	case p.doubt == "" && f.lacksRejected():
		// What was rejected is in the journal, as far as that reaches back.
		p.doubt, p.action = "table rejected was dropped", check
	case p.doubt == "":
	case fromBeginning:
		p.action = rebuild
	case len(f.segs) == 0:
		p.action = check
	case f.hasWAL && (len(f.bothHas) > 0 || aloneSays(f) != "" || bothSay(f) != ""):
		return needsBackup("another -wal lies beside it than its own; if it can be told which is right, move the other one out of the folder")
	case wal.Offset(f.both.Cursor) < f.segs[0].Base:
		p.refuse = fmt.Errorf("%s: %w: it ends at offset %d, and the journal that is left begins at %d: restore the store from a backup",
			f.path, wal.ErrGap, f.both.Cursor, f.segs[0].Base)
	default:
		p.action = check
	}
	return p
}

// foreign refuses a database of another store.
func (f facts) foreign(m sqlstore.Meta) error {
	return cmp.Or(f.file.checkStore(f.path, m), f.file.checkUnit(f.path, m))
}

func (f facts) lacksRejected() bool {
	for _, name := range f.both.MissingTables() {
		if name == "rejected" {
			return true
		}
	}
	return false
}

// tidied is the doubt about a database whose -wal may have been removed by SQLite itself, when a reader that outlived the
// writer was closed.
const tidied = "its -wal is gone, which the last reader to close may have seen to"

// doubt says why SQLite's files are not what the store left, or nothing when they may be. Between the first
// write and the note that all is on disk there is a -wal with something in it: a writer gives it its header when
// it opens, and only shortens it after the note. Without it the database may be a mix of two states, with a
// cursor ahead of its rows, and SQLite would not notice.
func doubt(f facts) string {
	switch {
	case !f.there:
		return "" // lost, not doubted
	case errors.Is(f.unread, sqlstore.ErrMalformed):
		return f.unread.Error()
	case !f.file.Used:
		return ""
	}
	if why := aloneSays(f); why != "" {
		return why
	}
	if why := bothSay(f); why != "" {
		return why
	}
	switch {
	case len(f.bothHas) > 0:
		return "SQLite finds: " + f.bothHas[0]
	case f.file.Clean:
		return ""
	case f.file.Doubted && f.file.lost != "":
		return f.file.lost + ", and with it what was known of SQLite's files"
	case f.file.Doubted:
		return "it was found not to be believed, and was not checked to the end"
	case f.hasWAL:
		return ""
	case f.file.Left == nil || f.alone == nil || wal.Offset(f.alone.Cursor) != *f.file.Left || len(f.aloneHas) > 0:
	case !f.looked:
		return tidied
	default:
		return ""
	}
	return "its -wal is missing"
}

// aloneSays says why the database without its -wal cannot be what the store left: SQLite puts any -wal over any
// database, and what comes out can have one record under the id of another.
//
// In the middle of a checkpoint the database alone is neither old nor new, and may say anything. So with a -wal beside
// it, it is only believed when SQLite finds nothing wrong with it (facts.aloneHas).
//
// What it cannot tell apart are two files of one time between two checkpoints, which are noted.
func aloneSays(f facts) string {
	was := f.file.Reached
	if f.file.Rebuilding != "" {
		was = nil
	}
	switch {
	case f.alone == nil || len(f.aloneHas) > 0:
		return ""
	case f.both.Exists && f.alone.Reach > f.both.Reach:
		// A checkpoint copies pages that -wal has. One that has lost its end, which a disk may do with what it never
		// synced, puts older pages over newer ones.
		return fmt.Sprintf("with its -wal it ends at offset %d, and at %d without: that -wal is older", f.both.Reach, f.alone.Reach)
	case was != nil && wal.Offset(f.alone.Reach) < was.Cursor:
		return fmt.Sprintf("it ends at offset %d, and had everything up to %d", f.alone.Reach, was.Cursor)
	}
	return ""
}

// bothSay says why the database and its -wal together cannot be what the store left.
func bothSay(f facts) string {
	was := f.file.Reached
	if was == nil || !f.both.Exists || f.file.Rebuilding != "" {
		return "" // made before this was noted, or not to be read
	}
	if both := wal.Offset(f.both.Reach); both < was.Cursor || f.file.Clean && both != was.Cursor {
		return fmt.Sprintf("with its -wal it ends at offset %d, and had everything up to %d", both, was.Cursor)
	}
	return ""
}
