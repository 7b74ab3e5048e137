package audit_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/sqlstore"
)

// What is accepted, and as which record, is what a second reading of the format says. It is written canonically,
// and that reads back as the same record and the same bytes; whatever is refused is refused as ErrInvalid, in few
// words.
func FuzzParseAudit(f *testing.F) {
	for _, file := range []string{"inputs.ndjson", "canonical.ndjson"} {
		for _, line := range goldenLines(f, file) {
			f.Add(line)
		}
	}
	for _, line := range []string{"", "{}", least, attributes(`{"a":1e-7,"\ud83d\ude00":"\u0001"}`),
		with("Tesla", `\ud83d`), with("Tesla", `\ud83dabcdef`),
		attributes(`{"a":1,"a":2}`), attributes(`{"a":1,"\u0061":2}`), with("0.95", "1e400"), with("1000", "9223372036854775807")} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		before := bytes.Clone(line)
		q, err := audit.ParseAudit(line)
		if !bytes.Equal(line, before) {
			t.Fatal("the input was written to")
		}
		want, refused := strictAudit(line)
		if (err == nil) != (refused == nil) {
			t.Fatalf("ParseAudit: %v, the second reading: %v", err, refused)
		}
		if err == nil {
			if want.QueryID.IsZero() {
				want.QueryID = q.QueryID
			}
			if !reflect.DeepEqual(q, want) {
				t.Fatalf("read as\n%+v\nand by the second reading as\n%+v", q, want)
			}
		}
		if err != nil {
			var refused *audit.FieldError
			if !errors.Is(err, audit.ErrInvalid) || !errors.As(err, &refused) || len(err.Error()) > 600 {
				t.Fatalf("error %q", err)
			}
			if _, err := audit.ParseCanonical(line); err == nil {
				t.Fatal("ParseCanonical accepts what ParseAudit refuses")
			}
			return
		}
		if q.QueryID.IsZero() {
			t.Fatal("no id")
		}
		first, err := q.Canonical()
		if err != nil {
			t.Fatalf("accepted, but not written: %v", err)
		}
		again, err := audit.ParseCanonical(first)
		if err != nil {
			t.Fatalf("%s is not canonical: %v", first, err)
		}
		if !reflect.DeepEqual(again, q) {
			t.Fatalf("read as\n%+v\nand again as\n%+v", q, again)
		}
		second, err := again.Canonical()
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("written as\n%s\nand again as\n%s\n%v", first, second, err)
		}
		if _, err := audit.ParseCanonical(line); (err == nil) != bytes.Equal(line, first) {
			t.Fatalf("ParseCanonical(%s): %v", line, err)
		}
		begin := sqlstore.Heading{QueryID: q.QueryID, Anonymous: q.AgentID == nil, Timestamp: int64(q.Timestamp)}
		if q.AgentID != nil {
			begin.AgentID = *q.AgentID
		}
		if q.Params.Subject != nil {
			begin.Subject = []byte(*q.Params.Subject)
		}
		if h, ok := audit.HeadingOf(first); !ok || !reflect.DeepEqual(h, begin) {
			t.Fatalf("%s begins with %+v, %v", first, h, ok)
		}
	})
}

