package audit_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"pgregory.net/rapid"
)

// testStore runs the cases that every Store must pass, each on an empty one.
func testStore(t *testing.T, open func(t *testing.T) audit.Store) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s audit.Store)
	}{
		{"put and get", testPutAndGet},
		{"get not found", testNotFound},
		{"zero id is derived and put writes nothing", testDerivedID},
		{"put keeps nothing of the record", testPutKeepsNothing},
		{"record without agent", testAnonymous},
		{"one agent's records", testOneAgent},
		{"time range with both ends", testTimeRange},
		{"agents are kept apart", testAgentsApart},
		{"recent", testRecent},
		{"has audits", testHasAudits},
		{"limits", testLimits},
		{"same bytes twice", testSameTwice},
		{"other bytes under the id", testConflict},
		{"refused records leave nothing", testRefused},
		{"same bytes at once", testSameAtOnce},
		{"other bytes at once", testConflictAtOnce},
		{"acknowledged is seen", testAcknowledgedIsSeen},
		{"ended context", testEndedContext},
		{"any records in any order", testAnyRecords},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t))
		})
	}
}

// asked is a small record of an agent at a time.
func asked(agent *audit.AgentID, timestamp uint64, subject string) audit.QueryAudit {
	q := audit.QueryAudit{
		AgentID:          agent,
		Timestamp:        timestamp,
		Params:           audit.QueryParams{Subject: &subject},
		ResultConfidence: 0.5,
	}
	q.QueryID, _ = q.ID()
	return q
}

func put(t testing.TB, s audit.Store, records ...audit.QueryAudit) {
	t.Helper()
	for i := range records {
		id, err := s.PutAudit(t.Context(), &records[i])
		if err != nil {
			t.Fatalf("put %d: %v", i, err)
		}
		if id != records[i].QueryID {
			t.Fatalf("put %d under %s, want %s", i, id, records[i].QueryID)
		}
	}
}

func wantStored(t testing.TB, s audit.Store, want audit.QueryAudit) {
	t.Helper()
	got, err := s.GetAudit(t.Context(), want.QueryID)
	if err != nil {
		t.Fatalf("get %s: %v", want.QueryID, err)
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("stored is\n%+v\nwant\n%+v", *got, want)
	}
}

func wantList(t testing.TB, got []audit.QueryAudit, err error, want ...audit.QueryAudit) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if got == nil {
		t.Fatal("the list is nil")
	}
	if !slices.EqualFunc(got, want, func(a, b audit.QueryAudit) bool { return reflect.DeepEqual(a, b) }) {
		t.Errorf("got %s, want %s", idsAndTimes(got), idsAndTimes(want))
	}
}

func wantForAgent(t testing.TB, s audit.Store, agent audit.AgentID, from, to uint64, limit int, want ...audit.QueryAudit) {
	t.Helper()
	got, err := s.AuditsForAgent(t.Context(), agent, from, to, limit)
	wantList(t, got, err, want...)
}

func wantRecent(t testing.TB, s audit.Store, limit int, want ...audit.QueryAudit) {
	t.Helper()
	got, err := s.ListRecent(t.Context(), limit)
	wantList(t, got, err, want...)
}

func idsAndTimes(list []audit.QueryAudit) string {
	var b strings.Builder
	for _, q := range list {
		fmt.Fprintf(&b, "[%d %.8s]", q.Timestamp, q.QueryID)
	}
	return b.String()
}

const all = audit.Unbounded

func testPutAndGet(t *testing.T, s audit.Store) {
	full := exampleRecord()
	full.Params.Epoch = ptr(fill(9))
	full.Attributes = map[string]any{"trace_id": "4bf92f3577b34da6", "tokens": 1234.0, "cached": true, "": "\"\u2028\x01"}
	full.ContributingAssertions = append(full.ContributingAssertions,
		audit.ContributingAssertion{AssertionHash: fill(4), Weight: -0.1, SourceHash: fill(5), Lifecycle: audit.Rejected})
	least := audit.QueryAudit{QueryID: fill(0xff)}
	large := bigRecord(1000)
	latest := asked(ptr(fill(1)), audit.MaxTimestamp, "the end of time")

	put(t, s, full, least, large, latest)
	for _, want := range []audit.QueryAudit{full, least, large, latest} {
		wantStored(t, s, want)
	}
	wantForAgent(t, s, fill(1), 0, all, 10, full, latest)
}

