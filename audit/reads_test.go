package audit_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// ended reports whether an error comes out of a channel now.
func ended(c <-chan error) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A store that shows what is applied answers every question while nothing can be applied, and says how much is missing.
func TestQuestionsDoNotWaitForTheApplier(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	r := rand.New(rand.NewPCG(3, 17))
	qs := randomWorld(r, 40)
	db := openDB(t, dir, audit.WithReads(audit.Applied))
	put := func(qs []audit.QueryAudit) {
		t.Helper()
		for i := range qs {
			if _, err := db.PutAudit(t.Context(), &qs[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	const early = 25
	put(qs[:early])
	if err := db.AwaitApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := db.Progress(); p.Applied == 0 || p != (audit.Progress{Records: early, Applied: p.Applied}) {
		t.Errorf("at rest: %+v", p)
	}
	// Of its lists the backlog alone cannot say which records they have.
	all := audit.Filter{NoneOf: []audit.Filter{{Subject: ptr("nothing has this subject")}}}
	before := everything(t, db, all)

	s := openShell(t, dir)
	s.do("BEGIN IMMEDIATE") // nothing can be applied
	put(qs[early:])
	if now := everything(t, db, all); now != before {
		t.Errorf("the answers are %s\nwant those before, %s", now, before)
	}
	if n, _, err := db.Root(t.Context()); n != early || err != nil {
		t.Errorf("the tree has %d records, %v", n, err)
	}
	if p := db.Progress(); p.Records != early || p.LagRecords != len(qs)-early || p.LagBytes == 0 {
		t.Errorf("while nothing can be applied: %+v", p)
	}
	if lag, err := db.Lag(t.Context()); err != nil || lag.Records != len(qs)-early || lag.Oldest == nil || *lag.Oldest != qs[early].Timestamp {
		t.Errorf("lag %+v, %v", lag, err)
	}
	// What Store has is acknowledged all the same.
	for _, q := range qs[early:] {
		if _, err := db.GetAudit(t.Context(), q.QueryID); err != nil {
			t.Error(err)
		}
	}
	if recent, err := db.ListRecent(t.Context(), 100); err != nil || len(recent) != len(qs) {
		t.Errorf("%d recent records, %v", len(recent), err)
	}
	// These wait for what is acknowledged.
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.AwaitApplied(impatient); !errors.Is(err, context.Canceled) {
		t.Errorf("an impatient caller: %v", err)
	}
	for _, err := range db.RawAudits(t.Context(), audit.Filter{AsOf: ptr(uint64(len(qs) + 1))}) { // and there will not be so many
		var later *audit.AsOfError
		if !errors.As(err, &later) {
			t.Errorf("as of one more: %v", err)
		}
	}
	applied, later := make(chan error, 1), make(chan error, 1)
	go func() { applied <- db.AwaitApplied(context.Background()) }()
	go func() {
		n := 0
		var last error
		for _, err := range db.RawAudits(context.Background(), audit.Filter{AsOf: ptr(uint64(len(qs)))}) {
			n, last = n+1, err
		}
		if last == nil && n != len(qs) {
			last = fmt.Errorf("%d records", n)
		}
		later <- last
	}()
	if now := everything(t, db, all); now != before {
		t.Error("the answers have changed beside a caller that waits")
	}
	if ended(applied) || ended(later) {
		t.Error("AwaitApplied did not wait, or a question about what is not applied yet")
	}
	s.do("ROLLBACK")
	if err := <-applied; err != nil {
		t.Error(err)
	}
	if err := <-later; err != nil {
		t.Error("as of all records:", err)
	}
	p := db.Progress()
	if _, end, err := db.TailRange(t.Context()); err != nil || p != (audit.Progress{Records: uint64(len(qs)), Applied: end}) {
		t.Errorf("afterwards: %+v", p)
	}
	reader := openDB(t, dir, audit.ReadOnly())
	if now := everything(t, db, all); now == before || now != everything(t, reader, all) {
		t.Error("the answers afterwards are not those of all records")
	}
	if of := reader.Progress(); of != p {
		t.Errorf("a reader: %+v", of)
	}
}

// A record that SQLite does not have yet is traced as it will be.
func TestARecordThatIsNotAppliedIsTraced(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir, audit.WithReads(audit.Applied))
	qs := randomWorld(rand.New(rand.NewPCG(4, 17)), 80)
	for round := range 8 {
		early, last := qs[10*round:10*round+9], &qs[10*round+9]
		for i := range early {
			if _, err := db.PutAudit(t.Context(), &early[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.AwaitApplied(t.Context()); err != nil {
			t.Fatal(err)
		}
		var pending *audit.Trace
		audit.AtRest(db, func() {
			if _, err := db.PutAudit(t.Context(), last); err != nil {
				t.Fatal(err)
			}
			var err error
			if pending, err = db.Trace(t.Context(), last.QueryID, audit.TraceOptions{}); err != nil {
				t.Fatal(err)
			}
			asOf := audit.TraceOptions{AsOf: pending.AsOf}
			if _, err := db.Trace(t.Context(), last.QueryID, asOf); !errors.Is(err, audit.ErrNotFound) {
				t.Errorf("as of the records before it: %v", err)
			}
		})
		if err := db.AwaitApplied(t.Context()); err != nil {
			t.Fatal(err)
		}
		applied, err := db.Trace(t.Context(), last.QueryID, audit.TraceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if !pending.Pending || applied.Pending || pending.AsOf == nil || *pending.AsOf != uint64(10*round+9) || applied.AsOf != nil {
			t.Errorf("pending %v as of %v, then %v as of %v", pending.Pending, pending.AsOf, applied.Pending, applied.AsOf)
		}
		pending.Pending, pending.AsOf = false, nil
		if got, want := show(pending), show(applied); got != want {
			t.Errorf("before it was applied: %s\nthen %s", got, want)
		}
	}
}

// endsWhenItIsAwaited is a context that ends when somebody begins to wait for its end.
type endsWhenItIsAwaited struct {
	context.Context
	end context.CancelFunc
}

func (c *endsWhenItIsAwaited) Done() <-chan struct{} {
	c.end()
	return c.Context.Done()
}

// A put that gives up while it waits for room in the backlog has stored nothing, and its error says so. One that has stored
// a part does not say so.
func TestAPutThatFindsNoRoomIsBusy(t *testing.T) {
	t.Parallel()
	const room = 64
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir, audit.WithBacklog(room, 0), audit.WithReads(audit.Applied))
	impatient := func() context.Context {
		ctx, cancel := context.WithCancel(context.Background())
		return &endsWhenItIsAwaited{ctx, cancel}
	}
	s := openShell(t, dir)
	s.do("BEGIN IMMEDIATE")
	putSamples(t, db, 0, room-1)
	_, err := db.PutAudits(impatient(), samples(room, room+10))
	if !errors.Is(err, audit.ErrBusy) || !errors.Is(err, context.Canceled) {
		t.Errorf("without room: %v", err)
	}
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Hour))
	defer cancel()
	if _, err := db.PutAudit(late, ptr(sample(room))); errors.Is(err, audit.ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call that was over before: %v", err)
	}
	for i := room; i < room+10; i++ {
		if _, err := db.GetRaw(t.Context(), sample(i).QueryID); !errors.Is(err, audit.ErrNotFound) {
			t.Errorf("record %d: %v", i, err)
		}
	}
	s.do("ROLLBACK")
	if err := db.AwaitApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantRoom(t, db)

	s.do("BEGIN IMMEDIATE")
	putSamples(t, db, 1000, 1008)
	ctx, end := context.WithCancel(t.Context())
	// A call is stored in parts of a quarter of the backlog. Here the fourth finds no room.
	_, err = db.PutAudits(&endsWhenFull{ctx, end, db, 8 + 3*room/4}, samples(room, 2*room))
	if errors.Is(err, audit.ErrBusy) || !errors.Is(err, context.Canceled) {
		t.Errorf("with room for a part: %v", err)
	}
	for i, want := range map[int]error{room: nil, room + 3*room/4 - 1: nil, room + 3*room/4: audit.ErrNotFound} {
		if _, err := db.GetRaw(t.Context(), sample(i).QueryID); !errors.Is(err, want) {
			t.Errorf("record %d: %v, want %v", i, err, want)
		}
	}
	s.do("ROLLBACK")
	putSamples(t, db, 0, 3*room)
	if err := db.AwaitApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantRoom(t, db)
}

// endsWhenFull is a context that ends when somebody waits for its end while the store has so many records more than SQLite.
type endsWhenFull struct {
	context.Context
	end     context.CancelFunc
	db      *audit.DB
	waiting int
}

func (c *endsWhenFull) Done() <-chan struct{} {
	if lag, err := c.db.Lag(context.Background()); err != nil || lag.Records >= c.waiting {
		c.end()
	}
	return c.Context.Done()
}
