package sqlstore_test

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/sqlstore"
)

// client is a way for somebody else to run SQL on a database file.
type client struct {
	name string
	run  func(t *testing.T, path, query string) (string, error)
}

// clients are the sqlite3 shell, which people have, and a plain connection of the library, with
// recursive_triggers off as it is by default.
func clients(t *testing.T) []client {
	library := func(t *testing.T, path, query string) (string, error) {
		db, err := sql.Open("sqlite", path)
		if err != nil {
			return "", err
		}
		defer db.Close()
		rows, err := db.QueryContext(t.Context(), query)
		if err != nil {
			return "", err
		}
		defer rows.Close()
		cols, err := rows.Columns()
		if err != nil {
			return "", err
		}
		var out strings.Builder
		for rows.Next() {
			vals := make([]any, len(cols))
			for i := range vals {
				vals[i] = new(any)
			}
			if err := rows.Scan(vals...); err != nil {
				return "", err
			}
			for i, v := range vals {
				if i > 0 {
					out.WriteByte('|')
				}
				fmt.Fprint(&out, *v.(*any))
			}
			out.WriteByte('\n')
		}
		return out.String(), rows.Err()
	}
	cs := []client{{"library", library}}
	if haveShell(t) {
		cs = append(cs, client{"shell", shell})
	}
	return cs
}

// withRecursiveTriggers are the same clients, with DELETE triggers that fire for what REPLACE deletes.
func withRecursiveTriggers(cs []client) []client {
	var on []client
	for _, c := range cs {
		on = append(on, client{c.name + " with recursive triggers", func(t *testing.T, path, query string) (string, error) {
			if c.name == "library" {
				path = "file:" + path + "?_pragma=recursive_triggers(1)"
			} else {
				query = "PRAGMA recursive_triggers = ON; " + query
			}
			return c.run(t, path, query)
		}})
	}
	return on
}

func haveShell(t *testing.T) bool {
	_, err := exec.LookPath("sqlite3")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal("the sqlite3 shell is missing")
	}
	return err == nil
}

// shell runs a query in the sqlite3 shell.
func shell(t *testing.T, path, query string) (string, error) {
	cmd := exec.CommandContext(t.Context(), "sqlite3", "-bail", path, query)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, errs.String())
	}
	return out.String(), nil
}

// guarded returns a store with something in every table, and its path.
func guarded(t *testing.T) (*sqlstore.DB, string) {
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{StoreID: strings.Repeat("ab", 16)})
	b := &sqlstore.Batch{Records: samples(0, 20), Rejected: []sqlstore.Rejected{{Offset: 5000, Reason: "r", Payload: []byte("p")}}, Cursor: 5100}
	if _, err := db.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	put(t, db, "free", "1", "free too", "2")
	return db, path
}

