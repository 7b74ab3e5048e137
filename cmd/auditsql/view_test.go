package main

import (
	"bytes"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/tui"
)

// The JSON of an answer that is printed in parts, as it comes, is that of the whole struct.
func TestAnAnswerInPartsIsTheStruct(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "demo")
	output := func(args ...string) string {
		var out, said bytes.Buffer
		if code := run(t.Context(), args, streams{out: &out, err: &said, now: func() time.Time { return noon }}); code != exitDone {
			t.Fatalf("%q: exit code %d: %s", args, code, &said)
		}
		return out.String()
	}
	output("demo", "--keep", dir)
	for _, test := range []struct {
		args []string
		into any
	}{
		{[]string{"impact", "f2bf0ec5"}, new(view.Impact)},
		{[]string{"impact", "--source", "mail 7731", "--limit", "1"}, new(view.Impact)},
		{[]string{"impact", "f2bf0ec5", "--to", "2000-01-01"}, new(view.Impact)},
		{[]string{"timeline", "--to", "2026-11-23T11:59"}, new(view.Timeline)},
		{[]string{"top", "--by", "source"}, new(view.Ranking)},
		{[]string{"top", "--by", "subject"}, new(view.Ranking)},
		{[]string{"stats"}, new(view.Stats)},
		{[]string{"verify"}, new(view.Verification)},
	} {
		printed := output(append([]string{"-d", dir, "-o", "json"}, test.args...)...)
		decode := json.NewDecoder(strings.NewReader(printed))
		decode.DisallowUnknownFields()
		if err := decode.Decode(test.into); err != nil {
			t.Errorf("%q: %v", test.args, err)
			continue
		}
		again, err := tui.Encode(test.into)
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.ReplaceAll(printed, "},\n{", "},{"); string(again)+"\n" != want {
			t.Errorf("%q prints\n%s\nand the struct is\n%s", test.args, want, again)
		}
	}
}

// A page of a trace shows the weightiest evidence, all that is not Approved up to a limit, and says how much it leaves
// out. A count that ended at a limit has a plus.
func TestATraceOfMuchEvidenceFitsAPage(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	agent := audit.AgentID{7}
	much := audit.QueryAudit{AgentID: &agent, Timestamp: uint64(noon.UnixMilli()), ResultConfidence: 0.75}
	for i := range byte(45) {
		c := audit.ContributingAssertion{AssertionHash: audit.Hash{1, i}, SourceHash: audit.Hash{2}, Weight: 64 - float32(i), Lifecycle: audit.Approved}
		if i >= 23 {
			c.Lifecycle = audit.Proposed
		}
		much.ContributingAssertions = append(much.ContributingAssertions, c)
	}
	all := []*audit.QueryAudit{&much}
	for i := range audit.DefaultHotLimit {
		all = append(all, &audit.QueryAudit{
			AgentID: &agent, Timestamp: much.Timestamp - 1 - uint64(i), ResultConfidence: 0.5,
			ContributingAssertions: much.ContributingAssertions[:1],
		})
	}
	results, err := db.PutAudits(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	shown, _ := onTerminal(t, 120, false, "-d", dir, "trace", results[0].ID.String())
	for want, n := range map[string]int{
		"evidence (45, total weight 1890, 22 not Approved)\n": 1,
		"\n  !  ":       20,
		"  Approved   ": 20,
		"1000+":         1,
		"  (5 more of less weight, 2 of them not Approved; -o plain has all)\n": 1,
		"! 22 of 45 pieces of evidence not Approved\n":                          1,
		"! all of its evidence comes from one source\n":                         1,
		"! 44 of 45 pieces of evidence had been in no answer before\n":          1,
	} {
		if got := strings.Count(shown, want); got != n {
			t.Errorf("%q is there %d times, want %d, in\n%s", want, got, n, shown)
		}
	}
}

// A stream is printed as it comes: what was read before an error is there.
func TestAStreamIsPrintedAsItComes(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	list := tui.NewListing[view.Agent](&tui.Screen{Out: &out, Err: io.Discard}, tui.NDJSON, nil)
	for range 1000 {
		if err := list.Add(&view.Agent{}); err != nil {
			t.Fatal(err)
		}
	}
	if out.Len() == 0 {
		t.Error("nothing was printed before the end")
	}
}

var _ view.Store = (*audit.DB)(nil)
