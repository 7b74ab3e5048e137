package audit

import (
	"math"
	"time"

	"github.com/auditsql/auditsql/sqlstore"
)

// Budget ends a count early. The answer has what was counted until then, and says that it was cut. The zero value has no end:
// everything is counted.
type Budget struct {
	// Records is how many records are counted at most, for Impact: how many answers. 0 is no limit.
	Records uint64
	// Time is how long the counting takes at most. 0 is no limit. The question itself may take a little longer.
	Time time.Duration
}

func (b Budget) lower() sqlstore.Budget {
	return sqlstore.Budget{Records: int64(min(b.Records, math.MaxInt64)), Time: b.Time}
}
