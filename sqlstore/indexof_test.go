package sqlstore_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
)

// IndexOf finds each record: among few and among many of one time, when kv has lost it, and when kv has other bytes under its id.
func TestIndexOfFindsEachRecord(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	var rs []sqlstore.Record
	for i := range 700 {
		s := newSample(i)
		if s.Time = 5; i%7 == 0 {
			s.Time = int64(i)
		}
		r := s.record(uint64(i) * 100)
		r.Payload = fmt.Appendf(nil, `{"timestamp":%d,"subject":%q}`, s.Time, s.ID)
		r.Leaf = tree.LeafHash(r.Payload)
		rs = append(rs, r)
	}
	apply(t, db, rs...)
	right := func(doing string) {
		t.Helper()
		for i := range rs {
			if idx, err := db.IndexOf(t.Context(), rs[i].QueryID); err != nil || idx != int64(i) {
				t.Errorf("%s: record %d is at %d, %v", doing, i, idx, err)
			}
		}
		if idx, err := db.IndexOf(t.Context(), h("nobody")); err != nil || idx != -1 {
			t.Errorf("%s: no record: %d, %v", doing, idx, err)
		}
	}
	right("sound")
	// A time that few records have is enough. The index of ids, which is searched generation by generation, is not needed then.
	tamper(t, path, `DROP INDEX audit_by_query`)
	for i := 7; i < len(rs); i += 7 {
		if idx, err := db.IndexOf(t.Context(), rs[i].QueryID); err != nil || idx != int64(i) {
			t.Errorf("by time alone: record %d is at %d, %v", i, idx, err)
		}
	}
	tamper(t, path, `CREATE INDEX audit_by_query ON audit (generation, query_hex)`)
	key := func(i int) string { return fmt.Sprintf("x'004155443a%x'", rs[i].QueryID) }
	tamper(t, path, `DELETE FROM kv WHERE key = `+key(14), `UPDATE kv SET value = x'00' WHERE key = `+key(21), `UPDATE kv SET value = CAST('{"timestamp":6}' AS BLOB) WHERE key = `+key(28))
	right("damaged")
}
