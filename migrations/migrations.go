// Package migrations holds the schema of audit.db as numbered SQL.
//
// The files are goose migrations, embedded in the binary. Package sqlstore runs them when a writer opens a database.
//
//	00001_primary.sql   kv, entry, rejected, label, store                  nothing can rebuild them
//	00002_derived.sql   audit, contribution, attribute, agent, the views   reindex fills them anew from kv and entry
//	00003_tree.sql      kv.leaf, tile, edge: the Merkle tree               reindex leaves them alone
//	00004_activity.sql  activity: the rollup of records by time            reindex fills it anew
//	00005_agents.sql    the view agents, with times and the anonymous      reindex makes it anew
//	00006_hashes.sql    hash, and audit and contribution with its numbers  reindex fills them anew
//	00007_runs.sql      hash_run: the hashes once more, in sorted runs     reindex fills it anew
//	00008_guards.sql    triggers of agent and store, index of subjects     reindex makes them anew
//
// Every migration ends by setting user_version to its own number, so that a database has its version in
// its header. A change to a table is a new migration.
// A statement of a migration that was released never changes, and its comments do not either: SQLite stores the text
// of a CREATE statement with its comments, and sqlstore compares it with the migration.
//
// The package leaves it to sqlstore to run the migrations and to check the schema.
package migrations

import "embed"

// FS holds the migrations, at its root.
//
//go:embed *.sql
var FS embed.FS

const (
	// Newest is the version of a database that every migration was applied to.
	Newest = 8

	// Tree is the version from which on a database has the Merkle tree over its records.
	Tree = 3

	// Hashes is the version from which on a database has a dictionary of hashes. The SQL of package sqlstore reads no older tables.
	Hashes = 6

	// Runs is the version from which on a database has sorted runs of hashes. The SQL of package sqlstore needs the table.
	Runs = 7

	// ApplicationID is the application_id in the header of every audit.db: "ASQL".
	ApplicationID = 0x4153514C
)
