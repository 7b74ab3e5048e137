package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/auditsql/auditsql/wal"
)

// Offset is a place in the journal, or in a store that follows a log the number of a message.
type Offset = wal.Offset

// TailRecord is a record with its place in the journal.
type TailRecord struct {
	Offset Offset // where the journal has it
	Next   Offset // where TailAfter goes on after it
	Raw    []byte // its stored bytes, which are the receiver's
}

// Tail yields the stored bytes of the last n records in the order of the journal and, with follow, of
// every record that is acknowledged after them, until ctx ends. When the store is closed it ends with ErrClosed,
// in the writer's process after the last record. It reads the journal, beside a live
// writer or without one, and does not wait for SQLite. See TailAfter for what it leaves out. Of a store that follows a log it
// yields what SQLite has.
func (db *DB) Tail(ctx context.Context, n int, follow bool) iter.Seq2[[]byte, error] {
	tail := tailOf(ctx, db, func(ctx context.Context, yield func([]byte, error) bool) error {
		return db.tail(ctx, n, follow, yield)
	})
	if follow {
		return tail
	}
	return whileOpen(ctx, db, tail)
}

// TailAfter yields every record whose offset in the journal is not before after, in the order of the journal, and then each
// one that is acknowledged, until ctx ends. A reader that was interrupted goes on with the Next of the last record that it
// has seen: it misses no record and sees none twice, also after the store was closed and opened again. 0 is the beginning. An
// offset between two records or within one means the record that follows it.
//
// It yields the records that the store has. The journal may hold more: a record that somebody wrote to it twice, or under an id
// that was taken. These are left out.
//
// When the journal was trimmed after that offset, also while the receiver was slow, the error is a *TrimmedError. An offset
// after the end of the journal is a wal.ErrRewound: it comes from another store, or from one that has lost its end since.
// Beside a writer in another process, a record may come shortly before that process has synced it, and a power cut may take
// it back. When the store is closed, TailAfter ends with ErrClosed, in the writer's process after the last record.
func (db *DB) TailAfter(ctx context.Context, after Offset) iter.Seq2[TailRecord, error] {
	return tailOf(ctx, db, func(ctx context.Context, yield func(TailRecord, error) bool) error {
		return db.tailAfter(ctx, after, true, yield)
	})
}

// tailOf yields what run yields, and at the end the error of run, unless ctx has ended. run gets a context that also ends when
// the store is closed.
func tailOf[T any](ctx context.Context, db *DB, run func(context.Context, func(T, error) bool) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		until := ctx
		if db.applier == nil || db.file.Follows != nil {
			// No journal in this process tells its readers that it is closed.
			inner, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			defer context.AfterFunc(db.quit, func() { cancel(ErrClosed) })()
			until = inner
		}
		err := run(until, yield)
		if err != nil && errors.Is(context.Cause(until), ErrClosed) && !errors.Is(err, ErrClosed) {
			if errors.Is(err, context.Canceled) {
				err = ErrClosed // the close has ended it
			} else {
				err = fmt.Errorf("%w: %w", ErrClosed, err)
			}
		}
		if err != nil && ctx.Err() == nil {
			var none T
			yield(none, fmt.Errorf("tail: %w", journalError(err)))
		}
	}
}

func (db *DB) tail(ctx context.Context, n int, follow bool, yield func([]byte, error) bool) error {
	if err := db.tailable(ctx); err != nil {
		return err
	}
	if db.file.Follows != nil {
		return db.tailFollowed(ctx, n, follow, yield)
	}
	from, err := db.tailFrom(ctx, n)
	if err != nil {
		return err
	}
	// SQLite may lag, so there may be more than n records up to the end.
	var last [][]byte
	admitted := db.admission()
	from, err = db.readJournal(ctx, from, admitted.only(ctx, func(rec wal.Record) bool {
		if last = append(last, rec.Payload); len(last) > n {
			last = last[1:]
		}
		return true
	}))
	// The reader is opened before anything is yielded. The store may be closed meanwhile, and a reader that was opened
	// after that would wait for a writer in another process.
	var rest *wal.Reader
	if err == nil && follow {
		if rest, err = db.openJournal(from, true); err == nil {
			defer rest.Close()
			err = db.readable(ctx)
		}
	}
	for _, payload := range last {
		if !yield(payload, nil) {
			return nil
		}
	}
	if err != nil || !follow {
		return err
	}
	return readOn(ctx, rest, admitted.only(ctx, func(rec wal.Record) bool { return yield(rec.Payload, nil) }))
}

// tailable is the start of every call that reads the journal.
func (db *DB) tailable(ctx context.Context) error {
	if err := db.readable(ctx); err != nil {
		return err
	}
	return db.journalAway()
}

// tailFrom returns the offset where the last n records begin, as far as SQLite knows.
func (db *DB) tailFrom(ctx context.Context, n int) (wal.Offset, error) {
	cursor, err := db.sql.Cursor(ctx)
	if err != nil {
		return 0, err
	}
	at := wal.Offset(cursor)
	if n > 0 {
		entry, ok, err := db.sql.EntryBefore(ctx, uint64(n-1))
		if err != nil {
			return 0, err
		}
		if at = 0; ok {
			at = wal.Offset(entry.JournalOffset)
		}
	}
	// When that was trimmed, the first offset of the journal is returned.
	segs, err := wal.Segments(db.journalDir, db.opts.journal())
	if err != nil {
		return 0, err
	}
	if len(segs) > 0 {
		at = max(at, segs[0].Base)
	}
	return at, nil
}

// readJournal calls visit with each record from an offset on, to the end of the data or until visit returns false or an
// error. It returns the offset where the last one ends.
func (db *DB) readJournal(ctx context.Context, from wal.Offset, visit func(wal.Record) (more bool, err error)) (wal.Offset, error) {
	reader, err := db.openJournal(from, false)
	if err != nil {
		return from, err
	}
	defer reader.Close()
	err = readOn(ctx, reader, visit)
	return reader.Offset(), err
}

func (db *DB) openJournal(from wal.Offset, follow bool) (*wal.Reader, error) {
	o := db.opts.journal()
	o.Follow = follow
	return wal.OpenReader(db.journalDir, from, o)
}

// readOn calls visit with each record of a reader until visit returns false or an error. It ends at the end of the data, or
// for a reader that follows, at the end of ctx.
func readOn(ctx context.Context, reader *wal.Reader, visit func(wal.Record) (more bool, err error)) error {
	for {
		rec, err := reader.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if more, err := visit(rec); err != nil || !more {
			return err
		}
	}
}
