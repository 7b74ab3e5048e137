package kvshim_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/auditsql/auditsql/kvshim"
)

// A batch happens as a whole, a scan goes in byte order, and a key of the audit families is written once. Memory
// behaves as SQLite does, so a test needs no file.
func Example() {
	ctx := context.Background()
	store := kvshim.NewMemory()

	var b kvshim.Batch
	b.Put([]byte("colour/sky"), []byte("blue"))
	b.Put([]byte("colour/grass"), []byte("green"))
	b.Put([]byte("shape/sun"), []byte("round"))
	if err := store.Apply(ctx, &b); err != nil {
		log.Fatal(err)
	}
	for pair, err := range store.Scan(ctx, []byte("colour/"), kvshim.ScanOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s = %s\n", pair.Key, pair.Value)
	}

	key := []byte("\x00AUD:0123")
	fmt.Println(store.Put(ctx, key, []byte("what was asked")))
	err := store.Put(ctx, key, []byte("something else"))
	fmt.Println(errors.Is(err, kvshim.ErrWriteOnce))
	// Output:
	// colour/grass = green
	// colour/sky = blue
	// <nil>
	// true
}
