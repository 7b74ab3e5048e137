package durable_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/internal/durable"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// want checks the content of a file, and that no other file is in its folder.
func want(t *testing.T, name, content string, mode fs.FileMode) {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil || string(got) != content {
		t.Errorf("%q, %v; want %q", got, err, content)
	}
	if st, err := os.Stat(name); err != nil || runtime.GOOS != "windows" && st.Mode() != mode {
		t.Errorf("%v, %v; want %v", st.Mode(), err, mode)
	}
	if entries, err := os.ReadDir(filepath.Dir(name)); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestAFileIsReplacedAsAWhole(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "file")
	write(t, name+durable.PartSuffix, "what a crash has left, longer than what comes")
	if err := durable.WriteFile(name, "", text("first")); err != nil {
		t.Fatal(err)
	}
	want(t, name, "first", 0o600)
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(name, "", text("second")); err != nil {
		t.Fatal(err)
	}
	want(t, name, "second", 0o640)
	full := errors.New("the disk is full")
	err := durable.WriteFile(name, "", func(w io.Writer) error { return errors.Join(text("thi")(w), full) })
	if !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	want(t, name, "second", 0o640)
}

// No function follows a link, neither to a file nor to a missing name.
func TestNoLinkIsFollowed(t *testing.T) {
	t.Parallel()
	calls := map[string]func(name string) error{
		"open":       func(name string) error { return closed(durable.Open(name)) },
		"open write": func(name string) error { return closed(durable.OpenWrite(name)) },
		"create":     func(name string) error { return closed(durable.Create(name, "")) },
		"write":      func(name string) error { return durable.WriteFile(name, "", text("new")) },
		"folder":     func(name string) error { return durable.Mkdir(name, "") },
	}
	for call, do := range calls {
		for _, there := range []bool{true, false} {
			dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "elsewhere")
			if there {
				write(t, elsewhere, "somebody else's")
			}
			name := filepath.Join(dir, "file")
			if err := os.Symlink(elsewhere, name); err != nil {
				t.Skip(err)
			}
			var link *durable.LinkError
			err := do(name)
			if !errors.As(err, &link) && !errors.Is(err, fs.ErrExist) || link != nil && *link != (durable.LinkError{Path: name, Target: elsewhere}) {
				t.Errorf("%s, %v: got %v", call, there, err)
			}
			if got, err := os.ReadFile(elsewhere); there && string(got) != "somebody else's" || !there && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s, %v: %q, %v", call, there, got, err)
			}
		}
	}
	// A link that has the name of the part is removed, and not followed.
	name, elsewhere := filepath.Join(t.TempDir(), "file"), filepath.Join(t.TempDir(), "elsewhere")
	write(t, elsewhere, "somebody else's")
	if err := os.Symlink(elsewhere, name+durable.PartSuffix); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(name, "", text("new")); err != nil {
		t.Fatal(err)
	}
	want(t, name, "new", 0o600)
	want(t, elsewhere, "somebody else's", 0o600)
}

func closed(f *os.File, err error) error {
	if err == nil {
		f.Close()
	}
	return err
}

func TestWhatIsNoFileIsNotOpened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, err := range []error{closed(durable.Open(dir)), closed(durable.OpenWrite(dir)), durable.WriteFile(dir, "", text("new"))} {
		if err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("got %v", err)
		}
	}
	missing := filepath.Join(dir, "missing")
	if err := closed(durable.Open(missing)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := durable.WriteFile(filepath.Join(missing, "file"), "", text("new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestFoldersAreMadeForTheirOwnerAlone(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	deep := filepath.Join(top, "a", "b")
	for range 2 {
		if err := durable.MkdirAll(deep, ""); err != nil {
			t.Fatal(err)
		}
	}
	for dir, mode := range map[string]fs.FileMode{top: 0o755, filepath.Dir(deep): 0o700, deep: 0o700} {
		if st, err := os.Stat(dir); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want %v", dir, st.Mode(), err, mode)
		}
	}
	if err := durable.Mkdir(deep, ""); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if err := durable.Mkdir(filepath.Join(top, "c", "d"), ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestALockHasOneHolder(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "LOCK")
	unlock, err := durable.Lock(t.Context(), name, "")
	if err != nil {
		t.Fatal(err)
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := durable.Lock(impatient, name, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	got := make(chan error)
	go func() {
		unlock, err := durable.Lock(context.Background(), name, "")
		if err == nil {
			err = unlock()
		}
		got <- err
	}()
	if err := errors.Join(unlock(), <-got); err != nil {
		t.Error(err)
	}
	if err := os.Symlink(name, name+"2"); err != nil {
		t.Skip(err)
	}
	var link *durable.LinkError
	if _, err := durable.Lock(t.Context(), name+"2", ""); !errors.As(err, &link) {
		t.Errorf("got %v", err)
	}
}
