package ask_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
)

func ExampleFilter() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := audit.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	o := ask.Options{Now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}

	filter, _, err := ask.Filter(ctx, db, map[string][]string{"from": {"6h"}, "subject": {"Tesla*"}}, o)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(*filter.From, *filter.SubjectGlob)

	_, _, err = ask.Filter(ctx, db, map[string][]string{"from": {"23.11.2026"}}, o)
	var refused *ask.Error
	if errors.As(err, &refused) {
		fmt.Println(refused.Text(func(parameter string) string { return "--" + parameter }))
	}
	// Output:
	// 1795413600000 Tesla*
	// --from: "23.11.2026" is no time: day and month could be either way round; write 2026-11-23
}
