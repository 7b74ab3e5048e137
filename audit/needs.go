package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// recoveringNote stands in the lock's file while Recover is at work: SQLite still lacks records, so readers
// should wait for it. They need not wait for a writer. The note is in the lock's file because that is the
// holder's own: nobody else can leave it there or remove it.
const recoveringNote = "recovering"

// NeedsRecovery says why a reader would get less than was acknowledged until Recover, or "". It needs recovery when
// nobody has the store in dir open for writing and the journal holds what SQLite lacks, or SQLite is lost or suspect;
// also while another Recover is at work, for which Recover waits with WithLockWait. It changes nothing. It refuses what opening the
// store would refuse at once: a *LinkError, a *JournalAwayError.
func NeedsRecovery(ctx context.Context, dir string) (why string, err error) {
	why, err = needsRecovery(ctx, dir)
	if err != nil {
		return "", fmt.Errorf("look at the store: %w", err)
	}
	return why, nil
}

func needsRecovery(ctx context.Context, dir string) (string, error) {
	journalDir, err := JournalDir(dir)
	if err != nil {
		return "", err
	}
	file, err := storedir.Recall(ctx, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is nothing but a journal", nil
	case err != nil:
		return "", err
	}
	if held, note, err := lockHolder(ctx, journalDir); err != nil || held {
		if note == recoveringNote {
			return "another process recovers the store", nil
		}
		return "", err
	}
	if file.Follows != nil {
		return "", nil // what it lacks is in the log, and only a node can get it from there
	}
	if file.Lost != "" {
		return file.Lost, nil
	}
	if file.Replacing != "" {
		return "a salvaged database takes the place of a damaged one", nil
	}
	segs, err := wal.Segments(journalDir, wal.Options{})
	if err != nil {
		return "", err
	}
	f, err := storedir.ReadFacts(ctx, dir, file, segs)
	if err != nil {
		return "", err
	}
	plan := decide(f)
	switch {
	case plan.Doubt != "":
		return fmt.Sprintf("%s is suspect: %s", storedir.SQLiteName, plan.Doubt), nil
	case plan.Refuse != nil:
		return "", plan.Refuse
	case !f.Both.Exists:
		return storedir.SQLiteName + " is missing", nil
	case f.Both.Version < sqlstore.Version(), f.Both.Hashing, f.Both.Counting:
		return storedir.SQLiteName + " was made by an older version", nil
	case len(f.Both.MissingTables()) > 0:
		return "somebody has dropped table " + strings.Join(f.Both.MissingTables(), " and "), nil
	case file.Failed != nil:
		return "writing SQLite's files had failed: " + file.Failed.Error, nil
	}
	switch unfinished, err := reindexUnfinished(ctx, dir); {
	case errors.Is(err, sqlstore.ErrMalformed):
		return fmt.Sprintf("%s is suspect: %v", storedir.SQLiteName, err), nil
	case err != nil || unfinished:
		return "the forensic tables are not whole", err
	}
	cursor := wal.Offset(f.Both.Cursor)
	if len(segs) == 0 {
		if file.Used || cursor > 0 {
			return "the journal is gone", nil
		}
		return "", nil
	}
	// The last file may end in zeros that were written ahead. Then there was no clean close, and recovery
	// only has to note that.
	last := segs[len(segs)-1]
	if last.Base+wal.Offset(last.Size) != cursor {
		return "the journal holds records that SQLite lacks", nil
	}
	return "", nil
}

// lockHolder reports whether a process has the journal open for writing, and the note that it left.
func lockHolder(ctx context.Context, journalDir string) (held bool, note string, err error) {
	const patience = 100 * time.Millisecond
	for began := time.Now(); ; {
		held, owner, err := wal.Holder(journalDir, wal.Options{})
		// A writer takes the lock a moment before it writes its process id there, and a reader that looks at the lock
		// holds it for a moment.
		if err != nil || !held || owner.PID != 0 || time.Since(began) > patience {
			return held, owner.Note, err
		}
		select {
		case <-time.After(patience / 20):
		case <-ctx.Done():
			return false, "", ctx.Err()
		}
	}
}

// reindexUnfinished reports whether the forensic tables are incomplete. The next writer completes them.
func reindexUnfinished(ctx context.Context, dir string) (bool, error) {
	sql, err := sqlstore.Open(ctx, storedir.SQLitePath(dir), sqlstore.Options{ReadOnly: true, Readers: 1})
	if err != nil {
		return false, err
	}
	defer sql.Close()
	return sql.NeedsReindex(ctx)
}
