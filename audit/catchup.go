package audit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/signing"
	"github.com/auditsql/auditsql/tree"
)

// ErrOtherRecords says that a file does not have the records that were signed.
var ErrOtherRecords = errors.New("these are not the records that were signed")

// CatchUpOptions say where the missing records are.
type CatchUpOptions struct {
	// Open opens an export: one record a line, in the order of admission. It may begin at any record that the store has, or at
	// the first one that it lacks. It is opened twice.
	Open func() (io.ReadCloser, error)
	// Progress, if set, is called now and then with what is being done and how many lines are done.
	Progress func(stage string, done uint64)
}

// CatchUpReport is what CatchUp found and did.
type CatchUpReport struct {
	Recovery Recovery
	Signed   evidence.Checkpoint // the newest one: the store must have its records
	Had      uint64              // records that the store had
	Stored   uint64              // records that were put back
	Beyond   uint64              // lines after the signed records: they were not stored
}

// CatchUp puts records back that a store has signed and lacks: an older state of the store was restored, and every opening
// for writing fails with ErrBehind. The records come from an export of the store as it was.
//
// First it computes, without writing anything, the root of the tree over the store's records and those of the export. Unless
// this is the root that was signed, the error is ErrOtherRecords and nothing is stored. Then it stores exactly these records,
// in this order. Records after the signed ones are not stored: no signature says that they are right. Put them afterwards.
//
// What was admitted once is admitted again: no rule about timestamps applies.
//
// When CatchUp is interrupted, the store goes on refusing every other writer, and the next CatchUp completes it. The errors
// are those of Open too, ErrForked when the store has other records than were signed, and ErrInvalid when nothing was signed.
func CatchUp(ctx context.Context, dir string, o CatchUpOptions, opts ...Option) (report CatchUpReport, err error) {
	if o.Progress == nil {
		o.Progress = func(string, uint64) {}
	}
	err = wayOut(ctx, dir, false, opts, func(db *DB, log *signing.Log) error {
		if log == nil {
			return fmt.Errorf("%w, so nothing says which records are missing", ErrNoLog)
		}
		signed, err := log.Config().AllSigned(db.dir)
		if err != nil {
			return err
		}
		if len(signed) == 0 {
			return fmt.Errorf("%w: nothing was signed, so nothing says which records are missing", ErrInvalid)
		}
		c := catchUp{db: db, o: o, all: signed, signed: signed[len(signed)-1].Checkpoint}
		c.report.Recovery = db.recovery
		err = c.run(ctx)
		if report = c.report; err == nil {
			err = log.Compare(ctx, db)
		}
		if err == nil {
			// log.json and checkpoint say again what was signed. The next writer does that too.
			if _, err := log.Resume(ctx, db.toSign()); err != nil {
				db.opts.logger.Warn("what was signed was not noted in the store", "error", err)
			}
		}
		return err
	})
	if err != nil {
		return report, fmt.Errorf("catch up: %w", err)
	}
	return report, nil
}

type catchUp struct {
	db     *DB
	o      CatchUpOptions
	all    []signing.Copy      // what is known to be signed, the largest last
	signed evidence.Checkpoint // the largest
	report CatchUpReport

	size  int64 // of the store's tree when this began
	tiles tree.TileReader
	tree  *tree.Prover // has the leaves
	roots []tree.Hash  // of the tree after each part of the missing records, as the first reading finds them
}

func (c *catchUp) run(ctx context.Context) error {
	size, tiles, err := c.db.Tree(ctx)
	if err != nil {
		return err
	}
	c.size, c.tiles = int64(size), tiles
	if c.tree, err = tree.NewProver(tiles, c.size); err != nil {
		return err
	}
	c.report.Signed, c.report.Had = c.signed, size
	if c.size >= c.signed.Size {
		return nil // nothing is missing, or the store has other records
	}
	for _, s := range c.all {
		if s.Size > c.size {
			break
		}
		if err := s.ExtendedBy(c.size, c.tiles); err != nil {
			return err
		}
	}
	if err := c.compare(ctx); err != nil {
		return err
	}
	done, err := c.db.beginPut()
	if err != nil {
		return err
	}
	defer done()
	return c.store(ctx)
}

// compare reads the file, and writes nothing. It finds out whether the store has the signed records once those of the file
// are added.
func (c *catchUp) compare(ctx context.Context) error {
	f, err := c.read(ctx, "comparing", func(part []lacked, root tree.Hash) error {
		for _, m := range part {
			// Their order is fixed, so no record may be left out while they are stored.
			if !c.db.ids.MayHave(m.q.QueryID) {
				continue
			}
			_, err := c.db.stored(ctx, m.q.QueryID)
			switch {
			case errors.Is(err, ErrNotFound): // a false positive of the filter
			case err == nil || ofRecord(err):
				return c.other(m.line, "the store has record %s at another place", m.q.QueryID)
			default:
				return err
			}
		}
		c.roots = append(c.roots, root)
		return nil
	})
	switch {
	case err != nil:
		return err
	case f.Size() < c.signed.Size:
		return fmt.Errorf("%w: the store has %d, the file adds %d to them, and %d were signed", ErrOtherRecords, c.size, f.Size()-c.size, c.signed.Size)
	case f.Root() != c.signed.Root:
		return fmt.Errorf("%w: with the %d records of the file the tree has another root than the one that was signed: a line was changed, removed, added or moved, or the file is from another store",
			ErrOtherRecords, f.Size()-c.size)
	}
	return nil
}

