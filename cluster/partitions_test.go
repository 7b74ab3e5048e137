package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/memlog"
	"github.com/auditsql/auditsql/web"
)

// newSet makes the logs of a set.
func newSet(t testing.TB, partitions int) (logs []*memlog.Log, as []cluster.Log) {
	t.Helper()
	logs = memlog.NewSet(partitions, 3)
	for _, l := range logs {
		t.Cleanup(l.Close)
		as = append(as, l)
	}
	return logs, as
}

func openSet(t testing.TB, dir string, logs []cluster.Log) *cluster.Partitions {
	t.Helper()
	p, err := cluster.OpenPartitions(context.Background(), dir, logs, fast)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// Each record goes to the log of its partition, whichever node it comes through, and the first under an id stays.
func TestRecordsAreDividedByTheirIDs(t *testing.T) {
	t.Parallel()
	const partitions, records = 3, 60
	logs, as := newSet(t, partitions)
	a, b := openSet(t, t.TempDir(), as), openSet(t, t.TempDir(), as)
	var batch []*audit.QueryAudit
	for i := range records {
		batch = append(batch, sample(i))
	}
	batch = append(batch, &audit.QueryAudit{Timestamp: 1 << 63}, sample(0), other(1, 2)) // invalid, a duplicate, a conflict
	results, err := a.PutAudits(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results[:records] {
		if r.Err != nil || r.Duplicate || r.ID != batch[i].QueryID {
			t.Errorf("record %d: %+v", i, r)
		}
	}
	for i, want := range []error{audit.ErrInvalid, nil, audit.ErrConflict} {
		if r := results[records+i]; !errors.Is(r.Err, want) || r.Duplicate != (want == nil) {
			t.Errorf("record %d: %+v, want %v", records+i, r, want)
		}
	}
	stored := 0
	for i, l := range logs {
		for _, m := range l.All() {
			id, _ := audit.IDOf(m.Payload)
			if at := cluster.PartitionOf(id, partitions); at != i {
				t.Errorf("%s is in log %d, and belongs to %d", id, i, at)
			}
			stored++
		}
	}
	if stored != records { // the logs leave out what they have seen the id of
		t.Errorf("the logs have %d messages, want %d", stored, records)
	}
	if err := b.WaitFor(t.Context(), a.Cursors()); err != nil {
		t.Fatal(err)
	}
	if r, err := b.PutAudits(t.Context(), []*audit.QueryAudit{other(1, 3), sample(2)}); err != nil || !errors.Is(r[0].Err, audit.ErrConflict) || !r[1].Duplicate {
		t.Errorf("through another node: %+v, %v", r, err)
	}
	if err := b.AwaitApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Behind(t.Context()); err != nil || n != 0 {
		t.Errorf("it is %d messages behind, %v", n, err)
	}
}

// A record that somebody gave to the wrong log is stored nowhere: a read by its id would not find it.
func TestARecordInTheWrongLog(t *testing.T) {
	t.Parallel()
	logs, as := newSet(t, 2)
	q := sample(1)
	raw, err := q.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	home := cluster.PartitionOf(q.QueryID, 2)
	if done := logs[1-home].Append(t.Context(), []cluster.Message{cluster.NewRecord(q.QueryID, raw)})[0]; done.Err != nil {
		t.Fatal(done.Err)
	}
	dir := t.TempDir()
	p := openSet(t, dir, as)
	if r, err := p.PutAudits(t.Context(), []*audit.QueryAudit{q}); err != nil || r[0].Err != nil || r[0].Duplicate {
		t.Fatalf("%+v, %v: the message in the wrong log counts", r, err)
	}
	stray := p.Nodes()[1-home]
	if err := stray.WaitFor(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if s, err := stray.DB.Stats(t.Context()); err != nil || s.Audits != 0 || s.Rejected != 1 {
		t.Errorf("the wrong partition has %d records and %d rejected, %v", s.Audits, s.Rejected, err)
	}
	if r, err := stray.PutAudits(t.Context(), []*audit.QueryAudit{q}); err != nil || !errors.Is(r[0].Err, cluster.ErrMismatch) {
		t.Errorf("the node of the wrong partition: %+v, %v", r, err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range as {
		db, err := audit.Open(cluster.PartitionDir(dir, i), audit.ReadOnly())
		if err != nil {
			t.Fatal(err)
		}
		r, err := cluster.Verify(t.Context(), as[i], db, cluster.VerifyOptions{})
		if err != nil || r.Damaged() {
			t.Errorf("partition %d: %v, %v", i, r.Problems, err)
		}
		if notes := strings.Join(r.Notes, "\n"); i != home && !strings.Contains(notes, "its id belongs to partition") {
			t.Errorf("partition %d: the notes are %q", i, notes)
		}
		db.Close()
	}
}

// What must be as it was when a node is opened again.
func TestAnotherSet(t *testing.T) {
	t.Parallel()
	logs, as := newSet(t, 2)
	dir := t.TempDir()
	p := openSet(t, dir, as)
	if _, err := p.PutAudits(t.Context(), []*audit.QueryAudit{sample(1), sample(2)}); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := cluster.PartitionsIn(dir); err != nil || n != 2 {
		t.Errorf("the folder has %d partitions, %v", n, err)
	}
	_, three := newSet(t, 3)
	otherSet, others := newSet(t, 2)
	for _, l := range otherSet {
		info, _ := l.Info(t.Context())
		info.Partition.Set = strings.Repeat("cd", 16)
		l.SetPartition(info.Partition)
	}
	one := newLog(t)
	for name, c := range map[string]struct {
		logs []cluster.Log
		want string
	}{
		"one is missing":   {as[:1], "the number of logs that were given is 1"},
		"another order":    {[]cluster.Log{as[1], as[0]}, "stands in the place of partition 0"},
		"another count":    {three, "it has the copies of 2 partitions"},
		"another set":      {others, "it has the copies of 2 partitions of set 0011"},
		"the log of a set": {[]cluster.Log{one}, "it is no partition"},
	} {
		if p, err := cluster.OpenPartitions(t.Context(), dir, c.logs, fast); !errors.Is(err, cluster.ErrMismatch) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
			if err == nil {
				p.Close()
			}
		}
	}
	for name, c := range map[string]struct {
		dir  string
		log  cluster.Log
		want string
	}{
		"a partition as if it were all":  {t.TempDir(), as[0], "it is partition 0 of 2"},
		"one log in the folder of a set": {dir, one, "it has the copies of 2 partitions"},
	} {
		if n, err := cluster.Open(t.Context(), c.dir, c.log, fast); !errors.Is(err, cluster.ErrMismatch) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
			if err == nil {
				n.Close()
			}
		}
	}
	// The folder of one log.
	whole := t.TempDir()
	closeNode(t, openNode(t, whole, one, fast))
	if _, err := cluster.OpenPartitions(t.Context(), whole, as, fast); !errors.Is(err, cluster.ErrMismatch) || !strings.Contains(err.Error(), "it is the copy of one log") {
		t.Errorf("in the folder of one log: %v", err)
	}
	// The folders of two partitions, exchanged.
	moved := filepath.Join(dir, "moved")
	for _, step := range [][2]string{{cluster.PartitionDir(dir, 0), moved}, {cluster.PartitionDir(dir, 1), cluster.PartitionDir(dir, 0)}, {moved, cluster.PartitionDir(dir, 1)}} {
		if err := os.Rename(step[0], step[1]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := cluster.OpenPartitions(t.Context(), dir, as, fast); !errors.Is(err, cluster.ErrMismatch) {
		t.Errorf("exchanged folders: %v", err)
	}
	// A log that says something else while the node runs.
	o := fast
	o.Check = 5 * time.Millisecond
	fresh, err := cluster.OpenPartitions(t.Context(), t.TempDir(), as, o)
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	info, _ := logs[1].Info(t.Context())
	info.Partition.Of = 3
	logs[1].SetPartition(info.Partition)
	awaitErr(t, fresh.Nodes()[1], cluster.ErrMismatch)
	if !errors.Is(fresh.Err(), cluster.ErrMismatch) {
		t.Errorf("its error is %v", fresh.Err())
	}
}

// The file that names the set is not read further than it is understood.
func TestTheFileOfASet(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"set":"` + strings.Repeat("ab", 16) + `","partitions":2}`:                 "",
		`{"set":"` + strings.Repeat("ab", 16) + `","partitions":2,"of_later":true}`: "unknown field",
		`{"set":"","partitions":1}`:                                                 "it says that there are 1 partitions",
		`{`:                                                                         "unexpected EOF",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "partitions.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := cluster.PartitionsIn(dir)
		if want == "" && err != nil || want != "" && (!errors.Is(err, cluster.ErrMismatch) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
		if !json.Valid([]byte(text)) && err == nil {
			t.Errorf("%s is read", text)
		}
	}
}

// The pages and the API ask a node of several partitions what they ask a node of one, and a store on one machine.
var _ web.Store = (*cluster.Partitions)(nil)

// The copies of several logs answer together as one store with all records does. Package audit asks everything (its Union); here the
// records come through the logs.
func TestPartitionsAnswerAsOneStoreDoes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, partitions := range []int{2, 5} {
		r := rand.New(rand.NewPCG(uint64(partitions), 3))
		hash := func(kind string, n int) audit.Hash {
			h := audit.Hash{}
			copy(h[:], fmt.Sprintf("%s %d", kind, r.IntN(n)))
			return h
		}
		var world []*audit.QueryAudit
		for i := range 120 {
			q := sample(i)
			q.Timestamp, q.QueryID = uint64(r.IntN(40))*60_000, audit.QueryID{}
			agent, result := hash("agent", 4), hash("fact", 6)
			q.AgentID, q.ResultHash = &agent, &result
			for range r.IntN(4) {
				q.ContributingAssertions = append(q.ContributingAssertions, audit.ContributingAssertion{
					AssertionHash: hash("fact", 6), SourceHash: hash("source", 3), Weight: 0.5, Lifecycle: audit.Lifecycle(1 + r.IntN(3)),
				})
			}
			q.QueryID, _ = q.ID()
			world = append(world, q)
		}
		one, err := audit.Open(filepath.Join(t.TempDir(), "one"))
		if err != nil {
			t.Fatal(err)
		}
		defer one.Close()
		_, as := newSet(t, partitions)
		p := openSet(t, t.TempDir(), as)
		for _, put := range []func(context.Context, []*audit.QueryAudit) ([]audit.PutResult, error){one.PutAudits, p.PutAudits} {
			results, err := put(ctx, world)
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range results {
				if r.Err != nil {
					t.Fatalf("record %d: %v", i, r.Err)
				}
			}
		}
		if err := p.AwaitApplied(ctx); err != nil {
			t.Fatal(err)
		}
		if n := p.Progress().Records; n != uint64(len(world)) {
			t.Errorf("the copies have %d records of %d", n, len(world))
		}
		fact := hash("fact", 1)
		answers := func(s web.Store) (all []any) {
			add := func(answer any, err error) {
				if err != nil {
					t.Error(err)
				}
				all = append(all, answer)
			}
			for raw, err := range s.RawAudits(ctx, audit.Filter{Descending: true, Limit: 50}) {
				add(string(raw), err)
			}
			for _, rank := range []audit.TopRank{audit.RankPieces, audit.RankAnswers, audit.RankAgents} {
				add(s.Top(ctx, audit.TopOptions{By: audit.TopAssertions, Rank: rank}))
			}
			add(s.Top(ctx, audit.TopOptions{By: audit.TopAgents}))
			add(s.Timeline(ctx, audit.TimelineOptions{By: audit.ByMinute, Unapproved: true}))
			add(s.ImpactTotals(ctx, fact, audit.ImpactOptions{}))
			d := s.Downstream(fact, audit.DownstreamOptions{})
			for d.Next(ctx) {
				for a, err := range d.Answers(ctx) {
					add(a, err)
				}
			}
			add(d.Totals(ctx))
			for _, q := range world[:20] {
				add(s.Trace(ctx, q.QueryID, audit.TraceOptions{}))
				add(s.Origins(ctx, q.QueryID, audit.OriginsOptions{}))
			}
			return all
		}
		got, want := answers(p), answers(one)
		for i := range min(len(got), len(want)) {
			g, _ := json.Marshal(got[i])
			w, _ := json.Marshal(want[i])
			if string(g) != string(w) {
				t.Errorf("%d partitions, answer %d: %s\nwant %s", partitions, i, g, w)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d answers, want %d", len(got), len(want))
		}
		s, err := p.Stats(ctx)
		if err != nil || s.Audits != uint64(len(world)) || s.Agents != 4 || s.StoreID == "" || s.Follows == "" {
			t.Errorf("%+v, %v", s, err)
		}
		for _, err := range p.TailAfter(ctx, 0) {
			if !errors.Is(err, audit.ErrDivided) {
				t.Errorf("a tail: %v", err)
			}
		}
	}
}

// Puts of one partition go on while another one answers nobody.
func TestOnePartitionIsDown(t *testing.T) {
	t.Parallel()
	logs, as := newSet(t, 2)
	p := openSet(t, t.TempDir(), as)
	for _, name := range []string{"r1", "r2", "r3"} {
		logs[1].SetDown(name, true)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	put := 0
	for i := range 40 {
		q := sample(i)
		if cluster.PartitionOf(q.QueryID, 2) != 0 {
			continue
		}
		put++
		if r, err := p.PutAudits(ctx, []*audit.QueryAudit{q}); err != nil || r[0].Err != nil {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if n, _, err := p.Count(ctx, audit.Filter{}, audit.Budget{}); err != nil || n != uint64(put) || put == 0 {
		t.Errorf("%d records of %d, %v", n, put, err)
	}
	for _, name := range []string{"r1", "r2", "r3"} {
		logs[1].SetDown(name, false)
	}
}
