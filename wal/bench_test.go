package wal_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/auditsql/auditsql/wal"
)

// BenchmarkAppend is durable appends of 700 bytes by so many writers at once, each waiting for its own.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			var syncs atomic.Int64
			j, _ := open(b, b.TempDir(), wal.Options{OnSync: func(wal.Synced) { syncs.Add(1) }})
			payload := append([]byte("{"), bytes.Repeat([]byte("x"), 699)...)
			b.SetBytes(int64(len(payload)))
			b.ResetTimer()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := j.Append(context.Background(), payload); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/float64(max(1, syncs.Load())), "records/sync")
		})
	}
}