// store reads the file again, and stores a part of it after it was found to be what the first reading has found.
func (c *catchUp) store(ctx context.Context) error {
	next := 0
	_, err := c.read(ctx, "storing", func(part []lacked, root tree.Hash) error {
		if next == len(c.roots) || c.roots[next] != root {
			return c.other(part[0].line, "the file has changed while it was read")
		}
		next++
		puts, results := make([]put, len(part)), make([]PutResult, len(part))
		for i := range part {
			puts[i] = newPut(&part[i].q, part[i].raw, &results[i])
		}
		if err := c.db.admit(ctx, puts, true); err != nil {
			return err
		}
		for i, r := range results {
			if r.Duplicate || r.Err != nil {
				return errors.Join(c.other(part[i].line, "record %s is in the store already", r.ID), r.Err)
			}
		}
		c.report.Stored += uint64(len(part))
		return nil
	})
	if err == nil && next < len(c.roots) {
		err = fmt.Errorf("%w: the file has become shorter while it was read", ErrOtherRecords)
	}
	return err
}

// lacked is a line of the file that the store lacks.
type lacked struct {
	line uint64 // from 1
	raw  []byte
	q    QueryAudit
}

// read reads the file from its beginning. It compares the lines that the store has with the store's leaves. Those that the
// store lacks, up to the last one that was signed, are added to the store's tree and handed to visit in parts, each with the
// root of the tree after it. Their bytes are kept. It returns the tree after the last one.
func (c *catchUp) read(ctx context.Context, stage string, visit func(part []lacked, root tree.Hash) error) (*tree.Frontier, error) {
	f, err := tree.ReadFrontier(c.tiles, c.size)
	if err != nil {
		return nil, err
	}
	in, err := c.o.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	var part []lacked
	var size int
	flush := func() error {
		if len(part) == 0 {
			return nil
		}
		err := visit(part, f.Root())
		part, size = nil, 0
		return err
	}
	line, index := uint64(0), int64(0)
	c.report.Beyond = 0
	for text, err := range linesOf(ctx, in) {
		if line++; err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if line%4096 == 0 {
			c.o.Progress(stage, line)
		}
		if line == 1 {
			if index, err = c.begins(ctx, text); err != nil {
				return nil, err
			}
		}
		switch {
		case index < c.size:
			if err := c.same(line, index, text); err != nil {
				return nil, err
			}
		case index < c.signed.Size:
			q, raw, err := recordIn(text)
			if err != nil {
				return nil, c.other(line, "it is no record: %v", err)
			}
			f.Append(tree.LeafHash(raw))
			if err := c.wasSigned(line, f); err != nil {
				return nil, err
			}
			part, size = append(part, lacked{line, raw, q}), size+len(raw)
			if len(part) == c.db.partRecords || size >= c.db.partBytes {
				if err := flush(); err != nil {
					return nil, err
				}
			}
		default:
			c.report.Beyond++
		}
		index++
	}
	return f, flush()
}

// wasSigned compares the tree with the checkpoints of its size, except for the largest, about which compare says more.
func (c *catchUp) wasSigned(line uint64, f *tree.Frontier) error {
	for _, s := range c.all {
		if s.Checkpoint != c.signed && s.Size == f.Size() && s.Root != f.Root() {
			return c.other(line, "with it the tree has another root than the one in %s", s.Path)
		}
	}
	return nil
}

// begins returns the index of the record in the first line of the file: that of the store's record, or of the first record
// that the store lacks.
func (c *catchUp) begins(ctx context.Context, text []byte) (int64, error) {
	q, _, err := recordIn(text)
	if err != nil {
		return 0, c.other(1, "it is no record: %v", err)
	}
	index, err := c.db.sql.IndexOf(ctx, q.QueryID)
	if err != nil || index < 0 {
		return c.size, err
	}
	return index, nil
}

// same compares a line with the leaf of a record that the store has.
func (c *catchUp) same(line uint64, index int64, text []byte) error {
	leaf, err := c.tree.Leaf(index)
	if err != nil {
		return err
	}
	if leaf == tree.LeafHash(text) {
		return nil
	}
	_, raw, err := recordIn(text)
	if err != nil {
		return c.other(line, "it is no record: %v", err)
	}
	if leaf != tree.LeafHash(raw) {
		return c.other(line, "the store has another record at index %d", index)
	}
	return nil
}

// recordIn reads the record in a line, and its canonical form, which is the leaf. A line may be written otherwise: jq writes
// numbers its own way, and the root shows whether it is the record.
func recordIn(line []byte) (q QueryAudit, raw []byte, err error) {
	if q, err = ParseAudit(line); err == nil {
		raw, err = q.Canonical()
	}
	return q, raw, err
}

func (c *catchUp) other(line uint64, format string, args ...any) error {
	return fmt.Errorf("%w: line %d: %w", ErrOtherRecords, line, fmt.Errorf(format, args...))
}

var errCutLine = errors.New("it does not end in a line feed: the file was cut")

// linesOf yields the lines of a text without their line feeds. A line is valid until the next one.
func linesOf(ctx context.Context, text io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		in := bufio.NewReaderSize(text, 256<<10)
		var long []byte
		for ctx.Err() == nil {
			line, err := in.ReadSlice('\n')
			switch {
			case errors.Is(err, bufio.ErrBufferFull) && len(long)+len(line) <= MaxEncoded:
				long = append(long, line...)
				continue
			case errors.Is(err, bufio.ErrBufferFull):
				err = fmt.Errorf("%w: it is longer than %d bytes", ErrOtherRecords, MaxEncoded)
			case errors.Is(err, io.EOF) && len(line)+len(long) == 0:
				return
			case errors.Is(err, io.EOF):
				err = fmt.Errorf("%w: %w", ErrOtherRecords, errCutLine)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if len(long) > 0 {
				long = append(long, line...)
				line = long
			}
			if !yield(line[:len(line)-1], nil) {
				return
			}
			long = long[:0]
		}
		yield(nil, context.Cause(ctx))
	}
}
