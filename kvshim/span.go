package kvshim

import (
	"bytes"
	"fmt"
)

// span is a range of keys: from low on, below high. A nil high is no bound.
type span struct {
	low, high []byte
}

// spanOf returns the range of keys that begin with prefix and are within the bounds of o. The slices are
// copies, since a scan goes on after the call that made it.
func spanOf(prefix []byte, o ScanOptions) (span, error) {
	if o.Limit < 0 {
		return span{}, fmt.Errorf("scan: limit %d is negative", o.Limit)
	}
	s := span{low: own(prefix), high: successor(prefix)}
	if bytes.Compare(o.Start, s.low) > 0 {
		s.low = own(o.Start)
	}
	if len(o.End) > 0 && (s.high == nil || bytes.Compare(o.End, s.high) < 0) {
		s.high = own(o.End)
	}
	return s, nil
}

// empty reports whether the span has no keys.
func (s span) empty() bool {
	return s.high != nil && bytes.Compare(s.low, s.high) >= 0
}

// successor returns the first key above every key that begins with prefix, or nil if there is
// none. A last byte of 0xff cannot count up, so it is dropped and the byte before it counts up.
func successor(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			next := own(prefix[:i+1])
			next[i]++
			return next
		}
	}
	return nil
}
