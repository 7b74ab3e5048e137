package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/jmoiron/sqlx"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/migrations"
)

// Meta is what a database says about itself.
type Meta struct {
	Exists   bool
	Version  int    // the newest migration applied to it
	Cursor   uint64 // journal offset after the last record applied
	Reach    uint64 // the highest that the cursor has been: Rewind sets the cursor back, and not this
	StoreID  string // 32 hex digits, or "" if it was made without one
	TimeUnit string // s, ms, us or ns
	// Retention, JournalDir and Follows are those of the last writer's Options, or "".
	Retention, JournalDir, Follows string
	missing                        string // see MissingTables
	// Hashing: the records of an older version are being hashed, or that was interrupted. Counting: an older
	// version was to count them by time, and did not end it. A Reindex does.
	Hashing, Counting bool
}

// Unhashed reports whether not all records have leaf hashes: an older version made the database, and it is not migrated, or not
// to the end.
func (m Meta) Unhashed() bool { return m.Version < migrations.Tree || m.Hashing }

// Refilled reports whether the migration of the database drops tables, which are filled from the others after it.
func (m Meta) Refilled() bool { return m.Exists && m.Version < migrations.Hashes }

// MissingTables returns the tables that somebody has dropped and that a writer makes anew, empty.
func (m Meta) MissingTables() []string { return strings.Fields(m.missing) }

// ReadCursor reads what the database at path says about itself. It does not migrate or change it, and makes no files
// beside it unless its write-ahead log holds something. A missing file is no error, and an empty file is none either:
// then Exists is false. ErrNewer and ErrNotStore say that this program must not open the database,
// ErrMalformed that it is damaged.
func ReadCursor(ctx context.Context, path string) (Meta, error) {
	m, err := look(ctx, path)
	if err != nil {
		return m, fmt.Errorf("look at %s: %w", path, explain(err))
	}
	return m, nil
}

// ReadAlone is ReadCursor for the database file without its -wal: what checkpoints have copied there. In the
// middle of a checkpoint the file may be unreadable. If this process has the file open, ok is false and nothing is read.
func ReadAlone(ctx context.Context, path string) (m Meta, ok bool, err error) {
	size, err := fileSize(path)
	if err != nil || size == 0 {
		return Meta{}, err == nil, err
	}
	ok = alone(ctx, path, func() { m, err = lookWith(ctx, path, accessImmutable) })
	if err != nil {
		return m, ok, fmt.Errorf("look at %s: %w", path, explain(err))
	}
	return m, ok, nil
}

// CheckAlone is [DB.Integrity] and [DB.TreeProblem] for the database file without its -wal. If this process has the file open, ok is false and
// nothing is checked.
func CheckAlone(ctx context.Context, path string) (problems []string, ok bool, err error) {
	ok = alone(ctx, path, func() {
		pool, cerr := connect(path, accessImmutable, 1, 8<<20)
		if err = cerr; err != nil {
			return
		}
		defer pool.Close()
		if problems, err = integrity(ctx, pool, false); err == nil && len(problems) == 0 {
			var problem string
			if problem, err = treeProblem(ctx, pool); problem != "" {
				problems = append(problems, problem)
			}
		}
	})
	if err != nil {
		return nil, ok, fmt.Errorf("check %s: %w", path, explain(err))
	}
	return problems, ok, nil
}

// look is ReadCursor, with SQLite's own errors.
func look(ctx context.Context, path string) (m Meta, err error) {
	size, err := fileSize(path)
	if err != nil || size == 0 {
		return Meta{}, err
	}
	wal, err := fileSize(path + walSuffix)
	if err != nil {
		return Meta{}, err
	}
	// Without anything in -wal neither locks nor files beside the database are needed.
	if wal == 0 && alone(ctx, path, func() { m, err = lookWith(ctx, path, accessImmutable) }) {
		return m, err
	}
	m, err = lookWith(ctx, path, accessReader)
	if cannotShare(err) {
		return lookWith(ctx, path, accessLone)
	}
	return m, err
}

// cannotShare reports whether err says that SQLite could not make or open the files beside the database that
// readers and writer share. It cannot in a folder that is read-only, or on a full disk where these files do not exist
// yet. In both cases nobody writes there either.
func cannotShare(err error) bool {
	return hasCode(err, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR_SHMSIZE)
}

