// Package wal is the journal: an append-only log of records on disk. The journal never loses a record that it has
// acknowledged. If the disk loses one, the journal reports that as an error.
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
// When an append returns without error, its record is durable at the level with which the journal was opened. The
// record's offset is never used again.
//
// After a crash [Open] cuts off the end of the log that was never acknowledged, and keeps a copy of it. If anything else
// is wrong, Open returns an error and leaves the damage as it is. Somebody has to call [Repair]: it replaces the damaged
// ranges, keeps a copy of their bytes, and loses nothing else.
//
// A reader gets whole, verified records in order, or an error that names the place.
//
// # What it leaves to others
//
// The caller decides what a payload means and which records are duplicates. The caller also keeps the cursor: the offset
// up to which it has made the log durable elsewhere. The journal knows nothing of audits or SQL.
//
// Payloads that begin with a byte below 0x20 belong to the journal itself. Such records are control records: marks, fillers,
// and the identity (id) with which each segment begins when [Options] give one.
//
// # Who may use a journal at the same time
//
// One writer ([Open]) or one [Repair] holds the journal's lock at a time. Meanwhile any number of readers
// ([OpenReader], [Verify], [Segments]) may read it, from any process; they never change a byte.
//
// All file access goes through [FS], so that a test can replace the disk by one that crashes.
package wal
