package main

import (
	"database/sql"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/internal/when"
)

// A value that is bound as a number is the text that SQLite makes of it again: compared with a text it finds what
// the text would have found.
func TestANumberIsBoundForWhatItIs(t *testing.T) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for s, want := range map[string]bool{
		"0": true, "-7": true, "42": true, "9223372036854775807": true, "0.5": true, "-0.25": true, "123456.789": true, "0.0001": true, "1234567.890123": true, "1234567.8901234": false,
		"007": false, "+1": false, "-0": false, "1.10": false, "2.0": false, ".5": false, "5.": false, "1e3": false, "1e+21": false, "9223372036854775808": false,
		"0.30000000000000004": false, "0.00001": false, "0x10": false, "1_000": false, "Inf": false, "NaN": false, "": false, " 1": false,
	} {
		if got := isNumberAgain(s); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
	literals := rapid.OneOf(
		rapid.StringMatching(`-?[0-9]{1,18}(\.[0-9]{1,18})?(e[-+]?[0-9]{1,2})?`),
		rapid.Map(rapid.Float64(), func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }),
		rapid.Map(rapid.Int64Range(-1e15, 1e15), func(n int64) string { return strconv.FormatFloat(float64(n)/1000, 'f', -1, 64) }),
	)
	rapid.Check(t, func(t *rapid.T) {
		s := literals.Draw(t, "value")
		values, err := bind([]string{"v"}, nil, map[string]given{"v": {text: s}}, when.Clock{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var again string
		if err := db.QueryRow("SELECT CAST(? AS TEXT)", values...).Scan(&again); err != nil {
			t.Fatal(err)
		}
		if again != s {
			t.Fatalf("%q is bound as %T, which SQLite writes as %q", s, values[0], again)
		}
	})
}
