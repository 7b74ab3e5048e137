package evidence

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"golang.org/x/mod/sumdb/note"

	"github.com/auditsql/auditsql/tree"
)

// Verify checks that the record is in a log that the policy trusts: the bytes of the record (without a line feed at their
// end) are the leaf, the proof leads from the leaf to the root of the checkpoint, the log signed the checkpoint, and
// so did a quorum of witnesses.
//
// It does not show that the content of the record is true, nor that a list of records is complete. For the latter see
// [VerifyRange].
//
// To check many, use a [Verifier].
func Verify(record, proof []byte, policy *Policy) Verdict {
	return NewVerifier(policy).Verify(record, proof)
}

// Verifier is [Verify] for many records. It checks the signatures of a checkpoint once for all proofs, one after the other, that
// lead to it: they take most of the time. Only one goroutine at a time may use a Verifier.
type Verifier struct {
	policy *Policy
	signed []byte  // the checkpoint that was checked last
	found  Verdict // about its signatures
}

// NewVerifier returns a verifier that trusts whom the policy trusts.
func NewVerifier(policy *Policy) *Verifier { return &Verifier{policy: policy} }

// Verify is [Verify] by the policy of the verifier.
func (c *Verifier) Verify(record, proof []byte) Verdict {
	p, s, err := parseProof(proof)
	if err != nil {
		return Verdict{}.not(Unreadable, "%v", err)
	}
	if p.Extra != nil {
		return Verdict{}.not(Unreadable, "proof, line 2: extra data, which no signature covers: the proof of a record has none")
	}
	v := c.signatures(s, p.Checkpoint)
	if v.LogKey == "" {
		return v
	}
	// Check the proof even when too few witnesses signed: if the record is not in the log, that is the more important answer.
	v.Index = p.Index
	err = tree.VerifyInclusion(p.Hashes, p.Index, s.Size, tree.LeafHash(record), s.Root)
	switch {
	case errors.Is(err, tree.ErrProof):
		return v.not(NotIncluded, "the record is not at index %d of the %d records that %s signed: the record, the index or a hash was changed",
			p.Index, s.Size, s.Origin)
	case err != nil:
		return v.not(NotIncluded, "%v", err)
	}
	return v
}

// signatures is checkSignatures for a checkpoint whose text is signed.
func (c *Verifier) signatures(s signedCheckpoint, signed []byte) Verdict {
	if c.signed == nil || !bytes.Equal(signed, c.signed) {
		c.signed, c.found = signed, checkSignatures(s, c.policy)
	}
	v := c.found
	v.Cosignatures = slices.Clone(v.Cosignatures)
	return v
}

// VerifyCheckpoint checks the signatures of a checkpoint: by a log of the policy whose name is the origin, and by a quorum
// of witnesses.
func VerifyCheckpoint(signed []byte, policy *Policy) Verdict {
	s, err := parseSigned(signed)
	if err != nil {
		return Verdict{}.not(Unreadable, "%v", err)
	}
	return checkSignatures(s, policy)
}

// VerifyConsistency checks that the records of the older checkpoint are the first ones of the newer checkpoint: none of
// them was changed, removed or moved. The Checkpoint of the verdict is the newer one. Two checkpoints in the wrong order leave
// it undecided ([NotMatching]).
func VerifyConsistency(old, newer []byte, proof []tree.Hash, policy *Policy) Verdict {
	a, b, v := verifyPair(old, newer, policy)
	if v.Outcome != Proven {
		return v
	}
	if err := tree.VerifyConsistency(proof, a.Size, b.Size, a.Root, b.Root); err != nil {
		return v.not(NotContinued, "the log of %d records is not shown to be the beginning of the log of %d records: %v", a.Size, b.Size, err)
	}
	return v
}

// VerifyRange checks that the records, one a line and in their order, are exactly those that the log got between two
// checkpoints. The frontier is that of the older checkpoint ([tree.ReadFrontier]). Another frontier leaves it undecided
// ([NotMatching]), and so do two checkpoints in the wrong order. The Checkpoint of the verdict is the newer one. An error
// from records ends the check: the verdict is then [Undecided], with the reason [Unreadable]. Records
// are hashed on all processors, a few blocks of 1 MiB at a time.
func VerifyRange(old, newer []byte, frontier *tree.Frontier, records io.Reader, policy *Policy) Verdict {
	a, b, v := verifyPair(old, newer, policy)
	if v.Outcome != Proven {
		return v
	}
	v.Index = a.Size
	if frontier == nil || frontier.Size() != a.Size || frontier.Root() != a.Root {
		// No signature covers the edge, so an edge that does not fit refutes nothing: somebody may have taken the wrong one.
		return v.not(NotMatching, "the right edge is not that of the %d records of the older checkpoint", a.Size)
	}
	return checkRecords(v, a.Size, frontier.Hashes(), records, b)
}

