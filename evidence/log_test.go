package evidence_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/tree"
)

const origin = "log.example.com"

// keyText writes a key in note format: the same seed has the same key.
func keyText(name string, kind byte, seed byte) (private, public string, key ed25519.PrivateKey) {
	key = ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), ed25519.SeedSize)))
	pub := append([]byte{kind}, key.Public().(ed25519.PublicKey)...)
	sum := sha256.Sum256(append([]byte(name+"\n"), pub...))
	id := fmt.Sprintf("%x", sum[:4])
	public = name + "+" + id + "+" + base64.StdEncoding.EncodeToString(pub)
	private = "PRIVATE+KEY+" + name + "+" + id + "+" + base64.StdEncoding.EncodeToString(append([]byte{kind}, key.Seed()...))
	return private, public, key
}

// testLog is a log that grows in memory, with its key.
type testLog struct {
	t       testing.TB
	signer  *evidence.Signer
	records [][]byte
	edge    tree.Edge
	tiles   map[[2]int64][]byte
}

func newLog(t testing.TB, origin string, seed byte) *testLog {
	t.Helper()
	private, public, _ := keyText(origin, 1, seed)
	signer, err := evidence.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	if signer.VerifierKey() != public {
		t.Fatalf("the verifier key is %s, not %s", signer.VerifierKey(), public)
	}
	return &testLog{t: t, signer: signer, tiles: map[[2]int64][]byte{}}
}

func (l *testLog) grow(size int) *testLog {
	for n := len(l.records); n < size; n++ {
		record := fmt.Appendf(nil, `{"query_id":"%064x","agent_id":null}`, n)
		l.records = append(l.records, record)
		for _, full := range l.edge.Append(tree.LeafHash(record)) {
			l.tiles[[2]int64{int64(full.Level), full.N}] = full.Hashes
		}
	}
	return l
}

func (l *testLog) reader() tree.TileReader {
	return l.edge.Reader(func(level int, n int64) ([]byte, error) { return l.tiles[[2]int64{int64(level), n}], nil })
}

// head signs the log as it was at the size.
func (l *testLog) head(size int64) []byte {
	l.t.Helper()
	root, err := tree.Root(l.reader(), size)
	if err != nil {
		l.t.Fatal(err)
	}
	signed, err := evidence.Sign(evidence.Checkpoint{Origin: l.signer.Name(), Size: size, Root: root}, l.signer)
	if err != nil {
		l.t.Fatal(err)
	}
	return signed
}

func (l *testLog) proof(index, size int64, signed []byte) []byte {
	l.t.Helper()
	hashes, err := tree.Inclusion(l.reader(), index, size)
	if err != nil {
		l.t.Fatal(err)
	}
	return (&evidence.Proof{Index: index, Hashes: hashes, Checkpoint: signed}).Text()
}

func (l *testLog) policy(more ...string) *evidence.Policy {
	return mustPolicy(l.t, append([]string{"log " + l.signer.VerifierKey()}, more...)...)
}

func mustPolicy(t testing.TB, lines ...string) *evidence.Policy {
	t.Helper()
	p, err := evidence.ParsePolicy([]byte(strings.Join(lines, "\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// testWitness cosigns whatever it gets.
type testWitness struct {
	name, public string
	key          ed25519.PrivateKey
	id           uint32
}

func newWitness(name string, seed byte) *testWitness {
	_, public, key := keyText(name, 4, seed)
	sum := sha256.Sum256(append([]byte(name+"\n\x04"), key.Public().(ed25519.PublicKey)...))
	return &testWitness{name, public, key, binary.BigEndian.Uint32(sum[:])}
}

// cosign returns the line that the witness answers.
func (w *testWitness) cosign(signed []byte, at uint64) []byte {
	return w.cosignAs(signed, at, fmt.Sprint(at))
}

// cosignAs signs another text for the time than the one that the bytes of the signature have.
func (w *testWitness) cosignAs(signed []byte, at uint64, written string) []byte {
	text, _, _ := strings.Cut(string(signed), "\n\n")
	msg := "cosignature/v1\ntime " + written + "\n" + text + "\n"
	b := binary.BigEndian.AppendUint32(nil, w.id)
	b = binary.BigEndian.AppendUint64(b, at)
	b = append(b, ed25519.Sign(w.key, []byte(msg))...)
	return fmt.Appendf(nil, "— %s %s\n", w.name, base64.StdEncoding.EncodeToString(b))
}

// foreignNote signs any text with the key of the log: what the log itself would never sign.
func (l *testLog) foreignNote(text string) []byte {
	l.t.Helper()
	b, err := note.Sign(&note.Note{Text: text}, l.signer)
	if err != nil {
		l.t.Fatal(err)
	}
	return b
}

func want(t testing.TB, what string, v evidence.Verdict, outcome evidence.Outcome, reason evidence.Reason) {
	t.Helper()
	if v.Outcome != outcome || v.Reason != reason {
		t.Errorf("%s: %s, %q (%s); want %s, %q", what, v.Outcome, v.Reason, v.Detail, outcome, reason)
	}
	if (v.Err() == nil) != (outcome == evidence.Proven) {
		t.Errorf("%s: the error is %v", what, v.Err())
	}
}
