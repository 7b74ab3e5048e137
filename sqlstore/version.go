package sqlstore

import "github.com/auditsql/auditsql/migrations"

// Version returns the newest migration that this program knows, which is what a writer brings a database
// to.
func Version() int { return migrations.Newest }
