package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/auditsql/auditsql/sqlstore"
)

// A label that cannot be written because a shell holds SQLite's write lock can be written later. Waiting for
// that in a script would take as long as SQLite waits, ten seconds.
func TestABusyDatabaseIsLocked(t *testing.T) {
	t.Parallel()
	if code := exitCode(fmt.Errorf("write labels: %w", errors.Join(errors.New("x"), sqlstore.ErrBusy))); code != exitLocked {
		t.Errorf("exit code %d", code)
	}
}
