package kvshim_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/kvshim"
	"github.com/auditsql/auditsql/kvshim/kvtest"
	"github.com/auditsql/auditsql/sqlstore"
)

var bg = context.Background()

// openSQLite opens the database at path and closes it with the test.
func openSQLite(t *testing.T, path string) *kvshim.SQLite {
	t.Helper()
	kv, err := kvshim.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kv.Close(); err != nil {
			t.Error(err)
		}
	})
	return kv
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	kvtest.Run(t, func(t *testing.T) kvshim.Store {
		return openSQLite(t, filepath.Join(t.TempDir(), "kv.db"))
	})
}

func TestSQLiteKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "kv.db")
	kv, err := kvshim.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{"key": "value", "": "", "\x00AUD:id": "{}"} {
		if err := kv.Put(ctx, []byte(key), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := kv.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	if err := kv.Put(ctx, []byte("key"), nil); !errors.Is(err, sqlstore.ErrClosed) {
		t.Errorf("Put after Close: %v", err)
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Close left the write-ahead log behind: %v", err)
	}

	kv = openSQLite(t, path)
	for key, value := range map[string]string{"key": "value", "": "", "\x00AUD:id": "{}"} {
		if got, err := kv.Get(ctx, []byte(key)); err != nil || string(got) != value {
			t.Errorf("Get(%q) = %q, %v, want %q", key, got, err, value)
		}
	}
	if err := kv.Delete(ctx, []byte("\x00AUD:id")); !errors.Is(err, kvshim.ErrWriteOnce) {
		t.Errorf("Delete of an audit key after reopening: %v", err)
	}
}

// TestNewLeavesTheDatabaseOpen is about stores that share a database with its owner.
func TestNewLeavesTheDatabaseOpen(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db, err := sqlstore.Open(ctx, filepath.Join(t.TempDir(), "kv.db"), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	kv := kvshim.New(db)
	if err := kv.Put(ctx, []byte("key"), []byte("value")); err != nil {
		t.Fatal(err)
	}
	if err := kv.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := db.Get(ctx, []byte("key")); err != nil || string(got) != "value" {
		t.Errorf("after Close the database gives %q, %v", got, err)
	}
}

// TestWriteAheadLogStaysBounded writes one value over and over: without checkpoints, -wal would take
// every version of it.
func TestWriteAheadLogStaysBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "kv.db")
	kv := openSQLite(t, path)
	value := bytes.Repeat([]byte("v"), 1<<20)
	for i := range 40 {
		if err := kv.Put(t.Context(), []byte("key"), append(value, byte(i))); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if most := int64(16 << 20); info.Size() > most {
		t.Errorf("-wal has %d bytes after 40 MiB of writes, want at most %d", info.Size(), most)
	}
}

// TestCancelWhileWriting ends contexts at random points of a batch: it is applied or not, the error is
// the context's when there is one, and the next batch is not held up by it.
func TestCancelWhileWriting(t *testing.T) {
	t.Parallel()
	kv := openSQLite(t, filepath.Join(t.TempDir(), "kv.db"))
	for round := range 30 {
		var b kvshim.Batch
		for i := range 200 {
			b.Put(fmt.Appendf(nil, "%d/%d", round, i), []byte("value"))
		}
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		err := kv.Apply(ctx, &b)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Apply: %v", err)
		}
		n := 0
		for _, err := range kv.Scan(t.Context(), fmt.Appendf(nil, "%d/", round), kvshim.ScanOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 0 && n != 200 || err == nil && n != 200 {
			t.Errorf("%d of 200 writes are there; Apply: %v", n, err)
		}
	}
}
