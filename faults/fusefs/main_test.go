package fusefs_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/auditsql/auditsql/faults/foreign"
	"github.com/auditsql/auditsql/faults/fusefs"
)

// mounted returns the file system of all tests, or the reason why there is none.
type mounted struct {
	fs  *fusefs.FS
	err error
}

var files mounted

func TestMain(m *testing.M) {
	fusefs.Main()
	foreign.Main()
	files.fs, files.err = fusefs.Start()
	code := m.Run()
	if files.fs != nil {
		if err := files.fs.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func machine(t testing.TB, seed uint64) *fusefs.Machine {
	t.Helper()
	if errors.Is(files.err, fusefs.ErrUnsupported) && os.Getenv("CI") != "true" {
		t.Skip(files.err)
	}
	if files.err != nil {
		t.Fatal(files.err)
	}
	m, err := files.fs.Machine(seed, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Drop() })
	return m
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
