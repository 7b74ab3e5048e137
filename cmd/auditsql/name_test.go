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
	if code := exitCode(fmt.Errorf("write labels: %w", errors.Join(errors.New("x"), sqlstore.ErrBusy))); code != exitLocked {
		t.Errorf("exit code %d", code)
	}
}

func TestCheckLabel(t *testing.T) {
	for label, ok := range map[string]bool{
		"planner-7": true, "mail 7731": true, "東京": true, "cafe": true, "1234567": true, "0x12345678": true, "deadbeef cafe": true,
		"": false, " x": false, "x\t": false, "a\nb": false, "a\u202eb": false, "a\u200bb": false, "\xff": false,
		"deadbeef": false, "DEADBEEF01": false, "12345678": false,
	} {
		if err := checkLabel(label); (err == nil) != ok {
			t.Errorf("%q: %v", label, err)
		}
	}
}
