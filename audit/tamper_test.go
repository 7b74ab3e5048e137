package audit_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
)

// Somebody who takes the triggers away can change everything, and put the triggers back. Verify finds it: by
// the journal, by the keys, and by the derived tables; after segments are trimmed, by what is left of these.
func TestVerifyFindsWhatWasChangedBehindTheGuards(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	whole, _ := closedStore(t, 0, 40)
	trimmed, _ := closedStore(t, 0, 40, audit.WithSegmentBytes(4000), audit.WithRetention(audit.RetainNone))
	id := func(i int) string { return sample(i).QueryID.String() }
	key := func(i int) string { return "x'004155443a" + id(i) + "'" }
	const listing = "(SELECT key FROM kv WHERE length(key) = 80 AND substr(key, 49) = x'%s')"
	// A record of other content, and the derived row to go with it.
	altered := fmt.Sprintf(`UPDATE kv SET value = CAST(replace(CAST(value AS TEXT), 'subject 4', 'subject 3') AS BLOB) WHERE key = %s`, key(4))
	const row = `UPDATE audit SET subject = 'subject 3' WHERE idx = 4`
	swap := func(table, column string) string {
		return fmt.Sprintf(`UPDATE %[1]s SET %[2]s = CASE %[2]s WHEN 4 THEN -5 ELSE -4 END WHERE %[2]s IN (4, 5); UPDATE %[1]s SET %[2]s = -%[2]s WHERE %[2]s < 0`, table, column)
	}
	for i, c := range []struct {
		name, tampering, problem string
		inTrimmed                string // if it is another one; "-": the journal alone could tell
	}{
		{"a record", altered, "kv and the journal record at offset", "audit: subject of row 4 is not what its record says"},
		{"a record and its row", altered + ";" + row, "kv and the journal record at offset", "-"},
		{"a record's white space", fmt.Sprintf(`UPDATE kv SET value = CAST(CAST(value AS TEXT) || ' ' AS BLOB) WHERE key = %s`, key(4)), "kv: record " + id(4), ""},
		{"a record for another", fmt.Sprintf(`UPDATE kv SET value = (SELECT value FROM kv WHERE key = %s) WHERE key = %s`, key(5), key(4)), "holds record " + id(5), ""},
		{"a record's type", fmt.Sprintf(`UPDATE kv SET value = 7 WHERE key = %s`, key(4)), "kv: record " + id(4) + " of entry 4 cannot be read", ""},
		{"a key", fmt.Sprintf(`UPDATE kv SET key = CAST(x'004155443a' || zeroblob(32) AS BLOB) WHERE key = %s`, key(4)), "kv: record " + id(4) + " of entry 4 is missing", ""},
		{"a listing's time", fmt.Sprintf(`UPDATE kv SET key = CAST(substr(key, 1, 39) || x'0000000000000001' || substr(key, 48) AS BLOB) WHERE key = `+listing, id(4)),
			"is not in the list of its agent", ""},
		{"no record", fmt.Sprintf(`DELETE FROM kv WHERE key = %s`, key(4)), "of entry 4 is missing", ""},
		{"no listing", fmt.Sprintf(`DELETE FROM kv WHERE key = `+listing, id(4)), "is not in the list of its agent", ""},
		{"no trace of a record", fmt.Sprintf(`DELETE FROM kv WHERE key = `+listing+`; DELETE FROM kv WHERE key = %s; DELETE FROM entry WHERE idx = 4; DELETE FROM audit WHERE idx = 4;
			DELETE FROM contribution WHERE audit = 4; DELETE FROM attribute WHERE audit = 4`, id(4), key(4)), "entry: 4 to 4 are missing", ""},
		{"no trace of the last record", fmt.Sprintf(`DELETE FROM kv WHERE key = `+listing+`; DELETE FROM kv WHERE key = %s; DELETE FROM entry WHERE idx = 39; DELETE FROM audit WHERE idx = 39;
			DELETE FROM contribution WHERE audit = 39; DELETE FROM attribute WHERE audit = 39; UPDATE store SET value = value - 1 WHERE name = 'contributions';
			UPDATE agent SET audits = audits - 1, last = last - 30 WHERE id = 1`, id(39), key(39)), "is missing from kv", ""},
		{"a forged record", `INSERT INTO kv (key, value) VALUES (CAST(x'004155443a' || zeroblob(32) AS BLOB), x'7b7d')`, "kv: no entry stands for record 00", ""},
		{"a forged listing", fmt.Sprintf(`INSERT INTO kv (key, value) VALUES (CAST(x'00415544413a' || zeroblob(32) || x'3a00000000000000013a%s' AS BLOB), x'')`, id(4)), "lists a record under an agent that is not its own", ""},
		{"a forged entry", `INSERT INTO entry VALUES (40, zeroblob(32), (SELECT value - 1 FROM store WHERE name = 'cursor'))`, "the record before it has not ended", ""},
		{"a forged entry beyond the cursor", `INSERT INTO entry VALUES (40, zeroblob(32), (SELECT value FROM store WHERE name = 'cursor'))`, "and the cursor is only at", ""},
		{"an entry twice", fmt.Sprintf(`INSERT INTO entry VALUES (40, x'%s', 999999)`, id(4)), "stand for records that others stand for already", ""},
		{"entries renumbered", swap("entry", "idx"), "has no journal offset above that of the one before", ""},
		{"entries renumbered with their rows", swap("entry", "idx") + ";" + swap("audit", "idx") + ";" + swap("contribution", "audit") + ";" + swap("attribute", "audit"),
			"has no journal offset above that of the one before", ""},
		{"entries exchanged", fmt.Sprintf(`UPDATE entry SET query_id = CASE idx WHEN 4 THEN x'%s' ELSE x'%s' END WHERE idx IN (4, 5)`, id(5), id(4)), "kv and the journal record at offset", "audit: query_id of row 4"},
		{"a journal offset", `UPDATE entry SET journal_offset = journal_offset + 1 WHERE idx = 4`, "the journal has no such record at offset", "the record before it has not ended"},
		{"a journal offset back", `UPDATE entry SET journal_offset = journal_offset - 1 WHERE idx = 4`, "the journal has no such record at offset", "the record before it has not ended"},
		{"a journal offset's type", `UPDATE entry SET journal_offset = 'far' WHERE idx = 4`, "entry: 4 has no journal offset above", ""},
		{"a journal offset's fraction", `UPDATE entry SET journal_offset = journal_offset + 0.5 WHERE idx = 4`, "entry: 4 has no journal offset above", ""},
		{"a weight", `UPDATE contribution SET weight = 0.5 WHERE audit = 5`, "of record 5 is not what the record says", ""},
		{"a weight's type", `UPDATE contribution SET weight = 'heavy' WHERE audit = 5`, "contribution: row 0 of record 5 is not what the record says", ""},
		{"a time's type", `UPDATE audit SET timestamp = 'noon' WHERE idx = 4`, "audit: timestamp of row 4 is not what its record says", ""},
		{"an attribute", `UPDATE attribute SET value = 'x' WHERE audit = 4 AND key = 'trace_id'`, "attribute: the rows of record 4", ""},
		{"an agent's count", `UPDATE agent SET audits = audits + 1 WHERE id = 1`, "the table says", ""},
		{"a count of a minute", `UPDATE activity SET audits = audits + 1 WHERE span = 1 AND agent = 1`, "activity: the minute from 2023-11-14T22:13Z on of agent ", ""},
		{"an agent's name", `UPDATE agent SET agent_id = zeroblob(32) WHERE id = 1`, "audit: agent of row", ""},
		{"an agent's count's type", `UPDATE agent SET audits = 'many' WHERE id = 1`, "cannot be read", ""},
		{"a forged reject", `INSERT INTO rejected VALUES (1, 'r', x'00'); UPDATE store SET value = 1 WHERE name = 'rejected'`, "rejected: the journal has no such record at offset 1", "was rejected: r"},
		{"a count of rejects", `UPDATE store SET value = 1 WHERE name = 'rejected'`, "rejected: has 0 rows, table store counts 1", ""},
		{"a record made a reject", fmt.Sprintf(`INSERT INTO rejected SELECT e.journal_offset, 'no audit', k.value FROM entry e JOIN kv k ON k.key = %s WHERE e.idx = 39;
			DELETE FROM kv WHERE key = %[1]s; DELETE FROM entry WHERE idx = 39; UPDATE store SET value = 1 WHERE name = 'rejected'`, key(39)), "there is no reason to reject the journal record at offset", ""},
		{"the cursor back", `UPDATE store SET value = 0 WHERE name = 'cursor'`, "and the cursor is only at 0", ""},
		{"the cursor a little back", `UPDATE store SET value = value - 1 WHERE name = 'cursor'`, "lies within the journal record", ""},
		{"the cursor ahead", `UPDATE store SET value = value + 1000 WHERE name = 'cursor'`, "before the cursor", ""},
		{"the count of contributions", `UPDATE store SET value = 1 WHERE name = 'contributions'`, "table store counts 1", ""},
	} {
		if testing.Short() && i%8 != 0 {
			continue
		}
		// What the whole journal adds is looked at where it tells something else.
		for dir, want := range map[string]string{whole: c.problem, trimmed: cmp.Or(c.inTrimmed, c.problem)} {
			name := c.name
			if dir == trimmed {
				name += ", trimmed"
			}
			if dir == whole && c.inTrimmed == "" || want == "-" {
				continue
			}
			t.Run(name, func(t *testing.T) {
				dir := killed(t, dir)
				s := openShell(t, dir)
				s.unguarded(c.tampering)
				s.exit()
				wantProblem(t, dir, want)
			})
		}
	}
}

// wantProblem checks that verify finds a problem, without a word about the schema.
func wantProblem(t *testing.T, dir, want string) {
	t.Helper()
	db := openDB(t, dir, audit.ReadOnly())
	rep, err := db.Verify(context.Background(), audit.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(rep.Problems, func(p string) bool { return strings.Contains(p, want) }) {
		t.Errorf("problems are %q, want %q", rep.Problems, want)
	}
	if len(rep.Problems) > 20 || slices.ContainsFunc(rep.Problems, func(p string) bool { return strings.Contains(p, "schema") }) {
		t.Errorf("%d problems: %q", len(rep.Problems), rep.Problems)
	}
}