func testNotFound(t *testing.T, s audit.Store) {
	for _, id := range []audit.QueryID{{}, fill(1), fill(0xff)} {
		if got, err := s.GetAudit(t.Context(), id); !errors.Is(err, audit.ErrNotFound) || got != nil {
			t.Errorf("on an empty store: %v, %v", got, err)
		}
	}
	put(t, s, exampleRecord())
	if got, err := s.GetAudit(t.Context(), fill(1)); !errors.Is(err, audit.ErrNotFound) || got != nil {
		t.Errorf("the agent's key is no id: %v, %v", got, err)
	}
}

func testDerivedID(t *testing.T, s audit.Store) {
	q, before := exampleRecord(), exampleRecord()
	q.QueryID, before.QueryID = audit.QueryID{}, audit.QueryID{}
	derived, err := before.ID()
	if err != nil {
		t.Fatal(err)
	}

	id, err := s.PutAudit(t.Context(), &q)
	if err != nil || id != derived {
		t.Fatalf("put under %s, %v; want %s", id, err, derived)
	}
	if !reflect.DeepEqual(q, before) {
		t.Errorf("put wrote to the record: %+v", q)
	}
	want := before
	want.QueryID = derived
	wantStored(t, s, want)

	// With its id it is the same record.
	put(t, s, want)
	wantRecent(t, s, 10, want)
}

func testPutKeepsNothing(t *testing.T, s audit.Store) {
	q := exampleRecord()
	q.Attributes = map[string]any{"a": 1.0}
	put(t, s, q)
	*q.AgentID, *q.ResultHash = fill(0xee), fill(0xee)
	*q.Params.Subject = "changed"
	q.ContributingAssertions[0].Weight = 99
	q.Attributes["a"] = 2.0

	want := exampleRecord()
	want.Attributes = map[string]any{"a": 1.0}
	wantStored(t, s, want)

	// What is handed out belongs to the caller.
	got, err := s.GetAudit(t.Context(), want.QueryID)
	if err != nil {
		t.Fatal(err)
	}
	*got.Params.Subject = "changed"
	got.ContributingAssertions[0].Weight = 99
	got.Attributes["a"] = 2.0
	wantStored(t, s, want)
}

func testAnonymous(t *testing.T, s audit.Store) {
	anonymous := asked(nil, 7, "anonymous")
	// An agent whose key is all zeros is an agent.
	zero := asked(&audit.AgentID{}, 7, "zero")
	put(t, s, anonymous)
	if has, err := s.HasAuditsForAgent(t.Context(), audit.AgentID{}); err != nil || has {
		t.Errorf("an anonymous record has an agent: %v, %v", has, err)
	}
	put(t, s, zero)
	wantStored(t, s, anonymous)
	wantForAgent(t, s, audit.AgentID{}, 0, all, 10, zero)
	wantRecent(t, s, 10, newestFirst(anonymous, zero)...)
}

// newestFirst sorts descending by (timestamp, query id).
func newestFirst(records ...audit.QueryAudit) []audit.QueryAudit {
	sorted := slices.Clone(records)
	slices.SortFunc(sorted, func(a, b audit.QueryAudit) int {
		if a.Timestamp != b.Timestamp {
			if a.Timestamp > b.Timestamp {
				return -1
			}
			return 1
		}
		return b.QueryID.Compare(a.QueryID)
	})
	return sorted
}

func oldestFirst(records ...audit.QueryAudit) []audit.QueryAudit {
	sorted := newestFirst(records...)
	slices.Reverse(sorted)
	return sorted
}

func testOneAgent(t *testing.T, s audit.Store) {
	wantForAgent(t, s, fill(1), 0, all, 10)

	agent := fill(1)
	records := []audit.QueryAudit{
		asked(&agent, 300, "c"), asked(&agent, 100, "a"), asked(&agent, 200, "b"),
		// Equal times are ordered by id.
		asked(&agent, 200, "d"), asked(&agent, 200, "e"),
		// In the order of bytes only if they are big-endian.
		asked(&agent, 256, "f"), asked(&agent, 255, "g"), asked(&agent, 1<<40, "h"),
	}
	put(t, s, records...)
	want := oldestFirst(records...)
	wantForAgent(t, s, agent, 0, all, 100, want...)
	for limit := 1; limit <= len(want); limit++ {
		wantForAgent(t, s, agent, 0, all, limit, want[:limit]...)
	}
	wantForAgent(t, s, agent, 0, all, 1<<62, want...)
}