// A key that is taken apart is put together again as it was, what is put together is taken apart, and no key
// belongs to both families. Only what AgentKeyOf makes has an agent's prefix.
func FuzzKeys(f *testing.F) {
	f.Add(audit.KeyOf(fill(1)), uint64(0))
	f.Add(audit.AgentKeyOf(fill(':'), 1<<63, fill(0xff)), uint64(1<<63))
	f.Add(audit.AgentPrefix(fill(0)), uint64(1<<64-1))
	f.Add([]byte("\x00AUD:"), uint64(0x3a3a3a3a3a3a3a3a))
	f.Fuzz(func(t *testing.T, key []byte, at uint64) {
		id, isKey := audit.ParseKey(key)
		if isKey && !bytes.Equal(audit.KeyOf(id), key) {
			t.Errorf("%x is taken for the key of %s", key, id)
		}
		agent, timestamp, id, isAgentKey := audit.ParseAgentKey(key)
		if isAgentKey && (!bytes.Equal(audit.AgentKeyOf(agent, timestamp, id), key) || !bytes.HasPrefix(key, audit.AgentPrefix(agent))) {
			t.Errorf("%x is taken for the key of %s, %d, %s", key, agent, timestamp, id)
		}
		if isKey && isAgentKey {
			t.Errorf("%x is of both families", key)
		}

		var one, other audit.Hash
		copy(one[:], key)
		copy(other[:], key[len(key)/2:])
		if id, ok := audit.ParseKey(audit.KeyOf(one)); !ok || id != one {
			t.Errorf("the key of %s is taken apart as %s, %v", one, id, ok)
		}
		if agent, timestamp, id, ok := audit.ParseAgentKey(audit.AgentKeyOf(one, at, other)); !ok || agent != one || timestamp != at || id != other {
			t.Errorf("the key of %s, %d, %s is taken apart as %s, %d, %s, %v", one, at, other, agent, timestamp, id, ok)
		}
	})
}

// A hash is 64 hex digits as encoding/hex reads them, and is written in lower case. What is refused leaves alone
// what was there.
func FuzzParseHash(f *testing.F) {
	f.Add(fill(0xab).String())
	f.Add(strings.ToUpper(fill(0xab).String()))
	f.Add(strings.Repeat("0", 63))
	f.Add(strings.Repeat("0", 63) + "g")
	f.Add("0x" + strings.Repeat("0", 62))
	f.Add(strings.Repeat("\u0660", 32))
	f.Fuzz(func(t *testing.T, s string) {
		b, refused := hex.DecodeString(s)
		want := refused == nil && len(b) == 32
		h, err := audit.ParseHash(s)
		if (err == nil) != want || err != nil && !errors.Is(err, audit.ErrInvalid) {
			t.Fatalf("ParseHash(%q): %v", s, err)
		}
		held := fill(7)
		if err := held.UnmarshalText([]byte(s)); (err == nil) != want || !want && held != fill(7) || want && held != h {
			t.Fatalf("UnmarshalText(%q): %s, %v", s, held, err)
		}
		if want && (h.String() != strings.ToLower(s) || !bytes.Equal(h[:], b)) {
			t.Fatalf("%q is read as %s", s, h)
		}
	})
}

// Every id that begins with the digits is found, in order, and no other.
func FuzzResolve(f *testing.F) {
	db := openDB(f, f.TempDir())
	var ids []string
	for i := range 40 {
		id := hashOf("id", strconv.Itoa(i))
		if i%2 == 0 {
			copy(id[:], "\x0a\xbc\xde\xf0\x01") // meet in ten digits
		}
		if _, err := db.PutAudit(f.Context(), &audit.QueryAudit{QueryID: id}); err != nil {
			f.Fatal(err)
		}
		ids = append(ids, id.String())
	}
	slices.Sort(ids)
	for _, s := range []string{"", "0ab", "0abc", "0abcdef", "0abcdef0", "0ABCDEF00", "0abcdef001", "0abcdef0012", "0abcdef002", ids[3], ids[3][:63], ids[3] + "0", "0abcdefg", "%_______"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, prefix string) {
		var want []string
		for _, id := range ids {
			if strings.HasPrefix(id, strings.ToLower(prefix)) && len(want) < audit.MaxResolved {
				want = append(want, id)
			}
		}
		_, refused := hex.DecodeString(prefix + strings.Repeat("0", max(0, 64-len(prefix))))
		got, err := db.Resolve(t.Context(), prefix)
		if valid := refused == nil && audit.ShortestPrefix <= len(prefix) && len(prefix) <= 64; (err == nil) != valid || err != nil && !errors.Is(err, audit.ErrInvalid) {
			t.Fatalf("Resolve(%q): %v", prefix, err)
		}
		if same := slices.EqualFunc(got, want, func(id audit.QueryID, w string) bool { return id.String() == w }); err == nil && !same {
			t.Fatalf("Resolve(%q): %v, want %v", prefix, got, want)
		}
	})
}
