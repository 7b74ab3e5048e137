package faults_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/faults/fusefs"
)

// The copy of a store is made beside the folder whose place it takes. Beside a mount point is another disk, which may have no room for it.
func TestABackupToAMountPointIsRefusedBeforeAnythingIsCopied(t *testing.T) {
	mounted(t) // or it is skipped
	disk, err := fusefs.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	db, err := audit.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = db.Backup(t.Context(), disk.Mount())
	if err == nil || !strings.Contains(err.Error(), "is a mount point") || !strings.Contains(err.Error(), filepath.Join(disk.Mount(), "NAME")) {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(disk.Mount()); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// A store is restored from a backup, and nobody syncs the folders in which it stands then. What is acknowledged after that must be there
// after a power cut.
func TestAStoreThatWasJustRestored(t *testing.T) {
	t.Parallel()
	eachSeed(t, "restored", func(s *store, random *rand.Rand) error {
		db := must(s.open())
		s.fill(db, 10)
		s.backUp(db)
		ok(db.Close())
		ok(os.RemoveAll(s.dir()))
		syncFolder(s.m.Dir())
		ok(os.Rename(filepath.Join(s.m.Dir(), "backup"), s.dir()))
		db = must(s.open())
		ok(s.put(db, 1))
		s.m.PowerCut()
		db.Close()
		return s.recovered()
	})
}
