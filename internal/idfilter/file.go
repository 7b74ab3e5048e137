package idfilter

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"

	"github.com/auditsql/auditsql/internal/durable"
)

// State says which ids the file of a filter holds: those that a store had at one moment. Files with equal states hold the
// same ids.
type State struct {
	StoreID [32]byte // hex digits
	Cursor  uint64   // of SQLite in the journal
	Entries uint64   // how many ids there are
	Newest  [32]byte // the id that was added last
}

// The file, little-endian:
//
//	header
//	for each layer: its capacity and how many ids it holds, u64 each, and its blocks
//	CRC-32C of all that, u32
type header struct {
	Magic [8]byte
	State
	Seed   [4]uint64
	Layers uint64
}

var magic = [8]byte{'A', 'S', 'Q', 'L', 'I', 'D', 'S', '1'}

// maxLayers is more than any store has: each layer makes the capacity larger by a third.
const maxLayers = 128

// Open returns a new filter that Load can fill from the file at path. If the file is missing, cannot be read or is of
// another state, Open removes it and returns the filter of New.
//
// Only the header is read here. Load reads the rest, which may take longer. The seed in
// the header must be known first, because ids that are added before Load is done must be hashed with it.
func Open(path string, want State) *Filter {
	f := New()
	file, err := durable.Open(path)
	if err != nil {
		Remove(path)
		return f
	}
	var have header
	if binary.Read(file, binary.LittleEndian, &have) != nil ||
		have.Magic != magic || have.State != want || have.Layers > maxLayers {
		file.Close()
		Remove(path)
		return f
	}
	f.seed, f.file = have.Seed, file
	return f
}

// Remove deletes the file of another state. A failure is ignored, because a file that stays does no harm: Open compares the
// state in its header.
func Remove(path string) { os.Remove(path) }

// Load fills the filter from the file that Open has found, and removes the file. It reports whether the filter is
// complete. Without a file it returns false and no error. After an error Fill can still fill the filter.
func (f *Filter) Load() (bool, error) {
	f.mu.RLock()
	file := f.file
	f.mu.RUnlock()
	if file == nil {
		return false, nil
	}
	layers, err := readLayers(file)
	file.Close()
	os.Remove(file.Name())
	f.mu.Lock()
	f.layers, f.file = layers, nil
	f.enter(f.added)
	f.added = nil
	f.mu.Unlock()
	if err != nil {
		return false, fmt.Errorf("%s: %w", file.Name(), err)
	}
	f.loaded.Store(true)
	f.complete.Store(true)
	return true, nil
}

// Save writes the filter to the file at path, which gets the owner of the file or folder like (durable.WriteFile). The
// filter must be complete, and nothing may be added meanwhile.
func (f *Filter) Save(path, like string, s State) error {
	return durable.WriteFile(path, like, func(w io.Writer) error {
		f.mu.RLock()
		defer f.mu.RUnlock()
		return encode(w, header{Magic: magic, State: s, Seed: f.seed, Layers: uint64(len(f.layers))}, f.layers)
	})
}

func encode(w io.Writer, h header, layers []*layer) error {
	sum := crc32.New(castagnoli)
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<20)
	// Flush returns the first error of these writes.
	binary.Write(out, binary.LittleEndian, &h)
	var line [64]byte
	for _, l := range layers {
		binary.Write(out, binary.LittleEndian, [2]uint64{uint64(l.capacity), uint64(l.held)})
		for i := range l.blocks {
			for k, word := range l.blocks[i] {
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

var errDamaged = errors.New("it is damaged")

// readLayers checks the whole file and returns its layers.
func readLayers(file *os.File) ([]*layer, error) {
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	_, layers, err := decode(file, st.Size())
	return layers, err
}

// decode reads size bytes. It allocates no more than size, whatever the bytes say.
func decode(r io.Reader, size int64) (h header, layers []*layer, err error) {
	const sumSize = 4
	sum := crc32.New(castagnoli)
	in := bufio.NewReaderSize(io.TeeReader(io.LimitReader(r, size-sumSize), sum), 1<<20)
	if err := binary.Read(in, binary.LittleEndian, &h); err != nil {
		return h, nil, err
	}
	left := size - sumSize - int64(binary.Size(h))
	var line [64]byte
	for range h.Layers {
		var n [2]uint64 // capacity and held
		if err := binary.Read(in, binary.LittleEndian, &n); err != nil {
			return h, nil, err
		}
		if n[0] > uint64(left)*8/bitsPerID || n[1] > math.MaxInt {
			return h, nil, errDamaged
		}
		l := newLayer(int(n[0]))
		l.held = int(n[1])
		for i := range l.blocks {
			if _, err := io.ReadFull(in, line[:]); err != nil {
				return h, nil, err
			}
			for k := range l.blocks[i] {
				l.blocks[i][k] = binary.LittleEndian.Uint64(line[8*k:])
			}
		}
		left -= int64(binary.Size(n)) + int64(len(l.blocks)*len(line))
		layers = append(layers, l)
	}
	if left != 0 {
		return h, nil, errDamaged
	}
	var want uint32
	if err := binary.Read(r, binary.LittleEndian, &want); err != nil {
		return h, nil, err
	}
	if want != sum.Sum32() {
		return h, nil, errDamaged
	}
	return h, layers, nil
}
