package backlog

import (
	"context"
	"time"
)

// MakeWay lets writers go first, as long as the budget allows: records that SQLite has a little later are better than
// puts that wait. The applier calls it between batches, while many write and processors are scarce. took is how long
// the last batch took. The applier then works a seventeenth of the time, and more as the backlog fills up, until it
// does not wait any more when that is nearly full. (Measured with 64 writers on two processors: 51,000 puts a second
// without this.)
//
// It ends when ctx does, and when wanted reports true: somebody waits for what is not applied.
func (b *Backlog) MakeWay(ctx context.Context, took time.Duration, wanted func() bool) {
	const share, step = 16, 5 * time.Millisecond
	for began := time.Now(); b.Busy() && !wanted() && ctx.Err() == nil; time.Sleep(step) {
		// The full share up to two thirds of the way.
		free := min(1, 3*(1-b.fill()/nearlyFull))
		if time.Since(began) >= time.Duration(share*free*float64(took)) {
			return
		}
	}
}
