package audit_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// A timeline holds no more than twice the buckets that it shows, whatever the order in which records come, and the
// latest are among them.
func TestTimelineHoldsWhatItShows(t *testing.T) {
	t.Parallel()
	const minutes, most = 5000, 20
	var up []uint64
	for i := range uint64(minutes) {
		up = append(up, 60*i, 60*i+59)
	}
	down := slices.Clone(up)
	slices.Reverse(down)
	mixed := slices.Clone(up)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	for name, seconds := range map[string][]uint64{"up": up, "down": down, "mixed": mixed} {
		held, left := audit.HeldBuckets(most, seconds)
		if held > 2*most+1 {
			t.Errorf("%s: %d buckets are held for %d that are shown", name, held, most)
		}
		if len(left) < most || left[len(left)-1] != 60*(minutes-1) || left[len(left)-most] != 60*(minutes-most) {
			t.Errorf("%s: the latest are missing: %v", name, left)
		}
	}
}

// However many buckets may be shown, a timeline shows those that there are.
func TestTimelineOfAbsurdlyManyBuckets(t *testing.T) {
	t.Parallel()
	for _, most := range []int{math.MaxInt, math.MaxInt - 1, math.MaxInt/2 + 1} {
		if held, left := audit.HeldBuckets(most, []uint64{60, 120, 180}); held != 3 || len(left) != 3 {
			t.Errorf("at most %d: %d buckets are held, and %v are left", most, held, left)
		}
	}
}
