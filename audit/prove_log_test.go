package audit_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/evidence/bundle"
	"github.com/auditsql/auditsql/internal/keyfile"
	"github.com/auditsql/auditsql/internal/signing"
)

// withLog gives a store a log, whose checkpoints the test signs itself.
func withLog(t *testing.T, dir string) signer {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	public, err := keyfile.Create(file, "log.example.com")
	if err != nil {
		t.Fatal(err)
	}
	key := must(keyfile.Read(file))
	if err := signing.NewConfig(file, key).Write(dir); err != nil {
		t.Fatal(err)
	}
	return signer{key, must(evidence.KeyPolicy(public))}
}

func publish(t *testing.T, dir string, checkpoint []byte) {
	t.Helper()
	name := signing.CheckpointPath(dir)
	if err := os.WriteFile(name+".new", checkpoint, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// Without a checkpoint the newest one of the store's log is used, and only its key counts.
func TestProofsLeadToTheNewestCheckpoint(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 60)
	s, ctx, id := withLog(t, dir), t.Context(), sample(7).QueryID
	db := openDB(t, dir, audit.ReadOnly())
	tiles := tilesOf(t, db)
	if _, err := db.Prove(ctx, id, audit.ProveOptions{}); !errors.Is(err, audit.ErrUncovered) {
		t.Errorf("nothing was signed: %v", err)
	}
	for _, size := range []int{20, 60} {
		publish(t, dir, s.sign(t, tiles, size).Checkpoint)
		rec, err := db.Prove(ctx, id, audit.ProveOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if v := evidence.Verify(rec.Raw, rec.Proof, s.policy); v.Err() != nil || v.Checkpoint.Size != int64(size) {
			t.Errorf("%+v", v)
		}
	}
	rep, err := db.Verify(ctx, audit.VerifyOptions{Against: []audit.Against{{Name: "its own", Signed: s.sign(t, tiles, 60).Checkpoint}}})
	if err != nil || !rep.OK() || len(same(rep)) != 1 {
		t.Errorf("%+v, %v", rep, err)
	}
	other := newSigner(t, "log.example.com").sign(t, tiles, 60).Checkpoint
	var bad *audit.CheckpointError
	if _, err := db.Prove(ctx, id, audit.ProveOptions{Checkpoint: other}); !errors.As(err, &bad) || bad.Verdict.Reason != evidence.UnknownKey {
		t.Errorf("a checkpoint of another key: %v", err)
	}
	publish(t, dir, other)
	if _, err := db.Prove(ctx, id, audit.ProveOptions{}); !errors.Is(err, signing.ErrCheckpoint) {
		t.Errorf("another key has signed DIR/checkpoint: %v", err)
	}
}

// The evidence asks for the log's witnesses when they have signed, and can be made when they have not.
func TestTheWitnessesOfALog(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 20)
	s := withLog(t, dir)
	db := openDB(t, dir, audit.ReadOnly())
	alone := s.sign(t, tilesOf(t, db), 20).Checkpoint
	witness, key := newWitness(t, "witness.example.com")
	policy := filepath.Join(t.TempDir(), "policy")
	if err := os.WriteFile(policy, fmt.Appendf(nil, "witness one %s\nquorum one\n", key), 0o600); err != nil {
		t.Fatal(err)
	}
	c := must(signing.ReadConfig(dir))
	c.Policy = policy
	if err := c.Write(dir); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		signed []byte
		want   int // cosignatures that the policy of the evidence knows
	}{{alone, 0}, {witness(alone), 1}} {
		publish(t, dir, test.signed)
		p, err := db.Prover(t.Context(), audit.ProveOptions{})
		if err != nil {
			t.Fatal(err)
		}
		rec := must(p.Prove(t.Context(), sample(3).QueryID))
		if v := evidence.Verify(rec.Raw, rec.Proof, p.Policy()); v.Err() != nil || len(v.Cosignatures) != test.want || len(p.Policy().Witnesses()) != test.want || (p.Note() == "") != (test.want > 0) {
			t.Errorf("%+v, %q", v, p.Note())
		}
	}
	// A range needs both checkpoints, so the older one decides too.
	tiles := tilesOf(t, db)
	for _, older := range [][]byte{witness(s.sign(t, tiles, 10).Checkpoint), s.sign(t, tiles, 10).Checkpoint} {
		p := must(db.Prover(t.Context(), audit.ProveOptions{}))
		edge, records, err := p.Between(t.Context(), older)
		if err != nil {
			t.Fatal(err)
		}
		err = bundle.WriteZip(io.Discard, &bundle.Contents{Policy: p.Policy(), Range: &bundle.Range{Older: older, Newer: witness(alone), Edge: edge, Records: records}})
		if err := errors.Join(err, records.Close()); err != nil {
			t.Error(err)
		}
		if has := len(p.Policy().Witnesses()) == 1; has == bytes.Equal(older, s.sign(t, tiles, 10).Checkpoint) || has != (p.Note() == "") {
			t.Errorf("%d witnesses, %q", len(p.Policy().Witnesses()), p.Note())
		}
	}
}

// Whoever waits for a checkpoint gets it when the log signs one that is large enough.
func TestAwaitSigned(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 60)
	s := withLog(t, dir)
	db := openDB(t, dir, audit.ReadOnly())
	tiles := tilesOf(t, db)
	publish(t, dir, s.sign(t, tiles, 20).Checkpoint)
	if err := db.AwaitSigned(t.Context(), 20); err != nil {
		t.Error(err)
	}
	done := make(chan error)
	go func() { done <- db.AwaitSigned(t.Context(), 60) }()
	publish(t, dir, s.sign(t, tiles, 59).Checkpoint)
	publish(t, dir, s.sign(t, tiles, 60).Checkpoint)
	if err := <-done; err != nil {
		t.Error(err)
	}
	short, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if err := db.AwaitSigned(short, 61); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("too many: %v", err)
	}
}

// newWitness returns the verifier key of a witness, and what adds its cosignature to a checkpoint (c2sp.org/tlog-cosignature).
func newWitness(t *testing.T, name string) (cosign func(signed []byte) []byte, key string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	encoded := append([]byte{4}, public...)
	sum := sha256.Sum256(append([]byte(name+"\n"), encoded...))
	return func(signed []byte) []byte {
		const at = 1_700_000_000
		text, _, _ := bytes.Cut(signed, []byte("\n\n"))
		signature := binary.BigEndian.AppendUint64(bytes.Clone(sum[:4]), at)
		signature = append(signature, ed25519.Sign(private, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s\n", at, text))...)
		return fmt.Appendf(bytes.Clone(signed), "— %s %s\n", name, base64.StdEncoding.EncodeToString(signature))
	}, fmt.Sprintf("%s+%x+%s", name, sum[:4], base64.StdEncoding.EncodeToString(encoded))
}
