package faults_test

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/auditsql/auditsql/faults/foreign"
	"github.com/auditsql/auditsql/faults/fusefs"
)

// mount returns the file system of all tests. The first call mounts it.
var mount = sync.OnceValues(fusefs.Start)

func TestMain(m *testing.M) {
	fusefs.Main()
	foreign.Main()
	code := m.Run()
	if fs, err := mount(); err == nil {
		if err := fs.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if programDir != "" {
		os.RemoveAll(programDir)
	}
	os.Exit(code)
}

// mounted returns the file system. It skips the test where nothing can be mounted, unless CI is true.
func mounted(t testing.TB) *fusefs.FS {
	t.Helper()
	fs, err := mount()
	if errors.Is(err, fusefs.ErrUnsupported) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func ok(err error) {
	if err != nil {
		panic(err)
	}
}