// fileSize returns the size of the database file, or of one beside it. It returns 0 if there is none. A link is refused: SQLite
// would make -wal and -shm beside the file that the link leads to.
func fileSize(path string) (int64, error) {
	if err := durable.CheckLink(path); err != nil {
		return 0, err
	}
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, err
	case fi.IsDir():
		return 0, fmt.Errorf("%w: %w: it is a folder", ErrNotStore, ErrMalformed)
	}
	return fi.Size(), nil
}

// Meta returns what the open database says about itself.
func (db *DB) Meta(ctx context.Context) (Meta, error) {
	m, err := metaOf(ctx, db.readers.DB)
	if err != nil {
		return m, db.fail("read what the database says about itself", err)
	}
	return m, nil
}

func lookWith(ctx context.Context, path string, a access) (Meta, error) {
	pool, err := connect(path, a, 1, 1<<20)
	if err != nil {
		return Meta{}, err
	}
	defer pool.Close()
	return metaOf(ctx, pool)
}

func metaOf(ctx context.Context, pool *sqlx.DB) (Meta, error) {
	conn, err := pool.Connx(ctx)
	if err != nil {
		return Meta{}, err
	}
	defer conn.Close()
	return readMeta(ctx, conn)
}

// readMeta reads what the database says about itself, in one read transaction.
func readMeta(ctx context.Context, conn *sqlx.Conn) (Meta, error) {
	tx, err := conn.BeginTxx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return Meta{}, err
	}
	defer tx.Rollback()
	return factsOf(ctx, tx)
}

// factsOf is readMeta inside a transaction.
func factsOf(ctx context.Context, tx sqlx.QueryerContext) (Meta, error) {
	var head struct {
		ApplicationID int64 `db:"application_id"`
		Version       int   `db:"user_version"`
		Tables        int   `db:"tables"`
	}
	const header = `SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema) AS tables
		FROM pragma_application_id, pragma_user_version`
	if err := sqlx.GetContext(ctx, tx, &head, header); err != nil {
		return Meta{}, err
	}
	m := Meta{Exists: true, Version: head.Version}
	switch {
	case head.ApplicationID != migrations.ApplicationID:
		return m, fmt.Errorf("%w: it belongs to another program (application_id %#x)", ErrNotStore, head.ApplicationID)
	case head.Version > migrations.Newest:
		return m, fmt.Errorf("%w: it has version %d, this program knows %d", ErrNewer, head.Version, migrations.Newest)
	}
	missing, err := missingTables(ctx, tx)
	if err != nil {
		return m, err
	}
	m.missing = strings.Join(missing, " ")
	const facts = `SELECT name, value FROM store WHERE name IN ('cursor', 'store_id', 'time_unit', 'wal_retain', 'wal_dir', 'follows', 'rewound', 'hashing', 'activity')`
	var rows []struct {
		Name  string
		Value any
	}
	if err := sqlx.SelectContext(ctx, tx, &rows, facts); err != nil {
		return m, err
	}
	found := map[string]bool{}
	for _, r := range rows {
		found[r.Name] = true
		m.Hashing = m.Hashing || r.Name == "hashing"
		m.Counting = m.Counting || r.Name == "activity"
		switch v := r.Value.(type) {
		case int64:
			if r.Name == "cursor" {
				m.Cursor = uint64(v)
			}
			if r.Name == "cursor" || r.Name == "rewound" {
				m.Reach = max(m.Reach, uint64(v))
			}
		case string:
			switch r.Name {
			case "store_id":
				m.StoreID = v
			case "time_unit":
				m.TimeUnit = v
			case "wal_retain":
				m.Retention = v
			case "wal_dir":
				m.JournalDir = v
			case "follows":
				m.Follows = v
			}
		}
	}
	if !found["cursor"] {
		return m, fmt.Errorf("%w: table store has no cursor", ErrMalformed)
	}
	return m, nil
}

// missingTables returns the tables that are missing and that a writer makes anew, empty. If another table is missing, the
// error is ErrMalformed.
func missingTables(ctx context.Context, q sqlx.QueryerContext) ([]string, error) {
	const query = `SELECT value FROM json_each('["kv", "entry", "store", "rejected", "label"]')
		UNION ALL SELECT value FROM json_each('["tile", "edge"]') WHERE (SELECT user_version FROM pragma_user_version) >= 3
		EXCEPT SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY value`
	var missing, remade []string
	if err := sqlx.SelectContext(ctx, q, &missing, query); err != nil {
		return nil, err
	}
	for _, name := range missing {
		if name != "rejected" && name != "label" {
			return nil, fmt.Errorf("%w: table %s is missing", ErrMalformed, name)
		}
		remade = append(remade, name)
	}
	return remade, nil
}
