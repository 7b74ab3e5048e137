package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// openReader opens what SQLite holds, without the lock and without recovery.
func openReader(ctx context.Context, dir string, o options) (*DB, error) {
	path := storedir.SQLitePath(dir)
	file, err := storedir.Recall(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := JournalDir(dir); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%s: %w: it holds a journal and no %s that can be read; opening it for writing makes one", dir, ErrNoStore, storedir.SQLiteName)
	}
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, &SQLiteMissingError{Path: path}
	}
	if err := checkAlone(ctx, dir, file); err != nil {
		return nil, err
	}
	doubt := doubtAbout(ctx, dir, file)
	sql, err := sqlstore.Open(ctx, path, sqlstore.Options{ReadOnly: true, Older: o.repairing, Heading: headingOf, Logger: o.logger})
	if err != nil {
		return nil, err
	}
	// The open file is asked: the name may belong to another file by now.
	meta, err := sql.Meta(ctx)
	if err == nil {
		err = cmp.Or(checkStore(file, dir, meta), checkUnit(file, dir, meta))
	}
	if err != nil {
		return nil, errors.Join(err, sql.Close())
	}
	o.identity = file.Identity()
	db := &DB{dir: dir, journalDir: file.JournalPath(dir), file: file, opts: o, sql: sql}
	db.quit, db.quitNow = context.WithCancel(context.Background())
	switch {
	case file.Lost != "":
		db.recovery.Notes = []string{file.Lost + "; this is what SQLite has"}
	case doubt != "":
		db.recovery.Notes = []string{fmt.Sprintf("%s is suspect: %s; this is what it has", storedir.SQLiteName, doubt)}
	}
	return db, nil
}

// doubtAbout says why the next opening for writing would find the database suspect, or "". Beside a writer it is not. It
// is for a note: errors are left out.
func doubtAbout(ctx context.Context, dir string, file storedir.File) string {
	if held, _, err := lockHolder(ctx, file.JournalPath(dir)); err != nil || held {
		return ""
	}
	segs, err := wal.Segments(file.JournalPath(dir), wal.Options{})
	if err != nil {
		return ""
	}
	f, err := storedir.ReadFacts(ctx, dir, file, segs)
	if err != nil {
		return ""
	}
	return decide(f).Doubt
}

// checkAlone refuses the database of another store that has a -wal of this store over it: together they say that they are
// this store's. In the middle of a checkpoint the database alone may say anything, but not that it is another
// store's. A database that does not say whose it is, or cannot be read, is checked later, together with its -wal.
func checkAlone(ctx context.Context, dir string, file storedir.File) error {
	alone, ok, err := sqlstore.ReadAlone(ctx, storedir.SQLitePath(dir))
	if err != nil || !ok || alone.StoreID == "" {
		return nil
	}
	return checkStore(file, dir, alone)
}
