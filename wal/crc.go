package wal

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
)

// A CRC is a remainder of polynomials over GF(2), and those can be calculated with. Appending n bytes
// multiplies what was there before by x^8n, so for any a and b
//
//	crc(a ‖ b) = crc(a)·x^8|b| + crc(b)        (mod P; plus is exclusive or)
//
// in which form the complements at both ends of CRC-32C cancel out. So what stands in front of b can be
// exchanged for something else without reading b: the checksum of a' ‖ b is
//
//	crc(a ‖ b) + (crc(a) + crc(a'))·x^8|b|
//
// That is how the checksum of any record follows from those of the file's beginnings.
//
// A polynomial is kept as hash/crc32 has it, reflected: the highest bit is the coefficient of x^0.

// mulMod multiplies two polynomials modulo P.
func mulMod(a, b uint32) uint32 {
	var product uint32
	for ; a != 0; a <<= 1 {
		product ^= b & -(a >> 31) // no branches: the bits are as good as random
		// b times x; what leaves at the low end is x^32, which is P without it.
		b = b>>1 ^ crc32.Castagnoli&-(b&1)
	}
	return product
}

// shifts holds x^8n modulo P, for n = digit·256^place at [place][digit]: four products make any length.
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

// exchangeCRC returns the checksum of other ‖ b, where whole is that of front ‖ b and b is n bytes long.
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

// prefixes gives the checksums of a file's beginnings, counted from a position. It reads the file once, as
// far as it was asked, and remembers a checksum for each KiB: 256 KiB of them for a segment of 64 MiB.
type prefixes struct {
	f    File
	from int64
	sums []uint32 // sums[i] is the checksum of [from, from + i·prefixBlock)
	buf  []byte
}

const prefixBlock = 1 << 10

// prefixEnd is the block in which somebody asked last, who is likely to ask next to it.
type prefixEnd struct {
	block []byte
	start int64 // its position; -1 when there is none
}

func newPrefixes(f File, from int64) *prefixes {
	return &prefixes{f: f, from: from, sums: []uint32{0}}
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
		n, err := p.f.ReadAt(last.block[:prefixBlock], start)
		last.block, last.start = last.block[:n], start
		if n < rest {
			return 0, p.failed(err, start)
		}
	}
	return crc32.Update(p.sums[i], castagnoli, last.block[:rest]), nil
}

// grow sees to it that sums[i] is there.
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
		n, err := p.f.ReadAt(want, start)
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
