package audit_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// BenchmarkPut is durable puts of records with three contributions by so many writers at once.
func BenchmarkPut(b *testing.B) {
	for _, writers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			db := openDB(b, filepath.Join(b.TempDir(), "store"))
			records := make([]audit.QueryAudit, b.N)
			for i := range records {
				records[i] = sample(4*i + 3)
			}
			var next atomic.Int64
			b.ResetTimer()
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
						if _, err := db.PutAudit(context.Background(), &records[i]); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
		})
	}
}

// BenchmarkOpen is opening and closing a store of so many records that was closed cleanly.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "store")
			db := openDB(b, dir)
			for from := 0; from < n; from += 1000 {
				putSamples(b, db, from, from+1000)
			}
			closeDB(b, db)
			for b.Loop() {
				closeDB(b, openDB(b, dir))
			}
		})
	}
}
