package segment

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
)

// A CRC is the remainder of a polynomial over GF(2). Appending n bytes multiplies what was there before by x^8n,
// so for any a and b
//
//	crc(a ‖ b) = crc(a)·x^8|b| + crc(b)        (mod P; plus is exclusive or)
//
// CRC-32C also complements its value at the beginning and at the end. In this sum the complements cancel out. So the
// checksum for other bytes before b can be computed without reading b: the checksum of a' ‖ b is
//
//	crc(a ‖ b) + (crc(a) + crc(a'))·x^8|b|
//
// So the checksum of any record follows from the checksums of two prefixes of the file: the one that ends before the
// record's bytes, and the one that ends after them.
//
// A polynomial is stored reflected, as in hash/crc32: the highest bit is the coefficient of x^0.

// mulMod multiplies two polynomials modulo P.
func mulMod(a, b uint32) uint32 {
	var product uint32
	for ; a != 0; a <<= 1 {
		product ^= b & -(a >> 31) // without a branch: the bits look random, so the processor would often predict it wrong
		// Multiply b by x. The bit that leaves at the low end is x^32, which modulo P is the sum of P's other terms.
		b = b>>1 ^ crc32.Castagnoli&-(b&1)
	}
	return product
}

// shifts holds x^8n modulo P at [place][digit], for n = digit·256^place. The product of at most four of them is x^8n for
// any n of 32 bits.
var shifts = sync.OnceValue(func() *[4][256]uint32 {
	var t [4][256]uint32
	step := uint32(1) << (31 - 8) // x^8
	for place := range t {
		t[place][0] = 1 << 31 // x^0
		for digit := 1; digit < 256; digit++ {
			t[place][digit] = mulMod(t[place][digit-1], step)
		}
		step = mulMod(t[place][255], step)
	}
	return &t
})

// exchangeCRC returns the checksum of a' ‖ b. front is the checksum of a, other that of a', whole that of a ‖ b; b is n
// bytes long.
func exchangeCRC(whole, front, other, n uint32) uint32 {
	difference := front ^ other
	t := shifts()
	for place := 0; n != 0; place++ {
		if digit := n & 0xff; digit != 0 {
			difference = mulMod(t[place][digit], difference)
		}
		n >>= 8
	}
	return whole ^ difference
}

// prefixes computes the checksum of the bytes from a fixed position of a file to any later position. It reads the file
// once, up to the last position that was asked for, and keeps one checksum for each KiB. For a segment of 64 MiB the
// checksums take 256 KiB.
type prefixes struct {
	src  Source
	from int64
	sums []uint32 // sums[i] is the checksum of [from, from + i·prefixBlock)
	buf  []byte
}

const prefixBlock = 1 << 10

// prefixEnd is the block that the last call of at has read. The next call probably needs the same block.
type prefixEnd struct {
	block []byte
	start int64 // its position; -1 when there is none
}

func newPrefixes(src Source, from int64) *prefixes {
	return &prefixes{src: src, from: from, sums: []uint32{0}}
}

// at returns the checksum of the bytes from p.from to pos; io.EOF when the file ends before that.
func (p *prefixes) at(ctx context.Context, pos int64, last *prefixEnd) (uint32, error) {
	i := (pos - p.from) / prefixBlock
	if err := p.grow(ctx, int(i)); err != nil {
		return 0, err
	}
	start := p.from + i*prefixBlock
	rest := int(pos - start)
	if rest > len(last.block) || start != last.start {
		if last.block == nil {
			last.block = make([]byte, 0, prefixBlock)
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, err := p.src.ReadAt(last.block[:prefixBlock], start)
		last.block, last.start = last.block[:n], start
		if n < rest {
			return 0, p.failed(err, start)
		}
	}
	return crc32.Update(p.sums[i], castagnoli, last.block[:rest]), nil
}

// grow reads on until sums[i] is known.
func (p *prefixes) grow(ctx context.Context, i int) error {
	for len(p.sums) <= i {
		if p.buf == nil {
			p.buf = make([]byte, readAhead)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		start := p.from + int64(len(p.sums)-1)*prefixBlock
		want := p.buf[:min(len(p.buf), (i+1-len(p.sums))*prefixBlock)]
		n, err := p.src.ReadAt(want, start)
		for b := want[:n]; len(b) >= prefixBlock; b = b[prefixBlock:] {
			p.sums = append(p.sums, crc32.Update(p.sums[len(p.sums)-1], castagnoli, b[:prefixBlock]))
		}
		if n < len(want) {
			return p.failed(err, start)
		}
	}
	return nil
}

func (p *prefixes) failed(err error, at int64) error {
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return fmt.Errorf("read at position %d: %w", at, err)
}