func testTimeRange(t *testing.T, s audit.Store) {
	agent := fill(0xff)
	const last = uint64(audit.MaxTimestamp)
	times := []uint64{0, 1, 255, 256, 1000, last - 1, last}
	var records []audit.QueryAudit
	for _, at := range times {
		records = append(records, asked(&agent, at, "x"))
	}
	put(t, s, records...)
	ends := append([]uint64{2, 254, 257, 999, 1001, last + 1, all - 1, all}, times...)
	for _, from := range ends {
		for _, to := range ends {
			var want []audit.QueryAudit
			for _, q := range records {
				if from <= q.Timestamp && q.Timestamp <= to {
					want = append(want, q)
				}
			}
			wantForAgent(t, s, agent, from, to, 100, want...)
			if len(want) > 1 {
				wantForAgent(t, s, agent, from, to, 1, want[0])
			}
		}
	}
}

func testAgentsApart(t *testing.T, s audit.Store) {
	// Neighbours in the order of keys, and some that hold the separator.
	agents := []audit.AgentID{{}, {31: 1}, fill(':'), {0: ':', 31: ':'}, fill(0xfe), fill(0xff), {0: 0xff}}
	var records []audit.QueryAudit
	for i := range agents {
		for _, at := range []uint64{0, 58, audit.MaxTimestamp} {
			records = append(records, asked(&agents[i], at, "x"))
		}
	}
	put(t, s, records...)
	for i, agent := range agents {
		wantForAgent(t, s, agent, 0, all, 100, records[3*i:3*i+3]...)
		wantForAgent(t, s, agent, 1, 100, 100, records[3*i+1])
	}
	wantForAgent(t, s, fill(0xfd), 0, all, 100)
}

func testRecent(t *testing.T, s audit.Store) {
	wantRecent(t, s, 10)
	var records []audit.QueryAudit
	for i := range 40 {
		agent := ptr(fill(byte(i % 3)))
		if i%3 == 2 {
			agent = nil
		}
		// Neither in order nor all different.
		records = append(records, asked(agent, uint64(i*7%11)*100, fmt.Sprint(i)))
	}
	put(t, s, records...)
	want := newestFirst(records...)
	for _, limit := range []int{1, 2, 5, 39, 40, 41, 1 << 62} {
		wantRecent(t, s, limit, want[:min(limit, len(want))]...)
	}
}

func testHasAudits(t *testing.T, s audit.Store) {
	has := func(agent audit.AgentID) bool {
		t.Helper()
		has, err := s.HasAuditsForAgent(t.Context(), agent)
		if err != nil {
			t.Fatal(err)
		}
		return has
	}
	if has(fill(1)) {
		t.Error("an empty store has audits")
	}
	put(t, s, asked(ptr(fill(1)), 0, "x"), asked(nil, 0, "x"))
	for agent, want := range map[audit.AgentID]bool{{}: false, fill(0): false, fill(1): true, fill(2): false, {0: 1}: false} {
		if has(agent) != want {
			t.Errorf("has audits of %s: %v", agent, !want)
		}
	}
}

func testLimits(t *testing.T, s audit.Store) {
	put(t, s, exampleRecord())
	for _, limit := range []int{0, -1, -1 << 62} {
		got, err := s.AuditsForAgent(t.Context(), fill(1), 0, all, limit)
		if len(got) > 0 {
			t.Errorf("limit %d gives %d records", limit, len(got))
		}
		wantInvalid(t, refusal(t, err), "limit")
		// Also where there is nothing to find.
		_, err = s.AuditsForAgent(t.Context(), fill(9), 2, 1, limit)
		wantInvalid(t, refusal(t, err), "limit")
		got, err = s.ListRecent(t.Context(), limit)
		if len(got) > 0 {
			t.Errorf("limit %d gives %d records", limit, len(got))
		}
		wantInvalid(t, refusal(t, err), "limit")
	}
}

