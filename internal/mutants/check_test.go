package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Each edit fits the code at exactly one place: the table is brought along when the code changes.
func TestEachEditFits(t *testing.T) {
	for _, m := range slices.Concat(mutants, proofMutants) {
		b, err := os.ReadFile(filepath.Join("..", "..", m.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(b, []byte(m.old)); n != 1 {
			t.Errorf("%s (%s): the edit fits at %d places", m.what, m.file, n)
		}
	}
}
