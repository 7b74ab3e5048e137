package audit_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/zeebo/blake3"
)

func ptr[T any](v T) *T { return &v }

// hashOf makes a hash that looks like one.
func hashOf(parts ...string) audit.Hash {
	return blake3.Sum256([]byte(strings.Join(parts, "\x1f")))
}

// fill is a hash of 32 equal bytes.
func fill(b byte) (h audit.Hash) {
	for i := range h {
		h[i] = b
	}
	return h
}

func parse(t testing.TB, line string) audit.QueryAudit {
	t.Helper()
	q, err := audit.ParseAudit([]byte(line))
	if err != nil {
		t.Fatalf("ParseAudit(%s): %v", line, err)
	}
	return q
}

func canonical(t testing.TB, q *audit.QueryAudit) string {
	t.Helper()
	out, err := q.Canonical()
	if err != nil {
		t.Fatalf("Canonical: %v", err)
	}
	return string(out)
}

// wantInvalid checks that err refuses the named field, in a message of bounded length that is fit for a
// terminal.
func wantInvalid(t testing.TB, err error, field string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted; want %q refused", field)
	}
	if !errors.Is(err, audit.ErrInvalid) {
		t.Errorf("error %q is not ErrInvalid", err)
	}
	var refused *audit.FieldError
	if !errors.As(err, &refused) {
		t.Fatalf("error %q is no *FieldError", err)
	}
	if refused.Field != field {
		t.Errorf("error %q names field %q, want %q", err, refused.Field, field)
	}
	if !strings.Contains(err.Error(), field) {
		t.Errorf("error %q does not say its field %q", err, field)
	}
	if len(err.Error()) > 600 {
		t.Errorf("error of %d bytes: %.200s…", len(err.Error()), err)
	}
	for _, r := range err.Error() {
		if r < ' ' || r == 0x7f || r > 0x7f && !strings.ContainsRune("…±", r) {
			t.Errorf("error %q has %q in it", err, r)
		}
	}
}
