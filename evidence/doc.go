// Package evidence checks what left a store: that a record is in the log that somebody signed, byte for byte, and that
// one head of the log continues another. It needs no store, no network and no clock.
//
//	record ──► leaf ──┐
//	index, hashes ────┴──► root  =  checkpoint: origin, size, root  ◄──  signatures of log and witnesses
//	└── from the proof                └── from the proof                 └── by keys of the policy
//
// A verifier has three things: the record, its proof (a .tlog-proof file, which has the checkpoint in it), and a policy
// that it got from somewhere else than the proof.
//
//	policy, err := evidence.KeyPolicy("log.example.com+bc122752+AW1E+Tn4KdQ1mLze3akN4B22n6pQyqM+jGwyikuQDU2s")
//	…
//	v := evidence.Verify(record, proof, policy)
//	if v.Outcome != evidence.Proven {
//		return v.Err()
//	}
//
// There are three outcomes:
//
//   - Proven: everything fits.
//   - Refuted: something does not fit. The record, the proof or the checkpoint was changed, or somebody lies.
//   - Undecided: this verifier cannot tell. The key is unknown, too few witnesses signed, or a text is not in its format.
//
// [Verdict.Reason] says why something is not proven. Only Proven proves anything.
//
// The formats are public, so that no program of auditsql is needed:
//
//   - leaf, tree and proofs: RFC 6962, section 2.1 (package tree)
//   - signed note, key: c2sp.org/signed-note
//   - checkpoint: c2sp.org/tlog-checkpoint, three lines, no extension lines; the name of the key is the origin
//   - cosignature: c2sp.org/tlog-cosignature, the Ed25519 form
//   - proof: c2sp.org/tlog-proof@v1
//   - policy: c2sp.org/tlog-policy
//
// A proof and a checkpoint have one accepted form, so that two readers never disagree on what it says: line feeds alone,
// no leading zeros, canonical base64, nothing added. Everything else gets a [ParseError], which names the line.
//
// The package leaves to others where checkpoints are kept, which of them are compared, and where a policy comes from.
// Package bundle has evidence as files.
//
// A proof does not show that what the record says is true. Nor does it show that a list of records is complete:
// [VerifyRange] and [VerifyExport] show that.
package evidence
