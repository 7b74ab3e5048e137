package main

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/hostile"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
)

// into makes an app that prints into memory, as if on a terminal of a width; 0 is none.
func into(width int) (*app, *bytes.Buffer) {
	var out bytes.Buffer
	return &app{streams: streams{out: &out, err: new(bytes.Buffer), outTerm: tui.Terminal{Is: width > 0, Width: width}}}, &out
}

// lines takes an output apart, which ends with a line end when there is one.
func lines(t *rapid.T, out *bytes.Buffer) []string {
	t.Helper()
	s, ended := strings.CutSuffix(out.String(), "\n")
	if !ended {
		t.Fatalf("does not end with a line end: %q", out)
	}
	return strings.Split(s, "\n")
}

// A record laid out for reading, in the two forms that are not exact.
func TestNoTextBreaksARecord(t *testing.T) {
	db, err := audit.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rapid.Check(t, func(t *rapid.T) {
		q := audit.QueryAudit{QueryID: audit.QueryID{1}, Attributes: map[string]any{}}
		for _, p := range []**string{&q.Params.Subject, &q.Params.Predicate, &q.Params.Lens} {
			s := hostile.Text().Filter(storable).Draw(t, "parameter")
			*p = &s
		}
		for range rapid.IntRange(0, 3).Draw(t, "attributes") {
			q.Attributes[hostile.Text().Filter(storable).Draw(t, "key")] = hostile.Text().Filter(storable).Draw(t, "value")
		}
		raw, err := q.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range []tui.Form{tui.Table, tui.Plain} {
			a, out := into(0)
			a.output = string(form)
			w := a.detail(form, &reading{DB: db, clock: when.Clock{Unit: audit.Milliseconds, Zone: noon.Location()}})
			if err := errors.Join(w.write(raw), w.End()); err != nil {
				t.Fatal(err)
			}
			got := lines(t, out)
			want := 13 // what every record has
			if form == tui.Table {
				if len(q.Attributes) > 0 {
					want++
				}
			}
			if len(got) != want+len(q.Attributes) {
				t.Errorf("%s: %d lines, want %d: %q", form, len(got), want+len(q.Attributes), out)
			}
			for _, line := range got {
				if form == tui.Plain {
					line = strings.ReplaceAll(line, "\t", " ")
				}
				hostile.WantHarmless(t, line)
			}
		}
	})
}

// storable reports whether a record can hold a text.
func storable(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }
