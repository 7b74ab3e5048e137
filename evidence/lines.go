package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"

	"github.com/auditsql/auditsql/tree"
)

// MaxRecord is how long a record may be that is read here, in bytes. A store takes none that is longer.
const MaxRecord = 16 << 20

// leafBlock is how much of an export is hashed at a time: enough that handing it to another processor costs nothing.
const leafBlock = 1 << 20

var errCutLine = errors.New("its line does not end in a line feed: the text was cut")

// leaves yields the leaf hashes of records, one a line, in their order. All processors hash. Each has a block of lines, so
// memory does not grow with the input. The input is read on the caller's goroutine, and never after the caller stops.
func leaves(records io.Reader) iter.Seq2[tree.Hash, error] {
	return func(yield func(tree.Hash, error) bool) {
		in := lineBlocks{in: records}
		var pending []chan []tree.Hash // blocks that are being hashed, in order
		defer func() {
			for _, p := range pending {
				<-p
			}
		}()
		var failed error
		for {
			// One block more than there are processors, so that none waits while this goroutine reads.
			for failed == nil && len(pending) <= runtime.GOMAXPROCS(0) {
				var lines []byte
				lines, failed = in.next()
				hashed := make(chan []tree.Hash, 1)
				go func() { hashed <- leafHashes(lines) }()
				pending = append(pending, hashed)
			}
			if len(pending) == 0 {
				if !errors.Is(failed, io.EOF) {
					yield(tree.Hash{}, failed)
				}
				return
			}
			hashes := <-pending[0]
			pending = pending[1:]
			for _, h := range hashes {
				if !yield(h, nil) {
					return
				}
			}
		}
	}
}

func leafHashes(lines []byte) []tree.Hash {
	hashes := make([]tree.Hash, 0, bytes.Count(lines, []byte{'\n'}))
	for len(lines) > 0 {
		end := bytes.IndexByte(lines, '\n')
		hashes = append(hashes, tree.LeafHash(lines[:end]))
		lines = lines[end+1:]
	}
	return hashes
}

// lineBlocks cuts an input into blocks of whole lines.
type lineBlocks struct {
	in   io.Reader
	rest []byte // the beginning of a line
}

// next returns the next whole lines. With an error, which is io.EOF at the end, it returns those before it.
func (b *lineBlocks) next() ([]byte, error) {
	size := leafBlock
	for {
		buffer := make([]byte, min(max(size, 2*len(b.rest)), MaxRecord+1))
		n := copy(buffer, b.rest)
		more, err := io.ReadFull(b.in, buffer[n:])
		n += more
		end := bytes.LastIndexByte(buffer[:n], '\n') + 1
		b.rest = buffer[end:n]
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			if len(b.rest) > 0 {
				return buffer[:end], errCutLine
			}
			return buffer[:end], io.EOF
		case err != nil:
			return buffer[:end], err
		case end > 0:
			return buffer[:end], nil
		case n > MaxRecord:
			return nil, fmt.Errorf("its line is longer than %d bytes", MaxRecord)
		}
		size = 2 * n
	}
}
