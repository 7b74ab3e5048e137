// Package sqlstore keeps audits in SQLite.
//
// It opens and migrates audit.db, writes batches of records together with the journal offset that they end at,
// and answers questions about them. It works with rows and bytes. What a record means and how it is encoded is known to
// package audit alone, which passes each record together with the values of its columns.
//
//	writer   one connection, transactions begin IMMEDIATE:   Apply  Write  PutLabels  Checkpoint  Reindex
//	readers  a bounded pool, mode=ro and query_only:         Get  Range  Select  Values  Stats  …
//
//	        Apply: one transaction
//	Batch ─┬─► kv, entry, rejected, cursor             primary: only a journal can fill them again
//	       ├─► tile, edge                              the Merkle tree over the records (package tree)
//	       └─► audit, contribution, hash, hash_run,    derived: Reindex fills them anew from kv and entry
//	           attribute, agent, activity
//
// What it promises:
//
//   - A batch and its cursor become visible together, so the cursor always says exactly what the tables hold.
//   - The first record under an id stays. Nothing changes it or deletes it.
//   - A record is compared with its leaf hash where it is read. One that differs is a [RecordError], and is never returned.
//   - Questions use an index and read in short pages, each a transaction of its own. So a slow reader never keeps a
//     checkpoint from finishing.
//
// What it leaves to its caller is durability. The database runs with journal_mode=WAL and synchronous=NORMAL: a commit is
// atomic and ordered, but a power cut can take back the last commits until a checkpoint has synced them. Only
// [DB.Checkpoint] says what is durable. The caller keeps its journal from that offset on, and applies it again after a
// power cut.
//
// In this process nothing but SQLite closes a descriptor of the database file while SQLite has it open. When a process
// closes any descriptor of a file, it loses all its POSIX locks on the file, those of SQLite too.
//
// Where to look: columns.go declares the columns of the derived tables, plan.go how a question finds its records,
// hashindex.go how hashes are indexed, hashbook.go how they get their numbers, hashrun.go what makes searches for them fast and
// hashlookup.go how these go, timeorder.go how records of one timestamp are ordered,
// heading.go how a short list reads its records, rollup.go what is counted by time, rows.go how a SELECT is run.
package sqlstore
