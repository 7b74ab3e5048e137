package sqlstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/auditsql/auditsql/sqlstore"
)

func open(t testing.TB, path string, o sqlstore.Options) *sqlstore.DB {
	t.Helper()
	db, err := sqlstore.Open(context.Background(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func newDB(t testing.TB) *sqlstore.DB {
	return open(t, filepath.Join(t.TempDir(), "audit.db"), sqlstore.Options{Heading: heading})
}

func put(t testing.TB, db *sqlstore.DB, pairs ...string) {
	t.Helper()
	var m []sqlstore.Mutation
	for i := 0; i < len(pairs); i += 2 {
		m = append(m, sqlstore.Mutation{Key: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	if err := db.Write(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func TestGetAndWrite(t *testing.T) {
	t.Parallel()
	db, ctx := newDB(t), t.Context()
	put(t, db, "a", "1", "", "empty key", "empty value", "", "\x00\xff", "\xff\x00'; DROP TABLE kv; --")
	for k, want := range map[string]string{"a": "1", "": "empty key", "empty value": "", "\x00\xff": "\xff\x00'; DROP TABLE kv; --"} {
		got, err := db.Get(ctx, []byte(k))
		if err != nil || string(got) != want || got == nil {
			t.Errorf("get %q: %q, %v; want %q", k, got, err, want)
		}
	}
	if _, err := db.Get(ctx, []byte("b")); !errors.Is(err, sqlstore.ErrNotFound) {
		t.Errorf("get of an absent key: %v", err)
	}
	err := db.Write(ctx, []sqlstore.Mutation{
		{Key: []byte("a"), Value: []byte("2")},
		{Key: []byte("absent"), Delete: true},
		{Key: nil, Delete: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := db.Get(ctx, []byte("a")); string(got) != "2" {
		t.Errorf("after overwriting: %q, %v", got, err)
	}
	if _, err := db.Get(ctx, nil); !errors.Is(err, sqlstore.ErrNotFound) {
		t.Errorf("after deleting: %v", err)
	}
}

func TestGetGivesItsBytesAway(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "audit.db"), sqlstore.Options{Readers: 1})
	put(t, db, "a", "one", "b", "two", "empty", "")
	get := func(key string) []byte {
		value, err := db.Get(t.Context(), []byte(key))
		if err != nil || value == nil {
			t.Fatalf("%s: %v, %v", key, value, err)
		}
		return value
	}
	a, b, empty := get("a"), get("b"), get("empty")
	if string(a) != "one" || string(b) != "two" || len(empty) != 0 {
		t.Errorf("%q, %q, %q", a, b, empty)
	}
	copy(a, "xxx")
	if again := get("a"); string(again) != "one" {
		t.Errorf("a is %q now", again)
	}
}

// Checks can be switched off in a shell. What somebody then writes is shown as it is.
func TestGetOfWhatIsNoBlob(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	put(t, db, "text", "1", "number", "2")
	execute(t, path, `PRAGMA ignore_check_constraints = 1; UPDATE kv SET value = 'words' WHERE key = CAST('text' AS BLOB);
		UPDATE kv SET value = 7 WHERE key = CAST('number' AS BLOB)`)
	if value, err := db.Get(t.Context(), []byte("text")); err != nil || string(value) != "words" {
		t.Errorf("%q, %v", value, err)
	}
	if value, err := db.Get(t.Context(), []byte("number")); err != nil || string(value) != "7" {
		t.Errorf("%q, %v", value, err)
	}
}

func TestGetWaitsForAReaderAsLongAsItsContext(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "audit.db"), sqlstore.Options{Readers: 1})
	put(t, db, "a", "one")
	held, err := db.QueryRows(t.Context(), `SELECT key FROM kv`)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := db.Get(ctx, []byte("a")); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Get(t.Context(), []byte("a")); err != nil {
		t.Error(err)
	}
}

func TestAuditKeysAreWrittenOnce(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"\x00AUD:", "\x00AUD:x", "\x00AUDA:", "\x00AUDA:agent"} {
		t.Run(fmt.Sprintf("%q", key), func(t *testing.T) {
			db, ctx := newDB(t), t.Context()
			put(t, db, key, "v")
			put(t, db, key, "v") // the same again
			for name, m := range map[string]sqlstore.Mutation{
				"other value": {Key: []byte(key), Value: []byte("w")},
				"delete":      {Key: []byte(key), Delete: true},
			} {
				err := db.Write(ctx, []sqlstore.Mutation{{Key: []byte("beside"), Value: []byte("1")}, m})
				if !errors.Is(err, sqlstore.ErrWriteOnce) {
					t.Errorf("%s: %v", name, err)
				}
				if _, err := db.Get(ctx, []byte("beside")); !errors.Is(err, sqlstore.ErrNotFound) {
					t.Errorf("%s: half of a refused write stayed: %v", name, err)
				}
			}
			if got, err := db.Get(ctx, []byte(key)); string(got) != "v" {
				t.Errorf("value is %q, %v", got, err)
			}
		})
	}
}

func TestRange(t *testing.T) {
	t.Parallel()
	db, ctx := newDB(t), t.Context()
	var m []sqlstore.Mutation
	key := func(i int) []byte { return fmt.Appendf(nil, "k%04d", i) }
	for i := range 1000 {
		m = append(m, sqlstore.Mutation{Key: key(i), Value: fmt.Append(nil, i)})
	}
	if err := db.Write(ctx, m); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		low, high []byte
		reverse   bool
		limit     int
		from, n   int // first expected, and how many
	}{
		{nil, nil, false, 0, 0, 1000},
		{nil, nil, true, 0, 999, 1000},
		{key(10), key(20), false, 0, 10, 10},
		{key(10), key(20), true, 0, 19, 10},
		{key(10), nil, false, 3, 10, 3},
		{key(10), nil, true, 3, 999, 3},
		{nil, key(700), false, 0, 0, 700},
		{nil, key(700), true, 600, 699, 600},
		{key(0), key(1000), false, 512, 0, 512},
		{key(0), key(1000), true, 256, 999, 256},
		{key(5), key(5), false, 0, 0, 0},
		{key(6), key(5), true, 0, 0, 0},
	} {
		t.Run(fmt.Sprintf("%s to %s reverse %v limit %d", c.low, c.high, c.reverse, c.limit), func(t *testing.T) {
			i, n := c.from, 0
			for kv, err := range db.Range(ctx, c.low, c.high, c.reverse, c.limit) {
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(kv.Key, key(i)) || string(kv.Value) != fmt.Sprint(i) {
					t.Fatalf("at %d: %s = %s, want %d", n, kv.Key, kv.Value, i)
				}
				clear(kv.Key) // it is ours
				if n++; c.reverse {
					i--
				} else {
					i++
				}
			}
			if n != c.n {
				t.Errorf("%d keys, want %d", n, c.n)
			}
		})
	}
}

func TestRangeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	put(t, db, "a", "1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range db.Range(ctx, nil, nil, false, 0) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("range: %v", err)
		}
		return
	}
	t.Error("range: no error")
}

func TestWriteDuringRange(t *testing.T) {
	t.Parallel()
	db, ctx := newDB(t), t.Context()
	for i := range 600 {
		put(t, db, fmt.Sprintf("k%04d", i), "")
	}
	n := 0
	for _, err := range db.Range(ctx, nil, nil, false, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 100 {
			put(t, db, "a", "behind", "z", "ahead")
			c, err := db.Checkpoint(ctx, false)
			if err != nil || !c.Complete {
				t.Errorf("a range keeps a checkpoint from finishing: %+v, %v", c, err)
			}
		}
	}
	if n != 601 {
		t.Errorf("%d keys, want 601", n)
	}
}