// refusal returns err, which must be there.
func refusal(t testing.TB, err error) error {
	t.Helper()
	if err == nil {
		t.Fatal("accepted")
	}
	return err
}

func testSameTwice(t *testing.T, s audit.Store) {
	q := exampleRecord()
	q.Attributes = map[string]any{"n": 1}
	put(t, s, q, q)
	// Equal records have equal bytes, however they are made.
	q.Attributes = map[string]any{"n": 1.0}
	put(t, s, q)
	q.Params.Subject = ptr("Tesla")
	put(t, s, q)

	wantStored(t, s, q)
	wantRecent(t, s, 10, q)
	wantForAgent(t, s, *q.AgentID, 0, all, 10, q)
}

func testConflict(t *testing.T, s audit.Store) {
	first := exampleRecord()
	put(t, s, first)
	for name, change := range map[string]func(q *audit.QueryAudit){
		"subject":    func(q *audit.QueryAudit) { q.Params.Subject = ptr("Tesla.") },
		"agent":      func(q *audit.QueryAudit) { q.AgentID = ptr(fill(0x77)) },
		"anonymous":  func(q *audit.QueryAudit) { q.AgentID = nil },
		"timestamp":  func(q *audit.QueryAudit) { q.Timestamp++ },
		"confidence": func(q *audit.QueryAudit) { q.ResultConfidence = 0.96 },
		"attributes": func(q *audit.QueryAudit) { q.Attributes = map[string]any{"a": false} },
		"evidence":   func(q *audit.QueryAudit) { q.ContributingAssertions = nil },
	} {
		q := exampleRecord()
		change(&q)
		if _, err := s.PutAudit(t.Context(), &q); !errors.Is(err, audit.ErrConflict) || errors.Is(err, audit.ErrInvalid) {
			t.Errorf("other %s: %v", name, err)
		}
	}
	wantStored(t, s, first)
	wantRecent(t, s, 10, first)
	wantForAgent(t, s, *first.AgentID, 0, all, 10, first)
	wantForAgent(t, s, fill(0x77), 0, all, 10)
	put(t, s, first)
}

func testRefused(t *testing.T, s audit.Store) {
	q := exampleRecord()
	q.ContributingAssertions[0].Lifecycle = 17
	_, err := s.PutAudit(t.Context(), &q)
	wantInvalid(t, refusal(t, err), "contributing_assertions[0].lifecycle")
	_, err = s.PutAudit(t.Context(), nil)
	wantInvalid(t, refusal(t, err), "")

	if _, err := s.GetAudit(t.Context(), q.QueryID); !errors.Is(err, audit.ErrNotFound) {
		t.Errorf("get after a refusal: %v", err)
	}
	wantRecent(t, s, 10)
	wantForAgent(t, s, *q.AgentID, 0, all, 10)
	// Its id is still free.
	put(t, s, exampleRecord())
}

// atOnce calls f for 0 to n-1, all at once, and returns their errors.
func atOnce(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var ready, done sync.WaitGroup
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			errs[i] = f(i)
		})
	}
	done.Wait()
	return errs
}

func testSameAtOnce(t *testing.T, s audit.Store) {
	q := exampleRecord()
	q.QueryID = audit.QueryID{}
	want := q
	want.QueryID, _ = q.ID()
	for i, err := range atOnce(3, func(int) error {
		id, err := s.PutAudit(t.Context(), &q)
		if err == nil && id != want.QueryID {
			return fmt.Errorf("stored under %s", id)
		}
		return err
	}) {
		if err != nil {
			t.Errorf("put %d: %v", i, err)
		}
	}
	wantRecent(t, s, 10, want)
	wantForAgent(t, s, *want.AgentID, 0, all, 10, want)
}

