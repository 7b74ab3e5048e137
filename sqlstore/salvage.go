package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/jmoiron/sqlx"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/migrations"
	"github.com/auditsql/auditsql/tree"
)

// A PrimaryError says that a damaged database cannot be salvaged: the damage is in a table that nothing can make anew. It is
// an ErrMalformed.
type PrimaryError struct {
	Path  string
	Table string // "" when it is the file as a whole
	Found string // what is wrong with it
}

func (e *PrimaryError) Error() string {
	if e.Table == "" {
		return fmt.Sprintf("%s: %v: %s", e.Path, ErrMalformed, e.Found)
	}
	return fmt.Sprintf("%s: %v: table %s: %s", e.Path, ErrMalformed, e.Table, e.Found)
}

// Unwrap makes every PrimaryError an ErrMalformed.
func (e *PrimaryError) Unwrap() error { return ErrMalformed }

// Salvage copies what nothing can make anew out of the damaged database at path, which is only read, into a new database at
// dest: the tables kv, entry, tile, edge, rejected, label and store. Their indexes are made anew, and so are the tables of SQLite
// itself. The derived tables are empty, and marked for a Reindex. The new database is on disk, whole, when Salvage
// returns what it says about itself.
//
// The copy is not trusted: SQLite can pass over rows of a damaged page without an error. So Salvage checks that it has every
// entry, the record of each entry with its key in the list of its agent, and the tree of these entries. decode takes a
// value of kv apart as Apply expects it. A record that does not match its leaf hash is copied as it is.
//
// If something is missing or cannot be read, the error is a *PrimaryError. After every error there is nothing at dest.
//
// Nobody may write to the database at path meanwhile. A database at dest is deleted first.
func Salvage(ctx context.Context, path, dest string, o Options, decode func(payload []byte) (Record, error)) (Salvaged, error) {
	o, err := o.withDefaults()
	if err == nil {
		err = removeDatabase(dest)
	}
	var done Salvaged
	if err == nil {
		done, err = salvage(ctx, path, dest, o, decode)
	}
	if err == nil {
		return done, nil
	}
	err = errors.Join(explain(err), removeDatabase(dest))
	if primary := (*PrimaryError)(nil); errors.As(err, &primary) {
		return Salvaged{}, err // it names the file
	}
	return Salvaged{}, fmt.Errorf("salvage %s: %w", path, err)
}

// Salvaged is what a database that was salvaged says about itself.
type Salvaged struct {
	Meta   Meta
	Newest *Entry // nil: it has no records
}

func salvage(ctx context.Context, path, dest string, o Options, decode func([]byte) (Record, error)) (done Salvaged, err error) {
	if err := create(ctx, dest, o); err != nil {
		return done, fmt.Errorf("make a new database: %w", err)
	}
	s := salvager{path: path, dest: dest}
	if err := s.copy(ctx, o.CacheBytes); err != nil {
		return done, err
	}
	// Nobody else uses it, and reading it must leave no files beside it.
	s.new = &DB{path: dest, log: o.Logger, sizes: defaultSizes(), writing: make(chan struct{}, 1)}
	if err := s.new.tryReaders(ctx, Options{Readers: 2}, accessImmutable); err != nil {
		return done, err
	}
	if err = s.new.checkOlder(ctx, Options{Older: true}); err == nil {
		err = s.check(ctx, decode)
	}
	if err == nil {
		done.Meta, err = s.new.Meta(ctx)
	}
	if err == nil {
		done.Newest, err = entryBefore(ctx, s.new.readers, 0)
	}
	err = errors.Join(err, s.new.Close())
	if primary := (*PrimaryError)(nil); errors.Is(err, ErrMalformed) && !errors.As(err, &primary) {
		err = s.primary("", "what can be read of it is no whole database: %v", err)
	}
	return done, err
}

// salvager is a Salvage under way.
type salvager struct {
	path, dest string
	conn       *sqlx.Conn // writes to dest, and has the damaged database attached as "damaged"
	hashed     bool       // the damaged database has leaf hashes and a tree
	new        *DB        // dest, when the copy is complete
}

