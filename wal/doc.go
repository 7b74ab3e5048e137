// Package wal is the journal: an append-only log of records on disk. It loses nothing that it has acknowledged, and
// when the disk does, it says so.
//
// A journal is a folder of segments. A segment is named after the global offset of its first byte
// and holds records back to back. A record is found by its global offset:
//
//	0000000000000000.wal               0000000004000123.wal (active)
//	+----+--------+--------+------+    +----+--------+------+--------+- - - - - -+
//	| id | record | record | mark |    | id | record | mark | record | 0 0 0 0 … |
//	+----+--------+--------+------+    +----+--------+------+--------+- - - - - -+
//	^ offset 0                         ^ offset 0x4000123         ^ end: the next record's offset
//
//	record: len u32 | crc32c u32 | blake3 [32] | payload
//
// # What it promises
//
// An append that returned without error is on disk, at the level of durability with which the journal was
// opened, under an offset that is never used again.
//
// Opening after a crash cuts what was never acknowledged, and keeps a copy of it. It refuses to change anything
// else. What it refuses stays as it is until somebody asks for [Repair], which replaces damage, loses
// nothing else, and keeps a copy of the damaged bytes.
//
// A reader gets whole, verified records in order, or an error that names the place.
//
// # What it leaves to others
//
// The meaning of a payload, which records are duplicates, and the cursor: how much of the log its caller has made
// durable elsewhere. It knows nothing of audits or SQL. Payloads that begin with a byte below 0x20 are control
// records: marks, fillers, and the identity (id) with which each segment begins when [Options] give one.
//
// # Who may use a journal at the same time
//
// One writer, or one [Repair], holds a journal at a time ([Open]). Meanwhile any number of readers
// ([OpenReader], [Verify], [Segments]) may read it, from any process; they never change a byte.
//
// All file access goes through [FS], so that a test can replace the disk by one that crashes.
package wal
