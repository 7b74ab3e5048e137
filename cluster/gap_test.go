package cluster_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/memlog"
)

// hanging is a log of which some replicas answer no read that begins before a time.
type hanging struct {
	cluster.Log
	replicas []string
	until    atomic.Int64 // in nanoseconds

	under, most atomic.Int64 // reads without an answer, and how many there were at the same time
}

func (h *hanging) Read(ctx context.Context, replica string, from uint64, most int) ([]cluster.Stored, error) {
	if slices.Contains(h.replicas, replica) && time.Now().UnixNano() < h.until.Load() {
		h.most.Store(max(h.most.Load(), h.under.Add(1)))
		defer h.under.Add(-1)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return h.Log.Read(ctx, replica, from, most)
}

// A server that hangs does not say so. Puts go on as soon as another replica was asked, whichever it is that hangs.
func TestAReplicaThatHangs(t *testing.T) {
	for _, replica := range []string{"r1", "r2", "r3"} {
		inBubble(t, func(t *testing.T, dir string, l *memlog.Log) {
			n, err := cluster.Open(t.Context(), dir+"/store", l, cluster.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			h := &hanging{Log: l, replicas: []string{replica}}
			h.until.Store(time.Now().Add(time.Hour).UnixNano())
			if n, err = cluster.Open(t.Context(), dir+"/store", h, cluster.Options{}); err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			for i := range 100 {
				began := time.Now()
				if _, err := n.PutAudit(t.Context(), sample(i)); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > 500*time.Millisecond { // by the fake clock
					t.Fatalf("put %d took %v while %s hangs", i, took, replica)
				}
				time.Sleep(time.Second)
			}
		})
	}
}

// A replica that lags answers at once, while the others hang for a moment. They are asked again as soon as it is known that they have more.
func TestAReplicaThatLagsWhileOthersHang(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string, l *memlog.Log) {
		refill(l, 0, 10)
		h := &hanging{Log: l, replicas: []string{"r2", "r3"}}
		n, err := cluster.Open(t.Context(), dir+"/store", h, cluster.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		l.Freeze("r1", true)
		began := time.Now()
		h.until.Store(began.Add(time.Second).UnixNano())
		if _, err := n.PutAudit(t.Context(), sample(20)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*time.Second { // by the fake clock
			t.Errorf("the put took %v", took)
		}
	})
}

// dialing is a log whose reads wait for a server one after the other, and do not look at the context meanwhile.
type dialing struct {
	cluster.Log
	one   chan struct{} // holds a token while one of them waits
	off   atomic.Bool
	under atomic.Int64
}

func (d *dialing) Read(ctx context.Context, replica string, from uint64, most int) ([]cluster.Stored, error) {
	if !d.off.Load() {
		return d.Log.Read(ctx, replica, from, most)
	}
	d.under.Add(1)
	defer d.under.Add(-1)
	d.one <- struct{}{}
	defer func() { <-d.one }()
	time.Sleep(2 * time.Second) // the fake clock's
	return nil, errors.New("the server does not answer")
}

// All servers are off for long. The questions that have no answer do not become more and more, and the node is closed as soon as those have
// ended.
func TestServersThatAreOffForLong(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string, l *memlog.Log) {
		d := &dialing{Log: l, one: make(chan struct{}, 1)}
		n, err := cluster.Open(t.Context(), dir+"/store", d, cluster.Options{Heads: -1})
		if err != nil {
			t.Fatal(err)
		}
		d.off.Store(true)
		time.Sleep(10 * time.Minute) // the fake clock's
		if under := d.under.Load(); under == 0 || under > 9 {
			t.Errorf("%d questions have no answer", under)
		}
		began := time.Now()
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("to close the node took %v", took)
		}
	})
}

// Two replicas do not answer while the third one lags: they are asked again, and not more and more often.
func TestAReplicaThatLagsWhileOthersHangForLong(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string, l *memlog.Log) {
		refill(l, 0, 10)
		h := &hanging{Log: l, replicas: []string{"r2", "r3"}}
		n, err := cluster.Open(t.Context(), dir+"/store", h, cluster.Options{Heads: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		l.Freeze("r1", true)
		h.until.Store(time.Now().Add(time.Minute).UnixNano())
		began := time.Now()
		if _, err := n.PutAudit(t.Context(), sample(20)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Minute+2*time.Second { // by the fake clock
			t.Errorf("the put took %v", took)
		}
		if most := h.most.Load(); most > 6 {
			t.Errorf("%d questions had no answer at the same time", most)
		}
	})
}

// A log is without a leader for a while, and gives no answers. The puts of a batch are decided right after that, all together, and
// stand in their order.
func TestABatchWithoutAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string, l *memlog.Log) {
		const outage = 5 * time.Second
		began := time.Now()
		l.Fate = func(cluster.Message) memlog.Fate { return memlog.Fate{Lost: time.Since(began) < outage} }
		n, err := cluster.Open(t.Context(), dir+"/store", l, cluster.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		var qs []*audit.QueryAudit
		for i := range 200 {
			qs = append(qs, sample(i))
		}
		rs, err := n.PutAudits(t.Context(), qs)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > outage+600*time.Millisecond { // by the fake clock
			t.Errorf("they took %v", took)
		}
		for i, m := range l.All() {
			if rs[i].Err != nil || rs[i].Duplicate || m.ID != sample(i).QueryID.String() {
				t.Fatalf("record %d: %+v, and message %d is %s", i, rs[i], m.Sequence, m.ID)
			}
		}
	})
}

// Of a batch some answers are lost, some messages too, and some are refused as others. Each has its own result.
func TestABatchWithSomeAnswers(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	calls := 0
	l.Fate = func(cluster.Message) memlog.Fate {
		calls++
		return memlog.Fate{AckLost: calls%3 == 0, Lost: calls%3 == 1}
	}
	n := openNode(t, t.TempDir(), l, fast)
	var qs []*audit.QueryAudit
	for i := range 40 {
		qs = append(qs, sample(i), other(i, 1))
	}
	rs, err := n.PutAudits(t.Context(), qs)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		rs := rs[2*i : 2*i+2]
		if !slices.ContainsFunc(rs, func(r audit.PutResult) bool { return r.Err == nil }) || !slices.ContainsFunc(rs, func(r audit.PutResult) bool { return errors.Is(r.Err, audit.ErrConflict) }) {
			t.Errorf("the records with id %d: %+v", i, rs)
		}
	}
	if size, _, err := n.Root(t.Context()); err != nil || size != 40 {
		t.Errorf("%d records, %v", size, err)
	}
}