// broken returns a *PrimaryError for an error of SQLite that the content of the damaged file leads to, and any other
// error as it is. The statements are ours, so an SQL error or a violated constraint comes from that content too.
func (s *salvager) broken(table string, err error) error {
	if hasCode(err, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH,
		sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_IOERR_SHORT_READ) || isScanError(err) {
		return s.primary(table, "%v", err)
	}
	return err
}

func (s *salvager) primary(table, format string, args ...any) error {
	return &PrimaryError{Path: s.path, Table: table, Found: fmt.Sprintf(format, args...)}
}

// copy fills the new database. It is not on disk until copy returns without an error: SQLite keeps no journal of the copy, and
// syncs nothing.
func (s *salvager) copy(ctx context.Context, cacheBytes int64) (err error) {
	leave, err := enter(ctx, s.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	pool, err := connect(s.dest, accessSalvage, 1, cacheBytes)
	if err != nil {
		return err
	}
	s.conn, err = pool.Connx(ctx)
	if err == nil {
		err = s.attach(ctx)
		if err == nil {
			err = s.fill(ctx)
		}
		if err == nil {
			err = s.compare(ctx)
		}
		if err == nil {
			// It has the mode of every other database, and needs no -wal.
			_, err = s.conn.ExecContext(ctx, `PRAGMA main.journal_mode=WAL`)
		}
		err = errors.Join(err, s.conn.Close())
	}
	if err = errors.Join(err, pool.Close()); err != nil {
		return err
	}
	if n, err := fileSize(s.dest + walSuffix); err != nil || n != 0 {
		return errors.Join(errors.New("the new database could not be written whole"), err)
	}
	return syncFile(s.dest)
}

// syncFile brings a file that SQLite has closed to disk, with its name.
func syncFile(name string) error {
	f, err := durable.OpenWrite(name)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// attach opens the damaged database beside the new one, and finds out what it has.
func (s *salvager) attach(ctx context.Context) error {
	name, err := uri(s.path)
	if err != nil {
		return err
	}
	const attach = `ATTACH DATABASE ? AS damaged`
	_, err = s.conn.ExecContext(ctx, attach, name+"?"+string(accessReader))
	if size, serr := fileSize(s.path + walSuffix); cannotShare(err) && serr == nil && size == 0 {
		_, err = s.conn.ExecContext(ctx, attach, name+"?"+string(accessImmutable))
	}
	if err != nil {
		return s.broken("", err)
	}
	var application, version int64
	if err := s.conn.GetContext(ctx, &application, `PRAGMA damaged.application_id`); err != nil {
		return s.broken("", err)
	}
	if err := s.conn.GetContext(ctx, &version, `PRAGMA damaged.user_version`); err != nil {
		return s.broken("", err)
	}
	switch {
	case application != migrations.ApplicationID:
		return s.primary("", "its header says that it belongs to another program (application_id %#x)", application)
	case version > migrations.Newest:
		return fmt.Errorf("%w: it has version %d, this program knows %d", ErrNewer, version, migrations.Newest)
	}
	s.hashed = version >= migrations.Tree
	return nil
}

// The tables are read in the order of their rows, and no index is used: one may be damaged. For a table WITHOUT ROWID SQLite
// ignores NOT INDEXED, and its rows are in the index of its primary key. Row ids of kv are kept, by which audit finds records.
const (
	copyStore    = `INSERT INTO main.store SELECT name, value FROM damaged.store INDEXED BY sqlite_autoindex_store_1 WHERE name NOT IN ('applying', 'repairing')`
	copyEntry    = `INSERT INTO main.entry (idx, query_id, journal_offset) SELECT idx, query_id, journal_offset FROM damaged.entry NOT INDEXED`
	copyKV       = `INSERT INTO main.kv (rowid, key, value, leaf) SELECT rowid, key, value, leaf FROM damaged.kv NOT INDEXED`
	copyOldKV    = `INSERT INTO main.kv (rowid, key, value) SELECT rowid, key, value FROM damaged.kv NOT INDEXED`
	copyTile     = `INSERT INTO main.tile (level, n, hashes) SELECT level, n, hashes FROM damaged.tile NOT INDEXED`
	copyEdge     = `INSERT INTO main.edge (level, hashes) SELECT level, hashes FROM damaged.edge NOT INDEXED`
	copyRejected = `INSERT INTO main.rejected (journal_offset, reason, payload) SELECT journal_offset, reason, payload FROM damaged.rejected NOT INDEXED`
	copyLabel    = `INSERT INTO main.label (hash, label) SELECT hash, label FROM damaged.label INDEXED BY sqlite_autoindex_label_1`
)

// fill copies the tables in one transaction. The guards are away meanwhile.
func (s *salvager) fill(ctx context.Context) error {
	const guards = `SELECT name, sql FROM main.sqlite_schema WHERE type = 'trigger'`
	var triggers []struct{ Name, SQL string }
	if err := s.conn.SelectContext(ctx, &triggers, guards); err != nil {
		return err
	}
	if _, err := s.conn.ExecContext(ctx, `BEGIN IMMEDIATE`); err != nil {
		return err
	}
	for _, t := range triggers {
		if _, err := s.conn.ExecContext(ctx, `DROP TRIGGER main.`+t.Name); err != nil {
			return err
		}
	}
	for _, v := range derivedViews { // as markReindex
		if _, err := s.conn.ExecContext(ctx, `DROP VIEW main.`+v); err != nil {
			return err
		}
	}
	if _, err := s.conn.ExecContext(ctx, `DELETE FROM main.store`); err != nil {
		return err
	}
	tables := []struct{ name, copy string }{
		{"store", copyStore}, {"entry", copyEntry}, {"kv", copyKV}, {"tile", copyTile}, {"edge", copyEdge}, {"rejected", copyRejected}, {"label", copyLabel},
	}
	for _, t := range tables {
		if !s.hashed && (t.name == "tile" || t.name == "edge") {
			continue
		}
		if !s.hashed && t.name == "kv" {
			t.copy = copyOldKV
		}
		if _, err := s.conn.ExecContext(ctx, t.copy); err != nil {
			return s.broken(t.name, err)
		}
	}
	marks := []string{`INSERT INTO main.store (name, value) VALUES ('reindex', 'running') ON CONFLICT DO NOTHING`}
	if !s.hashed {
		marks = append(marks, `INSERT INTO main.store (name, value) SELECT 'hashing', 0 WHERE EXISTS (SELECT 1 FROM main.entry)`)
	}
	for _, mark := range marks {
		if _, err := s.conn.ExecContext(ctx, mark); err != nil {
			return err
		}
	}
	for _, t := range triggers {
		if _, err := s.conn.ExecContext(ctx, t.SQL); err != nil {
			return err
		}
	}
	_, err := s.conn.ExecContext(ctx, `COMMIT`)
	return err
}

// compare looks for rows that an index has and the copy of its table lacks. It is called after the copy is committed: without a
// journal, SQLite cannot go on with a transaction in which a query has failed.
func (s *salvager) compare(ctx context.Context) error {
	for _, lost := range []struct{ table, query, what string }{
		{"kv", strayKeys, "%d keys are in its index and not in the table"},
		{"label", strayLabels, "%d labels are in its index and not in the table"},
	} {
		var n int64
		err := s.broken(lost.table, s.conn.GetContext(ctx, &n, lost.query))
		if primary := (*PrimaryError)(nil); errors.As(err, &primary) {
			continue // the index is damaged, and made anew
		}
		if err != nil {
			return err
		}
		if n > 0 {
			return s.primary(lost.table, lost.what, n)
		}
	}
	return nil
}

// Rows that the table has lost, as one of its indexes shows. A row counts if nothing of its entry in the index is in the copy:
// the index may be what is damaged. Keys of records and of agents' lists are not among them, since check looks for each.
const (
	strayKeys = `SELECT count(*) FROM damaged.kv INDEXED BY sqlite_autoindex_kv_1
		WHERE typeof(key) = 'blob' AND NOT (key >= x'004155443A' AND key < x'004155443B' OR key >= x'00415544413A' AND key < x'00415544413B')
		AND NOT EXISTS (SELECT 1 FROM main.kv AS k WHERE k.key = damaged.kv.key OR k.rowid = damaged.kv.rowid)`
	strayLabels = `SELECT count(*) FROM damaged.label INDEXED BY label_by_name
		WHERE typeof(label) = 'text' AND length(hash) = 64
		AND NOT EXISTS (SELECT 1 FROM main.label AS l WHERE l.hash = damaged.label.hash OR l.label = damaged.label.label)`
)

// check checks that the copy is complete.
func (s *salvager) check(ctx context.Context, decode func([]byte) (Record, error)) error {
	for _, step := range []func(context.Context) error{s.checkStore, s.checkEntries, s.checkTree} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return s.checkRecords(ctx, decode)
}

// checkStore looks for the facts that every store has.
func (s *salvager) checkStore(ctx context.Context) error {
	const query = `SELECT
		(SELECT count(*) FROM store WHERE name IN ('format', 'store_id', 'time_unit', 'created_at', 'created_by', 'cursor', 'contributions', 'rejected')) AS facts,
		coalesce((SELECT typeof(value) FROM store WHERE name = 'cursor'), '') AS cursor,
		coalesce((SELECT CAST(value AS INTEGER) FROM store WHERE name = 'rejected'), -1) AS noted,
		(SELECT count(*) FROM rejected) AS rejected`
	var r struct {
		Facts           int
		Cursor          string
		Noted, Rejected int64
	}
	if err := s.new.readers.GetContext(ctx, &r, query); err != nil {
		return err
	}
	switch {
	case r.Facts < 8 || r.Cursor != "integer":
		return s.primary("store", "it lacks facts about the store")
	case r.Rejected < r.Noted:
		return s.primary("rejected", "it shows %d of %d rows", r.Rejected, r.Noted)
	}
	return nil
}

// checkEntries looks for a hole in the order of admission. Whether its end is missing, the tree says.
func (s *salvager) checkEntries(ctx context.Context) error {
	const query = `SELECT count(*) AS count, coalesce(min(idx), 0) AS first, coalesce(max(idx), -1) AS last FROM entry`
	var r struct{ Count, First, Last int64 }
	if err := s.new.readers.GetContext(ctx, &r, query); err != nil {
		return err
	}
	if r.First != 0 || r.Count != r.Last+1 {
		return s.primary("entry", "it shows %d of %d records", r.Count, r.Last+1)
	}
	return nil
}

// checkTree compares the number of hashes in the tree with the number of entries.
func (s *salvager) checkTree(ctx context.Context) error {
	due, err := s.new.Hashing(ctx)
	if err != nil || due {
		return err // the tree is built anew, or to its end
	}
	edge, err := s.new.readEdge(ctx)
	if errors.Is(err, ErrMalformed) {
		return s.primary("edge", "%v", err)
	}
	if err != nil {
		return err
	}
	const query = `SELECT level, count(*) AS count, min(n) AS first, max(n) AS last, min(length(hashes)) AS shortest, max(length(hashes)) AS longest
		FROM tile GROUP BY level`
	var levels []struct{ Level, Count, First, Last, Shortest, Longest int64 }
	if err := s.new.readers.SelectContext(ctx, &levels, query); err != nil {
		return s.broken("tile", err)
	}
	shown := map[int64]int64{}
	for _, l := range levels {
		if l.First != 0 || l.Last != l.Count-1 || l.Shortest != tree.TileSize || l.Longest != tree.TileSize {
			return s.primary("tile", "the tiles of level %d are not those of a tree", l.Level)
		}
		shown[l.Level] = l.Count
	}
	for level := range tree.Levels {
		full := edge.Size() >> (tree.TileHeight * (level + 1))
		if shown[int64(level)] != full {
			return s.primary("tile", "level %d shows %d of %d tiles", level, shown[int64(level)], full)
		}
	}
	return nil
}

// checkRecords looks for the record of each entry, and for its key in the list of its agent.
func (s *salvager) checkRecords(ctx context.Context, decode func([]byte) (Record, error)) error {
	for v, err := range s.new.Values(ctx, 0) {
		var damaged *RecordError
		switch {
		case errors.As(err, &damaged) && damaged.Missing:
			return s.primary("kv", "%v", damaged)
		case errors.As(err, &damaged):
			continue
		case err != nil:
			return err
		}
		r, err := decode(v.Value)
		if err != nil || r.AgentID == nil {
			continue
		}
		if _, err := s.new.Get(ctx, r.agentKey()); errors.Is(err, ErrNotFound) {
			return s.primary("kv", "record %x is not in the list of its agent", v.QueryID)
		} else if err != nil {
			return err
		}
	}
	return nil
}
