package interop

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	f_log "github.com/transparency-dev/formats/log"
	f_note "github.com/transparency-dev/formats/note"
	m_compact "github.com/transparency-dev/merkle/compact"
	m_proof "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	t_client "github.com/transparency-dev/witness/client/http"
	t_witness "github.com/transparency-dev/witness/witness"
	"golang.org/x/mod/sumdb/note"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/memlog"
	"github.com/auditsql/auditsql/evidence"
)

// theirTree is a tree of transparency-dev over records.
type theirTree struct {
	leaves [][]byte
	nodes  map[m_compact.NodeID][]byte
}

func newTheirTree(records [][]byte) *theirTree {
	tr := &theirTree{nodes: map[m_compact.NodeID][]byte{}}
	r := (&m_compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for _, record := range records {
		tr.leaves = append(tr.leaves, rfc6962.DefaultHasher.HashLeaf(record))
		tr.nodes[m_compact.NewNodeID(0, uint64(len(tr.leaves)-1))] = tr.leaves[len(tr.leaves)-1]
		r.Append(tr.leaves[len(tr.leaves)-1], func(id m_compact.NodeID, hash []byte) { tr.nodes[id] = hash })
	}
	return tr
}

func (tr *theirTree) root(t *testing.T, size uint64) []byte {
	t.Helper()
	r := (&m_compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for _, leaf := range tr.leaves[:size] {
		if err := r.Append(leaf, nil); err != nil {
			t.Fatal(err)
		}
	}
	root, err := r.GetRootHash(nil)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func (tr *theirTree) consistency(t *testing.T, old, size uint64) [][]byte {
	t.Helper()
	nodes, err := m_proof.Consistency(old, size)
	if err != nil {
		t.Fatal(err)
	}
	var hashes [][]byte
	for _, id := range nodes.IDs {
		hashes = append(hashes, tr.nodes[id])
	}
	hashes, err = nodes.Rehash(hashes, rfc6962.DefaultHasher.HashChildren)
	if err != nil {
		t.Fatal(err)
	}
	return hashes
}

// checkpoint is a checkpoint of formats, signed by the package note of Go.
func (tr *theirTree) checkpoint(t *testing.T, signer note.Signer, size uint64) []byte {
	t.Helper()
	c := f_log.Checkpoint{Origin: signer.Name(), Size: size, Hash: tr.root(t, size)}
	signed, err := note.Sign(&note.Note{Text: string(c.Marshal())}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// theirLog makes a key of a log with the package note of Go.
func theirLog(t *testing.T, name string) (note.Signer, string) {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, public
}

// streamed are the canonical records that a stream gets, from one number up to another.
func streamed(t *testing.T, from, to int) (records [][]byte, messages []cluster.Message) {
	t.Helper()
	for i := from; i < to; i++ {
		q := &audit.QueryAudit{Timestamp: uint64(1_700_000_000_000 + i), ResultConfidence: 0.5, Attributes: map[string]any{"number": i}}
		id, err := q.ID()
		if err != nil {
			t.Fatal(err)
		}
		q.QueryID = id
		raw, err := q.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		records, messages = append(records, raw), append(messages, cluster.NewRecord(id, raw))
	}
	return records, messages
}

// nodeWitness serves a node that has these messages as a witness of a log.
func nodeWitness(t *testing.T, logKey string, messages []cluster.Message) (at *url.URL, private, key string) {
	t.Helper()
	private, key, err := evidence.GenerateWitnessKey("node.example.org/w1")
	if err != nil {
		t.Fatal(err)
	}
	cosigner, err := evidence.NewCosigner(private)
	if err != nil {
		t.Fatal(err)
	}
	stream := memlog.New(3)
	t.Cleanup(stream.Close)
	for _, done := range stream.Append(t.Context(), messages) {
		if done.Err != nil {
			t.Fatal(done.Err)
		}
	}
	n, err := cluster.Open(t.Context(), filepath.Join(t.TempDir(), "node"), stream, cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	if err := n.WaitFor(t.Context(), uint64(len(messages))); err != nil {
		t.Fatal(err)
	}
	w, err := n.Witness(t.Context(), cluster.WitnessOptions{
		Key: cosigner, Memory: filepath.Join(t.TempDir(), "witness.key.witnessed"), Logs: []string{logKey}, Wait: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	if at, err = url.Parse(server.URL); err != nil {
		t.Fatal(err)
	}
	return at, private, key
}

// torchwoodVerifier is torchwood's verifier of a witness's key. It makes one from the private key alone.
func torchwoodVerifier(t *testing.T, private string) *torchwood.CosignatureVerifier {
	t.Helper()
	parts := strings.SplitN(private, "+", 5) // PRIVATE, KEY, the name, the id, the key, which may have more of them
	key, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil {
		t.Fatal(err)
	}
	s, err := torchwood.NewCosignatureSigner(parts[2], ed25519.NewKeyFromSeed(key[1:]))
	if err != nil {
		t.Fatal(err)
	}
	return s.Verifier()
}

// A node answers the client of transparency-dev as c2sp.org/tlog-witness says, whatever goes wrong. formats and torchwood accept its
// cosignature.
func TestANodeAsTheWitnessOfOthers(t *testing.T) {
	t.Parallel()
	signer, logKey := theirLog(t, origin)
	records, messages := streamed(t, 0, 300)
	at, private, key := nodeWitness(t, logKey, messages)
	client := t_client.NewWitness(at, http.DefaultClient)
	whole := newTheirTree(records)
	more, _ := streamed(t, 1000, 1100)
	longer := newTheirTree(append(append([][]byte{}, records...), more...))
	fork := newTheirTree(append(append([][]byte{}, records[:100]...), more...))
	sameName, _ := theirLog(t, origin)
	otherLog, _ := theirLog(t, origin+"/other")

	logVerifier, err := note.NewVerifier(logKey)
	if err != nil {
		t.Fatal(err)
	}
	formats, err := f_note.NewVerifierForCosignatureV1(key)
	if err != nil {
		t.Fatal(err)
	}
	tw := torchwoodVerifier(t, private)
	if tw.String() != key {
		t.Errorf("torchwood writes the key as %s, and we as %s", tw, key)
	}
	cosigned := func(size uint64, answer []byte, began time.Time) {
		t.Helper()
		signed := append(whole.checkpoint(t, signer, size), answer...)
		for who, v := range map[string]note.Verifier{"formats": formats, "torchwood": tw} {
			n, err := note.Open(signed, note.VerifierList(logVerifier, v))
			if err != nil || len(n.Sigs) != 2 || len(n.UnverifiedSigs) != 0 {
				t.Fatalf("%d, %s: %+v, %v\n%s", size, who, n, err, signed)
			}
			when, err := f_note.CoSigV1Timestamp(n.Sigs[1])
			if err != nil || when.Before(began.Truncate(time.Second)) || when.After(time.Now()) {
				t.Errorf("%d, %s: cosigned at %v, %v", size, who, when, err)
			}
		}
		// It says nothing about another checkpoint.
		if n, err := note.Open(append(whole.checkpoint(t, signer, size-1), answer...), note.VerifierList(formats)); err == nil {
			t.Errorf("%d: it fits another checkpoint: %+v", size, n)
		}
	}
	for _, c := range []struct {
		name       string
		old        uint64
		checkpoint []byte
		proof      [][]byte
		want       error
		size       uint64 // that the witness names
		cosigns    uint64
	}{
		{"the first one", 0, whole.checkpoint(t, signer, 100), nil, nil, 0, 100},
		{"a stale client", 0, whole.checkpoint(t, signer, 257), nil, t_witness.ErrCheckpointStale, 100, 0},
		{"a proof that lacks a hash", 100, whole.checkpoint(t, signer, 257), whole.consistency(t, 100, 257)[1:], t_witness.ErrInvalidProof, 0, 0},
		{"the next one", 100, whole.checkpoint(t, signer, 257), whole.consistency(t, 100, 257), nil, 0, 257},
		{"the same once more", 257, whole.checkpoint(t, signer, 257), nil, nil, 0, 257},
		{"a smaller one", 100, whole.checkpoint(t, signer, 200), whole.consistency(t, 100, 200), t_witness.ErrCheckpointStale, 257, 0},
		{"an old size that is too large", 257, whole.checkpoint(t, signer, 200), nil, t_witness.ErrOldSizeInvalid, 0, 0},
		{"another log", 257, whole.checkpoint(t, otherLog, 300), whole.consistency(t, 257, 300), t_witness.ErrUnknownLog, 0, 0},
		{"another key of the log's name", 257, whole.checkpoint(t, sameName, 300), whole.consistency(t, 257, 300), t_witness.ErrNoValidSignature, 0, 0},
		{"another history", 257, longer.checkpoint(t, signer, 300), fork.consistency(t, 100, 200), t_witness.ErrInvalidProof, 0, 0},
		{"all that the node has", 257, whole.checkpoint(t, signer, 300), whole.consistency(t, 257, 300), nil, 0, 300},
	} {
		began := time.Now()
		answer, size, err := client.Update(t.Context(), c.old, c.checkpoint, c.proof)
		if !errors.Is(err, c.want) || size != c.size || (len(answer) > 0) != (c.cosigns > 0) {
			t.Errorf("%s: %q, size %d, %v; want size %d, %v", c.name, answer, size, err, c.size, c.want)
			continue
		}
		if c.cosigns > 0 {
			cosigned(c.cosigns, answer, began)
		}
	}
	// It continues what was cosigned, and the node has no such records: no witness but a node sees that.
	if answer, _, err := client.Update(t.Context(), 300, longer.checkpoint(t, signer, 400), longer.consistency(t, 300, 400)); err == nil {
		t.Errorf("records that the stream does not have were cosigned: %q", answer)
	}
}

// A log of Tessera with the records of a stream is published when a node has cosigned it, and our policy accepts the checkpoint.
func TestANodeCosignsALogOfTessera(t *testing.T) {
	t.Parallel()
	signer, logKey := theirLog(t, origin)
	records, messages := streamed(t, 0, 40)
	at, _, key := nodeWitness(t, logKey, messages)
	witness, err := tessera.NewWitness(key, at)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	driver, err := posix.New(ctx, posix.Config{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(signer).WithBatching(10, 10*time.Millisecond).WithCheckpointInterval(time.Second).
		WithWitnesses(tessera.NewWitnessGroup(1, witness), nil))
	if err != nil {
		t.Fatal(err)
	}
	published := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 50*time.Millisecond)
	policy := mustPolicy(t, "log "+logKey, fmt.Sprintf("witness node %s %s", key, at), "quorum node")
	for i, record := range records {
		index, err := appender.Add(ctx, tessera.NewEntry(record))()
		if err != nil || index.Index != uint64(i) {
			t.Fatalf("record %d: %+v, %v", i, index, err)
		}
		if i != len(records)/2 && i != len(records)-1 {
			continue
		}
		_, checkpoint, err := published.Await(ctx, func() (tessera.Index, error) { return index, nil })
		if err != nil {
			t.Fatal(err)
		}
		if v := evidence.VerifyCheckpoint(checkpoint, policy); v.Outcome != evidence.Proven || v.Checkpoint.Size <= int64(i) {
			t.Errorf("after record %d: %+v\n%s", i, v, bytes.TrimSpace(checkpoint))
		}
	}
	if err := shutdown(ctx); err != nil {
		t.Error(err)
	}
}
