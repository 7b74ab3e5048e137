package cluster_test

import (
	"strings"
	"testing"

	"github.com/auditsql/auditsql/cluster"
)

// Rail 5: each replica is looked at, and a damaged one is healed before any other is replaced.
func TestCheckNamesTheReplicasThatLackMessages(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	refill(l, 0, 10)
	check := func() (cluster.Report, string) {
		t.Helper()
		r, err := cluster.Check(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		return r, strings.Join(r.Healing(), "\n")
	}
	if r, steps := check(); len(r.Damaged) > 0 || len(r.Silent) > 0 || steps != "" {
		t.Fatalf("%+v, %s", r, steps)
	}
	l.Lack("r1", 4) // which leads
	l.Lack("r1", 5)
	r, steps := check()
	if len(r.Damaged) != 1 || r.Damaged[0].Name != "r1" || r.Damaged[0].Missing != 2 {
		t.Fatalf("%+v", r.Damaged)
	}
	lead, stop := strings.Index(steps, "Let another replica lead"), strings.Index(steps, "Stop server r1")
	if lead < 0 || stop < lead || !strings.Contains(steps, "r2 or r3 leads") || !strings.HasSuffix(steps, "would copy the holes.") {
		t.Fatal(steps)
	}
	l.SetDown("r2", true)
	l.Lack("r3", 7)
	if r, steps := check(); len(r.Silent) != 1 || !strings.Contains(steps, "Replace none of them") || strings.Contains(steps, "Stop server") {
		t.Fatalf("%+v, %s", r, steps)
	}
}
