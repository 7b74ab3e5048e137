package sqlstore_test

import (
	"fmt"
	gomaps "maps"
	"slices"
	"testing"

	"github.com/auditsql/auditsql/sqlstore"
)

// keysOf are the hashes of a record's evidence, one for each piece.
func keysOf(k sqlstore.TopKey, r *sqlstore.Record) (keys []string) {
	for _, c := range r.Contributions {
		h := c.AssertionHash
		if k == sqlstore.BySource {
			h = c.SourceHash
		}
		keys = append(keys, string(h[:]))
	}
	return keys
}

// Hashes are counted by what the rank says: pieces of evidence, records, or agents. A record can have a hash several times.
func TestHashesAreCountedByRank(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	db.ShrinkSelect(10, 1, 10)
	rs := samples(0, 120)
	apply(t, db, rs...)
	from := rs[7].Timestamp
	for _, k := range []sqlstore.TopKey{sqlstore.BySource, sqlstore.ByAssertion} {
		counts := map[sqlstore.Rank]map[string]int64{sqlstore.RankCount: {}, sqlstore.RankAnswers: {}, sqlstore.RankAgents: {}}
		agents := map[string]map[[32]byte]bool{}
		total := int64(0)
		for i := range rs[7:] {
			r := &rs[7+i]
			keys := keysOf(k, r)
			total += int64(len(keys))
			for _, key := range keys {
				counts[sqlstore.RankCount][key]++
			}
			slices.Sort(keys)
			for _, key := range slices.Compact(keys) {
				counts[sqlstore.RankAnswers][key]++
				if agents[key] == nil {
					agents[key] = map[[32]byte]bool{}
				}
				if r.AgentID != nil {
					agents[key][*r.AgentID] = true
				}
				counts[sqlstore.RankAgents][key] = int64(len(agents[key]))
			}
		}
		for rank, want := range counts {
			found, err := db.Frequencies(t.Context(), k, sqlstore.Filter{From: &from}, rank, sqlstore.Budget{})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]int64{}
			for _, f := range found.Top {
				got[f.Key] = f.Count
			}
			if !gomaps.Equal(got, want) || found.Total != total || found.Without != 0 {
				t.Errorf("%v by rank %d: got %v of %d, want %v of %d", k, rank, slices.Collect(gomaps.Values(got)), found.Total, slices.Collect(gomaps.Values(want)), total)
			}
		}
	}
}

// What was seen before a timestamp is found for many hashes at once, also as of a moment.
func TestSeenBeforeFindsWhatLookingAtEveryRecordFinds(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	rs := samples(0, 60)
	slices.Reverse(rs) // the records that came first have the latest times
	for i := range rs {
		rs[i].Offset = uint64(i) * 100
	}
	apply(t, db, rs...)
	for _, k := range []sqlstore.TopKey{sqlstore.BySource, sqlstore.ByAssertion} {
		unknown := h("nobody's")
		keys := []string{string(unknown[:])}
		for i := range rs {
			keys = append(keys, keysOf(k, &rs[i])...)
		}
		slices.Sort(keys)
		keys = slices.Compact(keys)
		for _, moment := range []*int64{nil, ptr(int64(0)), ptr(int64(20)), ptr(int64(57)), ptr(int64(60))} {
			for _, timestamp := range []int64{0, rs[59].Timestamp, rs[57].Timestamp, rs[30].Timestamp, rs[0].Timestamp + 1} {
				seen, err := db.SeenBefore(t.Context(), k, keys, timestamp, moment)
				if err != nil {
					t.Fatal(err)
				}
				for i, key := range keys {
					want := false
					for j := range rs {
						want = want || rs[j].Timestamp < timestamp && (moment == nil || int64(j) < *moment) && slices.Contains(keysOf(k, &rs[j]), key)
					}
					if seen[i] != want {
						t.Errorf("%v %x before %d, as of %v: %v", k, key[:4], timestamp, moment, seen[i])
					}
				}
			}
		}
	}
}

// A count by evidence is whole when the budget is used up in the last generation that has the evidence, whatever generations follow.
func TestTheLastGenerationWithTheEvidence(t *testing.T) {
	t.Parallel()
	const generation, with = 1 << 14, 20
	rs := make([]sqlstore.Record, generation, generation+with)
	for i := range rs {
		s := sample{ID: hx(fmt.Sprint("fill ", i))}
		rs[i] = s.record(uint64(i))
	}
	for i := generation; i < generation+with; i++ {
		s := sample{ID: hx(fmt.Sprint("record ", i)), Time: int64(i), Contributions: []sampleContribution{{Assertion: hx("fact"), Source: hx("source"), Lifecycle: 2}}}
		rs = append(rs, s.record(uint64(i)))
	}
	db := newDB(t)
	db.ShrinkSelect(10, 1, 10)
	apply(t, db, rs...)
	got, err := db.Frequencies(t.Context(), sqlstore.ByAssertion, sqlstore.Filter{Source: ptr(h("source"))}, sqlstore.RankCount, sqlstore.Budget{Records: 1})
	if err != nil || got.Cut || got.Total != with {
		t.Errorf("%d pieces, cut %t, %v", got.Total, got.Cut, err)
	}
}
