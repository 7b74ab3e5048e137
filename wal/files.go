package wal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"
)

// copyFile copies the bytes [from, to) of src to a new file, whose content is durable when it returns. When it
// fails it leaves no file: a full disk would stay full, and half a copy is of no use.
func copyFile(ctx context.Context, fsys FS, src File, from, to int64, name string) error {
	dst, err := fsys.Create(name)
	if err != nil {
		return err
	}
	err = copyRange(ctx, dst, src, from, to, 0)
	if err == nil {
		err = dst.Sync()
	}
	if err = errors.Join(err, dst.Close()); err != nil {
		fsys.Remove(name)
	}
	return err
}

// copyRange copies the bytes [from, to) of src to position at of dst.
func copyRange(ctx context.Context, dst, src File, from, to, at int64) error {
	buf := make([]byte, min(to-from, 1<<20))
	for from < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(int64(len(buf)), to-from)]
		if n, err := src.ReadAt(b, from); n < len(b) {
			return err
		}
		if _, err := dst.WriteAt(b, at); err != nil {
			return err
		}
		from, at = from+int64(len(b)), at+int64(len(b))
	}
	return nil
}

// quarantine copies the bytes [from, to) of a file of the journal in dir to a new file, durable when it
// returns.
func quarantine(ctx context.Context, fsys FS, dir string, now func() time.Time, off Offset, src File, from, to int64) (string, error) {
	folder := filepath.Join(dir, quarantineDir)
	if err := fsys.Mkdir(folder); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	// A recovery may have made the folder and died before it synced the name.
	if err := syncFolder(fsys, dir); err != nil {
		return "", err
	}
	for nanos := now().UnixNano(); ; nanos++ {
		name := filepath.Join(folder, fmt.Sprintf("%016x-%d.bin", uint64(off), nanos))
		err := copyFile(ctx, fsys, src, from, to, name)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		if err := syncFolder(fsys, folder); err != nil {
			fsys.Remove(name)
			return "", err
		}
		return name, nil
	}
}
