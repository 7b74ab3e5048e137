//go:build unix

package sqlstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/auditsql/auditsql/sqlstore"
)

// helper runs one of the helpers below in a process of its own, as a user who is not root if that is asked
// for and this one is, since root may write everywhere.
func helper(t *testing.T, name string, unprivileged bool, args ...string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if unprivileged && os.Getuid() == 0 {
		public := publicDir(t)
		copied := filepath.Join(public, "helper")
		// By another process: a descriptor of ours that writes the file would be passed on to whatever other tests start
		// meanwhile, and a file that somebody has open for writing cannot be run.
		if out, err := exec.CommandContext(t.Context(), "cp", exe, copied).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := os.Chmod(copied, 0o755); err != nil {
			t.Fatal(err)
		}
		exe = copied
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestHelper$", "-test.v=false")
	cmd.Env = append(os.Environ(), "SQLSTORE_HELPER="+strings.Join(append([]string{name}, args...), "\n"))
	if unprivileged && os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Dir = "/"
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("helper %s: %v: %s", name, err, out)
	}
	answer, _, ok := strings.Cut(string(out), "\nend of answer\n")
	if !ok {
		t.Fatalf("helper %s says %q", name, out)
	}
	return answer
}

// publicDir is a new folder that every user can get into.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sqlstore")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestHelper(t *testing.T) {
	t.Parallel()
	call := strings.Split(os.Getenv("SQLSTORE_HELPER"), "\n")
	if call[0] == "" {
		t.Skip("only for other tests")
	}
	ctx := context.Background()
	switch call[0] {
	case "read": // counts the records, opened read-only
		m, err := sqlstore.ReadCursor(ctx, call[1])
		if err != nil {
			fmt.Print("look: ", err)
			break
		}
		db, err := sqlstore.Open(ctx, call[1], sqlstore.Options{ReadOnly: true})
		if err != nil {
			fmt.Print(err)
			break
		}
		n := 0
		for _, err := range db.Select(ctx, sqlstore.Filter{}) {
			if err != nil {
				fmt.Print(err)
				break
			}
			n++
		}
		fmt.Print(m.Cursor, " ", n, " ", db.Close())
	case "write": // opens for writing
		db, err := sqlstore.Open(ctx, call[1], sqlstore.Options{})
		fmt.Print(err)
		if err == nil {
			db.Close()
		}
	case "full": // applies until files may not grow any more
		signal.Ignore(syscall.SIGXFSZ)
		db, err := sqlstore.Open(ctx, call[1], sqlstore.Options{})
		if err != nil {
			fmt.Print(err)
			break
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 2 << 20, Max: 2 << 20}); err != nil {
			fmt.Print(err)
			break
		}
		for i := 0; err == nil; i += 200 {
			_, err = db.Apply(ctx, &sqlstore.Batch{Records: samples(i, i+200), Cursor: uint64(i+200) * 100})
		}
		fmt.Print(err)
		os.Stdout.WriteString("\nend of answer\n")
		os.Exit(0) // as if killed
	case "uncopied": // a checkpoint beside the writer finds no room, and later there is room again
		signal.Ignore(syscall.SIGXFSZ)
		fmt.Print(uncopied(ctx, call[1]))
	case "no descriptor": // a checkpoint beside the writer has no descriptor left for its connection
		fmt.Print(withoutDescriptor(ctx, call[1]))
	case "killed": // writes, and is killed in the middle of a transaction
		db, err := sqlstore.Open(ctx, call[1], sqlstore.Options{})
		if err != nil {
			fmt.Print(err)
			break
		}
		if _, err = db.Apply(ctx, &sqlstore.Batch{Records: samples(0, 50), Cursor: 5000}); err != nil {
			fmt.Print(err)
			break
		}
		err = db.Reindex(ctx, decode, func(done, total uint64) {
			os.Stdout.WriteString("\nend of answer\n")
			os.Exit(0)
		})
		fmt.Print(err)
	}
	os.Stdout.WriteString("\nend of answer\n")
}

