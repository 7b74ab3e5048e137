package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/signing"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/wal"
)

// Backup copies the store to a new folder dest, which can be opened as a store. It may run in the writer's process or
// in another one. The copy is verified before it gets its name. dest must not exist, or be an empty folder.
//
// SQLite's snapshot is made first. The journal is copied after it, at least up to the snapshot's cursor. Opening
// the copy replays what the journal has after the cursor. The inbox is left out, and BackupReport.InboxLeft says so.
//
// When ctx ends, its error is returned and the copy is removed.
func (db *DB) Backup(ctx context.Context, dest string) (BackupReport, error) {
	rep, err := db.backup(ctx, dest, nil)
	if err != nil {
		return rep, fmt.Errorf("back up to %s: %w", dest, err)
	}
	return rep, nil
}

// folderAround returns the folder of this store, or of its journal, that is the folder path or has it within, "" if neither does.
func (db *DB) folderAround(path string) string {
	for _, own := range []string{db.dir, db.journalDir} {
		if signing.Within(filepath.Join(path, storedir.FileName), own) {
			return own
		}
	}
	return ""
}

// BackupFor copies a store that follows a log as Backup does, for another node beside this one. The copy follows origin, which must have
// the records of the same store: the caller answers for it that the copy can go on there.
//
// The copy does not have the files of the signed log (log.json, checkpoint). They make a store sign with the key that they name. Two
// nodes with one key would sign different sizes at the same time, and a witness takes a smaller size for a history that was set back.
func (db *DB) BackupFor(ctx context.Context, dest string, origin Origin) (BackupReport, error) {
	err := sameStore(db.dir, db.file, origin)
	var rep BackupReport
	if err == nil {
		rep, err = db.backup(ctx, dest, &origin)
	}
	if err != nil {
		return rep, fmt.Errorf("back up to %s: %w", dest, err)
	}
	return rep, nil
}

// backup is Backup, and BackupFor if another node is to follow origin with the copy.
func (db *DB) backup(ctx context.Context, dest string, origin *Origin) (rep BackupReport, err error) {
	rep.Dir = dest
	if dest == "" {
		return rep, invalid("the folder has no name")
	}
	dest = filepath.Clean(dest)
	if around := db.folderAround(dest); around != "" {
		return rep, invalid("it lies in %s, which belongs to this store", around)
	}
	// The copy has another name until it is complete.
	err = durable.Stage(dest, func(part string) (string, error) { return part, db.fill(ctx, part, &rep, origin) })
	return rep, err
}

// fill makes the copy in the folder part, and verifies it.
func (db *DB) fill(ctx context.Context, part string, rep *BackupReport, origin *Origin) (err error) {
	if err := db.journalAway(); err != nil {
		return err
	}
	if err := db.caughtUp(ctx); err != nil {
		return err
	}
	if db.applier != nil {
		db.applier.held.Add(1)
		defer db.applier.held.Add(-1)
	}
	if origin != nil {
		err = db.copyFollower(ctx, part, rep, nil, origin)
	} else {
		err = db.copyTo(ctx, part, rep)
	}
	if err != nil {
		return err
	}
	return verifyCopy(ctx, part, rep)
}

