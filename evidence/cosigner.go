package evidence

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Cosigner is the private key of a witness, which cosigns checkpoints (c2sp.org/tlog-cosignature, see [Cosignature]). Whoever has it says
// what it has seen: the key alone does not compare anything.
type Cosigner struct {
	name    string
	id      uint32
	private ed25519.PrivateKey
	public  string
}

// GenerateWitnessKey makes a key for a witness with this name, and returns it in note format. The private one begins with PRIVATE+KEY
// and must be kept secret. The public one, the verifier key, stands in the policies of those who trust the witness.
func GenerateWitnessKey(name string) (private, public string, err error) {
	if err := checkName(name); err != nil {
		return "", "", err
	}
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", "", err
	}
	encoded := append([]byte{typeCosignature}, pub...)
	id := keyID(name, encoded)
	return "PRIVATE+KEY+" + keyText(name, id, append([]byte{typeCosignature}, key.Seed()...)), keyText(name, id, encoded), nil
}

// keyText writes a key in note format.
func keyText(name string, id uint32, key []byte) string {
	return fmt.Sprintf("%s+%08x+%s", name, id, base64.StdEncoding.EncodeToString(key))
}

// NewCosigner reads a private key as [GenerateWitnessKey] writes it. An error never has the key in it.
func NewCosigner(private string) (*Cosigner, error) {
	k, err := parsePrivateKey(private, typeCosignature)
	if err != nil {
		return nil, err
	}
	return &Cosigner{k.name, k.id, ed25519.NewKeyFromSeed(k.seed), k.public}, nil
}

// Name returns the name of the witness.
func (c *Cosigner) Name() string { return c.name }

// VerifierKey returns the public key in note format.
func (c *Cosigner) VerifierKey() string { return c.public }

// Cosign returns the line with the cosignature of a signed checkpoint at this time, as a witness answers it and [AddCosignatures] adds
// it. It checks no signature, and not what the checkpoint says: the caller has done so.
func (c *Cosigner) Cosign(signed []byte, at time.Time) ([]byte, error) {
	s, err := parseSigned(signed)
	if err != nil {
		return nil, err
	}
	seconds := at.Unix()
	if seconds <= 0 { // a witness always says when
		return nil, fmt.Errorf("cosign a checkpoint of %q: the clock says %s", s.Origin, at)
	}
	sig := binary.BigEndian.AppendUint32(nil, c.id)
	sig = binary.BigEndian.AppendUint64(sig, uint64(seconds))
	sig = append(sig, ed25519.Sign(c.private, cosigned(seconds, []byte(s.Text())))...)
	return fmt.Appendf(nil, "— %s %s\n", c.name, base64.StdEncoding.EncodeToString(sig)), nil
}

// privateKey is a private key in note format.
type privateKey struct {
	name   string
	id     uint32
	seed   []byte
	public string // the verifier key
}

// parsePrivateKey reads a private key of one type. An error never has the key in it.
func parsePrivateKey(private string, kind byte) (k privateKey, err error) {
	fail := func(why string) (privateKey, error) {
		return privateKey{}, &ParseError{"private key", 0, errors.New(why)}
	}
	rest, ok := strings.CutPrefix(private, "PRIVATE+KEY+")
	if !ok {
		return fail("it does not begin with PRIVATE+KEY+")
	}
	name, rest, _ := strings.Cut(rest, "+")
	id, encoded, ok := strings.Cut(rest, "+")
	if !ok {
		return fail("it does not have the form PRIVATE+KEY+NAME+ID+KEY")
	}
	if err := checkName(name); err != nil {
		return fail(err.Error())
	}
	b, err := parseBase64(encoded)
	switch {
	case err != nil:
		return fail(err.Error())
	case len(b) == 1+ed25519.SeedSize && b[0] == typeEd25519 && kind == typeCosignature:
		return fail("it is the key of a log, and not that of a witness")
	case len(b) == 1+ed25519.SeedSize && b[0] == typeCosignature && kind == typeEd25519:
		return fail("it is the key of a witness, and not that of a log")
	case len(b) != 1+ed25519.SeedSize || b[0] != kind:
		return fail("it is not an Ed25519 key")
	}
	public := append([]byte{kind}, ed25519.NewKeyFromSeed(b[1:]).Public().(ed25519.PublicKey)...)
	k = privateKey{name: name, id: keyID(name, public), seed: b[1:]}
	if id != fmt.Sprintf("%08x", k.id) {
		return fail("the id does not fit name and key: one of them was changed")
	}
	k.public = keyText(name, k.id, public)
	return k, nil
}
