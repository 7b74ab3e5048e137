package evidence_test

import (
	"strings"
	"testing"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/tree"
)

// A checkpoint by two keys of a log is taken by whoever knows one of them.
func TestAddSignature(t *testing.T) {
	t.Parallel()
	key := func(origin string) (*evidence.Signer, *evidence.Policy) {
		private, public, err := evidence.GenerateKey(origin)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := evidence.NewSigner(private)
		if err != nil {
			t.Fatal(err)
		}
		policy, err := evidence.KeyPolicy(public)
		if err != nil {
			t.Fatal(err)
		}
		return signer, policy
	}
	first, knowsFirst := key("log.example.com")
	second, knowsSecond := key("log.example.com")
	other, _ := key("other.example.com")
	cp := evidence.Checkpoint{Origin: "log.example.com", Size: 3, Root: tree.Hash{1}}
	note, err := evidence.Sign(cp, first)
	if err != nil {
		t.Fatal(err)
	}
	both, err := evidence.AddSignature(note, second)
	if err != nil || !strings.HasPrefix(string(both), string(note)) {
		t.Fatalf("%s, %v", both, err)
	}
	for who, policy := range map[string]*evidence.Policy{"first": knowsFirst, "second": knowsSecond} {
		if v := evidence.VerifyCheckpoint(both, policy); v.Outcome != evidence.Proven || v.Checkpoint != cp {
			t.Errorf("who knows the %s: %+v", who, v)
		}
	}
	if again, err := evidence.AddSignature(both, second); err != nil || string(again) != string(both) {
		t.Errorf("again: %s, %v", again, err)
	}
	if got, err := evidence.AddSignature(note, other); err == nil {
		t.Errorf("a key of another log: %s", got)
	}
	if got, err := evidence.AddSignature([]byte("nothing"), first); err == nil {
		t.Errorf("no checkpoint: %s", got)
	}
}
