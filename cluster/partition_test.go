package cluster_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
)

// The assignment is fixed for good: these numbers never change. They were computed with the BLAKE3 of testdata/records/make.mjs, which is
// another implementation.
func TestThePartitionOfAnID(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		id   string
		want [5]int // of 1, 2, 3, 16 and 64 partitions
	}{
		{strings.Repeat("00", 32), [5]int{0, 0, 2, 2, 50}},
		{strings.Repeat("ff", 32), [5]int{0, 0, 1, 10, 42}},
		{"000000000000000000000000000000000000000000000000000000000000002a", [5]int{0, 1, 0, 9, 57}},
		{"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262", [5]int{0, 1, 0, 1, 1}},
	} {
		id, err := audit.ParseHash(c.id)
		if err != nil {
			t.Fatal(err)
		}
		for i, of := range []int{1, 2, 3, 16, 64} {
			if got := cluster.PartitionOf(id, of); got != c.want[i] {
				t.Errorf("%s is in partition %d of %d, want %d", c.id, got, of, c.want[i])
			}
		}
	}
}

func TestTheStoreOfAPartition(t *testing.T) {
	t.Parallel()
	p := cluster.Partition{Set: "00112233445566778899aabbccddeeff", Number: 1, Of: 2}
	if got, want := cluster.PartitionStoreID(p), "65151055217381d12280fa3fcbef1947"; got != want {
		t.Errorf("%s has store %s, want %s", p, got, want)
	}
}

// Ids that count up are divided as evenly as those that are hashes.
func TestPartitionsAreEven(t *testing.T) {
	t.Parallel()
	const ids, of = 20_000, 8
	var counts [of]int
	for i := range ids {
		var id audit.QueryID
		binary.BigEndian.PutUint64(id[24:], uint64(i))
		counts[cluster.PartitionOf(id, of)]++
	}
	for i, n := range counts {
		if n < ids/of*9/10 || n > ids/of*11/10 {
			t.Errorf("partition %d has %d of %d ids", i, n, ids)
		}
	}
}

func setOf(of int) []cluster.Info {
	infos := make([]cluster.Info, of)
	for i := range infos {
		p := cluster.Partition{Set: strings.Repeat("ab", 16), Number: i, Of: of}
		infos[i] = cluster.Info{Name: "log " + string(rune('a'+i)), StoreID: cluster.PartitionStoreID(p), Partition: p}
	}
	return infos
}

func TestWhichLogsBelongTogether(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		infos func() []cluster.Info
		want  string // "": they do
	}{
		"one log of all ids": {func() []cluster.Info { return []cluster.Info{{Name: "log"}} }, ""},
		"three partitions":   {func() []cluster.Info { return setOf(3) }, ""},
		"none":               {func() []cluster.Info { return nil }, "there is no log"},
		"one is missing":     {func() []cluster.Info { return setOf(3)[:2] }, "one of 3 partitions, and the number of logs that were given is 2"},
		"another order": {func() []cluster.Info { s := setOf(2); s[0], s[1] = s[1], s[0]; return s },
			"log b: " + cluster.ErrMismatch.Error() + ": it is partition 1, and stands in the place of partition 0"},
		"another set": {func() []cluster.Info { s := setOf(2); s[1].Partition.Set = strings.Repeat("cd", 16); return s },
			"log b: " + cluster.ErrMismatch.Error() + ": it belongs to set cdcd"},
		"another count":  {func() []cluster.Info { return append(setOf(2)[:1], setOf(3)[1]) }, "it is one of 3 partitions, and log a is one of 2"},
		"one of all ids": {func() []cluster.Info { s := setOf(2); s[1].Partition = cluster.Partition{}; return s }, "it is no partition"},
		"another store":  {func() []cluster.Info { s := setOf(2); s[1].StoreID = s[0].StoreID; return s }, "it has the records of store"},
		"another unit":   {func() []cluster.Info { s := setOf(2); s[1].Unit = audit.Nanoseconds; return s }, "its time unit is ns"},
	} {
		err := cluster.CheckSet(c.infos())
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (!errors.Is(err, cluster.ErrMismatch) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}
