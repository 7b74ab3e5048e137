package sqlstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/auditsql/auditsql/sqlstore"
)

// rows runs a query and returns its rows, columns joined by |.
func rows(t testing.TB, db *sqlstore.DB, query string, args ...any) []string {
	t.Helper()
	r, err := db.QueryRows(t.Context(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return scanRows(t, r.Rows)
}

func scanRows(t testing.TB, r *sqlx.Rows) (out []string) {
	t.Helper()
	defer r.Close()
	for r.Next() {
		vals, err := r.SliceScan()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		for i, v := range vals {
			if i > 0 {
				b.WriteByte('|')
			}
			if p, ok := v.([]byte); ok {
				fmt.Fprintf(&b, "x%x", p)
			} else {
				fmt.Fprint(&b, v)
			}
		}
		out = append(out, b.String())
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func wantRows(t testing.TB, db *sqlstore.DB, query string, want ...string) {
	t.Helper()
	if got := rows(t, db, query); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s:\ngot  %q\nwant %q", query, got, want)
	}
}

func TestApplyWritesEveryTable(t *testing.T) {
	t.Parallel()
	db, ctx := newDB(t), t.Context()
	s := newSample(4)
	s.Epoch = ptr(hx("epoch"))
	full := s.record(0)
	bare := sample{ID: hx("bare"), Time: 5, Confidence: -1.5}.record(700)
	done, err := db.Apply(ctx, &sqlstore.Batch{
		Records:  []sqlstore.Record{full, bare},
		Rejected: []sqlstore.Rejected{{Offset: 800, Reason: "no audit", Payload: []byte("{")}},
		Cursor:   900,
	})
	if err != nil || done != (sqlstore.Applied{Inserted: 2, Rejected: 1}) {
		t.Fatalf("apply: %+v, %v", done, err)
	}
	for _, r := range []sqlstore.Record{full, bare} {
		if v, err := db.Get(ctx, keyOf(r)); !bytes.Equal(v, r.Payload) {
			t.Errorf("kv has %q, %v", v, err)
		}
	}
	if v, err := db.Get(ctx, agentKeyOf(full)); err != nil || len(v) != 0 {
		t.Errorf("kv has %q, %v for the agent", v, err)
	}
	if c, err := db.Cursor(ctx); c != 900 {
		t.Errorf("cursor %d, %v", c, err)
	}
	wantRows(t, db, `SELECT * FROM audits ORDER BY idx`,
		fmt.Sprintf("0|%s|%s|1700000000040|2023-11-14T22:13:20.040Z|subject 4|revenue|Rejected|%s|Recency|%s|0.95|3|<nil>",
			s.ID, *s.Agent, hx("epoch"), *s.Result),
		fmt.Sprintf("1|%s|<nil>|5|1970-01-01T00:00:00.005Z|<nil>|<nil>|<nil>|<nil>|<nil>|<nil>|-1.5|0|<nil>", hx("bare")))
	wantRows(t, db, `SELECT query_id, agent_id, timestamp, time, position, assertion_hash, weight, source_hash, lifecycle
			FROM contributions WHERE position = 1`,
		fmt.Sprintf("%s|%s|1700000000040|2023-11-14T22:13:20.040Z|1|%s|0.2|%s|Approved",
			s.ID, *s.Agent, hx("assertion 5"), hx("source 4")))
	wantRows(t, db, `SELECT query_id, timestamp, time, key, value FROM attributes ORDER BY key`,
		s.ID+"|1700000000040|2023-11-14T22:13:20.040Z|model|m1", s.ID+"|1700000000040|2023-11-14T22:13:20.040Z|trace_id|trace 4")
	wantRows(t, db, `SELECT * FROM agents ORDER BY first DESC`,
		*s.Agent+"|<nil>|1|1700000000040|1700000000040|2023-11-14T22:13:20.040Z|2023-11-14T22:13:20.040Z",
		"<nil>|<nil>|1|5|5|1970-01-01T00:00:00.005Z|1970-01-01T00:00:00.005Z")
	wantRows(t, db, `SELECT family, query_id, agent_id, timestamp, value FROM kv_readable ORDER BY family, query_id`,
		func() []string {
			a := fmt.Sprintf("AUD|%s|<nil>|<nil>|%s", s.ID, full.Payload)
			b := fmt.Sprintf("AUD|%s|<nil>|<nil>|%s", hx("bare"), bare.Payload)
			if hx("bare") < s.ID {
				a, b = b, a
			}
			return []string{a, b, fmt.Sprintf("AUDA|%s|%s|1700000000040|", s.ID, *s.Agent)}
		}()...)
	wantRows(t, db, `SELECT * FROM rejected`, "800|no audit|x7b")
	wantRows(t, db, `SELECT name, value FROM store WHERE name IN ('contributions', 'rejected') ORDER BY 1`,
		"contributions|3", "rejected|1")
}

func TestApplyIsIdempotent(t *testing.T) {
	t.Parallel()
	db, ctx := newDB(t), t.Context()
	rs := samples(0, 300)
	b := &sqlstore.Batch{Records: rs, Rejected: []sqlstore.Rejected{{Offset: 60000, Reason: "no audit", Payload: []byte("x")}}, Cursor: 60010}
	done, err := db.Apply(ctx, b)
	if err != nil || done.Inserted != 300 || done.Rejected != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	before := dump(t, db)
	for _, b := range []*sqlstore.Batch{b, {Records: rs[150:], Cursor: 60010}} {
		done, err := db.Apply(ctx, b)
		if err != nil || done != (sqlstore.Applied{Duplicate: len(b.Records)}) {
			t.Fatalf("again: %+v, %v", done, err)
		}
	}
	if after := dump(t, db); after != before {
		t.Error("applying again changed something")
	}
}

// dump is everything in the database that audits are made of.
func dump(t testing.TB, db *sqlstore.DB) string {
	t.Helper()
	var b bytes.Buffer
	for _, q := range []string{
		`SELECT key, value FROM kv ORDER BY key`, `SELECT * FROM entry`, `SELECT * FROM rejected`, `SELECT * FROM label`,
		`SELECT name, value FROM store WHERE name NOT IN ('created_at', 'opened', 'reindexed')`, `SELECT * FROM audits ORDER BY idx`, `SELECT * FROM contributions ORDER BY idx, position`,
		`SELECT generation, hex FROM hash ORDER BY generation, hex`, // their numbers depend on the batches
		`SELECT * FROM attribute`, `SELECT * FROM agent`, `SELECT * FROM activity`,
	} {
		fmt.Fprintf(&b, "%s\n%q\n", q, rows(t, db, q))
	}
	return b.String()
}

func TestFirstRecordUnderAnIDStays(t *testing.T) {
	t.Parallel()
	first := newSample(1)
	other := first
	other.Time++
	for name, batches := range map[string][][]sqlstore.Record{
		"in one batch":    {{first.record(0), first.record(100), other.record(200), other.record(300)}},
		"in two batches":  {{first.record(0)}, {first.record(100), other.record(200), other.record(300)}},
		"in four batches": {{first.record(0)}, {first.record(100)}, {other.record(200)}, {other.record(300)}},
	} {
		t.Run(name, func(t *testing.T) {
			db := newDB(t)
			var sum sqlstore.Applied
			for _, b := range batches {
				done := apply(t, db, b...)
				sum.Inserted += done.Inserted
				sum.Duplicate += done.Duplicate
				sum.Rejected += done.Rejected
			}
			if sum != (sqlstore.Applied{Inserted: 1, Duplicate: 1, Rejected: 2}) {
				t.Errorf("%+v", sum)
			}
			if v, err := db.Get(t.Context(), keyOf(first.record(0))); !bytes.Equal(v, first.record(0).Payload) {
				t.Errorf("kv has %q, %v", v, err)
			}
			wantRows(t, db, `SELECT idx, journal_offset FROM entry`, "0|0")
			wantRows(t, db, `SELECT journal_offset, reason FROM rejected`,
				"200|another record has query_id "+first.ID, "300|another record has query_id "+first.ID)
			db.ShrinkPages(1) // a page for each
			rs, err := rejectedRows(t, db)
			if err != nil || len(rs) != 2 || rs[0].Offset != 200 || !bytes.Equal(rs[0].Payload, other.record(0).Payload) {
				t.Errorf("rejected rows: %+v, %v", rs, err)
			}
		})
	}
}

func TestAgentsAreCounted(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	offset := uint64(0)
	at := func(id, agent string, ts int64) sqlstore.Record {
		s := sample{ID: hx(id), Time: ts}
		if agent != "" {
			s.Agent = ptr(hx(agent))
		}
		offset += 100
		return s.record(offset)
	}
	apply(t, db, at("1", "a", 50), at("2", "b", 10), at("3", "a", 40), at("4", "", 1))
	apply(t, db, at("5", "a", 45), at("6", "", 2))
	apply(t, db, at("7", "a", 60), at("8", "a", 30), at("9", "c", 0), at("1", "a", 50))
	for agent, want := range map[string]string{"a": "5|30|60", "b": "1|10|10", "c": "1|0|0"} {
		wantRows(t, db, fmt.Sprintf(`SELECT audits, first, last FROM agents WHERE agent_id = '%s'`, hx(agent)), want)
	}
	wantRows(t, db, `SELECT count(agent_id), count(*), sum(audits) = (SELECT count(*) FROM audits) FROM agents`, "3|4|1")
	wantRows(t, db, `SELECT id, audits, first, last FROM agent WHERE agent_id IS NULL`, "0|2|1|2")
	wantRows(t, db, `SELECT max(id) FROM agent`, "3")
}

func TestFailedBatchLeavesNothing(t *testing.T) {
	t.Parallel()
	db, ctx := newDB(t), t.Context()
	apply(t, db, samples(0, 5)...)
	before := dump(t, db)

	// A record that the database cannot take, after 299 that it can.
	rs := samples(5, 305)
	rs[299].Attributes = []sqlstore.Attribute{{Key: "twice"}, {Key: "twice"}}
	if _, err := db.Apply(ctx, &sqlstore.Batch{Records: rs, Cursor: 1 << 20}); err == nil {
		t.Fatal("no error")
	}
	if after := dump(t, db); after != before {
		t.Error("half of a batch stayed")
	}

	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := db.Apply(canceled, &sqlstore.Batch{Records: samples(5, 9), Cursor: 1 << 20}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if after := dump(t, db); after != before {
		t.Error("half of a canceled batch stayed")
	}

	// New agents of the failed batch are new again.
	apply(t, db, samples(5, 305)...)
	wantRows(t, db, `SELECT max(id), count(*) FROM agent`, "7|8")
	wantRows(t, db, `SELECT sum(audits) FROM agent`, "305")
}

// Payloads that are read when they are needed make the same rows: also those of records that are there already, and of others under
// their ids.
func TestApplyReadsPayloads(t *testing.T) {
	t.Parallel()
	rs := samples(0, 400)
	other := newSample(70)
	other.Time++
	rs = append(rs[:300:300], append([]sqlstore.Record{other.record(29_950), newSample(71).record(29_960)}, rs[300:]...)...)
	long := newSample(900)
	long.Subject = ptr(strings.Repeat("long ", 500_000))
	for i := range 3 {
		long.ID = hx(fmt.Sprint("long ", i))
		rs = append(rs, long.record(uint64(50_000+i)))
	}
	held, read := newDB(t), newDB(t)
	for _, part := range [][]sqlstore.Record{rs[100:200], rs} {
		b := &sqlstore.Batch{Records: part, Cursor: 60_000}
		want, err := held.Apply(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		bare := slices.Clone(part)
		for i := range bare {
			bare[i].Payload = nil
		}
		got, err := read.Apply(t.Context(), &sqlstore.Batch{Records: bare, Cursor: 60_000, Payload: func(i int, into []byte) ([]byte, error) {
			return append(into, part[i].Payload...), nil
		}})
		if err != nil || got != want {
			t.Fatalf("%+v, %v; want %+v", got, err, want)
		}
	}
	if dump(t, held) != dump(t, read) {
		t.Error("the rows differ")
	}
}

func TestAPayloadThatCannotBeReadEndsABatch(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	apply(t, db, samples(0, 5)...)
	before := dump(t, db)
	gone := errors.New("gone")
	rs := samples(5, 305)
	_, err := db.Apply(t.Context(), &sqlstore.Batch{Records: rs, Cursor: 1 << 20, Payload: func(i int, into []byte) ([]byte, error) {
		if i == 200 {
			return into, gone
		}
		return append(into, rs[i].Payload...), nil
	}})
	if !errors.Is(err, gone) {
		t.Fatal(err)
	}
	if after := dump(t, db); after != before {
		t.Error("half of a batch stayed")
	}
	apply(t, db, rs...)
}

func TestAgentKeyWrittenByHandIsKept(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	r := newSample(1).record(0)
	put(t, db, string(agentKeyOf(r)), "")
	if done := apply(t, db, r); done.Inserted != 1 {
		t.Errorf("%+v", done)
	}
}

func TestEntriesAndValues(t *testing.T) {
	t.Parallel()
	db, ctx := newDB(t), t.Context()
	if _, ok, err := db.LastEntry(ctx); ok || err != nil {
		t.Errorf("last entry of an empty store: %v, %v", ok, err)
	}
	for range db.Values(ctx, 0) {
		t.Error("an empty store has values")
	}
	rs := samples(0, 1000)
	apply(t, db, rs[:300]...)
	apply(t, db, rs[300:]...)
	for n, want := range map[uint64]uint64{0: 999, 1: 998, 999: 0} {
		e, ok, err := db.EntryBefore(ctx, n)
		if !ok || err != nil || e != (sqlstore.Entry{Index: want, QueryID: rs[want].QueryID, JournalOffset: want * 100}) {
			t.Errorf("entry before %d: %+v, %v, %v", n, e, ok, err)
		}
	}
	for _, n := range []uint64{1000, 1 << 63} {
		if _, ok, err := db.EntryBefore(ctx, n); ok || err != nil {
			t.Errorf("entry before %d: %v, %v", n, ok, err)
		}
	}
	for _, from := range []uint64{0, 255, 256, 999, 1000, 1 << 40} {
		i := from
		for v, err := range db.Values(ctx, from) {
			if err != nil {
				t.Fatal(err)
			}
			if v.Index != i || v.JournalOffset != i*100 || !bytes.Equal(v.Value, rs[i].Payload) {
				t.Fatalf("value %d: %+v", i, v.Entry)
			}
			i++
		}
		if i != max(from, 1000) {
			t.Errorf("values from %d ended at %d", from, i)
		}
	}
	for _, from := range []uint64{0, 999, 1000} {
		i := from
		for e, err := range db.Entries(ctx, from) {
			if err != nil || e != (sqlstore.Entry{Index: i, QueryID: rs[i].QueryID, JournalOffset: i * 100}) {
				t.Fatalf("entry %d: %+v, %v", i, e, err)
			}
			i++
		}
		if i != 1000 {
			t.Errorf("entries from %d ended at %d", from, i)
		}
	}
	i := 0
	for range db.Values(ctx, 0) {
		if i++; i == 700 { // what comes now is not for this stream
			apply(t, db, newSample(5000).record(1<<20))
		}
	}
	if i != 1000 {
		t.Errorf("%d values, want the 1000 there were at the start", i)
	}
}

func TestTimeColumnFollowsTheUnit(t *testing.T) {
	t.Parallel()
	for unit, times := range map[string]map[int64]string{
		"s":  {0: "1970-01-01T00:00:00Z", 1_700_000_000: "2023-11-14T22:13:20Z", 253_402_300_799: "9999-12-31T23:59:59Z", 253_402_300_800: "<nil>", 1<<63 - 1: "<nil>"},
		"ms": {1: "1970-01-01T00:00:00.001Z", 253_402_300_799_999: "9999-12-31T23:59:59.999Z", 253_402_300_800_000: "<nil>", 1<<63 - 1: "<nil>"},
		"us": {1: "1970-01-01T00:00:00.000001Z", 1_700_000_000_123_456: "2023-11-14T22:13:20.123456Z", 1<<63 - 1: "<nil>"},
		"ns": {1: "1970-01-01T00:00:00.000000001Z", 1<<63 - 1: "2262-04-11T23:47:16.854775807Z"},
	} {
		t.Run(unit, func(t *testing.T) {
			db := open(t, filepath.Join(t.TempDir(), "audit.db"), sqlstore.Options{TimeUnit: unit})
			offset := uint64(0)
			for ts, want := range times {
				s := newSample(0)
				s.ID, s.Time = hx(fmt.Sprint(ts)), ts
				apply(t, db, s.record(offset))
				offset += 100
				for _, view := range []string{"audits", "contributions", "attributes"} {
					wantRows(t, db, fmt.Sprintf(`SELECT DISTINCT time FROM %s WHERE query_id = '%s'`, view, s.ID), want)
				}
			}
		})
	}
}
