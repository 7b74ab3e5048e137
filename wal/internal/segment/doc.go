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
// An offset is global: it is the sum of the file's base, which is in the file's name, and a position in the file. A
// [Scanner] goes from record to record:
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
// Everything that walks over a journal (opening, reading, verifying, repairing, copying) asks [Scanner.Judge]. Otherwise
// one walk could report damage where another one sees the end of the log. Each caller decides what it does with a verdict.
//
// The package promises three things. Nothing that it finds on disk makes it panic. It allocates no memory for a length that
// is larger than the file. And where it can, it reads each byte of a file once. It knows nothing of folders, file names,
// locks, writers, or the segments before and after: package wal does.
package segment
