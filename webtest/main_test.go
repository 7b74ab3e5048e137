package webtest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.opentelemetry.io/otel"
)

var (
	update         = flag.Bool("update", false, "write the pictures of the documents again")
	pictures       = flag.String("pictures", "", "write a picture of every page into this `folder`")
	kills          = flag.Int("kills", 4, "how often the server is killed under writers")
	spanKills      = flag.Int("span-kills", 24, "how often the server is killed under senders of spans")
	withCollector  = flag.Bool("collector", false, "build an OpenTelemetry collector, and deliver through it")
	collectorKills = flag.Int("collector-kills", 10, "how often the server is killed behind the collector")
	everything     = flag.Bool("everything", false, "look at each page of each hostile record, and at more of them")
	large          = flag.Int("large", 0, "solve the incident in a store with so `many` records more")
	tails          = flag.Int("tails", 300, "how many tails are open at the same time")
)

// scratch is the folder of everything that the tests make.
var scratch string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if scratch, err = os.MkdirTemp("", "auditsql-webtest-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(scratch)
	defer closeBrowser()
	// Servers are killed while exporters send to them. What these say of it tells nothing, and what was not delivered fails a test.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	return m.Run()
}

// program builds the auditsql command once and returns its path.
var program = sync.OnceValues(func() (string, error) {
	name := filepath.Join(scratch, "auditsql")
	build := exec.Command("go", "build", "-o", name, "./cmd/auditsql")
	build.Dir = ".." // the command is in another module
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build: %w\n%s", err, out)
	}
	return name, err
})

// command prepares the program for a store.
func command(t testing.TB, dir string, args ...string) *exec.Cmd {
	t.Helper()
	name, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "AUDITSQL_DIR="+dir, "TZ=UTC", "GOTRACEBACK=all")
	return cmd
}

// auditsql runs the program and returns its standard output.
func auditsql(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := command(t, dir, args...).Output()
	if err != nil {
		var ended *exec.ExitError
		if errors.As(err, &ended) {
			t.Fatalf("auditsql %q: %v\n%s", args, err, ended.Stderr)
		}
		t.Fatal(err)
	}
	return string(out)
}

// demo makes the store of the demo and returns its folder.
func demo(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "demo")
	auditsql(t, "", "demo", "--keep", dir)
	return dir
}

// missing skips a test that needs a program which is not there. With CI=true it fails.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}
