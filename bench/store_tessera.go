package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"

	"github.com/auditsql/auditsql/audit"
)

// tesseraStore is Tessera's POSIX storage: a transparency log in files, without ids. A put returns when its record is on disk
// and in the tree. A record counts as applied when a signed checkpoint on disk covers it.
type tesseraStore struct {
	add      tessera.AddFn
	log      tessera.LogReader
	shutdown func(context.Context) error
	stop     context.CancelFunc
	size     atomic.Uint64 // records up to the last one that a put has returned for
}

// checkpointEvery is the shortest interval that the storage allows.
const checkpointEvery = 100 * time.Millisecond

// unlogged keeps Tessera from logging each opening. Its errors go on to standard error.
var unlogged = sync.OnceFunc(func() {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
})

func openTessera(s settings) (store, error) {
	unlogged()
	signer, err := tesseraKey(filepath.Join(s.dir, "bench.key"))
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	driver, err := posix.New(ctx, posix.Config{Path: filepath.Join(s.dir, "log")})
	if err != nil {
		stop()
		return nil, err
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithCheckpointInterval(checkpointEvery).
		// As with bbolt: a batch ends when every writer has joined it, or after a millisecond, which is about the time of a
		// sync. The default of 250 ms would be most of the time of a put.
		WithBatching(uint(max(s.writers, 1)), time.Millisecond)
	appender, shutdown, log, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		stop()
		return nil, err
	}
	return &tesseraStore{add: appender.Add, log: log, shutdown: shutdown, stop: stop}, nil
}

// tesseraKey reads the key that signs the checkpoints. It makes one for a new log.
func tesseraKey(file string) (note.Signer, error) {
	key, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		secret, _, err := note.GenerateKey(rand.Reader, "bench.example")
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
			return nil, err
		}
		return note.NewSigner(secret)
	}
	if err != nil {
		return nil, err
	}
	return note.NewSigner(string(key))
}

func (t *tesseraStore) put(ctx context.Context, q *audit.QueryAudit) error {
	raw, err := q.Canonical()
	if err != nil {
		return err
	}
	return t.settle(t.add(ctx, tessera.NewEntry(raw)))
}

func (t *tesseraStore) load(ctx context.Context, qs []*audit.QueryAudit) error {
	futures := make([]tessera.IndexFuture, len(qs))
	for i, q := range qs {
		raw, err := q.Canonical()
		if err != nil {
			return fmt.Errorf("record %d of a batch: %w", i, err)
		}
		futures[i] = t.add(ctx, tessera.NewEntry(raw))
	}
	for _, f := range futures {
		if err := t.settle(f); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until a record is on disk.
func (t *tesseraStore) settle(f tessera.IndexFuture) error {
	at, err := f()
	if err != nil {
		return err
	}
	for {
		size := t.size.Load()
		if size > at.Index || t.size.CompareAndSwap(size, at.Index+1) {
			return nil
		}
	}
}

// drain waits until a checkpoint covers every record that was put.
func (t *tesseraStore) drain(ctx context.Context) error {
	for {
		size, err := t.signed(ctx)
		if err != nil {
			return err
		}
		if size >= t.size.Load() {
			return nil
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// signed returns the size of the newest checkpoint, which is in the second line of its text.
func (t *tesseraStore) signed(ctx context.Context) (uint64, error) {
	checkpoint, err := t.log.ReadCheckpoint(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(checkpoint, []byte("\n"))
	size, _, _ := strings.Cut(string(rest), "\n")
	return strconv.ParseUint(size, 10, 64)
}

// applied returns how many records a checkpoint covers. What was opened is a new log, so this is since the opening.
func (t *tesseraStore) applied() int64 {
	size, err := t.signed(context.Background())
	if err != nil {
		return 0 // drain returns the error
	}
	return int64(size)
}

func (t *tesseraStore) close() error {
	err := t.shutdown(context.Background())
	t.stop()
	return err
}
