// Package logtest tests an implementation of cluster.Log. An implementation is right if this test passes, with the race detector
// too:
//
//	func TestLog(t *testing.T) {
//		logtest.Run(t, func(t *testing.T) cluster.Log { return … })
//	}
//
// The suite tests the contract and knows no implementation. It expects a log without faults: what a node does with faults is tested
// with the log in memory.
package logtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/auditsql/auditsql/cluster"
)

// Run tests the logs that factory makes. Each call of factory must give a new and empty log with at least one replica, which it
// closes by t.Cleanup if it needs closing.
func Run(t *testing.T, factory func(t *testing.T) cluster.Log) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, l cluster.Log)
	}{
		{"an empty log", testEmpty},
		{"what was appended is read", testAppendRead},
		{"any bytes come back", testAwkwardPayloads},
		{"a large message", testLarge},
		{"a message that is too large", testTooLarge},
		{"a read in parts", testParts},
		{"a read beyond the end", testBeyond},
		{"a batch keeps its order", testBatchOrder},
		{"the same id again", testDuplicate},
		{"the same id with other bytes", testDuplicateOther},
		{"no id is no duplicate", testNoID},
		{"barriers", testBarriers},
		{"each replica has it all", testReplicas},
		{"an unknown replica", testUnknownReplica},
		{"payloads are the caller's own", testOwnership},
		{"a context that has ended", testCancelled},
		{"goroutines that append at once", testGoroutines},
		{"what it says about itself", testInfo},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, factory(t)) })
	}
}

// patience is how long a call or a replica may take.
const patience = 30 * time.Second

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func message(id string, payload []byte) cluster.Message {
	return cluster.NewRecord(sha256.Sum256([]byte(id)), payload)
}

func messages(n int) (ms []cluster.Message) {
	for i := range n {
		ms = append(ms, message(fmt.Sprint("record ", i), fmt.Appendf(nil, `{"record":%d}`, i)))
	}
	return ms
}

// add adds messages, which must get the numbers from first on.
func add(t *testing.T, l cluster.Log, first uint64, ms ...cluster.Message) {
	t.Helper()
	done := l.Append(limited(t), ms)
	if len(done) != len(ms) {
		t.Fatalf("%d messages have %d outcomes", len(ms), len(done))
	}
	for i, a := range done {
		if a.Err != nil || a.Duplicate || a.Sequence != first+uint64(i) {
			t.Fatalf("message %d: %+v, want number %d", i, a, first+uint64(i))
		}
	}
}

// read reads until it has n messages. A replica may have a message a little later than the majority.
func read(t *testing.T, l cluster.Log, replica string, from uint64, n int) (got []cluster.Stored) {
	t.Helper()
	ctx := limited(t)
	for len(got) < n {
		part, err := l.Read(ctx, replica, from+uint64(len(got)), n-len(got))
		if err != nil {
			t.Fatalf("read from %d: %v", from, err)
		}
		if len(part) > n-len(got) {
			t.Fatalf("read from %d: %d messages, and %d were asked for", from, len(part), n-len(got))
		}
		got = append(got, part...)
	}
	return got
}

// want reads messages and compares them, numbers included.
func want(t *testing.T, l cluster.Log, replica string, from uint64, ms []cluster.Message) {
	t.Helper()
	for i, s := range read(t, l, replica, from, len(ms)) {
		if s.Sequence != from+uint64(i) {
			t.Fatalf("message %d has number %d", from+uint64(i), s.Sequence)
		}
		if w := ms[i]; s.ID != w.ID || s.Kind != w.Kind || s.Sum != w.Sum || !bytes.Equal(s.Payload, w.Payload) {
			t.Fatalf("message %d is %.80q, want %.80q", s.Sequence, fmt.Sprint(s.Message), fmt.Sprint(w))
		}
		if !s.Intact() {
			t.Fatalf("message %d does not fit its hash", s.Sequence)
		}
	}
}

