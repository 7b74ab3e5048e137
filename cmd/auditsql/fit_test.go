package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/sqlstore"
)

// What the forensic commands show is no wider than the terminal and harmless, whatever is stored, and
// whatever labels a shell wrote past the checks of name.
func TestForensicScreensFitTheTerminal(t *testing.T) {
	sequential.Test(t)
	dir := filepath.Join(t.TempDir(), "store")
	db, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	hash := func(b byte) audit.Hash { return audit.Hash{b, 1: b, 5: b} }
	var ids []string
	var labels []sqlstore.Label
	for i, subject := range []string{
		"short", strings.Repeat("a long one ", 40), strings.Repeat("x", 3000), strings.Repeat("東京", 60), "\x1b[31m\x1b[0m\u202e\n\t", "🚀🚀🚀 launch", "--e\u0301galite\u0301",
	} {
		for _, agent := range []byte{1, byte(i)} {
			id, result := hash(agent), hash(0x40)
			q := audit.QueryAudit{Timestamp: uint64(noon.UnixMilli()) + uint64(i)*1e8, ResultConfidence: 0.123456789, AgentID: &id, ResultHash: &result}
			q.Params.Subject, q.Params.Predicate, q.Params.Lens = &subject, &subject, &subject
			for e := range show.ShownEvidence + 2 {
				q.ContributingAssertions = append(q.ContributingAssertions, audit.ContributingAssertion{
					AssertionHash: hash(0x40 + byte(e)), SourceHash: hash(0x80 + byte(i+e)), Weight: float32(e) * 1.2345678e9, Lifecycle: audit.Lifecycle(e % 5),
				})
			}
			q.Attributes = map[string]any{subject: subject}
			stored, err := db.PutAudit(context.Background(), &q)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, stored.String())
		}
		for _, b := range []byte{byte(i), 0x40 + byte(i), 0x80 + byte(i)} {
			labels = append(labels, sqlstore.Label{Hash: hash(b).String(), Label: subject})
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sqlstore.PutLabels(context.Background(), filepath.Join(dir, "audit.db"), labels, nil); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AUDITSQL_DIR", dir)
	beside := t.TempDir()
	key := filepath.Join(beside, "key")
	for _, args := range [][]string{
		{"key", "new", "audit.example.org/the-log-of-a-company-with-a-long-name", "-o", key}, {"log", "init", "--key", key}, {"log", "sign"},
		{"token", "add", "dashboard-of-the-team-with-a-long-name", "--scope", "read,write"},
	} {
		onTerminal(t, 40, false, args...)
	}
	records := filepath.Join(beside, "records.ndjson")
	exported, _ := onTerminal(t, 40, false, "export")
	if err := os.WriteFile(records, []byte(exported), 0o600); err != nil {
		t.Fatal(err)
	}
	evidence := filepath.Join(beside, "evidence")
	onTerminal(t, 40, false, "prove", ids[0], "-o", evidence)
	verifier, _ := onTerminal(t, 160, false, "key", "show", key, "-o", "plain")
	subject := "\x1b[31m\x1b[0m\u202e\n\t"
	commands := [][]string{
		{"trace", ids[len(ids)-2]}, {"trace", "--unapproved", "--limit", "3", "--tz", "Asia/Kolkata"}, {"impact", hash(0x41).String()},
		{"impact", "--source", hash(0x83).String()}, {"impact", hash(0x41).String(), "--depth", "all"}, {"trace", "--up", ids[len(ids)-2]}, {"answers", subject, subject}, {"diff", ids[0], ids[9]}, {"agents"},
		{"timeline"}, {"timeline", "--by", "day", "--to", "2030-01-01"}, {"top", "--by", "subject"}, {"top", "--by", "source"}, {"top", "--by", "lens"}, {"top", "--by", "attr:" + subject}, {"top", "--by", "lifecycle"},
		{"compare", "--by", "subject", "--from", "2026-11-25", "--to", "2030-01-01", "--with", "2026-11-23", "--and", "2026-11-24"}, {"name"},
		{"get", ids[9]}, {"sql", "unapproved"}, {"sql", "agents"}, {"sql", "SELECT * FROM contributions LIMIT 5"},
		{"list"}, {"list", "--count"}, {"recent", "3"}, {"tail", "-o", "table"}, {"stats"}, {"stats", "--read-only"}, {"verify"}, {"verify", "--quick"}, {"repair"}, {"reindex"},
		{"wal", "inspect"}, {"wal", "verify"}, {"wal", "repair"}, {"wal", "dump", "-o", "table"}, {"log", "root"}, {"log", "status"}, {"log", "checkpoints"}, {"log", "sign"},
		{"key", "show", key}, {"token", "list"}, {"import", "--max-future", "0", records}, {"import", "--max-future", "0", "--dry-run", records}, {"init"}, {"version"}, {"sql", "--list"},
		{"check", evidence, "--key", strings.TrimSpace(verifier[strings.Index(verifier, "verifier_key\t")+len("verifier_key\t"):])},
		{"put", "--subject", subject, "--predicate", "p", "--time", "2026-11-23T10:00", "--dry-run"},
	}
	whole := map[string]bool{"get": true, "init": true, "put": true} // have hashes and paths to paste
	for width, color := range map[int]bool{40: false, 60: false, 120: true, 160: false} {
		for _, args := range commands {
			shown, said := onTerminal(t, width, color, args...)
			if shown == "" {
				t.Errorf("%q shows nothing: %s", args, said)
			}
			for line := range strings.Lines(shown + said) {
				plain := escapes.ReplaceAllString(strings.TrimSuffix(line, "\n"), "")
				command := strings.HasPrefix(plain, "  auditsql ") // is pasted, and so never broken
				if n := tui.DisplayWidth(plain); n > width && !command && !whole[args[0]] {
					t.Errorf("%q in %d columns has %d: %q", args, width, n, line)
				}
				if harmless(plain) != plain {
					t.Errorf("%q shows %q", args, line)
				}
			}
			// The last two pieces weigh least, beyond what is shown otherwise, and are not Approved.
			if marked := strings.Count(escapes.ReplaceAllString(shown, ""), "\n  !  "); args[0] == "trace" && args[1] == ids[len(ids)-2] && marked != 18 {
				t.Errorf("%q marks %d pieces of evidence, not 18:\n%s", args, marked, shown)
			}
			if !color && strings.Contains(shown+said, "\x1b") {
				t.Errorf("%q has colours where none are wanted", args)
			}
		}
	}
}
