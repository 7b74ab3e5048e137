package tui_test

import (
	"math"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/internal/tui"
)

type digest [2]byte

func (d digest) MarshalText() ([]byte, error) { return []byte("digest"), nil }

type inner struct {
	More bool `json:"more"`
}

type sample struct {
	Hash  digest         `json:"hash"`
	Label *string        `json:"label"`
	Count uint64         `json:"count"`
	Share float32        `json:"share"`
	Words []string       `json:"words"`
	Extra map[string]any `json:"extra"`
	inner
	Hidden int `json:"-"`
}

// Each form of a struct has the members that its tags name, in their order. A table has the columns of its caller.
func TestAListingHasTheMembersOfItsStruct(t *testing.T) {
	t.Parallel()
	label := "a, <b>"
	rows := []sample{
		{Label: &label, Count: math.MaxUint64, Share: 0.1, Words: []string{"x", "y"}, Extra: map[string]any{"k": 1.5}, inner: inner{true}, Hidden: 7},
		{Words: []string{}},
	}
	table := []tui.ColumnOf[sample]{
		{Column: tui.Column{Name: "count", Title: "n", Right: true}, Cell: func(s *sample) tui.Cell { return tui.Number(s.Hidden) }},
		{Column: tui.Column{Name: "label"}, Cell: func(s *sample) tui.Cell { return tui.Or(s.Label, tui.Text) }},
	}
	objects := []string{
		`{"hash":"digest","label":"a, <b>","count":18446744073709551615,"share":0.1,"words":["x","y"],"extra":{"k":1.5},"more":true}`,
		`{"hash":"digest","label":null,"count":0,"share":0,"words":[],"extra":null,"more":false}`,
	}
	for form, want := range map[tui.Form]string{
		tui.JSON:   "[" + strings.Join(objects, ",\n") + "]\n",
		tui.NDJSON: strings.Join(objects, "\n") + "\n",
		tui.CSV: "hash,label,count,share,words,extra,more\r\n" +
			"digest,\"a, <b>\",18446744073709551615,0.1,\"[\"\"x\"\",\"\"y\"\"]\",\"{\"\"k\"\":1.5}\",true\r\n" +
			"digest,,0,0,\"[]\",,false\r\n",
		tui.Plain: "digest\ta, <b>\t18446744073709551615\t0.1\t[\"x\",\"y\"]\t{\"k\":1.5}\ttrue\n" +
			"digest\t\t0\t0\t[]\t\tfalse\n",
		tui.Table: "n  label\n---------\n7  a, <b>\n0  -\n",
	} {
		screen, out, _ := into(0)
		list := tui.NewListing(screen, form, table)
		for i := range rows {
			if err := list.Add(&rows[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := list.End(); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", form, got, want)
		}
	}
}

// A list in an object is a list also when it is empty; outside of JSON there is no object.
func TestAListingWithinAnObject(t *testing.T) {
	t.Parallel()
	type head struct {
		By string `json:"by"`
	}
	for form, want := range map[tui.Form][2]string{
		tui.JSON:   {`{"by":"<x>","rows":[],"more":false}` + "\n", `{"by":"<x>","rows":[{"more":false},` + "\n" + `{"more":true}],"more":true}` + "\n"},
		tui.NDJSON: {"", "{\"more\":false}\n{\"more\":true}\n"},
		tui.CSV:    {"more\r\n", "more\r\nfalse\r\ntrue\r\n"},
	} {
		for n, want := range want {
			screen, out, _ := into(0)
			list := tui.NewListing[inner](screen, form, nil)
			var tail inner
			list.Within(head{"<x>"}, "rows", func() any { return tail })
			for i := range 2 * n {
				tail.More = i == 1
				if err := list.Add(&inner{i == 1}); err != nil {
					t.Fatal(err)
				}
			}
			if err := list.End(); err != nil {
				t.Fatal(err)
			}
			if got := out.String(); got != want {
				t.Errorf("%s: got %q, want %q", form, got, want)
			}
		}
	}
}

// An object is its members, and in a table what the caller lays out. Outside of JSON a list has a line for each text.
func TestAnObjectInEachForm(t *testing.T) {
	t.Parallel()
	object := sample{Count: 3, Words: []string{"x", "y\tz"}}
	for form, want := range map[tui.Form]string{
		tui.JSON:  `{"hash":"digest","label":null,"count":3,"share":0,"words":["x","y\tz"],"extra":null,"more":false}` + "\n",
		tui.Plain: "hash\tdigest\nlabel\t\ncount\t3\nshare\t0\nwords\tx\nwords\ty\\tz\nextra\t\nmore\tfalse\n",
		tui.CSV:   "name,value\r\nhash,digest\r\nlabel,\r\ncount,3\r\nshare,0\r\nwords,x\r\nwords,y\tz\r\nextra,\r\nmore,false\r\n",
		tui.Table: "how many  3\nwhere     -\n",
	} {
		screen, out, _ := into(0)
		err := screen.Object(form, &object, tui.Fact{Title: "how many", Value: tui.Number(3)}, tui.Fact{Title: "where"})
		if err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", form, got, want)
		}
	}
}

// What cannot be encoded is an error, and not a null that nobody asked for.
func TestAListingRefusesWhatJSONCannotSay(t *testing.T) {
	t.Parallel()
	for _, form := range []tui.Form{tui.JSON, tui.NDJSON} {
		screen, _, _ := into(0)
		list := tui.NewListing[sample](screen, form, nil)
		if err := list.Add(&sample{Share: float32(math.Inf(1))}); err == nil {
			t.Errorf("%s: infinity was printed", form)
		}
	}
}
