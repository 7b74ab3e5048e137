package audit_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
)

var update = flag.Bool("update", false, "write testdata/verify anew")

// Verify checks several things at the same time, and yet reports the same problems and notes in the same order every time.
// The damage is on both sides of the borders at which the work is split.
func TestVerifyReportsTheSameInTheSameOrder(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	whole, _ := closedStore(t, 0, 1100)
	key := func(i int) string { return "x'004155443a" + sample(i).QueryID.String() + "'" }
	const listing = "(SELECT key FROM kv WHERE length(key) = 80 AND substr(key, 49) = x'%s')"
	tables := []string{
		`UPDATE audit SET subject = 'other' WHERE idx IN (0, 255, 256, 700)`,
		`DELETE FROM audit WHERE idx IN (511, 512)`,
		`UPDATE contribution SET weight = 0.5 WHERE audit IN (3, 254, 255, 1023) AND position = 0`,
		`DELETE FROM attribute WHERE audit IN (257, 900) AND key = 'trace_id'`,
		`UPDATE agent SET audits = audits + 1 WHERE id = 2`,
	}
	records := []string{
		fmt.Sprintf(`UPDATE kv SET value = CAST(replace(CAST(value AS TEXT), 'subject', 'Subject') AS BLOB) WHERE key IN (%s, %s)`, key(255), key(256)),
		fmt.Sprintf(`DELETE FROM kv WHERE key = %s`, key(400)),
		fmt.Sprintf(`UPDATE kv SET value = x'7b' WHERE key = %s`, key(401)),
		fmt.Sprintf(`UPDATE kv SET value = (SELECT value FROM kv WHERE key = %s) WHERE key = %s`, key(5), key(402)),
		fmt.Sprintf(`DELETE FROM kv WHERE key = `+listing, sample(511).QueryID),
		fmt.Sprintf(`UPDATE kv SET value = x'00' WHERE key = `+listing, sample(512).QueryID),
		`UPDATE entry SET journal_offset = journal_offset + 1 WHERE idx IN (255, 600)`,
		`UPDATE tile SET hashes = zeroblob(8192) WHERE level = 0 AND n = 1`,
		`INSERT INTO rejected VALUES (1, 'r', x'00'), (2, 's', x'01')`,
	}
	hole := []string{
		`DELETE FROM entry WHERE idx BETWEEN 250 AND 260`,
		fmt.Sprintf(`INSERT INTO entry VALUES (2000, x'%s', 99999999)`, sample(7).QueryID),
	}
	for name, statements := range map[string][]string{
		"tables":  tables,
		"records": records,
		"hole":    hole,
		"all":     slices.Concat(tables, records, hole),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := killed(t, whole)
			s := openShell(t, dir)
			s.unguarded(statements...)
			s.exit()
			if name == "all" {
				if err := overwrite(filepath.Join(dir, "wal", "0000000000000000.wal"), 50_000, []byte{0xff}); err != nil {
					t.Fatal(err)
				}
			}
			golden := filepath.Join("testdata", "verify", name+".txt")
			for range 2 {
				report, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{})
				if err != nil {
					t.Fatal(err)
				}
				found := strings.ReplaceAll(strings.Join(slices.Concat(report.Problems,
					[]string{fmt.Sprintf("%d problems, %d records of the journal match; notes:", report.Total, report.Matched)}, report.Notes), "\n")+"\n", dir, "DIR")
				if *update {
					if err := os.WriteFile(golden, []byte(found), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if found != string(want) {
					t.Fatalf("verify reports\n%s\nwant\n%s", found, want)
				}
			}
		})
	}
}

// A verification that is given up ends, whatever it was doing.
func TestVerifyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 600)
	db := openDB(t, dir, audit.ReadOnly())
	for _, stage := range []string{"SQLite's own integrity", "the forensic tables"} {
		ctx, cancel := context.WithCancel(t.Context())
		seen := false
		_, err := db.Verify(ctx, audit.VerifyOptions{Progress: func(at string, _ uint64) {
			if at == stage {
				seen = true
				cancel()
			}
		}})
		cancel()
		if !seen || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: seen %t, %v", stage, seen, err)
		}
	}
	wantSound(t, db)
}
