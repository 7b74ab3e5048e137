// Package interop holds tests of the packages tree, evidence, evidence/bundle and internal/deliver, and of the nodes of a cluster as witnesses, against
// what others wrote: their test vectors, their trees, their readers and writers of the same formats, their witness and its client, their logs. It is a
// module of its own, so that none of this is a dependency of auditsql.
//
//	transparency-dev/merkle   JSON vectors of proofs, read out of the module cache; a tree in memory; compact ranges
//	transparency-dev/formats  checkpoints, cosignatures, .tlog-proof, policies
//	transparency-dev/tessera  fsck, which checks a published log over HTTP; a log that a node cosigns
//	transparency-dev/witness  a witness, run in the test; a client of witnesses
//	filippo.io/torchwood      checkpoints, cosignatures, paths of tiles, right edges, a client of published logs
//
// The other readers are more lenient than ours. What they accept and we refuse is tested too, so that a reader of these
// tests sees where the strictness lies.
package interop
