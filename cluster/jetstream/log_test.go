package jetstream_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
	"github.com/auditsql/auditsql/cluster/logtest"
)

func sample(i int) *audit.QueryAudit {
	subject := fmt.Sprint("subject ", i%5)
	q := &audit.QueryAudit{
		Timestamp:        uint64(1_700_000_000_000 + i),
		Params:           audit.QueryParams{Subject: &subject},
		ResultConfidence: 0.5,
		Attributes:       map[string]any{"number": i},
	}
	q.QueryID, _ = q.ID()
	return q
}

// One server alone keeps the contract of a log.
func TestContract(t *testing.T) {
	c := startServers(t, 1, nil)
	n := 0
	logtest.Run(t, func(t *testing.T) cluster.Log {
		o := c.options()
		n++
		o.Stream = fmt.Sprint("AUDIT", n)
		// One subject belongs to one stream, so the stream before is removed.
		if n > 1 {
			removeStream(t, c, fmt.Sprint("AUDIT", n-1))
		}
		if created, _, err := jetstream.Init(t.Context(), o, jetstream.Spec{Replicas: 1}); err != nil || !created {
			t.Fatal(err)
		}
		l, err := jetstream.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Close)
		return l
	})
}

func TestInitMakesTheStreamOnceAndComparesItAfterwards(t *testing.T) {
	c := startServers(t, 1, nil)
	ctx := t.Context()
	if _, err := jetstream.Open(ctx, c.options()); err == nil {
		t.Fatal("a stream that does not exist was opened")
	}
	spec := jetstream.Spec{Replicas: 1, MaxBytes: 1 << 30, MaxAge: time.Hour}
	if created, d, err := jetstream.Init(ctx, c.options(), spec); err != nil || !created || len(d) > 0 {
		t.Fatal(created, d, err)
	}
	if created, d, err := jetstream.Init(ctx, c.options(), spec); err != nil || created || len(d) > 0 {
		t.Fatal(created, d, err)
	}
	spec.MaxAge, spec.Unit = 2*time.Hour, audit.Seconds
	created, d, err := jetstream.Init(ctx, c.options(), spec)
	if err != nil || created || len(d) != 2 || d[0].What != "time unit" || d[1].What != "max_age" {
		t.Fatal(created, d, err)
	}
}

// Rail 1: it is not believed that a log keeps what it acknowledges.
func TestWhatIsNotProven(t *testing.T) {
	c := startServers(t, 1, func(s *serverSpec) { s.Default = true })
	c.initStream(jetstream.Spec{Replicas: 1})
	l := c.open()
	_, err := cluster.Open(t.Context(), filepath.Join(t.TempDir(), "store"), l, cluster.Options{})
	var unproven *cluster.UnprovenError
	if !errors.As(err, &unproven) {
		t.Fatal(err)
	}
	said := strings.Join(unproven.Reasons, "\n")
	for _, want := range []string{"1 replicas", "server s1 does not sync each write"} {
		if !strings.Contains(said, want) {
			t.Errorf("the reasons do not say %q: %s", want, said)
		}
	}
	o := c.options()
	o.System = nil
	blind, err := jetstream.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer blind.Close()
	if info, err := blind.Info(t.Context()); err != nil || !strings.Contains(strings.Join(info.Unproven, "\n"), "system account") {
		t.Errorf("without the system account: %v, %v", info.Unproven, err)
	}
	n, err := cluster.Open(t.Context(), filepath.Join(t.TempDir(), "store"), l, cluster.Options{Unproven: true})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := n.PutAudit(t.Context(), sample(1)); err != nil {
		t.Error(err)
	}
}
