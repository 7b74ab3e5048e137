package audit_test

import (
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
)

// Rows that somebody has put into a forensic table in a shell are shown by the views, so they are looked for.
func TestRowsPutInByHandAreFound(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	whole, lines := closedStore(t, 0, 30)
	const columns = " (idx, query_hex, agent, timestamp, result_confidence, contributions) "
	for name, statement := range map[string]string{
		"audit":                "INSERT INTO audit" + columns + "SELECT 1000, query_hex, agent, timestamp, 1, 0 FROM audit LIMIT 1",
		"audit, below 0":       "INSERT INTO audit" + columns + "SELECT -7, query_hex, agent, timestamp, 1, 0 FROM audit LIMIT 1",
		"contribution":         "INSERT INTO contribution SELECT 1000, 0, assertion, weight, source, lifecycle FROM contribution LIMIT 1",
		"contribution, one on": "INSERT INTO contribution SELECT 30, 0, assertion, weight, source, lifecycle FROM contribution LIMIT 1",
		"hash":                 "INSERT INTO hash (generation, hex) SELECT 1, hex FROM hash LIMIT 1",
		"hash, below 0":        "INSERT INTO hash (generation, hex) SELECT -1, hex FROM hash LIMIT 1",
		"attribute":            "INSERT INTO attribute VALUES (1000, 'trace_id', 'forged')",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table, _, _ := strings.Cut(name, ",")
			dir := killed(t, whole)
			s := openShell(t, dir)
			s.do(statement)
			s.exit()
			for _, quick := range []bool{true, false} {
				report, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{Quick: quick})
				if err != nil || !strings.Contains(strings.Join(report.Problems, "\n"), "audit.db: "+table+": rows were put in by hand") {
					t.Errorf("quick %v: %q, %v", quick, report.Problems, err)
				}
			}
			// The next opening takes them out again.
			wantNeedsRecovery(t, dir, true)
			db := openDB(t, dir)
			wantAll(t, db, lines)
		})
	}
}
