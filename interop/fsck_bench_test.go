package interop

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/transparency-dev/tessera/client"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/deliver"
	"github.com/auditsql/auditsql/tree"
)

// BenchmarkWholeLog compares two checks of a whole log of 200,000 records of a kilobyte against its signed checkpoint: ours, which
// reads an export, and the fsck of Tessera, which reads the published tiles and the records as entry bundles: from files, and over
// HTTP from a server in another process, as it does for a log of somebody else. What counts is the processor time for a record,
// since all of them use several goroutines. That of the server does not count.
//
//	go test -run '^$' -bench WholeLog -benchtime 5x .
func BenchmarkWholeLog(b *testing.B) {
	const size = 200_000
	h := newHistory(b, newSigner(b)).grow(size, strings.Repeat("a", 1060))
	dir := b.TempDir()
	if err := deliver.Publish(dir).Deliver(b.Context(), h.at(size)); err != nil {
		b.Fatal(err)
	}
	for from := int64(0); from < size; from += tree.TileWidth {
		n := min(tree.TileWidth, size-from)
		name := tree.Tile{Level: 0, N: from / tree.TileWidth, Width: int(n)}.Path()
		name = filepath.Join(dir, "tile", "entries", filepath.FromSlash(strings.TrimPrefix(name, "tile/0/")))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(name, h.entryBundle(from, n), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	export := filepath.Join(b.TempDir(), "export.ndjson")
	if err := os.WriteFile(export, append(bytes.Join(h.records, []byte("\n")), '\n'), 0o600); err != nil {
		b.Fatal(err)
	}
	checkpoint, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		b.Fatal(err)
	}
	policy, err := evidence.KeyPolicy(h.signer.VerifierKey())
	if err != nil {
		b.Fatal(err)
	}
	key := newVerifier(b, h)

	b.Run("export", func(b *testing.B) {
		perRecord(b, size, func() error {
			text, err := os.Open(export)
			if err != nil {
				return err
			}
			defer text.Close()
			return evidence.VerifyExport(text, checkpoint, policy).Err()
		})
	})
	b.Run("fsck", func(b *testing.B) {
		perRecord(b, size, func() error { return runFsck(b.Context(), client.FileFetcher{Root: dir}, key) })
	})
	b.Run("fsck-http", func(b *testing.B) {
		fetcher, err := client.NewHTTPFetcher(serveElsewhere(b, dir), nil)
		if err != nil {
			b.Fatal(err)
		}
		perRecord(b, size, func() error { return runFsck(b.Context(), fetcher, key) })
	})
}

// servedFolder names the folder that this program serves instead of running tests.
const servedFolder = "INTEROP_SERVE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(servedFolder); dir != "" {
		serveFolder(dir)
	}
	os.Exit(m.Run())
}

// serveFolder serves a folder, prints the address, and ends with its standard input.
func serveFolder(dir string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("http://%s/\n", listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Fprintln(os.Stderr, http.Serve(listener, http.FileServer(http.Dir(dir))))
	os.Exit(1)
}

// serveElsewhere serves a folder from another process, which ends with the benchmark.
func serveElsewhere(b *testing.B, dir string) *url.URL {
	b.Helper()
	server := exec.Command(os.Args[0])
	server.Env = append(os.Environ(), servedFolder+"="+dir)
	server.Stderr = os.Stderr
	in, err := server.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := server.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = server.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	address, err := url.Parse(strings.TrimSpace(line))
	if err != nil {
		b.Fatal(err)
	}
	return address
}

// perRecord measures the processor time that check takes for each of size records.
func perRecord(b *testing.B, size int, check func() error) {
	before := processorTime(b)
	for b.Loop() {
		if err := check(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(b.N*size), "cpu-ns/record")
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