// VerifyExport checks that the records, one a line and in their order, are exactly those that the log had at the checkpoint.
// It reads them as [VerifyRange] does.
func VerifyExport(records io.Reader, signed []byte, policy *Policy) Verdict {
	v := VerifyCheckpoint(signed, policy)
	if v.Outcome != Proven {
		return v
	}
	return checkRecords(v, 0, nil, records, v.Checkpoint)
}

// checkRecords appends the records to the frontier of size leaves, and checks that this gives the size and the root of the
// checkpoint.
func checkRecords(v Verdict, size int64, frontier []tree.Hash, records io.Reader, want Checkpoint) Verdict {
	f, err := tree.NewFrontier(size, frontier)
	if err != nil {
		return v.not(Unreadable, "the right edge: %v", err)
	}
	for leaf, err := range leaves(records) {
		if err != nil {
			return v.not(Unreadable, "record %d: %v", f.Size(), err)
		}
		if f.Size() == want.Size {
			if f.Root() != want.Root {
				break
			}
			return v.not(NotCovered, "there are more records than the %d of the checkpoint: those after it are not covered", want.Size)
		}
		f.Append(leaf)
	}
	switch {
	case f.Size() < want.Size:
		return v.not(OtherRecords, "there are %d records, %s signed %d", f.Size(), want.Origin, want.Size)
	case f.Root() != want.Root:
		return v.not(OtherRecords, "the records are not the %d that %s signed: one was changed, removed, added or moved", want.Size, want.Origin)
	}
	return v
}

// verifyPair checks two checkpoints of one log.
func verifyPair(old, newer []byte, policy *Policy) (a, b Checkpoint, v Verdict) {
	older := VerifyCheckpoint(old, policy)
	if older.Outcome != Proven {
		older.Detail = "the older checkpoint: " + older.Detail
		return a, b, older
	}
	v = VerifyCheckpoint(newer, policy)
	if v.Outcome != Proven {
		v.Detail = "the newer checkpoint: " + v.Detail
		return a, b, v
	}
	a, b = older.Checkpoint, v.Checkpoint
	switch {
	case a.Origin != b.Origin:
		v = v.not(OtherLog, "the checkpoints are of two logs, %s and %s", a.Origin, b.Origin)
	case a.Size > b.Size:
		// Checkpoints do not say when they were signed, so nobody knows that the log has shrunk.
		v = v.not(NotMatching, "the older checkpoint has %d records and the newer one only %d: the two may be exchanged", a.Size, b.Size)
	}
	return a, b, v
}

// checkSignatures checks the signatures of a checkpoint. Every signature by a key of the policy must be valid, even if the
// quorum does not need it, as c2sp.org/signed-note recommends.
func checkSignatures(s signedCheckpoint, policy *Policy) Verdict {
	if policy == nil {
		policy = &Policy{}
	}
	if sig, ok := repeated(s, policy); ok {
		return Verdict{}.not(Unreadable, "checkpoint: two signatures by the key %s+%08x", sig.name, sig.id)
	}
	_, err := note.Open(s.bytes(), verifiers{policy})
	var bad *note.InvalidSignatureError
	var unverified *note.UnverifiedNoteError
	switch {
	case errors.As(err, &bad):
		return Verdict{}.not(BadSignature, "the key %s+%08x did not sign this checkpoint: the checkpoint or the signature was changed", bad.Name, bad.Hash)
	case err != nil && !errors.As(err, &unverified):
		return Verdict{}.not(Unreadable, "checkpoint: %v", err)
	}
	// note.Open has verified every signature by a key of the policy, so below it is enough to look at the keys.
	var v Verdict
	for _, sig := range s.signatures {
		if w, ok := policy.witness(sig); ok {
			at, _ := cosignatureTime(sig.bytes)
			v.Cosignatures = append(v.Cosignatures, Cosignature{w.Name, w.Key, at})
		} else if k, ok := policy.known(sig); ok && k.name == s.Origin {
			v.LogKey = k.text
		}
	}
	if v.LogKey == "" {
		return Verdict{}.not(UnknownKey, "no key that is trusted for the log %s signed the checkpoint", s.Origin)
	}
	v.Checkpoint = s.Checkpoint
	signed := func(witness string) bool {
		return slices.ContainsFunc(v.Cosignatures, func(c Cosignature) bool { return c.Witness == witness })
	}
	if policy.quorum != nil && !policy.quorum.met(signed) {
		return v.not(NoQuorum, "%d of the policy's %d witnesses signed the checkpoint, which is no quorum",
			len(v.Cosignatures), len(policy.witnesses))
	}
	v.Outcome = Proven
	return v
}

// repeated returns the second signature by one key of the policy, if there is one. Package note does not verify that one.
func repeated(s signedCheckpoint, policy *Policy) (signature, bool) {
	for i, sig := range s.signatures {
		k, known := policy.known(sig)
		if known && slices.ContainsFunc(s.signatures[:i], func(earlier signature) bool { return earlier.by(k) }) {
			return sig, true
		}
	}
	return signature{}, false
}
