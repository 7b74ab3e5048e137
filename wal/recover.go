package wal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
)

// Recovery tells what opening a journal found and did.
type Recovery struct {
	Cursor  Offset // as the caller gave it
	End     Offset // where the log ends now: the next record's offset
	Records int    // records between the two, without the journal's own
	Created bool   // there was no segment, and the first one was made
	// Torn is what was cut off, or nil. It was never acknowledged.
	Torn *TornTail
}

// TornTail is the end of a log that a crash left half written.
type TornTail struct {
	Segment    string // the file's path
	Offset     Offset // where the log ends
	Bytes      int64  // from there to the last byte that was not zero
	Reason     string // what was found at Offset
	Quarantine string // the file that the bytes were copied to; empty when nothing was cut (Verify)
}

// recover brings the journal from whatever a crash left to a state in which the next record can be
// appended, or refuses and changes nothing. It sets the committer's fields and the list of segments.
func (j *Journal) recover(ctx context.Context, cursor, reached Offset) (Recovery, error) {
	report := Recovery{Cursor: cursor}
	segs, err := sizedSegments(j.fs, j.dir, cursor)
	if err != nil {
		return report, err
	}
	if len(segs) == 0 {
		return report, j.begin(&report, reached)
	}
	found, err := survey(ctx, j.fs, segs, cursor, reached, j.opts.Identity)
	if err != nil {
		return report, err
	}
	report.Records, report.End = found.records, found.end
	if err := removeParts(j.fs, j.dir); err != nil {
		return report, err
	}

	last := segs[len(segs)-1]
	j.segs, j.base, j.pos, j.size = segs, last.Base, int64(found.end-last.Base), last.Size
	if last.Size == 0 {
		if err := j.remake(last); err != nil {
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
	if err := j.renew(ctx, max(found.mark, cursor, last.Base)); err != nil {
		return report, err
	}
	if j.lastMark, err = j.findLastMark(ctx, max(found.mark, last.Base)); err != nil {
		return report, err
	}
	if err := j.findWritten(); err != nil {
		return report, err
	}
	return report, j.syncFolders(found.end == 0)
}

// remake puts a new, empty file in the place of an empty segment. Its name may not be durable: the one who
// made it died, or failed, before the folder was synced, and after a failure another sync of the folder may
// write nothing. Renaming changes the folder once more, so that it has to.
func (j *Journal) remake(seg Segment) error {
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
	return j.fs.SyncDir(j.dir)
}

// removeParts removes the files that remake and Repair write a segment's content to before it gets the name:
// whoever made one has died. Nothing was ever acknowledged by them.
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

// findLastMark returns what the last mark vouches for, if that is more than known. It looks only as far back
// as it matters: when no mark stands there, the next one is due.
func (j *Journal) findLastMark(ctx context.Context, known Offset) (Offset, error) {
	end := j.base + Offset(j.pos)
	if end-known < markEvery {
		return known, nil
	}
	s, err := newScanner(j.active, j.base, end)
	if err != nil {
		return 0, err
	}
	err = s.marks(ctx, max(0, j.pos-2*markEvery), func(mark Offset) bool {
		known = max(known, mark)
		return true
	})
	return known, err
}

// begin makes the first segment of a journal that has none.
func (j *Journal) begin(report *Recovery, reached Offset) (err error) {
	if report.Cursor > 0 {
		return fmt.Errorf("%s: %w: the cursor is %d and there is no segment", j.dir, ErrAhead, report.Cursor)
	}
	if reached > 0 {
		return fmt.Errorf("%s: %w: it had reached %d and there is no segment", j.dir, ErrAhead, reached)
	}
	if j.active, err = j.createSegment(0); err != nil {
		return err
	}
	j.written = noByte
	j.segs = []Segment{{Path: filepath.Join(j.dir, segmentName(0))}}
	report.Created = true
	return j.syncFolders(true)
}

// surveyed is what a look at the log from the cursor on has shown.
type surveyed struct {
	end     Offset // of the last intact record
	mark    Offset // the highest offset that a mark vouches for, or 0
	records int
	torn    string // what is wrong at end; empty when the log just ends
}

// survey verifies the log from the cursor to its end without changing anything. It tells a torn tail,
// which recovery may cut, from damage, which it must not touch.
//
// What is known to have been reached is no less synced than what lies below the cursor, which is not looked at:
// a record that is hurt there, with acknowledged ones behind it, is nothing to cut.
func survey(ctx context.Context, fsys FS, segs []Segment, cursor, reached Offset, identity []byte) (surveyed, error) {
	var found surveyed
	first, last := segs[0], segs[len(segs)-1]
	at := segmentOf(segs, cursor)
	// First, since another journal's segments lead to any of the other errors.
	if err := checkSegments(ctx, fsys, segs[max(0, at):], identity); err != nil {
		return found, err
	}
	if at < 0 {
		return found, fmt.Errorf("%s: %w: the log begins at offset %d, above the cursor %d", first.Path, ErrGap, first.Base, cursor)
	}
	if last.Base+Offset(last.Size) < cursor {
		return found, fmt.Errorf("%s: %w: it ends at offset %d or below, the cursor is %d", last.Path, ErrAhead, last.Base+Offset(last.Size), cursor)
	}
	found.end = max(cursor, segs[at].Base)
	for i := at; i < len(segs); i++ {
		var next Offset
		if segs[i].Sealed {
			next = segs[i+1].Base
		}
		if err := surveySegment(ctx, fsys, segs[i], next, cursor, reached, &found); err != nil {
			return found, err
		}
	}
	if found.end < reached {
		return found, fmt.Errorf("%s: %w: it ends at offset %d, and had reached %d", last.Path, ErrAhead, found.end, reached)
	}
	return found, nil
}

// surveySegment continues a survey over one segment; next is the base of the one behind it.
func surveySegment(ctx context.Context, fsys FS, seg Segment, next, cursor, reached Offset, found *surveyed) error {
	f, err := fsys.Open(seg.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	s, err := newScanner(f, seg.Base, found.end)
	if err != nil {
		return err
	}
	if err := checkCursor(ctx, s, seg, cursor); err != nil {
		return err
	}
	for {
		rec, what, reason, err := s.peek(ctx)
		if err != nil {
			return err
		}
		at := s.offset()
		found.end = at
		switch {
		case what == foundRecord:
			if seg.Sealed && rec.Next > next {
				return &CorruptError{seg.Path, at, fmt.Sprintf("a record reaches past %d, where the next segment begins", next)}
			}
			s.skip(rec)
			found.end = rec.Next
			if rec.Payload[0] >= kindLimit {
				found.records++
				continue
			}
			c, err := decodeControl(rec.Payload, at, seg.Base)
			if err != nil {
				return &CorruptError{seg.Path, at, err.Error()}
			}
			found.mark = max(found.mark, c.mark)
		case seg.Sealed && what == foundEnd && s.pos >= s.size && at < next:
			// It ends where a record ends, so it is as likely that a file is missing as that this one was
			// cut.
			return fmt.Errorf("%s: %w: it ends at offset %d, the next segment begins at %d", seg.Path, ErrGap, at, next)
		case seg.Sealed && what == foundEnd && s.pos >= s.size:
			return nil
		case seg.Sealed && at == next:
			return &CorruptError{seg.Path, at, fmt.Sprintf("%d bytes behind the place where the next segment begins", s.size-s.pos)}
		case seg.Sealed && what == foundEnd:
			return &CorruptError{seg.Path, at, "zeros in a sealed segment"}
		case seg.Sealed:
			return &CorruptError{seg.Path, at, reason}
		case what == foundEnd:
			return nil
		case at < reached:
			return &CorruptError{seg.Path, at, fmt.Sprintf("%s, and the log is known to have been synced up to %d", reason, reached)}
		default:
			vouched, err := s.vouched(ctx, s.pos)
			if err != nil {
				return err
			}
			if vouched {
				return &CorruptError{seg.Path, at, reason + ", and a later mark says that it was synced"}
			}
			found.torn = reason
			return nil
		}
	}
}

// checkCursor refuses a cursor that this log cannot have given: one inside an intact record, or behind
// the end of the data.
//
// A record that verifies at the cursor answers at once, and so does a file that ends there in a byte
// that is not zero, which is how a clean close leaves it. Only otherwise the segment is walked through
// from its beginning.
func checkCursor(ctx context.Context, s *scanner, seg Segment, cursor Offset) error {
	if cursor <= seg.Base || cursor > seg.Base+Offset(s.size) {
		return nil
	}
	if _, what, _, err := s.peek(ctx); err != nil || what == foundRecord {
		return err
	}
	if s.pos == s.size {
		before, err := s.window(ctx, s.pos-1, 1)
		if err != nil || len(before) == 1 && before[0] != 0 {
			return err
		}
	}
	where, err := placeOf(ctx, s.f, seg.Base, cursor)
	switch {
	case err != nil:
		return err
	case where == placeInside:
		return &CorruptError{seg.Path, cursor, "the cursor lies inside an intact record"}
	case where == placeBehind && !seg.Sealed:
		return fmt.Errorf("%s: %w: the data ends below the cursor %d", seg.Path, ErrAhead, cursor)
	}
	return nil
}

// cut takes the torn tail off the active segment. Its bytes are durable in quarantine before they go,
// so dying in between leaves a copy too many, never one too few.
func (j *Journal) cut(ctx context.Context, reason string) (*TornTail, error) {
	s, err := newScanner(j.active, j.base, j.base+Offset(j.pos))
	if err != nil {
		return nil, err
	}
	end, err := s.dataEnd(ctx, j.pos)
	if err != nil {
		return nil, err
	}
	torn := &TornTail{
		Segment: filepath.Join(j.dir, segmentName(j.base)),
		Offset:  j.base + Offset(j.pos), Bytes: end - j.pos, Reason: reason,
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

// quarantine copies the bytes [from, to) of a file of the journal in dir to a new file, durable when it
// returns.
func quarantine(ctx context.Context, fsys FS, dir string, now func() time.Time, off Offset, src File, from, to int64) (string, error) {
	folder := filepath.Join(dir, quarantineDir)
	if err := fsys.Mkdir(folder); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	// The folder may have been made by a recovery that died before it synced the name.
	if err := syncFolder(fsys, dir); err != nil {
		return "", err
	}
	for nanos := now().UnixNano(); ; nanos++ {
		name := filepath.Join(folder, fmt.Sprintf("%016x-%d.bin", uint64(off), nanos))
		err := copyFile(ctx, fsys, src, from, to, name)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		if err := fsys.SyncDir(folder); err != nil {
			fsys.Remove(name)
			return "", err
		}
		return name, nil
	}
}

// copyRange copies the bytes [from, to) of src to position at of dst.
func copyRange(ctx context.Context, dst, src File, from, to, at int64) error {
	buf := make([]byte, min(to-from, 1<<20))
	for from < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(int64(len(buf)), to-from)]
		if n, err := src.ReadAt(b, from); n < len(b) {
			return err
		}
		if _, err := dst.WriteAt(b, at); err != nil {
			return err
		}
		from, at = from+int64(len(b)), at+int64(len(b))
	}
	return nil
}

// renew writes the records from off on once more and syncs them.
//
// That they can be read does not mean that the disk has them: a process that was killed may have died
// before its sync, and after a sync that failed the page cache holds, as clean, what was never
// written. Writing makes the pages dirty again, so that the sync has to write them. It is the same with the
// file's length: that it reads as cut does not mean that the cut was synced, so it is cut once more.
func (j *Journal) renew(ctx context.Context, off Offset) error {
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

// syncFolders makes the names durable that lead to the records: the process that made them may have
// died before it did.
func (j *Journal) syncFolders(empty bool) error {
	if err := j.fs.SyncDir(j.dir); err != nil {
		return fmt.Errorf("sync the journal's folder: %w", err)
	}
	up := parents(j.dir)
	if !empty {
		// Somebody has opened this journal before and synced the folders further up, before the first record.
		up = up[:min(1, len(up))]
	}
	return syncAll(j.fs, up)
}

// syncAll syncs folders, nearest first. One that we may not even open is none that a process of ours has
// made, and so are those above it.
func syncAll(fsys FS, dirs []string) error {
	for i, dir := range dirs {
		err := syncFolder(fsys, dir)
		if i > 0 && errors.Is(err, fs.ErrPermission) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("sync folder %s: %w", dir, err)
		}
	}
	return nil
}
