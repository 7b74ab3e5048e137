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

// BenchmarkGet is reads of single records by so many readers, of a store that has applied them: decoded, and as
// stored.
func BenchmarkGet(b *testing.B) {
	const n = 20_000
	db := openDB(b, filepath.Join(b.TempDir(), "store"))
	var ids []audit.QueryID
	for from := 0; from < n; from += 1000 {
		for id := range putSamples(b, db, from, from+1000) {
			ids = append(ids, id)
		}
	}
	for _, err := range db.RawAudits(context.Background(), audit.Filter{Limit: 1}) { // waits for the applier
		if err != nil {
			b.Fatal(err)
		}
	}
	for name, get := range map[string]func(id audit.QueryID) error{
		"record": func(id audit.QueryID) error { _, err := db.GetAudit(context.Background(), id); return err },
		"raw":    func(id audit.QueryID) error { _, err := db.GetRaw(context.Background(), id); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var next atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := get(ids[int(next.Add(7919))%n]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
	b.Run("agent, 100 records", func(b *testing.B) {
		agent := *sample(0).AgentID
		for b.Loop() {
			found, err := db.AuditsForAgent(context.Background(), agent, sample(n/2).Timestamp, audit.Unbounded, 100)
			if err != nil || len(found) != 100 {
				b.Fatal(len(found), err)
			}
		}
	})
	b.Run("recent, 100 records", func(b *testing.B) {
		for b.Loop() {
			if found, err := db.ListRecent(context.Background(), 100); err != nil || len(found) != 100 {
				b.Fatal(len(found), err)
			}
		}
	})
}
