package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/auditsql/auditsql/sqlstore"
)

// numbers yields the numbers below n, and then an error if there is one.
func numbers(n int, err error) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
		if err != nil {
			yield(0, err)
		}
	}
}

// What several goroutines have worked on comes in order, up to the first error or the end that is asked for. Then none works any more.
func TestWorkAheadComesInOrder(t *testing.T) {
	t.Parallel()
	bad := errors.New("bad")
	for _, c := range []struct {
		n, failAt, endAfter int
		last                error
		want                int
		err                 error
	}{
		{n: 0, failAt: -1, endAfter: -1}, {n: 1, failAt: -1, endAfter: -1, want: 1}, {n: 100, failAt: -1, endAfter: -1, want: 100},
		{n: 100, failAt: 17, endAfter: -1, want: 17, err: bad}, {n: 100, failAt: 0, endAfter: -1, err: bad},
		{n: 100, failAt: -1, endAfter: 5, want: 5}, {n: 100, failAt: 5, endAfter: 5, want: 5},
		{n: 10, failAt: -1, endAfter: -1, last: bad, want: 10, err: bad}, {n: 0, failAt: -1, endAfter: -1, last: bad, err: bad},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			var working atomic.Int64
			work := func(ctx context.Context, i int) (int, error) {
				working.Add(1)
				defer working.Add(-1)
				if i == c.failAt {
					return 0, bad
				}
				return i * i, nil
			}
			var got []int
			err := sqlstore.Ahead(t.Context(), numbers(c.n, c.last), work, func(i, square int) bool {
				if square != i*i {
					t.Errorf("%d came of %d", square, i)
				}
				got = append(got, i)
				return len(got) != c.endAfter
			})
			var want []int
			for i := range c.want {
				want = append(want, i)
			}
			if !errors.Is(err, c.err) || err != nil && c.err == nil || !slices.Equal(got, want) || working.Load() != 0 {
				t.Errorf("%v, %v; %d work still", got, err, working.Load())
			}
		})
	}
}