func bounds(t *testing.T, l cluster.Log) cluster.Bounds {
	t.Helper()
	b, err := l.Bounds(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func testEmpty(t *testing.T, l cluster.Log) {
	if b := bounds(t, l); b.First != b.Last+1 || b.Last != 0 {
		t.Errorf("the bounds of an empty log are %+v", b)
	}
	got, err := l.Read(limited(t), "", 1, 10)
	if err != nil || len(got) != 0 {
		t.Errorf("an empty log has %d messages, %v", len(got), err)
	}
	if done := l.Append(limited(t), nil); len(done) != 0 {
		t.Errorf("no message has %d outcomes", len(done))
	}
}

func testAppendRead(t *testing.T, l cluster.Log) {
	ms := messages(3)
	add(t, l, 1, ms[0])
	want(t, l, "", 1, ms[:1])
	add(t, l, 2, ms[1:]...)
	want(t, l, "", 1, ms)
	want(t, l, "", 2, ms[1:])
	if b := bounds(t, l); b != (cluster.Bounds{First: 1, Last: 3}) {
		t.Errorf("the bounds are %+v", b)
	}
}

func testAwkwardPayloads(t *testing.T, l cluster.Log) {
	var ms []cluster.Message
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for i, p := range [][]byte{{0}, []byte("\r\n"), []byte("NATS/1.0\r\nAudit-Kind: barrier\r\n\r\n"), every, bytes.Repeat([]byte("\x00\r\n"), 1000)} {
		ms = append(ms, message(fmt.Sprint("awkward ", i), p))
	}
	add(t, l, 1, ms...)
	want(t, l, "", 1, ms)
}

func testLarge(t *testing.T, l cluster.Log) {
	info, err := l.Info(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	large := bytes.Repeat([]byte("large "), 3<<20)[:info.MaxPayload]
	ms := []cluster.Message{message("large", large), message("small", []byte("{}"))}
	add(t, l, 1, ms...)
	want(t, l, "", 1, ms)
}

func testTooLarge(t *testing.T, l cluster.Log) {
	info, err := l.Info(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	ms := messages(2)
	done := l.Append(limited(t), []cluster.Message{ms[0], message("too large", make([]byte, info.MaxPayload+1)), ms[1]})
	if done[0].Err != nil || done[2].Err != nil || !errors.Is(done[1].Err, cluster.ErrRefused) {
		t.Fatalf("outcomes: %+v", done)
	}
	want(t, l, "", 1, ms)
	if b := bounds(t, l); b.Last != 2 {
		t.Errorf("the bounds are %+v", b)
	}
}

func testParts(t *testing.T, l cluster.Log) {
	ms := messages(1000)
	add(t, l, 1, ms...)
	var got []cluster.Stored
	for ctx := limited(t); len(got) < len(ms); {
		part, err := l.Read(ctx, "", uint64(len(got)+1), 64)
		if err != nil || len(part) > 64 {
			t.Fatalf("%d messages, %v", len(part), err)
		}
		for i, s := range part {
			if s.Sequence != uint64(len(got)+i+1) {
				t.Fatalf("message %d comes after %d", s.Sequence, len(got)+i)
			}
		}
		got = append(got, part...)
	}
	for i, s := range got {
		if !bytes.Equal(s.Payload, ms[i].Payload) {
			t.Fatalf("message %d is %q", s.Sequence, s.Payload)
		}
	}
}

func testBeyond(t *testing.T, l cluster.Log) {
	ms := messages(2)
	add(t, l, 1, ms...)
	want(t, l, "", 1, ms)
	for _, from := range []uint64{3, 4, 1 << 40} {
		got, err := l.Read(limited(t), "", from, 10)
		if err != nil || len(got) != 0 {
			t.Errorf("from %d: %d messages, %v", from, len(got), err)
		}
	}
}

func testBatchOrder(t *testing.T, l cluster.Log) {
	first := uint64(1)
	ms := messages(700)
	for part := range slices.Chunk(ms, 100) {
		add(t, l, first, part...)
		first += uint64(len(part))
	}
	want(t, l, "", 1, ms)
}

func testDuplicate(t *testing.T, l cluster.Log) {
	ms := messages(3)
	add(t, l, 1, ms...)
	done := l.Append(limited(t), []cluster.Message{ms[1]})
	if a := done[0]; a.Err != nil || !a.Duplicate || a.Sequence != 2 {
		t.Fatalf("the outcome is %+v", a)
	}
	if b := bounds(t, l); b.Last != 3 {
		t.Errorf("the bounds are %+v", b)
	}
}

func testDuplicateOther(t *testing.T, l cluster.Log) {
	first, other := message("id", []byte(`{"first":1}`)), message("id", []byte(`{"other":2}`))
	add(t, l, 1, first)
	done := l.Append(limited(t), []cluster.Message{other})
	if a := done[0]; a.Err != nil || !a.Duplicate || a.Sequence != 1 {
		t.Fatalf("the outcome is %+v", a)
	}
	want(t, l, "", 1, []cluster.Message{first})
}

func testNoID(t *testing.T, l cluster.Log) {
	ms := messages(2)
	ms[0].ID, ms[1].ID = "", ""
	add(t, l, 1, ms...)
	add(t, l, 3, ms...)
	want(t, l, "", 1, append(ms, ms...))
}

func testBarriers(t *testing.T, l cluster.Log) {
	ms := []cluster.Message{messages(1)[0], cluster.NewBarrier("one"), cluster.NewBarrier("two"), message("after", []byte("{}"))}
	add(t, l, 1, ms...)
	want(t, l, "", 1, ms)
}

func testReplicas(t *testing.T, l cluster.Log) {
	info, err := l.Info(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	ms := messages(20)
	add(t, l, 1, ms...)
	for _, r := range info.Replicas {
		want(t, l, r.Name, 1, ms)
	}
}

func testUnknownReplica(t *testing.T, l cluster.Log) {
	add(t, l, 1, messages(1)...)
	if got, err := l.Read(limited(t), "no such replica", 1, 1); err == nil {
		t.Errorf("a replica that does not exist has %d messages", len(got))
	}
}

func testOwnership(t *testing.T, l cluster.Log) {
	m := message("owned", []byte(`{"mine":true}`))
	given := m
	given.Payload = bytes.Clone(m.Payload)
	add(t, l, 1, given)
	clear(given.Payload)
	got := read(t, l, "", 1, 1)
	clear(got[0].Payload)
	want(t, l, "", 1, []cluster.Message{m})
}

func testCancelled(t *testing.T, l cluster.Log) {
	add(t, l, 1, messages(1)...)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if done := l.Append(ctx, []cluster.Message{message("late", []byte("{}"))}); done[0].Err == nil {
		t.Errorf("append: %+v", done[0])
	}
	if _, err := l.Read(ctx, "", 1, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v", err)
	}
	if _, err := l.Bounds(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("bounds: %v", err)
	}
	if _, err := l.Info(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("info: %v", err)
	}
}

func testGoroutines(t *testing.T, l cluster.Log) {
	const writers, each = 8, 50
	ctx := limited(t)
	at := make([][]uint64, writers)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				done := l.Append(ctx, []cluster.Message{message(fmt.Sprint(w, " ", i), fmt.Appendf(nil, "%d %d", w, i))})
				if done[0].Err != nil || done[0].Duplicate {
					t.Errorf("writer %d: %+v", w, done[0])
					return
				}
				at[w] = append(at[w], done[0].Sequence)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	got := read(t, l, "", 1, writers*each)
	for w := range at {
		for i, seq := range at[w] {
			if i > 0 && seq <= at[w][i-1] {
				t.Errorf("writer %d: message %d has number %d, after %d", w, i, seq, at[w][i-1])
			}
			if text := fmt.Sprintf("%d %d", w, i); string(got[seq-1].Payload) != text {
				t.Errorf("message %d is %q, want %q", seq, got[seq-1].Payload, text)
			}
		}
	}
}

func testInfo(t *testing.T, l cluster.Log) {
	add(t, l, 1, messages(3)...)
	ctx := limited(t)
	for {
		info, err := l.Info(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if info.Name == "" || len(info.StoreID) != 32 || info.Created.IsZero() || info.MaxPayload <= 0 || len(info.Replicas) == 0 {
			t.Fatalf("the log says of itself %+v", info)
		}
		leaders, complete := 0, 0
		for _, r := range info.Replicas {
			if !r.Answers {
				continue
			}
			if r.Leader {
				leaders++
			}
			if r.Missing > 0 {
				t.Fatalf("replica %s lacks %d messages", r.Name, r.Missing)
			}
			if r.Bounds == (cluster.Bounds{First: 1, Last: 3}) {
				complete++
			}
		}
		if leaders > 1 {
			t.Fatalf("%d replicas lead", leaders)
		}
		if leaders == 1 && complete == len(info.Replicas) {
			return
		}
	}
}
