package wal_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/auditsql/auditsql/wal"
)

// A journal stores payloads and gives each one an offset. When Append returns, the payload is on disk. A reader returns
// the records in order, here from the first one.
func Example() {
	dir, err := os.MkdirTemp("", "journal")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	ctx := context.Background()
	j, _, err := wal.Open(dir, wal.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer j.Close()
	for _, payload := range []string{"first", "second"} {
		if _, err := j.Append(ctx, []byte(payload)); err != nil {
			log.Fatal(err)
		}
	}

	r, err := wal.OpenReader(dir, 0, wal.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	for {
		record, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d to %d: %s\n", record.Offset, record.Next, record.Payload)
	}
	// Output:
	// 0 to 45: first
	// 45 to 91: second
}
