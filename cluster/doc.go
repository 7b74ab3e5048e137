// Package cluster keeps one store on several machines.
//
// A log orders the records and makes them durable on a majority of its servers. Each [Node] keeps a copy of its own in SQLite, made
// by the same code as the copy of a store on one machine, and answers questions from it.
//
//	put ─► Append ─► log ─► Read ─► check ─► audit.Follower ─► SQLite
//	                                              │
//	  decided ◄──── New, Duplicate or Conflict ◄──┘
//
// A put is decided: it returns when the node's own copy has come to its place in the log, and says what became of it there. The
// order of the log is the verdict, so all nodes come to the same one. The first record under an id stays.
//
// A node believes nothing that it can check. It applies message n+1 after message n or stops, holds the content of each against the
// hash that its publisher gave, and asks another replica when one lacks or alters a message.
//
// The package leaves to others which engine keeps the log ([Log]): package jetstream keeps it on NATS JetStream, and package
// memlog in memory, for tests. Package logtest says what an engine must do.
package cluster
