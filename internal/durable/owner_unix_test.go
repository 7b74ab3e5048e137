//go:build unix

package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/auditsql/auditsql/internal/durable"
)

func owned(t *testing.T, name string, uid, gid int) {
	t.Helper()
	if err := os.Chown(name, uid, gid); err != nil {
		t.Fatal(err)
	}
}

func wantOwner(t *testing.T, name string, uid, gid uint32) {
	t.Helper()
	st, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	if s := st.Sys().(*syscall.Stat_t); s.Uid != uid || s.Gid != gid {
		t.Errorf("%s belongs to %d:%d, want %d:%d", name, s.Uid, s.Gid, uid, gid)
	}
}

// What root makes gets the owner of the file that it replaces, else the owner of the file that is named, else the owner
// of the folder.
func TestWhoseAFileIs(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	owned(t, dir, 1001, 1002)
	like, replaced := filepath.Join(dir, "like"), filepath.Join(dir, "replaced")
	write(t, like, "")
	owned(t, like, 1003, 1004)
	write(t, replaced, "")
	owned(t, replaced, 1005, 1006)
	name := func(s string) string { return filepath.Join(dir, s) }
	for _, err := range []error{
		closed(durable.Create(name("created"), "")), closed(durable.Create(name("created like"), like)),
		durable.WriteFile(name("written"), "", text("")), durable.WriteFile(name("written like"), like, text("")),
		durable.WriteFile(replaced, like, text("")),
		durable.MkdirAll(name("a/b"), ""), durable.MkdirAll(name("c/d"), like),
		durable.Stage(name("e/f/staged"), func(part string) (string, error) { return part, nil }),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []string{"created", "written", "a", "a/b", "e", "e/f"} {
		wantOwner(t, name(s), 1001, 1002)
	}
	for _, s := range []string{"created like", "written like", "c", "c/d"} {
		wantOwner(t, name(s), 1003, 1004)
	}
	wantOwner(t, replaced, 1005, 1006)
	for _, s := range []string{replaced, dir, name("missing")} {
		if err := durable.CheckOwner(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestAnotherUsersFile(t *testing.T) {
	t.Parallel()
	e := error(&durable.OwnerError{Path: "store.json", UID: 4242, Euid: 4243})
	if !errors.Is(e, fs.ErrPermission) || e.Error() != "store.json belongs to user 4242, and this process runs as user 4243, who cannot make files for another user" {
		t.Errorf("got %v", e)
	}
	if got := e.(*durable.OwnerError).Owner(); got != "#4242" {
		t.Errorf("got %s", got)
	}
}
