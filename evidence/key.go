package evidence

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Signature types of c2sp.org/signed-note: the first byte of the key in a verifier key.
const (
	typeEd25519     = 0x01 // a log's
	typeCosignature = 0x04 // a witness's, with the time: c2sp.org/tlog-cosignature
)

// verifierKey is a public key in note format: name+id+base64(type ‖ key), the id being the first four bytes of
// SHA-256(name ‖ "\n" ‖ type ‖ key) in hex.
type verifierKey struct {
	text   string
	name   string
	id     uint32
	kind   byte
	public [ed25519.PublicKeySize]byte
}

func keyID(name string, encoded []byte) uint32 {
	h := sha256.New()
	h.Write([]byte(name + "\n"))
	h.Write(encoded)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// parseVerifierKey reads the one form of a verifier key.
func parseVerifierKey(s string) (k verifierKey, err error) {
	fail := func(format string, args ...any) (verifierKey, error) {
		return k, &ParseError{"verifier key", 0, fmt.Errorf(format, args...)}
	}
	name, rest, _ := strings.Cut(s, "+")
	id, encoded, ok := strings.Cut(rest, "+")
	if !ok {
		return fail("it does not have the form NAME+ID+KEY")
	}
	if err := checkName(name); err != nil {
		return fail("%w", err)
	}
	if b, err := hex.DecodeString(id); err != nil || len(b) != 4 || hex.EncodeToString(b) != id {
		return fail("the id %q is not 8 digits of lower-case hex", id)
	}
	b, err := parseBase64(encoded)
	if err != nil {
		return fail("the key: %w", err)
	}
	if len(b) == 0 || b[0] != typeEd25519 && b[0] != typeCosignature {
		return fail("the key has a type that is not supported: a log has type 1 (Ed25519), a witness type 4 (its cosignature)")
	}
	if len(b) != 1+ed25519.PublicKeySize {
		return fail("the key has %d bytes, not %d", len(b), 1+ed25519.PublicKeySize)
	}
	k = verifierKey{s, name, keyID(name, b), b[0], [ed25519.PublicKeySize]byte(b[1:])}
	if want := fmt.Sprintf("%08x", k.id); id != want {
		return fail("the id is %s, but name and key have %s: one of them was changed", id, want)
	}
	return k, nil
}

// verifier returns what checks the key's signatures.
func (k verifierKey) verifier() (note.Verifier, error) {
	if k.kind == typeCosignature {
		return witnessVerifier{k}, nil
	}
	return note.NewVerifier(k.text)
}

// CheckOrigin returns why a text cannot be the name of a log, and nil when it can.
func CheckOrigin(origin string) error { return checkName(origin) }

// GenerateKey makes a key for a log with this origin, and returns it in note format. The private one begins with
// PRIVATE+KEY and must be kept secret. The public one, the verifier key, is given away.
func GenerateKey(origin string) (private, public string, err error) {
	if err := checkName(origin); err != nil {
		return "", "", err
	}
	return note.GenerateKey(rand.Reader, origin)
}

// Signer is the private key of a log, which signs its checkpoints. It implements [note.Signer].
type Signer struct {
	note.Signer
	public string
}

// NewSigner reads a private key as [GenerateKey] writes it. An error never has the key in it.
func NewSigner(private string) (*Signer, error) {
	k, err := parsePrivateKey(private, typeEd25519)
	if err != nil {
		return nil, err
	}
	s, err := note.NewSigner(private)
	if err != nil {
		return nil, &ParseError{"private key", 0, err}
	}
	return &Signer{s, k.public}, nil
}

// VerifierKey returns the public key in note format.
func (s *Signer) VerifierKey() string { return s.public }
