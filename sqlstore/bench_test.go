package sqlstore_test

import (
	"fmt"
	"testing"

	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
)

// BenchmarkApply stores batches of records with three contributions each and 1 KB of payload, the applier's
// load. "repeated" draws agents, assertions and sources from a small world, "unique" has new evidence in
// every record: the worst case for the indexes. It checkpoints as the durable store does.
func BenchmarkApply(b *testing.B) {
	for _, evidence := range []string{"repeated", "unique"} {
		for _, n := range []int{1_000, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", evidence, n), func(b *testing.B) {
				db := newDB(b)
				next := 0
				for b.Loop() {
					b.StopTimer()
					batch := benchBatch(next, n, evidence == "unique")
					next += n
					b.StartTimer()
					for i := range batch.Records { // as the applier does with what it reads
						batch.Records[i].Leaf = tree.LeafHash(batch.Records[i].Payload)
					}
					if _, err := db.Apply(b.Context(), batch); err != nil {
						b.Fatal(err)
					}
					if db.WALBytes() > 64<<20 {
						if _, err := db.Checkpoint(b.Context(), false); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(float64(next)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

func benchBatch(from, n int, unique bool) *sqlstore.Batch {
	payload := make([]byte, 1000)
	for i := range payload {
		payload[i] = 'a' + byte(i%26)
	}
	batch := &sqlstore.Batch{Records: make([]sqlstore.Record, n)}
	for i := range batch.Records {
		no := from + i
		agent := h(fmt.Sprint("agent ", no%100))
		r := sqlstore.Record{
			Offset: uint64(no) * 1000, Payload: payload, QueryID: h(fmt.Sprint("query ", no)), AgentID: &agent,
			Timestamp: int64(no), Subject: ptr(fmt.Sprint("subject ", no%1000)), Predicate: ptr("revenue"),
			Lifecycle: ptr(uint8(2)), Lens: ptr("Recency"), ResultConfidence: 0.95,
		}
		for j := range 3 {
			c := sqlstore.Contribution{Weight: 0.5, Lifecycle: 2}
			if unique {
				c.AssertionHash, c.SourceHash = h(fmt.Sprint("a", no, j)), h(fmt.Sprint("s", no, j))
			} else {
				c.AssertionHash, c.SourceHash = h(fmt.Sprint("a", (no*7919+j)%20_000)), h(fmt.Sprint("s", (no*31+j)%1000))
			}
			r.Contributions = append(r.Contributions, c)
		}
		r.ResultHash = &r.Contributions[0].AssertionHash
		batch.Records[i] = r
	}
	batch.Cursor = uint64(from+n) * 1000
	return batch
}

// BenchmarkRead reads records that BenchmarkApply's load has stored: by id, and as streams.
func BenchmarkRead(b *testing.B) {
	db := newDB(b)
	const n = 50_000
	for from := 0; from < n; from += 10_000 {
		batch := benchBatch(from, 10_000, true)
		for i := range batch.Records {
			batch.Records[i].Leaf = tree.LeafHash(batch.Records[i].Payload)
		}
		if _, err := db.Apply(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("get", func(b *testing.B) {
		id, i := h("query 77"), 0
		key := append([]byte("\x00AUD:"), id[:]...)
		for b.Loop() {
			i++
			if _, err := db.Get(b.Context(), key); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, f := range map[string]sqlstore.Filter{
		"by admission": {ByAdmission: true}, "by time": {}, "by lens": {Lens: ptr("Recency")}, "nothing passes": {Lens: ptr("none")},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				for _, err := range db.Select(b.Context(), f) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
	b.Run("100 of an agent", func(b *testing.B) {
		agent, from := h("agent 7"), int64(1000)
		for b.Loop() {
			n := 0
			for _, err := range db.Select(b.Context(), sqlstore.Filter{Agent: &agent, From: &from, Limit: 100}) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != 100 {
				b.Fatalf("%d records", n)
			}
		}
	})
	b.Run("result", func(b *testing.B) {
		result := h("a771")
		for b.Loop() {
			for _, err := range db.Select(b.Context(), sqlstore.Filter{Result: &result}) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
