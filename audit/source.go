package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
	"unique"

	"github.com/auditsql/auditsql/internal/backlog"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

// source is where the records of a store come from: its journal, or a log on other machines that it follows.
type source interface {
	// feed hands over batches in order, until ctx ends or there will be no more. With toEnd it also ends, without an error, when
	// there are no more for now.
	feed(ctx context.Context, out chan<- *batch, toEnd bool) error
	// press makes feed hand over what it has, without waiting for more records.
	press()
	// sync makes durable what was acknowledged. Then synced is after it.
	sync(ctx context.Context) error
	// synced is the offset up to which everything is durable.
	synced() wal.Offset
	// err is why no more records come, or nil.
	err() error
	// stop ends the reading, after feed has ended. close ends all the rest.
	stop() error
	close() error
}

// journalSource is the journal of the store.
type journalSource struct {
	journal *wal.Journal
	reader  *wal.Reader
	backlog *backlog.Backlog
	own     wal.Offset    // records from here on were appended by this opening
	hurry   chan struct{} // holds one token when a call waits for what is not applied yet
}

func (s *journalSource) sync(ctx context.Context) error { return s.journal.Sync(ctx) }
func (s *journalSource) synced() wal.Offset             { return s.journal.Synced() }
func (s *journalSource) err() error                     { return s.journal.Err() }
func (s *journalSource) stop() error                    { return s.reader.Close() }
func (s *journalSource) close() error                   { return s.journal.Close() }

func (s *journalSource) press() {
	select {
	case s.hurry <- struct{}{}:
	default:
	}
}

// read adds what the journal has to a batch, until the batch is full or the journal has no more for now.
func (s *journalSource) read(ctx context.Context, b *batch) error {
	from := len(b.rows)
	for !b.full() {
		rec, err := s.reader.Next(ctx)
		if errors.Is(err, io.EOF) {
			// After the last record there may be a mark or a filler. The cursor must pass it: otherwise SQLite would
			// never have everything.
			b.cursor = s.reader.Offset()
			if b.began.IsZero() {
				b.began = time.Now()
			}
			return s.checkOwn(b.rows[from:])
		}
		if err != nil {
			return err
		}
		if b.len() == 0 {
			b.began = time.Now()
		}
		b.bytes += int64(len(rec.Payload))
		b.segments = s.reader.Entered() - b.entered
		b.cursor = rec.Next
		// What this opening has appended is canonical: it was encoded here.
		read := rowOf
		if rec.Offset >= s.own {
			read = rowOfOwn
		}
		row, err := read(rec.Payload)
		if err != nil {
			b.rejected = append(b.rejected, sqlstore.Rejected{
				Offset: uint64(rec.Offset), Reason: err.Error(), Payload: rec.Payload,
			})
			continue
		}
		intern(&row)
		row.Offset, row.Leaf = uint64(rec.Offset), tree.LeafHash(rec.Payload)
		b.rows = append(b.rows, row)
		b.sizes = append(b.sizes, int32(len(rec.Payload)))
	}
	return s.checkOwn(b.rows[from:])
}

// checkOwn compares the leaf hashes of records as the journal has them with those of the bytes that were put. One bit that
// changed in between would be in the tree, and perhaps under a signature, for good. What an earlier process has put is not
// known any more.
func (s *journalSource) checkOwn(rows []sqlstore.Record) error {
	for len(rows) > 0 && wal.Offset(rows[0].Offset) < s.own {
		rows = rows[1:]
	}
	at := s.backlog.Altered(len(rows), func(i int) (id, leaf [32]byte) { return rows[i].QueryID, rows[i].Leaf })
	if at >= 0 {
		row := &rows[at]
		return fmt.Errorf("%w: record %s was put, and the journal has other bytes of it at offset %d, with checksums that fit; nothing more is applied: check the memory and the disk of this machine, then run verify",
			ErrDamaged, Hash(row.QueryID), row.Offset)
	}
	return nil
}

// feed reads batches from the journal and hands them over.
func (s *journalSource) feed(ctx context.Context, out chan<- *batch, toEnd bool) error {
	moment := time.NewTimer(gather)
	defer moment.Stop()
	sentUpTo := s.reader.Offset()
	var sentAt time.Time // when the applier has begun with the batch before
	usual := 0           // how many rows the batch before had
	for {
		if !toEnd {
			if err := s.journal.Wait(ctx, s.reader.Offset()+1); err != nil {
				return err
			}
		}
		b := &batch{
			rows: make([]sqlstore.Record, 0, usual), sizes: make([]int32, 0, usual), journal: s.reader.Payloads(), entered: s.reader.Entered(),
		}
		if err := s.read(ctx, b); err != nil {
			return err
		}
		if b.cursor == sentUpTo && toEnd {
			return nil
		}
		for sent := b.cursor == sentUpTo; !sent; {
			// The batch stays open while the batch before it is being applied, and until gather has passed since the applier has begun
			// with that one, unless a call waits for it.
			ready, rest := out, gather
			if left := gather - time.Since(sentAt); left > 0 && !b.full() && !toEnd && !b.hurried {
				ready, rest = nil, left
			}
			moment.Reset(rest)
			select {
			case ready <- b:
				sent, sentUpTo, sentAt, usual = true, b.cursor, time.Now(), len(b.rows)
				continue
			case <-moment.C:
			case <-s.hurry:
				b.hurried = true
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := s.read(ctx, b); err != nil {
				return err
			}
		}
	}
}

// intern makes a row share the texts that records have in common as a rule: predicates, lenses, and the keys of attributes. Without it a
// batch would have a copy in each of its rows.
func intern(r *sqlstore.Record) {
	share := func(s *string) { *s = unique.Make(*s).Value() }
	for _, s := range []*string{r.Predicate, r.Lens} {
		if s != nil {
			share(s)
		}
	}
	for i := range r.Attributes {
		share(&r.Attributes[i].Key)
	}
}
