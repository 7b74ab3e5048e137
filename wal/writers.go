package wal

import (
	"context"
	"sync"
	"sync/atomic"
)

// writers are the journals that this process has open, so that a reader in the same process finds its writer. The
// key holds the file system, so tests with file systems of their own do not see each other.
var writers = struct {
	sync.RWMutex
	open map[writerKey]*Journal
	// version changes with every change, so that a reader need not look again before it does.
	version atomic.Uint64
}{open: map[writerKey]*Journal{}}

type writerKey struct {
	fs  FS
	dir string
}

func register(j *Journal) error {
	dir, err := j.fs.Canonical(j.dir)
	if err != nil {
		return err
	}
	writers.Lock()
	defer writers.Unlock()
	writers.open[writerKey{j.fs, dir}] = j
	writers.version.Add(1)
	return nil
}

func unregister(j *Journal) {
	writers.Lock()
	defer writers.Unlock()
	for key, open := range writers.open {
		if open == j {
			delete(writers.open, key)
			writers.version.Add(1)
		}
	}
}

// syncedIn returns the offset up to which the journal in dir is synced, if this process has it open. It waits for one
// that is being opened.
func syncedIn(ctx context.Context, fsys FS, dir string) (synced Offset, open bool, err error) {
	canonical, err := fsys.Canonical(dir)
	if err != nil {
		return 0, false, err
	}
	w := writerOf(fsys, canonical)
	if w == nil {
		return 0, false, nil
	}
	select {
	case <-w.ready:
	case <-ctx.Done():
		return 0, false, ctx.Err()
	}
	return w.Synced(), w.recovered, nil
}

// writerOf returns the journal that this process has open in dir, or nil.
func writerOf(fsys FS, canonical string) *Journal {
	writers.RLock()
	defer writers.RUnlock()
	return writers.open[writerKey{fsys, canonical}]
}
