// Package wal is the journal: an append-only log of records on disk that loses nothing it has
// acknowledged, and says so when the disk has.
//
// A journal is a folder of segments. A segment is named after the global offset of its first byte
// and holds records back to back; a record is found by its global offset:
//
//	0000000000000000.wal               0000000004000123.wal (active)
//	+----+--------+--------+------+    +----+--------+------+--------+- - - - - -+
//	| id | record | record | mark |    | id | record | mark | record | 0 0 0 0 … |
//	+----+--------+--------+------+    +----+--------+------+--------+- - - - - -+
//	^ offset 0                         ^ offset 0x4000123         ^ end: the next record's offset
//
//	record: len u32 | crc32c u32 | blake3 [32] | payload
//
// What it promises: an append that returned without error is on disk at the level of durability
// that the journal was opened with, under an offset that is never used again; opening after a
// crash cuts what was never acknowledged (keeping a copy) and refuses to touch anything else; a
// reader gets whole, verified records in order or an error that names the place. What is refused
// stays as it is until somebody asks for [Repair], which goes past damage, loses nothing else, and
// keeps a copy of the damaged bytes.
//
// What it leaves to others: the meaning of a payload, which records are duplicates, and the
// cursor (how much of the log its caller has made durable elsewhere). It knows nothing of audits
// or SQL. Payloads that begin with a byte below 0x20 are control records: marks, fillers, and the
// identity (id) with which each segment begins when [Options] give one.
//
// One writer, or one [Repair], holds a journal at a time ([Open]); any number of readers
// ([OpenReader], [Verify], [Segments]) look at it meanwhile, from any process, and never change a byte.
//
// All file access goes through [FS], so that a test can put a disk that crashes in its place.
package wal
