package wal

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
)

// checkAll is the last check before something is acknowledged: the files are in their places, what was written is in
// them, and nothing has failed meanwhile (trimming, in another goroutine, may have).
func (j *Journal) checkAll() error {
	if err := j.checkFiles(false); err != nil {
		return err
	}
	if err := j.checkWritten(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed
}

var (
	errMoved = errors.New("deleted or replaced by somebody while it was being written to")
	errCut   = errors.New("cut or overwritten by somebody while it was being written to")
)

// checkFiles checks that the active segment and the lock are still the files under their names: what is written to a
// file that nobody can find is lost, however well it is synced. Unless always is set, it does so only if the last
// check was a while ago.
func (j *Journal) checkFiles(always bool) error {
	now := j.opts.Now()
	if since := now.Sub(j.checked); !always && since >= 0 && since < checkFilesEvery {
		return nil
	}
	j.checked = now
	if ok, err := j.active.Current(); err != nil || !ok {
		return fmt.Errorf("%s: %w", filepath.Join(j.dir, segmentName(j.base)), orMoved(err))
	}
	if ok, err := j.lock.Current(); err != nil || !ok {
		return fmt.Errorf("%s: %w", filepath.Join(j.dir, lockName), orMoved(err))
	}
	return nil
}

func orMoved(err error) error {
	if err == nil {
		return errMoved
	}
	return err
}

// writtenByte is the last byte of the active segment that was written and is not zero.
type writtenByte struct {
	at int64 // its position; -1 is none
	b  byte
}

var noByte = writtenByte{at: -1}

// lastByteOf returns the last byte of b that is not zero, or before when all are zero. b begins at pos.
func lastByteOf(b []byte, pos int64, before writtenByte) writtenByte {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0 {
			return writtenByte{pos + int64(i), b[i]}
		}
	}
	return before
}

// checkWritten checks that nobody has cut the active segment, as a rotation of log files by copy-and-truncate does.
//
// The file's length does not tell: the next write, at the place where the data ended, makes the file as long as
// before, with zeros where bytes were cut. So the last byte that was written and is not zero is read back. Wherever
// the file was cut, that byte has become zero, or nothing but zeros was cut. It is read after each write, to find a
// cut before that write, and once more before the acknowledgement, to find a later one. A read takes less than a
// microsecond, since the page is in memory; the sync after it takes hundreds.
func (j *Journal) checkWritten() error {
	if j.written.at < 0 {
		return nil
	}
	// Its name is made for errors alone: making it takes as long as the read.
	name := func() string { return filepath.Join(j.dir, segmentName(j.base)) }
	switch n, err := j.active.ReadAt(j.back[:], j.written.at); {
	case n == 0 && err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("read %s back at %d: %w", name(), j.written.at, err)
	case n == 0 || j.back[0] != j.written.b:
		return fmt.Errorf("%s: %w: what was written at offset %d is no longer there", name(), errCut, j.base+Offset(j.written.at))
	}
	if j.written.at == j.pos-1 {
		return nil
	}
	// The last record ends in zeros. If the file was cut within them, the next write brings them back, but there may
	// be no next write.
	switch size, err := j.active.Size(); {
	case err != nil:
		return fmt.Errorf("ask for the length of %s: %w", name(), err)
	case size < j.pos:
		return fmt.Errorf("%s: %w: it has %d bytes, and %d were written", name(), errCut, size, j.pos)
	}
	return nil
}

// findWritten finds the byte that checkWritten reads, in a file that has been recovered.
func (j *Journal) findWritten() error {
	const block = 4 << 10
	b := make([]byte, block)
	j.written = noByte
	for end := j.pos; end > 0 && j.written.at < 0; {
		from := max(0, end-block)
		b = b[:end-from]
		if n, err := j.active.ReadAt(b, from); n < len(b) {
			return fmt.Errorf("read %s back at %d: %w", segmentName(j.base), from, err)
		}
		j.written, end = lastByteOf(b, from, noByte), from
	}
	return nil
}
