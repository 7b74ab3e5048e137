// Package audit keeps a durable, append-only record of what agents asked a knowledge base: who asked
// what and when, what was answered, and on which evidence.
//
//	PutAudit ──► journal (package wal) ──► acknowledged
//	                │
//	                └─► applier ──► SQLite (package sqlstore) ──► GetAudit, Audits, SQL, …
//
// [Open] opens the durable store. A put returns when the journal has the record on disk; what it
// acknowledged survives the death of the process and of the power, and is seen by every read that
// starts after it. The first record under a query id stays for ever: the same bytes again change
// nothing, other bytes are [ErrConflict]. [NewStore] offers the same operations over any key/value
// store (package kvshim), without a journal.
//
// A record has one encoding, canonical JSON ([QueryAudit.Canonical], [ParseAudit]): it is what the
// journal carries, what SQLite stores and what an export prints, byte for byte.
//
// [DB] has the questions: [DB.GetAudit] and [DB.Audits] return records, [DB.Trace] says why an agent was answered as it
// was, [DB.Impact] where a fact went, [DB.Answers] and [DB.Diff] what changed. The examples show the first steps.
//
// What it leaves to others: what a record means, who may read or write (the files are the owner's
// alone), and copies on other machines ([DB.Backup] makes one to carry away).
package audit
