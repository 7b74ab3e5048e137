// Package migrations holds the schema of audit.db as numbered SQL.
//
// The files are goose migrations, embedded in the binary and run by package sqlstore when a writer opens a
// database. Migration 1 makes the primary tables (kv, entry, rejected, label, store), which nothing can
// rebuild; migration 2 the derived ones, with their views, which reindex drops and fills anew from kv and
// entry.
//
// Every migration ends by setting user_version to its own number, so that a database tells its version in
// its header, before any table is read. A change to a primary table is a new migration; a change to a
// derived one is a new migration too, added to [Derived].
package migrations

import "embed"

// FS holds the migrations, at its root.
//
//go:embed *.sql
var FS embed.FS

const (
	// Newest is the version of a database that every migration was applied to.
	Newest = 2

	// ApplicationID is the application_id in the header of every audit.db: "ASQL".
	ApplicationID = 0x4153514C
)

// Derived lists the migrations that make derived tables, in order. Taking them back in the opposite order
// and applying them again gives empty derived tables and touches nothing else.
var Derived = []int64{2}
