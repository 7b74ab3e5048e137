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

// BenchmarkAppend measures durable appends of 700 bytes by several writers at once. Each waits for its own.
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

// BenchmarkAppendBatch measures durable appends by one writer, of several records of 700 bytes at a time.
func BenchmarkAppendBatch(b *testing.B) {
	for _, records := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
			j, _ := open(b, b.TempDir(), wal.Options{})
			payload := append([]byte("{"), bytes.Repeat([]byte("x"), 699)...)
			batch := make([][]byte, records)
			for i := range batch {
				batch[i] = payload
			}
			b.SetBytes(int64(records * len(payload)))
			for b.Loop() {
				if _, err := j.AppendBatch(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReader reads a journal of 10,000 records of 700 bytes from its beginning, as replay does.
func BenchmarkReader(b *testing.B) {
	const records = 10_000
	dir := b.TempDir()
	j, _ := open(b, dir, wal.Options{})
	payload := append([]byte("{"), bytes.Repeat([]byte("x"), 699)...)
	batch := make([][]byte, records)
	for i := range batch {
		batch[i] = payload
	}
	if _, err := j.AppendBatch(context.Background(), batch); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(records * len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := wal.OpenReader(dir, 0, wal.Options{})
		if err != nil {
			b.Fatal(err)
		}
		for range records {
			if _, err := r.Next(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
