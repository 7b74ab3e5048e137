package segment

import (
	"bytes"
	"context"
)

// markHead is how a mark begins: its length as u32 LE.
var markHead = []byte{markPayload, 0, 0, 0}

// Attested reports whether an intact mark after off says that the log had been synced past off.
func (s *Scanner) Attested(ctx context.Context, off uint64) (attested bool, err error) {
	err = s.Marks(ctx, off+1, func(mark uint64) bool {
		attested = mark > off
		return !attested
	})
	return attested, err
}

// Marks searches the file from the offset from on. It calls visit with the offset that each intact mark attests, until
// visit returns false. A mark may begin at every byte, since after damage nothing says where records begin.
//
// A payload could contain the bytes of a mark that was made for just that offset, and Marks would take it for one. The
// payloads of the audit store cannot: they are canonical JSON, which has no bytes below 0x20.
func (s *Scanner) Marks(ctx context.Context, from uint64, visit func(mark uint64) bool) error {
	for pos := int64(from - s.base); s.size-pos >= MarkSize; {
		b, err := s.window(ctx, pos, readAhead)
		if err != nil {
			return err
		}
		if len(b) < MarkSize {
			return nil
		}
		for i := 0; ; i++ {
			next := bytes.Index(b[i:], markHead)
			if next < 0 || i+next+MarkSize > len(b) {
				break
			}
			if i += next; b[i+HeaderSize] != KindMark {
				continue
			}
			rec, reason := decode(b[i:i+MarkSize], s.base+uint64(pos)+uint64(i))
			if reason != "" {
				continue
			}
			if c, err := DecodeControl(rec, s.base); err == nil && !visit(c.Mark) {
				return nil
			}
		}
		pos += int64(len(b) - MarkSize + 1)
	}
	return nil
}
