package sqlstore_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/sqlstore"
)

// Whoever looks at one database alone, which may take minutes, keeps nobody from opening another one. Who wants the
// same one waits as long as his context.
func TestALookAloneHoldsUpNoOtherDatabase(t *testing.T) {
	t.Parallel()
	paths := [2]string{}
	for i := range paths {
		paths[i] = filepath.Join(t.TempDir(), "audit.db")
		db, err := sqlstore.Open(t.Context(), paths[i], sqlstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	waiting := make(chan error)
	done := sqlstore.Alone(t.Context(), paths[0], func() {
		db, err := sqlstore.Open(t.Context(), paths[1], sqlstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if _, ok, err := sqlstore.CheckAlone(t.Context(), paths[1]); !ok || err != nil {
			t.Errorf("the other one: %v, %v", ok, err)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if _, err := sqlstore.Open(ended, paths[0], sqlstore.Options{ReadOnly: true}); !errors.Is(err, context.Canceled) {
			t.Errorf("the same one: %v", err)
		}
		go func() {
			db, err := sqlstore.Open(t.Context(), paths[0], sqlstore.Options{ReadOnly: true})
			if err == nil {
				err = db.Close()
			}
			waiting <- err
		}()
		select {
		case err := <-waiting:
			t.Errorf("the same one was opened meanwhile: %v", err)
		default:
		}
	})
	if !done {
		t.Fatal("it was not looked at")
	}
	if err := <-waiting; err != nil {
		t.Errorf("the same one, afterwards: %v", err)
	}
}