func TestHistoryCannotBeRewritten(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a minute under the race detector, and one goroutine does all of it")
	}
	rec := newSample(4)
	aud := fmt.Sprintf(`x'004155443a%s'`, rec.ID)
	auda := fmt.Sprintf(`(SELECT key FROM kv WHERE key >= x'00415544413a%s' LIMIT 1)`, *rec.Agent)
	for table, statements := range map[string][]string{
		"kv": {
			`UPDATE kv SET value = x'00' WHERE key = ` + aud,
			`UPDATE kv SET value = value`,
			`UPDATE OR REPLACE kv SET value = x'00' WHERE key = ` + aud,
			`UPDATE kv SET value = x'00' WHERE key = ` + auda,
			`UPDATE kv SET rowid = 1000 WHERE key = ` + aud,
			`UPDATE OR REPLACE kv SET key = ` + aud + ` WHERE key = x'66726565'`,
			`UPDATE OR REPLACE kv SET rowid = (SELECT rowid FROM kv WHERE key = ` + aud + `) WHERE key = x'66726565'`,
			`UPDATE kv SET key = x'004155443a00' WHERE key = x'66726565'`,
			`DELETE FROM kv WHERE key = ` + aud,
			`DELETE FROM kv WHERE key = ` + auda,
			`DELETE FROM kv`,
			`INSERT OR REPLACE INTO kv (key, value) VALUES (` + aud + `, x'00')`,
			`REPLACE INTO kv (key, value) VALUES (` + auda + `, x'00')`,
			`INSERT OR REPLACE INTO kv (rowid, key, value) SELECT rowid, x'00', x'00' FROM kv WHERE key = ` + aud,
			`INSERT OR REPLACE INTO kv (rowid, key, value) SELECT rowid, x'66726565', x'00' FROM kv WHERE key = ` + auda,
			`INSERT INTO kv (key, value) VALUES (` + aud + `, x'00') ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
			`INSERT INTO kv (key, value) VALUES (` + aud + `, x'00') ON CONFLICT DO NOTHING`,
			`INSERT OR IGNORE INTO kv (key, value) VALUES (` + aud + `, x'00')`,
			`INSERT INTO kv (key, value) VALUES ('text', x'00')`,
			`INSERT INTO kv (key, value) VALUES (x'00', 'text')`,
			`INSERT INTO kv (key, value) VALUES (NULL, x'00')`,
			`INSERT OR REPLACE INTO kv (_rowid_, key, value) SELECT rowid, x'00', x'00' FROM kv WHERE key = ` + aud,
			`INSERT OR REPLACE INTO kv (oid, key, value) SELECT rowid, 'text', x'00' FROM kv WHERE key = ` + aud,
			`REPLACE INTO kv (rowid, key, value) SELECT CAST(rowid AS TEXT), x'00', x'00' FROM kv WHERE key = ` + aud,
			`INSERT OR REPLACE INTO kv (key, value) VALUES (CAST(` + aud + ` AS TEXT), x'00')`,
			`INSERT OR REPLACE INTO kv (key, value) VALUES (7, x'00')`,
			`UPDATE OR REPLACE kv SET oid = (SELECT oid FROM kv WHERE key = ` + auda + `) WHERE key = x'66726565'`,
			`UPDATE OR REPLACE kv SET key = CAST(key AS TEXT) WHERE key = ` + aud,
			`INSERT INTO kv (key, value) SELECT key, x'00' FROM kv WHERE key = ` + aud + ` ON CONFLICT (key) DO UPDATE SET key = x'00'`,
			// What does not belong: records that no entry stands for, and whatever else looks like one.
			`INSERT INTO kv (key, value) VALUES (CAST(x'004155443a' || zeroblob(32) AS BLOB), '{}')`,
			`INSERT INTO kv (key, value) VALUES (CAST(x'004155443a' || zeroblob(32) AS BLOB), x'7b7d')`,
			`INSERT INTO kv (key, value) VALUES (CAST(x'00415544413a' || zeroblob(74) AS BLOB), x'')`,
			`INSERT INTO kv (key, value) VALUES (x'004155443a', x'')`,
			`INSERT OR IGNORE INTO kv (key, value) VALUES (x'004155443a0000', x'')`,
			`UPDATE kv SET key = CAST(x'004155443a' || zeroblob(32) AS BLOB) WHERE key = x'66726565'`,
			// Row ids below -1, from which SQLite would count up to the one that looks like none.
			`INSERT INTO kv (rowid, key, value) VALUES (-2, x'00', x'00')`,
			`UPDATE kv SET rowid = -2 WHERE key = x'66726565'`,
		},
		"entry": {
			`UPDATE entry SET journal_offset = 0`,
			`UPDATE OR REPLACE entry SET idx = 3 WHERE idx = 4`,
			`DELETE FROM entry WHERE idx = 19`,
			`INSERT INTO entry (idx, query_id, journal_offset) VALUES (21, zeroblob(32), 0)`,
			`INSERT INTO entry (query_id, journal_offset) VALUES (zeroblob(32), 0)`,
			`INSERT OR REPLACE INTO entry (idx, query_id, journal_offset) VALUES (4, zeroblob(32), 0)`,
			`INSERT OR REPLACE INTO entry (rowid, query_id, journal_offset) VALUES (4, zeroblob(32), 0)`,
			`INSERT INTO entry (idx, query_id, journal_offset) VALUES (20, x'` + rec.ID + `', 0)`,
			`INSERT INTO entry (idx, query_id, journal_offset) VALUES (20, x'00', 0)`,
			`INSERT INTO entry (idx, query_id, journal_offset) VALUES (20, zeroblob(32), -1)`,
			`INSERT INTO entry (idx, query_id, journal_offset) VALUES (4, zeroblob(32), 0) ON CONFLICT DO UPDATE SET query_id = excluded.query_id`,
			`UPDATE OR REPLACE entry SET rowid = 3 WHERE idx = 4`,
			`UPDATE OR IGNORE entry SET query_id = zeroblob(32)`,
			`INSERT OR REPLACE INTO entry (_rowid_, query_id, journal_offset) VALUES (4, zeroblob(32), 9000)`,
			`INSERT OR REPLACE INTO entry (oid, query_id, journal_offset) VALUES ('4', zeroblob(32), 9000)`,
			`INSERT OR IGNORE INTO entry (idx, query_id, journal_offset) VALUES (4.0, zeroblob(32), 9000)`,
			`INSERT INTO entry (idx, query_id, journal_offset) VALUES (-1, zeroblob(32), 9000)`,
			`INSERT INTO entry (idx, query_id, journal_offset) VALUES (20, zeroblob(32), 0)`, // forged: the next, but from nowhere
			`INSERT INTO entry (idx, query_id, journal_offset) VALUES (20, zeroblob(32), 5099)`,
			`INSERT INTO entry (idx, query_id, journal_offset) VALUES (22, zeroblob(32), 9000)`,
		},
		"rejected": {
			`UPDATE rejected SET reason = ''`,
			`DELETE FROM rejected`,
			`INSERT OR REPLACE INTO rejected VALUES (5000, '', '')`,
			`INSERT INTO rejected VALUES (5000, '', '') ON CONFLICT DO UPDATE SET reason = ''`,
			`INSERT INTO rejected VALUES (1, 'never', '')`,
			`UPDATE OR REPLACE rejected SET journal_offset = 1`,
		},
		"audit": {
			`UPDATE audit SET subject = 'other' WHERE idx = 4`,
			`UPDATE OR REPLACE audit SET idx = 3 WHERE idx = 4`,
			`DELETE FROM audit WHERE idx = 4`,
			`DELETE FROM audit`,
			`INSERT INTO audit (idx, query_hex, agent, timestamp, result_confidence, contributions) VALUES (4, '', 0, 0, 0, 0) ON CONFLICT DO UPDATE SET subject = 'other'`,
		},
		"contribution": {
			`UPDATE contribution SET weight = 0`,
			`UPDATE OR REPLACE contribution SET position = 0 WHERE audit = 4 AND position = 1`,
			`DELETE FROM contribution WHERE audit = 4`,
			`INSERT INTO contribution (audit, position, assertion, weight, source, lifecycle) VALUES (4, 0, 1, 0, 1, 0) ON CONFLICT DO UPDATE SET weight = 0`,
		},
		"hash": {
			`UPDATE hash SET hex = 'other' WHERE id = 1`,
			`UPDATE OR REPLACE hash SET id = 2 WHERE id = 1`,
			`DELETE FROM hash`,
			`INSERT INTO hash (id, generation, hex) VALUES (1, 0, 'other') ON CONFLICT DO UPDATE SET hex = 'other'`,
		},
		"hash_run": {
			`UPDATE hash_run SET entries = x'00'`,
			`UPDATE OR REPLACE hash_run SET id = 1`,
			`DELETE FROM hash_run`,
			`INSERT INTO hash_run VALUES (1 << 32, x'00')`,
			`INSERT OR REPLACE INTO hash_run VALUES (0, x'00')`,
			`INSERT INTO hash_run VALUES (0, x'00') ON CONFLICT DO UPDATE SET entries = x'00'`,
		},
		"attribute": {
			`UPDATE attribute SET value = ''`,
			`DELETE FROM attribute WHERE audit = 4`,
			`UPDATE OR REPLACE attribute SET key = 'model' WHERE audit = 4`,
			`INSERT INTO attribute (audit, key, value) VALUES (4, 'trace_id', 'x') ON CONFLICT DO UPDATE SET value = 'x'`,
		},
		"agent": {
			`UPDATE agent SET audits = audits - 1 WHERE id = 1`,
			`UPDATE agent SET first = first + 1 WHERE id = 1`,
			`UPDATE agent SET last = NULL WHERE id = 1`,
			`UPDATE agent SET audits = audits + 1000`,
			`UPDATE agent SET first = first - 1 WHERE id = 1`,
			`UPDATE agent SET last = last + 1 WHERE id = 1`,
			`UPDATE agent SET last = last - 1 WHERE id = 1`,
			`UPDATE agent SET agent_id = zeroblob(32) WHERE id = 1`,
			`UPDATE OR REPLACE agent SET id = 2 WHERE id = 1`,
			`DELETE FROM agent WHERE id = 1`,
			`INSERT INTO agent (id) VALUES (0) ON CONFLICT DO UPDATE SET audits = -1`,
		},
		"activity": {
			`UPDATE activity SET audits = audits + 1`,
			`UPDATE OR REPLACE activity SET start = 0, agent = 0`,
			`UPDATE OR IGNORE activity SET unapproved = 0 WHERE agent = 1`,
			`DELETE FROM activity`,
			`DELETE FROM activity WHERE span = 15 AND agent = 1`,
			`INSERT INTO activity VALUES (1, 0, 0, 1, 0)`,
			`INSERT OR IGNORE INTO activity VALUES (1, 0, 0, 1, 0)`,
			`INSERT OR REPLACE INTO activity SELECT span, start, agent, audits + 1, unapproved FROM activity`,
			`INSERT INTO activity SELECT span, start, agent, 1, 0 FROM activity WHERE TRUE ON CONFLICT DO UPDATE SET audits = audits - 1`,
		},
		"store": {
			`UPDATE store SET value = 's' WHERE name = 'time_unit'`,
			`UPDATE store SET value = 'x' WHERE name = 'store_id'`,
			`UPDATE store SET value = 2 WHERE name = 'format'`,
			`UPDATE OR REPLACE store SET name = 'time_unit' WHERE name = 'cursor'`,
			`INSERT OR REPLACE INTO store VALUES ('time_unit', 's')`,
			`INSERT INTO store VALUES ('store_id', 's') ON CONFLICT DO UPDATE SET value = excluded.value`,
			`DELETE FROM store WHERE name = 'cursor'`,
			`UPDATE store SET value = 0 WHERE name = 'cursor'`,
			`UPDATE store SET value = value - 1 WHERE name = 'cursor'`,
			`UPDATE store SET value = 'far' WHERE name = 'cursor'`,
			`UPDATE store SET value = NULL WHERE name = 'cursor'`,
			`UPDATE store SET value = 1e3 WHERE name = 'cursor'`,
			`UPDATE store SET value = value + 1 WHERE name = 'cursor'`,
			`UPDATE store SET value = value + 1 WHERE name = 'contributions'`,
			`UPDATE store SET value = value + 1 WHERE name = 'rejected'`,
			`INSERT INTO store VALUES ('cursor', 9999) ON CONFLICT DO UPDATE SET value = excluded.value`,
			`INSERT OR REPLACE INTO store VALUES ('cursor', 9999)`,
			`REPLACE INTO store VALUES ('rejected', 0)`,
			`UPDATE store SET value = 0 WHERE name = 'contributions'`,
			`UPDATE store SET value = 0`,
			`DELETE FROM store`,
		},
		"label": {
			`INSERT INTO label VALUES ('Tesla', 'x')`,
			`INSERT INTO label VALUES ('` + strings.ToUpper(rec.ID) + `', 'x')`,
		},
	} {
		t.Run(table, func(t *testing.T) {
			db, path := guarded(t)
			if err := db.WriteRuns(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			before := dump(t, db)
			for _, c := range append(clients(t), withRecursiveTriggers(clients(t))...) {
				for _, s := range statements {
					if _, err := c.run(t, path, s); err == nil {
						t.Errorf("%s: %s: no error", c.name, s)
					} else if !saysWhy(err) {
						t.Errorf("%s: %s: %v", c.name, s, err)
					}
				}
			}
			if after := dump(t, db); after != before {
				t.Error("something changed")
			}
		})
	}
}

// saysWhy reports whether an error is a guard's or a constraint's, in words.
func saysWhy(err error) bool {
	for _, why := range []string{
		"audit data is append-only: ", "fact about the store is fixed when it is made", "facts about the store are never deleted",
		"CHECK constraint failed: keys are blobs", "CHECK constraint failed: values are blobs", "NOT NULL constraint failed: kv.key",
		"CHECK constraint failed: typeof(query_id) = 'blob'", "CHECK constraint failed: journal_offset >= 0", "CHECK constraint failed: length(hash) = 64",
	} {
		if strings.Contains(err.Error(), why) {
			return true
		}
	}
	return false
}

func TestRefusalsSayWhy(t *testing.T) {
	t.Parallel()
	_, path := guarded(t)
	for statement, why := range map[string]string{
		`DELETE FROM kv`: "audit data is append-only: records in kv are never deleted",
		`INSERT INTO kv (key, value) VALUES (x'004155443a00', x'')`: "audit data is append-only: records come into kv from the journal alone",
		`INSERT INTO entry VALUES (20, zeroblob(32), 0)`:            "audit data is append-only: the order of admission comes from the journal alone",
		`UPDATE store SET value = 0 WHERE name = 'cursor'`:          "audit data is append-only: the cursor and the counts of the store only grow",
		`UPDATE audit SET subject = 'other'`:                        "audit data is append-only: table audit is derived from kv and never changed",
	} {
		for _, c := range clients(t) {
			if _, err := c.run(t, path, statement); err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %s: %v", c.name, statement, err)
			}
		}
	}
}

func TestWhatStaysFree(t *testing.T) {
	t.Parallel()
	for _, c := range clients(t) {
		t.Run(c.name, func(t *testing.T) {
			db, path := guarded(t)
			for _, s := range []string{
				`INSERT INTO kv (key, value) VALUES (x'00', x'01')`,
				`INSERT OR REPLACE INTO kv (key, value) VALUES (x'00', x'02')`,
				`INSERT INTO kv (key, value) VALUES (x'00', x'00') ON CONFLICT (key) DO UPDATE SET value = x'03'`,
				`UPDATE kv SET value = x'04' WHERE key = x'00'`,
				`UPDATE kv SET key = x'01' WHERE key = x'00'`,
				`UPDATE OR REPLACE kv SET key = x'66726565' WHERE key = x'01'`,
				`DELETE FROM kv WHERE key = x'66726565'`,
				`INSERT INTO kv (key, value) VALUES (x'0041554439', x'')`, // just beside the families
				`INSERT INTO kv (key, value) VALUES (x'004155443b', x''), (x'00415544413b', x''), (x'0041554441', x'')`,
				`DELETE FROM kv WHERE key IN (x'0041554439', x'004155443b', x'00415544413b', x'0041554441')`,
				`INSERT INTO label VALUES ('` + hx("agent 1") + `', 'planner')`,
				`UPDATE label SET label = 'it''s "Planner"'`,
				`DELETE FROM label`,
				`INSERT INTO kv (key, value) VALUES (x'', x'')`,
				`INSERT INTO kv (rowid, key, value) VALUES (-1, x'0101', x''), (4000, x'0102', x'')`,
				`REPLACE INTO kv (rowid, key, value) VALUES (4000, x'0103', x'')`,
				`UPDATE kv SET rowid = 5000 WHERE key = x'0103'`,
				`DELETE FROM kv WHERE key < x'0041'`,
				`DELETE FROM kv WHERE key < x'0110' AND key > x'01'`,
			} {
				if _, err := c.run(t, path, s); err != nil {
					t.Errorf("%s: %v", s, err)
				}
			}
			wantRows(t, db, `SELECT key, value FROM kv WHERE key < x'0041' OR key > x'0042'`, "x6672656520746f6f|x32")
		})
	}
}

// plans are questions as people ask them, with the index that has to answer.
var plans = []struct{ query, index string }{
	{`SELECT * FROM audits WHERE query_id = '{h}'`, "audit_by_query"},
	{`SELECT * FROM audits WHERE query_id IN ('{h}', '{h}')`, "audit_by_query"},
	{`SELECT * FROM audits WHERE query_id = lower('{H}')`, "audit_by_query"},
	{`SELECT * FROM contributions WHERE source_hash = lower('{H}')`, "contribution_by_source"},
	{`SELECT * FROM audits WHERE agent_id = '{h}'`, "audit_by_agent"},
	{`SELECT * FROM audits WHERE agent_id IS NULL`, "audit_by_agent"},
	{`SELECT * FROM audits WHERE agent_id = '{h}' AND timestamp BETWEEN 1 AND 2 ORDER BY timestamp`, "audit_by_agent"},
	{`SELECT * FROM audits WHERE agent_id = '{h}' AND timestamp < 5 ORDER BY timestamp DESC LIMIT 1`, "audit_by_agent"},
	{`SELECT * FROM audits WHERE subject = 'x' ORDER BY timestamp`, "audit_by_subject"},
	{`SELECT * FROM audits WHERE subject = 'x' AND timestamp > 5`, "audit_by_subject"},
	{`SELECT agent_id, count(*) FROM audits WHERE timestamp > 5 GROUP BY agent_id`, "audit_by_time"},
	{`SELECT * FROM audits WHERE subject = 'x' AND predicate = 'y' ORDER BY timestamp`, "audit_by_subject"},
	{`SELECT * FROM audits WHERE subject GLOB 'x*'`, "audit_by_subject"},
	{`SELECT * FROM audits WHERE result_hash = '{h}'`, "audit_by_result"},
	{`SELECT * FROM audits WHERE result_hash = '{h}' ORDER BY timestamp DESC`, "audit_by_result"},
	{`SELECT * FROM audits WHERE timestamp BETWEEN 1 AND 2`, "audit_by_time"},
	{`SELECT subject, count(*) FROM audits WHERE timestamp BETWEEN 5 AND 6 GROUP BY subject`, "audit_by_time"},
	{`SELECT * FROM audits WHERE idx = 5`, "SEARCH a USING INTEGER PRIMARY KEY"},
	{`SELECT * FROM contributions WHERE assertion_hash = '{h}'`, "contribution_by_assertion"},
	{`SELECT * FROM contributions WHERE assertion_hash = '{h}' ORDER BY timestamp`, "contribution_by_assertion"},
	{`SELECT * FROM contributions WHERE assertion_hash = '{h}' AND timestamp > 5`, "contribution_by_assertion"},
	{`SELECT * FROM contributions WHERE source_hash = '{h}'`, "contribution_by_source"},
	{`SELECT agent_id, count(*) FROM contributions WHERE source_hash = '{h}' GROUP BY agent_id`, "contribution_by_source"},
	{`SELECT * FROM contributions WHERE query_id = '{h}' ORDER BY weight DESC`, "audit_by_query"},
	{`SELECT * FROM contributions WHERE agent_id = '{h}' AND timestamp BETWEEN 1 AND 2`, "audit_by_agent"},
	{`SELECT o.* FROM contributions c JOIN contributions o USING (assertion_hash) WHERE c.query_id = '{h}'`, "contribution_by_assertion"},
	{`SELECT o.* FROM contributions c JOIN contributions o ON o.source_hash = c.source_hash WHERE c.query_id = '{h}'`, "contribution_by_source"},
	{`SELECT * FROM contributions WHERE source_hash IN (SELECT hash FROM label WHERE label = 'x')`, "contribution_by_source"},
	{`SELECT c.* FROM label l JOIN contributions c ON c.assertion_hash = l.hash WHERE l.label = 'x'`, "contribution_by_assertion"},
	{`SELECT a.* FROM label l JOIN audits a ON a.agent_id = l.hash WHERE l.label = 'x'`, "audit_by_agent"},
	{`SELECT * FROM attributes WHERE key = 'trace_id' AND value = 'x'`, "attribute_by_value"},
	{`SELECT a.* FROM attributes t JOIN audits a USING (query_id) WHERE t.key = 'trace_id' AND t.value = 'x'`, "attribute_by_value"},
	{`SELECT * FROM audits WHERE query_id IN (SELECT query_id FROM attributes WHERE key = 'k' AND value = 'x')`, "attribute_by_value"},
	{`SELECT * FROM attributes WHERE query_id = '{h}'`, "audit_by_query"},
	{`SELECT * FROM agents WHERE agent_id = '{h}'`, "agent_by_hash"},
	{`SELECT * FROM answers WHERE subject = 'x' AND predicate = 'y' ORDER BY timestamp`, "audit_by_subject"},
	{`SELECT * FROM answers WHERE subject = 'x' AND predicate = 'y' AND flipped AND timestamp BETWEEN 1 AND 2`, "audit_by_subject"},
	{`SELECT * FROM answers WHERE query_id = '{h}'`, "audit_by_query"},
	{`SELECT * FROM answers WHERE agent_id = '{h}' AND timestamp BETWEEN 1 AND 2`, "audit_by_agent"},
	{`SELECT * FROM answers WHERE timestamp BETWEEN 1 AND 2 AND flipped`, "audit_by_time"},
	{`SELECT hash FROM labels WHERE label = 'x'`, "label_by_name"},
}

func TestQuestionsFindTheirIndex(t *testing.T) {
	t.Parallel()
	_, path := guarded(t)
	for _, c := range clients(t) {
		t.Run(c.name, func(t *testing.T) {
			for _, p := range plans {
				query := strings.NewReplacer("{h}", hx("pasted"), "{H}", strings.ToUpper(hx("pasted"))).Replace(p.query)
				plan, err := c.run(t, path, "EXPLAIN QUERY PLAN "+query)
				if err != nil {
					t.Errorf("%s: %v", query, err)
				} else if !strings.Contains(plan, p.index) || strings.Contains(plan, "SCAN") {
					t.Errorf("%s: plan is\n%s", query, plan)
				}
			}
			// The newest records come off the index of time, without sorting.
			for _, query := range []string{
				`SELECT * FROM audits ORDER BY timestamp DESC LIMIT 10`,
				`SELECT * FROM audits ORDER BY timestamp DESC, query_id LIMIT 10`,
				`SELECT * FROM contributions ORDER BY timestamp DESC LIMIT 10`,
			} {
				plan, err := c.run(t, path, "EXPLAIN QUERY PLAN "+query)
				if err != nil || !strings.Contains(plan, "SCAN a USING INDEX audit_by_time") || strings.Contains(plan, "TEMP B-TREE FOR ORDER BY") {
					t.Errorf("%s: %v, plan is\n%s", query, err, plan)
				}
			}
		})
	}
}

func TestPastedHexFindsRecords(t *testing.T) {
	t.Parallel()
	_, path := guarded(t)
	rec := newSample(4)
	for _, c := range clients(t) {
		for query, want := range map[string]string{
			`SELECT idx FROM audits WHERE query_id = '` + rec.ID + `'`:                                                     "4",
			`SELECT idx FROM audits WHERE query_id = lower('` + strings.ToUpper(rec.ID) + `')`:                             "4",
			`SELECT idx FROM audits WHERE agent_id = '` + *rec.Agent + `' AND timestamp < 1700000000100`:                   "4",
			`SELECT idx FROM audits WHERE result_hash = '` + *rec.Result + `'`:                                             "4 17",
			`SELECT idx FROM contributions WHERE assertion_hash = '` + rec.Contributions[2].Assertion + `'`:                "4 5 6 17 18 19",
			`SELECT count(DISTINCT query_id) FROM contributions WHERE source_hash = '` + rec.Contributions[2].Source + `'`: "8",
			`SELECT query_id = '` + rec.ID + `' FROM attributes WHERE key = 'trace_id' AND value = 'trace 4'`:              "1",
			`SELECT audits FROM agents WHERE agent_id = '` + *rec.Agent + `'`:                                              "3",
		} {
			got, err := c.run(t, path, query+" ORDER BY 1")
			if got = strings.Join(strings.Fields(got), " "); err != nil || got != want {
				t.Errorf("%s: %s: %q, %v; want %q", c.name, query, got, err, want)
			}
		}
	}
}

// A shell that reads, read-only, while a writer writes: it sees whole batches and is in nobody's way.
func TestShellBesideWriter(t *testing.T) {
	t.Parallel()
	if !haveShell(t) {
		t.Skip("no sqlite3 shell")
	}
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	for i := range 20 {
		apply(t, db, samples(i*50, i*50+50)...)
		out, err := exec.CommandContext(context.Background(), "sqlite3", "-readonly", path,
			"SELECT count(*) FROM audits; SELECT count(*) FROM kv WHERE key < x'004155443b'; SELECT value FROM store WHERE name = 'cursor'").CombinedOutput()
		if want := fmt.Sprintf("%d\n%d\n%d\n", i*50+50, i*50+50, (i*50+50)*100); err != nil || string(out) != want {
			t.Fatalf("batch %d: %v, %q; want %q", i, err, out, want)
		}
		if c, err := db.Checkpoint(t.Context(), false); err != nil || !c.Complete {
			t.Errorf("checkpoint: %+v, %v", c, err)
		}
	}
}

// A store of many generations, made by hand for speed: each question finds what it asks for in all of them.
func TestQuestionsReachEveryGeneration(t *testing.T) {
	t.Parallel()
	db, path := guarded(t)
	const generations = 40
	generationsByHand(t, path, generations)
	rec := newSample(4)
	for name, f := range map[string]sqlstore.Filter{
		"assertion": {Assertion: ptr(h("assertion 5")), Result: ptr(unhex(*rec.Result)), Attributes: []sqlstore.Attribute{{Key: "trace_id", Value: "trace 4"}}},
		"attribute": {Attributes: []sqlstore.Attribute{{Key: "trace_id", Value: "trace 4"}}},
		"result":    {Result: ptr(unhex(*rec.Result)), Attributes: []sqlstore.Attribute{{Key: "trace_id", Value: "trace 4"}}},
	} {
		for _, lookup := range []int{1 << 14, 5} { // by the index, and on a walk
			db.ShrinkSelect(10, lookup, 10)
			if got := collect(t, db, f); len(got) != generations {
				t.Errorf("%s: %d records, want %d", name, len(got), generations)
			}
		}
	}
	if got := collect(t, db, sqlstore.Filter{Result: ptr(unhex(*rec.Result))}); len(got) != generations+1 {
		t.Errorf("result: %d records, want %d", len(got), generations+1) // and record 17
	}
	for _, lookup := range []int{1 << 14, 5} {
		db.ShrinkSelect(10, lookup, 10)
		everywhere, err := db.CountEvidence(t.Context(), sqlstore.Evidence{Hash: ptr(h("assertion 5"))}, sqlstore.Filter{Agent: ptr(unhex(*rec.Agent)), Result: ptr(unhex(*rec.Result))}, 0, sqlstore.Budget{})
		if err != nil || len(everywhere.ByAgent) != 1 || everywhere.ByAgent[0].Answers != generations {
			t.Errorf("lookup of %d: %+v, %v", lookup, everywhere, err)
		}
	}
	if uses, err := db.Dictionary().Uses(t.Context(), sqlstore.Evidence{Hash: ptr(h("source 4")), Source: true}, nil, 1000); err != nil || len(uses) < generations ||
		!slices.IsSortedFunc(uses, func(a, b sqlstore.Use) int { return cmp.Compare(a.Index, b.Index) }) {
		t.Errorf("%d uses, %v", len(uses), err)
	}
	if found, err := db.PrefixHashes(t.Context(), sqlstore.AssertionHash, "", 100); err != nil || len(found) != 13 {
		t.Errorf("%d assertions, %v", len(found), err)
	}
	for _, c := range clients(t) {
		for query, want := range map[string]string{
			`SELECT count(*) FROM audits WHERE result_hash = '` + *rec.Result + `'`:                                  "41",
			`SELECT count(DISTINCT idx >> 14) FROM contributions WHERE assertion_hash = '` + hx("assertion 5") + `'`: "40",
			`SELECT count(DISTINCT idx >> 14) FROM contributions WHERE source_hash = '` + hx("source 4") + `'`:       "40",
			`SELECT count(*) FROM attributes WHERE key = 'trace_id' AND value = 'trace 4'`:                           "40",
			`SELECT count(*) FROM audits WHERE query_id IN (SELECT query_id FROM audits WHERE idx > 16384)`:          "39",
		} {
			got, err := c.run(t, path, query)
			if strings.TrimSpace(got) != want || err != nil {
				t.Errorf("%s: %s: %q, %v; want %s", c.name, query, got, err, want)
			}
		}
	}
}
