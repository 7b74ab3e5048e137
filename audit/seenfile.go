package audit

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/auditsql/auditsql/internal/durable"
)

// A clean close leaves the filter over the ids in a file, so that the next opening need not read all of them out of
// SQLite. The file is good for that one opening, which removes it: what comes after is in it no more. It is made of
// what SQLite has, so it may be lost or deleted at any time, and is believed only if all of this
// holds: the store was closed cleanly and SQLite is not in doubt, the file is of this store, this cursor and this
// newest entry, and its checksum fits.
//
//	seenHead, little-endian
//	of each layer: its room and how many ids it holds, u64 each, and its blocks
//	CRC-32C of all that, u32
const seenFileName = "ids.filter"

var seenMagic = [8]byte{'A', 'S', 'Q', 'L', 'I', 'D', 'S', '1'}

// seenHead is how the file begins.
type seenHead struct {
	Magic   [8]byte
	StoreID [32]byte // hex digits
	Cursor  uint64
	Entries uint64
	Newest  QueryID // of the last entry
	Seed    [4]uint64
	Layers  uint64
}

// headFor returns what the file's beginning must be for the ids that SQLite holds, but for seed and layers.
func (db *DB) headFor(ctx context.Context) (seenHead, error) {
	h := seenHead{Magic: seenMagic}
	copy(h.StoreID[:], db.file.StoreID)
	var err error
	if h.Cursor, err = db.sql.Cursor(ctx); err != nil {
		return h, err
	}
	last, ok, err := db.sql.LastEntry(ctx)
	if ok {
		h.Entries, h.Newest = last.Index+1, last.QueryID
	}
	return h, err
}

// keptSeen returns the file that the last close left, if it may be believed, with its beginning read: the filter
// begins with its seed, so that what is applied from now on and what the file holds are found in one way.
func (p *opening) keptSeen(db *DB) (*os.File, error) {
	name := filepath.Join(p.dir, seenFileName)
	f, err := durable.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		if p.clean && !p.doubted && p.report.Replayed == 0 && p.report.Rejected == 0 {
			var want, have seenHead
			ok := false
			if want, err = db.headFor(p.ctx); err != nil {
				return nil, errors.Join(err, f.Close())
			}
			if binary.Read(f, binary.LittleEndian, &have) == nil {
				want.Seed, want.Layers = have.Seed, have.Layers
				ok = want == have && have.Layers <= maxLayers
			}
			if ok {
				db.seen.seed, db.seen.reading = have.Seed, true
				return f, nil
			}
		}
		f.Close()
	}
	// It is not wanted, or cannot be read: then SQLite is asked.
	os.Remove(name)
	return nil, nil
}

// maxLayers is more than any store has: a third more ids with each.
const maxLayers = 128

// fillSeen fills the filter beside everything else: from the file that was kept, or from SQLite.
func (db *DB) fillSeen(kept *os.File) {
	db.background.Go(func() {
		if kept != nil {
			layers, err := readSeen(kept)
			kept.Close()
			os.Remove(filepath.Join(db.dir, seenFileName))
			db.seen.read(layers)
			if err == nil {
				db.seen.fromFile = true
				db.seen.complete.Store(true)
				return
			}
			db.opts.logger.Warn("the filter over the ids could not be read; it is made anew", "error", err)
		}
		// Closing does not cut short what takes moments: a store that is only ever open for moments would never
		// have its filter.
		const few = 1 << 16
		ctx := db.quit
		if last, _, err := db.sql.LastEntry(context.WithoutCancel(ctx)); err == nil && last.Index < few {
			ctx = context.WithoutCancel(ctx)
		}
		ids := make([]QueryID, 0, 1024)
		for entry, err := range db.sql.Entries(ctx, 0) {
			if err != nil {
				return // every answer stays "maybe", which is right, if slower
			}
			if ids = append(ids, entry.QueryID); len(ids) == cap(ids) {
				db.seen.add(ids...)
				ids = ids[:0]
			}
		}
		db.seen.add(ids...)
		if ctx.Err() == nil {
			db.seen.complete.Store(true)
		}
	})
}

// keepSeen leaves the filter for the next opening. The applier has ended, and the store is about to be closed
// cleanly. Where it cannot, the next opening has more to do, and nothing else is lost.
func (db *DB) keepSeen() {
	if !db.seen.complete.Load() {
		return
	}
	h, err := db.headFor(context.Background())
	if err == nil {
		err = durable.WriteFile(filepath.Join(db.dir, seenFileName), ownedLike(db.dir), func(w io.Writer) error {
			return writeSeen(w, h, db.seen)
		})
	}
	if err != nil {
		db.opts.logger.Warn("the filter over the ids was not kept", "error", err)
	}
}

// read takes over the layers of the file, if there are any, and enters what was added meanwhile.
func (s *seen) read(layers []*bloom) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.layers, s.reading = layers, false
	s.enter(s.added)
	s.added = nil
}

func writeSeen(w io.Writer, h seenHead, s *seen) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h.Seed, h.Layers = s.seed, uint64(len(s.layers))
	return encodeSeen(w, h, s.layers)
}

func encodeSeen(w io.Writer, h seenHead, layers []*bloom) error {
	sum := crc32.New(castagnoli)
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<20)
	// What goes wrong in between, Flush tells.
	binary.Write(out, binary.LittleEndian, &h)
	var line [64]byte
	for _, b := range layers {
		binary.Write(out, binary.LittleEndian, [2]uint64{uint64(b.room), uint64(b.held)})
		for i := range b.blocks {
			for k, word := range b.blocks[i] {
				binary.LittleEndian.PutUint64(line[8*k:], word)
			}
			out.Write(line[:])
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return binary.Write(w, binary.LittleEndian, sum.Sum32())
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errSeenFile = errors.New("it is damaged")

// readSeen reads the layers out of a file of which the beginning has been read, and checks the whole.
func readSeen(f *os.File) ([]*bloom, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	_, layers, err := decodeSeen(f, st.Size())
	return layers, err
}

// decodeSeen takes size bytes apart. It allocates no more than there are.
func decodeSeen(r io.Reader, size int64) (h seenHead, layers []*bloom, err error) {
	const sumSize = 4
	sum := crc32.New(castagnoli)
	in := bufio.NewReaderSize(io.TeeReader(io.LimitReader(r, size-sumSize), sum), 1<<20)
	if err := binary.Read(in, binary.LittleEndian, &h); err != nil {
		return h, nil, err
	}
	left := size - sumSize - int64(binary.Size(h))
	var line [64]byte
	for range h.Layers {
		var n [2]uint64
		if err := binary.Read(in, binary.LittleEndian, &n); err != nil {
			return h, nil, err
		}
		if n[0] > uint64(left)*8/bloomBits || n[1] > math.MaxInt {
			return h, nil, errSeenFile
		}
		b := newBloom(int(n[0]))
		b.held = int(n[1])
		for i := range b.blocks {
			if _, err := io.ReadFull(in, line[:]); err != nil {
				return h, nil, err
			}
			for k := range b.blocks[i] {
				b.blocks[i][k] = binary.LittleEndian.Uint64(line[8*k:])
			}
		}
		left -= int64(binary.Size(n)) + int64(len(b.blocks)*len(line))
		layers = append(layers, b)
	}
	if left != 0 {
		return h, nil, errSeenFile
	}
	var want uint32
	if err := binary.Read(r, binary.LittleEndian, &want); err != nil {
		return h, nil, err
	}
	if want != sum.Sum32() {
		return h, nil, errSeenFile
	}
	return h, layers, nil
}
