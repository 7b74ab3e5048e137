package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/auditsql/auditsql/audit"
)

// Bootstrap makes the copy of a new node in dir from that of another node: from a backup of it, or from its folder, also while that node
// runs. So the new node need not read the log from its beginning, which the log may not have any more. dir must not exist, or be an
// empty folder.
//
// It refuses a copy that cannot go on in the log: one of another log (ErrMismatch), one that has what the log does not have (ErrRewound),
// and one that ends before the log begins (ErrTrimmed). Then nothing is in dir.
//
// The copy is verified before it gets its name, and gets it when it is complete and on disk. If the process dies before, dir is as it
// was. What it had copied is in a folder beside it, which [Unfinished] names.
func Bootstrap(ctx context.Context, log Log, from, dir string) (audit.BackupReport, error) {
	r, err := bootstrap(ctx, log, from, dir)
	if err != nil {
		return r, fmt.Errorf("bootstrap %s from %s: %w", dir, from, err)
	}
	return r, nil
}

func bootstrap(ctx context.Context, log Log, from, dir string) (r audit.BackupReport, err error) {
	info, err := log.Info(ctx)
	if err != nil {
		return r, err
	}
	db, err := audit.OpenContext(ctx, from, audit.ReadOnly())
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := follows(db, info); err != nil {
		return r, err
	}
	if err := goesOn(ctx, log, info, db); err != nil {
		return r, err
	}
	// A node that runs goes on meanwhile, and so does the copy: it has what was compared and more.
	return db.Backup(ctx, dir)
}

// goesOn returns why a copy cannot go on in a log.
func goesOn(ctx context.Context, log Log, info Info, db *audit.DB) error {
	stats, err := db.Stats(ctx)
	if err != nil {
		return err
	}
	// After the copy was asked: the log has it all, if that is the log that the copy follows.
	b, err := log.Bounds(ctx)
	if err != nil {
		return err
	}
	cursor := uint64(stats.Applied)
	if err := within(info.Name, cursor, b); err != nil {
		return err
	}
	newest, err := db.LastRecords(ctx, 1, audit.Filter{})
	if err != nil {
		return err
	}
	if len(newest.Damaged) > 0 {
		return newest.Damaged[0]
	}
	if len(newest.Records) == 0 {
		return nil
	}
	at := uint64(newest.Records[0].Offset)
	if at < b.First {
		return nil // the heads that it reads tell whether it is right
	}
	return sameMessage(ctx, log, info, replicaNames(info), at, newest.Records[0].Raw)
}

// Unfinished returns the folders beside dir that a Bootstrap of dir has left whose process died. Nothing reads them. They can be
// removed, unless a Bootstrap of dir runs.
func Unfinished(dir string) ([]string, error) {
	dir = filepath.Clean(dir)
	entries, err := os.ReadDir(filepath.Dir(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var left []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "."+filepath.Base(dir)+".part-") {
			left = append(left, filepath.Join(filepath.Dir(dir), e.Name()))
		}
	}
	return left, nil
}
