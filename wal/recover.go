package wal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// Recovery says what opening a journal found and did.
type Recovery struct {
	Cursor  Offset // as the caller gave it
	End     Offset // where the log ends now: the next record's offset
	Records int    // records from Cursor to End, without control records
	Created bool   // there was no segment, and the first one was made
	// Torn is what was cut, or nil. Nothing attests that it was ever acknowledged.
	Torn *TornTail
	// Filled are the ranges of the tail that were replaced by fillers, see Options.KeepTail.
	Filled []TornTail
}

// TornTail is the end of a log that a crash has left half written, or a range in that end.
type TornTail struct {
	Segment    string // the file's path
	Offset     Offset // where the log ends
	Bytes      int64  // from Offset to the last byte that is not zero, or to the end of the range
	Reason     string // what was found at Offset
	Quarantine string // the file that the bytes were copied to; empty when nothing was cut (Verify)
	// Interrupted says that a write which did not end explains the bytes: sectors of it are missing. Then nothing of it was acknowledged.
	// If it is false, the bytes may have been acknowledged and have changed since then: nothing on disk says which. Repair and Verify do
	// not set it.
	Interrupted bool
}

// recover makes a journal ready for the next append, whatever a crash has left. If it finds damage, it returns an error
// and changes nothing. It sets the committer's fields and the list of segments.
//
// A crash or ctx may stop it between any two of its steps. The next recovery then has the same result, for two reasons.
// A torn tail is cut only after its copy is durable. And readers see nothing, and nothing is acknowledged, before the
// last step is done.
func (j *Journal) recover(ctx context.Context, cursor, reached Offset) (Recovery, error) {
	report := Recovery{Cursor: cursor}
	segs, err := sizedSegments(j.fs, j.dir, cursor)
	if err != nil {
		return report, err
	}
	if len(segs) == 0 {
		return report, j.createFirst(&report, reached)
	}
	found, err := survey(ctx, j.fs, segs, cursor, reached, j.opts.Identity)
	if err != nil {
		return report, err
	}
	if found.torn != "" && j.opts.KeepTail {
		if report.Filled, err = j.fillTail(ctx, segs[len(segs)-1], cursor); err != nil {
			return report, fmt.Errorf("fill the tail: %w", err)
		}
		if len(report.Filled) > 0 {
			if segs, err = sizedSegments(j.fs, j.dir, cursor); err != nil {
				return report, err
			}
			if found, err = survey(ctx, j.fs, segs, cursor, reached, j.opts.Identity); err != nil {
				return report, err
			}
		}
	}
	report.Records, report.End = found.records, found.end
	if err := removeParts(j.fs, j.dir); err != nil {
		return report, err
	}

	last := segs[len(segs)-1]
	j.segs, j.base, j.pos, j.size = segs, last.Base, int64(found.end-last.Base), last.Size
	if last.Size == 0 {
		if err := j.recreate(last); err != nil {
			return report, err
		}
	}
	if j.active, err = j.fs.OpenWrite(last.Path); err != nil {
		return report, err
	}
	if found.torn != "" {
		if report.Torn, err = j.cut(ctx, found.torn); err != nil {
			return report, err
		}
	}
	// What lies before a mark, the cursor or the last segment has been synced. Nothing says so of the rest.
	if err := j.rewriteTail(ctx, max(found.mark, cursor, last.Base)); err != nil {
		return report, err
	}
	if j.lastMark, err = j.findLastMark(ctx, max(found.mark, last.Base)); err != nil {
		return report, err
	}
	if found.closed {
		j.markEnd = found.end
	}
	if err := j.findWritten(); err != nil {
		return report, err
	}
	return report, j.syncFolders(found.end == 0)
}

// recreate replaces an empty segment with a new, empty file. The segment's name may not be durable: the process that
// made it may have died before it synced the folder, or that sync may have failed. After a failed sync a second one may
// succeed and write nothing, unless the folder has changed in between. The rename changes it.
func (j *Journal) recreate(seg Segment) error {
	part := seg.Path + partSuffix
	f, err := j.fs.Create(part)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := j.fs.Rename(part, seg.Path); err != nil {
		return err
	}
	return syncFolder(j.fs, j.dir)
}

// removeParts removes the files in which recreate and Repair prepare a segment before they rename it. A process that
// leaves such a file has died before the rename, so nothing in the file was ever acknowledged.
func removeParts(fsys FS, dir string) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		segment, isPart := strings.CutSuffix(name, partSuffix)
		if _, ok := parseSegmentName(segment); !isPart || !ok {
			continue
		}
		if err := fsys.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// findLastMark returns the highest offset that a mark near the end of the log attests, or known if none attests a higher
