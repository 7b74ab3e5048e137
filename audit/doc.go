// Package audit stores what agents asked a knowledge base: who asked what and when, what was answered, and on which
// evidence. Records are durable, and never changed or removed.
//
//	PutAudit ──► journal (package wal) ──► acknowledged
//	                │
//	                └─► applier ──► SQLite (package sqlstore) ──► GetAudit, Audits, Trace, SQL, …
//
// The first steps:
//
//	db, err := audit.Open("store")         // makes the store if there is none
//	id, err := db.PutAudit(ctx, &record)   // durable when it returns
//	q, err := db.GetAudit(ctx, id)
//	err = db.Close()
//
// [Open] opens the durable store, [OpenContext] does that with a context. A put returns when the journal has the record
// on disk. Then the record is acknowledged. It survives the death of the process and a power cut, and GetAudit, AuditsForAgent
// and ListRecent see it from then on. The first record under a query id stays for ever: a put of the same bytes changes nothing,
// and a put of other bytes returns [ErrConflict]. [NewStore] has the same operations over any key/value store (package
// kvshim), without a journal.
//
// A record has one encoding, canonical JSON ([QueryAudit.Canonical], [ParseAudit]). The journal, SQLite and an export
// hold the same bytes.
//
// The methods of [DB] answer questions. [DB.GetAudit] and [DB.Audits] return records. [DB.Trace] says why an agent got
// its answer, [DB.Impact] which answers a fact went into, [DB.Answers] and [DB.Diff] what changed. [DB.TailAfter] follows the
// records as they come.
//
// With [Filter].AsOf a question gives the answer that the store gave when it had so many records. With [Filter].After a list
// goes on after a record. [DB.GetAudit], and a list of the records of an agent or of all by time, see what was acknowledged a moment
// ago. Other questions see what SQLite has, which is about a tenth of a second older, or more in a burst. They do not wait.
// [DB.Progress] says how much is missing. [DB.AwaitApplied] waits for it, and [WithReads] makes every question wait.
//
// Over the records, in the order of their admission, the store keeps a Merkle tree. [DB.Root] is short and stands for all of
// them: kept elsewhere, it shows later whether they were changed. With a key the store signs it ([WithSigner], [DB.Sign]).
// Each read compares a record with its leaf hash. One that differs is a [RecordError], and is never served.
//
// A store is one folder. One process at a time opens it for writing. Any number may read it ([ReadOnly]). When it is
// damaged, [DB.Verify] says where, [Repair] repairs the journal, and [RepairRecords] repairs SQLite.
//
// The package does not decide what a record means or who may read and write: the files are open to their owner only. It
// keeps no copies on other machines: [DB.Backup] makes a copy that can be carried there.
package audit
