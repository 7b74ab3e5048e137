package jetstream_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
)

// wantMade makes a set and compares what was made of it.
func wantMade(t *testing.T, c *servers, partitions int, spec jetstream.Spec, created ...bool) {
	t.Helper()
	made, err := jetstream.InitSet(t.Context(), c.options(), spec, partitions)
	if err != nil || len(made) != len(created) {
		t.Fatalf("%+v, %v", made, err)
	}
	for i, m := range made {
		if m.Stream != jetstream.StreamOf("AUDIT", i) || m.Created != created[i] || len(m.Differences) > 0 {
			t.Errorf("stream %d: %+v, want created %v", i, m, created[i])
		}
	}
}

func wantNoSet(t *testing.T, c *servers, partitions int, spec jetstream.Spec, want string) {
	t.Helper()
	if _, err := jetstream.InitSet(t.Context(), c.options(), spec, partitions); !errors.Is(err, cluster.ErrMismatch) || !strings.Contains(err.Error(), want) {
		t.Errorf("%d partitions: %v, want %s", partitions, err, want)
	}
}

// openLogs opens a set, and closes it when the test ends.
func openLogs(t *testing.T, c *servers) ([]cluster.Log, error) {
	t.Helper()
	opened, err := jetstream.OpenSet(t.Context(), c.options())
	var logs []cluster.Log
	for _, l := range opened {
		t.Cleanup(l.Close)
		logs = append(logs, l)
	}
	return logs, err
}

func TestASetOfStreams(t *testing.T) {
	c := startServers(t, 1, nil)
	spec := jetstream.Spec{Replicas: 1}
	if _, err := openLogs(t, c); err == nil || !strings.Contains(err.Error(), "there is no stream AUDIT-0 either") {
		t.Errorf("nothing: %v", err)
	}
	wantMade(t, c, 2, spec, true, true)
	wantMade(t, c, 2, spec, false, false)
	wantNoSet(t, c, 3, spec, "partition 0 of 2")
	wantNoSet(t, c, 2, jetstream.Spec{Replicas: 1, StoreID: strings.Repeat("ab", 16)}, "is wanted")
	// A process that dies between two streams goes on, with the same set.
	before, err := openLogs(t, c)
	if err != nil {
		t.Fatal(err)
	}
	first, err := before[0].Info(t.Context())
	if err != nil || first.Partition.Of != 2 || first.StoreID != cluster.PartitionStoreID(first.Partition) {
		t.Fatalf("%+v, %v", first, err)
	}
	removeStream(t, c, "AUDIT-1")
	if _, err := openLogs(t, c); !errors.Is(err, cluster.ErrMismatch) || !strings.Contains(err.Error(), "partition 1 of 2 is missing") {
		t.Errorf("a stream is missing: %v", err)
	}
	// It makes none that would not fit the one that is there.
	other := jetstream.Spec{Replicas: 1, Unit: audit.Nanoseconds}
	if made, err := jetstream.InitSet(t.Context(), c.options(), other, 2); err != nil || len(made) != 2 || made[1].Created ||
		len(made[0].Differences) != 1 || len(made[1].Differences) != 1 || made[1].Differences[0].Have != "missing" {
		t.Errorf("another time unit: %+v, %v", made, err)
	}
	wantMade(t, c, 2, spec, false, true)
	logs, err := openLogs(t, c)
	if err != nil || len(logs) != 2 {
		t.Fatal(logs, err)
	}
	second, err := logs[1].Info(t.Context())
	if err != nil || second.Partition != (cluster.Partition{Set: first.Partition.Set, Number: 1, Of: 2}) {
		t.Fatalf("%+v, %v", second.Partition, err)
	}

	dir := filepath.Join(t.TempDir(), "n1")
	p, err := cluster.OpenPartitions(t.Context(), dir, logs, cluster.Options{Unproven: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var batch []*audit.QueryAudit
	for i := range 40 {
		batch = append(batch, sample(i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	results, err := p.PutAudits(ctx, batch)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil || r.Duplicate {
			t.Errorf("record %d: %+v", i, r)
		}
	}
	for i, l := range logs {
		if b, err := l.Bounds(ctx); err != nil || b.Last == 0 || b.Last == uint64(len(batch)) {
			t.Errorf("stream %d has the messages up to %d, %v", i, b.Last, err)
		}
	}
	// One stream of the set is not followed by itself, nor beside another one with the plain name.
	alone := c.options()
	alone.Stream = "AUDIT-1"
	l, err := jetstream.Open(ctx, alone)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := cluster.Open(ctx, t.TempDir(), l, cluster.Options{Unproven: true}); !errors.Is(err, cluster.ErrMismatch) {
		t.Errorf("one stream of a set: %v", err)
	}
	// A stream with records is not replaced by an empty one.
	removeStream(t, c, "AUDIT-0")
	wantNoSet(t, c, 2, spec, "was removed, with its records")
	wantOneStream := c.options()
	if created, _, err := jetstream.Init(ctx, wantOneStream, spec); err != nil || !created { // its subject is free now
		t.Fatal(created, err)
	}
	wantNoSet(t, c, 2, spec, "it is there, and has all records")
}
