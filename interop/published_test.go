package interop

import (
	"context"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/auditsql/auditsql/internal/deliver"
	"github.com/auditsql/auditsql/tree"
)

// publishedSizes are the sizes at which the folder of a growing log is checked.
var publishedSizes = []int64{0, 1, 255, 256, 257, 70_000}

// entryBundle is n records from the record number from on, as tlog-tiles serves them. They are no part of a published log: what
// checks them gets them from an export, which h is here.
func (h *history) entryBundle(from, n int64) (bundle []byte) {
	for _, record := range h.records[from : from+n] {
		bundle = append(binary.BigEndian.AppendUint16(bundle, uint16(len(record))), record...)
	}
	return bundle
}

// serveLog serves a folder as a web server does, and the records of h.
func serveLog(t *testing.T, dir string, h *history) *url.URL {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir(dir)))
	mux.HandleFunc("/tile/entries/", func(w http.ResponseWriter, r *http.Request) {
		tile, err := tree.ParsePath("tile/0/" + strings.TrimPrefix(r.URL.Path, "/tile/entries/"))
		from := tile.N * tree.TileWidth
		if err != nil || from+int64(tile.Width) > int64(len(h.records)) {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(h.entryBundle(from, int64(tile.Width)))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// check runs the fsck of Tessera over HTTP.
func check(t *testing.T, address *url.URL, key note.Verifier) error {
	t.Helper()
	fetcher, err := client.NewHTTPFetcher(address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return runFsck(t.Context(), fetcher, key)
}

// runFsck runs the fsck of Tessera: it computes every tile and the root from the records.
func runFsck(ctx context.Context, log fsck.Fetcher, key note.Verifier) error {
	leaves := func(bundle []byte) (hashes [][]byte, err error) {
		var entries api.EntryBundle
		if err := entries.UnmarshalText(bundle); err != nil {
			return nil, err
		}
		for _, e := range entries.Entries {
			hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(e))
		}
		return hashes, nil
	}
	return fsck.New(key.Name(), key, log, leaves, fsck.Opts{N: 2}).Check(ctx)
}

func newVerifier(t testing.TB, h *history) note.Verifier {
	t.Helper()
	key, err := note.NewVerifier(h.signer.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// The fsck of Tessera finds nothing wrong with a published log, whether it grew in one folder or was published at once, and
// finds each tile that was changed.
func TestPublishedTilesByTessera(t *testing.T) {
	t.Parallel()
	h := newHistory(t, newSigner(t)).grow(70_000, "a")
	key := newVerifier(t, h)
	grown := t.TempDir()
	for _, size := range publishedSizes {
		for _, dir := range []string{grown, t.TempDir()} {
			if err := deliver.Publish(dir).Deliver(t.Context(), h.at(size)); err != nil {
				t.Fatal(err)
			}
			if err := check(t, serveLog(t, dir, h), key); err != nil {
				t.Errorf("%d: %v", size, err)
			}
		}
	}
	for _, tile := range []string{"tile/0/000", "tile/0/272", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"} {
		name := filepath.Join(grown, filepath.FromSlash(tile))
		is, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		write := func(b []byte) {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		changed := append([]byte{is[0] ^ 1}, is[1:]...)
		write(changed)
		if err := check(t, serveLog(t, grown, h), key); err == nil {
			t.Errorf("nothing is wrong with a changed %s", tile)
		}
		write(is)
	}
}

// The client of torchwood reads a published log: it proves records and older sizes from the tiles alone, and reads all records.
func TestPublishedTilesByTorchwood(t *testing.T) {
	t.Parallel()
	h := newHistory(t, newSigner(t)).grow(70_000, "a")
	key := newVerifier(t, h)
	dir := t.TempDir()
	older := tlog.Tree{}
	for _, size := range publishedSizes {
		if err := deliver.Publish(dir).Deliver(t.Context(), h.at(size)); err != nil {
			t.Fatal(err)
		}
		fetcher, err := torchwood.NewTileFetcher(serveLog(t, dir, h).String())
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		signed, err := fetcher.ReadEndpoint(ctx, "checkpoint")
		if err != nil {
			t.Fatal(err)
		}
		n, err := note.Open(signed, note.VerifierList(key))
		if err != nil {
			t.Fatal(err)
		}
		c, err := torchwood.ParseCheckpoint(n.Text)
		if err != nil || c.N != size || c.Origin != origin {
			t.Fatalf("%+v, %v", c, err)
		}
		if size > 0 {
			byTiles(t, ctx, fetcher, h, c.Tree, older)
			byClient(t, ctx, fetcher, h, c.Tree)
		}
		older = c.Tree
	}
}

// byTiles proves records and the older size from the tiles alone.
func byTiles(t *testing.T, ctx context.Context, fetcher *torchwood.TileFetcher, h *history, now, older tlog.Tree) {
	t.Helper()
	hashes := torchwood.TileHashReaderWithContext(ctx, now, fetcher)
	for _, index := range []int64{0, now.N / 2, now.N - 1} {
		proof, err := tlog.ProveRecord(now.N, index, hashes)
		if err == nil {
			err = tlog.CheckRecord(proof, now.N, now.Hash, index, tlog.RecordHash(h.records[index]))
		}
		if err != nil {
			t.Errorf("record %d of %d: %v", index, now.N, err)
		}
		if tlog.CheckRecord(proof, now.N, now.Hash, index, tlog.RecordHash([]byte("another"))) == nil {
			t.Errorf("another record is at %d of %d", index, now.N)
		}
	}
	if older.N == 0 {
		return
	}
	proof, err := tlog.ProveTree(now.N, older.N, hashes)
	if err == nil {
		err = tlog.CheckTree(proof, now.N, now.Hash, older.N, older.Hash)
	}
	if err != nil {
		t.Errorf("%d records after %d: %v", now.N, older.N, err)
	}
	if root, err := tlog.TreeHash(older.N, hashes); err != nil || root != older.Hash {
		t.Errorf("the root of %d in %d is %v: %v", older.N, now.N, root, err)
	}
}

// byClient reads all records, and one with its proof.
func byClient(t *testing.T, ctx context.Context, fetcher *torchwood.TileFetcher, h *history, now tlog.Tree) {
	t.Helper()
	c, err := torchwood.NewClient(fetcher)
	if err != nil {
		t.Fatal(err)
	}
	next := int64(0)
	for next < now.N {
		before := next
		for i, record := range c.Entries(ctx, now, next) {
			if i != next || string(record) != string(h.records[i]) {
				t.Fatalf("entry %d of %d is %q", i, now.N, record)
			}
			next++
		}
		if c.Err() != nil || next == before {
			t.Fatalf("the entries end at %d of %d: %v", next, now.N, c.Err())
		}
	}
	record, _, err := c.Entry(ctx, now, now.N-1)
	if err != nil || string(record) != string(h.records[now.N-1]) {
		t.Errorf("the last entry of %d is %q: %v", now.N, record, err)
	}
}