// uncopied applies records until a checkpoint beside the writer fails, since the database may not grow, and says why.
func uncopied(ctx context.Context, path string) (failed error) {
	db, err := sqlstore.Open(ctx, path, sqlstore.Options{})
	if err != nil {
		return err
	}
	n := 0
	more := func(by int) error {
		_, err := db.Apply(ctx, &sqlstore.Batch{Records: samples(n, n+by), Cursor: uint64(n+by) * 100})
		n += by
		return err
	}
	var free syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &free); err != nil {
		return err
	}
	full := free
	full.Cur = 4 << 20
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full); err != nil {
		return err
	}
	for failed == nil {
		if err := more(50); err != nil {
			return err
		}
		if failed = db.CheckpointBeside(ctx); failed == nil {
			// So that -wal begins anew: it is the database that is to find no room.
			if _, err := db.Checkpoint(ctx, false); err != nil {
				return err
			}
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &free); err != nil {
		return err
	}
	// There is room now, and a checkpoint would succeed. What the failed one had written is not known to be on disk all
	// the same, so there is none, and nothing more is written.
	if err := db.CheckpointBeside(ctx); !errors.Is(err, sqlstore.ErrFailed) {
		return fmt.Errorf("beside, with room: %w", err)
	}
	if c, err := db.Checkpoint(ctx, false); !errors.Is(err, sqlstore.ErrFailed) {
		return fmt.Errorf("a checkpoint after one that failed: %+v, %w", c, err)
	}
	if err := more(50); !errors.Is(err, sqlstore.ErrFailed) {
		return fmt.Errorf("afterwards: %w", err)
	}
	before, err := os.ReadFile(path + "-wal")
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	after, err := os.ReadFile(path + "-wal")
	if err != nil || !bytes.Equal(before, after) {
		return fmt.Errorf("closing has emptied -wal: %d bytes of %d, %w", len(after), len(before), err)
	}
	return failed
}

// withoutDescriptor runs a checkpoint beside the writer while the process cannot open any file, and another checkpoint when it
// can again. It returns what was logged, and the error.
func withoutDescriptor(ctx context.Context, path string) (logged string, err error) {
	var log bytes.Buffer
	db, err := sqlstore.Open(ctx, path, sqlstore.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		return "", err
	}
	if _, err := db.Apply(ctx, &sqlstore.Batch{Records: samples(0, 50), Cursor: 5000}); err != nil {
		return "", err
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return "", err
	}
	limit.Cur = min(limit.Cur, 128)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return "", err
	}
	var taken []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if errors.Is(err, syscall.EMFILE) {
			break
		}
		if err != nil {
			return "", err
		}
		taken = append(taken, f)
	}
	err = db.CheckpointBeside(ctx)
	for _, f := range taken {
		f.Close()
	}
	if err != nil {
		return "", fmt.Errorf("beside: %w", err)
	}
	if c, err := db.Checkpoint(ctx, false); err != nil || !c.Complete || c.Applied != 5000 {
		return "", fmt.Errorf("afterwards: %+v, %w", c, err)
	}
	return log.String(), db.Close()
}

// A checkpoint beside the writer that finds no descriptor has copied nothing, and nothing has failed: the checkpoint that
// follows does it all.
func TestACheckpointBesideWithoutADescriptor(t *testing.T) {
	t.Parallel()
	got := helper(t, "no descriptor", false, filepath.Join(t.TempDir(), "audit.db"))
	if !strings.Contains(got, "no connection for a checkpoint beside the writer") || !strings.HasSuffix(got, "<nil>") {
		t.Error(got)
	}
}

// The sync of a checkpoint that fails may have dropped pages that no later one writes again, so none may say that
// what was applied is on disk.
func TestACheckpointBesideThatFailedIsNotForgotten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	got := helper(t, "uncopied", false, path)
	if !strings.Contains(got, "checkpoint beside the writer in ") || strings.Contains(got, "\n") {
		t.Fatal(got)
	}
	db := open(t, path, sqlstore.Options{})
	if c, err := db.Checkpoint(t.Context(), false); err != nil || !c.Complete || c.Applied < 50*100 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, problems := check(t, db); len(problems) > 0 {
		t.Errorf("%q", problems)
	}
}

func TestReadingBesideAWriterInAnotherProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	for i := range 3 {
		apply(t, db, samples(i*100, i*100+100)...)
		if got, want := helper(t, "read", false, path), fmt.Sprintf("%d %d <nil>", (i+1)*10000, (i+1)*100); got != want {
			t.Errorf("reader: %s; want %s", got, want)
		}
		if c, err := db.Checkpoint(t.Context(), false); err != nil || !c.Complete {
			t.Errorf("%+v, %v", c, err)
		}
	}
}

