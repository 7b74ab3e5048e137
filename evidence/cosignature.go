package evidence

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Cosignature is the statement of a witness that it saw this checkpoint at this time, and that it continues everything which
// the witness had seen of the log before (c2sp.org/tlog-cosignature):
//
//	signature line:  — NAME base64(key id 4 ‖ time 8, big-endian ‖ Ed25519 signature 64)
//	signed bytes:    "cosignature/v1\n" "time T\n", then the text of the checkpoint
type Cosignature struct {
	Witness string // its name in the policy
	Key     string // its verifier key
	Time    int64  // Unix time in seconds, by the clock of the witness
}

// witnessVerifier checks cosignatures. It implements note.Verifier.
type witnessVerifier struct{ key verifierKey }

func (v witnessVerifier) Name() string    { return v.key.name }
func (v witnessVerifier) KeyHash() uint32 { return v.key.id }

func (v witnessVerifier) Verify(msg, sig []byte) bool {
	at, ok := cosignatureTime(sig)
	if !ok {
		return false
	}
	return ed25519.Verify(v.key.public[:], cosigned(at, msg), sig[8:])
}

// cosigned returns the bytes that a witness signs for the text of a checkpoint.
func cosigned(at int64, text []byte) []byte {
	return append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", at), text...)
}

// cosignatureTime returns the time in a cosignature, and whether it has the form of one.
func cosignatureTime(sig []byte) (at int64, ok bool) {
	if len(sig) != 8+ed25519.SignatureSize {
		return 0, false
	}
	t := binary.BigEndian.Uint64(sig)
	return int64(t), t <= math.MaxInt64
}

// AddCosignatures adds the answer of a witness (lines of signatures, c2sp.org/tlog-witness) to a signed checkpoint. It
// adds the cosignatures by witnesses of the policy and leaves out all others. A cosignature takes the place of an older
// one by the same key. One that does not fit the checkpoint is an error, and then nothing is added.
//
// The signatures that the checkpoint has already are not checked: [VerifyCheckpoint] does that.
func AddCosignatures(signed, answer []byte, policy *Policy) ([]byte, error) {
	s, err := parseSigned(signed)
	if err != nil {
		return nil, err
	}
	t, err := newText("signatures", answer)
	if err != nil {
		return nil, err
	}
	added, err := t.signatures()
	if err != nil {
		return nil, err
	}
	if policy == nil {
		policy = &Policy{}
	}
	for _, sig := range added {
		w, ok := policy.witness(sig)
		if !ok {
			continue
		}
		if !(witnessVerifier{w.key}).Verify([]byte(s.Text()), sig.bytes) {
			return nil, fmt.Errorf("the cosignature of %s (%s) does not fit the checkpoint", w.Name, w.Key)
		}
		s.signatures = slices.DeleteFunc(s.signatures, func(old signature) bool { return old.by(w.key) })
		s.signatures = append(s.signatures, sig)
	}
	b := s.bytes()
	if _, err := parseSigned(b); err != nil {
		return nil, fmt.Errorf("with the cosignatures that were added: %w", err)
	}
	return b, nil
}
