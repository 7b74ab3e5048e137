// Package sqlstore keeps audits in SQLite.
//
// It opens and migrates audit.db, writes batches of records together with the journal offset they reach,
// and answers questions about them. It knows rows and bytes, not audits: what a record means, and how it is
// encoded, is the business of package audit, which hands over each record with its columns taken apart.
//
//	writer   one connection, transactions begin IMMEDIATE:   Apply  Write  PutLabels  Checkpoint  Reindex
//	readers  a bounded pool, mode=ro and query_only:         Get  Range  Select  Values  Stats  …
//
// A batch is one transaction: rows and cursor become visible together, so the cursor always names exactly
// what the tables hold. The database runs with journal_mode=WAL and synchronous=NORMAL: a commit is atomic
// and ordered, but a power cut may take the last ones back, until a checkpoint has synced them. What is
// durable is therefore known by [DB.Checkpoint] alone, and a caller keeps its journal up to there.
//
// Streams read in short pages, each a transaction of its own, so that a slow reader never keeps a
// checkpoint from finishing. Nothing in this process opens the database file but SQLite: closing any other
// descriptor of it would drop SQLite's POSIX locks.
package sqlstore
