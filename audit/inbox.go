package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/wal"
)

// The inbox is a second journal in the store's folder. The receiver of spans (package otlp/receive) keeps there what it has acknowledged
// and what has not become records yet. The store never reads it, and opens without it: it only says how it is.

// InboxDir returns the folder of the inbox of the store in dir. It may not exist.
func InboxDir(dir string) string { return filepath.Join(dir, storedir.InboxName) }

// inboxSegment is how large a segment of an inbox becomes. Small ones are removed soon, and after a crash little is read again.
const inboxSegment = 8 << 20

// Inbox makes the folder of the store's inbox if there is none, and returns it with the options for opening it as a journal. Its
// segments begin with an identity of their own, so an inbox of another store is refused, and none is taken for the store's journal. Only
// a process that has the store open for writing may open it: otherwise the error is ErrReadOnly or ErrClosed.
func (db *DB) Inbox() (dir string, o wal.Options, err error) {
	done, err := db.begin()
	if err != nil {
		return "", o, err
	}
	defer done()
	dir = InboxDir(db.dir)
	if err := storedir.CheckJournalLinks(db.dir, storedir.InboxName); err != nil {
		return "", o, err
	}
	if err := durable.MkdirAll(dir, storedir.OwnedLike(db.dir)); err != nil {
		return "", o, fmt.Errorf("make the inbox: %w", err)
	}
	return dir, inboxOptions(db.file), nil
}

func inboxOptions(file storedir.File) wal.Options {
	return wal.Options{Identity: append(slices.Clip(file.Identity()), "inbox"...), SegmentBytes: inboxSegment}
}

// InboxState is what can be seen of an inbox.
type InboxState struct {
	Segments int
	Bytes    int64 // of its files
	Open     bool  // a receiver has it open
	// Damage says what is wrong with it, "" if nothing is known to be. A receiver of this process has said so, or it was looked for. That is
	// only done while no receiver has it open: a receiver that runs has found it to be whole.
	Damage string
	// Unread says that nobody has looked for damage, since it is large. Verify does it.
	Unread bool
	// Lost is how many bytes at its end were damaged when a receiver of this process opened it: spans that were acknowledged may have been
	// there. nil: no receiver of this process has opened it.
	Lost *int64
	// KeptAside is how many bytes its folder quarantine has: of writes that did not end, of damage at its end, and of what a repair has
	// taken out.
	KeptAside int64
}

// maxInboxRead is how large an inbox may be that Stats reads. Verify reads every one.
const maxInboxRead = 64 << 20

// NoteInbox notes for Stats how a receiver has found the inbox of the store: the damage that keeps it from taking spans, "" if there is
// none, and how many bytes at the end of the inbox it has kept aside that may have been acknowledged.
func (db *DB) NoteInbox(damage string, lost int64) {
	db.inbox.mu.Lock()
	defer db.inbox.mu.Unlock()
	db.inbox.told, db.inbox.lost = damage, &lost
}

// inboxState returns nil if there is no inbox.
func (db *DB) inboxState(ctx context.Context) (*InboxState, error) {
	dir, o := InboxDir(db.dir), inboxOptions(db.file)
	segs, err := wal.Segments(dir, o)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(segs) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := &InboxState{Segments: len(segs)}
	for _, seg := range segs {
		s.Bytes += seg.Size
	}
	if s.KeptAside, err = sizeOfFiles(filepath.Join(dir, "quarantine")); err != nil {
		return nil, err
	}
	if s.Open, _, err = wal.Holder(dir, o); err != nil {
		return nil, err
	}
	seen := inboxFiles(segs)
	db.inbox.mu.Lock()
	defer db.inbox.mu.Unlock()
	s.Lost = db.inbox.lost
	switch s.Damage = db.inbox.told; {
	case s.Damage != "" || s.Open:
		return s, nil
	case s.Bytes > maxInboxRead:
		s.Unread = true
		return s, nil
	}
	// Metrics ask every few seconds. What was read once is not read again until its files change.
	if db.inbox.seen != seen {
		report, err := wal.VerifyContext(ctx, dir, o, nil)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			db.inbox.damage = err.Error()
		case len(report.Damage) > 0:
			db.inbox.damage = report.Damage[0].Error()
		default:
			db.inbox.damage = ""
		}
		db.inbox.seen = seen
	}
	s.Damage = db.inbox.damage
	return s, nil
}

// sizeOfFiles is how many bytes the files in a folder have; 0 if there is no such folder.
func sizeOfFiles(dir string) (bytes int64, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // one that has just gone has none
			bytes += info.Size()
		}
	}
	return bytes, err
}

// inboxFiles is a text that changes when the files change.
func inboxFiles(segs []wal.Segment) (text string) {
	for _, seg := range segs {
		if st, err := os.Stat(seg.Path); err == nil {
			text += fmt.Sprintln(seg.Base, st.Size(), st.ModTime().UnixNano())
		}
	}
	return text
}

// inbox verifies the inbox of the store in dir. What is wrong with it is a problem of the report, and never one for opening the store.
func (v *verification) inbox(ctx context.Context, dir string, file storedir.File) error {
	if v.quick {
		return nil
	}
	report, err := wal.VerifyContext(ctx, InboxDir(dir), inboxOptions(file), nil)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		v.found.problem("inbox: %v", err)
	}
	for _, d := range report.Damage {
		v.found.problem("inbox: %v", d)
	}
	if len(report.Gaps) > 0 {
		v.found.note("the inbox has gaps (%d, %d bytes), where bytes were no records when it was opened or repaired: spans that were there are lost; copies are in %s",
			len(report.Gaps), report.FillBytes, filepath.Join(InboxDir(dir), "quarantine"))
	}
	return nil
}

// InboxOptions are the options for reading the inbox of the store in dir, whose folder is InboxDir.
func InboxOptions(dir string) (wal.Options, error) {
	file, err := storedir.Recall(context.Background(), dir)
	if err != nil {
		return wal.Options{}, err
	}
	return inboxOptions(file), nil
}

// RepairInbox is Repair for the inbox of the store in dir. Nothing has a copy of its records, so what is damaged is lost; everything else
// becomes readable. No receiver may have it open.
func RepairInbox(ctx context.Context, dir string, o RepairOptions, opts ...Option) (r RepairReport, err error) {
	file, err := storedir.Recall(ctx, dir)
	if err == nil && o.Apply {
		err = storedir.CheckOwner(dir)
	}
	if err != nil {
		return r, fmt.Errorf("repair the inbox: %w", err)
	}
	inbox, of := InboxDir(dir), inboxOptions(file)
	r.SQLite = "it has no copy of what is in the inbox"
	r.Journal, err = wal.RepairContext(ctx, inbox, wal.RepairOptions{
		Apply: o.Apply, LockWait: applyOptions(opts).lockWait, Identity: of.Identity,
		Cursor: func() (wal.Offset, error) {
			segs, err := wal.Segments(inbox, of)
			if err != nil || len(segs) == 0 {
				return 0, err
			}
			return segs[0].Base, nil
		},
	})
	r.Ranges = make([]RepairedRange, len(r.Journal.Damage))
	if err != nil {
		return r, fmt.Errorf("repair the inbox: %w", err)
	}
	return r, nil
}
