// Package bundle is evidence as files, for somebody who has neither the store nor this program: a folder or a zip archive.
//
//	README.txt                 what this shows, what it does not show, and how to check it by hand
//	policy                     whose signatures are meant (c2sp.org/tlog-policy)
//	records/NAME.json          a record, byte for byte as it is in the log
//	records/NAME.tlog-proof    its proof, with a signed checkpoint in it (c2sp.org/tlog-proof@v1)
//	range/records.ndjson       all records that the log got between two checkpoints
//	range/older.checkpoint     the first of these checkpoints, signed
//	range/newer.checkpoint     the second
//	range/edge                 the right edge of the older tree: hashes in base64, the largest subtree first
//
// A range without older.checkpoint and edge has all records from the first one of the log on.
//
// A bundle has records, or a range, or both. [WriteFolder] and [WriteZip] write one, and write nothing that [Check] would not
// prove. Check reads one, and any other folder in which each record lies beside its proof.
//
//	files, err := bundle.Open(path)
//	…
//	for f := range bundle.Check(files, policy) {
//		fmt.Println(f.Path, f.Verdict.Outcome)
//	}
//
// Check takes nothing from the bundle on trust. The policy in it is for people, who compare it with what they got from
// elsewhere. The names of files prove nothing either. A file that belongs to no proof is undecided, so that nothing
// passes as evidence because it lies beside evidence.
//
// A bundle may come from anybody. Nothing is unpacked, no link in it is followed, and no file is read beyond the size that its
// kind can have.
package bundle
