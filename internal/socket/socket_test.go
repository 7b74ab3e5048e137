//go:build unix

package socket_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/socket"
)

func open(t *testing.T, dir string) *audit.DB {
	t.Helper()
	db, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// serve answers commands about a store until the test ends.
func serve(t *testing.T, dir string, store socket.Store) *http.Server {
	t.Helper()
	l, err := socket.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: socket.Handler(store, socket.About{PID: os.Getpid(), Version: "test", URL: "http://there"}, nil)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Close()
		<-ended
	})
	return s
}

func dial(t *testing.T, dir string) *socket.Client {
	t.Helper()
	c, err := socket.Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func record(i int, confidence float32) *audit.QueryAudit {
	return &audit.QueryAudit{QueryID: audit.QueryID{31: byte(i)}, Timestamp: uint64(i), ResultConfidence: confidence}
}

// A client has the results and errors that the store has.
func TestAClientIsAsGoodAsTheStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, dir)
	serve(t, dir, db)
	c := dial(t, dir)
	if about := c.About(); about.PID != os.Getpid() || about.Version != "test" || about.URL != "http://there" || c.TimeUnit() != db.TimeUnit() {
		t.Errorf("about: %+v", about)
	}
	broken := record(9, 1)
	broken.Params.Subject = new(string)
	*broken.Params.Subject = "\xff"
	for what, qs := range map[string][]*audit.QueryAudit{
		"records":         {record(1, 1), record(2, 1)},
		"a duplicate":     {record(1, 1), record(3, 1)},
		"a conflict":      {record(1, 2), record(4, 1)},
		"an invalid one":  {record(5, 1), broken, record(6, 1)},
		"nothing":         {},
		"only an invalid": {broken},
	} {
		for name, put := range map[string]func(*socket.Client, *audit.DB) (through, direct []audit.PutResult, err error){
			"all": func(c *socket.Client, db *audit.DB) ([]audit.PutResult, []audit.PutResult, error) {
				through, err := c.PutAudits(t.Context(), qs)
				direct, err2 := db.PutAudits(t.Context(), qs)
				return through, direct, errors.Join(err, err2)
			},
			"until refused": func(c *socket.Client, db *audit.DB) ([]audit.PutResult, []audit.PutResult, error) {
				through, err := c.PutUntilRefused(t.Context(), qs)
				direct, err2 := db.PutUntilRefused(t.Context(), qs)
				return through, direct, errors.Join(err, err2)
			},
		} {
			through, direct, err := put(c, db)
			if err != nil || len(through) != len(direct) {
				t.Fatalf("%s, %s: %d results and %d, %v", what, name, len(through), len(direct), err)
			}
			for i := range direct {
				a, b := through[i], direct[i]
				same := (a.Err == nil) == (b.Err == nil) && (a.Err == nil || a.Err.Error() == b.Err.Error()) &&
					errors.Is(a.Err, audit.ErrConflict) == errors.Is(b.Err, audit.ErrConflict) && errors.Is(a.Err, audit.ErrInvalid) == errors.Is(b.Err, audit.ErrInvalid)
				if !same || b.Err == nil && a.ID != b.ID {
					t.Errorf("%s, %s: result %d is %+v through the socket, and %+v", what, name, i, a, b)
				}
			}
		}
	}
	if err := c.PutLabels(t.Context(), []audit.Label{{Hash: audit.Hash{1}, Label: "first"}}); err != nil {
		t.Error(err)
	}
	if l, err := db.Labels(t.Context()); err != nil || l.Of(audit.Hash{1}) != "first" {
		t.Errorf("%v, %v", l.All(), err)
	}
	if err := c.PutLabels(t.Context(), []audit.Label{{Hash: audit.Hash{1}, Label: " "}}); !errors.Is(err, audit.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if err := c.AddLabels(t.Context(), []audit.Label{{Hash: audit.Hash{1}, Label: "another"}, {Hash: audit.Hash{2}, Label: "second"}}); err != nil {
		t.Error(err)
	}
	if l, err := db.Labels(t.Context()); err != nil || l.Of(audit.Hash{1}) != "first" || l.Of(audit.Hash{2}) != "second" {
		t.Errorf("added: %v, %v", l.All(), err)
	}
	through, err := c.GetAudit(t.Context(), record(1, 1).QueryID)
	direct, err2 := db.GetAudit(t.Context(), record(1, 1).QueryID)
	if err != nil || err2 != nil || !reflect.DeepEqual(through, direct) {
		t.Errorf("%+v through the socket, and %+v; %v, %v", through, direct, err, err2)
	}
	if _, err := c.GetAudit(t.Context(), audit.QueryID{9}); !errors.Is(err, audit.ErrNotFound) {
		t.Errorf("a record that is not stored: %v", err)
	}
	if _, err := c.Sign(t.Context()); !errors.Is(err, audit.ErrNoLog) {
		t.Errorf("got %v", err)
	}
	if err := c.CheckLog(t.Context()); !errors.Is(err, audit.ErrNoLog) {
		t.Errorf("got %v", err)
	}
	if link, err := c.LoginLink(t.Context()); err == nil {
		t.Errorf("got %s", link)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutAudits(t.Context(), []*audit.QueryAudit{record(7, 1)}); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// Without a server, and after it has gone, the client says that nothing was taken. A server that ends in the middle leaves it open.
func TestAServerThatEnds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := socket.Dial(t.Context(), dir); !errors.Is(err, socket.ErrNoServer) {
		t.Errorf("without a socket: %v", err)
	}
	if _, err := socket.Dial(t.Context(), filepath.Join(dir, "missing", strings.Repeat("long", 50))); !errors.Is(err, socket.ErrNoServer) {
		t.Errorf("without a folder: %v", err)
	}
	db := open(t, dir)
	stuck := &stuckStore{Store: db, entered: make(chan struct{})}
	s := serve(t, dir, stuck)
	c := dial(t, dir)
	failed := make(chan error)
	go func() {
		_, err := c.PutAudits(context.WithoutCancel(t.Context()), []*audit.QueryAudit{record(1, 1), record(2, 1)})
		failed <- err
	}()
	<-stuck.entered
	s.Close()
	var unknown *socket.OpenError
	if err := <-failed; !errors.As(err, &unknown) || unknown.Records != 2 || errors.Is(err, audit.ErrLocked) {
		t.Errorf("in the middle: %v", err)
	}
	var gone *socket.GoneError
	if _, err := c.PutAudits(t.Context(), []*audit.QueryAudit{record(3, 1)}); !errors.As(err, &gone) || !errors.Is(err, audit.ErrLocked) {
		t.Errorf("afterwards: %v", err)
	}
	if _, err := socket.Dial(t.Context(), dir); !errors.Is(err, socket.ErrNoServer) {
		t.Errorf("afterwards: %v", err)
	}
}

// A stuckStore stores nothing until its caller gives up.
type stuckStore struct {
	socket.Store
	entered chan struct{}
}

func (s *stuckStore) PutAudits(ctx context.Context, _ []*audit.QueryAudit) ([]audit.PutResult, error) {
	close(s.entered)
	<-ctx.Done()
	return nil, ctx.Err()
}

// The socket is for its owner alone from its first moment on, replaces one that was left, and takes nothing else away.
func TestTheSocketInItsFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, socket.Name)
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	if err := os.MkdirAll(filepath.Join(dir, socket.Name+".part", "left"), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := socket.Dial(t.Context(), dir); !errors.Is(err, socket.ErrNoServer) {
		t.Errorf("a socket that was left: %v", err)
	}
	l, err := socket.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	if about, err := os.Lstat(name); err != nil || about.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v, %v", about.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
	if err := os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), name); err != nil {
		t.Fatal(err)
	}
	if l, err := socket.Listen(dir); err == nil {
		l.Close()
		t.Error("a link was replaced")
	}
}

// Another user who can reach the socket is sent away, at both ends.
func TestOnlyTheOwnerAndRootGetIn(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("only root can be somebody else, and only Linux tells who it is")
	}
	dir := t.TempDir()
	serve(t, dir, open(t, dir))
	name := filepath.Join(dir, socket.Name)
	// Somebody has opened the folders and the socket to everybody.
	for at := dir; at != "/" && at != os.TempDir(); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(name, 0o666); err != nil {
		t.Fatal(err)
	}
	if said := asNobody(t, name); !strings.Contains(said, "connected") || strings.Contains(said, "HTTP/1.1 200") {
		t.Errorf("another user gets %q", said)
	}
}

// When a client that has put records is closed, other processes see them. They read SQLite, which gets records a moment after they were
// acknowledged.
func TestOthersSeeWhatAClientHasPut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, dir)
	serve(t, dir, db)
	other, err := audit.Open(dir, audit.ReadOnly())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for i := range 20 { // the applier rests after the first
		c := dial(t, dir)
		results, err := c.PutAudits(t.Context(), []*audit.QueryAudit{record(1+i, 1)})
		if err != nil || results[0].Err != nil {
			t.Fatal(results, err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := other.GetAudit(t.Context(), results[0].ID); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
}
