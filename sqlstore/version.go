package sqlstore

import (
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/auditsql/auditsql/migrations"
)

// SQLiteVersion is the version of SQLite itself that this program is built with, as in 3.45.0.
const SQLiteVersion = sqlite3.SQLITE_VERSION

// Version returns the newest migration that this program knows. A writer migrates a database up to it.
func Version() int { return migrations.Newest }
