package interop

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"filippo.io/torchwood"
	f_log "github.com/transparency-dev/formats/log"
	f_note "github.com/transparency-dev/formats/note"
	f_proof "github.com/transparency-dev/formats/proof"
	f_witness "github.com/transparency-dev/formats/witness"
	"golang.org/x/mod/sumdb/note"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/tree"
)

const origin = "log.example.com/a"

// newLog returns the signer of a log, the signed head of some records, and the proof of the record with the index.
func newLog(t *testing.T, size, index int64) (signer *evidence.Signer, head []byte, record []byte, proof *evidence.Proof) {
	t.Helper()
	private, _, err := evidence.GenerateKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	if signer, err = evidence.NewSigner(private); err != nil {
		t.Fatal(err)
	}
	var edge tree.Edge
	for i := range size {
		edge.Append(tree.LeafHash(fmt.Appendf(nil, `{"n":%d}`, i)))
	}
	head, err = evidence.Sign(evidence.Checkpoint{Origin: origin, Size: size, Root: edge.Root()}, signer)
	if err != nil {
		t.Fatal(err)
	}
	hashes, err := tree.Inclusion(edge.Reader(nil), index, size)
	if err != nil {
		t.Fatal(err)
	}
	return signer, head, fmt.Appendf(nil, `{"n":%d}`, index), &evidence.Proof{Index: index, Hashes: hashes, Checkpoint: head}
}

