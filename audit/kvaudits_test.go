package audit_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/kvshim"
)

func TestKVAuditsInMemory(t *testing.T) {
	testStore(t, func(*testing.T) audit.Store { return audit.NewStore(kvshim.NewMemory()) })
}

func TestKVAuditsOnSQLite(t *testing.T) {
	sequential.Test(t)
	testStore(t, func(t *testing.T) audit.Store {
		kv, err := kvshim.Open(filepath.Join(t.TempDir(), "kv.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := kv.Close(); err != nil {
				t.Error(err)
			}
		})
		return audit.NewStore(kv)
	})
}

func TestKVAuditsKeys(t *testing.T) {
	kv := kvshim.NewMemory()
	s := audit.NewStore(kv)
	q := exampleRecord()
	anonymous := asked(nil, 5, "anonymous")
	put(t, s, q, anonymous)

	want := map[string]string{
		string(audit.KeyOf(q.QueryID)):                               example,
		string(audit.AgentKeyOf(*q.AgentID, q.Timestamp, q.QueryID)): "",
		string(audit.KeyOf(anonymous.QueryID)):                       canonical(t, &anonymous),
	}
	for pair, err := range kv.Scan(t.Context(), nil, kvshim.ScanOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if value, ok := want[string(pair.Key)]; !ok || value != string(pair.Value) {
			t.Errorf("key %q holds %s", pair.Key, pair.Value)
		}
		delete(want, string(pair.Key))
	}
	for key := range want {
		t.Errorf("key %q is missing", key)
	}
}

// Stores over one kv do not share a lock; kv keeps their records from being written twice.
func TestKVAuditsTwoStoresOverOne(t *testing.T) {
	kv := kvshim.NewMemory()
	stores := []*audit.KVAudits{audit.NewStore(blindOnce(kv)), audit.NewStore(kv)}
	first := exampleRecord()
	put(t, stores[1], first)

	// This one does not see the record when it looks, as if it had been written just after.
	other := exampleRecord()
	other.Timestamp++
	if _, err := stores[0].PutAudit(t.Context(), &other); !errors.Is(err, audit.ErrConflict) {
		t.Errorf("put of other bytes: %v", err)
	}
	put(t, audit.NewStore(blindOnce(kv)), first)
	wantStored(t, stores[0], first)
	wantForAgent(t, stores[0], *first.AgentID, 0, all, 10, first)
}

// blind finds nothing the first time that it is asked.
type blind struct {
	kvshim.Store
	asked bool
}

func blindOnce(kv kvshim.Store) *blind { return &blind{Store: kv} }

func (b *blind) Get(ctx context.Context, key []byte) ([]byte, error) {
	if !b.asked {
		b.asked = true
		return nil, kvshim.ErrNotFound
	}
	return b.Store.Get(ctx, key)
}

func TestKVAuditsReportsDamage(t *testing.T) {
	q := exampleRecord()
	for name, pairs := range map[string][]kvshim.Pair{
		"value that is no record":       {{Key: audit.KeyOf(q.QueryID), Value: []byte("{}")}},
		"value that is empty":           {{Key: audit.KeyOf(q.QueryID)}},
		"another record":                {{Key: audit.KeyOf(q.QueryID), Value: bytes.Replace([]byte(example), []byte("0a"), []byte("0b"), 1)}},
		"value cut after its timestamp": {{Key: audit.KeyOf(q.QueryID), Value: []byte(example[:300])}},
	} {
		t.Run(name, func(t *testing.T) {
			kv := kvshim.NewMemory()
			pairs := append(pairs, kvshim.Pair{Key: audit.AgentKeyOf(*q.AgentID, q.Timestamp, q.QueryID)})
			for _, pair := range pairs {
				if err := kv.Put(t.Context(), pair.Key, pair.Value); err != nil {
					t.Fatal(err)
				}
			}
			s := audit.NewStore(kv)
			_, get := s.GetAudit(t.Context(), q.QueryID)
			_, forAgent := s.AuditsForAgent(t.Context(), *q.AgentID, 0, all, 1)
			_, recent := s.ListRecent(t.Context(), 1)
			for call, err := range map[string]error{"get": get, "for agent": forAgent, "recent": recent} {
				// Neither the caller's fault nor the lack of a record.
				if err == nil || errors.Is(err, audit.ErrInvalid) || errors.Is(err, audit.ErrNotFound) {
					t.Errorf("%s: %v", call, err)
				}
			}
		})
	}

	t.Run("keys that are none", func(t *testing.T) {
		kv := kvshim.NewMemory()
		for _, key := range []string{audit.KeyPrefix + "short", string(audit.AgentPrefix(fill(1))) + "short"} {
			if err := kv.Put(t.Context(), []byte(key), nil); err != nil {
				t.Fatal(err)
			}
		}
		s := audit.NewStore(kv)
		if _, err := s.ListRecent(t.Context(), 1); err == nil {
			t.Error("recent passes over a key that is none")
		}
		if _, err := s.AuditsForAgent(t.Context(), fill(1), 0, all, 1); err == nil {
			t.Error("an agent's records pass over a key that is none")
		}
	})
}

// broken fails whatever it is asked.
type broken struct{ kvshim.Store }

var errBroken = errors.New("the disk is on fire")

func (broken) Get(context.Context, []byte) ([]byte, error) { return nil, errBroken }
func (broken) Scan(context.Context, []byte, kvshim.ScanOptions) iter.Seq2[kvshim.Pair, error] {
	return func(yield func(kvshim.Pair, error) bool) { yield(kvshim.Pair{}, errBroken) }
}

func TestKVAuditsPassesErrorsOn(t *testing.T) {
	s := audit.NewStore(broken{kvshim.NewMemory()})
	q := exampleRecord()
	_, put := s.PutAudit(t.Context(), &q)
	_, get := s.GetAudit(t.Context(), q.QueryID)
	_, forAgent := s.AuditsForAgent(t.Context(), *q.AgentID, 0, all, 1)
	_, recent := s.ListRecent(t.Context(), 1)
	_, has := s.HasAuditsForAgent(t.Context(), *q.AgentID)
	for call, err := range map[string]error{"put": put, "get": get, "for agent": forAgent, "recent": recent, "has": has} {
		if !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", call, err)
		}
	}
}
