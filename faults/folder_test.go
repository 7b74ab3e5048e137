package faults_test

import (
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
