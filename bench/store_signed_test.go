package main

import (
	"path/filepath"
	"testing"
)

// The store whose tree is signed opens with the key that is made for it, takes a record, and has its tree signed.
func TestTheSignedStoreSigns(t *testing.T) {
	t.Parallel()
	s, err := openSignedStore(settings{dir: filepath.Join(t.TempDir(), "store"), writers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, s)
	w := world{3, shapePartly}
	if err := s.put(t.Context(), w.record(1)); err != nil {
		t.Fatal(err)
	}
	signed := s.(*signedStore)
	for signed.db.AwaitApplied(t.Context()) == nil {
		stats, err := signed.db.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if stats.Log != nil && stats.Log.Size > 0 {
			return
		}
	}
}
