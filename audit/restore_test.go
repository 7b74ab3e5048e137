package audit_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// Whatever was damaged in SQLite comes back if anything that is left shows what it was. Else it is kept, and told.
func TestDamagedRecordsAreRepaired(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	whole, lines := closedStore(t, 0, 300)
	trimmed, _ := closedStore(t, 0, 300, audit.WithSegmentBytes(4000), audit.WithRetention(audit.RetainNone))
	q := sample(7)
	newest := sample(299)
	key := func(q *audit.QueryAudit) string { return fmt.Sprintf("WHERE key = x'004155443a%s'", q.QueryID) }
	const forge = `UPDATE kv SET value = CAST(replace(CAST(value AS TEXT), 'trace-', 'trace+') AS BLOB) `
	for name, c := range map[string]struct {
		store, tampering string
		of               audit.QueryID
		what             string // becomes of it
	}{
		"the value":            {whole, forge + key(&q), q.QueryID, "restored"},
		"the newest value":     {whole, forge + key(&newest), newest.QueryID, "restored"},
		"no record":            {whole, `DELETE FROM kv ` + key(&q), q.QueryID, "restored"},
		"the leaf":             {whole, `UPDATE kv SET leaf = zeroblob(32) ` + key(&q), q.QueryID, "rehashed"},
		"the leaf, trimmed":    {trimmed, `UPDATE kv SET leaf = NULL ` + key(&q), q.QueryID, "rehashed"},
		"value and leaf":       {whole, forge + key(&q) + `; UPDATE kv SET leaf = zeroblob(32) ` + key(&q), q.QueryID, "restored"},
		"the value, trimmed":   {trimmed, forge + key(&q), q.QueryID, "lost"},
		"value, leaf and tile": {whole, forge + key(&q) + `; UPDATE kv SET leaf = zeroblob(32) ` + key(&q) + `; UPDATE tile SET hashes = zeroblob(8192)`, q.QueryID, "lost"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := killed(t, c.store)
			s := openShell(t, dir)
			s.unguarded(c.tampering)
			s.exit()
			before := contents(t, dir)
			for _, apply := range []bool{false, true} {
				rep, err := audit.RepairRecords(t.Context(), dir, audit.RepairOptions{Apply: apply})
				if err != nil {
					t.Fatal(err)
				}
				got := map[string][]audit.QueryID{"restored": rep.Restored, "rehashed": rep.Rehashed, "lost": rep.Lost}[c.what]
				if rep.Damaged() != 1 || !slices.Equal(got, []audit.QueryID{c.of}) || (rep.Aside != "") != (apply && c.what == "lost") {
					t.Errorf("apply %v: %+v", apply, rep)
				}
				if !apply && contents(t, dir)["/audit.db"] != before["/audit.db"] {
					t.Error("it was changed without being asked to")
				}
			}
			db := openDB(t, dir)
			if c.what == "lost" {
				_, err := db.GetRaw(t.Context(), c.of)
				var damaged *audit.RecordError
				if !errors.As(err, &damaged) {
					t.Errorf("get: %v", err)
				}
				if rep, err := db.Verify(t.Context(), audit.VerifyOptions{}); err != nil || rep.OK() {
					t.Errorf("verify: %+v, %v", rep, err)
				}
				kept := must(filepath.Glob(filepath.Join(dir, "aside-*", c.of.String()+".sqlite")))
				if len(kept) != 1 || !strings.Contains(string(must(os.ReadFile(kept[0]))), "trace+7") {
					t.Errorf("kept is %q", kept)
				}
				return
			}
			wantAll(t, db, lines)
			wantExportedRoot(t, db)
		})
	}
}

// A rebuild of the forensic tables leaves a damaged record out. When it comes back, every question has it again.
func TestARecordThatARebuildLeftOutComesBackWhole(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	whole, lines := closedStore(t, 0, 60)
	q := sample(7)
	for name, opened := range map[string]bool{"rebuilt by an opening before": true, "rebuilt by the opening of the repair": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := killed(t, whole)
			s := openShell(t, dir)
			s.unguarded(fmt.Sprintf(`UPDATE kv SET value = CAST(replace(CAST(value AS TEXT), 'trace-', 'trace+') AS BLOB) WHERE key = x'004155443a%s'`, q.QueryID))
			s.do(`DROP TABLE attribute`)
			s.exit()
			if opened {
				closeDB(t, openDB(t, dir))
			}
			rep, err := audit.RepairRecords(t.Context(), dir, audit.RepairOptions{Apply: true})
			if err != nil || !slices.Equal(rep.Restored, []audit.QueryID{q.QueryID}) {
				t.Fatalf("%+v, %v", rep, err)
			}
			db := openDB(t, dir)
			wantAll(t, db, lines)
			if n, err := count(db.RawAudits(t.Context(), audit.Filter{Subject: q.Params.Subject, From: &q.Timestamp, To: &q.Timestamp})); n != 1 || err != nil {
				t.Errorf("%d records of that subject and time, %v", n, err)
			}
			if report, err := db.Verify(t.Context(), audit.VerifyOptions{}); err != nil || !report.OK() {
				t.Errorf("%+v, %v", report, err)
			}
		})
	}
}

// A record that was rewritten in the journal, with checksums that fit, does not come back into SQLite, also if SQLite has it in that
// form: it does not have the leaf hash.
func TestAForgedJournalRecordRestoresNothing(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	for _, tampering := range []string{
		`DELETE FROM kv WHERE key = x'004155443a%s'`,
		`UPDATE kv SET value = CAST(replace(CAST(value AS TEXT), 'trace-7', 'trace-8') AS BLOB) WHERE key = x'004155443a%s'`,
	} {
		dir, _ := closedStore(t, 0, 40)
		q := sample(7)
		raw := canonical(t, &q)
		s := openShell(t, dir)
		at := uint64(s.ask(`SELECT journal_offset FROM entry WHERE idx = 7`))
		s.unguarded(fmt.Sprintf(tampering, q.QueryID))
		s.exit()
		name := must(filepath.Glob(filepath.Join(dir, "wal", "*.wal")))[0]
		b := must(os.ReadFile(name))
		copy(b[at:], walspec.Encode(at, []byte(strings.Replace(raw, "trace-7", "trace-8", 1))))
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if rep, err := wal.Verify(filepath.Join(dir, "wal"), wal.Options{}); err != nil || len(rep.Damage) > 0 {
			t.Fatalf("%+v, %v", rep, err)
		}
		rep, err := audit.RepairRecords(t.Context(), dir, audit.RepairOptions{Apply: true})
		if err != nil || !slices.Equal(rep.Lost, []audit.QueryID{q.QueryID}) || rep.Damaged() != 1 {
			t.Errorf("%s: %+v, %v", tampering, rep, err)
		}
	}
}
