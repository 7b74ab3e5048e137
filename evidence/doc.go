// Package evidence checks what left a store: that a record is in the log that somebody signed, byte for byte, and that
// one head of the log continues another. It needs no store, no network and no clock.
//
//	record ──► leaf ─────────┐
//	proof: index, hashes ────┴─► root = checkpoint: origin, size, root ◄── signature of the log
//	                                                                 ◄── cosignatures of witnesses
//	policy: keys of logs and witnesses, quorum
//
// A verifier has three things: the record, its proof (a .tlog-proof file, which has the checkpoint in it), and a policy
// that it got from somewhere else than the proof.
//
//	policy, err := evidence.KeyPolicy("log.example.com+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
//	…
//	v := evidence.Verify(record, proof, policy)
//	if v.Outcome != evidence.Proven {
//		return v.Err()
//	}
//
// There are three outcomes. Proven: all of it fits. Refuted: it cannot be true, and [Verdict.Reason] says why. Undecided: it
// may be true, but this verifier cannot tell: the key is unknown, too few witnesses signed, or the text is not
// in its format. Unknown is not refuted. Only Proven proves anything.
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
// Each text has exactly one accepted form, so that two readers never disagree on what it says: line feeds alone, no
// leading zeros, canonical base64, nothing added. What is refused gets a [ParseError], which names the line.
//
// The package leaves to others where checkpoints are kept and compared, and whether two checkpoints that were both
// signed contradict each other. Inclusion alone never shows that a list of records is complete: [VerifyRange] does.
package evidence