// one. It does not search further back: if there is no mark in the last 2*markEvery bytes, the next mark is due
// whatever an older one says.
func (j *Journal) findLastMark(ctx context.Context, known Offset) (Offset, error) {
	end := j.base + Offset(j.pos)
	if end-known < markEvery {
		return known, nil
	}
	s, err := scan(j.active, j.base, end)
	if err != nil {
		return 0, err
	}
	err = s.Marks(ctx, uint64(j.base)+uint64(max(0, j.pos-2*markEvery)), func(mark uint64) bool {
		known = max(known, Offset(mark))
		return true
	})
	return known, err
}

// createFirst makes the first segment of a journal that has none.
func (j *Journal) createFirst(report *Recovery, reached Offset) (err error) {
	if report.Cursor > 0 {
		return fmt.Errorf("%s: %w: the cursor is %d and there is no segment", j.dir, ErrAhead, report.Cursor)
	}
	if reached > 0 {
		return fmt.Errorf("%s: %w: it had been synced up to %d and there is no segment", j.dir, ErrAhead, reached)
	}
	if j.active, err = j.createSegment(0); err != nil {
		return err
	}
	j.written = noByte
	j.segs = []Segment{{Path: filepath.Join(j.dir, segmentName(0))}}
	report.Created = true
	return j.syncFolders(true)
}

// cut cuts the torn tail off the active segment. The copy in quarantine is durable before that. So after a crash between
// the two steps the bytes are there twice, but they are never lost.
func (j *Journal) cut(ctx context.Context, reason string) (*TornTail, error) {
	s, err := scan(j.active, j.base, j.base+Offset(j.pos))
	if err != nil {
		return nil, err
	}
	end, err := s.DataEnd(ctx)
	if err != nil {
		return nil, err
	}
	torn := &TornTail{
		Segment: filepath.Join(j.dir, segmentName(j.base)),
		Offset:  j.base + Offset(j.pos), Bytes: end - j.pos, Reason: reason,
	}
	if torn.Interrupted, err = s.Interrupted(ctx, end); err != nil {
		return nil, err
	}
	if torn.Quarantine, err = quarantine(ctx, j.fs, j.dir, j.opts.Now, torn.Offset, j.active, j.pos, end); err != nil {
		return nil, fmt.Errorf("quarantine the torn tail at %d: %w", torn.Offset, err)
	}
	if err := j.active.Truncate(j.pos); err != nil {
		return nil, fmt.Errorf("cut the torn tail at %d: %w", torn.Offset, err)
	}
	if err := j.active.Sync(); err != nil {
		return nil, fmt.Errorf("cut the torn tail at %d: %w", torn.Offset, err)
	}
	j.size = j.pos
	return torn, nil
}

// rewriteTail writes the records from off on once more and syncs them.
//
// A record that can be read may be in the page cache only. The process that wrote it may have been killed before its
// sync. Or its sync failed: then the kernel may have marked the pages as clean without writing them. Writing the records
// again makes the pages dirty, so the sync has to write them. The same is true of the file's length: a truncation that
// can be seen may not be on disk. So the file is truncated once more.
func (j *Journal) rewriteTail(ctx context.Context, off Offset) error {
	from := int64(off - j.base)
	if from < j.pos {
		if err := copyRange(ctx, j.active, j.active, from, j.pos, from); err != nil {
			return fmt.Errorf("write %s once more from %d: %w", segmentName(j.base), from, err)
		}
	}
	if j.size == j.pos {
		if err := errors.Join(j.active.Truncate(j.pos+1), j.active.Truncate(j.pos)); err != nil {
			return fmt.Errorf("cut %s once more: %w", segmentName(j.base), err)
		}
	}
	if err := j.active.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", segmentName(j.base), err)
	}
	return nil
}

// syncFolders makes durable the names of the segments, of the journal's folder and of the folders above it. The process
// that made them may have died before it synced them. empty says that the log holds no record.
func (j *Journal) syncFolders(empty bool) error {
	// A repair may have renamed a segment and died before its sync of the folder, and nothing else here changes the folder.
	if err := syncFolder(j.fs, j.dir); err != nil {
		return fmt.Errorf("sync the journal's folder: %w", err)
	}
	up := parents(j.dir)
	if !empty {
		// The process that wrote the first record had synced the folders further up before it wrote.
		up = up[:min(1, len(up))]
	}
	return syncAll(j.fs, up)
}
