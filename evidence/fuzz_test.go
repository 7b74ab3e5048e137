package evidence_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/evidence"
)

// What a parser accepts has one form: written again, it is the same bytes. Nothing makes one panic.

func FuzzProof(f *testing.F) {
	l := newLog(f, origin, 'l').grow(9)
	f.Add(l.proof(3, 9, l.head(9)))
	f.Add(bytes.Replace(l.proof(8, 9, l.head(9)), []byte("index"), []byte("extra AAAA\nindex"), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := evidence.ParseProof(b); err == nil && !bytes.Equal(p.Text(), b) {
			t.Errorf("%q is written as %q", b, p.Text())
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	l := newLog(f, origin, 'l').grow(9)
	w := newWitness("one.example.com", '1')
	policy := l.policy("witness one "+w.public, "quorum none")
	head := l.head(9) // the only one that was ever signed
	f.Add(head)
	f.Add(append(bytes.Clone(head), w.cosign(head, 5)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := evidence.ReadUnverified(b)
		if err == nil && !strings.HasPrefix(string(b), c.Text()+"\n— ") {
			t.Errorf("%q is read as %q", b, c.Text())
		}
		v := evidence.VerifyCheckpoint(b, policy)
		if v.Outcome == evidence.Proven && (err != nil || !strings.HasPrefix(string(head), c.Text())) {
			t.Errorf("%q is proven", b)
		}
	})
}

func FuzzPolicy(f *testing.F) {
	l := newLog(f, origin, 'l').grow(2)
	one, two := newWitness("one.example.com", '1'), newWitness("two.example.com", '2')
	f.Add([]byte(l.policy("witness one "+one.public+" url", "witness two "+two.public, "group g 2 one two", "quorum g").Text()))
	f.Add([]byte("# nothing\nquorum none\n"))
	head := l.head(2)
	head = append(head, one.cosign(head, 5)...)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := evidence.ParsePolicy(b)
		if err != nil {
			return
		}
		if p.Text() != string(b) {
			t.Errorf("%q has the text %q", b, p.Text())
		}
		if v := evidence.VerifyCheckpoint(head, p); v.Outcome == evidence.Proven && !strings.Contains(string(b), l.signer.VerifierKey()) {
			t.Errorf("%q trusts %s", b, v.LogKey)
		}
	})
}

func FuzzKeys(f *testing.F) {
	private, public, _ := keyText(origin, 1, 'k')
	_, witness, _ := keyText("one.example.com", 4, 'w')
	f.Add(private)
	f.Add(public)
	f.Add(witness)
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := evidence.KeyPolicy(s); err == nil && p.Text() != "log "+s+"\nquorum none\n" {
			t.Errorf("%q is in the policy %q", s, p.Text())
		}
		if k, err := evidence.NewSigner(s); err == nil {
			if _, err := evidence.KeyPolicy(k.VerifierKey()); err != nil {
				t.Errorf("%q has the verifier key %q: %v", s, k.VerifierKey(), err)
			}
		}
	})
}

func FuzzAddCosignatures(f *testing.F) {
	l := newLog(f, origin, 'l').grow(9)
	w := newWitness("one.example.com", '1')
	policy := l.policy("witness one "+w.public, "quorum one")
	head := l.head(9)
	f.Add(head, w.cosign(head, 5))
	f.Fuzz(func(t *testing.T, signed, answer []byte) {
		b, err := evidence.AddCosignatures(signed, answer, policy)
		if err != nil {
			return
		}
		if _, err := evidence.ReadUnverified(b); err != nil {
			t.Errorf("%q with %q cannot be read: %v", signed, answer, err)
		}
	})
}

// No record, proof and policy but the real ones are proven.
func FuzzVerify(f *testing.F) {
	l := newLog(f, origin, 'l').grow(9)
	policy := l.policy("quorum none")
	f.Add(l.records[3], l.proof(3, 9, l.head(9)))
	f.Add(l.records[8], l.proof(8, 9, l.head(9)))
	f.Fuzz(func(t *testing.T, record, proof []byte) {
		v := evidence.Verify(record, proof, policy)
		if v.Outcome == evidence.Proven && (v.Index >= 9 || !bytes.Equal(record, l.records[v.Index])) {
			t.Errorf("%q is proven by %q", record, proof)
		}
	})
}