func TestKilledInAReindex(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	if got := helper(t, "killed", false, path); got != "" {
		t.Fatal(got)
	}
	db := open(t, path, sqlstore.Options{})
	if needs, err := db.NeedsReindex(t.Context()); !needs || err != nil {
		t.Errorf("%v, %v", needs, err)
	}
	if err := db.Reindex(t.Context(), decode, nil); err != nil {
		t.Fatal(err)
	}
	if _, problems := check(t, db); len(problems) > 0 {
		t.Errorf("%q", problems)
	}
}

// Whether the folder can be written to or not, and whether the write-ahead log and its index are there or
// not, a reader finds what is committed.
func TestReadingInFoldersOfAllKinds(t *testing.T) {
	t.Parallel()
	clean := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, clean, sqlstore.Options{})
	apply(t, db, samples(0, 60)...)
	mustClose(t, db)
	live := filepath.Join(t.TempDir(), "audit.db")
	copyFile(t, clean, live)
	db = open(t, live, sqlstore.Options{})
	apply(t, db, samples(60, 100)...)
	for _, c := range []struct {
		name       string
		from       string
		wal, empty bool
		shm        bool
		want       string
	}{
		{"closed cleanly", clean, false, false, false, "6000 60 <nil>"},
		{"with an empty -wal", clean, false, true, false, "6000 60 <nil>"},
		{"with an empty -wal and -shm", clean, false, true, true, "6000 60 <nil>"},
		{"with -wal", live, true, false, false, "10000 100 <nil>"},
		{"with -wal and -shm", live, true, false, true, "10000 100 <nil>"},
	} {
		for _, mode := range []os.FileMode{0o777, 0o555} {
			t.Run(fmt.Sprintf("%s, folder %o", c.name, mode), func(t *testing.T) {
				dir := publicDir(t)
				path := filepath.Join(dir, "audit.db")
				suffixes := []string{""}
				if c.wal {
					suffixes = append(suffixes, "-wal")
				}
				if c.shm && !c.empty {
					suffixes = append(suffixes, "-shm")
				}
				for _, s := range suffixes {
					if out, err := exec.CommandContext(t.Context(), "cp", c.from+s, path+s).CombinedOutput(); err != nil {
						t.Fatalf("%v: %s", err, out)
					}
				}
				if c.empty {
					if err := os.WriteFile(path+"-wal", nil, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if c.empty && c.shm {
					if err := os.WriteFile(path+"-shm", make([]byte, 32768), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				for _, f := range names(t, dir) {
					if err := os.Chmod(filepath.Join(dir, f), mode&0o666); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.Chmod(dir, mode); err != nil {
					t.Fatal(err)
				}
				defer os.Chmod(dir, 0o755)
				if got := helper(t, "read", true, path); got != c.want {
					t.Errorf("reader: %s; want %s", got, c.want)
				}
			})
		}
	}
}

func TestWritingInAFolderThatIsReadOnly(t *testing.T) {
	t.Parallel()
	dir := publicDir(t)
	path := filepath.Join(dir, "audit.db")
	mustClose(t, open(t, path, sqlstore.Options{}))
	for _, f := range []string{path, dir} {
		if err := os.Chmod(f, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	defer os.Chmod(dir, 0o755)
	for _, p := range []string{path, filepath.Join(dir, "new.db")} {
		got := helper(t, "write", true, p)
		if got == "<nil>" || strings.Contains(got, "\n") || !strings.Contains(got, p) {
			t.Errorf("error is %q", got)
		}
		t.Log(got)
	}
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	got := helper(t, "full", false, path)
	if got == "<nil>" || strings.Contains(got, "\n") || !strings.Contains(got, path) {
		t.Errorf("error is %q", got)
	}
	t.Log(got)
	db := open(t, path, sqlstore.Options{})
	counts, problems := check(t, db)
	if cursor, err := db.Cursor(t.Context()); err != nil || len(problems) > 0 || counts.Audits == 0 || cursor != counts.Audits*100 {
		t.Errorf("afterwards: cursor %d, %+v, %q, %v", cursor, counts, problems, err)
	}
	apply(t, db, samples(int(counts.Audits), int(counts.Audits)+100)...)
}
