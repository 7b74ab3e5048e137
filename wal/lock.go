package wal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// takeLock tries for a while, since readers hold the lock for the moment in which they probe it.
func takeLock(ctx context.Context, fsys FS, name string, wait time.Duration, note string) (Lock, error) {
	const pause = 5 * time.Millisecond
	owner := strconv.Itoa(os.Getpid()) + "\n"
	if note != "" {
		owner += note + "\n"
	}
	for start := time.Now(); ; {
		l, err := fsys.Lock(name, owner)
		if !errors.Is(err, ErrLocked) {
			return l, err
		}
		if time.Since(start) >= wait {
			return nil, &LockedError{Path: name, PID: lockOwner(fsys, name).PID}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s: %w", name, ctx.Err())
		}
	}
}

// TakeLock takes the lock that the writer of a journal in dir has, and makes the folder if it is missing. It is for a store whose
// records do not come from a journal, and which has one writer at a time all the same. Of the options it uses LockWait, LockNote
// and FS. It fails with a *LockedError.
func TakeLock(ctx context.Context, dir string, o Options) (Lock, error) {
	o = o.withDefaults()
	if err := makeDir(o.FS, dir); err != nil {
		return nil, err
	}
	return takeLock(ctx, o.FS, filepath.Join(dir, lockName), o.LockWait, o.LockNote)
}

// Owner is the process that holds a journal's lock, as far as the lock's file says.
type Owner struct {
	PID  int    // 0 when it is not known
	Note string // its Options.LockNote
}

func lockOwner(fsys FS, name string) (o Owner) {
	f, err := fsys.Open(name)
	if err != nil {
		return o
	}
	defer f.Close()
	b := make([]byte, 24+maxLockNote)
	n, _ := f.ReadAt(b, 0)
	pid, note, _ := strings.Cut(string(b[:n]), "\n")
	o.PID, _ = strconv.Atoi(strings.TrimSpace(pid))
	o.Note = strings.TrimSuffix(note, "\n")
	return o
}

// Holder reports whether a writer has the journal in dir open, and which process that is.
func Holder(dir string, o Options) (held bool, owner Owner, err error) {
	o = o.withDefaults()
	name := filepath.Join(dir, lockName)
	held, err = o.FS.Locked(name)
	if err != nil {
		return false, owner, fmt.Errorf("probe the lock: %w", err)
	}
	if held {
		owner = lockOwner(o.FS, name)
	}
	return held, owner, nil
}
