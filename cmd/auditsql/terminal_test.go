package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/internal/tui"
)

// escapes are what the program itself sends to a terminal: colours.
var escapes = regexp.MustCompile("\x1b\\[[0-9;]*m")

// onTerminal runs a command line as if standard output were a terminal, and returns what it shows.
func onTerminal(t *testing.T, width int, color bool, args ...string) (shown, said string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(context.Background(), args, streams{
		in: strings.NewReader(""), out: &out, err: &errs,
		outTerm: tui.Terminal{Is: true, Width: width, Color: color},
		now:     func() time.Time { return noon },
	})
	if code != exitDone {
		t.Fatalf("%q: exit code %d: %s", args, code, &errs)
	}
	return out.String(), errs.String()
}

// What is drawn on a terminal is never wider than it, whatever is in the store and however narrow it is.
func TestTablesFitTheTerminal(t *testing.T) {
	sequential.Test(t)
	dir := filepath.Join(t.TempDir(), "store")
	db, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for i, subject := range []string{
		"short", strings.Repeat("a long one ", 40), strings.Repeat("東京", 60), "\x1b[31m\x1b[0m\u202e\n\t", "🚀🚀🚀 launch", "e\u0301galite\u0301",
	} {
		q := audit.QueryAudit{Timestamp: uint64(noon.UnixMilli()) + uint64(i), ResultConfidence: 0.123456789}
		q.Params.Subject, q.Params.Predicate, q.Params.Lens = &subject, &subject, &subject
		q.ResultHash = &audit.Hash{byte(i + 1)}
		q.ContributingAssertions = []audit.ContributingAssertion{ // the answer of the record before is in the evidence
			{AssertionHash: audit.Hash{byte(i)}, SourceHash: audit.Hash{0xa0}, Weight: 0.123456789},
			{AssertionHash: audit.Hash{0xb0, byte(i)}, SourceHash: audit.Hash{0xa0, byte(i)}, Weight: 1234.56789, Lifecycle: audit.Approved},
		}
		if _, err := db.PutAudit(ctx, &q); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	result, source := audit.Hash{5}.String(), audit.Hash{0xa0}.String()
	for _, width := range []int{40, 60, 80, 100, 120, 160} {
		for _, color := range []bool{false, true} {
			for _, args := range [][]string{{"list"}, {"list", "--tz", "Asia/Kolkata"}, {"recent", "2"}, {"wal", "dump", "-o", "table"}, {"wal", "inspect"}, {"sql", "--list"},
				{"trace", "--result", result}, {"trace", "--result", result, "--up"}, {"impact", "--source", source}, {"impact", "--source", source, "--depth", "all"},
				{"answers", "short", "short"}, {"agents"}, {"timeline"}, {"top", "--by", "subject"}, {"top", "--by", "source", "--unapproved"}, {"top", "--by", "lens"}} {
				shown, said := onTerminal(t, width, color, append([]string{"-d", dir}, args...)...)
				drawn, _, _ := strings.Cut(escapes.ReplaceAllString(shown, ""), "\nnext\n") // commands are whole, so that they can be pasted
				for line := range strings.Lines(drawn) {
					if n := tui.DisplayWidth(strings.TrimSuffix(line, "\n")); n > width {
						t.Errorf("%q in %d columns has %d: %q", args, width, n, line)
					}
				}
				if args[0] == "list" && !regexp.MustCompile(fmt.Sprintf(`(?s)^\(cut to %d columns,.*subject`, width)).MatchString(said) {
					t.Errorf("%q in %d columns does not say that it was cut: %s", args, width, said)
				}
				if !color && strings.Contains(shown, "\x1b") {
					t.Errorf("%q has colours where none are wanted", args)
				}
			}
		}
	}
}

// A terminal gets a table, and there is colour in it only where it is welcome.
func TestTerminalsGetTables(t *testing.T) {
	shown, _ := onTerminal(t, 80, true, "-d", filepath.Join(t.TempDir(), "store"), "version")
	if !strings.Contains(shown, "\x1b[1mgo") {
		t.Errorf("no bold titles: %q", shown)
	}
	shown, _ = onTerminal(t, 80, false, "-d", filepath.Join(t.TempDir(), "store"), "version")
	if !strings.Contains(shown, "\ngo              go1.") {
		t.Errorf("no table: %q", shown)
	}
}
