// Package signing signs the checkpoints of a store's log, and remembers what was signed.
//
//	FILE                    the private key, outside of the store (package keyfile)
//	FILE.signed             the memory: the last checkpoint that was signed with the key
//	FILE.next               after a change of the key: which key has followed this one
//	FILE.signed.lock        is locked while a checkpoint is signed
//	DIR/log.json            which key signs the log of the store in DIR, how often, where checkpoints go ([Config])
//	DIR/checkpoint          a copy of the memory, with the cosignatures of witnesses
//	DIR/checkpoints.ndjson  all checkpoints that were signed, a line each. Its loss harms nothing
//
// Its promise: a key never signs two trees of which one does not extend the other. Before each signature the tree is compared
// with the memory. When it is smaller, the store was rolled back ([ErrBehind]). When it has another root at the size that was
// signed, the store has another past ([ErrForked]). In both cases nothing is signed. That holds for a store that is a
// restored backup, and for two stores that share a key.
//
// Everything is written in one order, and each step is on disk before the next begins:
//
//	signature ─► FILE.signed ─► log.json ─► DIR/checkpoint ─► targets and witnesses ─► DIR/checkpoint with cosignatures
//
// So a signature that anybody outside has seen is in the memory. What a process leaves that dies between two steps:
//
//	before FILE.signed       nothing: nobody has seen the signature, and the next one may be of another tree
//	before log.json          the memory is newer. The next opening copies it to log.json and DIR/checkpoint
//	before DIR/checkpoint    the same
//	before the targets       log.json says what each target got last. The next opening delivers again
//	before the cosignatures  the witnesses are asked again
//
// A checkpoint may cover everything that SQLite has applied, also what SQLite does not yet have on disk: signed ≤ applied ≤
// synced. A power cut can undo what SQLite has applied. But the journal has it synced, and its replay makes the same tree
// again. A journal that has lost the end of it has lost what was acknowledged. log.json has the offset after the last
// signed record, so that recovery finds that out.
//
// It leaves to others the tree (package sqlstore), when to sign (package audit) and where a checkpoint goes (package deliver).
package signing
