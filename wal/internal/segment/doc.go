// Package segment reads and encodes what one segment file of the journal holds: records, back to back.
//
//	0000000004000123.wal
//	+----+--------+--------+------+--------+- - - - -+
//	| id | record | record | mark | record | 0 0 0 … |
//	+----+--------+--------+------+--------+- - - - -+
//	^ base                                 ^ end of the data, then zeros that were written ahead
//
//	record: len u32 | crc32c u32 | blake3 [32] | payload
//
// An offset is global: the base of the file, which its name tells, and the position in the file. A [Scanner] goes
// from record to record:
//
//	s, err := segment.NewScanner(file, base, from)
//	for {
//		j, err := s.Judge(ctx, segment.Span{Next: next})
//		switch j.Verdict {
//		case segment.Intact: // j.Record; go on with s.Skip(j.Record)
//		case segment.End: // the data ends here
//		case segment.Torn: // no record, and nothing says that one was ever acknowledged here
//		case segment.Damaged: // no record, though one was acknowledged here; j.Reason says what is wrong
//		}
//	}
//
// Everything that walks over a journal (opening, reading, verifying, repairing, copying) asks [Scanner.Judge], so that
// what one of them refuses as damage is never the end of the log to another. What follows from the verdict is theirs.
//
// The package promises that nothing it finds on disk makes it panic, that it allocates no memory for a length that the
// file does not have, and that it reads a file once where it can. It knows nothing of folders, file names, locks,
// writers and several segments: that is package wal's.
package segment