func mustPolicy(t *testing.T, lines ...string) *evidence.Policy {
	t.Helper()
	p, err := evidence.ParsePolicy([]byte(strings.Join(lines, "\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Our checkpoints are read by the others, with our keys, and theirs by us.
func TestCheckpoints(t *testing.T) {
	t.Parallel()
	signer, head, _, _ := newLog(t, 200, 3)
	v, err := note.NewVerifier(signer.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	theirs, rest, n, err := f_log.ParseCheckpoint(head, origin, v)
	if err != nil || len(rest) > 0 || len(n.Sigs) != 1 {
		t.Fatalf("formats: %v", err)
	}
	ours, err := evidence.ReadUnverified(head)
	if err != nil || ours.Size != int64(theirs.Size) || !equal(ours.Root, theirs.Hash) || ours.Text() != string(theirs.Marshal()) {
		t.Errorf("%+v, formats: %+v (%v)", ours, theirs, err)
	}
	tw, err := torchwood.ParseCheckpoint(n.Text)
	if err != nil || tw.Origin != origin || tw.N != 200 || tw.Hash != ours.Root || tw.String() != ours.Text() {
		t.Errorf("torchwood: %+v, %v", tw, err)
	}
	private, public, err := note.GenerateKey(nil, origin)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: string(theirs.Marshal())}, foreign)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := evidence.KeyPolicy(public)
	if err != nil {
		t.Fatal(err)
	}
	if v := evidence.VerifyCheckpoint(signed, policy); v.Err() != nil || v.Checkpoint != ours {
		t.Errorf("a checkpoint of theirs: %v", v.Err())
	}
	if mine, err := evidence.NewSigner(private); err != nil || mine.VerifierKey() != public {
		t.Errorf("a key of theirs: %v", err)
	}
}

// What formats takes and we refuse.
func TestLenientReaders(t *testing.T) {
	t.Parallel()
	_, head, _, p := newLog(t, 200, 3)
	text, signatures, _ := strings.Cut(string(head), "\n\n")
	text += "\n"
	lines := strings.SplitAfter(text, "\n")
	for what, altered := range map[string]string{
		"a leading zero":         strings.Replace(text, "\n200\n", "\n0200\n", 1),
		"a line too many":        text + "extension\n",
		"base64 with spare bits": strings.Replace(text, lines[2], spareBit(lines[2]), 1),
		"a carriage return":      strings.Replace(text, "=\n", "=\r\n", 1),
	} {
		var c f_log.Checkpoint
		if _, err := c.Unmarshal([]byte(altered)); err != nil || altered == text {
			t.Errorf("%s: formats: %v", what, err)
		}
		if _, err := evidence.ReadUnverified([]byte(altered + "\n" + signatures)); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
	proof := string(p.Text())
	for what, altered := range map[string]string{
		"carriage returns":     strings.ReplaceAll(proof, "\n", "\r\n"),
		"a leading zero":       strings.Replace(proof, "index 3", "index 03", 1),
		"no line feed at last": strings.TrimSuffix(proof, "\n"),
		"empty extra data":     strings.Replace(proof, "index 3", "extra \nindex 3", 1),
	} {
		var theirs f_proof.TLogProof
		if err := theirs.Unmarshal([]byte(altered)); err != nil || altered == proof {
			t.Errorf("%s: formats: %v", what, err)
		}
		if _, err := evidence.ParseProof([]byte(altered)); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// spareBit turns a bit of the last digit that no byte uses.
func spareBit(line string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	i := strings.LastIndexByte(line, '=') - 1
	return line[:i] + string(alphabet[strings.IndexByte(alphabet, line[i])^1]) + line[i+1:]
}

// A proof is the same bytes in both.
func TestProofs(t *testing.T) {
	t.Parallel()
	for _, extra := range [][]byte{nil, []byte("extra data")} {
		_, _, _, p := newLog(t, 200, 77)
		p.Extra = extra
		theirs := f_proof.TLogProof{Index: uint64(p.Index), Checkpoint: p.Checkpoint, ExtraData: extra}
		for _, h := range p.Hashes {
			theirs.Hashes = append(theirs.Hashes, h)
		}
		if !bytes.Equal(p.Text(), theirs.Marshal()) {
			t.Errorf("ours:\n%s\nformats:\n%s", p.Text(), theirs.Marshal())
		}
		var read f_proof.TLogProof
		if err := read.Unmarshal(p.Text()); err != nil || !bytes.Equal(read.Marshal(), p.Text()) {
			t.Errorf("formats reads ours: %v\n%s", err, read.Marshal())
		}
		ours, err := evidence.ParseProof(theirs.Marshal())
		if err != nil || !bytes.Equal(ours.Text(), p.Text()) {
			t.Errorf("we read formats': %v", err)
		}
	}
}

// cosigner is a witness of formats or of torchwood.
type cosigner struct {
	note.Signer
	vkey string
}

func cosigners(t *testing.T, n int) []cosigner {
	t.Helper()
	var all []cosigner
	for i := range n {
		name := fmt.Sprintf("w%d.example.com", i+1)
		pub, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		tw, err := torchwood.NewCosignatureSigner(name, key)
		if err != nil {
			t.Fatal(err)
		}
		vkey := fmt.Sprintf("%s+%08x+%s", name, tw.KeyHash(), base64.StdEncoding.EncodeToString(append([]byte{4}, pub...)))
		if tw.Verifier().String() != vkey {
			t.Fatalf("torchwood's key %s, ours %s", tw.Verifier(), vkey)
		}
		if i%2 == 0 {
			all = append(all, cosigner{tw, vkey})
			continue
		}
		skey := fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", name, tw.KeyHash(), base64.StdEncoding.EncodeToString(append([]byte{4}, key.Seed()...)))
		s, err := f_note.NewSignerForCosignatureV1(skey)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, cosigner{s, vkey})
	}
	return all
}

// Cosignatures of both are counted as formats counts them, for every set of witnesses and rules of every kind.
func TestCosignaturesAndQuorum(t *testing.T) {
	t.Parallel()
	signer, head, record, p := newLog(t, 200, 3)
	w := cosigners(t, 5)
	lines := []string{"log " + signer.VerifierKey()}
	for i, c := range w {
		lines = append(lines, fmt.Sprintf("witness w%d %s https://w%d.example.com", i+1, c.vkey, i+1))
	}
	for _, rule := range []string{
		"quorum none", "quorum w1", "group g all w1 w2 w3 w4 w5\nquorum g", "group g any w2 w4\nquorum g", "group g 3 w1 w2 w3 w4 w5\nquorum g",
		"group a 2 w1 w2 w3\ngroup b any w4 w5\ngroup c all a b\nquorum c", "group a all w1 w2\ngroup b 2 a w3 w4\nquorum b",
	} {
		text := strings.Join(append(lines, rule), "\n") + "\n"
		policy := mustPolicy(t, append(lines, rule)...)
		theirs, err := f_witness.ParsePolicy([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for set := range 1 << len(w) {
			var signers []note.Signer
			for i, c := range w {
				if set>>i&1 == 1 {
					signers = append(signers, c)
				}
			}
			v, err := note.NewVerifier(signer.VerifierKey())
			if err != nil {
				t.Fatal(err)
			}
			n, err := note.Open(head, note.VerifierList(v))
			if err != nil {
				t.Fatal(err)
			}
			signed, err := note.Sign(n, signers...)
			if err != nil {
				t.Fatal(err)
			}
			// As a log keeps them: one answer of a witness after the other.
			kept := head
			for line := range strings.Lines(strings.TrimPrefix(string(signed), string(head))) {
				if kept, err = evidence.AddCosignatures(kept, []byte(line), policy); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(kept, signed) {
				t.Fatalf("kept:\n%s\nsigned:\n%s", kept, signed)
			}
			p.Checkpoint = signed
			got := evidence.Verify(record, p.Text(), policy)
			if want := theirs.Satisfied(signed); (got.Outcome == evidence.Proven) != want || got.Outcome == evidence.Refuted || len(got.Cosignatures) != len(signers) {
				t.Errorf("%q, witnesses %05b: %v (%s), formats: %v", rule, set, got.Outcome, got.Detail, want)
			}
		}
	}
}
