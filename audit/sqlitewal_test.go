package audit_test

import (
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// SQLite's -wal is a header and frames, each with a header of its own and a page.
const (
	walHeader = 32
	pageBytes = 8192
	walFrame  = 24 + pageBytes
)

// walPages returns the committed pages that a store's -wal holds, each as it was written last, and their
// numbers in the order in which a checkpoint copies them.
func walPages(t testing.TB, dir string) (pages map[uint32][]byte, order []uint32) {
	t.Helper()
	log := must(os.ReadFile(filepath.Join(dir, "audit.db-wal")))
	committed, open := map[uint32][]byte{}, map[uint32][]byte{}
	for at := walHeader; at+walFrame <= len(log); at += walFrame {
		frame := log[at : at+walFrame]
		if string(frame[8:16]) != string(log[16:24]) {
			break // of an earlier round through the file
		}
		open[binary.BigEndian.Uint32(frame)] = frame[24:]
		if binary.BigEndian.Uint32(frame[4:]) != 0 { // the last of a transaction
			maps.Copy(committed, open)
			clear(open)
		}
	}
	return committed, slices.Sorted(maps.Keys(committed))
}

// checkpointPart copies some pages of a store's -wal into its database, as a checkpoint that does not come to its
// end.
func checkpointPart(t testing.TB, dir string, some func(i, n int) bool) {
	t.Helper()
	pages, order := walPages(t, dir)
	if len(order) < 4 {
		t.Fatalf("-wal has %d pages only", len(order))
	}
	f, err := os.OpenFile(filepath.Join(dir, "audit.db"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, page := range order {
		if some(i, len(order)) {
			if _, err := f.WriteAt(pages[page], int64(page-1)*pageBytes); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// walOnDisk returns how much of a killed store's -wal is certain to be on disk: a checkpoint syncs it before it
// copies the first page. How far one has begun to copy stands in -shm.
func walOnDisk(t testing.TB, dir string) int {
	t.Helper()
	const copied, attempted = 96, 128
	index := must(os.ReadFile(filepath.Join(dir, "audit.db-shm")))
	frames := max(binary.NativeEndian.Uint32(index[copied:]), binary.NativeEndian.Uint32(index[attempted:]))
	return walHeader + int(frames)*walFrame
}
