package main

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var sweepAll = flag.Bool("sweep", false, "damage every page of a store, and not only some")

const sweptPage = 8192

// sweptStore makes a small store whose journal cannot replace its database, and returns its export.
func sweptStore(t *testing.T) (dir, export string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	must := func(in string, args ...string) string {
		t.Helper()
		out, said, code := auditsqlReading(in, append([]string{"-d", dir}, args...)...)
		if code != exitDone {
			t.Fatalf("%q: exit code %d: %s", args, code, said)
		}
		return out
	}
	lines := func(from, to int) string {
		var b strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintf(&b, `{"query_id":"%064x","agent_id":"%064x","timestamp":%d,"params":{"subject":"s%d","predicate":"p"},"result_hash":"%064x","result_confidence":0.5,`+
				`"contributing_assertions":[{"assertion_hash":"%064x","weight":1,"source_hash":"%064x","lifecycle":"Approved"}],"attributes":{"n":"%d"}}`+"\n",
				i+1, i%4, 1_700_000_000_000+i, i%9, i, i%50, i%3, i)
		}
		return b.String()
	}
	must("", "init", "--segment-bytes", "4000", "--wal-retain", "none")
	must(lines(0, 200), "import", "-")
	must(lines(200, 280), "import", "-")
	must("", "name", fmt.Sprintf("%064x", 1), "planner")
	return dir, must("", "export")
}

// Whatever is damaged in a store that no journal can replace: what a command says about it is a way out. Either reindex ends with a
// store that has everything, or it says that it cannot, and names what is left. No command fails without saying that it is
// damage, none passes over records in silence, and the answer to a second try is the same.
//
// By default some pages are damaged; with -sweep all are, which takes minutes.
func TestNoDamageIsADeadEnd(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it runs many commands")
	}
	store, export := sweptStore(t)
	content, err := os.ReadFile(filepath.Join(store, "audit.db"))
	if err != nil {
		t.Fatal(err)
	}
	pages := len(content) / sweptPage
	step := max(1, pages/5)
	if *sweepAll {
		step = 1
	}
	kinds := []struct {
		name   string
		damage func(page, next []byte, rng *rand.Rand)
	}{
		{"zeroed", func(page, _ []byte, _ *rand.Rand) { clear(page) }},
		{"a bit of its header", func(page, _ []byte, rng *rand.Rand) { page[3+rng.IntN(5)] ^= 1 << rng.IntN(8) }},
		{"a bit", func(page, _ []byte, rng *rand.Rand) { page[rng.IntN(len(page))] ^= 1 << rng.IntN(8) }},
		{"swapped with the next", func(page, next []byte, _ *rand.Rand) {
			was := bytes.Clone(page)
			copy(page, next)
			copy(next, was)
		}},
	}
	type state struct {
		what    string
		content []byte
	}
	states := make(chan state)
	go func() {
		defer close(states)
		for k, kind := range kinds {
			for page := k % step; page < pages-1; page += step {
				damaged := bytes.Clone(content)
				at := page * sweptPage
				first := damaged[at : at+sweptPage]
				if page == 0 && k > 0 {
					first = damaged[100:sweptPage] // the header of the file says what it is
				}
				kind.damage(first, damaged[at+sweptPage : at+2*sweptPage][:len(first)], rand.New(rand.NewPCG(uint64(page), uint64(k))))
				states <- state{fmt.Sprintf("page %d of %d, %s", page+1, pages, kind.name), damaged}
			}
		}
	}()
	outcomes := map[string]int{}
	for s := range states {
		outcomes[sweep(t, store, export, s.what, s.content)]++
	}
	t.Logf("%d pages: %v", pages, outcomes)
	if outcomes["salvaged"] == 0 {
		t.Error("nothing was salvaged")
	}
}

// sweep runs the commands that a person would run who has this database, and returns how that ended.
func sweep(t *testing.T, store, export, what string, content []byte) (outcome string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "swept")
	if err := os.CopyFS(dir, os.DirFS(store)); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "audit.db"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (out, said string, code int) {
		out, said, code = auditsql(append([]string{"-d", dir}, args...)...)
		if code != exitDone && code != exitDamage {
			t.Errorf("%s: %q ends with exit code %d: %s", what, args, code, said)
		}
		return out, said, code
	}
	for _, reading := range [][]string{{"export"}, {"export", "--read-only"}} {
		if out, _, code := run(reading...); code == exitDone && out != export {
			t.Errorf("%s: %q has %d of %d lines, and exit code 0", what, reading, strings.Count(out, "\n"), strings.Count(export, "\n"))
		}
	}
	for _, reading := range [][]string{{"stats"}, {"verify"}, {"list", "--limit", "0", "--read-only", "-o", "ndjson"}} {
		if out, _, code := run(reading...); reading[0] == "list" && code == exitDone && strings.Count(out, "\n") != strings.Count(export, "\n") {
			t.Errorf("%s: %q has %d of %d lines, and exit code 0", what, reading, strings.Count(out, "\n"), strings.Count(export, "\n"))
		}
	}
	_, said, code := run("reindex")
	asides, _ := filepath.Glob(filepath.Join(dir, "aside-*"))
	switch {
	case code == exitDone:
		out, _, code := run("export")
		if code == exitDone && out != export {
			t.Errorf("%s: after a reindex export has %d lines, and exit code 0", what, strings.Count(out, "\n"))
		}
		if _, said, code := run("verify"); code == exitDone && out == export {
			if _, said, code := run("put", "--subject", "new", "--confidence", "1"); code != exitDone {
				t.Errorf("%s: put: %s", what, said)
			}
			if len(asides) > 0 {
				return "salvaged"
			}
			return "sound"
		} else if code != exitDone && !strings.Contains(said, " repair ") {
			t.Errorf("%s: after a reindex verify says %s", what, said)
		}
		return "repair"
	case strings.Contains(said, " repair "):
		run("repair", "--apply")
		if out, _, code := run("export"); code == exitDone && out != export {
			t.Errorf("%s: after a repair export has %d lines, and exit code 0", what, strings.Count(out, "\n"))
		}
		return "repair"
	case strings.Contains(said, "export --read-only prints the records that can still be read"):
		if _, again, code := run("reindex"); code != exitDamage || !strings.Contains(again, "restore the store from a backup") {
			t.Errorf("%s: a second reindex: exit code %d: %s", what, code, again)
		}
		if len(asides) > 0 {
			t.Errorf("%s: refused, and left %q", what, asides)
		}
		return "export"
	case strings.Contains(said, "export --read-only prints it for import into a new store"):
		return "export"
	case strings.Contains(said, "restore the store from a backup"), strings.Contains(said, "restored from a backup"):
		return "backup"
	}
	t.Errorf("%s: reindex names no way out: %s", what, said)
	return "none"
}
