package kvshim_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/auditsql/auditsql/kvshim"
)

// A batch is applied as a whole, a scan returns keys in byte order, and a key of the audit families can be written only
// once. The store in memory behaves as the one on SQLite does, so a test needs no file.
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
