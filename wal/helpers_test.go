package wal_test

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"testing"

	"github.com/zeebo/blake3"

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

// forge makes a record from the format's description alone.
func forge(t testing.TB, off wal.Offset, payload []byte) []byte {
	t.Helper()
	return forgeHash(off, blake3.Sum256(payload), payload)
}

// forgeHash makes a record whose checksum is right, whatever its content hash is.
func forgeHash(off wal.Offset, hash [32]byte, payload []byte) []byte {
	seed := binary.LittleEndian.AppendUint64(nil, uint64(off))
	seed = binary.LittleEndian.AppendUint32(seed, uint32(len(payload)))
	seed = append(append(seed, hash[:]...), payload...)
	rec := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	rec = binary.LittleEndian.AppendUint32(rec, crc32.Checksum(seed, crc32.MakeTable(crc32.Castagnoli)))
	return append(append(rec, hash[:]...), payload...)
}

func appendBatch(t testing.TB, j *wal.Journal, all []string) []wal.Offset {
	t.Helper()
	var batch [][]byte
	for _, p := range all {
		batch = append(batch, []byte(p))
	}
	offs, err := j.AppendBatch(context.Background(), batch)
	if err != nil {
		t.Fatal(err)
	}
	return offs
}
