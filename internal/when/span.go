package when

import (
	"math"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// A Span is the time that an expression names, as timestamps, both ends inclusive. A date has its first and its last
// instant. An instant has equal ends, unless it lies between two timestamps: then First is the later of them and Last
// the earlier. So all timestamps from First on are not before the time, and all up to Last are not after it.
type Span struct{ First, Last uint64 }

// Around is the time from d before the span to d after it, as far as there are timestamps in the unit.
func (s Span) Around(d time.Duration, unit audit.TimeUnit) (from, to uint64) {
	width := Units(d, unit)
	from, to = min(s.First, s.Last), max(s.First, s.Last)
	from -= min(width, from)
	if to > math.MaxInt64-width {
		return from, math.MaxInt64
	}
	return from, to + width
}

// Units is a length of time in units, rounded down. d must not be negative.
func Units(d time.Duration, unit audit.TimeUnit) uint64 {
	return uint64(d / (time.Second / time.Duration(unit.PerSecond())))
}
