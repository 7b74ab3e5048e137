package wal_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/wal"
)

// The three records of the format's description: {} at 0, {} at 42, and at 84 a mark of 42.
const vectors = `
0200000081336eda6e46dd10defc9b56c29a6ec56b508c21f54c08192194e4df25bf36f0c9c3c2797b7d
0200000087987a7c6e46dd10defc9b56c29a6ec56b508c21f54c08192194e4df25bf36f0c9c3c2797b7d
09000000cbb2290595ab5a85bf751637f85934a1a3ea708040f43b26e0c5965937320fe87e8d5dcd012a00000000000000`

func vectorBytes(t *testing.T) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(vectors), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectorsAreRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "0000000000000000.wal"), vectorBytes(t), 0o600); err != nil {
		t.Fatal(err)
	}
	rep, err := wal.Verify(dir, wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Records != 2 || rep.Marks != 1 || rep.End != 133 || rep.Torn != nil || len(rep.Damage) != 0 {
		t.Fatalf("report: %+v", rep)
	}
	j, recovery := open(t, dir, wal.Options{})
	defer j.Close()
	if recovery.Records != 2 || recovery.End != 133 {
		t.Fatalf("recovery: %+v", recovery)
	}
}

func TestVectorsAreWritten(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	for range 2 {
		appendOne(t, j, "{}")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "0000000000000000.wal"))
	if err != nil {
		t.Fatal(err)
	}
	if want := vectorBytes(t)[:84]; string(got) != string(want) {
		t.Fatalf("got  %x\nwant %x", got, want)
	}
}
