package interop

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/torchwood"
	f_log "github.com/transparency-dev/formats/log"
	f_proof "github.com/transparency-dev/formats/proof"
	f_witness "github.com/transparency-dev/formats/witness"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// log is a folder with evidence from a log of eleven records, as package bundle wrote it.
var log = filepath.Join("..", "evidence", "testdata", "log")

func read(t *testing.T, name ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{log}, name...)...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// An auditor who has none of our code proves a bundle with the verifiers of others, and nothing that was changed.
func TestABundleByOthers(t *testing.T) {
	t.Parallel()
	key, err := note.NewVerifier(strings.TrimSpace(string(read(t, "key"))))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := f_witness.ParsePolicy(read(t, "bundle", "policy"))
	if err != nil {
		t.Fatal(err)
	}
	records, err := filepath.Glob(filepath.Join(log, "bundle", "records", "*.json"))
	if err != nil || len(records) != 2 {
		t.Fatalf("%d records: %v", len(records), err)
	}
	for _, name := range records {
		record, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(strings.TrimSuffix(name, ".json") + ".tlog-proof")
		if err != nil {
			t.Fatal(err)
		}
		for what, c := range map[string]struct {
			record, proof []byte
			proven        bool
		}{
			"as it is":         {record, text, true},
			"another record":   {append(bytes.Clone(record), '\n'), text, false},
			"another index":    {record, bytes.Replace(text, []byte("index "), []byte("index 1"), 1), false},
			"another size":     {record, bytes.Replace(text, []byte("\n11\n"), []byte("\n12\n"), 1), false},
			"one hash missing": {record, without(text, 2), false},
		} {
			if err := byFormats(c.record, c.proof, key, policy); (err == nil) != c.proven {
				t.Errorf("%s, %s, transparency-dev: %v", name, what, err)
			}
			if err := byTorchwood(c.record, c.proof, key); (err == nil) != c.proven {
				t.Errorf("%s, %s, torchwood and tlog: %v", name, what, err)
			}
		}
	}
}

func without(text []byte, line int) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	return bytes.Join(append(append([][]byte{}, lines[:line]...), lines[line+1:]...), nil)
}

// byFormats checks a record with what transparency-dev has.
func byFormats(record, text []byte, key note.Verifier, policy f_witness.Group) error {
	var p f_proof.TLogProof
	if err := p.Unmarshal(text); err != nil {
		return err
	}
	c, _, _, err := f_log.ParseCheckpoint(p.Checkpoint, key.Name(), key)
	if err != nil {
		return err
	}
	if !policy.Satisfied(p.Checkpoint) {
		return os.ErrPermission
	}
	hashes := make([][]byte, len(p.Hashes))
	for i, h := range p.Hashes {
		hashes[i] = h[:]
	}
	return proof.VerifyInclusion(rfc6962.DefaultHasher, p.Index, c.Size, rfc6962.DefaultHasher.HashLeaf(record), hashes, c.Hash)
}

// byTorchwood checks a record with torchwood's checkpoints and the tree of the Go checksum database.
func byTorchwood(record, text []byte, key note.Verifier) error {
	var p f_proof.TLogProof
	if err := p.Unmarshal(text); err != nil {
		return err
	}
	n, err := note.Open(p.Checkpoint, note.VerifierList(key))
	if err != nil {
		return err
	}
	c, err := torchwood.ParseCheckpoint(n.Text)
	if err != nil {
		return err
	}
	hashes := make(tlog.RecordProof, len(p.Hashes))
	for i, h := range p.Hashes {
		hashes[i] = tlog.Hash(h)
	}
	return tlog.CheckRecord(hashes, c.N, c.Hash, int64(p.Index), tlog.RecordHash(record))
}

// The records of a range lead from the older checkpoint to the newer one, in a compact range of transparency-dev.
func TestARangeByOthers(t *testing.T) {
	t.Parallel()
	key, err := note.NewVerifier(strings.TrimSpace(string(read(t, "key"))))
	if err != nil {
		t.Fatal(err)
	}
	head := func(name ...string) *f_log.Checkpoint {
		c, _, _, err := f_log.ParseCheckpoint(read(t, name...), key.Name(), key)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	older, newer := head("bundle", "range", "older.checkpoint"), head("bundle", "range", "newer.checkpoint")
	rf := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	grow := func(r *compact.Range, lines []byte) {
		for line := range bytes.Lines(lines) {
			if err := r.Append(rfc6962.DefaultHasher.HashLeaf(bytes.TrimSuffix(line, []byte("\n"))), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	rootOf := func(r *compact.Range) []byte {
		root, err := r.GetRootHash(nil)
		if err != nil {
			t.Fatal(err)
		}
		return root
	}
	r, err := rf.NewRange(0, older.Size, base64Lines(t, read(t, "bundle", "range", "edge")))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(rootOf(r), older.Hash) {
		t.Error("the edge does not have the older root")
	}
	grow(r, read(t, "bundle", "range", "records.ndjson"))
	if r.End() != newer.Size || !bytes.Equal(rootOf(r), newer.Hash) {
		t.Error("the records do not lead to the newer root")
	}
	whole := rf.NewEmptyRange(0)
	grow(whole, read(t, "export.ndjson"))
	if at := head("checkpoint"); whole.End() != at.Size || !bytes.Equal(rootOf(whole), at.Hash) {
		t.Error("the export does not have the root of the checkpoint")
	}
	hashes := base64Lines(t, read(t, "consistency"))
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, older.Size, newer.Size, hashes, older.Hash, newer.Hash); err != nil {
		t.Errorf("the proof between the checkpoints: %v", err)
	}
}

func base64Lines(t *testing.T, text []byte) (all [][]byte) {
	t.Helper()
	for line := range strings.Lines(string(text)) {
		b, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(line, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}
