package audit_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A connection that SQLite keeps half open keeps its files, and its locks, for the life of the process.
func TestAClosedStoreHoldsNoFiles(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the open files are read from /proc")
	}
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir)
	putSamples(t, db, 0, 10)
	wantSound(t, db)
	closeDB(t, db)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if name, _ := os.Readlink(filepath.Join("/proc/self/fd", fd.Name())); strings.HasPrefix(name, dir) {
			t.Errorf("still open: %s", name)
		}
	}
	for _, name := range []string{"audit.db-wal", "audit.db-shm"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is left", name)
		}
	}
}
