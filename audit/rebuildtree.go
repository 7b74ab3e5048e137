package audit

import (
	"bytes"
	"context"
	"fmt"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/signing"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

// TreeReport is what RebuildTree found and did.
type TreeReport struct {
	Recovery Recovery
	Size     uint64 // records
	Root     tree.Hash
	// Signed is the newest checkpoint that was signed, and that the records were found to extend. nil: nothing was signed, and
	// nothing outside of the store says that the root is right.
	Signed *evidence.Checkpoint
	// Alone is how many of the records after the signed ones the journal does not have any more, so that they could not be
	// compared with it.
	Alone uint64
	Tiles int // full tiles that were made again or removed
	Edges int // levels of the edge that were made again
}

// RebuildTree makes the tiles and the edge of the tree again where they are missing or wrong. First it compares each record with
// its leaf hash, the root of all records at the signed size with the one that was signed, and each record after the signed ones
// with the journal: the next signature covers them, and nothing but the old tree and the journal says what they were. If they
// differ, the error is a *RecordError, another ErrDamaged, ErrForked or ErrBehind, and the tree is not changed. progress, which
// may be nil, is called with how many records are compared or done, of how many.
//
// It may be interrupted at any time. The next RebuildTree begins anew.
func RebuildTree(ctx context.Context, dir string, progress func(stage string, done, total uint64), opts ...Option) (report TreeReport, err error) {
	if progress == nil {
		progress = func(string, uint64, uint64) {}
	}
	err = wayOut(ctx, dir, false, opts, func(db *DB, log *signing.Log) error {
		report.Recovery = db.recovery
		var signed []signing.Copy
		if log != nil {
			var err error
			if signed, err = log.Config().AllSigned(db.dir); err != nil {
				return err
			}
		}
		return db.rebuildTree(ctx, &report, signed, progress)
	})
	if err != nil {
		return report, fmt.Errorf("rebuild the tree: %w", err)
	}
	return report, nil
}

func (db *DB) rebuildTree(ctx context.Context, report *TreeReport, signed []signing.Copy, progress func(stage string, done, total uint64)) error {
	if err := db.caughtUp(ctx); err != nil {
		return err
	}
	if err := db.applier.busy.LockContext(ctx); err != nil {
		return err
	}
	defer db.applier.busy.Unlock()
	f, alone, err := db.treeOfRecords(ctx, signed, func(done, total uint64) { progress("comparing", done, total) })
	if err != nil {
		return err
	}
	report.Alone = alone
	report.Size, report.Root = uint64(f.Size()), f.Root()
	if len(signed) > 0 {
		report.Signed = &signed[len(signed)-1].Checkpoint
	}
	made, err := db.sql.RebuildTree(ctx, report.Size, report.Root, func(done, total uint64) { progress("rebuilding", done, total) })
	report.Tiles, report.Edges = made.Tiles, made.Edges
	return err
}

// treeOfRecords computes the tree from the records alone, after it has compared each with its leaf hash. The tree must extend
// the checkpoints, which are given in the order of their sizes. The records after them must be those of the journal, except for
// those that the journal lacks: alone says how many.
func (db *DB) treeOfRecords(ctx context.Context, signed []signing.Copy, progress func(done, total uint64)) (f *tree.Frontier, alone uint64, err error) {
	last, _, err := db.sql.LastEntry(ctx)
	if err != nil {
		return nil, 0, err
	}
	segs, err := db.segments()
	if err != nil {
		return nil, 0, err
	}
	journal := journalRecords{db: db, segs: segs}
	defer journal.close()
	f = &tree.Frontier{}
	for v, err := range db.sql.Values(ctx, 0) {
		if err != nil {
			return nil, 0, db.lost(err)
		}
		if v.Index != uint64(f.Size()) {
			return nil, 0, fmt.Errorf("%w: entry %d is missing", sqlstore.ErrMalformed, f.Size())
		}
		if len(signed) == 0 {
			payload, err := journal.at(ctx, wal.Offset(v.JournalOffset))
			switch {
			case err != nil:
				return nil, 0, err
			case payload == nil:
				alone++
			case !bytes.Equal(payload, v.Value):
				return nil, 0, otherInJournal(v)
			}
		}
		f.Append(tree.LeafHash(v.Value))
		if v.Index%4096 == 0 {
			progress(v.Index, last.Index+1)
		}
		for len(signed) > 0 && signed[0].Size == f.Size() {
			if root := f.Root(); root != signed[0].Root {
				return nil, 0, &signing.MismatchError{Source: signed[0].Path, Signed: signed[0].Checkpoint, Size: f.Size(), Root: root}
			}
			signed = signed[1:]
		}
	}
	if len(signed) > 0 {
		return nil, 0, &signing.MismatchError{Source: signed[0].Path, Signed: signed[0].Checkpoint, Size: f.Size()}
	}
	return f, alone, nil
}