func testConflictAtOnce(t *testing.T, s audit.Store) {
	for round := byte(1); round <= 20; round++ {
		records := make([]audit.QueryAudit, 3)
		for i := range records {
			records[i] = asked(ptr(fill(round)), uint64(i), fmt.Sprint(i))
			records[i].QueryID = fill(round)
		}
		winner := -1
		for i, err := range atOnce(3, func(i int) error {
			_, err := s.PutAudit(t.Context(), &records[i])
			return err
		}) {
			switch {
			case err == nil && winner < 0:
				winner = i
			case err == nil:
				t.Fatalf("round %d: %d and %d both won", round, winner, i)
			case !errors.Is(err, audit.ErrConflict):
				t.Fatalf("round %d: put %d: %v", round, i, err)
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody won", round)
		}
		wantStored(t, s, records[winner])
		wantForAgent(t, s, fill(round), 0, all, 10, records[winner])
	}
}

func testAcknowledgedIsSeen(t *testing.T, s audit.Store) {
	for i, err := range atOnce(4, func(writer int) error {
		agent := fill(byte(writer))
		for at := range uint64(25) {
			q := asked(&agent, at, "x")
			if _, err := s.PutAudit(t.Context(), &q); err != nil {
				return err
			}
			if _, err := s.GetAudit(t.Context(), q.QueryID); err != nil {
				return fmt.Errorf("get at %d: %w", at, err)
			}
			mine, err := s.AuditsForAgent(t.Context(), agent, 0, at, 100)
			if err != nil || len(mine) != int(at)+1 {
				return fmt.Errorf("%d audits at %d: %w", len(mine), at, err)
			}
			newest, err := s.ListRecent(t.Context(), 1)
			if err != nil || len(newest) != 1 || newest[0].Timestamp < at {
				return fmt.Errorf("recent at %d: %s: %w", at, idsAndTimes(newest), err)
			}
			if has, err := s.HasAuditsForAgent(t.Context(), agent); err != nil || !has {
				return fmt.Errorf("has audits at %d: %v, %w", at, has, err)
			}
		}
		return nil
	}) {
		if err != nil {
			t.Errorf("writer %d: %v", i, err)
		}
	}
}

func testEndedContext(t *testing.T, s audit.Store) {
	q := exampleRecord()
	put(t, s, q)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	other := asked(nil, 1, "other")
	for name, call := range map[string]func() error{
		"put":       func() error { _, err := s.PutAudit(ctx, &other); return err },
		"get":       func() error { _, err := s.GetAudit(ctx, q.QueryID); return err },
		"for agent": func() error { _, err := s.AuditsForAgent(ctx, *q.AgentID, 0, all, 1); return err },
		"recent":    func() error { _, err := s.ListRecent(ctx, 1); return err },
		"has":       func() error { _, err := s.HasAuditsForAgent(ctx, *q.AgentID); return err },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with an ended context: %v", name, err)
		}
	}
}

// testAnyRecords holds a store against a plain list.
func testAnyRecords(t *testing.T, s audit.Store) {
	var stored []audit.QueryAudit
	agents := []*audit.AgentID{nil, {}, ptr(fill(1)), ptr(fill(0xff))}
	genRecord := rapid.Custom(func(t *rapid.T) audit.QueryAudit {
		q := normal(genAudit.Draw(t, "audit"))
		q.AgentID = rapid.SampledFrom(agents).Draw(t, "agent")
		q.Timestamp = rapid.Uint64Range(0, 20).Draw(t, "timestamp")
		q.QueryID = audit.QueryID{}
		q.QueryID, _ = q.ID()
		return q
	})
	// Examples by their seed: the same on every run, and cheap enough for a store that syncs.
	for seed := range 60 {
		q := genRecord.Example(seed)
		if !slices.ContainsFunc(stored, func(other audit.QueryAudit) bool { return other.QueryID == q.QueryID }) {
			stored = append(stored, q)
		}
		put(t, s, q)
	}
	for _, q := range stored {
		wantStored(t, s, q)
	}
	for _, agent := range agents[1:] {
		for _, r := range [][2]uint64{{0, all}, {5, 15}, {10, 10}, {21, all}} {
			var want []audit.QueryAudit
			for _, q := range oldestFirst(stored...) {
				if q.AgentID != nil && *q.AgentID == *agent && r[0] <= q.Timestamp && q.Timestamp <= r[1] {
					want = append(want, q)
				}
			}
			wantForAgent(t, s, *agent, r[0], r[1], 100, want...)
			wantForAgent(t, s, *agent, r[0], r[1], 2, want[:min(2, len(want))]...)
		}
	}
	newest := newestFirst(stored...)
	wantRecent(t, s, 1000, newest...)
	wantRecent(t, s, 7, newest[:7]...)
}
