package sqlstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/auditsql/auditsql/internal/durable"
)

// heldFiles are descriptors of our own for the files that the writer has opened: the database and its -wal.
//
// They have two purposes. First, a sync of our own covers pages that somebody else has copied: a foreign connection with
// synchronous=OFF copies pages out of -wal without a sync, and SQLite then has nothing left to copy and syncs
// nothing. Second, they show whether the names still belong to these files: SQLite would go on writing to files that were
// deleted.
//
// The descriptor of the database is opened before SQLite opens the file, and closed after SQLite has closed it. A kernel
// reports a failed sync once to each descriptor that was open at the time. One that is opened later may never get the
// error.
type heldFiles struct {
	path string
	db   *os.File
	wal  *os.File // nil until -wal is there
	// whole is the database's size when the file last was as long as its header says. It is guarded by mu, since the applier
	// and a checkpoint beside it both check.
	mu    sync.Mutex
	whole int64
	// walLeast is the least size that -wal can have: its size after our last commit, until a checkpoint has copied
	// all of it. Until then SQLite does not empty it, see pin. Guarded by mu.
	walLeast int64
	leave    func() error // see use
}

// hold opens the database, which exists.
func hold(ctx context.Context, path string) (*heldFiles, error) {
	f, leave, err := use(ctx, path)
	if err != nil {
		return nil, err
	}
	return &heldFiles{path: path, db: f, leave: leave}, nil
}

// holdWAL opens -wal, to which the writer has written a header. SQLite has no lock on that file, so closing a
// descriptor of it drops none.
func (h *heldFiles) holdWAL() (err error) {
	h.wal, err = durable.OpenWrite(h.path + walSuffix)
	return err
}

// check returns ErrMoved if a name belongs to another file now, or if one of the files was cut.
func (h *heldFiles) check() error {
	if err := sameFile(h.db, h.path); err != nil {
		return err
	}
	if h.wal != nil {
		if err := sameFile(h.wal, h.path+walSuffix); err != nil {
			return err
		}
		if err := h.checkWAL(); err != nil {
			return err
		}
	}
	return h.checkSize()
}

func sameFile(f *os.File, name string) error {
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	named, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", name, ErrMoved)
	case err != nil:
		return err
	case !os.SameFile(mine, named):
		return fmt.Errorf("%s: %w", name, ErrMoved)
	}
	return nil
}

// checkWAL finds a -wal that was cut. It is also called before each commit: the commit would make the file long again,
// with zeros in place of what was cut.
func (h *heldFiles) checkWAL() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	st, err := h.wal.Stat()
	if err != nil {
		return err
	}
	if st.Size() < h.walLeast {
		return fmt.Errorf("%s: cut to %d bytes while it was open: %w", h.path+walSuffix, st.Size(), ErrMoved)
	}
	return nil
}

// committed notes how long -wal is after a commit.
func (h *heldFiles) committed() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	st, err := h.wal.Stat()
	if err == nil {
		h.walLeast = st.Size()
	}
	return err
}

// copied notes that nothing of -wal is needed any more.
func (h *heldFiles) copied() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.walLeast = 0
}

// checkSize finds a database that was cut: a file that is shorter than before and shorter than its header says. One of the
// two alone is no sign. A foreign VACUUM makes the file shorter, and writes the new size to the header. And a
// checkpoint writes the first page, with the header, before the last page.
func (h *heldFiles) checkSize() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	claimed, err := claimedSize(h.db)
	if err != nil {
		return err
	}
	// The size is read after the header. A checkpoint writes the header first and makes the file as long as the header says
	// after that. So what a checkpoint does in between can only make the file longer.
	st, err := h.db.Stat()
	if err != nil {
		return err
	}
	again, err := claimedSize(h.db)
	if err != nil || again != claimed {
		return err // a checkpoint is writing the header; the next check decides
	}
	switch {
	case claimed > 0 && claimed == st.Size():
		h.whole = claimed
	case st.Size() < h.whole && (claimed == 0 || claimed > st.Size()):
		return fmt.Errorf("%s: cut to %d bytes while it was open: %w", h.path, st.Size(), ErrMoved)
	}
	return nil
}

// claimedSize returns the length of the file by its header (https://www.sqlite.org/fileformat2.html#the_database_header:
// the page size at byte 16, the number of pages at byte 28), or 0 where there is no header.
func claimedSize(f *os.File) (int64, error) {
	var head [32]byte
	n, err := f.ReadAt(head[:], 0)
	if n < len(head) {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return 0, err
	}
	size := int64(binary.BigEndian.Uint16(head[16:]))
	if size == 1 {
		size = 65536
	}
	return size * int64(binary.BigEndian.Uint32(head[28:])), nil
}

// sync makes durable what this process and all others have written to the database.
func (h *heldFiles) sync() error { return h.db.Sync() }

// renewWAL rewrites the bytes of -wal in place and syncs them. The caller holds SQLite's write lock, so that nobody
// else writes to the file.
//
// A -wal that can be read need not be on disk. The process may have been killed before its sync. Or a sync failed: then the
// page cache can hold pages that were never written, but are marked as clean. A later sync succeeds without writing them.
// If a checkpoint then copied pages into the database and the power failed in the middle, the database would be neither old
// nor new, with no -wal to complete it. Rewriting makes the pages dirty again, so that the sync has to write them.
func renewWAL(path string) error {
	f, err := durable.OpenWrite(path + walSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := errors.Join(rewrite(f), f.Close()); err != nil {
		return fmt.Errorf("rewrite %s: %w", path+walSuffix, err)
	}
	return nil
}

func rewrite(f *os.File) error {
	buf := make([]byte, 1<<20)
	for at := int64(0); ; {
		n, err := f.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if n == 0 {
			return f.Sync()
		}
		if _, err := f.WriteAt(buf[:n], at); err != nil {
			return err
		}
		at += int64(n)
	}
}

// closeWAL closes the descriptor of -wal before SQLite removes that file. On Windows SQLite could not remove an open file.
func (h *heldFiles) closeWAL() error {
	if h == nil || h.wal == nil {
		return nil
	}
	return h.wal.Close()
}

// close closes the descriptor of the database, after SQLite has closed its own.
func (h *heldFiles) close() error {
	if h == nil {
		return nil
	}
	return h.leave()
}
