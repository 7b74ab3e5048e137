package queries_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/audit/queries"
)

// A table prints the columns and each row on a line.
type table struct{}

func (table) Columns(names []string) error { return table{}.print(names) }
func (table) Row(values []any) error       { return table{}.print(values) }

func (table) print(line any) error {
	_, err := fmt.Println(line)
	return err
}

func ExampleRun() {
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
	if err := db.PutLabels(ctx, []audit.Label{{Hash: audit.Hash{1}, Label: "planner"}}); err != nil {
		log.Fatal(err)
	}

	s, err := queries.Parse("SELECT label FROM labels WHERE label = :name")
	if err != nil {
		log.Fatal(err)
	}
	values, _, err := s.Bind(ctx, db, map[string]queries.Given{"name": {Text: "planner"}}, ask.Options{Now: time.Now()})
	if err != nil {
		log.Fatal(err)
	}
	cut, err := queries.Run(ctx, dir, s, values, queries.Limits{Rows: queries.DefaultRows, Time: queries.DefaultTime}, table{})
	fmt.Println(cut, err)
	// Output:
	// [label]
	// [planner]
	// false <nil>
}