// copyTo copies the store to the folder part. All of it is durable when copyTo returns.
func (db *DB) copyTo(ctx context.Context, part string, rep *BackupReport) error {
	// Before the snapshot: a copy that had fewer records than were signed would be refused.
	log, err := readLogFiles(db.dir)
	if err != nil {
		return err
	}
	if db.file.Follows != nil {
		return db.copyFollower(ctx, part, rep, log, db.Follows())
	}
	journal := filepath.Join(part, storedir.JournalName)
	var cursor uint64
	var copied wal.Copied
	// A writer in another process may trim its journal past the snapshot's cursor before the journal is copied. Then
	// the copy could not be opened, and a newer snapshot is needed.
	for try := 0; try == 0 || copied.First > wal.Offset(cursor); try++ {
		if try == 5 {
			return fmt.Errorf("the writer trims its journal faster than it can be copied; keep more of it (wal_retain is %s)", db.file.Retention)
		}
		err := errors.Join(os.RemoveAll(journal), os.RemoveAll(storedir.SQLitePath(part)))
		if err == nil {
			cursor, err = db.sql.Backup(ctx, storedir.SQLitePath(part))
		}
		if err == nil {
			err = os.Mkdir(journal, 0o700)
		}
		if err == nil {
			copied, err = wal.Copy(ctx, db.journalDir, journal, db.opts.journal())
		}
		if err != nil {
			return err
		}
	}
	if segs, err := wal.Segments(InboxDir(db.dir), wal.Options{}); err == nil && len(segs) > 0 {
		// Its spans belong to traces that have not settled. A copy would make records of them which lack what comes later, under the
		// ids of the store's own.
		rep.InboxLeft = true
	}
	rep.Applied = wal.Offset(cursor)
	if copied.End < rep.Applied {
		return fmt.Errorf("%w: the journal ends at offset %d, before SQLite's cursor %d", ErrDamaged, copied.End, cursor)
	}
	rep.End, rep.Segments, rep.Bytes = copied.End, copied.Segments, copied.Bytes
	if st, err := os.Stat(storedir.SQLitePath(part)); err == nil {
		rep.Bytes += st.Size()
	}
	return writeCopyFiles(part, db.file, rep.Applied, log)
}

// copyFollower is copyTo for a store that follows a log, which has what came after the snapshot. The copy follows origin.
func (db *DB) copyFollower(ctx context.Context, part string, rep *BackupReport, log map[string][]byte, origin *Origin) error {
	cursor, err := db.sql.Backup(ctx, storedir.SQLitePath(part))
	if err != nil {
		return err
	}
	rep.Applied = wal.Offset(lastBefore(wal.Offset(cursor)))
	rep.End = rep.Applied
	if st, err := os.Stat(storedir.SQLitePath(part)); err == nil {
		rep.Bytes = st.Size()
	}
	file := db.file
	file.Follow(storedir.Origin{Log: origin.Log, ID: origin.ID, Unproven: origin.Unproven || db.file.Follows.Unproven})
	return writeCopyFiles(part, file, wal.Offset(cursor), log)
}

// writeCopyFiles writes store.json, made of file, and the files of the log of a copy whose SQLite has everything before cursor.
func writeCopyFiles(part string, file storedir.File, cursor wal.Offset, log map[string][]byte) error {
	file.JournalDir = storedir.JournalName
	// There is no -wal beside the copy, and there need not be.
	file.Trust()
	file.Clean, file.Used, file.Failed, file.Left, file.Rebuilding, file.Replacing = true, true, nil, nil, "", ""
	file.Reached, file.Synced = &storedir.Reached{Cursor: cursor}, 0
	if err := storedir.Write(part, file); err != nil {
		return err
	}
	for name, content := range log {
		if err := durable.WriteBytes(filepath.Join(part, name), "", content); err != nil {
			return err
		}
	}
	return durable.SyncDir(part)
}

// readLogFiles returns the files that say who signs the log and what was signed. The private key is not in the store.
func readLogFiles(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, name := range []string{storedir.LogName, storedir.CheckpointName} {
		f, err := durable.Open(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		files[name] = content
	}
	return files, nil
}

func verifyCopy(ctx context.Context, part string, rep *BackupReport) error {
	copied, err := OpenContext(ctx, part, ReadOnly())
	if err != nil {
		return fmt.Errorf("verify the copy: %w", err)
	}
	rep.Verified, err = copied.Verify(ctx, VerifyOptions{})
	if err = errors.Join(err, copied.Close()); err != nil {
		return fmt.Errorf("verify the copy: %w", err)
	}
	rep.Audits = rep.Verified.Audits
	if !rep.Verified.OK() {
		shown := rep.Verified.Problems[:min(3, len(rep.Verified.Problems))]
		return fmt.Errorf("%w: the copy has %d problems and was not kept: %s", ErrDamaged, rep.Verified.Total, strings.Join(shown, "; "))
	}
	return nil
}
