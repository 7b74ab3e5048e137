package evidence

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/auditsql/auditsql/tree"
)

// Checkpoint is the head of a log: how many records it has, and the root of the tree over them. As a text it has
// three lines (c2sp.org/tlog-checkpoint):
//
//	log.example.com
//	4
//	r3vyvYwxsWfT1OiXxeUy/H1JBmoYVnkh+qatxKCc6gM=
type Checkpoint struct {
	Origin string    // which log: the name of its key
	Size   int64     // number of records
	Root   tree.Hash // of the tree of Size
}

// Text returns the three lines, which are what a log signs.
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.Root)
}

// Sign returns the checkpoint as a signed note (c2sp.org/signed-note). The name of the key must be the origin.
func Sign(c Checkpoint, key note.Signer) ([]byte, error) {
	if err := checkName(c.Origin); err != nil {
		return nil, fmt.Errorf("sign a checkpoint of %q: %w", c.Origin, err)
	}
	if key.Name() != c.Origin {
		return nil, fmt.Errorf("sign a checkpoint of %q: the key is of %q", c.Origin, key.Name())
	}
	if c.Size < 0 || c.Size > tree.MaxSize {
		return nil, fmt.Errorf("sign a checkpoint of %q: a log has 0 to %d records, not %d", c.Origin, int64(tree.MaxSize), c.Size)
	}
	return note.Sign(&note.Note{Text: c.Text()}, key)
}

// AddSignature adds the signature of one more key of the log to a signed checkpoint, which keeps those that it has. So a verifier
// that knows only one of the keys takes the checkpoint. No signature that is there already is checked.
func AddSignature(signed []byte, key note.Signer) ([]byte, error) {
	s, err := parseSigned(signed)
	if err != nil {
		return nil, err
	}
	alone, err := Sign(s.Checkpoint, key)
	if err != nil {
		return nil, err
	}
	by, err := parseSigned(alone)
	if err != nil {
		return nil, err
	}
	s.signatures = slices.DeleteFunc(s.signatures, func(old signature) bool { return old.name == key.Name() && old.id == key.KeyHash() })
	s.signatures = append(s.signatures, by.signatures...)
	b := s.bytes()
	if _, err := parseSigned(b); err != nil {
		return nil, fmt.Errorf("with the signature of %s+%08x: %w", key.Name(), key.KeyHash(), err)
	}
	return b, nil
}

// ReadUnverified reads a signed checkpoint without checking a signature. Anybody can have written it: it is good for
// showing what a file says, and for nothing else.
func ReadUnverified(signed []byte) (Checkpoint, error) {
	s, err := parseSigned(signed)
	return s.Checkpoint, err
}

// signedCheckpoint is a checkpoint with its signatures, in the order of their lines. None is checked.
type signedCheckpoint struct {
	Checkpoint
	signatures []signature
}

// signature is one line of a signed note.
type signature struct {
	name  string
	id    uint32
	line  string // as it stands in the note, without its end
	bytes []byte // after the id
}

// by reports whether it claims to be by the key.
func (s signature) by(k verifierKey) bool { return s.name == k.name && s.id == k.id }

func (s signedCheckpoint) bytes() []byte {
	var b strings.Builder
	b.WriteString(s.Text() + "\n")
	for _, sig := range s.signatures {
		b.WriteString(sig.line + "\n")
	}
	return []byte(b.String())
}

func parseSigned(b []byte) (signedCheckpoint, error) {
	t, err := newText("checkpoint", b)
	if err != nil {
		return signedCheckpoint{}, err
	}
	return t.signedCheckpoint()
}

// signedCheckpoint takes all lines that are left as a signed checkpoint.
func (t *text) signedCheckpoint() (s signedCheckpoint, err error) {
	none := signedCheckpoint{}
	line, _ := t.next()
	if err := checkName(line); err != nil {
		return none, t.errorf("the origin: %w", err)
	}
	s.Origin = line
	line, _ = t.next()
	if s.Size, err = parseNumber(line); err != nil {
		return none, t.errorf("the size: %w", err)
	}
	line, _ = t.next()
	if s.Root, err = parseHash(line); err != nil {
		return none, t.errorf("the root: %w", err)
	}
	if line, ok := t.next(); !ok {
		return none, t.errorf("it is not signed: an empty line and signatures are missing")
	} else if line != "" {
		return none, t.errorf("an extension line: a checkpoint has three lines, an empty one and signatures")
	}
	s.signatures, err = t.signatures()
	if err != nil {
		return none, err
	}
	return s, nil
}

// maxSignatures is how many signatures a note may have, as in package note.
const maxSignatures = 100

// signatures takes all lines that are left as signatures.
func (t *text) signatures() ([]signature, error) {
	var all []signature
	for len(t.lines) > 0 {
		line, _ := t.next()
		rest, ok := strings.CutPrefix(line, "— ")
		if !ok {
			return nil, t.errorf("it is not a signature: a signature begins with an em dash and a space")
		}
		name, encoded, _ := strings.Cut(rest, " ")
		if err := checkName(name); err != nil {
			return nil, t.errorf("the key of the signature: %w", err)
		}
		b, err := parseBase64(encoded)
		if err != nil {
			return nil, t.errorf("the signature: %w", err)
		}
		if len(b) <= 4 {
			return nil, t.errorf("the signature has %d bytes: the id of the key alone has 4", len(b))
		}
		if slices.ContainsFunc(all, func(s signature) bool { return s.line == line }) {
			return nil, t.errorf("the signature is there twice")
		}
		if len(all) == maxSignatures {
			return nil, t.errorf("more than %d signatures", maxSignatures)
		}
		all = append(all, signature{name, binary.BigEndian.Uint32(b), line, b[4:]})
	}
	if len(all) == 0 {
		t.line++
		return nil, t.errorf("signatures are missing")
	}
	return all, nil
}

// FormatHashes writes hashes as proofs have them: in base64, one a line.
func FormatHashes(hashes []tree.Hash) []byte {
	var b []byte
	for _, h := range hashes {
		b = base64.StdEncoding.AppendEncode(b, h[:])
		b = append(b, '\n')
	}
	return b
}

// ParseHashes reads what [FormatHashes] writes, and nothing else.
func ParseHashes(b []byte) ([]tree.Hash, error) {
	if len(b) == 0 {
		return []tree.Hash{}, nil
	}
	t, err := newText("hashes", b)
	if err != nil {
		return nil, err
	}
	hashes := []tree.Hash{}
	for len(t.lines) > 0 {
		line, _ := t.next()
		h, err := parseHash(line)
		if err != nil {
			return nil, t.errorf("%w", err)
		}
		hashes = append(hashes, h)
	}
	return hashes, nil
}
