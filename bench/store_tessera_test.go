package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/auditsql/auditsql/tree"
)

// What was put is in the log's files, also after the log was opened again, and a checkpoint covers it. The root of the
// checkpoint is that of our tree over the same records.
func TestTesseraHasWhatWasPut(t *testing.T) {
	t.Parallel()
	const writers, n = 8, 300 // more than a bundle of 256
	w := world{3, shapePartly}
	ctx := context.Background()
	dir := t.TempDir()
	opened := func() *tesseraStore {
		s, err := openTessera(settings{dir: dir, writers: writers})
		if err != nil {
			t.Fatal(err)
		}
		return s.(*tesseraStore)
	}
	s := opened()
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for no := i; no < n; no += writers {
				if err := s.put(ctx, w.record(no)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.drain(ctx); err != nil || s.applied() != n {
		t.Fatalf("%d records are covered, %v", s.applied(), err)
	}
	shut(t, s)
	s = opened()
	defer shut(t, s)
	var want, have []string
	for no := range n {
		want = append(want, string(canonical(t, w.record(no))))
	}
	f, _ := tree.NewFrontier(0, nil)
	for bundle := uint64(0); bundle <= n/256; bundle++ {
		width := uint8(0) // a full one
		if bundle == n/256 {
			width = n % 256
		}
		entries, err := s.log.ReadEntryBundle(ctx, bundle, width)
		if err != nil {
			t.Fatal(err)
		}
		for len(entries) > 0 {
			size := 2 + int(binary.BigEndian.Uint16(entries))
			have = append(have, string(entries[2:size]))
			f.Append(tree.LeafHash(entries[2:size]))
			entries = entries[size:]
		}
	}
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(have, want) {
		t.Errorf("%d records are in the log, want %d", len(have), len(want))
	}
	checkpoint, err := s.log.ReadCheckpoint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	root := f.Root()
	lines := strings.Split(string(bytes.TrimSpace(checkpoint)), "\n")
	if len(lines) < 3 || lines[1] != "300" || lines[2] != base64.StdEncoding.EncodeToString(root[:]) {
		t.Errorf("checkpoint %q, want root %s", checkpoint, root)
	}
}
