package audit_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// Whatever is accepted is written canonically, and that reads back as the same record and the same bytes;
// whatever is refused is refused as ErrInvalid, in few words.
func FuzzParseAudit(f *testing.F) {
	for _, file := range []string{"inputs.ndjson", "canonical.ndjson"} {
		for _, line := range goldenLines(f, file) {
			f.Add(line)
		}
	}
	for _, line := range []string{"", "{}", least, attributes(`{"a":1e-7,"\ud83d\ude00":"\u0001"}`),
		with("Tesla", `\ud83d`), with("0.95", "1e400"), with("1000", "9223372036854775807")} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		before := bytes.Clone(line)
		q, err := audit.ParseAudit(line)
		if !bytes.Equal(line, before) {
			t.Fatal("the input was written to")
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
	})
}

// A key that is taken apart is put together again as it was, and no key belongs to both families.
func FuzzKeys(f *testing.F) {
	f.Add(audit.KeyOf(fill(1)))
	f.Add(audit.AgentKeyOf(fill(':'), 1<<63, fill(0xff)))
	f.Add(audit.AgentPrefix(fill(0)))
	f.Add([]byte("\x00AUD:"))
	f.Fuzz(func(t *testing.T, key []byte) {
		id, isKey := audit.ParseKey(key)
		if isKey && !bytes.Equal(audit.KeyOf(id), key) {
			t.Errorf("%x is taken for the key of %s", key, id)
		}
		agent, timestamp, id, isAgentKey := audit.ParseAgentKey(key)
		if isAgentKey && !bytes.Equal(audit.AgentKeyOf(agent, timestamp, id), key) {
			t.Errorf("%x is taken for the key of %s, %d, %s", key, agent, timestamp, id)
		}
		if isKey && isAgentKey {
			t.Errorf("%x is of both families", key)
		}
	})
}
