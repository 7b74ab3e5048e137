package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// eachStore runs a test on each store that has ids.
func eachStore(t *testing.T, test func(t *testing.T, open func() store)) {
	if _, err := postgresPrograms(); err != nil {
		t.Run("postgres", func(t *testing.T) { t.Skip(err) })
	}
	for _, k := range kinds {
		if slices.Contains(writtenOnly, k.name) {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			test(t, func() store {
				s, err := k.open(settings{dir: dir, writers: 16})
				if err != nil {
					t.Fatal(err)
				}
				return s
			})
		})
	}
}

func shut(t *testing.T, s store) {
	t.Helper()
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

func canonical(t *testing.T, q *audit.QueryAudit) []byte {
	t.Helper()
	raw, err := q.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// other returns a different record with the same id.
func other(q *audit.QueryAudit) *audit.QueryAudit {
	o := *q
	o.ResultConfidence = 2
	return &o
}

// The first record under an id stays: when it is put alone, in a batch, and after the store was opened again.
func TestTheFirstWriteWins(t *testing.T) {
	t.Parallel()
	w := world{1, shapePartly}
	ctx := context.Background()
	eachStore(t, func(t *testing.T, open func() store) {
		s := open()
		if err := s.put(ctx, w.record(0)); err != nil {
			t.Fatal(err)
		}
		if err := s.load(ctx, []*audit.QueryAudit{w.record(1), w.record(0), w.record(1), w.record(2)}); err != nil {
			t.Fatalf("the same bytes again: %v", err)
		}
		for _, again := range []bool{false, true} {
			if again {
				shut(t, s)
				s = open()
			}
			for no := range 3 {
				q := w.record(no)
				if err := s.put(ctx, q); err != nil {
					t.Errorf("the same bytes again: %v", err)
				}
				if err := s.put(ctx, other(q)); !errors.Is(err, audit.ErrConflict) {
					t.Errorf("other bytes, opened again %t: %v, want a conflict", again, err)
				}
				if err := s.load(ctx, []*audit.QueryAudit{other(q)}); !errors.Is(err, audit.ErrConflict) {
					t.Errorf("other bytes in a batch: %v, want a conflict", err)
				}
				got, err := s.(reader).get(ctx, q.QueryID)
				if err != nil || !bytes.Equal(got, canonical(t, q)) {
					t.Errorf("get %d: %s, %v", no, got, err)
				}
			}
		}
		if _, err := s.(reader).get(ctx, w.id(99)); !errors.Is(err, audit.ErrNotFound) {
			t.Errorf("get of nothing: %v", err)
		}
		shut(t, s)
	})
}

// If many callers put different bytes under one id at once, exactly one succeeds, and its bytes are stored.
func TestOneOfManyAtOnceWins(t *testing.T) {
	t.Parallel()
	const writers, ids = 16, 150
	w := world{2, shapePartly}
	ctx := context.Background()
	eachStore(t, func(t *testing.T, open func() store) {
		s := open()
		defer shut(t, s)
		for no := range ids {
			var won atomic.Int64
			var winner atomic.Pointer[audit.QueryAudit]
			var wg, ready sync.WaitGroup
			ready.Add(writers)
			for i := range writers {
				wg.Go(func() {
					q := w.record(no)
					q.Timestamp = uint64(i + 1)
					ready.Done()
					ready.Wait() // all at once
					switch err := s.put(ctx, q); {
					case err == nil:
						won.Add(1)
						winner.Store(q)
					case !errors.Is(err, audit.ErrConflict):
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Fatalf("%d of %d writers won", won.Load(), writers)
			}
			got, err := s.(reader).get(ctx, w.id(no))
			if err != nil || !bytes.Equal(got, canonical(t, winner.Load())) {
				t.Errorf("the loser's bytes are stored: %s, %v", got, err)
			}
		}
	})
}

// Every store gives the same, correct answers to the questions that it knows.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const n = 400
	w := world{3, shapePartly}
	ctx := context.Background()
	var qs []*audit.QueryAudit
	for no := range n {
		qs = append(qs, w.record(no)) // in the order of time
	}
	agent, from, fact := *qs[n/2].AgentID, qs[n/4].Timestamp, qs[n/2].ContributingAssertions[1].AssertionHash
	var ofAgent, newest [][]byte
	var uses [][]byte
	for _, q := range qs {
		if *q.AgentID == agent && q.Timestamp >= from && len(ofAgent) < 5 {
			ofAgent = append(ofAgent, canonical(t, q))
		}
		for _, c := range q.ContributingAssertions {
			if c.AssertionHash == fact {
				uses = append(uses, canonical(t, q))
			}
		}
	}
	for no := n - 1; no >= n-7; no-- {
		newest = append(newest, canonical(t, qs[no]))
	}
	same := func(t *testing.T, what string, got, want [][]byte, err error) {
		if err != nil || !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("%s: %d records that differ from the %d wanted (%v)", what, len(got), len(want), err)
		}
	}
	eachStore(t, func(t *testing.T, open func() store) {
		s := open()
		defer shut(t, s)
		if err := s.load(ctx, qs[:n/2]); err != nil {
			t.Fatal(err)
		}
		if err := s.load(ctx, qs[n/2:n-10]); err != nil {
			t.Fatal(err)
		}
		for _, q := range qs[n-10:] {
			if err := s.put(ctx, q); err != nil {
				t.Fatal(err)
			}
		}
		if d, ok := s.(drainer); ok {
			if err := d.drain(ctx); err != nil {
				t.Fatal(err)
			}
		}
		for _, q := range qs {
			got, err := s.(reader).get(ctx, q.QueryID)
			if err != nil || !bytes.Equal(got, canonical(t, q)) {
				t.Fatalf("get: %s, %v", got, err)
			}
		}
		found, err := s.(reader).agent(ctx, agent, from, 5)
		same(t, "agent", found, ofAgent, err)
		if l, ok := s.(timeline); ok {
			found, err := l.recent(ctx, 7)
			same(t, "recent", found, newest, err)
		}
		if e, ok := s.(evidenceFinder); ok {
			found, err := e.impact(ctx, fact)
			same(t, "impact", found, uses, err)
		}
		if v, ok := s.(shared); ok {
			if at, err := v.newest(ctx); err != nil || at != qs[n-1].Timestamp {
				t.Errorf("newest: %d, want %d (%v)", at, qs[n-1].Timestamp, err)
			}
		}
	})
}

// The SQLites have the page size and the journal mode of auditsql.
func TestSQLiteIsSetAsAuditsqlIs(t *testing.T) {
	settled := func(s store, dir string) (got [2]string) {
		db, err := sql.Open("sqlite", filepath.Join(dir, "audit.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for i, pragma := range []string{"page_size", "journal_mode"} {
			if err := db.QueryRow(`PRAGMA ` + pragma).Scan(&got[i]); err != nil {
				t.Fatal(err)
			}
		}
		shut(t, s)
		return got
	}
	var want [2]string
	for _, k := range kinds { // auditsql is the first
		if k.name != "auditsql" && !strings.HasPrefix(k.name, "sqlite") {
			continue
		}
		dir := t.TempDir()
		s, err := k.open(settings{dir: dir, writers: 1})
		if err != nil {
			t.Fatal(err)
		}
		if got := settled(s, dir); k.name == "auditsql" {
			want = got
		} else if got != want {
			t.Errorf("%s has %v, auditsql %v", k.name, got, want)
		}
	}
}
