package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/jmoiron/sqlx"
	"modernc.org/sqlite"
)

// pageSize is fixed when the file is made. Twice SQLite's default: a record of a kilobyte or two then
// needs no overflow page.
const pageSize = 8192

// walSuffix is what SQLite adds to the database's name for its write-ahead log.
const walSuffix = "-wal"

// busyTimeout is how long, in ms, a statement waits for another process's lock. A shell that writes a
// label holds the write lock for a moment.
const busyTimeout = 10_000

// walLimit is the size that audit.db-wal shrinks to, in bytes, at the first commit after a checkpoint has made all of
// it reusable. SQLite never shrinks it below that commit, so it is never empty while a writer runs. By that a
// caller recognizes that somebody took it away: after a crash it is empty or missing.
const walLimit = 64 << 20

// access is a way to open the file.
type access string

const (
	// accessWriter reads and writes, and never makes the file.
	accessWriter access = "mode=rw&_txlock=immediate"

	// accessReader shares the write-ahead log with a writer in this or another process.
	accessReader access = "mode=ro"

	// accessImmutable takes no locks, makes no files and ignores the write-ahead log. It is right only when there
	// is no write-ahead log and nobody writes.
	accessImmutable access = "mode=ro&immutable=1"

	// accessLone takes no locks and keeps the index of the write-ahead log in memory (with
	// locking_mode=EXCLUSIVE, see pragmas). It is for a folder that cannot be written to, with a log and without its -shm
	// file. If there were a writer, there would be a -shm file.
	accessLone access = "mode=ro&vfs=unix-none"

	// accessSalvage fills a new database that is worth nothing until it is complete. SQLite reads the damaged database
	// beside it although parts of its schema, or the end of the file, cannot be read.
	accessSalvage access = "mode=rw"
)

// pragmas returns the pragmas for each new connection, in order. A pragma belongs to a connection.
//
// page_size comes before journal_mode, which writes the first page of a new file. Only the caller checkpoints
// (wal_autocheckpoint=0): it must know what each checkpoint made durable.
func (a access) pragmas(cacheBytes int64) []string {
	var p []string
	switch a {
	case accessLone:
		p = append(p, "PRAGMA locking_mode=EXCLUSIVE") // before the file is read
	case accessSalvage:
		return []string{
			"PRAGMA writable_schema=ON", // what tolerates a damaged schema, and a file that was cut
			fmt.Sprintf("PRAGMA busy_timeout=%d", busyTimeout),
			fmt.Sprintf("PRAGMA cache_size=-%d", max(cacheBytes>>10, 256)),
			"PRAGMA main.journal_mode=OFF",
			"PRAGMA main.synchronous=OFF",
			"PRAGMA temp_store=MEMORY",
		}
	}
	p = append(p,
		fmt.Sprintf("PRAGMA busy_timeout=%d", busyTimeout),
		fmt.Sprintf("PRAGMA cache_size=-%d", max(cacheBytes>>10, 256)),
		"PRAGMA wal_autocheckpoint=0",
		fmt.Sprintf("PRAGMA journal_size_limit=%d", walLimit),
		"PRAGMA temp_store=MEMORY")
	if a != accessWriter {
		return append(p, "PRAGMA query_only=1")
	}
	return append(p,
		fmt.Sprintf("PRAGMA page_size=%d", pageSize),
		"PRAGMA journal_mode=WAL",
		"PRAGMA synchronous=NORMAL")
}

// connector opens connections that are set up before database/sql sees them. The driver could run pragmas
// out of the DSN as well, but in alphabetical order.
type connector struct {
	driver.Connector
	pragmas  []string
	place    string // see checkPlace
	readOnly bool
}

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.setup(ctx, conn); err != nil {
		conn.Close()
		return nil, err
	}
	if !c.readOnly {
		return conn, nil
	}
	reader := &readerConn{sqliteConn: conn.(sqliteConn)}
	if err := reader.RegisterAuthorizer(reader.onlyReads); err != nil {
		conn.Close()
		return nil, err
	}
	return reader, nil
}

func (c *connector) setup(ctx context.Context, conn driver.Conn) error {
	if err := checkPlace(ctx, conn, c.place); err != nil {
		return err
	}
	x := conn.(driver.ExecerContext)
	for _, p := range c.pragmas {
		if _, err := x.ExecContext(ctx, p, nil); err != nil {
			return err // about the file: the first pragma that reads it finds what is wrong with it
		}
	}
	return nil
}

// connect returns a pool of at most n connections to the database at path. No connection is made yet.
func connect(path string, a access, n int, cacheBytes int64) (*sqlx.DB, error) {
	name, err := uri(path)
	if err != nil {
		return nil, err
	}
	base, err := sqlite.NewConnector(name + "?" + string(a) + "&_error_rc=1")
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(&connector{base, a.pragmas(cacheBytes), place(path), a != accessWriter && a != accessSalvage})
	pool.SetMaxOpenConns(n)
	pool.SetMaxIdleConns(n)
	return sqlx.NewDb(pool, "sqlite"), nil
}

// uri returns the file as SQLite takes it: in a plain name, a question mark would begin parameters.
func uri(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	name := filepath.ToSlash(abs)
	if !strings.HasPrefix(name, "/") {
		name = "/" + name // file:///C:/…
	}
	return "file://" + (&url.URL{Path: name}).EscapedPath(), nil
}
