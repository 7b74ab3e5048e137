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

// heldFiles are the database and its -wal as the writer has opened them, through descriptors of our own.
//
// They serve two ends. A sync of ours says what is on disk whoever has copied the pages: a foreign connection with
// synchronous=OFF copies them out of -wal without any sync, and SQLite then has nothing left to copy and syncs
// nothing. And they tell whether the names still lead to these files: SQLite would go on with files that nobody
// can find.
//
// The database's descriptor is open from before SQLite opens the file until after it has closed it. A kernel tells a
// failed sync to each descriptor that was open at the time, once: one that was opened later may never hear of it.
type heldFiles struct {
	path string
	db   *os.File
	wal  *os.File // nil until -wal is there
	// whole is the database's size when it was last seen to be as long as its header says. Guarded by mu: the applier
	// and a checkpoint beside it both look.
	mu    sync.Mutex
	whole int64
	// walLeast is how long -wal is at least: as long as it was after the last commit of ours, until a checkpoint has copied
	// all of it. Until then nobody can empty it, see pin. Guarded by mu.
	walLeast int64
	leave    func() error
}

// hold opens the database, which exists.
func hold(ctx context.Context, path string) (*heldFiles, error) {
	f, leave, err := use(ctx, path)
	if err != nil {
		return nil, err
	}
	return &heldFiles{path: path, db: f, leave: leave}, nil
}

// holdWAL opens -wal, which the writer has given its header. No lock of SQLite's lies on that file, so closing a
// descriptor of it drops none.
func (h *heldFiles) holdWAL() (err error) {
	h.wal, err = durable.OpenWrite(h.path + walSuffix)
	return err
}

// check returns ErrMoved unless the names still lead to the files that are held, and these are as long as they were.
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

// checkWAL finds a -wal that was cut. It is asked before each commit as well: the commit would make the file as long as it
// was, with zeros in the place of what was cut.
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

// checkSize finds a database that was cut. A shorter file alone says nothing, since a foreign VACUUM shortens it:
// then its header says the new length. A header that claims more than there is says nothing alone either, since a
// checkpoint writes the first page before the last one.
func (h *heldFiles) checkSize() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	claimed, err := claimedSize(h.db)
	if err != nil {
		return err
	}
	// After the header: a checkpoint in between makes the file longer, and what the header claims is reached later than
	// it is written.
	st, err := h.db.Stat()
	if err != nil {
		return err
	}
	again, err := claimedSize(h.db)
	if err != nil || again != claimed {
		return err // it is being written just now; the next look tells
	}
	switch {
	case claimed > 0 && claimed == st.Size():
		h.whole = claimed
	case st.Size() < h.whole && (claimed == 0 || claimed > st.Size()):
		return fmt.Errorf("%s: cut to %d bytes while it was open: %w", h.path, st.Size(), ErrMoved)
	}
	return nil
}

// claimedSize is the length of the file by its header (https://www.sqlite.org/fileformat2.html#the_database_header:
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

// sync makes durable all that was written to the database, by anybody.
func (h *heldFiles) sync() error { return h.db.Sync() }

// renewWAL writes the bytes of -wal once more and syncs them. The caller holds SQLite's write lock, so that nobody
// writes there meanwhile.
//
// That -wal can be read does not mean that the disk has it. A process that was killed may have died before its sync,
// and after a sync that failed the page cache holds, as clean, what was never written: a later sync succeeds without
// writing it. A checkpoint that then copies pages into the database, and a power cut in the middle of it, would leave
// a database that is neither old nor new, and no -wal to complete it. Writing makes the pages dirty again, so that the
// sync has to write them.
func renewWAL(path string) error {
	f, err := durable.OpenWrite(path + walSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := errors.Join(rewrite(f), f.Close()); err != nil {
		return fmt.Errorf("write %s once more: %w", path+walSuffix, err)
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

// closeWAL gives up the descriptor of -wal, before SQLite removes that file: on Windows it could not.
func (h *heldFiles) closeWAL() error {
	if h == nil || h.wal == nil {
		return nil
	}
	return h.wal.Close()
}

// close gives up the descriptor of the database, after SQLite has closed its own.
func (h *heldFiles) close() error {
	if h == nil {
		return nil
	}
	return h.leave()
}
