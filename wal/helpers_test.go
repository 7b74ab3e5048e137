package wal_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/auditsql/auditsql/wal"
)

func open(t testing.TB, dir string, o wal.Options) (*wal.Journal, wal.Recovery) {
	t.Helper()
	j, rec, err := wal.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j, rec
}

func appendOne(t testing.TB, j *wal.Journal, payload string) wal.Offset {
	t.Helper()
	off, err := j.Append(context.Background(), []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return off
}

// readAll returns the payloads from an offset to the end of the data.
func readAll(t testing.TB, dir string, from wal.Offset, o wal.Options) []string {
	t.Helper()
	r, err := wal.OpenReader(dir, from, o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	payloads := []string{}
	for {
		rec, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return payloads
		}
		if err != nil {
			t.Fatal(err)
		}
		payloads = append(payloads, string(rec.Payload))
	}
}
