//go:build unix

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/auditsql/auditsql/internal/sequential"
)

// The service is the user that most systems call nobody; stranger is another one.
const (
	service  = 65534
	stranger = 65533
)

// A sharedFolder is a folder that every user can enter, with the program in it. Tests that need one need root.
type sharedFolder struct {
	dir     string
	program string
}

func newSharedFolder(t *testing.T) sharedFolder {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can run commands as other users")
	}
	dir, err := os.MkdirTemp("/tmp", "auditsql-owner-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := sharedFolder{dir, filepath.Join(dir, "auditsql")}
	installed, err := exec.LookPath("auditsql")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(installed)
	if err == nil {
		err = os.WriteFile(h.program, program, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// as returns a command of the program that another user runs.
func (h sharedFolder) as(uid uint32, args ...string) *exec.Cmd {
	cmd := exec.Command(h.program, args...)
	cmd.Dir = h.dir
	cmd.Env = append(os.Environ(), "GORACE="+withoutNap, "HOME="+h.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}

func (h sharedFolder) run(t *testing.T, uid uint32, args ...string) (said string, code int) {
	t.Helper()
	var stderr strings.Builder
	cmd := h.as(uid, args...)
	cmd.Stderr = &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return stderr.String(), cmd.ProcessState.ExitCode()
}

func (h sharedFolder) wantDone(t *testing.T, uid uint32, args ...string) {
	t.Helper()
	if said, code := h.run(t, uid, args...); code != exitDone {
		t.Fatalf("user %d, %q: exit code %d: %s", uid, args, code, said)
	}
}

// killedService leaves a store of the service's as it is when the service dies: with records that SQLite may lack.
func (h sharedFolder) killedService(t *testing.T, store string) {
	t.Helper()
	cmd := h.as(service, "-d", store, "import", "-", "--ack")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for i := range 20 {
		line, id := record(1000 + i)
		answer := make([]byte, len(id)+1)
		if _, err := fmt.Fprintln(in, line); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(answer); err != nil {
			t.Fatal(err)
		}
	}
}

// strangers is everything below a folder that does not belong to the service, or that others may use.
func strangers(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		s := info.Sys().(*syscall.Stat_t)
		if s.Uid != service || s.Gid != service || info.Mode().Perm()&0o077 != 0 {
			all = append(all, fmt.Sprintf("%s %d:%d %v", path, s.Uid, s.Gid, info.Mode()))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Whatever root does to the service's store, the store stays the service's: the service must not be locked out of
// it.
func TestWhatRootMakesInAStoreBelongsToWhoseTheStoreIs(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	h := newSharedFolder(t)
	remove := func(names ...string) func(t *testing.T, store string) {
		return func(t *testing.T, store string) {
			for _, name := range names {
				if err := os.RemoveAll(filepath.Join(store, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	nothing := remove()
	for name, c := range map[string]struct {
		before  func(t *testing.T, store string)
		command []string
	}{
		"a look":                   {nothing, []string{"recent"}},
		"verify":                   {nothing, []string{"verify"}},
		"a backup":                 {nothing, []string{"backup", filepath.Join(h.dir, "backup")}},
		"a put":                    {nothing, []string{"put", "--subject", "b", "--confidence", "1"}},
		"many segments":            {nothing, []string{"put", "--subject", strings.Repeat("b", 500), "--confidence", "1"}},
		"a label":                  {nothing, []string{"name", strings.Repeat("0a", 32), "somebody"}},
		"reindex":                  {nothing, []string{"reindex"}},
		"a database that is lost":  {remove("audit.db", "audit.db-wal", "audit.db-shm"), []string{"recent"}},
		"a database that is moved": {remove("audit.db-wal", "audit.db-shm"), []string{"recent"}},
		"a note that is lost":      {remove("store.json", "audit.db", "audit.db-wal", "audit.db-shm", "ids.filter"), []string{"recent"}},
		"a torn tail": {func(t *testing.T, store string) {
			f, err := os.OpenFile(newestSegment(t, store), os.O_WRONLY|os.O_APPEND, 0)
			if err == nil {
				_, err = f.WriteString("torn")
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}, []string{"recent"}},
		"a repair": {func(t *testing.T, store string) {
			h.wantDone(t, service, "-d", store, "recent") // so that SQLite has what is lost
			segments, err := filepath.Glob(filepath.Join(store, "wal", "*.wal"))
			if err == nil {
				err = os.WriteFile(segments[0], []byte("damaged"), 0)
			}
			if err != nil {
				t.Fatal(err)
			}
			h.wantDone(t, service, "-d", store, "put", "--subject", "b", "--confidence", "1")
		}, []string{"wal", "repair", "--apply"}},
		"a segment that is missing": {func(t *testing.T, store string) {
			h.wantDone(t, service, "-d", store, "recent") // so that SQLite has what is lost
			segments, err := filepath.Glob(filepath.Join(store, "wal", "*.wal"))
			if err == nil {
				err = os.Remove(segments[1])
			}
			if err != nil {
				t.Fatal(err)
			}
			h.wantDone(t, service, "-d", store, "put", "--subject", "b", "--confidence", "1")
		}, []string{"wal", "repair", "--apply"}},
	} {
		for _, mount := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, in a mount of root's: %v", name, mount), func(t *testing.T) {
				t.Parallel()
				around, err := os.MkdirTemp(h.dir, "case")
				if err != nil {
					t.Fatal(err)
				}
				store := filepath.Join(around, "s")
				if err := errors.Join(os.Chmod(around, 0o755), os.Mkdir(store, 0o700), os.Chown(store, service, service)); err != nil {
					t.Fatal(err)
				}
				h.wantDone(t, service, "-d", store, "init", "--segment-bytes", "300")
				h.wantDone(t, service, "-d", store, "put", "--subject", "a", "--confidence", "1")
				h.killedService(t, store)
				c.before(t, store)
				if mount {
					if err := errors.Join(os.Chown(store, 0, 0), os.Chmod(store, 0o777)); err != nil {
						t.Fatal(err)
					}
				}
				args := append([]string{"-d", store}, c.command...)
				if c.command[0] == "backup" {
					args[len(args)-1] += filepath.Base(around)
				}
				if said, code := h.run(t, 0, args...); code != exitDone {
					t.Fatalf("%q: exit code %d: %s", args, code, said)
				}
				if mount {
					if err := errors.Join(os.Chown(store, service, service), os.Chmod(store, 0o700)); err != nil {
						t.Fatal(err)
					}
				}
				if all := strangers(t, store); len(all) > 0 {
					t.Errorf("not the service's: %q", all)
				}
				h.wantDone(t, service, "-d", store, "put", "--subject", "c", "--confidence", "1")
				h.wantDone(t, service, "-d", store, "recent")
			})
		}
	}
}

func newestSegment(t *testing.T, store string) string {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(store, "wal", "*.wal"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	return segments[len(segments)-1]
}

// A store that root makes in the service's folder is the service's, with a journal on another disk too.
func TestAStoreThatRootMakesBelongsToWhoseTheFolderIs(t *testing.T) {
	t.Parallel()
	h := newSharedFolder(t)
	store, disk := filepath.Join(h.dir, "s"), filepath.Join(h.dir, "disk")
	if err := errors.Join(os.Mkdir(store, 0o700), os.Chown(store, service, service), os.Mkdir(disk, 0o755)); err != nil {
		t.Fatal(err)
	}
	h.wantDone(t, 0, "-d", store, "init", "--wal-dir", filepath.Join(disk, "journal"))
	if all := append(strangers(t, store), strangers(t, filepath.Join(disk, "journal"))...); len(all) > 0 {
		t.Errorf("not the service's: %q", all)
	}
	h.wantDone(t, service, "-d", store, "put", "--subject", "a", "--confidence", "1")
}

// Somebody who is neither root nor the one whose store it is cannot keep it that one's, and is refused before
// anything is changed, even where the modes would let him write. Reading shows what SQLite has.
func TestAnotherUsersStoreIsNotWrittenTo(t *testing.T) {
	t.Parallel()
	h := newSharedFolder(t)
	store := filepath.Join(h.dir, "s")
	if err := errors.Join(os.Mkdir(store, 0o700), os.Chown(store, service, service)); err != nil {
		t.Fatal(err)
	}
	h.wantDone(t, service, "-d", store, "put", "--subject", "a", "--confidence", "1")
	h.killedService(t, store)
	err := filepath.WalkDir(store, func(path string, e fs.DirEntry, err error) error {
		mode := fs.FileMode(0o666)
		if e.IsDir() {
			mode = 0o777
		}
		return errors.Join(err, os.Chmod(path, mode))
	})
	if err != nil {
		t.Fatal(err)
	}
	before := content(t, store)
	delete(before, "audit.db-shm") // SQLite's readers count themselves there
	for _, args := range [][]string{
		{"put", "--subject", "b", "--confidence", "1"}, {"init"}, {"reindex"}, {"wal", "repair", "--apply"},
		{"name", strings.Repeat("0a", 32), "somebody"},
	} {
		said, code := h.run(t, stranger, append([]string{"-d", store}, args...)...)
		if code != exitFailed || strings.Count(said, "\n") != 1 && args[0] != "name" ||
			!strings.Contains(said, "store.json belongs to user ") || !strings.Contains(said, fmt.Sprintf("(%d)", service)) ||
			!strings.Contains(said, fmt.Sprintf("this process runs as user %d", stranger)) ||
			!strings.Contains(said, "; try: sudo -u ") {
			t.Errorf("%q: exit code %d: %s", args, code, said)
		}
	}
	said, code := h.run(t, stranger, "-d", store, "recent")
	if code != exitDone || !strings.Contains(said, "showing what SQLite has") {
		t.Errorf("exit code %d: %s", code, said)
	}
	after := content(t, store)
	delete(after, "audit.db-shm")
	wantSame(t, "another user", before, after)
	h.wantDone(t, service, "-d", store, "put", "--subject", "c", "--confidence", "1")
}

// A user who may read a store and not write to it sees what SQLite has, and why that may not be everything. The error for
// a user who may not even read it says which folder is the reason.
func TestAStoreThatMayNotBeWrittenToIsShownAsItIs(t *testing.T) {
	t.Parallel()
	h := newSharedFolder(t)
	h.wantDone(t, 0, "-d", "store", "put", "--subject", "one")
	store := filepath.Join(h.dir, "store")
	before := filepath.Join(h.dir, "before")
	if err := os.CopyFS(before, os.DirFS(store)); err != nil {
		t.Fatal(err)
	}
	h.wantDone(t, 0, "-d", "store", "put", "--subject", "two")
	journal := filepath.Join(before, "wal")
	err := os.RemoveAll(journal)
	if err == nil {
		err = os.CopyFS(journal, os.DirFS(filepath.Join(store, "wal")))
	}
	if err == nil {
		err = filepath.WalkDir(before, func(path string, e fs.DirEntry, err error) error {
			mode := fs.FileMode(0o400)
			if e.IsDir() {
				mode = 0o500
			}
			return errors.Join(err, os.Chmod(path, mode), os.Chown(path, service, service))
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	said, code := h.run(t, service, "-d", "before", "list")
	if code != exitDone || !strings.Contains(said, "it cannot be recovered without the right to write there") {
		t.Errorf("exit code %d: %s", code, said)
	}
	said, code = h.run(t, stranger, "-d", "before", "list")
	if code != exitFailed || !strings.HasSuffix(said, "; try: ls -ld before shows who may\n") {
		t.Errorf("exit code %d: %s", code, said)
	}
}
