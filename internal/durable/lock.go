package durable

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// errHeld means that somebody else holds a lock.
var errHeld = errors.New("the lock is held")

// Lock takes the lock of the file name, and makes the file if there is none. It gets the owner of like, see Create. Lock
// waits for another holder, of this process or another one, until ctx ends. unlock releases it, and so does the end of the
// process. The file stays: a second process may wait for the lock on it while a third one makes a file of the same name.
func Lock(ctx context.Context, name, like string) (unlock func() error, err error) {
	const pause = 5 * time.Millisecond
	f, err := OpenWrite(name)
	for errors.Is(err, os.ErrNotExist) {
		if f, err = Create(name, like); errors.Is(err, os.ErrExist) {
			f, err = OpenWrite(name) // another process has just made it
		}
	}
	if err != nil {
		return nil, err
	}
	for {
		err := tryLock(f)
		if err == nil {
			return f.Close, nil
		}
		if !errors.Is(err, errHeld) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for the lock %s: %w", name, context.Cause(ctx)), f.Close())
		}
	}
}
